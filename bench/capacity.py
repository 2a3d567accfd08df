"""How many vehicles, and how many frames a second, this machine sustains; and what is full where it does not.

Two searches by bracketing: the largest rate, said by the lean generator so that the units' own cost does not hide the
gateway's, and the largest fleet of stateful units that report at a pace. A trial passes where nothing is lost or missing, p99
from capture to the consumer's hands keeps its limit, and the generator kept its schedule.
"""

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping

import msgspec

from bench.account import Account, Added, fleet_of
from bench.bracket import Edge, largest
from bench.load import LoadRun
from bench.plan import Plan, Target
from bench.results import Result
from bench.stages import Stage

HOLD_S = 8.0
EDGE_HOLD_S = 15.0
RAMP_S = 2.0
DRAIN_S = 20.0
RATE_SHARE = 0.6
"""Of the time: the search for the rate; the rest is the fleet's."""

KEPT_SCHEDULE = 0.97
FULL_PERCENT = 85.0
MACHINE_FULL = 0.9
START_RATE, START_UNITS = 250, 250

NOTHING_FULL = "none"
"""No trial failed: the limit of the search, or its time, came first."""

STAGE_OF = {
    "look up": "store",
    "store": "store",
    "decode": "decode",
    "translate": "translate",
    "answer": "translate",
    "publish": "AMQP",
}
"""The gateway's own stages, by the name that capacity gives them."""

Tell = Callable[[str], None]


class StageLoad(msgspec.Struct, frozen=True, kw_only=True):
    """CPU in percent of a core (a gateway's stage has its part of the gateway's), share of the time, and what waits there."""

    cpu_percent: float
    time_percent: float | None = None
    queue: float | None = None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `--json`."""

    units: int
    frames_per_s: float
    p99_ms: float | None
    lost: int
    full_stage: str
    stages: dict[str, StageLoad]
    repeat_with: str


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One try and what came of it."""

    what: str
    number: int
    ok: bool
    why: str
    p99_ms: float | None
    frames_per_s: float
    full_stage: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and how it was found."""

    capacity: Capacity
    trials: list[Trial]
    rate_repeated: bool
    fleet_repeated: bool
    fleet_full_stage: str
    fleet_p99_ms: float | None
    notes: list[str]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: p99 in ms, the pace of a stateful unit in frames per second, and how far to go."""

    p99_ms: float = 100.0
    pace: float = 0.1
    max_rate: int = 50_000
    max_units: int = 20_000
    lean_units: int = 500
    budget_s: float = 600.0
    hold_s: float = HOLD_S


