"""Which vehicles a list shows, and where its next page begins."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_

from gateway.registry.errors import Wrong
from gateway.registry.record import VehicleRecord
from gateway.store.tables import memories, vehicles


@dataclass(frozen=True, slots=True)
class VehicleFilter:
    """Which vehicles of a fleet; None: any. `text` is part of a value of master data or custom fields, in any case."""

    brand: str | None = None
    vehicle_model_id: str | None = None
    operation_status: str | None = None
    online: bool | None = None
    archived: bool | None = False
    text: str | None = None


def conditions(wanted: VehicleFilter) -> list[ColumnElement[bool]]:
    """What a vehicle must fulfil to be among `wanted`."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.archived is not None:
        archived_at = vehicles.c.archived_at
        conditions.append(archived_at.is_not(None) if wanted.archived else archived_at.is_(None))
    if wanted.brand is not None:
        conditions.append(vehicles.c.brand == wanted.brand)
    if wanted.vehicle_model_id is not None:
        conditions.append(vehicles.c.vehicle_model_id == wanted.vehicle_model_id)
    if wanted.operation_status is not None:
        conditions.append(vehicles.c.operation_status == wanted.operation_status)
    if wanted.online is not None:
        online = memories.c.online.is_(True)
        conditions.append(online if wanted.online else or_(memories.c.online.is_(None), memories.c.online.is_(False)))
    if wanted.text:
        conditions.append(vehicles.c.search.contains(wanted.text.casefold(), autoescape=True))
    return conditions


def searchable(*fields: Mapping[str, Any]) -> str:
    """What can be looked for in these fields: their values, folded to one case, one a line."""
    values = (value for each in fields for value in each.values() if value is not None and not isinstance(value, bool))
    return "\n".join(str(value).casefold() for value in values)


def cursor_after(last: VehicleRecord) -> str:
    """The cursor of the page that follows `last`."""
    return base64.urlsafe_b64encode(f"{last.created_at}.{last.vehicle_id}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> tuple[int, str]:
    """What the page begins after: created_at and vehicle_id. Raises Wrong."""
    try:
        created_at, _, vehicle_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(".")
        position = int(created_at)
    except ValueError as error:
        raise Wrong("the cursor is not one of ours") from error
    if not 0 <= position < 1 << 63:
        raise Wrong("the cursor is not one of ours")
    return position, vehicle_id
