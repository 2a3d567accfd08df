"""Frames are told when they are due, open loop: what a turn or a slow source adds is not hidden."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from bench.ledger import Ledger
from bench.pacer import ClosedLoop, Pacer
from bench.reckoning import Reckoning
from bench.stages import Schedule, Stage


class Listed:
    """A source that notes what it is told, and takes `busy_s` for each frame."""

    def __init__(self, turn_s: float, busy_s: float = 0.0) -> None:
        self.turn_s, self.busy_s = turn_s, busy_s
        self.expected: list[int] = []
        self.said: list[tuple[int, float, float]] = []
        self.storms = 0

    def expect(self, places: Sequence[int], within_s: float) -> float:
        self.expected += places
        return self.turn_s

    def say(self, place: int, at_s: float) -> None:
        self.said.append((place, at_s, time.monotonic()))
        if self.busy_s:
            time.sleep(self.busy_s)

    def storm(self) -> None:
        self.storms += 1


async def paced(source: Any, seconds: float, rate: float, kind: Any = "hold") -> tuple[Pacer, Reckoning, float]:
    schedule = Schedule([Stage(kind=kind, duration_s=seconds, rate_from=rate, rate_to=rate)], 10, rate)
    reckoning = Reckoning(Ledger(), schedule)
    pacer = Pacer(schedule, source, time.monotonic)
    began = reckoning.began = time.monotonic()
    async with asyncio.timeout(30):
        await pacer.run(began, asyncio.Event(), lambda due, _: reckoning.said(due, time.monotonic()), lambda: None)
    reckoning.put_down()
    return pacer, reckoning, began


@pytest.mark.parametrize("turn_s", [0.004, 0.015, 0.2])
async def test_no_frame_is_said_before_it_is_due_and_each_stands_for_its_moment(turn_s: float) -> None:
    source = Listed(turn_s)
    pacer, _, began = await paced(source, 0.5, 400.0)
    assert len(source.said) == 200
    assert pacer.unsaid == 0
    assert all(said_at >= at_s for _, at_s, said_at in source.said)
    assert [at_s - began for _, at_s, _ in source.said] == pytest.approx([(number + 1) / 400 for number in range(200)])
    assert [place for place, _, _ in source.said] == source.expected == [number % 10 for number in range(200)]


async def test_what_waits_for_its_turn_is_late_by_as_much() -> None:
    _, reckoning, _ = await paced(Listed(0.2), 0.6, 500.0)
    assert (reckoning.lag.percentile(50) or 0.0) > 50


async def test_what_a_slow_source_has_not_said_in_the_end_is_counted_and_its_lateness_told() -> None:
    source = Listed(0.004, busy_s=0.02)
    pacer, reckoning, _ = await paced(source, 1.0, 400.0)
    assert pacer.unsaid == 400 - len(source.said) > 0
    assert reckoning.lag.max_ms > 1_000


async def test_a_storm_comes_once() -> None:
    source = Listed(0.004)
    await paced(source, 0.2, 50.0, "storm")
    assert source.storms == 1


@pytest.mark.parametrize("seen_before", [0, 1_000])
async def test_in_a_closed_loop_no_more_than_the_window_is_under_way_and_room_is_used_at_once(seen_before: int) -> None:
    source, seen, most = Listed(0.0), seen_before, 0
    schedule = Schedule([Stage(kind="hold", duration_s=0.4)], 10, 1.0)

    def look() -> None:
        nonlocal seen, most
        under_way = len(source.said) + seen_before - seen
        most = max(most, under_way)
        if under_way == 250:  # all of a full window comes through at once
            seen += 250

    loop = ClosedLoop(schedule, source, time.monotonic, 250, lambda: seen)  # type: ignore[arg-type]
    told: list[int] = []
    began = time.monotonic()
    await loop.run(began, asyncio.Event(), lambda due, _: told.append(len(due)), look)
    assert most == 250
    assert len(source.said) == sum(told) > 4 * 250
    assert [place for place, _, _ in source.said] == [number % 10 for number in range(len(source.said))]
    assert all(-0.001 <= said_at - at_s < 0.1 for _, at_s, said_at in source.said)


async def test_a_closed_loop_through_which_nothing_comes_says_its_window_and_ends_with_its_stages() -> None:
    source = Listed(0.0)
    schedule = Schedule([Stage(kind="hold", duration_s=0.2)], 10, 1.0)
    async with asyncio.timeout(5):
        await ClosedLoop(schedule, source, time.monotonic, 30, lambda: 0).run(  # type: ignore[arg-type]
            time.monotonic(), asyncio.Event(), lambda due, _: None, lambda: None
        )
    assert len(source.said) == 30
