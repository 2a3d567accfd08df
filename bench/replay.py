"""A recording said again to a broker: what units said, by those units or by others, in their order and at their times."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.outlet import Outlet, topic_of
from bench.recorder import BrokerLogin, BrokerRefused
from bench.recording import Recording
from bench.replay_account import Account
from bench.rewrite import CannotRewrite, Rewriting
from devices.unitsfile import UnitRecord
from protocols.codec import UnitId
from protocols.recording import Record

CONNECTS_AT_A_TIME = 32
TURN_MESSAGES = 200
"""Messages that are said before the loop looks at its sockets, and at who listens to them, again."""

SETTLE_QUIET_S = 5.0
"""When nothing more has become of what was said for so long, nothing more will: CloudBoxx Acks come at least once a second."""

SETTLE_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a recording: messages by unit, and what will not be replayed, by why."""

    uplinks: Mapping[UnitId, int]
    skipped: Mapping[str, int]
    first_us: int
    last_us: int

    @property
    def seconds(self) -> float:
        """From the first uplink to the last."""
        return max(0, self.last_us - self.first_us) / 1e6


def contents(recording: Recording, only: Sequence[UnitId] = ()) -> Contents:
    """Look through a recording once. Raises RecordingError."""
    uplinks: Counter[UnitId] = Counter()
    skipped: Counter[str] = Counter()
    first_us, last_us = 0, 0
    for record in recording:
        unit = record.unit
        if unit is None or record.channel != "up":
            skipped[record.channel or "other topics"] += 1
        elif only and unit not in only:
            skipped["other units"] += 1
        else:
            first_us = first_us if uplinks else record.at_us
            last_us = max(last_us, record.at_us)
            uplinks[unit] += 1
    return Contents(uplinks, skipped, first_us, last_us)


@dataclass(slots=True)
class Said:
    """How far a replay is. `unsayable` counts payloads that could not be rewritten, by why."""

    messages: int = 0
    loops: int = 0
    behind_s: float = 0.0
    unsayable: Counter[str] = field(default_factory=Counter)


