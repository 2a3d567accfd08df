"""Thousands of units in one process: each its own connection, all ticks in slots of time, all connects at one bounded pace."""

import asyncio
import gc
import heapq
import math
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

import modeldb
from devices.behaviour import Behaviour, behaviour_of
from devices.brief import BriefUnit
from devices.columns import Columns
from devices.config import Intervals, UnitConfig
from devices.faults import Fault, FaultUnsuited
from devices.flash import Flash, volatile
from devices.flashfile import FlashKeeper
from devices.life import moving
from devices.line import PERFECT, LineModel
from devices.mqtt import BrokerAddress, Connection, Dial, Line, LineError, LoginRefusedError
from devices.terminal import Terminal
from devices.together import Outcome, Together
from devices.unitsfile import UnitRecord
from devices.vehicle import Life, Vehicle

CONNECTS_PER_S = 2_000
"""After a broker's restart all units come back at once: they do so in turn."""

HANDSHAKES = 64
"""Connects under way at the same time."""

STARTING = 1_000
"""Units that are switched on and have no line yet: more of them are switched on as lines come up. Units that report already
would not leave a busy process the time to get the rest onto theirs."""

STARTING_EVERY_S = 3.0
"""... and so many more this often where no lines come up: a broker that is away keeps no unit from recording."""

STARTING_LOOK_S = 0.02
FLASH_RETRY_MS = 1_000
PUNCTUAL_MS = 10_000
"""How late a tick may be and still stand for the moment when it was due: a busy process does not thin out what units report."""

TICKS_PER_TURN = 250
"""Units that are ticked before the loop looks at its sockets again: some 20 ms."""

TOGETHER_S = 0.008
"""Between two turns, of a fleet that is led: what is said together costs a broker, and the system between, much less."""

BUSY_PER_S, TOGETHER, BUSY_TOGETHER_S = 500.0, 200, 0.05
"""Units that tick more often than that in all wait for so many to tick together, and at most so long. Each tick still stands for
the moment when it was due."""

COLLECT_AFTER = 20_000
"""Objects made before young ones are looked through for garbage, in a fleet of many: what its units make lives for a second."""

SLOT_MS = 8
"""Ticks of a fleet that is led wait in slots so long: a heap of thousands is dear to take one out of."""

SLACK = 8
"""Entries a unit that may stand in slots, all but one outdated, before they are cleared up."""

STOP_TIMEOUT_S = 2.0
SPREAD_DEGREES = 0.08

log = structlog.get_logger(__name__)


def steady_clock() -> Callable[[], int]:
    """A clock in Unix milliseconds that is right when made and then only goes forward: ticks must not wait for a set-back."""
    start_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
    return lambda: start_ms + time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class Tally:
    """What a fleet has seen so far."""

    payloads_sent: int = 0
    bytes_sent: int = 0
    payloads_received: int = 0
    connects: int = 0
    lines_lost: int = 0
    connect_failures: int = 0
    logins_refused: int = 0
    flash_failures: int = 0
    takeovers: int = 0


@dataclass(slots=True, eq=False)
class Member:
    """One unit of the fleet. `due_ms` is when it ticks; `line` is None while it has no connection.

    `at_ms` is the latest moment that it was told of: its time never goes back. `rival` is its copy, where a fault has made one,
    and `rival_of` of that one the member that it is a copy of.
    """

    record: UnitRecord
    firmware: Terminal
    line: Connection | None = None
    due_ms: int | None = None
    at_ms: int = 0
    connecting: "asyncio.Task[None] | None" = field(default=None, repr=False)
    rival: "Member | None" = field(default=None, repr=False)
    rival_of: "Member | None" = field(default=None, repr=False)


