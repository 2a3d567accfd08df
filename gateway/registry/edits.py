"""What people change of a vehicle: data, rental, unit. A change and the event that tells of it are one transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.changes import Occasion
from gateway.event_types import ChangeReason
from gateway.memory import Memory, Recorded
from gateway.registry.attachments import Attachments
from gateway.registry.errors import TooManyFields
from gateway.registry.listing import searchable
from gateway.registry.models import checked_unit, chosen_model
from gateway.registry.outbox import Outbox
from gateway.registry.packing import columns, unpacked
from gateway.registry.record import VehicleRecord, changed_event
from gateway.registry.rows import attach_unit, following, one_live, revise
from gateway.registry.vehicles import Added
from gateway.store import Store
from gateway.store.tables import memories, units, vehicles
from gateway.trips import on_rental_status
from modeldb import Database
from protocols.codec import UnitId

FIELDS_LIMIT = 50
"""Fields of master data, custom fields, and tags: of each."""

OLDER_THAN_ANY = -1
"""The order of what the unit before said: whatever the new one says is newer."""

REASONS: Mapping[str, ChangeReason] = {
    "master_data": "MASTER_DATA_CHANGED",
    "custom_fields": "CUSTOM_FIELDS_CHANGED",
    "tags": "TAGS_CHANGED",
    "operation_status": "OPERATION_STATUS_CHANGED",
}


@dataclass(frozen=True, slots=True)
class NewUnit:
    """The unit that a vehicle gets. The model is the vehicle's own, unless one is said as for a new vehicle."""

    unit: UnitId
    vehicle_model_id: str | None = None
    vehicle_model: str | None = None
    year: int | None = None


class Edits:
    """Changes to live vehicles of all fleets. Another fleet's vehicle is Unknown, an archived one is Archived."""

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

    async def patch(
        self, fleet_id: str, vehicle_id: str, said: Mapping[str, Any], flow_id: str, *, revisions: Collection[int] | None = None
    ) -> VehicleRecord:
        """Apply a merge patch (RFC 7396) of master_data, custom_fields, tags and operation_status.

        `revisions`: only if the vehicle has one of them. What stays as it was is no change. Raises Stale, TooManyFields.
        """
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await one_live(connection, fleet_id, vehicle_id, revisions)
            changes = {name: value for name, value in _patched(vehicle, said).items() if value != _value(vehicle, name)}
            if not changes:
                return vehicle
            if {"master_data", "custom_fields"} & changes.keys():
                fields = [changes.get(name, _value(vehicle, name)) for name in ("master_data", "custom_fields")]
                changes["search"] = searchable(*fields)
            reasons = [reason for name, reason in REASONS.items() if name in changes]
            vehicle = await self._revise(connection, vehicle, reasons, now, flow_id, **changes)
        self._outbox.waiting.set()
        return vehicle

    async def rent(self, fleet_id: str, vehicle_id: str, rental_status: str, flow_id: str) -> VehicleRecord:
        """Say whether the vehicle is in rental, with the trip that this begins or ends; that it is so already is no change."""
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await one_live(connection, fleet_id, vehicle_id)
            if vehicle.rental_status == rental_status:
                return vehicle
            attached = (await self._attachments.read(connection, [vehicle.unit])).get(vehicle.unit)
            vehicle = await revise(connection, vehicle, now, rental_status=rental_status)
            told = [changed_event(vehicle, self._models, ("RENTAL_STATUS_CHANGED",), now, flow_id)]
            if attached is not None:
                occasion = Occasion(told[0].id, flow_id, now, now, fleet_id, vehicle_id)
                trip, events = on_rental_status(*attached, rental_status == "IN_RENTAL", occasion)
                row = update(vehicles).where(vehicles.c.vehicle_id == vehicle_id)
                await connection.execute(row.values(rental_trip=null() if trip is None else dict(trip)))
                told += events
            await self._outbox.put(connection, told)
            found = await self._attachments.read(connection, [vehicle.unit])
        self._attachments.replace([vehicle.unit], found)
        self._outbox.waiting.set()
        return vehicle

    async def replace_unit(
        self, fleet_id: str, vehicle_id: str, new: NewUnit, flow_id: str, *, revisions: Collection[int] | None = None
    ) -> tuple[Added, UnitId]:
        """Give the vehicle another unit; also the unit that it had. Its id and its last values stay, what the new unit counts
        begins anew. Raises UnitTaken, BrandUnknown, BadUnitId, Unsealed, ModelUnknown, ModelAmbiguous, Stale.
        """
        warnings = checked_unit(self._models, new.unit, believed=self._believed)
        now = self._now_ms()
        async with self._store.writing() as connection:
            before = await one_live(connection, fleet_id, vehicle_id, revisions)
            model_id = new.vehicle_model_id
            if model_id is None and new.vehicle_model is None:
                model_id = before.vehicle_model_id
            model = chosen_model(self._models, new.unit.brand, model_id, new.vehicle_model, new.year)
            await connection.execute(update(units).where(units.c.vehicle_id == vehicle_id).values(vehicle_id=None))
            generation = await attach_unit(connection, new.unit, vehicle_id)
            await _begin_anew(connection, before, now)
            values = {
                "brand": new.unit.brand,
                "telematics_unit_id": new.unit.telematics_unit_id,
                "vehicle_model_id": model.id,
                "replacements": vehicles.c.replacements + 1,
            }
            vehicle = await revise(connection, before, now, **values)
            changed = [before.unit, new.unit]
            found = await self._attachments.read(connection, changed)
            reasons: list[ChangeReason] = ["TELEMATICS_UNIT_CHANGED", *self._capability_change(before, vehicle)]
            reasons += ["LIFE_STATUS_CHANGED"] if before.online else []
            await self._outbox.put(connection, [changed_event(vehicle, self._models, reasons, now, flow_id)])
        self._attachments.replace(changed, found)
        self._outbox.waiting.set()
        return Added(vehicle, generation, tuple(warnings)), before.unit

    async def reissue(self, fleet_id: str, vehicle_id: str, flow_id: str) -> Added:
        """Give the vehicle's unit its next key generation; the one before stays valid until the unit uses the new one."""
        now = self._now_ms()
        async with self._store.writing() as connection:
            vehicle = await one_live(connection, fleet_id, vehicle_id)
            query = select(units.c.generation).where(units.c.vehicle_id == vehicle_id)
            last = int((await connection.execute(query)).scalar_one())
            generations = {"generation": following(last), "previous_generation": last}
            await connection.execute(update(units).where(units.c.vehicle_id == vehicle_id).values(generations))
            found = await self._attachments.read(connection, [vehicle.unit])
            event = changed_event(vehicle, self._models, ("TELEMATICS_UNIT_CHANGED",), now, flow_id)
            await self._outbox.put(connection, [event])
        self._attachments.replace([vehicle.unit], found)
        self._outbox.waiting.set()
        return Added(vehicle, generations["generation"])

    async def _revise(
        self,
        connection: AsyncConnection,
        vehicle: VehicleRecord,
        reasons: Sequence[ChangeReason],
        now: int,
        flow_id: str,
        **values: Any,
    ) -> VehicleRecord:
        vehicle = await revise(connection, vehicle, now, **values)
        await self._outbox.put(connection, [changed_event(vehicle, self._models, reasons, now, flow_id)])
        return vehicle

    def _capability_change(self, before: VehicleRecord, after: VehicleRecord) -> list[ChangeReason]:
        same = before.document(self._models)["capabilities"] == after.document(self._models)["capabilities"]
        return [] if same else ["CAPABILITIES_CHANGED"]


