"""Housekeeping: on a real SQLite, with a clock that the test sets. What is old goes, what is not stays."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

import modeldb
from gateway.housekeeping import Housekeeping
from gateway.registry import Registry, Unknown
from gateway.registry.commands import AUDIT_KEPT_MS, KEY_KEPT_MS
from gateway.registry.vehicles import ARCHIVE_KEPT_MS, NewVehicle
from gateway.store import Store
from gateway.store.tables import commands
from protocols.codec import UnitId

FLEET = "default"
UNIT, OTHER = UnitId("CLOUDBOXX", f"{1:016X}"), UnitId("CLOUDBOXX", f"{2:016X}")
MODEL = modeldb.load().available("CLOUDBOXX")[0].id


@dataclass
class Clock:
    """Now, in Unix ms."""

    now: int = 1_795_446_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    store = Store.in_file(tmp_path / "teleloop.db")
    await store.open()
    registry = Registry(store, modeldb.load(), bytes(32), clock)
    await registry.fleets.ensure(FLEET)
    yield registry
    await store.close()


@asynccontextmanager
async def housekeeping(registry: Registry) -> AsyncIterator[None]:
    """Housekeeping at work, without the hours in between."""
    task = asyncio.create_task(Housekeeping(registry, interval_s=0.01).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await true():
            await asyncio.sleep(0.01)


async def is_known(registry: Registry, vehicle_id: str) -> bool:
    try:
        await registry.vehicles.get(FLEET, vehicle_id)
    except Unknown:
        return False
    return True


async def broken(registry: Registry, really: bool) -> None:
    """The store lacks a table, or has it again."""
    async with registry.store.writing() as connection:
        names = ("commands", "mislaid") if really else ("mislaid", "commands")
        await connection.execute(text(f"ALTER TABLE {names[0]} RENAME TO {names[1]}"))


async def test_an_archived_vehicle_goes_after_ninety_days_and_a_live_one_never(registry: Registry, clock: Clock):
    archived, live = [(await registry.vehicles.add(FLEET, NewVehicle(unit, MODEL), "")).vehicle for unit in (UNIT, OTHER)]
    await registry.vehicles.archive(FLEET, archived.vehicle_id, "")
    clock.now += ARCHIVE_KEPT_MS - 1
    await registry.purge()
    assert await is_known(registry, archived.vehicle_id)
    async with housekeeping(registry):
        clock.now += 1

        async def gone() -> bool:
            return not await is_known(registry, archived.vehicle_id)

        await until(gone)
    assert await is_known(registry, live.vehicle_id)


async def test_what_a_key_remembers_goes_after_a_day_and_the_audit_after_ninety(registry: Registry, clock: Clock):
    await registry.vehicles.add(FLEET, NewVehicle(UNIT, MODEL), "")
    vehicle, _ = (await registry.find([UNIT]))[UNIT]
    state = {"ignition": {"timestamp": "2026-01-30T13:22:05Z", "value": "ON"}}
    for key in ("k", None):
        asked = {"flow_id": "f", "key": key, "client": "me"}
        begun, _, _ = await registry.commands.begin(vehicle, "draw-attention", at_least=1, seal=lambda counter: b"sent", **asked)
        await registry.finish_command(begun, 200, None, state)

    async def kept() -> list[tuple[str | None, bytes, str, int]]:
        async with registry.store.reading() as connection:
            rows = await connection.execute(select(commands).order_by(commands.c.id))
            return [(row.idempotency_key, row.payload, row.client, row.status) for row in rows]

    clock.now += KEY_KEPT_MS - 1
    await registry.purge()
    assert await kept() == [("k", b"sent", "me", 200), (None, b"sent", "me", 200)]
    clock.now += 1
    await registry.purge()
    assert await kept() == [(None, b"", "me", 200)] * 2
    clock.now += AUDIT_KEPT_MS
    await registry.purge()
    assert await kept() == []


async def test_a_store_that_fails_once_is_purged_the_next_time(registry: Registry, clock: Clock):
    archived = (await registry.vehicles.add(FLEET, NewVehicle(UNIT, MODEL), "")).vehicle
    await registry.vehicles.archive(FLEET, archived.vehicle_id, "")
    clock.now += ARCHIVE_KEPT_MS
    await broken(registry, True)
    with pytest.raises(SQLAlchemyError):
        await registry.purge()
    async with housekeeping(registry):
        await asyncio.sleep(0.05)
        await broken(registry, False)

        async def gone() -> bool:
            return not await is_known(registry, archived.vehicle_id)

        await until(gone)
