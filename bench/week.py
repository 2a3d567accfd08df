"""A week of a fleet in the rig: trips, sleep, life status, then everything archived and purged after 90 days."""

import asyncio
import hashlib
import logging
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import typer
from rich.console import Console
from rich.progress import Progress

import modeldb
from bench.rig import Rig, rig
from bench.truth import Truth
from devices.clock import VirtualClock, running_on
from devices.config import Intervals
from devices.fleet import Fleet
from devices.life import shared
from modeldb.model import VehicleModel
from protocols.codec import UnitId

BRAND = "CLOUDBOXX"
INTERVALS = Intervals(driving_s=60, parked_s=600, heartbeat_s=900)
KEPT_DAYS = 90
DAY_S = 86_400.0
STEP_S = 3_600.0
GATHER_S = 5.0
"""The gateway's turns: half of what a unit waits for its Ack before it sends again."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was like. `digest` is of every byte of every event, in order; `wall_s` alone differs between two runs."""

    vehicles: int
    days: float
    seed: int
    events: int
    trips: int
    frames: int
    repeated: int
    life_changes: int
    digest: str
    compared: int
    different: int
    waiting: int
    archived: int
    purged: int
    wall_s: float

    def same_as(self, other: "Week") -> bool:
        """Whether both runs came out the same."""
        return msgspec.structs.replace(self, wall_s=0.0) == msgspec.structs.replace(other, wall_s=0.0)


async def live(
    clock: VirtualClock, vehicles: int, days: float, seed: int, database: Path | None = None, on_hour: Any = lambda: None
) -> Week:
    """One run under `clock`'s loop."""
    began = time.perf_counter()
    async with rig(clock, seed=seed, database=database, gather_s=GATHER_S) as bench:
        models = modeldb.load().available(BRAND)
        for place in range(vehicles):
            await bench.add(_unit(seed, place), _model(models, place))
        fleet = Fleet(
            bench.records, "mqtt://air", seed=seed, intervals=INTERVALS, now_ms=clock.now_ms, dial=bench.air.dial, life=shared
        )
        fleet.start()
        for _ in range(round(days * DAY_S / STEP_S)):
            await asyncio.sleep(STEP_S)
            on_hour()
        truth = await bench.truth(fleet)
        waiting = fleet.waiting
        await fleet.stop()
        archived = await _archive(bench)
        await asyncio.sleep((KEPT_DAYS + 1) * DAY_S)
        left, _ = await bench.registry.vehicles.page("default")
    return _summary(bench, truth, vehicles, days, seed, waiting, archived, archived - len(left), time.perf_counter() - began)


def _summary(
    bench: Rig, truth: Truth, vehicles: int, days: float, seed: int, waiting: int, archived: int, purged: int, wall_s: float
) -> Week:
    counted = bench.pen.counted
    return Week(
        vehicles=vehicles,
        days=days,
        seed=seed,
        events=counted.total(),
        trips=counted["TripEnded"],
        frames=bench.frames("accepted"),
        repeated=bench.frames("repeated"),
        life_changes=counted["VehicleChanged"],
        digest=bench.pen.digest,
        compared=truth.compared,
        different=truth.different,
        waiting=waiting,
        archived=archived,
        purged=purged,
        wall_s=round(wall_s, 2),
    )


async def _archive(bench: Rig) -> int:
    for record in bench.records:
        await bench.archive(record.unit)
    return len(bench.records)


def _unit(seed: int, place: int) -> UnitId:
    return UnitId(BRAND, hashlib.sha256(f"{seed}/{place}".encode()).hexdigest()[:16].upper())


def _model(models: list[VehicleModel], place: int) -> VehicleModel:
    return models[place % len(models)]


@app.command()
def main(
    vehicles: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    days: Annotated[float, typer.Option(min=0.01, help="How long they live.")] = 7.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 1,
    database: Annotated[Path | None, typer.Option(help="Keep the gateway's database in this file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """A fleet lives in virtual time, is archived and purged after 90 days; exit code 1 if the truth check finds a difference.

    Example: python -m bench.rig --vehicles 200 --days 7 --seed 1
    """
    level = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=level, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock, console = VirtualClock(), Console(stderr=True)
    with Progress(console=console, transient=True) as progress, running_on(clock) as runner:
        task = progress.add_task("hours of virtual time", total=round(days * DAY_S / STEP_S))
        week = runner.run(live(clock, vehicles, days, seed, database, lambda: progress.advance(task)))
    if as_json:
        sys.stdout.write(msgspec.json.encode(week).decode() + "\n")
    else:
        with suppress(BrokenPipeError):
            for name, value in msgspec.to_builtins(week).items():
                print(f"{name:13} {value}")
    raise typer.Exit(1 if week.different else 0)
