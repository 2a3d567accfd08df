"""Time for a run: as it passes, faster, or jumping from one happening to the next; and an event loop that lives by it.

    with running_on(VirtualClock(start_ms)) as runner:
        runner.run(main())          # asyncio.sleep(3600) takes no time, clock.now_ms() is an hour later

Under virtual time an event loop that has nothing to do goes to its next timer at once: nothing there may wait for a thread, a
socket or a process, and a loop that has no timer left either is told so by an error.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

START_MS = 1_795_446_000_000
"""2026-11-23T15:00:00Z: when virtual time begins, if nobody says otherwise."""


class Clock(Protocol):
    """Now, in Unix milliseconds. It never goes back."""

    name: str

    def now_ms(self) -> int: ...


class ScaledClock:
    """`factor` seconds pass in one. With 1 it is the real time."""

    def __init__(self, factor: float = 1.0, start_ms: int | None = None) -> None:
        """Raises ValueError for a factor that is not above 0."""
        if not 0 < factor < math.inf:
            raise ValueError(f"time can go faster or slower, not {factor:g} times")
        self.name = "real" if factor == 1.0 else f"x{factor:g}"
        self.factor = factor
        self._start_ms = time.time_ns() // 1_000_000 if start_ms is None else start_ms
        self._start = time.monotonic()

    def now_ms(self) -> int:
        """Now, in Unix milliseconds."""
        return self._start_ms + int((time.monotonic() - self._start) * self.factor * 1000)


class VirtualClock:
    """Stands still until somebody moves it. Counts whole microseconds: no sum of floats drifts."""

    name = "virtual"

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._passed_us = 0

    def now_ms(self) -> int:
        """Now, in Unix milliseconds."""
        return self._start_ms + self._passed_us // 1000

    @property
    def passed_s(self) -> float:
        """Seconds since it began."""
        return self._passed_us / 1e6

    def advance(self, seconds: float) -> None:
        """Let at least this much pass."""
        self._passed_us += max(0, math.ceil(seconds * 1e6))


def clock_named(said: str) -> ScaledClock | VirtualClock:
    """`real`, `virtual` or `x10`. Raises ValueError."""
    if said == "virtual":
        return VirtualClock()
    if said == "real":
        return ScaledClock()
    try:
        return ScaledClock(float(said.removeprefix("x"))) if said.startswith("x") else ScaledClock(math.nan)
    except ValueError:
        raise ValueError(f"time is real, virtual, or x10 for ten times as fast, not {said!r}") from None


POLL_EVERY = 64
"""Turns of a virtual loop between two looks at the outside, where only an interrupt can come from."""


class _VirtualSelector(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now; if nothing is, the time is over at once."""
        self._turns += 1
        ready = super().select(0) if timeout is None or self._turns % POLL_EVERY == 0 else ()
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for somebody, and no time is set: virtual time cannot go on")
        if not ready and timeout is not None and timeout > 0:
            self._clock.advance(timeout)
        return ready


class _ScaledSelector(selectors.DefaultSelector):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> Any:
        """As ever, but that a second takes less of one."""
        return super().select(timeout if timeout is None else timeout / self._factor)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_VirtualSelector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.passed_s


class _ScaledLoop(asyncio.SelectorEventLoop):
    def __init__(self, factor: float) -> None:
        super().__init__(_ScaledSelector(factor))
        self._factor = factor

    def time(self) -> float:
        return time.monotonic() * self._factor


def loop_of(clock: ScaledClock | VirtualClock) -> asyncio.AbstractEventLoop:
    """An event loop whose timers go by `clock`."""
    if isinstance(clock, VirtualClock):
        return _VirtualLoop(clock)
    return _ScaledLoop(clock.factor)


@contextmanager
def running_on(clock: ScaledClock | VirtualClock) -> Iterator[asyncio.Runner]:
    """A runner whose loop goes by `clock`."""
    with asyncio.Runner(loop_factory=lambda: loop_of(clock)) as runner:
        yield runner
