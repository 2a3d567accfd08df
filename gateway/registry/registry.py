"""The registry: what the gateway knows, behind one object. SQL stays below it, the wire and HTTP above."""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import Executable, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.chance import fresh_uuid
from gateway.events import Event
from gateway.memory import Memory, Vehicle
from gateway.receipts import Refused
from gateway.registry import labels
from gateway.registry.attachments import Attached, Attachments, chunks
from gateway.registry.clients import Clients
from gateway.registry.commands import CommandLog
from gateway.registry.consumers import EventConsumers
from gateway.registry.edits import Edits
from gateway.registry.fleets import Fleets
from gateway.registry.outbox import Outbox
from gateway.registry.packing import COLUMNS, columns, row_of
from gateway.registry.quarantine import Quarantine
from gateway.registry.record import changed_event, record, selected
from gateway.registry.vehicles import Vehicles
from gateway.store import Store
from gateway.store.tables import memories, units, vehicles
from modeldb import Database
from protocols.codec import UnitId
from protocols.keys import UnitKeys, brand_key, unit_keys


def _upsert(row: "postgresql.Insert | sqlite.Insert") -> Executable:
    newer = {name: row.excluded[name] for name in COLUMNS}
    return row.on_conflict_do_update(index_elements=[memories.c.vehicle_id], set_=newer)


_LIVE = (
    "SELECT json_group_object(vehicle_id, replacements) FROM vehicles "
    "WHERE archived_at IS NULL AND vehicle_id IN (SELECT value FROM json_each(?))"
)
ROWS_AT_ONCE = 64
"""Rows in one statement."""

_UPSERT = {"postgresql": _upsert(postgresql.insert(memories)), "sqlite": _upsert(sqlite.insert(memories))}


KEYS_KEPT = 65_536
"""Keys of units that are not derived anew each time, some 400 bytes each."""


class Registry:
    """Vehicles, units, secrets, last states, commands. One a gateway: what it has read, it keeps at hand."""

    def __init__(
        self,
        store: Store,
        models: Database,
        provisioning_key: bytes,
        now_ms: Callable[[], int],
        *,
        trust_broker: bool = False,
        trust_tcp: Collection[str] = (),
    ) -> None:
        """Units of brands without a seal may be attached where the broker is trusted, or TCP for their protocols, `trust_tcp`."""
        believed = {brand.protocol for brand in models.brands.values()} if trust_broker else set(trust_tcp)
        self.store, self.models = store, models
        self._now_ms = now_ms
        self._provisioning_key = provisioning_key
        self._brand_keys: dict[str, bytes] = {}
        self._attachments = Attachments(store, models)
        self.fleets = Fleets(store, now_ms, self._attachments.forget)
        self.clients = Clients(store, now_ms)
        self.consumers = EventConsumers(store, now_ms)
        self.outbox = Outbox(store)
        self.quarantine = Quarantine(store)
        self.commands = CommandLog(store, now_ms)
        self.vehicles = Vehicles(store, models, self._attachments, self.outbox, now_ms, believed=believed)
        self.edits = Edits(store, models, self._attachments, self.outbox, now_ms, believed=believed)
        self.at_hand = self._attachments.at_hand
        self.keys: Callable[[UnitId, int], UnitKeys] = lru_cache(KEYS_KEPT)(self._derived)
        """The keys of a unit in one generation."""
        self.forget_command = self.commands.forget
        self.finish_command = self.commands.finish
        self.command_by_key = self.commands.by_key
        self.command_by_counter = self.commands.by_counter
        self.recent_flows = self.commands.recent_flows

    async def find(self, wanted: Collection[UnitId]) -> dict[UnitId, Attached]:
        """The vehicle and its memory of each unit that was ever attached; archived vehicles say so."""
        return await self._attachments.find(wanted)

    async def online(self) -> dict[UnitId, Attached]:
        """Those that were online when last heard of."""
        return await self._attachments.online()

    def secrets(self, vehicle: Vehicle) -> tuple[UnitKeys, ...]:
        """The keys of the vehicle's unit, newest generation first."""
        return tuple(self.keys(vehicle.unit, generation) for generation in vehicle.generations)

    def _derived(self, unit: UnitId, generation: int) -> UnitKeys:
        master = self._brand_keys.get(unit.brand)
        if master is None:
            master = self._brand_keys[unit.brand] = brand_key(self._provisioning_key, unit.brand)
        return unit_keys(master, generation, unit.telematics_unit_id)

    async def logins(self) -> dict[UnitId, str]:
        """The broker password of every unit that a live vehicle has."""
        return {unit: self.keys(unit, generation).password for unit, generation in await self.vehicles.attached()}

    async def login(self, unit: UnitId) -> str | None:
        """The broker password of `unit`, None if no live vehicle has it."""
        generation = await self.vehicles.generation(unit)
        return None if generation is None else self.keys(unit, generation).password

    async def remember(self, changes: Mapping[str, Memory], refused: Sequence[Refused] = ()) -> None:
        """Keep what was heard of each vehicle_id, and what was refused: one transaction, all or nothing.

        A vehicle that was archived or got another unit meanwhile stays as it was.
        Who went online or offline gets its VehicleChanged in the outbox.
        """
        before = await self._attachments.by_vehicle(changes)
        if self.store.is_direct and not refused and _only_said_more(changes, before):
            rows = {each: row_of(each, memory) for each, memory in changes.items()}
            kept = await self.store.write_directly(lambda connection: _write_known(connection, changes, rows))
            self._attachments.remember(kept, ())
            return
        async with self.store.writing() as connection:
            heard = await _live(connection, list(changes))
            kept = {each: memory for each, memory in changes.items() if each in before and heard.get(each) == memory.replacements}
            turned = [each for each, memory in kept.items() if memory.online is not before[each][1].online]
            moved = [each for each, memory in kept.items() if _uses_newest_key(before[each][0], memory)]
            await _write(connection, kept)
            for chunk in chunks(moved):
                await connection.execute(update(units).where(units.c.vehicle_id.in_(chunk)).values(previous_generation=None))
            await self.outbox.put(connection, await self._life_changes(connection, turned))
            await self.quarantine.put(connection, refused, self._attachments.vehicle_of)
        self._attachments.remember(kept, moved)
        if turned:
            self.outbox.waiting.set()

    async def purge(self) -> int:
        """Forget what has been kept long enough: archived vehicles, old commands. How many vehicles went."""
        await self.commands.prune()
        return await self.vehicles.purge()

    async def _life_changes(self, connection: AsyncConnection, turned: Sequence[str]) -> list[Event]:
        events = []
        numbers: dict[bool, list[int]] = {True: [], False: []}
        for chunk in chunks(turned):
            for row in await connection.execute(selected().where(vehicles.c.vehicle_id.in_(chunk))):
                vehicle = record(row)
                numbers[vehicle.online].append(vehicle.number)
                now = vehicle.online_changed_at or self._now_ms()
                events.append(changed_event(vehicle, self.models, ("LIFE_STATUS_CHANGED",), now, fresh_uuid()))
        for online, those in numbers.items():
            await labels.turn(connection, those, online)
        return events


