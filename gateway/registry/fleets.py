"""Fleets: the tenants. Every vehicle, client and consumer belongs to one."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.errors import FleetTaken, Unknown
from gateway.store import Store
from gateway.store.tables import fleets

DEFAULT_FLEET = "default"
"""The fleet of those who run the gateway: its admins look after all fleets."""

ID_SIZE_BYTES = 6


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet. `trip_trigger` is what begins and ends its trips; `created_at` is Unix milliseconds."""

    fleet_id: str
    name: str
    trip_trigger: str
    created_at: int


class Fleets:
    """All fleets. `changed` is called after one has changed."""

    def __init__(self, store: Store, now_ms: Callable[[], int], changed: Callable[[], None] = lambda: None) -> None:
        self._store, self._now_ms, self._changed = store, now_ms, changed

    async def ensure(self, fleet_id: str = DEFAULT_FLEET, name: str = "Default fleet") -> str:
        """Make the fleet if it is not there; its id."""
        async with self._store.writing() as connection:
            known = await connection.execute(select(fleets.c.fleet_id).where(fleets.c.fleet_id == fleet_id))
            if known.first() is None:
                await connection.execute(insert(fleets).values(fleet_id=fleet_id, name=name, created_at=self._now_ms()))
        return fleet_id

    async def all(self) -> list[str]:
        """The ids of all fleets."""
        return [fleet.fleet_id for fleet in await self.known()]

    async def known(self) -> list[Fleet]:
        """All fleets, oldest first."""
        async with self._store.reading() as connection:
            rows = await connection.execute(select(fleets).order_by(fleets.c.created_at, fleets.c.fleet_id))
            return [_fleet(row) for row in rows]

    async def get(self, fleet_id: str) -> Fleet:
        """One of them. Raises Unknown."""
        async with self._store.reading() as connection:
            return await _one(connection, fleet_id)

    async def add(self, fleet_id: str | None, name: str, trip_trigger: str) -> Fleet:
        """Add one; without an id it gets one. Raises FleetTaken."""
        fleet = Fleet(fleet_id or secrets.token_hex(ID_SIZE_BYTES), name, trip_trigger, self._now_ms())
        row = {field: getattr(fleet, field) for field in Fleet.__dataclass_fields__}
        async with self._store.writing() as connection:
            known = await connection.execute(select(fleets.c.fleet_id).where(fleets.c.fleet_id == fleet.fleet_id))
            if known.first() is not None:
                raise FleetTaken(f"there is a fleet {fleet.fleet_id} already")
            await connection.execute(insert(fleets).values(row))
        return fleet

    async def change(self, fleet_id: str, said: dict[str, Any]) -> Fleet:
        """Give it another name or trip trigger. Raises Unknown."""
        async with self._store.writing() as connection:
            await _one(connection, fleet_id)
            if said:
                await connection.execute(update(fleets).where(fleets.c.fleet_id == fleet_id).values(said))
            fleet = await _one(connection, fleet_id)
        self._changed()
        return fleet


async def _one(connection: AsyncConnection, fleet_id: str) -> Fleet:
    row = (await connection.execute(select(fleets).where(fleets.c.fleet_id == fleet_id))).one_or_none()
    if row is None:
        raise Unknown(f"there is no fleet {fleet_id}")
    return _fleet(row)


def _fleet(row: Row[Any]) -> Fleet:
    return Fleet(row.fleet_id, row.name, row.trip_trigger, row.created_at)
