"""Which vehicles a list shows, and where its next page begins. A page is one walk along an index, in the order of adding."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, column, exists, literal_column, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.errors import Wrong
from gateway.registry.labels import EVERY, brand_label, custom_label, life_label, model_label, operation_label, tag_label
from gateway.registry.record import VehicleRecord
from gateway.store.tables import SEARCH, vehicle_labels, vehicles

TRIGRAM = 3
"""Characters that the search index knows; what is shorter is looked for along the list."""

FEW = 50
"""Vehicles with a label that are looked at one by one sooner than through the search index."""


@dataclass(frozen=True, slots=True)
class VehicleFilter:
    """Which vehicles of a fleet; None: any. `text` is part of a value of master data or custom fields, in any case.

    `custom_fields` are `name:value` each, `tags` are words: the vehicle has all of them.
    """

    brand: str | None = None
    vehicle_model_id: str | None = None
    operation_status: str | None = None
    online: bool | None = None
    archived: bool = False
    text: str | None = None
    tags: Sequence[str] = ()
    custom_fields: Sequence[str] = ()

    @property
    def labels(self) -> list[str]:
        """What the vehicles are labelled with, what is likely rare first; never empty."""
        said = [custom_label(each) for each in self.custom_fields] + [tag_label(each) for each in self.tags]
        said += [model_label(self.vehicle_model_id)] if self.vehicle_model_id is not None else []
        said += [operation_label(self.operation_status)] if self.operation_status is not None else []
        said += [brand_label(self.brand)] if self.brand is not None else []
        said += [life_label(self.online)] if self.online is not None else []
        return list(dict.fromkeys(said)) or [EVERY]


async def page_query(connection: AsyncConnection, fleet_id: str, wanted: VehicleFilter, after: int, limit: int) -> Select[Any]:
    """The query of the numbers of the vehicles that are wanted, beginning behind number `after`."""
    said = wanted.text.casefold() if wanted.text else ""
    if len(said) < TRIGRAM or "\x00" in said or connection.dialect.name != "sqlite":
        return _along_labels(fleet_id, wanted, said, after).limit(limit)
    if await _labelled_few(connection, fleet_id, wanted, after):
        return _along_labels(fleet_id, wanted, said, after).limit(limit)
    found = table(SEARCH, column("rowid"))
    query = select(found.c.rowid).where(text(f"{SEARCH} MATCH :phrase").bindparams(phrase=_phrase(said)))
    conditions = [_labelled(fleet_id, wanted.archived, label, found.c.rowid) for label in wanted.labels]
    return query.where(found.c.rowid > after, *conditions).order_by(found.c.rowid).limit(limit)


async def _labelled_few(connection: AsyncConnection, fleet_id: str, wanted: VehicleFilter, after: int) -> bool:
    """Whether so few have the label that is likely rarest that looking at each is quick, whatever the text."""
    rarest = wanted.labels[0]
    if rarest == EVERY:
        return False
    has_it = _is(vehicle_labels, fleet_id, wanted.archived, rarest)
    walk = select(vehicle_labels.c.number).where(has_it, vehicle_labels.c.number > after)
    return len((await connection.execute(walk.limit(FEW + 1))).all()) <= FEW


def _along_labels(fleet_id: str, wanted: VehicleFilter, said: str, after: int) -> Select[Any]:
    walked = vehicle_labels.alias("walked")
    first, *others = wanted.labels
    conditions = [_is(walked, fleet_id, wanted.archived, first), walked.c.number > after]
    conditions += [_labelled(fleet_id, wanted.archived, label, walked.c.number) for label in others]
    if said:
        holds = vehicles.c.search.contains(said, autoescape=True)
        conditions.append(exists(literal_column("1")).where(vehicles.c.number == walked.c.number, holds).correlate(walked))
    return select(walked.c.number).where(*conditions).order_by(walked.c.number)


def _is(labels: FromClause, fleet_id: str, archived: bool, label: str) -> ColumnElement[bool]:
    return (labels.c.fleet_id == fleet_id) & (labels.c.archived == archived) & (labels.c.label == label)


def _labelled(fleet_id: str, archived: bool, label: str, number: ColumnElement[Any]) -> ColumnElement[bool]:
    other = vehicle_labels.alias()
    return exists(literal_column("1")).select_from(other).where(_is(other, fleet_id, archived, label), other.c.number == number)


def _phrase(said: str) -> str:
    """A phrase of FTS5: in quotes nothing has a meaning of its own."""
    return '"' + said.replace('"', '""') + '"'


def searchable(*fields: Mapping[str, Any]) -> str:
    """What can be looked for in these fields: their values, folded to one case, one a line."""
    values = (value for each in fields for value in each.values() if value is not None and not isinstance(value, bool))
    return "\n".join(str(value).casefold() for value in values)


def cursor_after(last: VehicleRecord) -> str:
    """The cursor of the page that follows `last`."""
    return base64.urlsafe_b64encode(str(last.number).encode()).decode().rstrip("=")


def position_of(cursor: str) -> int:
    """The number that the page begins after. Raises Wrong."""
    try:
        position = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
    except ValueError as error:
        raise Wrong("the cursor is not one of ours") from error
    if not 0 <= position < 1 << 63:
        raise Wrong("the cursor is not one of ours")
    return position
