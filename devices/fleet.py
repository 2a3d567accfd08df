"""Thousands of units in one process: each its own connection, all ticks in slots of time, all connects at one bounded pace."""

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from devices.behaviour import Behaviour, behaviour_of
from devices.columns import Columns
from devices.config import Intervals
from devices.faults import Fault, FaultUnsuited
from devices.flashfile import FlashKeeper
from devices.life import moving
from devices.line import PERFECT, LineModel
from devices.member import Member
from devices.mqtt import BrokerAddress, Connection, Dial, Line, LineError, LoginRefusedError
from devices.outfit import Outfit
from devices.timetable import Timetable
from devices.turns import Turns
from devices.unitsfile import UnitRecord
from devices.vehicle import Life

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

COLLECT_AFTER = 20_000
"""Objects made before young ones are looked through for garbage, in a fleet of many: what its units make lives for a second."""

STOP_TIMEOUT_S = 2.0

log = structlog.get_logger(__name__)


def steady_clock() -> Callable[[], int]:
    """A clock in Unix milliseconds that is right when made and then only goes forward: ticks must not wait for a set-back."""
    start_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
    return lambda: start_ms + time.monotonic_ns() // 1_000_000


class Fleet(Turns):
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
        columns = Columns(len(records))
        columns.led = now_ms is None
        super().__init__(columns, now_ms or steady_clock())
        self._broker, self._make_line = BrokerAddress.parse(broker), dial
        self._flash_file, self._faults = flash_file, tuple(faults)
        outfit = Outfit(
            seed, intervals, flash_file, self._now_ms, line, self._faults, life, behaviour, columns, random.Random(seed)
        )
        self.members = [outfit.made(record, seed + place) for place, record in enumerate(records)]
        self._by_unit = {(each.record.brand, each.record.telematics_unit_id): each for each in self.members}
        self._introduce()
        self.timetable = Timetable(columns, self._now_ms, len(records), lambda due: self.take_turns(due))
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
        self.timetable.stop()
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

    def _schedule(self, member: Member, due_ms: int) -> None:
        self.timetable.put(member, due_ms)
