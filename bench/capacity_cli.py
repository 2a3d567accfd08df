"""`teleloop capacity`: how many vehicles this machine takes, and what is full then."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.account import AccountError
from bench.capacity import CapacitySearch, Found, Limits
from bench.load import LoadRun
from bench.load_cli import fail, target_of
from bench.loops import loop_factory
from bench.outputs import writable
from bench.plan import Plan, Target
from bench.stages import duration_s
from bench.view import View, shown

FAILED = 1

app = typer.Typer()
console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@app.command(epilog="Example: teleloop capacity --p99 100ms --budget 10m")
def capacity(
    p99: Annotated[str, typer.Option(help="The limit from capture to the event in a consumer's hands.")] = "100ms",
    budget: Annotated[str, typer.Option(help="How long to search.")] = "10m",
    lab: Annotated[str, typer.Option(help="What is measured: mosquitto+rabbitmq, embedded, ...")] = "mosquitto+rabbitmq",
    pace: Annotated[float, typer.Option(min=0.001, help="Frames per second of each unit of the fleet.")] = 0.1,
    max_rate: Annotated[int, typer.Option(min=1, help="Frames per second beyond which is not searched.")] = 50_000,
    max_units: Annotated[int, typer.Option(min=1, help="Units beyond which is not searched.")] = 20_000,
    hold: Annotated[str, typer.Option(help="How long each trial holds; at the edge twice as long.")] = "8s",
    out: Annotated[Path | None, typer.Option(help="The answer with every trial, as a JSON file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the largest fleet and the largest rate that this machine sustains with p99 kept and nothing lost.

    Broker, RabbitMQ, gateway, units and consumer all run here, in a laboratory of its own. The rate is searched with recorded
    frames (`load --lean`), the fleet with stateful units. Exit code: 0 found, 1 not even the smallest passes, 2 usage or set-up.
    """
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    try:
        limits = Limits(
            p99_ms=1000 * duration_s(p99),
            pace=pace,
            max_rate=max_rate,
            max_units=max_units,
            budget_s=duration_s(budget),
            hold_s=duration_s(hold),
        )
        writable(out)
        with target_of(lab, None, None, None, None) as target:
            found = _search(target, limits, lab)
    except (AccountError, ValueError, RuntimeError, OSError) as error:
        fail(error)
    _say(found)
    if out is not None:
        try:
            out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        except OSError as error:
            fail(error)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found.capacity).decode() + "\n")
    raise typer.Exit(0 if found.capacity.frames_per_s and found.capacity.units else FAILED)


def _search(target: Target, limits: Limits, lab: str) -> Found:
    with View(console) as view:

        def make_run(plan: Plan, target: Target) -> LoadRun:
            run = LoadRun(plan, target, (), view.watch)
            view.schedule = run.schedule
            return run

        search = CapacitySearch(
            target, limits, os.cpu_count() or 1, lab, lambda text: view.watch("note", {"text": text}), make_run
        )

        async def main() -> Found:
            stopping = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError):
                    asyncio.get_running_loop().add_signal_handler(number, stopping.set)
            return await search.run(stopping)

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(main())


def _say(found: Found) -> None:
    answer = found.capacity
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "largest rate", Text(f"{answer.frames_per_s:g} frames/s", style="bold"), f"p99 {shown(answer.p99_ms)}, {answer.lost} lost"
    )
    table.add_row("full then", answer.full_stage, "")
    table.add_row("largest fleet", Text(f"{answer.units} units", style="bold"), f"p99 {shown(found.fleet_p99_ms)}")
    table.add_row("full then", found.fleet_full_stage, "")
    for name, load in answer.stages.items():
        queue = "" if load.queue is None else f"{load.queue:g} waiting"
        share = "" if load.time_percent is None else f"{load.time_percent:g} % of the time"
        table.add_row(name, f"{load.cpu_percent:g} % of a core", ", ".join(each for each in (share, queue) if each))
    console.print(table)
    for note in found.notes:
        console.print(note, style="yellow")
    console.print(f"to repeat it: {answer.repeat_with}", soft_wrap=True)
