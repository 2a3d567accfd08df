"""Events that are born in the registry: written with the change that they tell of, published later, in order."""

import asyncio
from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.events import Event
from gateway.store import Store
from gateway.store.tables import outbox

_encoder = msgspec.json.Encoder()


class Outbox:
    """The events that wait. `waiting` is set whenever there may be one; whoever publishes clears it first, then looks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.waiting = asyncio.Event()
        self.waiting.set()

    async def put(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Write `events` in the transaction of `connection`. After the commit, set `waiting`."""
        if events:
            rows = [
                {
                    "event_id": event.id,
                    "type": event.type,
                    "flow_id": event.flow_id,
                    "occurred_at": event.occurred_at,
                    "recorded_at": event.recorded_at,
                    "fleet_id": event.fleet_id,
                    "vehicle_id": event.vehicle_id,
                    "body": _encoder.encode(event.body),
                }
                for event in events
            ]
            await connection.execute(insert(outbox), rows)

    async def oldest(self, limit: int = 500) -> list[tuple[int, Event]]:
        """The next events to publish, with their row ids."""
        async with self._store.reading() as connection:
            rows = await connection.execute(select(outbox).order_by(outbox.c.id).limit(limit))
        return [
            (
                row.id,
                Event(
                    row.event_id,
                    row.type,
                    row.flow_id,
                    row.occurred_at,
                    row.recorded_at,
                    row.fleet_id,
                    row.vehicle_id,
                    msgspec.json.decode(row.body),
                ),
            )
            for row in rows
        ]

    async def sent(self, ids: Sequence[int]) -> None:
        """These are confirmed: forget them."""
        if ids:
            async with self._store.writing() as connection:
                await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))
