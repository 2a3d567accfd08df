"""Who asked which command, with which bytes, and what came of it: the memory behind Idempotency-Key, and the audit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import case, delete, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.memory import Vehicle
from gateway.registry import command_writes
from gateway.registry.command_writes import Beginning, Begun, Finished, Seal
from gateway.store import Store
from gateway.store.tables import commands, units
from gateway.store.together import Together

DAY_MS = 24 * 3600 * 1000
KEY_KEPT_MS = DAY_MS
"""How long an Idempotency-Key is remembered."""

AUDIT_KEPT_MS = 90 * DAY_MS
"""How long it is known who asked what: as long as an archived vehicle is kept."""

NEVER_SENT = 503
NO_COUNTER = 0
"""Of a request that was refused before it had one: those of units begin with the time."""


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """One request for a command. `payload` are the exact bytes sent. `status` is None while nobody knows what came of it."""

    id: int
    vehicle_id: str
    name: str
    client: str
    flow_id: str
    counter: int
    payload: bytes
    asked_at: int
    finished_at: int | None
    status: int | None
    reason: str | None
    state: Mapping[str, Any] | None


_COLUMNS = tuple(commands.c[name] for name in StoredCommand.__dataclass_fields__)


class CommandLog:
    """The commands of all vehicles."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store, self._now_ms = store, now_ms
        self._beginning = Together(store, command_writes.begin)
        self._finishing = Together(store, command_writes.finish)

    async def begin(
        self,
        vehicle: Vehicle,
        name: str,
        *,
        at_least: int,
        seal: Seal,
        flow_id: str,
        key: str | None = None,
        client: str = "",
        now_ms: int | None = None,
    ) -> Begun:
        """Write down a request before it is sent, with a counter for the vehicle's unit that was never used before.

        Raises LookupError if the vehicle has no unit.
        """
        row = {
            "vehicle_id": vehicle.vehicle_id,
            "fleet_id": vehicle.fleet_id,
            "name": name,
            "client": client,
            "flow_id": flow_id,
            "idempotency_key": key,
            "asked_at": self._now_ms() if now_ms is None else now_ms,
            "finished_at": None,
            "status": None,
            "reason": None,
        }

        if self._store.is_direct:
            return await self._beginning.do(Beginning(vehicle.vehicle_id, at_least, seal, row))
        async with self._store.writing() as connection:
            counter = await _next_counter(connection, vehicle.vehicle_id, at_least)
            payload = seal(counter)
            adding = insert(commands).values({**row, "counter": counter, "payload": payload}).returning(commands.c.id)
            return Begun(int((await connection.execute(adding)).scalar_one()), counter, payload)

    async def again(self, command_id: int, vehicle_id: str, *, at_least: int, seal: Seal) -> Begun:
        """The request goes out once more, with another counter. Raises LookupError if the vehicle has no unit."""
        async with self._store.writing() as connection:
            counter = await _next_counter(connection, vehicle_id, at_least)
            payload = seal(counter)
            changed = update(commands).where(commands.c.id == command_id).values(counter=counter, payload=payload)
            await connection.execute(changed)
        return Begun(command_id, counter, payload)

    async def refused(
        self, vehicle_id: str, fleet_id: str, name: str, *, status: int, reason: str | None, flow_id: str, client: str
    ) -> None:
        """Write down a request that came to nothing before anything was sent."""
        now = self._now_ms()
        row = {
            "vehicle_id": vehicle_id,
            "fleet_id": fleet_id,
            "name": name,
            "client": client,
            "flow_id": flow_id,
            "idempotency_key": None,
            "counter": NO_COUNTER,
            "payload": b"",
            "asked_at": now,
            "finished_at": now,
            "status": status,
            "reason": reason,
        }
        if self._store.is_direct:
            await self._store.write_directly(lambda connection: command_writes.refuse(connection, row))
            return
        async with self._store.writing() as connection:
            await connection.execute(insert(commands).values(row))

    async def forget(self, command_id: int) -> None:
        """The request was never sent: its key may be used afresh."""
        await self._update(command_id, idempotency_key=None, status=NEVER_SENT, finished_at=self._now_ms())

    async def finish(
        self,
        command_id: int,
        status: int,
        reason: str | None = None,
        state: Mapping[str, Any] | None = None,
        *,
        now_ms: int | None = None,
    ) -> None:
        """Write down what came of it."""
        finished_at = self._now_ms() if now_ms is None else now_ms
        if self._store.is_direct:
            said = msgspec.json.encode(state).decode()
            await self._finishing.do(Finished(command_id, status, reason, said, finished_at))
            return
        await self._update(command_id, status=status, reason=reason, state=state, finished_at=finished_at)

    async def by_key(self, vehicle_id: str, key: str) -> StoredCommand | None:
        """The vehicle's request with this Idempotency-Key within the last 24 hours."""
        since = self._now_ms() - KEY_KEPT_MS
        return await self._newest(
            commands.c.vehicle_id == vehicle_id, commands.c.idempotency_key == key, commands.c.asked_at > since
        )

    async def by_counter(self, vehicle_id: str, counter: int) -> StoredCommand | None:
        """The vehicle's request that was sent with this counter."""
        return await self._newest(commands.c.vehicle_id == vehicle_id, commands.c.counter == counter)

    async def recent_flows(self, since_ms: int) -> list[tuple[str, int, str]]:
        """vehicle_id, counter and flow id of the requests since then."""
        query = select(commands.c.vehicle_id, commands.c.counter, commands.c.flow_id)
        query = query.where(commands.c.asked_at >= since_ms, commands.c.counter != NO_COUNTER)
        async with self._store.reading() as connection:
            return [(row.vehicle_id, row.counter, row.flow_id) for row in await connection.execute(query)]

    async def page(
        self, fleet_id: str, *, vehicle_id: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[StoredCommand]:
        """A fleet's requests, newest first; `before` is the id of the last one of the page before."""
        query = select(*_COLUMNS).where(commands.c.fleet_id == fleet_id).order_by(commands.c.id.desc()).limit(limit)
        if vehicle_id is not None:
            query = query.where(commands.c.vehicle_id == vehicle_id)
        if before is not None:
            query = query.where(commands.c.id < before)
        async with self._store.reading() as connection:
            return [StoredCommand(*row) for row in await connection.execute(query)]

    async def prune(self) -> None:
        """Forget what is older than the audit reaches back, and what only a repeat of the request could have asked for."""
        now = self._now_ms()
        outlived = (commands.c.asked_at <= now - KEY_KEPT_MS, commands.c.payload != b"")
        forgotten = {"idempotency_key": None, "payload": b"", "state": null()}
        async with self._store.writing() as connection:
            await connection.execute(delete(commands).where(commands.c.asked_at < now - AUDIT_KEPT_MS))
            await connection.execute(update(commands).where(*outlived).values(forgotten))

    async def _newest(self, *conditions: Any) -> StoredCommand | None:
        query = select(*_COLUMNS).where(*conditions).order_by(commands.c.id.desc()).limit(1)
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else StoredCommand(*row)

    async def _update(self, command_id: int, **values: Any) -> None:
        async with self._store.writing() as connection:
            await connection.execute(update(commands).where(commands.c.id == command_id).values(values))


async def _next_counter(connection: AsyncConnection, vehicle_id: str, at_least: int) -> int:
    following = units.c.counter + 1
    query = (
        update(units)
        .where(units.c.vehicle_id == vehicle_id)
        .values(counter=case((following > at_least, following), else_=at_least))
        .returning(units.c.counter)
    )
    return _only(vehicle_id, (await connection.execute(query)).scalar_one_or_none())


def _only(vehicle_id: str, counter: int | None) -> int:
    if counter is None:
        raise LookupError(f"vehicle {vehicle_id} has no unit")
    return int(counter)
