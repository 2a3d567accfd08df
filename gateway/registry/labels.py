"""What lists are narrowed by: labels of vehicles, in one index, one row a vehicle and label."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.attachments import chunks
from gateway.registry.record import VehicleRecord
from gateway.store.tables import vehicle_labels

EVERY = ""
"""The label that every vehicle has."""

LENGTH_LIMIT = 200
"""Longer labels are kept as a digest: an index entry has to fit into a third of a page."""


def labels_of(vehicle: VehicleRecord) -> set[str]:
    """All labels of a vehicle."""
    return {
        EVERY,
        brand_label(vehicle.unit.brand),
        model_label(vehicle.vehicle_model_id),
        operation_label(vehicle.operation_status),
        life_label(vehicle.online),
        *map(tag_label, vehicle.tags),
        *_custom_labels(vehicle.custom_fields),
    }


def brand_label(brand: str) -> str:
    """Of vehicles with a unit of that brand."""
    return _short(f"brand:{brand}")


def model_label(vehicle_model_id: str) -> str:
    """Of vehicles of that model."""
    return _short(f"model:{vehicle_model_id}")


def operation_label(status: str) -> str:
    """Of vehicles in that operation status."""
    return f"operation_status:{status}"


def life_label(online: bool) -> str:
    """Of vehicles whose unit is online, or of those whose is not."""
    return f"life_status:{'ONLINE' if online else 'OFFLINE'}"


def tag_label(tag: str) -> str:
    """Of vehicles with that tag."""
    return _short(f"tag:{tag}")


def custom_label(said: str) -> str:
    """Of vehicles with a custom field as said by `name:value`; the value of a text as it is, of anything else as in JSON."""
    return _short(f"custom:{said}")


async def label(connection: AsyncConnection, vehicle: VehicleRecord) -> None:
    """Write down the labels that `vehicle` has from now on."""
    await connection.execute(delete(vehicle_labels).where(vehicle_labels.c.number == vehicle.number))
    await label_new(connection, [vehicle])


async def label_new(connection: AsyncConnection, born: Sequence[VehicleRecord]) -> None:
    """Write down the labels of vehicles that have none yet."""
    rows = []
    for vehicle in born:
        place = {"fleet_id": vehicle.fleet_id, "archived": vehicle.archived_at is not None, "number": vehicle.number}
        rows += [{**place, "label": each} for each in labels_of(vehicle)]
    if rows:
        await connection.execute(insert(vehicle_labels), rows)


async def turn(connection: AsyncConnection, numbers: Sequence[int], online: bool) -> None:
    """The units of these vehicles went online, or offline."""
    for chunk in chunks(numbers):
        before = (vehicle_labels.c.number.in_(chunk), vehicle_labels.c.label == life_label(not online))
        await connection.execute(update(vehicle_labels).where(*before).values(label=life_label(online)))


async def forget(connection: AsyncConnection, numbers: Collection[int]) -> None:
    """These vehicles are gone."""
    for chunk in chunks(list(numbers)):
        await connection.execute(delete(vehicle_labels).where(vehicle_labels.c.number.in_(chunk)))


def _custom_labels(fields: Mapping[str, Any]) -> Iterable[str]:
    return (custom_label(f"{name}:{_text(value)}") for name, value in fields.items())


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _short(label: str) -> str:
    return label if len(label) <= LENGTH_LIMIT else "long:" + hashlib.sha256(label.encode()).hexdigest()
