"""Which unit speaks for which vehicle, with what is remembered of it: read once, kept at hand."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.memory import Memory, Vehicle
from gateway.registry.packing import unpacked
from gateway.store import Store
from gateway.store.tables import fleets, memories, units, vehicles
from modeldb import Database
from protocols.codec import UnitId

KEPT = 20_000
"""Vehicles at hand: with some 10 KB of state each, 200 MB at most."""

IDS_IN_A_QUERY = 5_000

log = structlog.get_logger(__name__)

T = TypeVar("T")
Attached = tuple[Vehicle, Memory]


class Attachments:
    """The vehicles behind units. What is not at hand is read from the store."""

    def __init__(self, store: Store, models: Database) -> None:
        self._store, self._models = store, models
        self._attached: OrderedDict[UnitId, Attached] = OrderedDict()
        self._units: dict[str, UnitId] = {}
        self._changes = 0

    async def find(self, wanted: Collection[UnitId]) -> dict[UnitId, Attached]:
        """The vehicle of each unit that was ever attached, the archived one if no live one has it."""
        known = {unit: self._attached[unit] for unit in wanted if unit in self._attached}
        for unit in known:
            self._attached.move_to_end(unit)
        missing = [unit for unit in wanted if unit not in known]
        return known | await self._fetch(_of_units(missing)) if missing else known

    async def online(self) -> dict[UnitId, Attached]:
        """Those that were online when last heard of."""
        return await self._fetch([_selected().where(memories.c.online, vehicles.c.archived_at.is_(None))])

    async def by_vehicle(self, vehicle_ids: Collection[str]) -> dict[str, Attached]:
        """The live vehicles among `vehicle_ids`."""
        found = {each: self._attached[self._units[each]] for each in vehicle_ids if each in self._units}
        missing = [each for each in vehicle_ids if each not in found]
        if missing:
            live = _selected().where(vehicles.c.archived_at.is_(None))
            fetched = await self._fetch(live.where(vehicles.c.vehicle_id.in_(chunk)) for chunk in chunks(missing))
            found |= {attached[0].vehicle_id: attached for attached in fetched.values()}
        return {each: attached for each, attached in found.items() if not attached[0].archived}

    def at_hand(self, vehicle_id: str) -> Attached | None:
        """A live vehicle, if it is at hand."""
        unit = self._units.get(vehicle_id)
        attached = None if unit is None else self._attached[unit]
        return attached if attached is not None and not attached[0].archived else None

    def vehicle_of(self, unit: UnitId) -> Vehicle | None:
        """The vehicle of `unit`, if it is at hand."""
        known = self._attached.get(unit)
        return known[0] if known else None

    def remember(self, changes: Mapping[str, Memory], moved: Iterable[str]) -> None:
        """What the store now remembers of each vehicle_id; units of `moved` have left their older key behind."""
        for vehicle_id, memory in changes.items():
            unit = self._units.get(vehicle_id)
            if unit is not None:
                self._attached[unit] = (self._attached[unit][0], memory)
        for vehicle_id in moved:
            unit = self._units.get(vehicle_id)
            if unit is not None:
                vehicle, memory = self._attached[unit]
                self._attached[unit] = (replace(vehicle, generations=vehicle.generations[:1]), memory)

    async def read(self, connection: AsyncConnection, wanted: Collection[UnitId]) -> dict[UnitId, Attached]:
        """What the store says of `wanted` as seen by a transaction of the caller, who calls `replace` once it is committed."""
        found: dict[UnitId, Attached] = {}
        for query in _of_units(wanted):
            await self._read_into(found, connection, query)
        return found

    def replace(self, changed: Collection[UnitId], found: Mapping[UnitId, Attached]) -> None:
        """What is known of the units `changed` is now `found`, and nothing else."""
        self._changes += 1
        for unit in changed:
            known = self._attached.pop(unit, None)
            if known is not None:
                self._units.pop(known[0].vehicle_id, None)
        for attached in found.values():
            self._keep(attached)

    def forget(self) -> None:
        """Everything at hand may have changed: read it again when it is asked for."""
        self._changes += 1
        self._attached.clear()
        self._units.clear()

    async def _fetch(self, queries: Iterable[Select[Any]]) -> dict[UnitId, Attached]:
        found: dict[UnitId, Attached] = {}
        changes = self._changes
        async with self._store.reading() as connection:
            for query in queries:
                await self._read_into(found, connection, query)
        if changes == self._changes:  # else what was read may be of before the change
            for attached in found.values():
                self._keep(attached)
        return {unit: self._attached.get(unit, attached) for unit, attached in found.items()}

    def _keep(self, attached: Attached) -> None:
        vehicle, _ = attached
        self._attached.setdefault(vehicle.unit, attached)
        self._units[vehicle.vehicle_id] = vehicle.unit
        while len(self._attached) > KEPT:
            _, (oldest, _) = self._attached.popitem(last=False)
            self._units.pop(oldest.vehicle_id, None)

    async def _read_into(self, found: dict[UnitId, Attached], connection: AsyncConnection, query: Select[Any]) -> None:
        # Live vehicles come last, then those archived latest: they are what the unit means.
        query = query.order_by(vehicles.c.archived_at.is_(None), vehicles.c.archived_at)
        for row in await connection.execute(query):
            vehicle = self._vehicle(row._mapping)
            if vehicle is not None:
                found[vehicle.unit] = (vehicle, unpacked(row.facts, row._mapping))

    def _vehicle(self, row: Mapping[str, Any]) -> Vehicle | None:
        brand, model = self._models.brands.get(row["brand"]), self._models.models.get(row["vehicle_model_id"])
        if brand is None or model is None or brand.name not in model.units:
            log.error("the model database lacks a vehicle's model", vehicle_id=row["vehicle_id"], model=row["vehicle_model_id"])
            return None
        generations = (row["generation"], row["previous_generation"])
        return Vehicle(
            row["vehicle_id"],
            row["fleet_id"],
            UnitId(row["brand"], row["telematics_unit_id"]),
            brand,
            model,
            tuple(each for each in generations if each is not None),
            row["archived_at"] is not None,
            row["trip_trigger"],
            row["rental_trip"],
        )


def _selected() -> Select[Any]:
    unit = and_(units.c.brand == vehicles.c.brand, units.c.telematics_unit_id == vehicles.c.telematics_unit_id)
    return select(
        vehicles.c.vehicle_id,
        vehicles.c.fleet_id,
        vehicles.c.brand,
        vehicles.c.telematics_unit_id,
        vehicles.c.vehicle_model_id,
        vehicles.c.archived_at,
        vehicles.c.replacements,
        vehicles.c.rental_trip,
        fleets.c.trip_trigger,
        units.c.generation,
        units.c.previous_generation,
        memories.c.online,
        memories.c.online_changed_at,
        memories.c.last_contact_at,
        memories.c.firmware,
        memories.c.facts,
    ).select_from(vehicles.join(fleets).join(units, unit).outerjoin(memories))


def _of_units(wanted: Iterable[UnitId]) -> Iterator[Select[Any]]:
    by_brand: dict[str, list[str]] = {}
    for unit in wanted:
        by_brand.setdefault(unit.brand, []).append(unit.telematics_unit_id)
    for brand, ids in by_brand.items():
        for chunk in chunks(ids):
            yield _selected().where(vehicles.c.brand == brand, vehicles.c.telematics_unit_id.in_(chunk))


def chunks(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """`ids` in portions that fit into one query."""
    for start in range(0, len(ids), IDS_IN_A_QUERY):
        yield ids[start : start + IDS_IN_A_QUERY]
