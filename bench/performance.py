"""The measurements behind docs/performance.md: `python -m bench.report run`, twenty-five minutes, one laboratory for all.

Each measurement is a file of bench/results. `python -m bench.report docs` makes the page from these files, and from nothing else.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

import modeldb
from bench.account import Account, Added, fleet_of
from bench.journal_cost import journal_cost_us
from bench.lab import Lab, laboratory
from bench.lab.halves import anywhere
from bench.lean import LeanFleet
from bench.ledger import Ledger
from bench.load import LoadRun
from bench.loops import loop_factory
from bench.meters import machine
from bench.meters import stolen as stolen_ticks
from bench.more_models import more_models
from bench.peers.ceiling import ceiling
from bench.peers.compare import Hold, held_per_s, stock
from bench.performance_page import write_page
from bench.plan import Plan, Target
from bench.results import Measured, Result
from bench.stages import Stage

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
PAGE = ROOT.parent / "docs" / "performance.md"
CLIMB = (1_500, 2_000, 2_500, 3_000, 3_500, 4_000, 4_500, 5_000, 5_500, 6_000, 6_500, 7_000, 7_500, 10_000)
STOCK_CLIMB = (500, 1_000, 1_500, 1_750, 2_000, 2_250, 2_500, 3_000)
CLIMB_S, SUSTAIN_S = 6.0, 60.0
HOLDS = 4
P99_MUST_MS = 100.0
LEAN = 500
CEILING_TURNS, CEILING_S = 5, 6.0
FLOOD_UNITS, FLOOD_WINDOW = 600, 2_000
"""A unit is heard 20 times a second: fewer of them would be the limit."""

ANY_RATE = 1.0
"""What a closed loop does not look at."""

STATEFUL, STATEFUL_CLIMB, STATEFUL_CLIMB_S = 2_000, (1_250, 1_750, 2_500, 3_250, 4_000), 8.0
GROWTH_RATE = 800.0
"""Frames per second at which costs are compared: far enough from full that nothing queues."""

FEW_UNITS_RATE = 150.0
"""The same where ten units say all of it: the gateway hears no unit more often than 20 times a second."""

BATCHED_RATE = 4_000.0
BATCHES = (1, 4)

JOURNAL_DEPTHS = (1, 10, 100, 1_000)
UNIT_COUNTS = (10, 100, 1_000, 5_000)
BUSY_UNIT_COUNTS = (100, 1_000, 5_000)
MODEL_COUNTS = (1, 8, 64)


class Bench:
    """The measurements, each a method whose name is its own and its file's."""

    def __init__(self, lab: Lab, folder: Path, say: Callable[[str], None], models: Sequence[str] = ()) -> None:
        """`models` are the ids of those whose vehicles are used where nothing else is said."""
        assert lab.amqp_url is not None
        self.lab, self.folder, self._say, self._models = lab, folder, say, models
        self.target = Target(url=lab.url, token=lab.token, broker=lab.units_broker, amqp_url=lab.amqp_url, pids=lab.pids)
        self.account = Account(lab.url, lab.token)
        self.stolen_percent = 0.0
        """Of the last run: how much of the processors' time the host gave to others."""
        self._added: list[Added] = []
        self._by_models: dict[int, list[Added]] = {}

    async def vehicles(self, count: int) -> list[Added]:
        """So many vehicles of all models, for lean units: the same ones in each measurement, for these units go on counting."""
        if len(self._added) < count:
            self._added += await self.fresh(count - len(self._added))
        return self._added[:count]

    async def fresh(self, count: int) -> list[Added]:
        """So many vehicles that nobody has spoken for yet.

        A stateful unit starts counting at the time of day: had it, or another one in its place, said more than a frame a second
        before, what it says now would be repeats.
        """
        wanted = fleet_of(count, {"CLOUDBOXX": 1.0}, None, self._models)
        return await self.account.add(wanted, lambda done: None, True)

    async def load(
        self, units: int, rate: float, seconds: float, *, lean: bool = True, added: list[Added] | None = None, **more: Any
    ) -> Result:
        """One run: two seconds of ramp, then it holds."""
        stages = (
            Stage(kind="ramp", duration_s=2.0, rate_from=rate / 4, rate_to=rate),
            Stage(kind="hold", duration_s=seconds, rate_from=rate, rate_to=rate),
        )
        plan = Plan(
            units=units, rate=rate, stages=stages, lean=lean, drain_s=30.0, looks_per_s=1.0, connects_per_s=2_000.0, **more
        )
        vehicles = added or await (self.vehicles(units) if lean else self.fresh(units))
        stolen, ticks = stolen_ticks()
        result = await LoadRun(plan, self.target).with_vehicles(self.account, vehicles, asyncio.Event())
        now_stolen, now_ticks = stolen_ticks()
        self.stolen_percent = round(100 * (now_stolen - stolen) / max(1, now_ticks - ticks), 1)
        return result

    async def ceiling(self) -> dict[str, Any]:
        """RabbitMQ alone and the whole way through the gateway, both as fast as they go, in turns.

        Alone: one pre-encoded message of an event's size, confirmed and consumed, quorum queue, 1,000 unconfirmed at most. The
        whole way: frames of 600 lean units, 2,000 at most of which no consumer has the event, since they wait in two brokers.
        Also alone where nothing is kept to its half of the cores.
        """
        assert self.lab.rabbitmq is not None
        assert self.lab.amqp_url is not None
        warm = await self.load(FLOOD_UNITS, ANY_RATE, 3.0, window=FLOOD_WINDOW)
        turns = []
        for _ in range(CEILING_TURNS):
            with anywhere(self.lab.rabbitmq.pid):
                free = await ceiling(self.lab.amqp_url, self.lab.rabbitmq.pid, warm.event_bytes or 2_000, CEILING_S)
            alone = await ceiling(self.lab.amqp_url, self.lab.rabbitmq.pid, warm.event_bytes or 2_000, CEILING_S)
            stolen = self.stolen_percent
            through = await self.load(FLOOD_UNITS, ANY_RATE, CEILING_S, window=FLOOD_WINDOW)
            frames = held_per_s(through, ANY_RATE)
            turn = {
                **msgspec.to_builtins(alone),
                "anywhere_per_s": free.confirmed_per_s,
                "through_per_s": round(frames, 1),
                "share": round(frames / alone.confirmed_per_s, 3),
                "missing": len(through.missing),
                "cpu_us_per_event": facts(through)["cpu_us_per_event"],
                "stolen_percent": max(stolen, self.stolen_percent),
            }
            turns.append(turn)
            rates = (f"{each:g}/s" for each in (free.confirmed_per_s, alone.confirmed_per_s, frames))
            self._say("  alone anywhere {}, on its half {}, through the gateway {}: {:g}".format(*rates, turn["share"]))
        middle = {
            name: round(median(turn[name] for turn in turns), 3)
            for name in ("confirmed_per_s", "consumed_per_s", "rabbitmq_cpu_us", "anywhere_per_s", "through_per_s", "share")
        }
        missing = sum(turn["missing"] for turn in turns)
        return {**middle, "body_bytes": warm.event_bytes, "missing": missing, "turn_s": CEILING_S, "turns": turns}

    async def frames(self) -> dict[str, Any]:
        """Frames of 500 lean units to a consumer: climbed until p99 is above 100 ms, then held for 60 s.

        What held for the climb and not for a minute is tried again a step lower, HOLDS times at most.
        """
        return await self._climbed_and_held(LEAN, CLIMB, CLIMB_S, lean=True)

    async def stateful(self) -> dict[str, Any]:
        """2,000 stateful units as the source: sealed, journalled, each with a vehicle that drives. Climbed and held likewise."""
        return await self._climbed_and_held(STATEFUL, STATEFUL_CLIMB, STATEFUL_CLIMB_S, lean=False)

    async def _climbed_and_held(self, units: int, rates: Sequence[int], seconds: float, *, lean: bool) -> dict[str, Any]:
        steps = await self._climbed(units, rates, seconds, lean=lean)
        passed = [step["rate"] for step in steps if step["sustained"]]
        held = []
        for rate in reversed(passed[-HOLDS:] or [rates[0] // 2]):
            held.append(self._step(await self.load(units, rate, SUSTAIN_S, lean=lean), rate))
            self._say(f"  {rate}/s for {SUSTAIN_S:g} s: p99 {held[-1]['event_ms']['p99']} ms, {self.stolen_percent} % stolen")
            if held[-1]["sustained"]:
                break
        return {"climb": steps, "holds": held, **held[-1]}

    async def _climbed(self, units: int, rates: Sequence[int], seconds: float, *, lean: bool) -> list[dict[str, Any]]:
        """Each rate for some seconds, until two in a row were not sustained: one alone may be a bad moment of the machine."""
        steps: list[dict[str, Any]] = []
        for rate in rates:
            result = await self.load(units, rate, seconds, lean=lean)
            steps.append(self._step(result, rate))
            ok = "sustained" if steps[-1]["sustained"] else "not sustained"
            self._say(f"  {rate}/s: p99 {result.document.latency_ms.event.p99} ms, {ok}; {self.stolen_percent} % stolen")
            if not any(step["sustained"] for step in steps[-2:]) and len(steps) > 1:
                break
        return steps

    def _step(self, result: Result, rate: float) -> dict[str, Any]:
        kept = round(held_per_s(result, rate), 1)
        said = {"rate": rate, "sustained": sustained(result, rate), "held_per_s": kept, "stolen_percent": self.stolen_percent}
        return said | facts(result)

    async def simulator(self) -> dict[str, Any]:
        """5,000 stateful units that report every second: that process alone, beside a Mosquitto and one that acknowledges.

        Not against the gateway: two cores do not hold both at this rate, and what units cost is not what a gateway can do.
        """
        command = (sys.executable, "-m", "bench.simulator_cost", "--units", "5000", "--seconds", "15")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the simulator's cost was not measured: exit code {process.returncode}")
        told: dict[str, Any] = msgspec.json.decode(said)
        return told

    async def connects(self) -> dict[str, Any]:
        """5,000 units connect as fast as the broker lets them: password checked, subscribed, presence said."""
        source = LeanFleet(Ledger(), await self.vehicles(5_000), self.target.broker, connects_per_s=100_000.0)
        began = time.monotonic()
        await source.start(lambda online: None)
        took_s = time.monotonic() - began
        online, failures = source.online, source.connect_failures
        await source.stop()
        return {"units": online, "failures": failures, "took_s": round(took_s, 2), "connects_per_s": round(online / took_s, 1)}

    async def commands(self) -> dict[str, Any]:
        """300 commands a second to 600 stateful units, there and back, while 200 frames a second go on."""
        result = await self.load(600, 200, 12.0, lean=False, commands_per_s=300.0)
        return {"by_status": result.commands_by_status, **facts(result)}

    async def growth_units(self) -> dict[str, Any]:
        """The gateway's CPU per frame at one low rate, by how many units it comes from."""
        rows = [await self._cost("units", count, count, rate=FEW_UNITS_RATE) for count in UNIT_COUNTS]
        return {"rate": FEW_UNITS_RATE, "rows": rows}

    async def growth_units_busy(self) -> dict[str, Any]:
        """The same at a higher rate, which a hundred units and more may say."""
        return {"rate": GROWTH_RATE, "rows": [await self._cost("units", count, count) for count in BUSY_UNIT_COUNTS]}

    async def batched(self) -> dict[str, Any]:
        """500 lean units that say several frames in a payload, beside the same one by one."""
        rows = []
        for batch in BATCHES:
            rows.append({"batch": batch, **facts(await self.load(LEAN, BATCHED_RATE, CLIMB_S, batch=batch))})
        return {"rate": BATCHED_RATE, "rows": rows}

    async def growth_models(self) -> dict[str, Any]:
        """The gateway's CPU per frame at one rate, by how many vehicle models it has to translate; some are copies."""
        rows = []
        for count in MODEL_COUNTS:
            added = await self.account.add(fleet_of(200, {"CLOUDBOXX": 1.0}, count, ()), lambda done: None, True)
            rows.append(await self._cost("models", count, 200, added))
        return {"rate": GROWTH_RATE, "rows": rows}

    async def _cost(
        self, name: str, number: int, units: int, added: list[Added] | None = None, rate: float = GROWTH_RATE
    ) -> dict[str, Any]:
        result = await self.load(units, rate, 8.0, added=added)
        return {name: number, **facts(result)}

    async def growth_journal(self) -> dict[str, Any]:
        """A unit's CPU per report by how many frames wait in its journal: it captures, sends, and drops what is acknowledged."""
        return {"rows": [{"journal": depth, "unit_us": round(journal_cost_us(depth), 1)} for depth in JOURNAL_DEPTHS]}

    async def peers(self) -> dict[str, Any]:
        """A stock aiomqtt and aio-pika gateway on the same load, same queue, same consumer; climbed and held likewise."""
        hold = Hold(SUSTAIN_S, P99_MUST_MS, HOLDS)
        rows, held = await stock(self.folder / f"stock-{time.time_ns()}", STOCK_CLIMB, CLIMB_S, self._say, hold)
        return {
            "rows": [msgspec.to_builtins(row) for row in rows],
            "holds": [msgspec.to_builtins(row) for row in held],
            "best_frames_per_s": max((row.frames_per_s for row in rows), default=0.0),
            "sustained_frames_per_s": next((row.frames_per_s for row in held if hold.passes(row)), None),
        }


MEASUREMENTS = (
    "ceiling",
    "frames",
    "batched",
    "peers",
    "commands",
    "stateful",
    "growth_units",
    "growth_units_busy",
    "growth_models",
    "growth_journal",
    "connects",
    "simulator",
)


def sustained(result: Result, rate: float) -> bool:
    """Nothing missing, p99 within the limit, and what was offered was said."""
    document = result.document
    p99 = document.latency_ms.event.p99
    said = document.rate.frames_per_s * result.duration_s
    planned = sum(s.duration_s * ((s.rate_from or 0) + (s.rate_to or 0)) / 2 for s in _stages(result))
    return not result.missing and p99 is not None and p99 <= P99_MUST_MS and said >= 0.97 * planned


def _stages(result: Result) -> list[Stage]:
    return msgspec.convert(result.plan["stages"], list[Stage])


def facts(result: Result) -> dict[str, Any]:
    """What of a run is kept: small enough to be committed."""
    document = result.document
    frames = max(1.0, document.rate.frames_per_s * result.duration_s)
    costs = {name: round(1e4 * part.cpu_percent * result.duration_s / frames, 1) for name, part in result.parts.items()}
    return {
        "frames_per_s": document.rate.frames_per_s,
        "events_per_s": document.rate.events_per_s,
        "event_ms": msgspec.to_builtins(document.latency_ms.event),
        "state_ms": msgspec.to_builtins(document.latency_ms.state),
        "command_ms": msgspec.to_builtins(document.latency_ms.command),
        "ledger": msgspec.to_builtins(document.ledger),
        "missing": len(result.missing),
        "cpu_us_per_frame": costs,
        "cpu_us_per_event": {name: part.cpu_us_per_event for name, part in result.parts.items()},
        "cpu_percent": {name: part.cpu_percent for name, part in result.parts.items()},
        "rss_mib": {name: part.rss_mib for name, part in result.parts.items()},
        "gateway_stages_s": {name: round(seconds, 3) for name, seconds in result.gateway_stages_s.items()},
        "curve": result.curves.get("event", []),
        "bottlenecks": result.bottlenecks,
        "event_bytes": result.event_bytes,
        "lasted_s": result.duration_s,
    }


def keep(name: str, what: str, values: dict[str, Any]) -> None:
    """Write a measurement down."""
    RESULTS.mkdir(exist_ok=True)
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
    now = datetime.now(UTC).isoformat(timespec="seconds")
    measured = Measured(name=name, what=what, at=now, machine=machine(), load_average=load, values=values)
    (RESULTS / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")


def known() -> dict[str, Measured]:
    """What has been measured so far, by name."""
    files = sorted(RESULTS.glob("*.json")) if RESULTS.is_dir() else []
    return {file.stem: msgspec.json.decode(file.read_bytes(), type=Measured) for file in files}


@contextmanager
def _bench(say: Callable[[str], None]) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="teleloop-bench-") as folder:
        say("starting the laboratory")
        ours = [model.id for model in modeldb.load().available("CLOUDBOXX")]
        with (
            more_models(Path(folder) / "modeldb", "CLOUDBOXX", max(MODEL_COUNTS)),
            laboratory(Path(folder) / "lab", "mosquitto+rabbitmq") as lab,
        ):
            yield Bench(lab, Path(folder), say, ours)


async def _run(bench: Bench, names: Sequence[str], say: Callable[[str], None], until: float) -> int:
    failed = 0
    for name in names:
        if time.monotonic() > until:
            say(f"{name}: no time left")
            failed += 1
            continue
        measure: Callable[[], Awaitable[dict[str, Any]]] = getattr(bench, name)
        say(name)
        began = time.monotonic()
        try:
            values = await measure()
        except Exception as error:  # one measurement that fails must not take the others with it
            say(f"{name} failed: {error!r}")
            failed += 1
            continue
        what = " ".join((getattr(Bench, name).__doc__ or "").split())
        keep(name, what, values)
        say(f"  {_short(values)} ({time.monotonic() - began:.0f} s)")
    await bench.account.close()
    return failed


def _short(values: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in values.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 done, 1 a measurement failed or the page is not what the results say, 2 usage or set-up."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument(
        "do", choices=("run", "docs", "check"), help="measure and write the page; write it; is it as it should be"
    )
    parser.add_argument("--only", help="measurements by name, with commas: " + ",".join(MEASUREMENTS))
    parser.add_argument("--budget", type=float, default=27.0, help="minutes after which no measurement is begun")
    given = parser.parse_args(arguments)
    if given.do == "run":
        names = given.only.split(",") if given.only else list(MEASUREMENTS)
        if unknown := sorted(set(names) - set(MEASUREMENTS)):
            parser.error(f"{', '.join(unknown)} is no measurement; there are {', '.join(MEASUREMENTS)}")
        failed = _measure(names, 60 * given.budget)
        if failed == 2:
            return 2
        write_page(PAGE, known())
        return failed
    if given.do == "check":
        return 0 if write_page(PAGE, known(), only_compare=True) else 1
    write_page(PAGE, known())
    print(f"written: {PAGE}", file=sys.stderr)
    return 0


def _measure(names: Sequence[str], budget_s: float) -> int:
    until = time.monotonic() + budget_s
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the laboratory ends with us

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        with _bench(say) as bench, asyncio.Runner(loop_factory=loop_factory()) as runner:
            return 1 if runner.run(_run(bench, names, say, until)) else 0
    except (OSError, RuntimeError) as error:
        say(str(error))
        return 2
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
