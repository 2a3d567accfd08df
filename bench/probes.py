"""What runs beside the frames: commands at a rate of their own, and looks at when REST shows what was captured."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from bench.account import Account, AccountError
from bench.latency import Histogram

ANSWERED_BY_VEHICLE = (200, 422)
LOOK_EVERY_S, LOOK_SHARE = 0.005, 0.1
"""How often a vehicle is looked at: the longer it takes, the less often, so that the looks are no load of their own."""

LOOK_FOR_S = 10.0
COMMAND_TIMEOUT_S = 10
CHUNK_S = 0.003


class Commands:
    """Commands to vehicles in turn, open loop; latency is counted from the moment at which each was due."""

    def __init__(self, account: Account, vehicle_ids: Sequence[str], names: Sequence[str], per_s: float) -> None:
        self._account, self._vehicle_ids, self._names, self._per_s = account, vehicle_ids, names, per_s
        self.latencies = Histogram()
        self.recent = Histogram()
        self.by_status: Counter[int] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def failed(self) -> int:
        """Commands that no vehicle answered."""
        return sum(times for status, times in self.by_status.items() if status not in ANSWERED_BY_VEHICLE)

    async def run(self, duration_s: float, now: Callable[[], float]) -> None:
        """Send for `duration_s`; the answers are waited for in `finish`."""
        began, sent = now(), 0
        while (gone := now() - began) < duration_s:
            while sent < gone * self._per_s:
                vehicle_id = self._vehicle_ids[sent % len(self._vehicle_ids)]
                name = self._names[sent // len(self._vehicle_ids) % len(self._names)]
                task = asyncio.create_task(self._one(vehicle_id, name, began + sent / self._per_s, now))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                sent += 1
            await asyncio.sleep(CHUNK_S)

    async def _one(self, vehicle_id: str, name: str, due_at: float, now: Callable[[], float]) -> None:
        status = await self._account.command(vehicle_id, name, COMMAND_TIMEOUT_S)
        self.by_status[status] += 1
        if status in ANSWERED_BY_VEHICLE:
            self.latencies.record(1000 * (now() - due_at))

    async def finish(self) -> None:
        """Wait for the answers that are still out."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=COMMAND_TIMEOUT_S + 5)
        for task in list(self._under_way):
            task.cancel()


class StateLooks:
    """From capture to the state over REST, a few times a second: a vehicle is looked at until it shows the report."""

    def __init__(self, account: Account, per_s: float) -> None:
        self._account, self._per_s = account, per_s
        self.latencies = Histogram()
        self._wanted: asyncio.Queue[tuple[str, float]] = asyncio.Queue(1)
        self._next_at = 0.0

    def captured(self, vehicle_id: str, at_s: float, now_s: float) -> None:
        """A report was captured; it is followed if it is time to follow one."""
        if self._per_s and now_s >= self._next_at and not self._wanted.full():
            self._next_at = now_s + 1 / self._per_s
            self._wanted.put_nowait((vehicle_id, at_s))

    async def run(self, wall: Callable[[], float]) -> None:
        """Look until cancelled."""
        while True:
            vehicle_id, at_s = await self._wanted.get()
            give_up = wall() + LOOK_FOR_S
            while wall() < give_up:
                try:
                    state = await self._account.state(vehicle_id)
                except AccountError:
                    break
                if newest(state) >= round(at_s, 3):
                    self.latencies.record(1000 * (wall() - at_s))
                    break
                await asyncio.sleep(max(LOOK_EVERY_S, LOOK_SHARE * (wall() - at_s)))


def newest(state: dict[str, Any]) -> float:
    """The latest timestamp in a state, in Unix seconds."""
    said = max((each["timestamp"] for each in state.values()), key=_moment, default=None)
    return 0.0 if said is None else _moment(said)


def _moment(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
