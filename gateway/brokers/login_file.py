"""Logins kept in a file of `user:hash` lines: the form of Mosquitto's password_file."""

import asyncio
import base64
import hashlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt

from gateway.brokers.logins import BrokerFailed, user_name
from gateway.brokers.probe import ACCEPTED, try_login
from protocols.codec import UnitId

PROBE_USER = "teleloop-probe"
PROBE_PAUSE_S = 0.02
RELOAD_TIMEOUT_S = 10.0
PBKDF2_ROUNDS = 101
"""Mosquitto's own default. A unit's secret is 256 random bits: no number of rounds makes guessing it any harder."""
BCRYPT_ROUNDS = 4
"""The fewest that bcrypt allows, for the same reason; every connect pays for them."""


def mosquitto_hash(secret: str) -> str:
    """`$7$rounds$salt$hash`: PBKDF2-HMAC-SHA512, as mosquitto_passwd(1) writes it."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, PBKDF2_ROUNDS)
    return f"$7${PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def bcrypt_hash(secret: str) -> str:
    """`$2a$...`: the only prefix that nats-server takes for bcrypt."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(BCRYPT_ROUNDS, prefix=b"2a")).decode()


def read_logins(path: Path) -> dict[str, str]:
    """User -> hash; empty without the file. Lines that are no login are passed over."""
    if not path.exists():
        return {}
    pairs = (line.split(":", 1) for line in path.read_text().splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that no reader meets half of it. Owner and mode stay; a new one is its owner's only."""
    scratch = path.with_name(path.name + ".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if path.exists():
        was = path.stat()
        scratch.chmod(was.st_mode & 0o777)
        if (was.st_uid, was.st_gid) != (scratch.stat().st_uid, scratch.stat().st_gid):
            os.chown(scratch, was.st_uid, was.st_gid)
    os.replace(scratch, path)


class FileLogins(ABC):
    """Logins in a file that the broker reads again when told to: every change is one write and one reload.

    With each change a fresh secret is written for a user without rights, `teleloop-probe`: once the broker accepts it,
    the broker has taken the whole file.
    """

    def __init__(self, login_file: Path, hash_secret: Callable[[str], str]) -> None:
        self._login_file = login_file
        self._hash_secret = hash_secret
        self._units: dict[str, str] = {}
        self._ours: dict[str, str] = {}
        self._probe_secret = ""
        self._probes_refused = 0
        self._turn = asyncio.Lock()

    @abstractmethod
    def _where(self) -> tuple[str, int, bool]:
        """Host, port and TLS of the listener that the probe asks."""

    @abstractmethod
    def _signal_reload(self) -> None:
        """Tell the broker to read its files; ProcessLookupError when it is not there."""

    def _write(self, logins: Mapping[str, str]) -> None:
        text = "".join(f"{user}:{hashed}\n" for user, hashed in logins.items())
        write_whole(self._login_file, text)

    async def put(self, secrets: Mapping[UnitId, str]) -> None:
        """See `BrokerLogins.put`."""
        async with self._turn:
            self._units |= await asyncio.to_thread(self._hashed, secrets)
            await self._apply()

    async def revoke(self, unit: UnitId) -> None:
        """See `BrokerLogins.revoke`."""
        async with self._turn:
            if self._units.pop(user_name(unit), None) is not None:
                await self._apply()

    async def replace_all(self, secrets: Mapping[UnitId, str]) -> None:
        """See `BrokerLogins.replace_all`."""
        async with self._turn:
            self._units = await asyncio.to_thread(self._hashed, secrets)
            await self._apply()

    def _hashed(self, secrets: Mapping[UnitId, str]) -> dict[str, str]:
        return {user_name(unit): self._hash_secret(secret) for unit, secret in secrets.items()}

    def _begin(self, gateway_user: str, gateway_secret: str) -> None:
        """Take over the logins of an earlier run, and add the gateway's own."""
        self._ours = {gateway_user: self._hash_secret(gateway_secret)}
        known = read_logins(self._login_file)
        self._units = {user: hashed for user, hashed in known.items() if user not in (gateway_user, PROBE_USER)}

    async def _save(self) -> None:
        self._probe_secret = secrets.token_urlsafe(32)
        self._ours[PROBE_USER] = self._hash_secret(self._probe_secret)
        await asyncio.to_thread(self._write, self._ours | self._units)

    async def _apply(self) -> None:
        await self._save()
        try:
            self._signal_reload()
        except ProcessLookupError as error:
            raise BrokerFailed("the broker to tell of new logins is not running") from error
        await self._taken()

    async def _taken(self) -> None:
        """Wait until the broker answers and knows the newest file."""
        host, port, tls = self._where()
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT_S):
                while (answer := await try_login(host, port, PROBE_USER, self._probe_secret, tls=tls)) != ACCEPTED:
                    self._probes_refused += answer is not None
                    await asyncio.sleep(PROBE_PAUSE_S)
        except TimeoutError:
            raise BrokerFailed(f"the broker on {host}:{port} did not take the logins in {RELOAD_TIMEOUT_S:g} s") from None
