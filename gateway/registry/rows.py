"""The rows of one vehicle and its unit, within a transaction of the caller."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable, and_, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry import labels
from gateway.registry.attachments import chunks
from gateway.registry.errors import Archived, Stale, UnitTaken, Unknown
from gateway.registry.record import VehicleRecord, record, selected
from gateway.store.tables import units, vehicles
from protocols.codec import UnitId

GENERATIONS = 255
"""Key generations are one byte on the wire, from 1."""


def _attach(row: "postgresql.Insert | sqlite.Insert") -> Executable:
    new = {"vehicle_id": row.excluded.vehicle_id, "generation": row.excluded.generation, "previous_generation": None}
    return row.on_conflict_do_update(index_elements=[units.c.brand, units.c.telematics_unit_id], set_=new)


# Putting the statement together costs several times what SQLite takes for it.
_ONE = selected().where(vehicles.c.vehicle_id == bindparam("wanted"), vehicles.c.fleet_id == bindparam("of"))

_ATTACH = {"postgresql": _attach(postgresql.insert(units)), "sqlite": _attach(sqlite.insert(units))}


async def one(connection: AsyncConnection, fleet_id: str, vehicle_id: str) -> VehicleRecord:
    """A vehicle of the fleet, archived or not. Raises Unknown."""
    row = (await connection.execute(_ONE, {"wanted": vehicle_id, "of": fleet_id})).one_or_none()
    if row is None:
        raise Unknown(f"there is no vehicle {vehicle_id}")
    return record(row)


async def one_live(
    connection: AsyncConnection, fleet_id: str, vehicle_id: str, revisions: Collection[int] | None = None
) -> VehicleRecord:
    """A vehicle that may be changed, in one of these revisions. Raises Unknown, Archived, Stale."""
    vehicle = await one(connection, fleet_id, vehicle_id)
    if vehicle.archived_at is not None:
        raise Archived(f"the vehicle {vehicle_id} is archived")
    if revisions is not None and vehicle.revision not in revisions:
        raise Stale(f"the vehicle {vehicle_id} has changed since")
    return vehicle


async def revise(connection: AsyncConnection, vehicle: VehicleRecord, now: int, **values: Any) -> VehicleRecord:
    """Write the next revision of `vehicle`, with its labels."""
    revised = {"modified_at": now, "revision": vehicles.c.revision + 1, **values}
    await connection.execute(update(vehicles).where(vehicles.c.vehicle_id == vehicle.vehicle_id).values(revised))
    vehicle = await one(connection, vehicle.fleet_id, vehicle.vehicle_id)
    await labels.label(connection, vehicle)
    return vehicle


async def many(connection: AsyncConnection, vehicle_ids: Sequence[str]) -> dict[str, VehicleRecord]:
    """These vehicles, by their ids."""
    found: dict[str, VehicleRecord] = {}
    for chunk in chunks(vehicle_ids):
        rows = await connection.execute(selected().where(vehicles.c.vehicle_id.in_(chunk)))
        found.update((row.vehicle_id, record(row)) for row in rows)
    return found


async def free_units(connection: AsyncConnection, wanted: Collection[UnitId]) -> dict[UnitId, int]:
    """Those that no vehicle has, and the key generation of each from now on: a new one, if somebody may know an older."""
    by_brand: dict[str, list[str]] = {}
    for unit in wanted:
        by_brand.setdefault(unit.brand, []).append(unit.telematics_unit_id)
    free = dict.fromkeys(wanted, 1)
    for brand, ids in by_brand.items():
        for chunk in chunks(ids):
            query = select(units.c.telematics_unit_id, units.c.vehicle_id, units.c.generation)
            for row in await connection.execute(query.where(units.c.brand == brand, units.c.telematics_unit_id.in_(chunk))):
                unit = UnitId(brand, row.telematics_unit_id)
                if row.vehicle_id is None:
                    free[unit] = following(row.generation)
                else:
                    del free[unit]
    return free


async def attach_units(connection: AsyncConnection, attached: Mapping[UnitId, str], generations: Mapping[UnitId, int]) -> None:
    """Give each vehicle_id its unit, which `free_units` has found free in the same transaction."""
    if not attached:
        return
    rows = [
        {
            "brand": unit.brand,
            "telematics_unit_id": unit.telematics_unit_id,
            "vehicle_id": vehicle_id,
            "generation": generations[unit],
        }
        for unit, vehicle_id in attached.items()
    ]
    await connection.execute(_ATTACH[connection.dialect.name], rows)


async def attach_unit(connection: AsyncConnection, unit: UnitId, vehicle_id: str) -> int:
    """The key generation that the unit has from now on. Raises UnitTaken."""
    free = await free_units(connection, [unit])
    if unit not in free:
        raise UnitTaken(unit)
    await attach_units(connection, {unit: vehicle_id}, free)
    return free[unit]


def is_unit(unit: UnitId) -> ColumnElement[bool]:
    """The condition of the unit's row."""
    return and_(units.c.brand == unit.brand, units.c.telematics_unit_id == unit.telematics_unit_id)


def following(generation: int) -> int:
    """The key generation after `generation`."""
    return generation % GENERATIONS + 1
