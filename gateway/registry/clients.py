"""API clients: who may ask, for which fleet, and for what. Secrets are known to their owners alone; here are salted hashes."""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.errors import TooManyClients, Unknown
from gateway.store import Store
from gateway.store.tables import clients, fleets

ID_SIZE_BYTES = 8
SECRET_SIZE_BYTES = 32
SALT_SIZE_BYTES = 16
Scope = Literal["vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin"]
EVERY_SCOPE: tuple[str, ...] = get_args(Scope)
LIMIT = 100
"""Clients of one fleet."""

COST, BLOCK_SIZE, LANES = 2**14, 8, 1
"""Of scrypt (RFC 7914): 16 MiB and some 50 ms a guess."""

HASHING_AT_ONCE = 2
"""Logins that are looked at together: whoever knocks often takes no more of the machine."""


@dataclass(frozen=True, slots=True)
class Client:
    """An API client. Times are Unix milliseconds; tokens from before `rotated_at` are void."""

    client_id: str
    fleet_id: str
    name: str
    scopes: tuple[str, ...]
    secret_hash: str = field(repr=False)
    created_at: int
    rotated_at: int


class Clients:
    """The API clients of all fleets. `fleet_id` None in what follows: of any fleet."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store, self._now_ms = store, now_ms
        self._hashing = asyncio.Semaphore(HASHING_AT_ONCE)
        self._at_hand: dict[str, Client] = {}
        self._changes = 0

    async def add(self, fleet_id: str, name: str, scopes: Sequence[str]) -> tuple[Client, str]:
        """Add one; its secret is told here and nowhere else. Raises Unknown (no such fleet), TooManyClients."""
        secret = secrets.token_urlsafe(SECRET_SIZE_BYTES)
        hashed = await self._hash(secret)
        async with self._store.writing() as connection:
            return await self._insert(connection, fleet_id, name, scopes, hashed), secret

    async def first(self, fleet_id: str, name: str, scopes: Sequence[str]) -> tuple[Client, str] | None:
        """Add one if there is none yet."""
        if await self.all():
            return None
        return await self.add(fleet_id, name, scopes)

    async def find(self, client_id: str, fleet_id: str | None = None) -> Client | None:
        """One of them."""
        client = self._at_hand.get(client_id)
        if client is None:
            changes = self._changes
            async with self._store.reading() as connection:
                row = (await connection.execute(_selected(None).where(clients.c.client_id == client_id))).one_or_none()
            client = None if row is None else _client(row)
            if client is not None and changes == self._changes:  # else what was read may be of before the change
                self._at_hand[client_id] = client
        return client if client is not None and fleet_id in (None, client.fleet_id) else None

    def _forget(self, client_id: str) -> None:
        """Somebody changed it, or may have."""
        self._changes += 1
        self._at_hand.pop(client_id, None)

    async def all(self, fleet_id: str | None = None) -> list[Client]:
        """Oldest first."""
        query = _selected(fleet_id).order_by(clients.c.created_at, clients.c.client_id)
        async with self._store.reading() as connection:
            return [_client(row) for row in await connection.execute(query)]

    async def rotate(self, client_id: str, fleet_id: str | None = None) -> tuple[Client, str]:
        """Give it another secret; the older one and the tokens made with it end at once. Raises Unknown."""
        secret = secrets.token_urlsafe(SECRET_SIZE_BYTES)
        hashed = await self._hash(secret)
        try:
            async with self._store.writing() as connection:
                row = (await connection.execute(_selected(fleet_id).where(clients.c.client_id == client_id))).one_or_none()
                if row is None:
                    raise Unknown(f"there is no client {client_id}")
                values = {"secret_hash": hashed, "rotated_at": max(self._now_ms(), row.rotated_at + 1)}
                query = update(clients).where(clients.c.client_id == client_id).values(values).returning(clients)
                return _client((await connection.execute(query)).one()), secret
        finally:
            self._forget(client_id)

    async def remove(self, client_id: str, fleet_id: str | None = None) -> None:
        """Remove one; its tokens end at once. Raises Unknown."""
        mine = [clients.c.client_id == client_id] + ([clients.c.fleet_id == fleet_id] if fleet_id is not None else [])
        try:
            async with self._store.writing() as connection:
                if (await connection.execute(delete(clients).where(*mine).returning(clients.c.client_id))).first() is None:
                    raise Unknown(f"there is no client {client_id}")
        finally:
            self._forget(client_id)

    async def authenticate(self, client_id: str, secret: str) -> Client | None:
        """The client that shows this secret. It takes as long for clients that there are not."""
        client = await self.find(client_id)
        async with self._hashing:
            right = await asyncio.to_thread(_verified, secret, client.secret_hash if client else _NOBODY)
        return client if right else None

    async def _hash(self, secret: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(_hashed, secret)

    async def _insert(self, connection: AsyncConnection, fleet_id: str, name: str, scopes: Sequence[str], hashed: str) -> Client:
        if (await connection.execute(select(fleets.c.fleet_id).where(fleets.c.fleet_id == fleet_id))).first() is None:
            raise Unknown(f"there is no fleet {fleet_id}")
        count = select(func.count()).select_from(clients).where(clients.c.fleet_id == fleet_id)
        if int((await connection.execute(count)).scalar_one()) >= LIMIT:
            raise TooManyClients(f"a fleet has at most {LIMIT} clients")
        now = self._now_ms()
        row = {
            "client_id": secrets.token_hex(ID_SIZE_BYTES),
            "fleet_id": fleet_id,
            "name": name,
            "scopes": list(dict.fromkeys(scopes)),
            "secret_hash": hashed,
            "created_at": now,
            "rotated_at": now,
        }
        return _client((await connection.execute(insert(clients).values(row).returning(clients))).one())


def _selected(fleet_id: str | None) -> Any:
    return select(clients) if fleet_id is None else select(clients).where(clients.c.fleet_id == fleet_id)


def _client(row: Row[Any]) -> Client:
    said = dict(row._mapping)
    return Client(**said | {"scopes": tuple(said["scopes"])})


def _scrypt(secret: str, salt: bytes, cost: int, block_size: int, lanes: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=cost, r=block_size, p=lanes, maxmem=2 * 128 * cost * block_size)


def _hashed(secret: str) -> str:
    salt = secrets.token_bytes(SALT_SIZE_BYTES)
    digest = _scrypt(secret, salt, COST, BLOCK_SIZE, LANES)
    return "$".join(("scrypt", str(COST), str(BLOCK_SIZE), str(LANES), _text(salt), _text(digest)))


def _verified(secret: str, hashed: str) -> bool:
    _, cost, block_size, lanes, salt, digest = hashed.split("$")
    found = _scrypt(secret, base64.b64decode(salt), int(cost), int(block_size), int(lanes))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


_NOBODY = "$".join(("scrypt", str(COST), str(BLOCK_SIZE), str(LANES), _text(bytes(SALT_SIZE_BYTES)), _text(bytes(64))))
"""A hash that no secret has."""