class CapacitySearch:
    """One search against a target. `run_watch` gets the live view of a trial."""

    def __init__(
        self, target: Target, limits: Limits, cores: int, lab: str, tell: Tell, make_run: Callable[..., LoadRun] = LoadRun
    ) -> None:
        self._target, self._limits, self._cores, self._lab, self._tell = target, limits, cores, lab, tell
        self._make_run = make_run
        self._added: dict[bool, list[Added]] = {True: [], False: []}
        self._trials: list[Trial] = []
        self._results: dict[tuple[str, int], Result] = {}
        self._stopping = asyncio.Event()
        self._slowest_trial_s = 0.0

    async def run(self, stopping: asyncio.Event) -> Found:
        """Search until both edges are known, the time is over, or `stopping`. Raises AccountError."""
        self._stopping = stopping
        account = Account(self._target.url, self._target.token)
        began = time.monotonic()
        budget = self._limits.budget_s
        try:
            rate = await largest(
                lambda number, again: self._try_rate(account, number, again),
                min(START_RATE, self._limits.max_rate),
                self._limits.max_rate,
                lambda: self._has_time(began + budget * RATE_SHARE),
            )
            fleet = await largest(
                lambda number, again: self._try_fleet(account, number, again),
                min(START_UNITS, self._limits.max_units),
                self._limits.max_units,
                lambda: self._has_time(began + budget),
            )
            return self._found(rate, fleet)
        finally:
            await account.close()

    def _has_time(self, until: float) -> bool:
        return not self._stopping.is_set() and time.monotonic() + self._slowest_trial_s < until

    async def _vehicles(self, account: Account, count: int, lean: bool) -> list[Added]:
        """So many vehicles, added as far as they are not there yet; a unit is lean or stateful, never both in turn."""
        added = self._added[lean]
        if len(added) < count:
            wanted = fleet_of(count, {"CLOUDBOXX": 1.0}, None, ())[len(added) :]
            added += await account.add(wanted, lambda done: None, True)
        return added[:count]

    async def _try_rate(self, account: Account, rate: int, again: bool) -> bool:
        units = min(self._limits.lean_units, max(1, rate))
        return await self._try("frames/s", rate, units, float(rate), True, again, account)

    async def _try_fleet(self, account: Account, units: int, again: bool) -> bool:
        return await self._try("units", units, units, units * self._limits.pace, False, again, account)

    def plan(self, units: int, rate: float, lean: bool, again: bool) -> Plan:
        """A trial: a short ramp, then it holds; longer where an edge is tried again."""
        hold_s = self._limits.hold_s * (EDGE_HOLD_S / HOLD_S if again else 1.0)
        ramp = Stage(kind="ramp", duration_s=RAMP_S, rate_from=rate / 4, rate_to=rate)
        hold = Stage(kind="hold", duration_s=hold_s, rate_from=rate, rate_to=rate)
        return Plan(units=units, rate=rate, stages=(ramp, hold), lean=lean, drain_s=DRAIN_S, looks_per_s=1.0)

    async def _try(self, what: str, number: int, units: int, rate: float, lean: bool, again: bool, account: Account) -> bool:
        began = time.monotonic()
        plan = self.plan(units, rate, lean, again)
        self._tell(f"trying {number} {what}" + (" again" if again else ""))
        result = await self._make_run(plan, self._target).with_vehicles(
            account, await self._vehicles(account, units, lean), self._stopping
        )
        self._slowest_trial_s = max(self._slowest_trial_s, time.monotonic() - began)
        why = self._why_not(result)
        full = full_stage(result, self._cores)
        p99 = result.document.latency_ms.event.p99
        trial = Trial(
            what=what,
            number=number,
            ok=not why,
            why=why,
            p99_ms=p99,
            frames_per_s=result.document.rate.frames_per_s,
            full_stage=full,
        )
        self._trials.append(trial)
        if trial.ok or (what, number) not in self._results:
            self._results[what, number] = result
        self._tell(f"  {number} {what}: " + (f"sustained, p99 {p99 or 0:.0f} ms" if trial.ok else f"{why}; full: {full}"))
        return trial.ok

    def _broke(self, what: str, number: int, why: str) -> bool:
        """A trial that could not even begin: its units found no way in."""
        self._trials.append(
            Trial(what=what, number=number, ok=False, why=why, p99_ms=None, frames_per_s=0.0, full_stage="broker")
        )
        self._tell(f"  {number} {what}: {why}")
        return False

    def _why_not(self, result: Result) -> str:
        """Why a trial does not pass; empty where it does."""
        document = result.document
        stages = msgspec.convert(result.plan["stages"], list[Stage])
        wanted = sum(stage.duration_s * ((stage.rate_from or 0) + (stage.rate_to or 0)) / 2 for stage in stages)
        said = document.rate.frames_per_s * result.duration_s
        if self._stopping.is_set():
            return "interrupted"
        if document.ledger.lost or result.missing:
            return f"{document.ledger.lost} lost, {len(result.missing)} not seen"
        if document.latency_ms.event.p99 is None or document.latency_ms.event.p99 > self._limits.p99_ms:
            return f"p99 {document.latency_ms.event.p99 or 0:.0f} ms"
        if said < KEPT_SCHEDULE * wanted - 1:
            return f"only {said:.0f} of {wanted:.0f} frames were said in time"
        return ""

    def _found(self, rate: Edge, fleet: Edge) -> Found:
        best = self._results.get(("frames/s", rate.best))
        beyond = self._results.get(("frames/s", rate.failed)) if rate.failed is not None else None
        fleet_best = self._results.get(("units", fleet.best))
        fleet_beyond = self._results.get(("units", fleet.failed)) if fleet.failed is not None else None
        shown = beyond or best
        notes = []
        for name, edge, limit in (("rate", rate, self._limits.max_rate), ("fleet", fleet, self._limits.max_units)):
            if edge.failed is None and edge.best >= limit:
                notes.append(f"the {name} was not searched beyond {limit}")
            elif edge.failed is None:
                notes.append(f"the time was over before a {name} was found that fails")
            elif not edge.repeated:
                notes.append(f"the time was over before the {name} at the edge was tried again")
        capacity = Capacity(
            units=fleet.best,
            frames_per_s=float(rate.best),
            p99_ms=best.document.latency_ms.event.p99 if best else None,
            lost=best.document.ledger.lost if best else 0,
            full_stage=full_stage(beyond, self._cores) if beyond else NOTHING_FULL,
            stages=stage_loads(shown) if shown else {},
            repeat_with=self.repeat_with(rate.best),
        )
        return Found(
            capacity=capacity,
            trials=self._trials,
            rate_repeated=rate.repeated,
            fleet_repeated=fleet.repeated,
            fleet_full_stage=full_stage(fleet_beyond, self._cores) if fleet_beyond else NOTHING_FULL,
            fleet_p99_ms=fleet_best.document.latency_ms.event.p99 if fleet_best else None,
            notes=notes,
        )

    def repeat_with(self, rate: int) -> str:
        """The command that repeats the largest rate."""
        units = min(self._limits.lean_units, max(1, rate))
        words = ["teleloop", "load", "--lab", self._lab, "--lean", "--units", str(units)]
        words += ["--stage", f"ramp 2s {rate / 4:g}..{rate}", "--stage", f"hold 60s {rate}"]
        words += ["--objective", f"event_p99<={self._limits.p99_ms:g}ms", "--objective", "lost==0", "--objective", "missing==0"]
        return shlex.join(words)


