"""When each unit of a fleet ticks next: in slots of time, and together in turns of the event loop."""

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence

from devices.columns import Columns
from devices.member import Member

PUNCTUAL_MS = 10_000
"""How late a tick may be and still stand for the moment when it was due: a busy process does not thin out what units report."""

TICKS_PER_TURN = 250
"""Units that are ticked before the loop looks at its sockets again: some 20 ms."""

TOGETHER_S = 0.008
"""Between two turns, of a fleet that is led: what is said together costs a broker, and the system between, much less."""

BUSY_PER_S, TOGETHER, BUSY_TOGETHER_S = 500.0, 200, 0.05
"""Units that tick more often than that in all wait for so many to tick together, and at most so long. Each tick still stands for
the moment when it was due."""

SLOT_MS = 8
"""Ticks of a fleet that is led wait in slots so long: a heap of thousands is dear to take one out of."""

SLACK = 8
"""Entries a unit that may stand in slots, all but one outdated, before they are cleared up."""


class Timetable:
    """Gives `turn` those that are due, each with its moment, whenever some are: many together, and no one twice.

    `columns` are their vehicles', `now_ms` is the fleet's time, `room` the number of its units.
    """

    def __init__(
        self, columns: Columns, now_ms: Callable[[], int], room: int, turn: Callable[[Sequence[tuple[Member, int]]], None]
    ) -> None:
        self._columns, self._now_ms, self._room, self._turn = columns, now_ms, room, turn
        self._slots: dict[int, list[Member]] = {}
        self._next_slots: list[int] = []
        self._entries = 0
        self._slot_ms = SLOT_MS if columns.led else 1
        self._timer: asyncio.TimerHandle | None = None
        self._turn_after = self._turned_at = 0.0
        self._armed_ms = math.inf
        self._stopped = False

    def stop(self) -> None:
        """Nobody ticks any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def put(self, member: Member, due_ms: int) -> None:
        """It ticks then, and not when it was to tick before."""
        if member.due_ms == due_ms:
            return
        member.due_ms = due_ms
        vehicle = member.firmware.vehicle
        vehicle.columns.looks_ms[vehicle.at_row] = due_ms
        slot = due_ms // self._slot_ms
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = [member]
            heapq.heappush(self._next_slots, slot)
        else:
            waiting.append(member)
        self._entries += 1
        if self._entries > SLACK * self._room:
            self._clear_up()
        if due_ms < self._armed_ms:
            self._arm()

    def _clear_up(self) -> None:
        """Forget entries that are outdated."""
        for slot, waiting in self._slots.items():
            self._slots[slot] = list({id(each): each for each in waiting if self._is_in(each, slot)}.values())
        self._entries = sum(map(len, self._slots.values()))

    def _is_in(self, member: Member, slot: int) -> bool:
        return member.due_ms is not None and member.due_ms // self._slot_ms == slot

    def _over_ms(self, slot: int) -> int:
        """When all that stands in a slot is due."""
        return (slot + 1) * self._slot_ms - 1

    def _arm(self) -> None:
        """Set the timer for what is due first. One that is set for earlier is left: it looks again, which costs little."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._armed_ms = None, math.inf
        if self._next_slots and not self._stopped:
            self._armed_ms = self._over_ms(self._next_slots[0])
            wait_s = max(0.0, (self._armed_ms - self._now_ms()) / 1000)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time() + wait_s, self._turn_after), self._tick)

    def _next_turn_at(self, due: int) -> float:
        """When to look for what is due again, where so many units were due since the last turn."""
        now, before = asyncio.get_running_loop().time(), self._turned_at
        self._turned_at = now
        per_s = due / max(0.001, now - before)
        return now + (TOGETHER_S if per_s < BUSY_PER_S else max(TOGETHER_S, min(BUSY_TOGETHER_S, TOGETHER / per_s)))

    def _tick(self) -> None:
        self._timer, self._armed_ms = None, -math.inf  # nothing is set meanwhile
        now_ms = self._now_ms()
        if self._columns.led:
            self._columns.lead(now_ms)
        self._turn_after = 0.0
        due: list[tuple[Member, int]] = []
        while len(due) < TICKS_PER_TURN:
            if not self._next_slots or self._over_ms(self._next_slots[0]) > now_ms:
                if self._columns.led:
                    self._turn_after = self._next_turn_at(len(due))
                break
            self._take_slot(due, now_ms)
        self._turn(due)
        self._arm()

    def _take_slot(self, due: list[tuple[Member, int]], now_ms: int) -> None:
        """Those of the first slot are due, or as many of them as there is room for."""
        slot = self._next_slots[0]
        waiting, room = self._slots[slot], TICKS_PER_TURN - len(due)
        for member in waiting[:room]:
            due_ms = member.due_ms
            if due_ms is not None and due_ms // self._slot_ms == slot:
                member.due_ms = None
                due.append((member, due_ms if now_ms - due_ms < PUNCTUAL_MS else now_ms))
        self._entries -= min(room, len(waiting))
        if len(waiting) > room:
            del waiting[:room]
        else:
            heapq.heappop(self._next_slots)
            del self._slots[slot]
