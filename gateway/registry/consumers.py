"""Event consumers: who reads a fleet's events from RabbitMQ, and which."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.errors import TooManyConsumers, Unknown
from gateway.store import Store
from gateway.store.tables import event_consumers

LIMIT = 5
"""Event consumers of one fleet (doc)."""

ID_SIZE_BYTES = 8


@dataclass(frozen=True, slots=True)
class EventConsumer:
    """An event consumer. `topics` are event types, or `All`. Times are Unix milliseconds."""

    consumer_id: str
    fleet_id: str
    name: str
    topics: tuple[str, ...]
    password_hash: str
    created_at: int
    rotated_at: int


class EventConsumers:
    """The event consumers of all fleets. Another fleet's is Unknown."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store, self._now_ms = store, now_ms

    async def add(self, fleet_id: str, name: str, topics: Sequence[str], password_hash: str) -> EventConsumer:
        """Add one; each topic counts once. Raises TooManyConsumers."""
        now = self._now_ms()
        consumer_id = secrets.token_hex(ID_SIZE_BYTES)
        added = EventConsumer(consumer_id, fleet_id, name, tuple(dict.fromkeys(topics)), password_hash, now, now)
        count = select(func.count()).select_from(event_consumers).where(event_consumers.c.fleet_id == fleet_id)
        row = {field: getattr(added, field) for field in EventConsumer.__dataclass_fields__} | {"topics": list(added.topics)}
        async with self._store.writing() as connection:
            if int((await connection.execute(count)).scalar_one()) >= LIMIT:
                raise TooManyConsumers(f"a fleet has at most {LIMIT} event consumers")
            await connection.execute(insert(event_consumers).values(row))
        return added

    async def get(self, fleet_id: str, consumer_id: str) -> EventConsumer:
        """One of the fleet's. Raises Unknown."""
        async with self._store.reading() as connection:
            return await _one(connection, fleet_id, consumer_id)

    async def of_fleet(self, fleet_id: str) -> list[EventConsumer]:
        """The fleet's, oldest first."""
        query = select(event_consumers).where(event_consumers.c.fleet_id == fleet_id)
        async with self._store.reading() as connection:
            rows = await connection.execute(query.order_by(event_consumers.c.created_at, event_consumers.c.consumer_id))
        return [_consumer(row) for row in rows]

    async def all(self) -> list[EventConsumer]:
        """Those of every fleet."""
        async with self._store.reading() as connection:
            return [_consumer(row) for row in await connection.execute(select(event_consumers))]

    async def put_password(self, fleet_id: str, consumer_id: str, password_hash: str, rotated_at: int) -> EventConsumer:
        """Note another password. Raises Unknown."""
        changed = {"password_hash": password_hash, "rotated_at": rotated_at}
        async with self._store.writing() as connection:
            await _one(connection, fleet_id, consumer_id)
            await connection.execute(update(event_consumers).where(event_consumers.c.consumer_id == consumer_id).values(changed))
            return await _one(connection, fleet_id, consumer_id)

    async def remove(self, consumer_id: str) -> None:
        """Forget one; that there is none is no error."""
        async with self._store.writing() as connection:
            await connection.execute(delete(event_consumers).where(event_consumers.c.consumer_id == consumer_id))


async def _one(connection: AsyncConnection, fleet_id: str, consumer_id: str) -> EventConsumer:
    mine = (event_consumers.c.consumer_id == consumer_id, event_consumers.c.fleet_id == fleet_id)
    row = (await connection.execute(select(event_consumers).where(*mine))).one_or_none()
    if row is None:
        raise Unknown(f"there is no event consumer {consumer_id}")
    return _consumer(row)


def _consumer(row: Row[Any]) -> EventConsumer:
    said = dict(row._mapping)
    return EventConsumer(**said | {"topics": tuple(said["topics"])})
