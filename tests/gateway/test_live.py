"""The live fan-out: everybody's own events, and nobody waits for a slow reader."""

import asyncio
import uuid

import pytest

from gateway.events import Event
from gateway.live import Live, Subscription


def event(fleet: str = "fleet1", kind: str = "IgnitionChanged") -> Event:
    return Event(str(uuid.uuid4()), kind, "flow", 1, 1, fleet, "AB3CD")


async def rest(subscription: Subscription) -> list[Event]:
    """All events up to the end of the iteration."""
    async with asyncio.timeout(10):
        return [event async for event in subscription]


async def test_a_reader_gets_its_fleets_events_in_order_from_the_moment_it_asks() -> None:
    live = Live()
    live.tell([event()])
    subscription = live.subscribe("fleet1")
    own = [event() for _ in range(5)]
    live.tell([own[0], event("fleet2"), *own[1:]])
    live.close()
    assert await rest(subscription) == own


async def test_a_reader_gets_only_the_types_it_asks_for() -> None:
    live = Live()
    locks, nothing, everything = (
        live.subscribe("fleet1", ["CentralLockChanged"]),
        live.subscribe("fleet1", []),
        live.subscribe("fleet1"),
    )
    events = [event(kind="CentralLockChanged"), event(), event(kind="CentralLockChanged")]
    live.tell(events)
    live.close()
    assert await rest(locks) == [events[0], events[2]]
    assert await rest(nothing) == []
    assert await rest(everything) == events


async def test_a_waiting_reader_is_woken() -> None:
    live = Live()
    subscription = live.subscribe("fleet1")
    reading = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    sent = event()
    live.tell([sent])
    assert await asyncio.wait_for(reading, 10) is sent


async def test_a_slow_reader_is_cut_off_after_what_waits_for_it_and_the_others_miss_nothing() -> None:
    live = Live(queue_limit=10)
    slow, quick = live.subscribe("fleet1"), live.subscribe("fleet1")
    events = [event() for _ in range(25)]
    got = []
    for sent in events:
        live.tell([sent])
        got.append(await anext(quick))
    assert got == events
    assert (slow.cut_off, quick.cut_off) == (True, False)
    assert await rest(slow) == events[:10]


async def test_a_reader_that_keeps_up_in_bursts_is_not_cut_off() -> None:
    live = Live(queue_limit=10)
    subscription = live.subscribe("fleet1")
    for _ in range(5):
        events = [event() for _ in range(10)]
        live.tell(events)
        assert [await anext(subscription) for _ in events] == events
    assert not subscription.cut_off


async def test_the_end_wakes_a_waiting_reader() -> None:
    live = Live()
    reading = asyncio.create_task(rest(live.subscribe("fleet1")))
    await asyncio.sleep(0)
    live.close()
    assert await asyncio.wait_for(reading, 10) == []


async def test_a_reader_that_has_left_costs_nothing() -> None:
    live = Live(queue_limit=10)
    with live.subscribe("fleet1") as gone, live.subscribe("fleet1") as staying:
        gone.close()
        gone.close()
        live.tell([event()])
        assert await rest(gone) == []
        assert await anext(staying)
    live.tell([event() for _ in range(20)])
    assert not staying.cut_off
    with pytest.raises(StopAsyncIteration):
        await anext(staying)
