"""Vehicles come, change, go and come back; each change and the event that tells of it are one transaction."""

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.events import Event
from gateway.memory import Memory
from gateway.registry.attachments import Attachments, chunks
from gateway.registry.errors import Archived, BadUnitId, BrandUnknown, UnitTaken, Unknown, Unsealed
from gateway.registry.listing import VehicleFilter, conditions, cursor_after, position_of, searchable
from gateway.registry.models import chosen_model
from gateway.registry.outbox import Outbox
from gateway.registry.packing import unpacked
from gateway.registry.record import VehicleRecord, born, changed_event, record, selected
from gateway.store import Store
from gateway.store.tables import memories, units, vehicles
from modeldb import Database
from protocols.codec import UnitId

VEHICLE_ID_LETTERS = "".join(sorted(set(string.ascii_uppercase + string.digits) - set("0O1I")))
VEHICLE_ID_LENGTH = 5

UNIT_ID_LETTERS = frozenset(string.ascii_letters + string.digits + "-_")
"""What a unit id may be made of, whatever its brand: it becomes an MQTT topic level, a client id and a line of a login file."""

ARCHIVE_KEPT_MS = 90 * 24 * 3600 * 1000
GENERATIONS = 255
"""Key generations are one byte on the wire, from 1."""


@dataclass(frozen=True, slots=True)
class NewVehicle:
    """A vehicle to add. The model is `vehicle_model_id`, or `vehicle_model` (its name) and `year`."""

    unit: UnitId
    vehicle_model_id: str | None = None
    vehicle_model: str | None = None
    year: int | None = None
    master_data: Mapping[str, Any] = field(default_factory=dict)
    custom_fields: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    operation_status: str = "OPERATING"


@dataclass(frozen=True, slots=True)
class Added:
    """An added vehicle, the key generation of its unit, and what is odd about the request."""

    vehicle: VehicleRecord
    generation: int
    warnings: tuple[str, ...] = ()


