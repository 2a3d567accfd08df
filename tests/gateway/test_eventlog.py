"""The local event log, in real SQLite files."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway import eventlog
from gateway.eventlog import RETENTION_MS, LocalEventLog
from gateway.events import Event
from gateway.publisher import PublishFailed
from gateway.store import Store
from gateway.store.tables import event_log

NOW = 1_795_000_000_000


def event(fleet: str = "fleet1", recorded_at: int = NOW, **body: Any) -> Event:
    return Event(str(uuid.uuid4()), "IgnitionChanged", "flow", recorded_at, recorded_at, fleet, "AB3CD", body)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.in_file(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def log(store: Store) -> AsyncIterator[LocalEventLog]:
    log = LocalEventLog(store, now_ms=lambda: NOW)
    await log.start()
    yield log
    await log.stop()


async def held(log: LocalEventLog, fleet: str = "fleet1") -> list[str]:
    return [logged.event_id for logged in await log.since(fleet, None, 100_000)]


def ids(events: list[Event]) -> list[str]:
    return [sent.id for sent in events]


async def test_what_is_confirmed_is_held_in_order_and_as_amqp_would_carry_it(log: LocalEventLog) -> None:
    events = [event(number=number) for number in range(50)]
    await log.publish(events[:30])
    await log.publish(events[30:])
    logged = await log.since("fleet1", None, 100)
    assert [(entry.event_id, entry.type, entry.body) for entry in logged] == [
        (sent.id, sent.type, sent.json()) for sent in events
    ]


async def test_a_repeated_event_is_confirmed_and_held_once_where_it_was(log: LocalEventLog) -> None:
    events = [event() for _ in range(4)]
    await log.publish(events[:3])
    await log.publish([events[1], events[3], events[3]])
    assert await held(log) == ids(events)


async def test_a_reader_resumes_after_the_event_it_saw_last_page_by_page(log: LocalEventLog) -> None:
    events = [event() for _ in range(10)]
    await log.publish(events)
    seen = [events[2].id]
    while page := await log.since("fleet1", seen[-1], 3):
        assert len(page) <= 3
        seen += [entry.event_id for entry in page]
    assert seen == ids(events[2:])


async def test_a_fleet_sees_nothing_of_another_not_even_by_its_ids(log: LocalEventLog) -> None:
    own, foreign = [event("fleet1") for _ in range(3)], [event("fleet2") for _ in range(3)]
    await log.publish([sent for pair in zip(own, foreign, strict=True) for sent in pair])
    assert await held(log, "fleet1") == ids(own)
    assert [entry.event_id for entry in await log.since("fleet1", foreign[2].id, 10)] == ids(own)


async def test_an_id_that_is_not_held_resumes_from_the_oldest(log: LocalEventLog) -> None:
    events = [event() for _ in range(3)]
    await log.publish(events)
    assert [entry.event_id for entry in await log.since("fleet1", str(uuid.uuid4()), 10)] == ids(events)


async def test_three_days_are_kept(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "SLICE", 3)
    old, young = [event(recorded_at=NOW - RETENTION_MS - 1) for _ in range(10)], [event(recorded_at=NOW - RETENTION_MS)]
    await log.publish(old + young)
    await log.prune(NOW)
    assert await held(log) == ids(young)


async def test_the_oldest_go_where_there_is_too_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "SLICE", 1)
    events = [event(text="x" * 1000) for _ in range(20)]
    size = len(events[0].json())
    log = LocalEventLog(store, now_ms=lambda: NOW, size_limit_bytes=5 * size)
    await log.start()
    await log.publish(events)
    await log.prune(NOW)
    assert await held(log) == ids(events[15:])
    await log.publish(events[15:])
    await log.prune(NOW)
    assert await held(log) == ids(events[15:])
    newest = event(text="x" * 1000)
    await log.publish([newest])
    await log.prune(NOW)
    assert await held(log) == ids([*events[16:], newest])
    await log.stop()


async def test_pruning_needs_no_call(store: Store) -> None:
    log = LocalEventLog(store, now_ms=lambda: NOW + 1)
    await log.start()
    await log.publish([event(recorded_at=NOW - RETENTION_MS)])
    await log.stop()
    await log.start()
    async with asyncio.timeout(10):
        while await held(log):
            await asyncio.sleep(0.01)
    await log.stop()


async def test_a_store_that_fails_is_a_failed_publish_and_nothing_of_it_is_held(log: LocalEventLog, store: Store) -> None:
    kept = event()
    await log.publish([kept])
    async with store.writing() as connection:
        await connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON event_log WHEN new.vehicle_id = 'FULL' "
            "BEGIN SELECT raise(ABORT, 'database or disk is full'); END"
        )
    poison = Event(str(uuid.uuid4()), "IgnitionChanged", "flow", NOW, NOW, "fleet1", "FULL")
    with pytest.raises(PublishFailed, match="full"):
        await log.publish([event(), poison])
    assert not log.ready
    assert await held(log) == [kept.id]
    await log.publish([event()])
    assert log.ready


async def test_it_publishes_only_between_start_and_stop(store: Store) -> None:
    log = LocalEventLog(store)
    assert not log.ready
    with pytest.raises(PublishFailed):
        await log.publish([event()])
    await log.start()
    assert log.ready
    await log.stop()
    with pytest.raises(PublishFailed):
        await log.publish([event()])


PUBLISHING_PROCESS = """
import asyncio, sys, uuid
from pathlib import Path
from gateway.eventlog import LocalEventLog
from gateway.events import Event
from gateway.store import Store

async def main():
    store = Store.in_file(Path(sys.argv[1]))
    await store.open()
    log = LocalEventLog(store)
    await log.start()
    while True:
        events = [Event(str(uuid.uuid4()), "T", "f", 1, 4102444800000, "fleet1", "V") for _ in range(20)]
        await log.publish(events)
        print(*(event.id for event in events), flush=True)

asyncio.run(main())
"""


async def test_nothing_confirmed_is_lost_when_the_gateway_is_killed(tmp_path: Path) -> None:
    confirmed: set[str] = set()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHING_PROCESS, str(tmp_path / "store.db")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = list(itertools.islice(process.stdout, 40))
        os.kill(process.pid, signal.SIGKILL)
        lines += [line for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        confirmed.update(word for line in lines for word in line.split())
    store = Store.in_file(tmp_path / "store.db")
    await store.open()
    async with store.reading() as connection:
        held = set((await connection.execute(select(event_log.c.event_id))).scalars())
        distinct = await connection.scalar(select(func.count()).select_from(event_log))
    await store.close()
    assert len(confirmed) >= 3 * 40 * 20
    assert confirmed <= held
    assert distinct == len(held)