async def _begin_anew(connection: AsyncConnection, vehicle: VehicleRecord, now: int) -> None:
    """What the older unit counted is nothing to the new one; the vehicle's last values stay until it says others."""
    row = (await connection.execute(select(memories).where(memories.c.vehicle_id == vehicle.vehicle_id))).one_or_none()
    if row is None:
        return
    older = unpacked(row.facts, {**row._mapping, "replacements": vehicle.replacements})
    state = {key: Recorded(said.value, said.at, OLDER_THAN_ANY) for key, said in older.state.items()}
    changed_at = now if older.online else older.online_changed_at
    anew = Memory(state=state, last_contact_at=older.last_contact_at, online_changed_at=changed_at, trip=older.trip)
    stored = columns(msgspec.structs.replace(anew, replacements=vehicle.replacements + 1))
    await connection.execute(update(memories).where(memories.c.vehicle_id == vehicle.vehicle_id).values(stored))


def _patched(vehicle: VehicleRecord, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields named in `said` hold after it."""
    patched: dict[str, Any] = {}
    for name, value in said.items():
        match name:
            case "master_data" | "custom_fields":
                patched[name] = _merged(_value(vehicle, name), value)
            case "tags":
                patched[name] = list(dict.fromkeys(value or ()))
            case "operation_status":
                patched[name] = value or "OPERATING"
    return patched


def _merged(fields: Mapping[str, Any], said: Mapping[str, Any] | None) -> dict[str, Any]:
    if said is None:
        return {}
    kept = {name: value for name, value in fields.items() if name not in said}
    merged = kept | {name: value for name, value in said.items() if value is not None}
    if len(merged) > FIELDS_LIMIT:
        raise TooManyFields(f"a vehicle has at most {FIELDS_LIMIT} fields of a kind")
    return merged


def _value(vehicle: VehicleRecord, name: str) -> Any:
    value = getattr(vehicle, name)
    return list(value) if name == "tags" else value