class Vehicles:
    """The vehicles of all fleets. Another fleet's vehicle is Unknown."""

    def __init__(
        self,
        store: Store,
        models: Database,
        attachments: Attachments,
        outbox: Outbox,
        now_ms: Callable[[], int],
        *,
        trust_broker: bool,
    ) -> None:
        self._store, self._models, self._attachments, self._outbox = store, models, attachments, outbox
        self._now_ms, self._trust_broker = now_ms, trust_broker

    async def add(self, fleet_id: str, new: NewVehicle, flow_id: str) -> Added:
        """Add a vehicle. Raises UnitTaken, BrandUnknown, BadUnitId, Unsealed, ModelUnknown, ModelAmbiguous."""
        warnings = self._checked(new.unit)
        model = chosen_model(self._models, new.unit.brand, new.vehicle_model_id, new.vehicle_model, new.year)
        now = self._now_ms()
        row = {
            "fleet_id": fleet_id,
            "brand": new.unit.brand,
            "telematics_unit_id": new.unit.telematics_unit_id,
            "vehicle_model_id": model.id,
            "master_data": dict(new.master_data),
            "custom_fields": dict(new.custom_fields),
            "tags": list(dict.fromkeys(new.tags)),
            "search": searchable(new.master_data, new.custom_fields),
            "operation_status": new.operation_status,
            "rental_status": "NOT_IN_RENTAL",
            "created_at": now,
            "modified_at": now,
        }
        async with self._store.writing() as connection:
            vehicle_id = await _free_id(connection)
            await connection.execute(insert(vehicles).values(vehicle_id=vehicle_id, **row))
            generation = await self._attach(connection, new.unit, vehicle_id)
            vehicle = await _one(connection, fleet_id, vehicle_id)
            found = await self._attachments.read(connection, [new.unit])
            await self._tell(connection, born(vehicle, self._models, "VehicleCreated", now, flow_id))
        self._changed([new.unit], found)
        return Added(vehicle, generation, tuple(warnings))

    async def get(self, fleet_id: str, vehicle_id: str) -> VehicleRecord:
        """One vehicle, archived or not. Raises Unknown."""
        async with self._store.reading() as connection:
            return await _one(connection, fleet_id, vehicle_id)

    async def page(
        self, fleet_id: str, wanted: VehicleFilter | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[VehicleRecord], str | None]:
        """A fleet's vehicles in the order they were added, and where the next page begins. Raises Wrong for a bad cursor."""
        query = selected().where(vehicles.c.fleet_id == fleet_id, *conditions(wanted or VehicleFilter()))
        if cursor is not None:
            query = query.where(tuple_(vehicles.c.created_at, vehicles.c.vehicle_id) > tuple_(*position_of(cursor)))
        query = query.order_by(vehicles.c.created_at, vehicles.c.vehicle_id).limit(limit + 1)
        async with self._store.reading() as connection:
            found = [record(row) for row in await connection.execute(query)]
        more = len(found) > limit
        found = found[:limit]
        return found, cursor_after(found[-1]) if more else None

    async def memories(self, vehicle_ids: Sequence[str]) -> dict[str, Memory]:
        """What is remembered of these vehicles; a vehicle never heard of is left out."""
        found = {}
        async with self._store.reading() as connection:
            for chunk in chunks(vehicle_ids):
                for row in await connection.execute(select(memories).where(memories.c.vehicle_id.in_(chunk))):
                    found[row.vehicle_id] = unpacked(row.facts, dict(row._mapping))
        return found

    async def online(self) -> int:
        """How many vehicles of all fleets are online."""
        live = vehicles.c.archived_at.is_(None)
        query = select(func.count()).select_from(memories.join(vehicles)).where(memories.c.online.is_(True), live)
        async with self._store.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def archive(self, fleet_id: str, vehicle_id: str, flow_id: str) -> VehicleRecord:
        """Take a vehicle out of operation at once; its unit is free. Again: nothing happens. Raises Unknown."""
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await _one(connection, fleet_id, vehicle_id)
            if vehicle.archived_at is not None:
                return vehicle
            await _update(connection, vehicle_id, now, archived_at=now)
            await connection.execute(update(units).where(units.c.vehicle_id == vehicle_id).values(vehicle_id=None))
            if vehicle.online:
                gone = {"online": False, "online_changed_at": now}
                await connection.execute(update(memories).where(memories.c.vehicle_id == vehicle_id).values(gone))
            vehicle = await _one(connection, fleet_id, vehicle_id)
            found = await self._attachments.read(connection, [vehicle.unit])
            await self._tell(connection, born(vehicle, self._models, "VehicleRemoved", now, flow_id))
        self._changed([vehicle.unit], found)
        return vehicle

    async def restore(self, fleet_id: str, vehicle_id: str, flow_id: str) -> VehicleRecord:
        """Take an archived vehicle back into operation. If it is not archived nothing happens. Raises Unknown, UnitTaken."""
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await _one(connection, fleet_id, vehicle_id)
            if vehicle.archived_at is None:
                return vehicle
            taken = await _holder(connection, vehicle.unit)
            if taken is not None:
                raise UnitTaken(vehicle.unit)
            await connection.execute(update(units).where(_is(vehicle.unit)).values(vehicle_id=vehicle_id))
            await _update(connection, vehicle_id, now, archived_at=None)
            vehicle = await _one(connection, fleet_id, vehicle_id)
            found = await self._attachments.read(connection, [vehicle.unit])
            await self._tell(connection, born(vehicle, self._models, "VehicleCreated", now, flow_id))
        self._changed([vehicle.unit], found)
        return vehicle

    async def reissue(self, fleet_id: str, vehicle_id: str, flow_id: str) -> Added:
        """Give the vehicle's unit its next key generation; the one before stays valid until the unit uses the new one.

        Raises Unknown, Archived.
        """
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await _one(connection, fleet_id, vehicle_id)
            if vehicle.archived_at is not None:
                raise Archived(f"the vehicle {vehicle_id} is archived")
            query = select(units.c.generation).where(units.c.vehicle_id == vehicle_id)
            last = int((await connection.execute(query)).scalar_one())
            generations = {"generation": _following(last), "previous_generation": last}
            await connection.execute(update(units).where(units.c.vehicle_id == vehicle_id).values(generations))
            found = await self._attachments.read(connection, [vehicle.unit])
            event = changed_event(vehicle, self._models, ("TELEMATICS_UNIT_CHANGED",), now, flow_id)
            await self._tell(connection, event)
        self._changed([vehicle.unit], found)
        return Added(vehicle, generations["generation"])

    async def attached(self) -> list[tuple[UnitId, int]]:
        """Every unit that a live vehicle has, and its newest key generation: who may log in at a broker."""
        query = select(units.c.brand, units.c.telematics_unit_id, units.c.generation).where(units.c.vehicle_id.is_not(None))
        async with self._store.reading() as connection:
            return [(UnitId(row.brand, row.telematics_unit_id), row.generation) for row in await connection.execute(query)]

    async def generation(self, unit: UnitId) -> int | None:
        """The newest key generation of `unit`, None if no live vehicle has it."""
        query = select(units.c.generation).where(_is(unit), units.c.vehicle_id.is_not(None))
        async with self._store.reading() as connection:
            known: int | None = (await connection.execute(query)).scalar_one_or_none()
        return known

    async def purge(self) -> int:
        """Forget the vehicles that were archived 90 days ago or earlier; how many."""
        old = vehicles.c.archived_at <= self._now_ms() - ARCHIVE_KEPT_MS
        async with self._store.writing() as connection:
            rows = await connection.execute(selected().where(old))
            gone = [record(row).unit for row in rows]
            await connection.execute(delete(vehicles).where(old))
            found = await self._attachments.read(connection, gone)
        self._changed(gone, found)
        return len(gone)

    def _checked(self, unit: UnitId) -> list[str]:
        brand = self._models.brands.get(unit.brand)
        if brand is None:
            raise BrandUnknown(f"there is no telematics brand {unit.brand}; known are {', '.join(sorted(self._models.brands))}")
        if not set(unit.telematics_unit_id) <= UNIT_ID_LETTERS:
            raise BadUnitId("a unit id is made of letters, digits, - and _")
        try:
            warnings = brand.check_unit_id(unit.telematics_unit_id)
        except ValueError as error:
            raise BadUnitId(str(error)) from error
        if not brand.sealed and not self._trust_broker:
            raise Unsealed(brand.name)
        return warnings

    async def _attach(self, connection: AsyncConnection, unit: UnitId, vehicle_id: str) -> int:
        """The key generation that the unit has from now on: a new one, if somebody may know an older."""
        query = select(units.c.vehicle_id, units.c.generation).where(_is(unit))
        known = (await connection.execute(query)).one_or_none()
        if known is None:
            row = {"brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_id": vehicle_id, "generation": 1}
            await connection.execute(insert(units).values(row))
            return 1
        if known.vehicle_id is not None:
            raise UnitTaken(unit)
        generation = _following(known.generation)
        values = {"vehicle_id": vehicle_id, "generation": generation, "previous_generation": None}
        await connection.execute(update(units).where(_is(unit)).values(values))
        return generation

    async def _tell(self, connection: AsyncConnection, event: Event) -> None:
        await self._outbox.put(connection, [event])

    def _changed(self, changed: Sequence[UnitId], found: Mapping[UnitId, Any]) -> None:
        self._attachments.replace(changed, found)
        self._outbox.waiting.set()


