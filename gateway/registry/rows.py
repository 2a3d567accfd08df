"""The rows of one vehicle and its unit, within a transaction of the caller."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry import labels
from gateway.registry.errors import Archived, Stale, UnitTaken, Unknown
from gateway.registry.record import VehicleRecord, record, selected
from gateway.store.tables import units, vehicles
from protocols.codec import UnitId

GENERATIONS = 255
"""Key generations are one byte on the wire, from 1."""


async def one(connection: AsyncConnection, fleet_id: str, vehicle_id: str) -> VehicleRecord:
    """A vehicle of the fleet, archived or not. Raises Unknown."""
    query = selected().where(vehicles.c.vehicle_id == vehicle_id, vehicles.c.fleet_id == fleet_id)
    row = (await connection.execute(query)).one_or_none()
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


async def attach_unit(connection: AsyncConnection, unit: UnitId, vehicle_id: str) -> int:
    """The key generation that the unit has from now on: a new one, if somebody may know an older. Raises UnitTaken."""
    query = select(units.c.vehicle_id, units.c.generation).where(is_unit(unit))
    known = (await connection.execute(query)).one_or_none()
    if known is None:
        row = {"brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_id": vehicle_id, "generation": 1}
        await connection.execute(insert(units).values(row))
        return 1
    if known.vehicle_id is not None:
        raise UnitTaken(unit)
    generation = following(known.generation)
    values = {"vehicle_id": vehicle_id, "generation": generation, "previous_generation": None}
    await connection.execute(update(units).where(is_unit(unit)).values(values))
    return generation


def is_unit(unit: UnitId) -> ColumnElement[bool]:
    """The condition of the unit's row."""
    return and_(units.c.brand == unit.brand, units.c.telematics_unit_id == unit.telematics_unit_id)


def following(generation: int) -> int:
    """The key generation after `generation`."""
    return generation % GENERATIONS + 1
