"""Time for a run: real, scaled, virtual; and event loops that live by it."""

import asyncio
import time

import pytest

from devices.clock import ScaledClock, VirtualClock, clock_named, running_on


def test_virtual_time_passes_only_where_somebody_waits_and_then_at_once():
    clock = VirtualClock()
    began_ms, began = clock.now_ms(), time.monotonic()

    async def weeks() -> list[int]:
        seen = []
        for _ in range(3):
            await asyncio.sleep(7 * 86_400)
            seen.append(clock.now_ms() - began_ms)
        return seen

    with running_on(clock) as runner:
        week_ms = 7 * 86_400_000
        assert runner.run(weeks()) == pytest.approx([week_ms, 2 * week_ms, 3 * week_ms], abs=1)
    assert time.monotonic() - began < 60


def test_timers_of_virtual_time_fire_in_their_order():
    clock = VirtualClock()

    async def main() -> list[str]:
        seen: list[str] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            seen.append(name)

        await asyncio.gather(after(3, "c"), after(1, "a"), after(2, "b"))
        return seen

    with running_on(clock) as runner:
        assert runner.run(main()) == ["a", "b", "c"]


def test_a_virtual_run_in_which_nobody_can_go_on_says_so():
    with running_on(VirtualClock()) as runner, pytest.raises(RuntimeError, match="virtual time cannot go on"):
        runner.run(asyncio.Event().wait())


def test_scaled_time_is_that_much_faster():
    clock = ScaledClock(200.0)
    began_ms, began = clock.now_ms(), time.monotonic()
    with running_on(clock) as runner:
        runner.run(asyncio.sleep(60))
    passed = time.monotonic() - began
    assert clock.now_ms() - began_ms >= 60_000
    assert passed < 30


def test_clocks_are_asked_for_by_name():
    assert [clock_named(name).name for name in ("real", "virtual", "x10", "x0.5")] == ["real", "virtual", "x10", "x0.5"]
    for wrong in ("fast", "x", "x0", "x-2", "10", "xnan", "xinf"):
        with pytest.raises(ValueError, match="time"):
            clock_named(wrong)