async def _one(connection: AsyncConnection, fleet_id: str, vehicle_id: str) -> VehicleRecord:
    query = selected().where(vehicles.c.vehicle_id == vehicle_id, vehicles.c.fleet_id == fleet_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise Unknown(f"there is no vehicle {vehicle_id}")
    return record(row)


async def _free_id(connection: AsyncConnection) -> str:
    while True:
        vehicle_id = "".join(secrets.choice(VEHICLE_ID_LETTERS) for _ in range(VEHICLE_ID_LENGTH))
        taken = await connection.execute(select(vehicles.c.vehicle_id).where(vehicles.c.vehicle_id == vehicle_id))
        if taken.first() is None:
            return vehicle_id


async def _holder(connection: AsyncConnection, unit: UnitId) -> str | None:
    holder: str | None = (await connection.execute(select(units.c.vehicle_id).where(_is(unit)))).scalar_one()
    return holder


async def _update(connection: AsyncConnection, vehicle_id: str, now: int, **values: Any) -> None:
    revised = {"modified_at": now, "revision": vehicles.c.revision + 1, **values}
    await connection.execute(update(vehicles).where(vehicles.c.vehicle_id == vehicle_id).values(revised))


def _is(unit: UnitId) -> ColumnElement[bool]:
    return and_(units.c.brand == unit.brand, units.c.telematics_unit_id == unit.telematics_unit_id)


def _following(generation: int) -> int:
    return generation % GENERATIONS + 1
