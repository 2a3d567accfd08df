"""A vehicle as clients see it: its row, and the document that lists, answers and events show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, select

from gateway.chance import fresh_uuid
from gateway.event_types import ChangeReason
from gateway.events import Event, timestamp
from gateway.store.tables import memories, vehicles
from modeldb import Database
from protocols.codec import UnitId

OperationStatus = Literal["OPERATING", "GARAGE", "OUT_OF_ORDER", "INACTIVE"]
RentalStatus = Literal["IN_RENTAL", "NOT_IN_RENTAL"]

_HEARD = (memories.c.online, memories.c.online_changed_at, memories.c.last_contact_at, memories.c.firmware)


@dataclass(frozen=True, slots=True)
class VehicleRecord:
    """A vehicle's row, and what is remembered of its unit. Times are Unix milliseconds."""

    vehicle_id: str
    fleet_id: str
    unit: UnitId
    vehicle_model_id: str
    master_data: Mapping[str, Any]
    custom_fields: Mapping[str, Any]
    tags: tuple[str, ...]
    operation_status: str
    rental_status: str
    created_at: int
    modified_at: int
    archived_at: int | None
    revision: int
    number: int
    replacements: int
    online: bool
    online_changed_at: int | None
    last_contact_at: int | None
    firmware: str | None

    def document(self, models: Database) -> dict[str, Any]:
        """The vehicle as JSON values."""
        model = models.models.get(self.vehicle_model_id)
        translation = model.units.get(self.unit.brand) if model else None
        return {
            "id": self.vehicle_id,
            "fleet_id": self.fleet_id,
            "status": "ACTIVE" if self.archived_at is None else "ARCHIVED",
            "telematics_unit": {
                "id": self.unit.telematics_unit_id,
                "brand": self.unit.brand,
                "model": None,
                "firmware": self.firmware,
                "last_contact_at": _moment(self.last_contact_at),
            },
            "model": {
                "id": self.vehicle_model_id,
                "brand": model.make if model else None,
                "name": model.name if model else None,
                "type": model.type if model else None,
                "start_of_production": model.start_of_production.isoformat() if model else None,
            },
            "capabilities": {
                "commands": list(translation.commands) if translation else [],
                "vehicle_state": [key.upper() for key in translation.state_keys] if translation else [],
            },
            "master_data": dict(self.master_data),
            "custom_fields": dict(self.custom_fields),
            "tags": list(self.tags),
            "life_status": {
                "value": "ONLINE" if self.online else "OFFLINE",
                "modified_at": timestamp(self.online_changed_at or self.created_at),
            },
            "operation_status": self.operation_status,
            "rental_status": self.rental_status,
            "created_at": timestamp(self.created_at),
            "modified_at": timestamp(self.modified_at),
            "archived_at": _moment(self.archived_at),
        }


def _moment(at: int | None) -> str | None:
    return None if at is None else timestamp(at)


def selected() -> Select[Any]:
    """The query of all records; the caller narrows it."""
    return select(vehicles, *_HEARD).select_from(vehicles.outerjoin(memories))


def record(row: Row[Any]) -> VehicleRecord:
    """The record of a row of `selected()`."""
    said = row._mapping
    return VehicleRecord(
        said["vehicle_id"],
        said["fleet_id"],
        UnitId(said["brand"], said["telematics_unit_id"]),
        said["vehicle_model_id"],
        said["master_data"],
        said["custom_fields"],
        tuple(said["tags"]),
        said["operation_status"],
        said["rental_status"],
        said["created_at"],
        said["modified_at"],
        said["archived_at"],
        said["revision"],
        said["number"],
        said["replacements"],
        bool(said["online"]),
        said["online_changed_at"],
        said["last_contact_at"],
        said["firmware"],
    )


def born(vehicle: VehicleRecord, models: Database, event_type: str, now: int, flow_id: str, **body: Any) -> Event:
    """A new event of the registry about `vehicle`; its id is made here, once."""
    body = {"vehicle": vehicle.document(models), **body}
    return Event(fresh_uuid(), event_type, flow_id, now, now, vehicle.fleet_id, vehicle.vehicle_id, body)


def changed_event(vehicle: VehicleRecord, models: Database, reasons: Sequence[ChangeReason], now: int, flow_id: str) -> Event:
    """The VehicleChanged that says why `vehicle` is not what it was."""
    return born(vehicle, models, "VehicleChanged", now, flow_id, reasons=list(reasons))
