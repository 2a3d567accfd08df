"""Runs a scenario: its vehicles live, its steps happen, and what it expects is judged at the end, with the ledger and the truth.

    outcome = run(load(Path("tunnel.toml")))                                  # the rig, virtual time
    outcome = run(scenario, against=Servers(url, token, broker, amqp_url))    # a gateway that runs, real time
    assert outcome.ok, outcome.text

Any other exception than ScenarioUnable is a fault of the bench.
"""

import asyncio
import hashlib
import resource
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.ledger import Ledger
from bench.scenario_judge import Gap, Heard, Seen, judged
from bench.scenario_outcome import Check, Outcome
from bench.stand.gateways import Answer, GatewayUnderTest, RestGateway, RigGateway, StandError
from bench.truth import Truth, check, total
from bench.witness import Witness
from devices.clock import ScaledClock, VirtualClock, running_on
from devices.flash import Flash, Store
from devices.fleet import Fleet
from devices.life import moving, shared
from devices.member import Member
from devices.mqtt import Dial, Line
from devices.power import ResetCause
from devices.routefile import read_ways
from devices.scenario import Group, Scenario, Step
from devices.scenario_when import Trigger
from devices.unitsfile import UnitRecord
from modeldb.vocabulary import PROPERTIES
from protocols.codec import UnitId

LIVES = {"still": moving, "moving": moving, "shared": shared}
LOOK_S = 0.5
WATCH_S = 15.0
READY_S = 60.0
DRIVE_LIMIT_S = 6 * 3600.0
VIRTUAL = "virtual"
NAMED = tuple(key for key, known in PROPERTIES.items() if known.event is not None)


class ScenarioUnable(Exception):
    """The scenario cannot be run there: what stands in the way."""


@dataclass(frozen=True, slots=True)
class Servers:
    """A gateway that runs, and its brokers. `break_broker` takes the units' broker away for so many seconds, if it can be."""

    url: str
    token: str
    broker: str
    amqp_url: str | None = None
    break_broker: Callable[[float], Awaitable[None]] | None = None


@dataclass(slots=True)
class _Actor:
    """One vehicle of the scenario."""

    group: Group
    member: Member
    fleet: Fleet
    began_m: float = 0.0

    @property
    def unit(self) -> UnitId:
        return self.member.record.unit

    @property
    def lines(self) -> int:
        """Connections under its unit's identity."""
        return sum(each is not None and each.line is not None for each in (self.member, self.member.rival))

    def look(self) -> None:
        """Its unit looks at its vehicle and its line now."""
        self.fleet.let(self.member, self.member.firmware.tick)


def run(scenario: Scenario, *, against: Servers | None = None, pace: str = VIRTUAL, seed: int | None = None) -> Outcome:
    """Run it in the rig (`against` none), or with a gateway that runs. Raises ScenarioUnable.

    `pace` is `virtual`, `real` or `x10`; against servers `virtual` means `real`, and `x10` lets the units live through their
    past at ten times the speed, so that they reach the present when the steps end.
    """
    seed = scenario.seed if seed is None else seed
    clock = _clock(scenario, pace, real=against is not None)
    with running_on(clock) as runner:
        return runner.run(_Run(scenario, clock, seed, against).play())


def run_with_ledger(scenario: Scenario) -> tuple[Outcome, Ledger]:
    """Run it in the rig; the outcome, and what became of each report."""
    clock = VirtualClock()
    whole = _Run(scenario, clock, scenario.seed, None)
    with running_on(clock) as runner:
        return runner.run(whole.play()), whole.ledger


