"""`teleloop fleet`: simulated units against any broker, until Ctrl-C."""

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from devices.behaviour import Behaviour, behaviour_of
from devices.can import CanError
from devices.config import Intervals
from devices.faults import ALL, parse
from devices.faults.fault import EXPECTATIONS
from devices.flashfile import FlashFile, FlashFileError
from devices.fleet import Fleet
from devices.life import Life, following, moving, renting
from devices.line import LINES, line_named
from devices.roads import Roads, load, shipped
from devices.routefile import read_ways
from devices.scenario_units import seconds
from devices.unitsfile import UnitsFileError, read_units
from devices.vehiclebus import Buses, CanPlan

app = typer.Typer(no_args_is_help=True, help="Simulated units.")

FAILED, SETUP_FAILED = 1, 2
STATUS_INTERVAL_S = 1.0
SHOWN = 20


class TruthUnable(ValueError):
    """The vehicles cannot be compared with what a gateway shows; the sentence says why."""


class TruthCheck(Protocol):
    """Compares a fleet's vehicles with what a gateway shows of them. Raises TruthUnable where it cannot."""

    async def begin(self, fleet: Fleet) -> None:
        """Before the first unit is switched on: whether it will be possible."""

    async def compare(self, fleet: Fleet, within_s: float, said: Callable[[str], None]) -> Any:
        """What was `compared`, and the `differences`, each with its `text`."""

    async def close(self) -> None:
        """It is over."""


truth_check: Callable[[str, str | None], TruthCheck] | None = None
"""Makes one for a gateway's API and its token. The bench has it, which this folder does not know: teleloop.py joins them."""


def _list(faults: list[str]) -> list[str]:
    """`--fault list` and the end: what can go wrong, and what a gateway is expected to do about it."""
    if "list" in faults:
        width = max(map(len, ALL))
        for name, kind in sorted(ALL.items(), key=lambda each: (each[1].level, each[0])):
            brands = "" if kind.protocols is None else f" ({', '.join(sorted(kind.protocols))})"
            usual = "" if kind.per == "unit" else f", usually {kind.usual_rate:g} per {kind.per}"
            usual += "".join(f"; not for {protocol}: {why}" for protocol, why in kind.because.items())
            typer.echo(f"{name:{width}}  {kind.level}: {kind.sentence}{usual}{brands}")
            typer.echo(f"{'':{width}}  the gateway " + "; ".join(EXPECTATIONS[each] for each in kind.expected))
        raise typer.Exit
    return faults


def _list_lines(name: str) -> str:
    if name == "list":
        for line in LINES.values():
            typer.echo(f"{line.name:12} {line.sentence}")
        raise typer.Exit
    return name