class Replay:
    """Says `recording` on `outlet_of` each unit. `speed` 2 takes half the time, 0 as little as possible."""

    def __init__(
        self,
        recording: Recording,
        found: Contents,
        rewriting: Rewriting,
        outlet_of: Callable[[UnitId], Outlet],
        account: Account,
        *,
        speed: float = 1.0,
        loops: int = 1,
    ) -> None:
        self._recording, self._found, self._rewriting = recording, found, rewriting
        self._outlet_of, self._account = outlet_of, account
        self._speed, self._loops = speed, loops
        self.said = Said()

    async def run(self, stop: asyncio.Event) -> None:
        """Say everything, or what can be said until `stop`. Raises BrokerRefused when a connection is lost."""
        for _ in range(self._loops):
            if stop.is_set():
                return
            await self._loop(stop)
            self.said.loops += 1
            self._rewriting.next_loop()

    async def _loop(self, stop: asyncio.Event) -> None:
        began, began_ms = time.monotonic(), time.time_ns() // 1_000_000
        used: set[Outlet] = set()
        for count, record in enumerate(
            each for each in self._recording if each.unit in self._found.uplinks and each.channel == "up"
        ):
            if stop.is_set():
                break
            await self._wait_for(record, began, stop)
            if (outlet := await self._say(record, began_ms)) is not None:
                used.add(outlet)
            if count % TURN_MESSAGES == TURN_MESSAGES - 1:
                await _drained(used)
                await asyncio.sleep(0)
        await _drained(used)
        self._account.broker_acknowledged()

    async def _wait_for(self, record: Record, began: float, stop: asyncio.Event) -> None:
        if not self._speed:
            return
        due_s = (record.at_us - self._found.first_us) / 1e6 / self._speed
        wait_s = began + due_s - time.monotonic()
        if wait_s > 0.001:
            try:
                await asyncio.wait_for(stop.wait(), wait_s)
            except TimeoutError:
                return
        self.said.behind_s = max(self.said.behind_s, -wait_s)

    async def _say(self, record: Record, began_ms: int) -> Outlet | None:
        assert record.unit is not None
        speaker = self._rewriting.speaker(record.unit)
        try:
            payload = self._rewriting.payload(record.unit, record.payload, lambda at_ms: self._moved(at_ms, began_ms), began_ms)
        except CannotRewrite as error:
            self.said.unsayable[str(error)] += 1
            return None
        outlet = self._outlet_of(speaker)
        self._account.said(speaker, payload)
        await outlet.publish(topic_of(speaker, "up"), payload)
        self.said.messages += 1
        return outlet

    def _moved(self, at_ms: int, began_ms: int) -> int:
        """A recorded time as the replay has it: at full speed all of it has just been."""
        if self._speed:
            return began_ms + round((at_ms - self._found.first_us // 1000) / self._speed)
        return began_ms - (self._found.last_us // 1000 - at_ms)


async def _drained(outlets: set[Outlet]) -> None:
    await asyncio.gather(*(outlet.drained() for outlet in outlets))
    outlets.clear()


async def settled(account: Account, watched: bool) -> None:
    """Wait until all that was said is acknowledged, and seen if somebody watches; or until nothing more happens."""
    began = moved = time.monotonic()
    before = (-1, -1)
    while time.monotonic() - moved < SETTLE_QUIET_S and time.monotonic() - began < SETTLE_LIMIT_S:
        now = (account.answered, account.events)
        if now != before:
            before, moved = now, time.monotonic()
            counts = account.ledger.counts()
            if counts.acknowledged == counts.attempted and (not watched or counts.observed >= counts.attempted):
                return
        await asyncio.sleep(0.1)


# Who speaks ---------------------------------------------------------------------------------------------------------------


class Outlets:
    """The connections of a replay: one for each unit, or one login for all of them."""

    def __init__(self, broker: BrokerLogin, account: Account) -> None:
        self._broker, self._account = broker, account
        self._of: dict[UnitId, Outlet] = {}
        self._shared: Outlet | None = None

    def of(self, unit: UnitId) -> Outlet:
        """Where a unit speaks."""
        return self._shared or self._of[unit]

    async def open_shared(self) -> None:
        """One login for all. Raises BrokerRefused."""
        self._shared = Outlet(self._broker, f"teleloop-replay-{time.time_ns():x}", self._heard)
        await self._shared.open("v1/+/+/down")

    async def open_each(self, records: Iterable[UnitRecord], opened: Callable[[], None] = lambda: None) -> None:
        """Every unit by its own login, and online. Raises BrokerRefused."""
        turn = asyncio.Semaphore(CONNECTS_AT_A_TIME)

        async def connect(record: UnitRecord) -> None:
            broker = BrokerLogin(self._broker.host, self._broker.port, self._broker.tls, str(record.unit), record.password)
            outlet = Outlet(broker, str(record.unit), self._heard)
            async with turn:
                self._of[record.unit] = outlet
                await outlet.open(topic_of(record.unit, "down"))
                await outlet.publish(topic_of(record.unit, "presence"), b"online", retain=True)
            opened()

        async with asyncio.TaskGroup() as group:
            for record in records:
                group.create_task(connect(record))

    async def close(self) -> None:
        """Units say that they are offline."""
        for unit, outlet in self._of.items():
            try:
                await outlet.publish(topic_of(unit, "presence"), b"offline", retain=True)
                await outlet.drained()
            except BrokerRefused:
                continue
        outlets = [*self._of.values(), *([self._shared] if self._shared else [])]
        await asyncio.gather(*(outlet.close() for outlet in outlets))

    def _heard(self, topic: str, payload: bytes) -> None:
        unit = Record(0, topic, b"").unit
        if unit is not None:
            self._account.heard(unit, payload)
