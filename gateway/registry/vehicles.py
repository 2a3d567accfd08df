"""Vehicles come, change, go and come back; each change and the event that tells of it are one transaction."""

import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.chance import fresh_letters
from gateway.memory import Memory
from gateway.registry import labels
from gateway.registry.attachments import Attachments, chunks
from gateway.registry.errors import RegistryError, UnitTaken
from gateway.registry.listing import VehicleFilter, cursor_after, page_query, position_of, searchable
from gateway.registry.models import checked_unit, chosen_model
from gateway.registry.outbox import Outbox
from gateway.registry.packing import unpacked
from gateway.registry.record import VehicleRecord, born, record, selected
from gateway.registry.rows import attach_units, free_units, is_unit, many, one, revise
from gateway.store import Store
from gateway.store.tables import memories, units, vehicles
from modeldb import Database
from modeldb.model import VehicleModel
from protocols.codec import UnitId

VEHICLE_ID_LETTERS = "".join(sorted(set(string.ascii_uppercase + string.digits) - set("0O1I")))
VEHICLE_ID_LENGTH = 5

_MEMORIES = (
    select(memories, vehicles.c.replacements)
    .select_from(memories.join(vehicles))
    .where(memories.c.vehicle_id.in_(bindparam("wanted", expanding=True)))
)

ARCHIVE_KEPT_MS = 90 * 24 * 3600 * 1000


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