@app.command()
def fleet(
    units: Annotated[Path, typer.Option(help="JSON: the units with their secrets.", exists=True, dir_okay=False)],
    broker: Annotated[str, typer.Option(help="mqtt://host:port or mqtts://host:port.")] = "mqtt://127.0.0.1:1883",
    seed: Annotated[int, typer.Option(help="The same seed gives the same lives.")] = 0,
    driving_interval: Annotated[int, typer.Option(min=1, max=65535, help="Seconds between states while driving.")] = 10,
    parked_interval: Annotated[int, typer.Option(min=1, max=65535, help="Seconds between states while parked.")] = 60,
    heartbeat: Annotated[int, typer.Option(min=1, max=65535, help="Seconds between heartbeats.")] = 900,
    report_distance: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Metres after which a unit also reports; 0: never; else as its brand does."),
    ] = None,
    report_turn: Annotated[
        int | None,
        typer.Option(min=0, max=180, help="Degrees of a turn after which it also reports; 0: never; else as its brand."),
    ] = None,
    journal: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Frames that a unit keeps until they are acknowledged.")
    ] = None,
    data_budget: Annotated[
        int | None, typer.Option(min=0, help="Bytes that the SIM carries in 30 days; 0: without end.", metavar="BYTES")
    ] = None,
    flash: Annotated[Path | None, typer.Option(help="Folder that keeps the units' memory between runs.", file_okay=False)] = None,
    fault: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[:RATE]",
            help="What goes wrong with every unit that it can go wrong with; may be given again. `list` shows all.",
            callback=_list,
            is_eager=True,
        ),
    ] = [],  # noqa: B006 - typer's way
    line: Annotated[
        str, typer.Option(help="What the cellular line is like: `list` shows all.", callback=_list_lines, is_eager=True)
    ] = "perfect",
    roads: Annotated[
        str, typer.Option(help="Where moving vehicles are rented: `town`, the one that is shipped; `none`; or a file of roads.")
    ] = "town",
    routes: Annotated[
        list[Path], typer.Option(help="GeoJSON or GPX: moving vehicles drive along these ways instead; may be given again.")
    ] = [],  # noqa: B006
    control: Annotated[
        str | None, typer.Option(metavar="127.0.0.1:PORT", help="Serve the control API there; port 0 takes a free one.")
    ] = None,
    can: Annotated[
        list[str],
        typer.Option(
            metavar="INTERFACE[:CHANNEL][@BRAND/ID]",
            help="Vehicles put their truth on a CAN bus by their model's DBC, and their units read it there: virtual (all that "
            "have a DBC), socketcan:can0, udp_multicast in a network namespace; may be given again.",
        ),
    ] = [],  # noqa: B006
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long, as 90s or 10m; else until Ctrl-C.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(envvar="TELELOOP_URL", help="The gateway's API: the run ends with a truth check against it.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="TELELOOP_TOKEN", help="Its API token. [default: the local gateway's]")
    ] = None,
    within: Annotated[
        float, typer.Option(min=0, help="Seconds that what was just said may take on its way at the truth check.")
    ] = 15.0,
    report: Annotated[str | None, typer.Option(help="`json`: one document on stdout at the end.")] = None,
) -> None:
    """Simulate the units of a file on real connections until Ctrl-C, or for some time.

    With --url every supported property of every vehicle is compared in the end with what the gateway shows. Exit code 0: done,
    and nothing differs; 1: something does; 2: usage or set-up, or the gateway cannot be asked.

    Example: teleloop fleet --units units.json --url http://127.0.0.1:8080 --for 10m --fault duplicate:0.2 --line slow
    """
    if report not in (None, "json"):
        raise typer.BadParameter("only json is known", param_hint="--report")
    console = Console(stderr=True, markup=False, emoji=False)
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        town = None if roads == "none" else shipped() if roads == "town" else load(Path(roads))
        flash_file = FlashFile(flash) if flash is not None else None
        made = Fleet(
            read_units(units),
            broker,
            seed=seed,
            intervals=Intervals(driving_interval, parked_interval, heartbeat),
            flash_file=flash_file,
            line=line_named(line),
            faults=[parse(each) for each in fault],
            life=_life(town, routes),
            behaviour=_behaviour(
                report_distance_m=report_distance,
                report_turn_degrees=report_turn,
                journal_frames=journal,
                data_budget_bytes=data_budget,
            ),
        )
        for each in made.faults_passed_over:
            console.print(each, style="yellow", soft_wrap=True)
        judge = truth_check(url, token) if url and truth_check is not None else None
        ends = _Ends(seconds(float(lasts) if lasts.isdecimal() else lasts) if lasts else None, judge, within)
        _run(_live(made, console, control, town, [CanPlan.parse(each) for each in can], ends))
    except (UnitsFileError, FlashFileError, CanError, ValueError) as error:
        console.print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(SETUP_FAILED) from error
    if report == "json":
        sys.stdout.write(msgspec.json.encode(_report(made, seed) | ends.document()).decode() + "\n")
    if ends.found is not None and ends.found.differences:
        raise typer.Exit(FAILED)


@dataclass
class _Ends:
    """When the run ends (seconds, None: when it is told to), and what is compared then."""

    after_s: float | None
    judge: TruthCheck | None
    within_s: float
    found: Any = None

    def document(self) -> dict[str, Any]:
        if self.found is None:
            return {}
        return {"truth": {"compared": self.found.compared, "differences": msgspec.to_builtins(self.found.differences)}}

    async def compare(self, fleet: Fleet, console: Console, hurry: asyncio.Event) -> None:
        """The truth check; a second Ctrl-C gives it up. Raises TruthUnable."""
        assert self.judge is not None
        with console.status("comparing ...") as line:
            comparing = asyncio.ensure_future(self.judge.compare(fleet, self.within_s, line.update))
            hurrying = asyncio.ensure_future(hurry.wait())
            await asyncio.wait({comparing, hurrying}, return_when=asyncio.FIRST_COMPLETED)
            hurrying.cancel()
        if not comparing.done():
            comparing.cancel()
            raise TruthUnable("the truth check was interrupted: nothing is known")
        self.found = found = comparing.result()
        for each in found.differences[:SHOWN]:
            console.print(each.text, soft_wrap=True)
        if len(found.differences) > SHOWN:
            console.print(f"... and {len(found.differences) - SHOWN} more")
        console.print(f"truth: {len(found.differences)} of {found.compared} properties of {len(fleet.members)} vehicles differ")