def stage_loads(result: Result) -> dict[str, StageLoad]:
    """How full each stage was, in the order in which a frame passes them."""
    parts, queues = result.parts, result.queues
    gateway = parts["gateway"].cpu_percent if "gateway" in parts else 0.0
    spent: dict[str, float] = {}
    for name, seconds in result.gateway_stages_s.items():
        spent[STAGE_OF.get(name, name)] = spent.get(STAGE_OF.get(name, name), 0.0) + seconds
    total = sum(spent.values()) or 1.0
    busy = sum(spent.get(name, 0.0) for name in ("decode", "translate", "store")) or 1.0
    shares = {name: 100 * spent.get(name, 0.0) / max(result.duration_s, 0.001) for name in spent}
    loads = {"unit side": StageLoad(cpu_percent=parts["generator"].cpu_percent, queue=queues.get("units"))}
    if "broker" in parts:
        loads["broker"] = StageLoad(cpu_percent=parts["broker"].cpu_percent)
    for name in ("decode", "translate", "store"):
        part = gateway * spent.get(name, 0.0) / (busy if total else 1.0)
        queue = queues.get("gateway") if name == "decode" else None
        loads[name] = StageLoad(cpu_percent=round(part, 1), time_percent=round(shares.get(name, 0.0), 1), queue=queue)
    rabbitmq = parts["rabbitmq"].cpu_percent if "rabbitmq" in parts else 0.0
    loads["AMQP"] = StageLoad(cpu_percent=rabbitmq, time_percent=round(shares.get("AMQP", 0.0), 1), queue=queues.get("rabbitmq"))
    return loads


def full_stage(result: Result, cores: int) -> str:
    """The stage that leaves no room: a process whose core is full, or, where the whole machine is, who uses most of it."""
    loads = stage_loads(result)
    half = cores // 2 if "rabbitmq" in result.parts else 0  # what a laboratory keeps for RabbitMQ (bench.lab.halves)
    gateway = result.parts["gateway"].cpu_percent if "gateway" in result.parts else 0.0
    inside = max(("decode", "translate", "store"), key=lambda name: loads[name].time_percent or 0.0)
    used: Mapping[str, float] = {
        "unit side": loads["unit side"].cpu_percent,
        "broker": loads["broker"].cpu_percent if "broker" in loads else 0.0,
        inside: gateway,
        "AMQP": loads["AMQP"].cpu_percent / max(1, half),
    }
    if result.bottlenecks and used["unit side"] >= FULL_PERCENT:
        return "unit side"
    full = {name: percent for name, percent in used.items() if percent >= FULL_PERCENT}
    beside = sum(part.cpu_percent for name, part in result.parts.items() if name != "rabbitmq")
    if full or beside >= MACHINE_FULL * 100 * (cores - half):
        weights = full or {name: percent for name, percent in used.items() if name != "AMQP"}
        return max(weights, key=lambda name: weights[name])
    waits = {name: loads[name].time_percent or 0.0 for name in ("decode", "translate", "store", "AMQP")}
    return max(waits, key=lambda name: waits[name])