async def _live(connection: AsyncConnection, vehicle_ids: Sequence[str]) -> dict[str, int]:
    """Which of these vehicles are not archived, and how many units they had before the one that they have."""
    found: dict[str, int] = {}
    for chunk in chunks(vehicle_ids):
        query = select(vehicles.c.vehicle_id, vehicles.c.replacements).where(vehicles.c.vehicle_id.in_(chunk))
        rows = await connection.execute(query.where(vehicles.c.archived_at.is_(None)))
        found.update((row.vehicle_id, row.replacements) for row in rows)
    return found


async def _write(connection: AsyncConnection, kept: Mapping[str, Memory]) -> None:
    if kept:
        await connection.execute(
            _UPSERT[connection.dialect.name], [{"vehicle_id": each, **columns(memory)} for each, memory in kept.items()]
        )


def _only_said_more(changes: Mapping[str, Memory], before: Mapping[str, Attached]) -> bool:
    """Whether nobody came or went, and nobody moved to another key: then only the memories are written."""
    return all(
        each in before and memory.online is before[each][1].online and not _uses_newest_key(before[each][0], memory)
        for each, memory in changes.items()
    )


def _write_known(
    connection: sqlite3.Connection, changes: Mapping[str, Memory], rows: Mapping[str, tuple[Any, ...]]
) -> dict[str, Memory]:
    """Write the memories of the vehicles that are not archived and have the unit that said it; those that were written."""
    wanted = msgspec.json.encode(list(changes)).decode()
    live: dict[str, int] = msgspec.json.decode(connection.execute(_LIVE, (wanted,)).fetchone()[0])
    kept = {each: memory for each, memory in changes.items() if live.get(each) == memory.replacements}
    writing = [rows[each] for each in kept]
    for begin in range(0, len(writing), ROWS_AT_ONCE):
        some = writing[begin : begin + ROWS_AT_ONCE]
        connection.execute(_keep(len(some)), list(chain.from_iterable(some)))
    return kept


@cache
def _keep(count: int) -> str:
    row = f"({', '.join('?' * (len(COLUMNS) + 1))})"
    return (
        f"INSERT INTO memories (vehicle_id, {', '.join(COLUMNS)}) VALUES {', '.join([row] * count)} "
        f"ON CONFLICT (vehicle_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS)}"
    )


def _uses_newest_key(vehicle: Vehicle, memory: Memory) -> bool:
    """Whether the unit has moved to its newest key, so that the older one is no longer valid."""
    return len(vehicle.generations) > 1 and memory.generation == vehicle.generations[0]
