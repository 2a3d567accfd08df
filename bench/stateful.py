"""Stateful units as a source of load: `devices.fleet` with its firmware, journals and vehicles, paced from outside."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

import modeldb
from bench.account import Added
from bench.ledger import Ledger
from bench.truth import Truth, check, total
from bench.witness import Witness
from devices.behaviour import Behaviour, behaviour_of
from devices.config import Intervals
from devices.faults import parse
from devices.fleet import Fleet
from devices.member import Member
from devices.mqtt import Connection

WHENEVER_ASKED = Intervals(0.001, 0.001, 3_600)
"""Whenever a unit is looked at, a state is due: so the pace is the bench's."""

TURN_S, SHORT_TURN_S, TOGETHER = 0.015, 0.004, 14
"""How often what is due is told: so many units or more together in the longer turn, fewer at once."""

BOOT_EVERY_S = 0.5
WAIT_FOR_LINES_S = 120.0


def _without_budget(brand: str) -> Behaviour:
    """As the brand's units behave, on a SIM that carries whatever the bench asks for."""
    return msgspec.structs.replace(behaviour_of(brand), data_budget_bytes=0)


class _Batched:
    """A line that holds payloads back until there are enough of them for one."""

    def __init__(self, line: Connection, batch: int) -> None:
        self._line, self._batch, self._held = line, batch, list[bytes]()

    def publish(self, payload: bytes) -> None:
        self._held.append(payload)
        if len(self._held) >= self._batch:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._line.publish(b"".join(self._held))
            self._held.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


