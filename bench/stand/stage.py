"""Where time passes for a test that is written as if it were alone: virtual time, or real time in a thread of its own."""

import asyncio
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from devices.clock import VirtualClock, running_on

T = TypeVar("T")

LOOK_S = 0.2
"""How often something is looked at that is waited for, in the stage's seconds."""

HAND_S = 250.0
"""How far behind real time a simulated unit may start: a command is good for a unit whose clock is up to 270 s behind."""


class Stage(Protocol):
    """Runs what is asynchronous for who is not. `sleep` and `wait_until` take the stage's seconds."""

    def now_ms(self) -> int: ...
    def run(self, work: Coroutine[Any, Any, T]) -> T: ...
    def close(self) -> None: ...


def sleep(stage: Stage, seconds: float) -> None:
    """Let time pass."""
    stage.run(asyncio.sleep(max(0.0, seconds)))


def wait_until(stage: Stage, condition: Callable[[], bool | Awaitable[bool]], within_s: float) -> bool:
    """Whether the condition comes true in time; it is looked at again and again, in the stage's loop."""

    async def waiting() -> bool:
        give_up_ms = stage.now_ms() + 1000 * within_s
        while True:
            said = condition()
            if await said if isinstance(said, Awaitable) else said:
                return True
            if stage.now_ms() >= give_up_ms:
                return False
            await asyncio.sleep(LOOK_S)

    return stage.run(waiting())


class VirtualStage:
    """Time that stands still between two calls, and jumps in them."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._running = running_on(self.clock)
        self._runner = self._running.__enter__()

    def now_ms(self) -> int:
        """Now, in Unix milliseconds."""
        return self.clock.now_ms()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end; everything else on the stage goes on meanwhile, and only then."""
        return self._runner.run(work)

    def close(self) -> None:
        """End what still runs."""
        self._running.__exit__(None, None, None)


class LapseClock:
    """Starts `behind_s` in the past and goes `factor` times as fast, until it has caught up; from then on it is the real time."""

    def __init__(self, factor: float = 1.0, behind_s: float = 0.0) -> None:
        self._factor = max(1.0, factor)
        self._behind_s = behind_s if factor > 1 else 0.0
        self._real = time.time() - time.monotonic()
        self._began = time.monotonic()

    def now_s(self) -> float:
        """Now, in Unix seconds."""
        passed = time.monotonic() - self._began
        lag = max(0.0, self._behind_s - passed * (self._factor - 1))
        return self._real + self._began + passed - lag

    @property
    def pace(self) -> float:
        """How fast it goes at the moment."""
        return self._factor if (time.monotonic() - self._began) * (self._factor - 1) < self._behind_s else 1.0


class _LapseSelector(selectors.DefaultSelector):
    def __init__(self, clock: LapseClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        """As ever, but that a second takes less of one while the clock is fast."""
        return super().select(timeout if timeout is None else timeout / self._clock.pace)


class _LapseLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: LapseClock) -> None:
        super().__init__(_LapseSelector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.now_s()


class RealStage:
    """A loop in a thread of its own: time passes also between two calls. `factor` above 1 is for who starts in the past."""

    def __init__(self, factor: float = 1.0) -> None:
        self.clock = LapseClock(factor, HAND_S)
        self._loop = _LapseLoop(self.clock)
        self._thread = threading.Thread(target=self._loop.run_forever, name="teleloop stand", daemon=True)
        self._thread.start()

    def now_ms(self) -> int:
        """Now, in Unix milliseconds."""
        return int(self.clock.now_s() * 1000)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End what still runs, and the thread."""
        self.run(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


async def _cancel_the_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