def _life(town: Roads | None, routes: list[Path]) -> Life:
    if routes:
        return following([way for path in routes for way in read_ways(path)])
    return moving if town is None else renting(town)


def _behaviour(**said: int | None) -> Callable[[str], Behaviour]:
    """As the brands' units behave, but for what was said."""
    changes = {name: value for name, value in said.items() if value is not None}
    return lambda brand: msgspec.structs.replace(behaviour_of(brand), **changes)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        loop_factory = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        loop_factory = None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main)


async def _live(fleet: Fleet, console: Console, control: str | None, town: Roads | None, can: list[CanPlan], ends: _Ends) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if ends.judge is not None:
            stack.push_async_callback(ends.judge.close)
            await ends.judge.begin(fleet)
        if can:
            buses = stack.enter_context(Buses(fleet, can))
            stack.callback(lambda: console.print(f"CAN: {buses.heard:,} messages believed, {buses.refused:,} not"))
            console.print(f"CAN           {len(buses.by_unit)} of {len(fleet.members)} units read their vehicle on a bus")
        if control is not None:
            serving = importlib.import_module("devices.control").serving  # what it needs costs memory that large fleets save
            console.print(f"control API   {await stack.enter_async_context(serving(fleet, control, town))}/docs")
        await _live_on(fleet, console, ends)


async def _live_on(fleet: Fleet, console: Console, ends: _Ends) -> None:
    stopping, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(name, lambda: (hurry if stopping.is_set() else stopping).set())
    if ends.after_s is not None:
        loop.call_later(ends.after_s, stopping.set)
    fleet.start()
    try:
        await _show_connecting(fleet, console, stopping)
        with console.status(_status(fleet)) as line:
            while not stopping.is_set():
                line.update(_status(fleet))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), STATUS_INTERVAL_S)
        if ends.judge is not None:
            await ends.compare(fleet, console, hurry)
    finally:
        last = _status(fleet)
        await fleet.stop()
    console.print(last)


async def _show_connecting(fleet: Fleet, console: Console, stopping: asyncio.Event) -> None:
    columns = (TextColumn("connecting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(fleet.members))
        while fleet.online < len(fleet.members) and not stopping.is_set():
            progress.update(task, completed=fleet.online, description=_trouble(fleet))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.2)


def _trouble(fleet: Fleet) -> str:
    said = []
    if fleet.tally.logins_refused:
        said.append(f"{fleet.tally.logins_refused} logins refused")
    if fleet.tally.connect_failures:
        said.append(f"{fleet.tally.connect_failures} connects failed")
    return ", ".join(said)


def _status(fleet: Fleet) -> str:
    tally = fleet.tally
    parts = [
        f"{fleet.online} of {len(fleet.members)} units online",
        f"{tally.payloads_sent} payloads sent",
        f"{fleet.waiting} frames waiting for their Ack",
        f"{fleet.executed} commands executed",
        _trouble(fleet),
    ]
    return " · ".join(part for part in parts if part)


def _report(fleet: Fleet, seed: int) -> dict[str, Any]:
    flashes = [member.firmware.flash for member in fleet.members]
    return {
        "units": len(fleet.members),
        **msgspec.to_builtins(fleet.tally),
        "frames_waiting": fleet.waiting,
        "frames_forgotten": sum(flash.forgotten for flash in flashes),
        "commands_executed": fleet.executed,
        "seed": seed,
        "faults": sorted({name for member in fleet.members for name in member.firmware.ailments}),
        "restarts": sum(member.firmware.restarts for member in fleet.members),
    }
