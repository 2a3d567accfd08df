"""A week of a fleet in the rig: trips, sleep, life status, then everything archived and purged after 90 days."""

import asyncio
import gc
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

import modeldb
from bench.logs import only_from
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
GATHER_S = 8.0
"""The gateway's turns: a unit waits ten seconds for its Ack before it sends again."""

TOGETHER = 100
"""Vehicles that share a gateway and a process, if nobody says otherwise."""

SEEDS_APART = 1_000_003
HEARD_OUT_S = 120

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


SUMMED = (
    "vehicles",
    "events",
    "trips",
    "frames",
    "repeated",
    "life_changes",
    "compared",
    "different",
    "waiting",
    "archived",
    "purged",
)
"""What the parts of a fleet add up to."""


async def live(
    clock: VirtualClock,
    vehicles: int,
    days: float,
    seed: int,
    database: Path | None = None,
    on_hour: Callable[[], Any] = lambda: None,
    first: int = 0,
) -> Week:
    """One run under `clock`'s loop, of the vehicles from the `first` on."""
    began, chance = time.perf_counter(), seed + SEEDS_APART * first
    async with rig(clock, seed=chance, database=database, gather_s=GATHER_S) as bench:
        models = modeldb.load().available(BRAND)
        for place in range(first, first + vehicles):
            await bench.add(_unit(seed, place), _model(models, place))
        fleet = Fleet(
            bench.records, "mqtt://air", seed=chance, intervals=INTERVALS, now_ms=clock.now_ms, dial=bench.air.dial, life=shared
        )
        fleet.start()
        with _little_gathering():
            for _ in range(round(days * DAY_S / STEP_S)):
                await asyncio.sleep(STEP_S)
                on_hour()
        await _heard_out(bench, fleet)
        truth = await bench.truth(fleet)
        waiting = fleet.waiting
        await fleet.stop()
        archived = await _archive(bench)
        await asyncio.sleep((KEPT_DAYS + 1) * DAY_S)
        left, _ = await bench.registry.vehicles.page("default")
    return _summary(bench, truth, vehicles, days, seed, waiting, archived, archived - len(left), time.perf_counter() - began)


async def _heard_out(bench: Rig, fleet: Fleet) -> None:
    """Until the gateway has taken in what is on its way: from now on it does so at once."""
    bench.service.gather_s = 0.0
    for _ in range(HEARD_OUT_S):
        await asyncio.sleep(1)
        if not fleet.waiting:
            break


@contextmanager
def _little_gathering() -> Iterator[None]:
    """The garbage collector looks seldom, and not at all at what was there before: next to nothing here refers to itself."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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


def week(
    vehicles: int,
    days: float,
    seed: int,
    *,
    together: int = TOGETHER,
    database: Path | None = None,
    on_hour: Callable[[], Any] = lambda: None,
) -> Week:
    """A fleet's run, dealt to rigs of `together` vehicles, each in its own process; `on_hour` tells of the first one's hours.

    How many run at once is up to the machine and changes nothing. `database` is the first rig's.
    """
    began = time.perf_counter()
    parts = [(first, min(together, vehicles - first)) for first in range(0, vehicles, together)]
    own = parts.pop(0)[1]
    if not parts:
        return _part(0, own, days, seed, database, on_hour)
    with ProcessPoolExecutor(max(1, min(len(parts), (os.cpu_count() or 1) - 1)), get_context("spawn")) as pool:
        others = [pool.submit(_part, first, count, days, seed) for first, count in parts]
        weeks = [_part(0, own, days, seed, database, on_hour), *(each.result() for each in others)]
    return _all(weeks, time.perf_counter() - began)


def _part(
    first: int, vehicles: int, days: float, seed: int, database: Path | None = None, on_hour: Callable[[], Any] = lambda: None
) -> Week:
    only_from(logging.WARNING)
    clock = VirtualClock()
    with running_on(clock) as runner:
        return runner.run(live(clock, vehicles, days, seed, database, on_hour, first))


def _all(weeks: Sequence[Week], wall_s: float) -> Week:
    sums = {name: sum(getattr(each, name) for each in weeks) for name in SUMMED}
    digest = hashlib.sha256("".join(each.digest for each in weeks).encode()).hexdigest()
    return msgspec.structs.replace(weeks[0], **sums, digest=digest, wall_s=round(wall_s, 2))


@app.command()
def main(
    vehicles: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    days: Annotated[float, typer.Option(min=0.01, help="How long they live.")] = 7.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 1,
    together: Annotated[int, typer.Option(min=1, help="Vehicles that share a gateway and a process.")] = TOGETHER,
    database: Annotated[Path | None, typer.Option(help="Keep the first gateway's database here.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """A fleet lives in virtual time, is archived and purged after 90 days; exit code 1 if the truth check finds a difference.

    Example: python -m bench.rig --vehicles 200 --days 7 --seed 1
    """
    with Progress(console=Console(stderr=True, markup=False, emoji=False), transient=True) as progress:
        task = progress.add_task("hours of virtual time", total=round(days * DAY_S / STEP_S))
        lived = week(vehicles, days, seed, together=together, database=database, on_hour=lambda: progress.advance(task))
    if as_json:
        sys.stdout.write(msgspec.json.encode(lived).decode() + "\n")
    else:
        with suppress(BrokenPipeError):
            for name, value in msgspec.to_builtins(lived).items():
                print(f"{name:13} {value}")
    raise typer.Exit(1 if lived.different else 0)
