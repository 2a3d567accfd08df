"""Fleets: the tenants. Every vehicle, client and consumer belongs to one."""

from collections.abc import Callable

from sqlalchemy import insert, select

from gateway.store import Store
from gateway.store.tables import fleets

DEFAULT_FLEET = "default"


class Fleets:
    """All fleets."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store, self._now_ms = store, now_ms

    async def ensure(self, fleet_id: str = DEFAULT_FLEET, name: str = "Default fleet") -> str:
        """Make the fleet if it is not there; its id."""
        async with self._store.writing() as connection:
            known = await connection.execute(select(fleets.c.fleet_id).where(fleets.c.fleet_id == fleet_id))
            if known.first() is None:
                await connection.execute(insert(fleets).values(fleet_id=fleet_id, name=name, created_at=self._now_ms()))
        return fleet_id

    async def all(self) -> list[str]:
        """The ids of all fleets."""
        async with self._store.reading() as connection:
            return list((await connection.execute(select(fleets.c.fleet_id).order_by(fleets.c.created_at))).scalars())
