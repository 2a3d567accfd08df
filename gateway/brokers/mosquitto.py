"""A Mosquitto whose password_file and acl_file are ours to write, reloaded by SIGHUP (mosquitto.conf(5), 2.0 and later).

On SIGHUP Mosquitto drops the live session of every login that is gone, so that revoking works at once. Its own configuration
should say `allow_anonymous false`, `message_size_limit 65536` and, on the units' listener, `use_username_as_clientid true`:
without the last a unit can end the session of another by connecting under its client id.
"""

import os
import signal
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gateway.brokers.login_file import FileLogins, mosquitto_hash, write_whole

UNIT_RULES = """
pattern write v1/%u/up
pattern write v1/%u/presence
pattern read v1/%u/down
"""


def access_rules(gateway_user: str) -> str:
    """The acl_file: what the gateway may do, and what each unit may. Reading what it writes is for `teleloop record`."""
    rules = ("read v1/+/+/up", "read v1/+/+/presence", "readwrite v1/+/+/down")
    return "\n".join((f"user {gateway_user}", *(f"topic {rule}" for rule in rules), UNIT_RULES))


class Mosquitto(FileLogins):
    """A running Mosquitto on this machine, found by its process id or pid_file.

    `url` is the gateway's own login, which is written into the files too; `unit_url` is where units connect, if elsewhere.
    """

    def __init__(self, url: str, password_file: Path, acl_file: Path, pid: int | Path, unit_url: str | None = None) -> None:
        super().__init__(password_file, mosquitto_hash)
        self._url = url
        self._unit_url = unit_url
        self._acl_file = acl_file
        self._pid = pid

    @property
    def url(self) -> str:
        """See `BrokerLogins.url`."""
        return self._url

    @property
    def unit_url(self) -> str:
        """See `BrokerLogins.unit_url`."""
        if self._unit_url is not None:
            return self._unit_url
        parts = self._parts()
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def start(self) -> None:
        """Write both files and have them read. Raises BrokerFailed."""
        async with self._turn:
            self._begin_as_gateway()
            await self._apply()

    async def stop(self) -> None:
        """The broker is not ours to end."""

    def _begin_as_gateway(self) -> None:
        parts = self._parts()
        user, secret = unquote(parts.username or ""), unquote(parts.password or "")
        if not user or not secret:
            raise ValueError("the gateway's own login is wanted in the broker's address: mqtt://user:secret@host:port")
        self._begin(user, secret)
        write_whole(self._acl_file, access_rules(user))

    def _parts(self) -> SplitResult:
        return urlsplit(self._url)

    def _where(self) -> tuple[str, int, bool]:
        parts = self._parts()
        tls = parts.scheme == "mqtts"
        return parts.hostname or "127.0.0.1", parts.port or (8883 if tls else 1883), tls

    def _signal_reload(self) -> None:
        os.kill(self._pid if isinstance(self._pid, int) else int(self._pid.read_text()), signal.SIGHUP)
