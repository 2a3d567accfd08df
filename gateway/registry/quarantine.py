"""Frames that were refused, kept for people to look at: the newest 10,000."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.memory import Vehicle
from gateway.receipts import Refused
from gateway.store import Store
from gateway.store.tables import quarantine
from protocols.codec import UnitId

KEPT = 10_000
TRIM_SLACK = 100
"""Rows beyond KEPT that may gather before they are deleted together."""

DATA_LIMIT_BYTES = 2_048
"""Twice the longest CloudBoxx frame; of what is longer the beginning is kept, and its true size."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One refused frame. `offset` counts bytes in the payload; `data` may be cut short of `size_bytes`."""

    id: int
    fleet_id: str | None
    vehicle_id: str | None
    brand: str
    telematics_unit_id: str
    reason: str
    offset: int
    field: str
    at: int
    size_bytes: int
    data: bytes

    @property
    def unit(self) -> UnitId:
        """Who the topic said it was from."""
        return UnitId(self.brand, self.telematics_unit_id)


class Quarantine:
    """The refused frames of all units."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since_trim = TRIM_SLACK

    async def put(
        self, connection: AsyncConnection, refused: Sequence[Refused], vehicle_of: Callable[[UnitId], Vehicle | None]
    ) -> None:
        """Write `refused` down in the transaction of `connection`, the oldest making room."""
        if not refused:
            return
        rows = []
        for each in refused[-KEPT:]:
            vehicle = vehicle_of(each.unit)
            rows.append(
                {
                    "fleet_id": vehicle.fleet_id if vehicle else None,
                    "vehicle_id": vehicle.vehicle_id if vehicle else None,
                    "brand": each.unit.brand[:64],
                    "telematics_unit_id": each.unit.telematics_unit_id[:255],
                    "reason": each.reason,
                    "offset": each.offset,
                    "field": each.field,
                    "at": each.at,
                    "size_bytes": len(each.data),
                    "data": each.data[:DATA_LIMIT_BYTES],
                }
            )
        await connection.execute(insert(quarantine), rows)
        self._since_trim += len(rows)
        if self._since_trim >= TRIM_SLACK:
            newest = select(func.max(quarantine.c.id)).scalar_subquery()
            await connection.execute(delete(quarantine).where(quarantine.c.id <= newest - KEPT))
            self._since_trim = 0

    async def page(
        self, fleet_id: str, *, with_strangers: bool = False, before: int | None = None, limit: int = 100
    ) -> list[Quarantined]:
        """A fleet's refused frames, newest first; `before` is the id of the last one of the page before.

        `with_strangers`: also those of units that nobody has attached.
        """
        query = select(quarantine).where(_visible(fleet_id, with_strangers)).order_by(quarantine.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(quarantine.c.id < before)
        async with self._store.reading() as connection:
            return [Quarantined(*row) for row in await connection.execute(query)]

    async def entry(self, fleet_id: str, entry_id: int, *, with_strangers: bool = False) -> Quarantined | None:
        """One of them."""
        query = select(quarantine).where(quarantine.c.id == entry_id, _visible(fleet_id, with_strangers))
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Quarantined(*row)

    async def counts(self, fleet_id: str, *, with_strangers: bool = False) -> Mapping[str, int]:
        """How many there are of each reason."""
        query = (
            select(quarantine.c.reason, func.count().label("n"))
            .where(_visible(fleet_id, with_strangers))
            .group_by(quarantine.c.reason)
        )
        async with self._store.reading() as connection:
            return {row.reason: row.n for row in await connection.execute(query)}


def _visible(fleet_id: str, with_strangers: bool) -> ColumnElement[bool]:
    mine = quarantine.c.fleet_id == fleet_id
    return or_(mine, quarantine.c.fleet_id.is_(None)) if with_strangers else mine