class _Chosen(NamedTuple):
    model: VehicleModel
    warnings: tuple[str, ...]


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
        believed: Collection[str],
    ) -> None:
        self._store, self._models, self._attachments, self._outbox = store, models, attachments, outbox
        self._now_ms, self._believed = now_ms, believed

    async def add(self, fleet_id: str, new: NewVehicle, flow_id: str) -> Added:
        """Add a vehicle. Raises UnitTaken, BrandUnknown, BadUnitId, Unsealed, ModelUnknown, ModelAmbiguous."""
        outcome = (await self.add_all(fleet_id, [new], flow_id))[0]
        if isinstance(outcome, RegistryError):
            raise outcome
        return outcome

    async def add_all(self, fleet_id: str, wanted: Sequence[NewVehicle], flow_id: str) -> list[Added | RegistryError]:
        """Add vehicles in one transaction; what came of each, in order: what one alone would raise keeps no other out."""
        outcomes: dict[int, Added | RegistryError] = {}
        now = self._now_ms()
        chosen: dict[int, _Chosen] = {}
        for place, new in enumerate(wanted):
            try:
                chosen[place] = self._chosen(new)
            except RegistryError as error:
                outcomes[place] = error
        async with self._store.writing() as connection:
            generations = await free_units(connection, [wanted[place].unit for place in chosen])
            free = set(generations)
            for place in list(chosen):
                unit = wanted[place].unit
                if unit in free:
                    free.remove(unit)
                else:
                    outcomes[place] = UnitTaken(unit)
                    del chosen[place]
            ids = dict(zip(chosen, await _free_ids(connection, len(chosen)), strict=True))
            last = int((await connection.execute(select(func.coalesce(func.max(vehicles.c.number), 0)))).scalar_one())
            rows = [
                _row(wanted[place], chosen[place].model.id, fleet_id, now) | {"vehicle_id": vehicle_id, "number": number}
                for number, (place, vehicle_id) in enumerate(ids.items(), last + 1)
            ]
            if rows:
                await connection.execute(insert(vehicles), rows)
            attached = {wanted[place].unit: vehicle_id for place, vehicle_id in ids.items()}
            await attach_units(connection, attached, generations)
            born_now = await many(connection, list(ids.values()))
            await labels.label_new(connection, list(born_now.values()))
            found = await self._attachments.read(connection, list(attached))
            created = [born(born_now[each], self._models, "VehicleCreated", now, flow_id) for each in ids.values()]
            await self._outbox.put(connection, created)
        if attached:
            self._changed(list(attached), found)
        for place, vehicle_id in ids.items():
            outcomes[place] = Added(born_now[vehicle_id], generations[wanted[place].unit], chosen[place].warnings)
        return [outcomes[place] for place in range(len(wanted))]

    def _chosen(self, new: NewVehicle) -> _Chosen:
        warnings = checked_unit(self._models, new.unit, believed=self._believed)
        model = chosen_model(self._models, new.unit.brand, new.vehicle_model_id, new.vehicle_model, new.year)
        return _Chosen(model, tuple(warnings))

    async def get(self, fleet_id: str, vehicle_id: str) -> VehicleRecord:
        """One vehicle, archived or not. Raises Unknown."""
        async with self._store.reading() as connection:
            return await one(connection, fleet_id, vehicle_id)

    async def page(
        self, fleet_id: str, wanted: VehicleFilter | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[VehicleRecord], str | None]:
        """A fleet's vehicles in the order they were added, and where the next page begins. Raises Wrong for a bad cursor."""
        after = 0 if cursor is None else position_of(cursor)
        async with self._store.reading() as connection:
            query = await page_query(connection, fleet_id, wanted or VehicleFilter(), after, limit + 1)
            wanted_numbers = list((await connection.execute(query)).scalars())
            rows = await connection.execute(selected().where(vehicles.c.number.in_(wanted_numbers)).order_by(vehicles.c.number))
            found = [record(row) for row in rows]
        more = len(found) > limit
        found = found[:limit]
        return found, cursor_after(found[-1]) if more else None

    async def memories(self, vehicle_ids: Sequence[str]) -> dict[str, Memory]:
        """What is remembered of these vehicles; a vehicle never heard of is left out."""
        found = {}
        async with self._store.reading() as connection:
            for chunk in chunks(vehicle_ids):
                for row in await connection.execute(_MEMORIES, {"wanted": chunk}):
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
            vehicle = await one(connection, fleet_id, vehicle_id)
            if vehicle.archived_at is not None:
                return vehicle
            await connection.execute(update(units).where(units.c.vehicle_id == vehicle_id).values(vehicle_id=None))
            if vehicle.online:
                gone = {"online": False, "online_changed_at": now}
                await connection.execute(update(memories).where(memories.c.vehicle_id == vehicle_id).values(gone))
            vehicle = await revise(connection, vehicle, now, archived_at=now)
            found = await self._attachments.read(connection, [vehicle.unit])
            await self._outbox.put(connection, [born(vehicle, self._models, "VehicleRemoved", now, flow_id)])
        self._changed([vehicle.unit], found)
        return vehicle

    async def restore(self, fleet_id: str, vehicle_id: str, flow_id: str) -> VehicleRecord:
        """Take an archived vehicle back into operation. If it is not archived nothing happens. Raises Unknown, UnitTaken."""
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await one(connection, fleet_id, vehicle_id)
            if vehicle.archived_at is None:
                return vehicle
            holder = await connection.execute(select(units.c.vehicle_id).where(is_unit(vehicle.unit)))
            if holder.scalar_one() is not None:
                raise UnitTaken(vehicle.unit)
            await connection.execute(update(units).where(is_unit(vehicle.unit)).values(vehicle_id=vehicle_id))
            vehicle = await revise(connection, vehicle, now, archived_at=None)
            found = await self._attachments.read(connection, [vehicle.unit])
            await self._outbox.put(connection, [born(vehicle, self._models, "VehicleCreated", now, flow_id)])
        self._changed([vehicle.unit], found)
        return vehicle

    async def attached(self) -> list[tuple[UnitId, int]]:
        """Every unit that a live vehicle has, and its newest key generation: who may log in at a broker."""
        query = select(units.c.brand, units.c.telematics_unit_id, units.c.generation).where(units.c.vehicle_id.is_not(None))
        async with self._store.reading() as connection:
            return [(UnitId(row.brand, row.telematics_unit_id), row.generation) for row in await connection.execute(query)]

    async def generation(self, unit: UnitId) -> int | None:
        """The newest key generation of `unit`, None if no live vehicle has it."""
        query = select(units.c.generation).where(is_unit(unit), units.c.vehicle_id.is_not(None))
        async with self._store.reading() as connection:
            known: int | None = (await connection.execute(query)).scalar_one_or_none()
        return known

    async def purge(self) -> int:
        """Forget the vehicles that were archived 90 days ago or earlier; how many."""
        old = vehicles.c.archived_at <= self._now_ms() - ARCHIVE_KEPT_MS
        async with self._store.writing() as connection:
            rows = await connection.execute(selected().where(old))
            purged = [record(row) for row in rows]
            gone = [vehicle.unit for vehicle in purged]
            await labels.forget(connection, [vehicle.number for vehicle in purged])
            await connection.execute(delete(vehicles).where(old))
            found = await self._attachments.read(connection, gone)
        self._changed(gone, found)
        return len(gone)

    def _changed(self, changed: Sequence[UnitId], found: Mapping[UnitId, Any]) -> None:
        self._attachments.replace(changed, found)
        self._outbox.waiting.set()


def _row(new: NewVehicle, vehicle_model_id: str, fleet_id: str, now: int) -> dict[str, Any]:
    return {
        "fleet_id": fleet_id,
        "brand": new.unit.brand,
        "telematics_unit_id": new.unit.telematics_unit_id,
        "vehicle_model_id": vehicle_model_id,
        "master_data": dict(new.master_data),
        "custom_fields": dict(new.custom_fields),
        "tags": list(dict.fromkeys(new.tags)),
        "search": searchable(new.master_data, new.custom_fields),
        "operation_status": new.operation_status,
        "rental_status": "NOT_IN_RENTAL",
        "created_at": now,
        "modified_at": now,
    }


async def _free_ids(connection: AsyncConnection, count: int) -> list[str]:
    """So many ids that no vehicle has."""
    free: dict[str, None] = {}
    while len(free) < count:
        drawn = {fresh_letters(VEHICLE_ID_LETTERS, VEHICLE_ID_LENGTH): None for _ in range(count - len(free))}
        for chunk in chunks(list(drawn)):
            for taken in await connection.execute(select(vehicles.c.vehicle_id).where(vehicles.c.vehicle_id.in_(chunk))):
                del drawn[taken.vehicle_id]
        free |= drawn
    return list(free)
