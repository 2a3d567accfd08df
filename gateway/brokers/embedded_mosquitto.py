"""The embedded broker where Mosquitto is installed: a child process with a configuration of its own."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from gateway.brokers.child import Child, end_orphan, pick_port
from gateway.brokers.mosquitto import Mosquitto
from protocols.codec import PAYLOAD_LIMIT_BYTES, Reason

GATEWAY_USER = "teleloop-gateway"
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/sbin")
HEADROOM_BYTES = 1024
"""Topic and headers beside the payload: what is a little too long is dropped, what is far too long ends the connection."""


def find_mosquitto() -> str | None:
    """The program, also where Debian puts it and a user's PATH does not look."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PATH)))


class EmbeddedMosquitto(Mosquitto):
    """Units on `host:port` (or on a free port, if that is taken), the gateway on a loopback port of its own.

    Sessions and what is queued for units are saved every few seconds and at the end, and survive a restart.
    """

    kind = "mosquitto"

    def __init__(self, program: str, folder: Path, host: str, port: int, on_refused: Callable[[Reason], None]) -> None:
        self._folder = folder.resolve()
        self._config_file = self._folder / "mosquitto.conf"
        super().__init__(url="", password_file=self._folder / "logins", acl_file=self._folder / "rules", pid=0)
        self._host, self._wanted_port = host, port
        self._on_refused = on_refused
        self._child = Child([program, "-c", str(self._config_file)], self._folder, self._hear)

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._child.pid

    async def start(self) -> None:
        """Start the broker; it answers when this returns. Raises BrokerFailed."""
        async with self._turn:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            end_orphan(self._folder / "broker.pid", self._config_file)
            port, gateway_port = pick_port(self._host, self._wanted_port), pick_port("127.0.0.1", 0)
            self._unit_url = f"mqtt://{self._host}:{port}"
            self._url = f"mqtt://{GATEWAY_USER}:{secrets.token_urlsafe(32)}@127.0.0.1:{gateway_port}"
            self._begin_as_gateway()
            await self._save()
            self._config_file.write_text(self._configuration(port, gateway_port))
            await self._child.start()
            try:
                await self._taken()
            except BaseException:
                await self._child.stop()
                raise

    async def stop(self) -> None:
        """End the broker; sessions and queues are saved."""
        await self._child.stop()

    def _signal_reload(self) -> None:
        self._child.reload()

    def _hear(self, line: str) -> None:
        # Mosquitto acknowledges what it drops; only its debug log tells of it.
        if line.startswith("Denied PUBLISH"):
            self._on_refused("forbidden_topic")
        elif line.startswith("Dropped too large PUBLISH") or "oversize packet" in line:
            self._on_refused("oversized")
        elif "not authorised" not in line:
            return
        elif self._probes_refused:  # the log names nobody who was refused
            self._probes_refused -= 1
        else:
            self._on_refused("bad_credentials")

    def _configuration(self, port: int, gateway_port: int) -> str:
        as_root = "user root\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        return f"""\
# Written by teleloop at each start.
{as_root}per_listener_settings false
allow_anonymous false
password_file {self._folder / "logins"}
acl_file {self._folder / "rules"}
message_size_limit {PAYLOAD_LIMIT_BYTES}
max_packet_size {PAYLOAD_LIMIT_BYTES + HEADROOM_BYTES}
max_inflight_messages 1000
max_queued_messages 1000000
max_queued_bytes 0
set_tcp_nodelay true
persistence true
persistence_location {self._folder}/
autosave_interval 5
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type notice
log_type debug
connection_messages true

listener {port} {self._host}
allow_zero_length_clientid false
# A unit cannot take over the session of another by its client id.
use_username_as_clientid true

listener {gateway_port} 127.0.0.1
allow_zero_length_clientid false
"""