def _clock(scenario: Scenario, pace: str, *, real: bool) -> VirtualClock | ScaledClock:
    if pace == VIRTUAL:
        return ScaledClock() if real else VirtualClock()
    factor = 1.0 if pace == "real" else float(pace.removeprefix("x"))
    if real and factor != 1.0 and scenario.real_time:
        raise ScenarioUnable(
            f"time cannot be {pace} here: the file says `real_time`, for what it expects takes as long as the gateway's own "
            f"clock says; take real or virtual time"
        )
    behind_s = scenario.about_s * (1 - 1 / factor) + BEHIND_S if real and factor > 1 else 0.0
    if behind_s > BEHIND_LIMIT_S and scenario.commands:
        raise ScenarioUnable(
            f"with real servers units live through their past when time is {pace}, and a clock {behind_s:.0f} s behind "
            f"takes no command (300 s): this scenario is too long for that; take a smaller factor ({fastest(scenario)}), real, "
            f"or virtual time"
        )
    return ScaledClock(factor, time.time_ns() // 1_000_000 - round(1000 * behind_s))


def fastest(scenario: Scenario) -> str:
    """The fastest pace at which a scenario can be run with real servers: `x5`, or `real` where its commands allow no other."""
    if scenario.real_time:
        return "real"
    if not scenario.commands:
        return f"x{max(USUAL_FACTOR, scenario.about_s / LONGEST_S):.3g}"
    late_s = scenario.about_s - (BEHIND_LIMIT_S - BEHIND_S - SPARE_S)
    factor = USUAL_FACTOR if late_s <= 0 else min(USUAL_FACTOR, scenario.about_s / late_s)
    return f"x{factor:.2f}" if factor > 1.01 else "real"


USUAL_FACTOR, LONGEST_S, SPARE_S = 5.0, 720.0, 10.0
BEHIND_S = 15.0
BEHIND_LIMIT_S = 280.0
"""How far a unit's clock may be behind the gateway's: a command that expires in more than 300 s is refused by the unit."""


class _Witness(Witness):
    """One that also notes which values a vehicle's unit has told of."""

    def __init__(self, ledger: Ledger, vehicles: Mapping[UnitId, str], had: set[tuple[UnitId, str, Any]]) -> None:
        super().__init__(ledger, vehicles)
        self._had = had
        self.terminals: dict[UnitId, Any] = {}

    def store_of(self, unit: UnitId) -> Store:
        """See Witness."""
        store = super().store_of(unit)

        def noting(flash: Flash) -> None:
            store(flash)
            terminal = self.terminals.get(unit)
            if terminal is not None and terminal.truth_told is not None:
                self._had.update((unit, key, terminal.truth_told[key]) for key in NAMED if key in terminal.truth_told)

        return noting


@dataclass
class _Run:
    """One run of one scenario under the running loop's clock."""

    scenario: Scenario
    clock: VirtualClock | ScaledClock
    seed: int
    against: Servers | None
    actors: list[_Actor] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    checks: list[Check] = field(default_factory=list)

    async def play(self) -> Outcome:
        """All of it."""
        began, worked = time.perf_counter(), time.process_time()
        gateway: Any = RigGateway(self.clock, self.seed)
        if self.against is not None:
            gateway = RestGateway(self.against.url, self.against.token, self.against.amqp_url)
        self.gateway: GatewayUnderTest = gateway
        self.ledger = Ledger()
        try:
            await gateway.open(self._heard)
            fleets = await self._made()
            before = await self._counted()
            for fleet in fleets:
                fleet.start()
            try:
                truth = await self._live()
                counted = {name: value - before.get(name, 0) for name, value in (await self._counted()).items()}
            finally:
                for fleet in fleets:
                    await fleet.stop()
        except StandError as error:
            raise ScenarioUnable(str(error)) from error
        finally:
            await gateway.close()
        self.witness.settle()
        self.seen.counted, self.seen.restarts = counted, sum(actor.member.firmware.restarts for actor in self.actors)
        self.seen.executed = sum(fleet.executed for fleet in fleets)
        self.seen.takeovers = sum(fleet.tally.takeovers for fleet in fleets)
        self.checks += judged(self.scenario, self.seen, self.ledger, truth, self._units())
        rig = getattr(gateway, "rig", None)
        return Outcome(
            scenario=self.scenario,
            seed=self.seed,
            checks=tuple(self.checks),
            counts=self.ledger.counts(),
            truth=truth,
            seen=self.seen,
            wall_s=time.perf_counter() - began,
            cpu_s=time.process_time() - worked,
            rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            digest=rig.pen.digest if rig is not None else "",
        )

    def _units(self) -> dict[str, list[UnitId]]:
        groups: dict[str, list[UnitId]] = {group.name: [] for group in self.scenario.groups}
        for actor in self.actors:
            groups[actor.group.name].append(actor.unit)
        return groups

    async def _made(self) -> list[Fleet]:
        """Add the vehicles and switch nothing on yet: one fleet for each kind of life."""
        added: dict[str, list[tuple[Group, UnitRecord]]] = {}
        vehicles: dict[UnitId, str] = {}
        for group in self.scenario.groups:
            for place in range(group.count):
                unit = unit_of(group, self.seed if self.against is None else time.time_ns(), place)
                record = await self.gateway.add(unit, group.model)
                record = _placed(record, group)
                vehicles[unit] = record.vehicle_id
                added.setdefault(group.life, []).append((group, record))
        self.seen.units = {vehicle_id: unit for unit, vehicle_id in vehicles.items()}
        self.witness = _Witness(self.ledger, vehicles, self.seen.had)
        return [self._fleet(life, many) for life, many in added.items()]

    def _fleet(self, life: str, many: Sequence[tuple[Group, UnitRecord]]) -> Fleet:
        dial: Dial = self.gateway.rig.air.dial if isinstance(self.gateway, RigGateway) else Line
        fleet = Fleet(
            [record for _, record in many],
            self.against.broker if self.against else "mqtt://air",
            seed=self.seed,
            intervals=self.scenario.intervals,
            flash_file=self.witness,
            now_ms=self.clock.now_ms,
            line=self.scenario.line,
            dial=self.witness.overhears(dial),
            life=LIVES[life],
        )
        for (group, _), member in zip(many, fleet.members, strict=True):
            if group.line is not None:
                member.firmware.link.model = group.line.with_gaps(self.scenario.line.holes, self.scenario.line.outages)
            if group.route is not None:
                member.firmware.vehicle.route = read_ways(group.route)[0]
            for fault in group.faults:
                member.firmware.begin_with(fault)
            self.witness.terminals[member.record.unit] = member.firmware
            self.actors.append(_Actor(group, member, fleet))
        return fleet

    async def _live(self) -> Truth:
        """The steps, then quiet, then the truth."""
        await self._until(lambda: all(actor.member.firmware.spoken for actor in self.actors), READY_S)
        self.began_ms = self.seen.began_ms = self.clock.now_ms()
        for actor in self.actors:
            actor.began_m = actor.member.firmware.vehicle.distance_m
        running: list[asyncio.Task[None]] = []
        watching = asyncio.create_task(self._watch()) if isinstance(self.gateway, RigGateway) else None
        for step in self.scenario.steps:
            if step.at_s is not None:
                await asyncio.sleep(max(0.0, self.began_ms / 1000 + step.at_s - self.clock.now_ms() / 1000))
            task = asyncio.create_task(self._step(step))
            running.append(task)
            if not step.meanwhile:
                await task
        await asyncio.gather(*running)
        await self._settle()
        if watching is not None:
            watching.cancel()
        parts = []
        for actor in self.actors:
            if actor.unit not in self.seen.archived:
                translation = actor.group.model.units[actor.unit.brand]
                state = self.seen.states[actor.unit] = await self.gateway.state(actor.unit)
                parts.append(check(actor.member.firmware, state, translation))
        return total(parts)

    async def _watch(self) -> None:
        """Where it costs nothing: what the vehicles have told of, and how far the gateway was from the truth meanwhile."""
        while True:
            await asyncio.sleep(WATCH_S)
            for actor in self.actors:
                self.seen.most_lines = max(self.seen.most_lines, actor.lines)
                if actor.member.firmware.ailments:
                    self.seen.sick.add(actor.unit)
                if actor.unit not in self.seen.archived:
                    translation = actor.group.model.units[actor.unit.brand]
                    truth = check(actor.member.firmware, await self.gateway.state(actor.unit), translation)
                    self.seen.most_different = max(self.seen.most_different, truth.different)

    async def _settle(self) -> None:
        """Until nothing waits in a journal, or the time for that is over; then what is still on its way to the listener."""
        gaps = [gap.ended_ms for gap in self.seen.gaps]
        await asyncio.sleep(max(0.0, (max(gaps, default=0) - self.clock.now_ms()) / 1000))
        self._look()
        live = [actor for actor in self.actors if actor.unit not in self.seen.archived]
        await self._until(lambda: not any(actor.member.firmware.flash.journal for actor in live), self.scenario.settle_s)
        self._look()
        await asyncio.sleep(3.0)
        await self._until(lambda: not any(actor.member.firmware.flash.journal for actor in live), self.scenario.settle_s)
        self.witness.settle()
        await self._until(lambda: self.ledger.counts().lost == 0, 20.0)

    async def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        give_up = self.clock.now_ms() + 1000 * seconds
        while not true():
            if self.clock.now_ms() >= give_up:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _look(self) -> None:
        for fleet in {id(actor.fleet): actor.fleet for actor in self.actors}.values():
            fleet.look()

    def _heard(self, event: Any) -> None:
        """An event of the gateway, of whatever vehicle."""
        metadata = event["metadata"]
        if metadata["vehicle_id"] not in self.seen.units:
            return
        heard = Heard.of(event, self.clock.now_ms(), self.seen.units[metadata["vehicle_id"]])
        self.seen.events.append(heard)
        if heard.type == "VehicleStateRecorded":
            self.ledger.observe(heard.id, heard.seen_ms / 1000)

    async def _counted(self) -> dict[str, int]:
        """The gateway's counters: `refused:REASON`, `repeated`, `late`, `contested`."""
        if isinstance(self.gateway, RigGateway):
            rig = self.gateway.rig
            said = {f"refused:{reason}": times for reason, times in rig.refused().items()}
            said["quarantined"] = await rig.quarantined()
            return said | {outcome: rig.frames(outcome) for outcome in ("accepted", "repeated", "late", "contested")}
        assert isinstance(self.gateway, RestGateway)
        return await self.gateway.counted()

    async def _step(self, step: Step) -> None:
        who = [each for each in self.actors if step.who == each.group.name or (step.who is None and each.group.life == "still")]
        if step.when is not None:
            when = step.when
            if not await self._until(lambda: self._has_happened(when, who), when.within_s):
                self._failed(step, f"when: {when.text}", f"not within {when.within_s:g} s")
                return
        if step.verb == "wait":
            await asyncio.sleep(step.value)
        elif step.verb == "broker_down":
            await self._broker_down(step.value)
        else:
            act = getattr(self, f"_{step.verb}")
            await asyncio.gather(*(act(actor, step) for actor in who))

    def _has_happened(self, when: Trigger, who: Sequence[_Actor]) -> bool:
        if when.kind == "event":
            units = {actor.unit for actor in who}
            came = [each for each in self.seen.events if each.unit in units and each.type == when.value]
            return len([each for each in came if when.to is None or each.body.get("to") == when.to]) >= when.count
        for actor in who:
            actor.member.firmware.vehicle.advance(self.clock.now_ms())
        if when.kind == "driven":
            metres = float(when.value)
            return all(actor.member.firmware.vehicle.distance_m - actor.began_m >= metres for actor in who)
        return all(when.holds(actor.member.firmware.vehicle.state()) for actor in who)

    async def _broker_down(self, seconds: float) -> None:
        if isinstance(self.gateway, RigGateway):
            self.gateway.rig.air.go_down()
            await asyncio.sleep(seconds)
            self.gateway.rig.air.come_back()
        elif self.against is not None and self.against.break_broker is not None:
            await self.against.break_broker(seconds)
        else:
            raise ScenarioUnable("the broker of a gateway that runs is not ours to take away: use --lab, or the rig")

    def _do(self, actor: _Actor, act: Callable[[Any], object]) -> None:
        """Something is done to a vehicle, and its unit looks at once."""
        vehicle = actor.member.firmware.vehicle
        vehicle.advance(self.clock.now_ms())
        act(vehicle)
        actor.look()

    def _failed(self, step: Step, expected: str, seen: str) -> None:
        self.checks.append(Check(f"{step.verb} {step.value}", False, expected, seen, step.line, self._moment()))

    def _moment(self) -> float:
        return (self.clock.now_ms() - self.began_ms) / 1000

    async def _drive(self, actor: _Actor, step: Step) -> None:
        vehicle = actor.member.firmware.vehicle
        if not vehicle.driving_enabled:
            self._failed(step, "a vehicle that can be driven", "driving is not enabled: unlock and enable it first")
            return
        began_m = vehicle.distance_m
        self._do(actor, lambda it: _set_off(it, step.kmh))
        if not await self._until(lambda: vehicle.distance_m - began_m >= step.value, DRIVE_LIMIT_S):
            self._failed(
                step, f"{step.value:g} m driven", f"{vehicle.distance_m - began_m:.0f} m in {DRIVE_LIMIT_S / 3600:g} hours"
            )

    async def _park(self, actor: _Actor, step: Step) -> None:
        vehicle = actor.member.firmware.vehicle
        self._do(actor, lambda it: setattr(it, "target_speed_kmh", 0.0))
        await self._until(lambda: not vehicle.in_motion, 300)
        self._do(actor, _leave)
        if vehicle.kind not in ("MOPED", "KICK_SCOOTER"):
            self._do(actor, lambda it: it.doors_open.add("front_left"))
            await asyncio.sleep(2)
            self._do(actor, lambda it: it.doors_open.discard("front_left"))

    async def _command(self, actor: _Actor, step: Step) -> None:
        began_ms = self.clock.now_ms()
        answer: Answer = await self.gateway.command(actor.unit, step.value, step.timeout_s)
        self.seen.command_ms.append(self.clock.now_ms() - began_ms)
        right = step.status in (None, answer.status) and step.reason in (None, answer.reason)
        wanted = " ".join(str(each) for each in (step.status, step.reason) if each is not None)
        said = f"{answer.status} {answer.reason}".strip()
        self.checks.append(Check(f"command {step.value}", right, wanted, said, step.line, self._moment()))

    async def _fob(self, actor: _Actor, step: Step) -> None:
        self._do(actor, lambda it: _turn_fob(it, step.value == "lock"))

    async def _set(self, actor: _Actor, step: Step) -> None:
        self._do(actor, lambda it: _set(it, step.value))

    async def _open(self, actor: _Actor, step: Step) -> None:
        self._do(actor, lambda it: it.doors_open.add(step.value))

    async def _shut(self, actor: _Actor, step: Step) -> None:
        self._do(actor, lambda it: it.doors_open.discard(step.value))

    async def _ignite(self, actor: _Actor, step: Step) -> None:
        self._do(actor, lambda it: _ignition(it, step.value))

    async def _cut(self, actor: _Actor, step: Step) -> None:
        now_ms = self.clock.now_ms()
        actor.member.firmware.link.cut(now_ms, step.value)
        self.seen.gaps.append(Gap(actor.unit, now_ms, now_ms + round(1000 * step.value)))
        actor.look()

    async def _mend(self, actor: _Actor, step: Step) -> None:
        actor.member.firmware.link.mend()
        now_ms = self.clock.now_ms()
        self.seen.gaps = [gap.until(now_ms) if gap.unit == actor.unit else gap for gap in self.seen.gaps]
        actor.look()

    async def _fault(self, actor: _Actor, step: Step) -> None:
        if step.value.suits(actor.member.firmware.protocol):
            actor.member.firmware.inject(step.value, self.clock.now_ms())
            actor.look()

    async def _cure(self, actor: _Actor, step: Step) -> None:
        actor.member.firmware.cure(step.value, self.clock.now_ms())
        actor.look()

    async def _restart(self, actor: _Actor, step: Step) -> None:
        actor.member.firmware.reset(ResetCause[step.value.upper()], self.clock.now_ms())
        actor.look()

    async def _archive(self, actor: _Actor, step: Step) -> None:
        await self.gateway.archive(actor.unit)
        self.seen.archived.add(actor.unit)

    async def _restore(self, actor: _Actor, step: Step) -> None:
        await self.gateway.restore(actor.unit)
        self.seen.archived.discard(actor.unit)


def _placed(record: UnitRecord, group: Group) -> UnitRecord:
    latitude, longitude = group.start or (None, None)
    return msgspec.structs.replace(record, moving=group.life != "still", latitude=latitude, longitude=longitude)


def unit_of(group: Group, seed: int, place: int) -> UnitId:
    """An id such as the brand's units have, the same for the same seed."""
    digest = hashlib.sha256(f"{seed}/{group.name}/{place}".encode()).hexdigest()
    match group.brand.name:
        case "CLOUDBOXX":
            return UnitId("CLOUDBOXX", digest[:16].upper())
        case "TELTONIKA":
            digits = "35" + f"{int(digest, 16) % 10**12:012d}"
            return UnitId("TELTONIKA", digits + _luhn(digits))
        case name:
            letters = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
            number = int(digest, 16)
            return UnitId(name, "W1N" + "".join(letters[number // 33**at % 33] for at in range(14)))


def _luhn(digits: str) -> str:
    total_ = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return str(-total_ % 10)


def _set_off(vehicle: Any, kmh: float) -> None:
    vehicle.doors_open.clear()
    vehicle.key_inserted = vehicle.ignition = True
    vehicle.parking_brake = vehicle.center_stand_down = False
    vehicle.target_speed_kmh = kmh


def _leave(vehicle: Any) -> None:
    vehicle.parking_brake = vehicle.center_stand_down = True
    vehicle.ignition = vehicle.headlights = vehicle.key_inserted = False


def _ignition(vehicle: Any, on: bool) -> None:
    vehicle.key_inserted = vehicle.ignition = on


def _turn_fob(vehicle: Any, lock: bool) -> None:
    vehicle.locked = lock
    vehicle.driving_enabled = not lock


def _set(vehicle: Any, truth: Mapping[str, Any]) -> None:
    for name, value in truth.items():
        setattr(vehicle, name, value)
