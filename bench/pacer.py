"""Tells a source when each frame is due, and whose it is: open loop, nothing waits for an answer.

No frame is said before it is due, and each is said as of the moment when it was: what a turn adds, and what a busy source adds,
is in every latency.
"""

import asyncio
from collections.abc import Callable, Sequence

from bench.source import Source
from bench.stages import Schedule

STRETCH_S = 0.1
"""For how long ahead the moments of frames are worked out together."""

FRAMES_A_TURN = 100
"""Frames said before the loop looks at its sockets again."""

GRACE_S, GRACE_SHARE = 2.0, 0.1
"""How long after the last stage a source that is late may go on; what it has not said by then is never said."""

CLOSED_TURN_S = 0.01
"""Between two looks at what came through, in a closed loop that has to wait."""

Told = Callable[[Sequence[float], int], None]
"""Hears what was said in a turn: when each frame was due, in seconds from the start, and the place of the last one's unit."""


class Pacer:
    """One run of `schedule`. `wall` gives Unix seconds that never jump; `unsaid` counts frames that were due and not said."""

    def __init__(self, schedule: Schedule, source: Source, wall: Callable[[], float]) -> None:
        self._schedule, self._source, self._wall = schedule, source, wall
        self.unsaid = 0
        self._when: list[float] = []
        self._who: list[int] = []
        self._place = self._said = self._due_in_all = 0
        self._taken = self._turn_s = 0.0

    async def run(self, began: float, stopping: asyncio.Event, told: Told, look: Callable[[], None]) -> None:
        """Say each frame when it is due; what is late is said as fast as the source can, as of the time when it was due.

        `look` is called in between, to be done in little time.
        """
        storms, duration = self._schedule.storms, self._schedule.duration_s
        give_up = duration + max(GRACE_S, GRACE_SHARE * duration)
        while not stopping.is_set() and (elapsed := self._wall() - began) < give_up:
            if storms and elapsed >= storms[0]:
                storms.pop(0)
                self._source.storm()
            if self._place == len(self._when) and self._taken <= elapsed:
                if self._taken >= duration:
                    break
                self._take(min(self._taken + STRETCH_S, duration))
            said = self._say(began, elapsed)
            if said:
                told(self._when[self._place - said : self._place], self._who[self._place - 1])
            look()
            late = self._taken < min(elapsed, duration) or said == FRAMES_A_TURN
            await asyncio.sleep(0 if late else max(0.0, elapsed + self._turn_s - (self._wall() - began)))
        if not stopping.is_set():
            rest, _ = self._schedule.take(duration, self._taken)
            self.unsaid = self._due_in_all + len(rest) - self._said

    def _take(self, until: float) -> None:
        """The next stretch."""
        moments, units = self._schedule.take(until, self._taken)
        self._when, self._who, self._place = moments.tolist(), units.tolist(), 0
        self._turn_s = self._source.expect(self._who, until - self._taken)
        self._taken, self._due_in_all = until, self._due_in_all + len(self._when)

    def _say(self, began: float, elapsed: float) -> int:
        """What is due by now, or as much of it as goes in a turn; how many frames that was."""
        when, who, say, first = self._when, self._who, self._source.say, self._place
        last = min(len(when), first + FRAMES_A_TURN)
        place = first
        while place < last and when[place] <= elapsed:
            say(who[place], began + when[place])
            place += 1
        self._place, self._said = place, self._said + place - first
        return place - first


class ClosedLoop:
    """Says a frame as soon as fewer than `window` of its own are under way: as fast as all behind it goes, and no faster.

    What a raw publisher with so many unconfirmed messages does. Each frame is due when it is said, so latencies say how full the
    window is, and nothing of a fleet that reports when it likes; `schedule` says how long it goes on and how many units there
    are. `seen` counts the frames that came through, of whatever was said since `run` began.
    """

    unsaid = 0
    """Nothing is due."""

    def __init__(
        self, schedule: Schedule, source: Source, wall: Callable[[], float], window: int, seen: Callable[[], int]
    ) -> None:
        self._schedule, self._source, self._wall, self._window, self._seen = schedule, source, wall, window, seen

    async def run(self, began: float, stopping: asyncio.Event, told: Told, look: Callable[[], None]) -> None:
        """As `Pacer.run`; stages that drop lines are not for a closed loop, and are passed over."""
        said, units, seen_before = 0, self._schedule.units, self._seen()
        while not stopping.is_set() and (elapsed := self._wall() - began) < self._schedule.duration_s:
            look()
            now = min(FRAMES_A_TURN, self._window - (said - (self._seen() - seen_before)))
            for each in range(said, said + now):
                self._source.say(each % units, began + elapsed)
            if now > 0:
                said += now
                told([elapsed] * now, (said - 1) % units)
            await asyncio.sleep(0 if now == FRAMES_A_TURN else CLOSED_TURN_S)
