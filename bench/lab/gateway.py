"""The gateway as its users have it: a process of its own, reached over HTTP, MQTT and AMQP."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from bench.lab.process import Server, wait_until

START_TIMEOUT_S = 90.0


class GatewayProcess(Server):
    """`teleloop gateway` with an embedded broker and its data in `folder`/data, unless `environment` says otherwise."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, command: Sequence[str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        settings = {"TELELOOP_DATA": str(self.data), "TELELOOP_HTTP": "127.0.0.1:0", "TELELOOP_MQTT_PORT": "0"}
        super().__init__(command or [sys.executable, "-m", "teleloop", "gateway"], folder, settings | dict(environment or {}))

    def start(self) -> None:
        """Start it and wait until it is ready."""
        (self.data / "gateway.json").unlink(missing_ok=True)
        super().start()
        wait_until(self._announced, START_TIMEOUT_S, "the gateway")

    def _announced(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the gateway ended: {self.output[-3000:]}")
        return (self.data / "gateway.json").exists()

    @property
    def addresses(self) -> dict[str, Any]:
        """Where it is reached: `url`, `units_broker`, and `units_tcp` where it listens for units over TCP."""
        said: dict[str, Any] = json.loads((self.data / "gateway.json").read_text())
        return said

    @property
    def url(self) -> str:
        """Where its API answers."""
        return str(self.addresses["url"])

    @property
    def units_broker(self) -> str:
        """Where units connect."""
        return str(self.addresses["units_broker"])

    @property
    def token(self) -> str:
        """The API token that it made at its first start."""
        return (self.data / "api-token").read_text().strip()

    def client(self) -> httpx2.Client:
        """A client of its API."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=40)

    def call(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """One request."""
        with self.client() as client:
            return client.request(method, path, **request)

    def counted(self, name: str, **labels: str) -> float:
        """A counter of /metrics."""
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        sample = f"{name}{{{wanted}}}" if wanted else name
        lines = self.call("GET", "/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == sample), 0.0)


@contextmanager
def gateway(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[GatewayProcess]:
    """A running gateway, stopped at the end."""
    process = GatewayProcess(folder, environment)
    try:
        process.start()
        yield process
    finally:
        process.stop()