class _Heard:
    """A line that tells a witness what is said on it."""

    def __init__(self, line: Connection, hear: Callable[[bytes], None]) -> None:
        self._line, self._hear = line, hear

    def publish(self, payload: bytes) -> None:
        self._hear(payload)
        self._line.publish(payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


class _Paced(Fleet):
    """A fleet whose units are looked at when the bench says so, not by their own timers."""

    batch = 1
    witness: Witness

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._asked: list[tuple[Member, int]] = []

    def _schedule(self, member: Member, due_ms: int) -> None:
        if member.rival_of is not None:  # nobody paces a copy: it goes by its own timers
            super()._schedule(member, due_ms)
            return
        member.due_ms = due_ms

    async def _open(self, member: Member) -> Connection:
        line = await super()._open(member)
        if member.firmware.protocol == "autoapi":  # it has no journal to look into
            line = _Heard(line, partial(self.witness.said, member.record.unit))
        return _Batched(line, self.batch) if self.batch > 1 else line

    def make_ready(self, places: Sequence[int]) -> None:
        """These are looked at soon."""
        rows = np.array([self.members[place].firmware.vehicle.at_row for place in places], np.intp)
        self.columns.prepare(rows, self.now_ms())

    def look_at(self, member: Member, at_ms: int) -> None:
        self.take_turn(member, at_ms)

    def look_soon_at(self, member: Member, at_ms: int) -> None:
        """Together with all others that are asked for in this turn of the loop: many where the pace is behind, else few."""
        if not self._asked:
            asyncio.get_running_loop().call_soon(self.look_at_asked)
        self._asked.append((member, at_ms))

    def look_at_asked(self) -> None:
        """At those that wait for it."""
        asked, self._asked = self._asked, []
        while asked:
            if len({id(member) for member, _ in asked}) == len(asked):  # as a rule
                self.take_turns(asked)
                return
            once: dict[int, tuple[Member, int]] = {}
            again = []
            for each in asked:
                if id(each[0]) in once:
                    again.append(each)
                else:
                    once[id(each[0])] = each
            self.take_turns(list(once.values()))
            asked = again

    def lose_line(self, member: Member) -> None:
        if member.line is not None:
            member.line.drop()
            self._line_lost(member)


class StatefulFleet:
    """A `bench.source.Source` of simulated units. `faults` (NAME or NAME:rate) are mixed in."""

    def __init__(
        self, ledger: Ledger, added: Sequence[Added], broker: str, *, seed: int = 0, batch: int = 1, faults: Sequence[str] = ()
    ) -> None:
        self._vehicles = {each.record.unit: each.record.vehicle_id for each in added}
        self.witness = Witness(ledger, self._vehicles)
        self._fleet = _Paced(
            [each.record for each in added],
            broker,
            seed=seed,
            intervals=WHENEVER_ASKED,
            behaviour=_without_budget,
            flash_file=self.witness,
            faults=[parse(fault) for fault in faults],
        )
        self._fleet.batch, self._fleet.witness = batch, self.witness
        self._ledger = ledger
        self.units = [member.record.unit for member in self._fleet.members]
        self.sent = 0
        self._stopped = False

    @property
    def connects(self) -> int:
        """Lines that came up so far."""
        return self._fleet.tally.connects

    @property
    def connect_failures(self) -> int:
        """Tries for a line that failed."""
        return self._fleet.tally.connect_failures + self._fleet.tally.logins_refused

    @property
    def acks(self) -> int:
        """Payloads that came down so far."""
        return self._fleet.tally.payloads_received

    @property
    def online(self) -> int:
        """Units with a line."""
        return self._fleet.online

    @property
    def waiting(self) -> int:
        """Frames in the journals."""
        return self._fleet.waiting

    async def start(self, progress: Callable[[int], None]) -> None:
        """Switch all on and wait until they have a line."""
        self._fleet.start()
        give_up, look_at = time.monotonic() + WAIT_FOR_LINES_S, time.monotonic() + BOOT_EVERY_S
        while self.online < len(self.units) and time.monotonic() < give_up:
            progress(self.online)
            await asyncio.sleep(0.05)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + BOOT_EVERY_S
                for member in self._fleet.members:
                    if member.line is None and not member.firmware.wants_line:
                        self._fleet.look_at(member, time.time_ns() // 1_000_000)
        progress(self.online)

    def expect(self, places: Sequence[int], within_s: float) -> float:
        """Have their vehicles live until now, together; many that are told together cost much less, few are not worth a wait."""
        self._fleet.make_ready(places)
        return TURN_S if len(places) * TURN_S >= TOGETHER * within_s else SHORT_TURN_S

    def say(self, place: int, at_s: float) -> None:
        """The unit looks at its vehicle: a state is due."""
        self._fleet.look_soon_at(self._fleet.members[place], round(at_s * 1000))
        self.sent += 1

    def storm(self) -> None:
        """All lines are gone at once, without a word."""
        for member in self._fleet.members:
            self._fleet.lose_line(member)

    def collect(self) -> None:
        """Bring the ledger up to date with what was captured."""
        self.witness.collect()

    def nudge(self) -> None:
        """Let the units that still wait look whether something is to be sent again."""
        now_ms = time.time_ns() // 1_000_000
        for member in self._fleet.members:
            if isinstance(member.line, _Batched):
                member.line.flush()
            if member.firmware.flash.journal:
                self._fleet.look_at(member, now_ms)

    async def stop(self) -> None:
        """Leave; bring the ledger up to date with what is acknowledged."""
        self._fleet.look_at_asked()
        self.witness.settle()
        if not self._stopped:
            self._stopped = True
            await self._fleet.stop()

    def last_look(self) -> int:
        """What has a name and changed after the unit was asked last is told now."""
        self._fleet.look_at_asked()
        now_ms, told = time.time_ns() // 1_000_000, 0
        for member in self._fleet.members:
            if member.line is not None and member.firmware.firmware.senses.has_news():
                self._fleet.look_at(member, now_ms)
                told += 1
        for member in self._fleet.members:
            if isinstance(member.line, _Batched):
                member.line.flush()
        return told

    def truth(self, shown: Mapping[str, Mapping[str, Any]]) -> Truth | None:
        """Every property that a vehicle's model can say, of every vehicle, also where its unit was set up for another model."""
        models, members = modeldb.load().models, self._fleet.members
        return total(
            check(
                each.firmware,
                shown.get(each.record.vehicle_id or "", {}),
                models[each.record.vehicle_model_id].units[each.record.brand],
            )
            for each in members
        )

    def last_frames(self) -> Mapping[int, bytes]:
        """The newest frame with a report of each unit."""
        places = {unit: place for place, unit in enumerate(self.units)}
        return {places[unit]: data for unit, data in self.witness.newest.items() if unit in places}