class Fleet:
    """Simulated units on real connections. `start` returns at once; units connect in turn and reconnect until `stop`."""

    def __init__(
        self,
        records: Sequence[UnitRecord],
        broker: str,
        *,
        seed: int = 0,
        intervals: Intervals = Intervals(),  # noqa: B008 - frozen
        flash_file: FlashKeeper | None = None,
        now_ms: Callable[[], int] | None = None,
        line: LineModel = PERFECT,
        faults: Sequence[Fault] = (),
        dial: Dial = Line,
        life: Life = moving,
        behaviour: Callable[[str], Behaviour] = behaviour_of,
    ) -> None:
        """`line`, `faults` and the `life` of those that move are every unit's; `dial` makes their connections.

        `behaviour` is how the firmware of each brand behaves.

        Raises ValueError, also for a fault that none of them can have.
        """
        self._broker = BrokerAddress.parse(broker)
        self._line_model, self._faults, self._make_line, self._seed, self._life = line, tuple(faults), dial, seed, life
        self._intervals, self._flash_file, self._now_ms = intervals, flash_file, now_ms or steady_clock()
        self._behaviour = behaviour
        self._dice = random.Random(seed)
        self.columns = Columns(len(records))
        self.columns.led = now_ms is None
        self._together = Together(self.columns)
        self.members = [self._made(record, seed + place) for place, record in enumerate(records)]
        self._by_unit = {(each.record.brand, each.record.telematics_unit_id): each for each in self.members}
        self._introduce()
        self.tally = Tally()
        self._slots: dict[int, list[Member]] = {}
        self._next_slots: list[int] = []
        self._entries = 0
        self._slot_ms = SLOT_MS if self.columns.led else 1
        self._timer: asyncio.TimerHandle | None = None
        self._turn_after = self._turned_at = 0.0
        self._armed_ms = math.inf
        self._handshakes = asyncio.Semaphore(HANDSHAKES)
        self._next_connect_at = 0.0
        self._stopping = False
        self._starting: asyncio.Task[None] | None = None
        self._collecting = gc.get_threshold()
        self._on = 0

    @property
    def online(self) -> int:
        """How many units have a connection."""
        return sum(member.line is not None for member in self.members)

    @property
    def waiting(self) -> int:
        """Frames in all journals."""
        return sum(len(member.firmware.flash.journal) for member in self.members)

    @property
    def faults_passed_over(self) -> list[str]:
        """Which faults some of the units cannot have, and why: these go on without."""
        spoken = Counter(member.firmware.protocol for member in self.members)
        return [
            f"{units} of {len(self.members)} units go without {fault.name}: {fault.unsuited(protocol)}"
            for fault in self._faults
            for protocol, units in sorted(spoken.items())
            if not fault.suits(protocol)
        ]

    @property
    def executed(self) -> int:
        """Commands that the vehicles carried out."""
        return sum(member.firmware.vehicle.executed.total() for member in self.members)

    def now_ms(self) -> int:
        """The fleet's time, in Unix milliseconds."""
        return self._now_ms()

    def find(self, brand: str, telematics_unit_id: str) -> Member | None:
        """One of its units."""
        return self._by_unit.get((brand, telematics_unit_id))

    def settle(self) -> None:
        """Let every vehicle live until now."""
        now_ms = self._now_ms()
        if self.columns.led:
            self.columns.advance(now_ms)
        else:
            for member in self.members:
                member.firmware.vehicle.advance(now_ms)

    def attend(self, member: Member) -> None:
        """Have a unit look at its vehicle now: somebody did something to either."""
        self.let(member, member.firmware.tick)

    def start(self) -> None:
        """Switch every unit on: at once, save for many (see STARTING)."""
        self._switch_on(STARTING)
        if self._on < len(self.members):
            self._starting = asyncio.create_task(self._keep_starting())

    def _switch_on(self, count: int) -> None:
        """So many more of those that are off."""
        first, self._on = self._on, self._on + count
        for member in self.members[first : self._on]:
            self.let(member, member.firmware.tick)

    async def _keep_starting(self) -> None:
        """Until all are switched on."""
        clock, moved_at, lines = asyncio.get_running_loop().time, 0.0, -1
        while self._on < len(self.members):
            before, lines = lines, self.tally.connects - self.tally.lines_lost
            if lines != before:
                moved_at = clock()
            stuck = clock() - moved_at >= STARTING_EVERY_S
            if stuck:
                moved_at = clock()
            self._switch_on(STARTING if stuck else max(0, STARTING - (self._on - lines)))
            await asyncio.sleep(STARTING_LOOK_S)
        gc.freeze()  # thousands of units that stay: nothing in them needs to be looked through again and again
        gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])

    def look(self) -> None:
        """Have every unit look at its vehicle now: what somebody does to a vehicle is on no schedule."""
        for member in self._everybody():
            self.let(member, member.firmware.tick)

    async def stop(self) -> None:
        """Say `offline` for every unit and disconnect, within a few seconds."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
            gc.unfreeze()
            gc.set_threshold(*self._collecting)
        if self._timer is not None:
            self._timer.cancel()
        everybody = self._everybody()
        tasks = [member.connecting for member in everybody if member.connecting is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in everybody:
            self.let(member, member.firmware.leaving)
        closing = [asyncio.ensure_future(member.line.close()) for member in everybody if member.line is not None]
        if closing:
            _, late = await asyncio.wait(closing, timeout=STOP_TIMEOUT_S)
            for task in late:
                task.cancel()
        for member in everybody:
            member.line = None
        if self._flash_file is not None:
            self._flash_file.close()

    def _introduce(self) -> None:
        """Each unit knows of another one of its brand; and no fault was asked for in vain."""
        spoken = {member.firmware.protocol for member in self.members}
        for fault in self._faults:
            if self.members and not any(fault.suits(protocol) for protocol in spoken):
                why = "; ".join(fault.unsuited(protocol) for protocol in sorted(spoken))
                raise FaultUnsuited(f"none of the units can have {fault.name}: {why}")
        for member, following in zip(self.members, self.members[1:] + self.members[:1], strict=True):
            if following is not member and following.record.brand == member.record.brand:
                member.firmware.neighbour = following.record.unit

    def _made(self, record: UnitRecord, seed: int) -> Member:
        database = modeldb.load()
        try:
            brand, model = database.brands[record.brand], database.models[record.vehicle_model_id]
            translation = model.units[record.brand]
        except KeyError as error:
            raise ValueError(f"{record.unit}: the model database does not know {error}") from error
        vehicle = Vehicle.of(
            model,
            record.brand,
            seed=seed,
            latitude=50.9375 + self._dice.uniform(-1, 1) * SPREAD_DEGREES if record.latitude is None else record.latitude,
            longitude=6.9603 + self._dice.uniform(-1, 1) * SPREAD_DEGREES if record.longitude is None else record.longitude,
            life=self._life if record.moving else None,
            columns=self.columns,
        )
        config = UnitConfig(
            record.unit,
            translation,
            bytes.fromhex(record.seal_key),
            {record.generation: bytes.fromhex(record.command_key)},
            model_configuration=zlib.crc32(model.id.encode()),
            intervals=self._intervals,
            behaviour=self._behaviour(record.brand),
            journal_capacity=self._behaviour(record.brand).journal_frames,
            cards=frozenset(record.cards),
        )
        kept = self._flash_file.load(record.unit) if self._flash_file else None
        store = self._flash_file.store_of(record.unit) if self._flash_file else volatile
        flash = kept or Flash.factory(self._now_ms())
        faults = [fault for fault in self._faults if fault.suits(brand.protocol)]
        rival_store = self._flash_file.store_of_copy(record.unit) if self._flash_file else volatile
        terminal = Terminal(
            brand.protocol, config, flash, vehicle, store,
            line=self._line_model, faults=faults, seed=self._seed, rival_store=rival_store,
        )  # fmt: skip
        return Member(record, terminal)

    def _everybody(self) -> list[Member]:
        """The members and the copies of them."""
        return self.members + [member.rival for member in self.members if member.rival is not None]

    async def _dial(self, member: Member) -> None:
        """Try for a line whenever the unit does, at the pace of the fleet, until it has one or wants none."""
        while (due_ms := member.firmware.dial_ms(self._now_ms())) is not None:
            await asyncio.sleep(max(0.0, (due_ms - self._now_ms()) / 1000))
            await self._turn_to_connect()
            if not member.firmware.wants_line:
                break
            try:
                member.line = await self._open(member)
            except LineError as error:
                refused = isinstance(error, LoginRefusedError)
                self.tally.logins_refused += refused
                self.tally.connect_failures += not refused
                member.firmware.dial_failed(self._now_ms(), refused=refused)
                self.let(member, member.firmware.tick)
                log.debug("not connected", unit=str(member.record.unit), reason=str(error))
            else:
                self.tally.connects += 1
                member.connecting = None
                self.let(member, member.firmware.connected)
                return
        member.connecting = None

    async def _open(self, member: Member) -> Connection:
        line = self._make_line(
            self._broker,
            member.record.unit,
            member.record.password,
            partial(self._received, member),
            partial(self._line_lost, member),
        )
        async with self._handshakes:
            await line.open()
        return line

    def _see_to_line(self, member: Member) -> None:
        """A unit that lost its power, program or network has no line; one that looks for a line gets one."""
        if member.line is not None and not member.firmware.wants_line:
            line, member.line = member.line, None
            self.tally.lines_lost += 1
            line.drop()
            member.firmware.disconnected(self._now_ms())
        idle = member.line is None and member.connecting is None and not self._stopping
        if idle and member.firmware.dial_ms(self._now_ms()) is not None:
            member.connecting = asyncio.create_task(self._dial(member))

    async def _turn_to_connect(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next_connect_at = max(now, self._next_connect_at) + 1 / CONNECTS_PER_S
        await asyncio.sleep(self._next_connect_at - now)

    def _see_to_rival(self, member: Member) -> None:
        """A copy of the unit that a fault has made is on the air too, under the same identity, until the fault is cured."""
        terminal, rival = member.firmware.rival, member.rival
        if rival is not None and terminal is not rival.firmware:
            member.rival, rival.due_ms = None, None
            if rival.connecting is not None:
                rival.connecting.cancel()
            if rival.line is not None:
                line, rival.line = rival.line, None
                line.drop()
        if terminal is not None and member.rival is None and not self._stopping:
            member.rival = Member(member.record, terminal, rival_of=member)
            self.let(member.rival, terminal.tick)

    def _line_lost(self, member: Member) -> None:
        member.line = None
        self.tally.lines_lost += 1
        other = member.rival or member.rival_of
        self.tally.takeovers += other is not None and (other.line is not None or other.connecting is not None)
        member.firmware.disconnected(self._now_ms())
        self._see_to_line(member)

    def _received(self, member: Member, payload: bytes) -> None:
        self.tally.payloads_received += 1
        member.at_ms = now_ms = max(member.at_ms, self._now_ms())
        try:
            done = member.firmware.took_ack(payload, now_ms)
        except OSError as error:
            self._flash_failed(member, error)
            self._schedule(member, now_ms + FLASH_RETRY_MS)
            return
        if not done:
            self.let(member, member.firmware.receive, payload, at_ms=now_ms)

    def take_turns(self, due: Sequence[tuple[Member, int]]) -> None:
        """Let these units tick, each at its moment: those that have a short way now together, the others one by one."""
        short: list[int] = []
        units: list[BriefUnit] = []
        moments: list[int] = []
        for place, (member, at_ms) in enumerate(due):
            if member.line is not None and member.rival is None and (unit := member.firmware.briefly) is not None:
                short.append(place)
                units.append(unit)
                moments.append(max(member.at_ms, at_ms))
        outcomes: list[Outcome] = [None] * len(due)
        for place, outcome in zip(short, self._together.brief(units, moments), strict=True):
            outcomes[place] = outcome
        for (member, at_ms), outcome in zip(due, outcomes, strict=True):
            if outcome is None:
                self.take_turn(member, at_ms)
            else:
                self._took(member, max(member.at_ms, at_ms), outcome)

    def take_turn(self, member: Member, at_ms: int) -> None:
        """Let the unit tick, a short way if it has one now."""
        at_ms = max(member.at_ms, at_ms)
        brief: Outcome = None
        if member.line is not None and member.rival is None and member.firmware.rival is None:
            try:
                brief = member.firmware.brief(at_ms)
            except OSError as error:
                brief = error
        if brief is None:
            self.let(member, member.firmware.tick, at_ms=at_ms)
        else:
            self._took(member, at_ms, brief)

    def _took(self, member: Member, at_ms: int, outcome: tuple[list[bytes], int] | OSError) -> None:
        """A short way is behind it."""
        if isinstance(outcome, OSError):
            self._flash_failed(member, outcome)
            self._schedule(member, at_ms + FLASH_RETRY_MS)
            return
        member.at_ms = at_ms
        payloads, due_ms = outcome
        self._publish(member, payloads)
        self._schedule(member, due_ms)

    def let(self, member: Member, act: Callable[..., Iterable[bytes]], *given: Any, at_ms: int | None = None) -> None:
        """Let the unit do one thing, and send what comes of it. If its flash cannot be written, nothing goes out."""
        now_ms = self._now_ms() if at_ms is None else at_ms
        if now_ms < member.at_ms:
            now_ms = member.at_ms
        else:
            member.at_ms = now_ms
        earliest_ms = now_ms
        try:
            payloads = act(*given, now_ms)
        except OSError as error:
            self._flash_failed(member, error)
            payloads, earliest_ms = (), now_ms + FLASH_RETRY_MS
        self._publish(member, payloads)
        if member.line is None or not member.firmware.wants_line:
            self._see_to_line(member)
        if member.firmware.rival is not None or member.rival is not None:
            self._see_to_rival(member)
        due_ms = member.firmware.next_tick(now_ms)
        self._schedule(member, due_ms if due_ms > earliest_ms else earliest_ms)

    def _publish(self, member: Member, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            if member.line is not None:
                member.line.publish(payload)
                self.tally.payloads_sent += 1
                self.tally.bytes_sent += len(payload)

    def _flash_failed(self, member: Member, error: OSError) -> None:
        self.tally.flash_failures += 1
        log.error("a unit's flash cannot be written", unit=str(member.record.unit), error=str(error))

    def _schedule(self, member: Member, due_ms: int) -> None:
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
        if self._entries > SLACK * len(self.members):
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
        if self._next_slots and not self._stopping:
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
        if self.columns.led:
            self.columns.lead(now_ms)
        self._turn_after = 0.0
        due: list[tuple[Member, int]] = []
        while len(due) < TICKS_PER_TURN:
            if not self._next_slots or self._over_ms(self._next_slots[0]) > now_ms:
                if self.columns.led:
                    self._turn_after = self._next_turn_at(len(due))
                break
            self._take_slot(due, now_ms)
        self.take_turns(due)
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
