"""`teleloop scenario`: a scenario in virtual time, in a laboratory of its own, or with a gateway that runs."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from bench.lab import Lab, LabError, laboratory
from bench.load_cli import UsageError, target_of
from bench.logs import only_from
from bench.scenario import VIRTUAL, ScenarioUnable, Servers, fastest, run
from bench.scenario_outcome import Outcome
from devices.clock import clock_named
from devices.scenario import Scenario, ScenarioError, load, shipped

FAILED, SETUP_FAILED = 1, 2
FASTEST = "fastest"

app = typer.Typer(no_args_is_help=True, help="Scenarios.")


@app.command(epilog="Example: teleloop scenario gap --lab mosquitto+rabbitmq")
def scenario(
    file: Annotated[str | None, typer.Argument(help="A TOML file, or the name of a shipped one.")] = None,
    pace: Annotated[
        str | None, typer.Option("--time", help="virtual (in this process), real, x10 for ten times as fast, or fastest.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's: the same seed gives the same run.")] = None,
    lab: Annotated[
        str | None, typer.Option(help="Against servers that are started for it: mosquitto+rabbitmq, embedded.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Against a gateway that runs: its API.")] = None,
    token: Annotated[str | None, typer.Option(envvar="TELELOOP_TOKEN", help="Its API token.")] = None,
    broker: Annotated[str | None, typer.Option(help="The units' broker of that gateway, mqtt://host:port.")] = None,
    amqp_url: Annotated[str | None, typer.Option(help="Its RabbitMQ; without: events come from its API.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read the file and say what is wrong with it.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="The scenarios that are shipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run a scenario: its vehicles live, its steps happen, and what it expects is judged with the ledger and the truth.

    Exit code 0: as expected, 1: not, 2: the file is wrong, or it cannot be run there.
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    only_from(logging.ERROR)
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    if as_list:
        _list(as_json)
        return
    if file is None:
        _unable(console, "which scenario? a file, or one of " + ", ".join(shipped()))
    try:
        clock_named(VIRTUAL if pace in (None, FASTEST) else str(pace))
        read = load(Path(file))
    except (ScenarioError, ValueError) as error:
        _unable(console, str(error))
    if check:
        console.print(f"{file}: {read.title}: {len(read.steps)} steps, {len(read.expectations)} expectations")
        return
    if lab is not None and (url or broker):
        _unable(console, "--lab starts its own gateway and broker: leave out --url and --broker")
    if pace == FASTEST:
        pace = fastest(read) if lab or url or broker else VIRTUAL
    if (lab or url or broker) and pace == VIRTUAL:
        _unable(console, "virtual time is for this process alone: real servers live in real time, or x10")
    try:
        with console.status(Text(f"{read.title} ...")), _servers(lab, url, token, broker, amqp_url) as servers:
            outcome = run(read, against=servers, pace=pace or ("real" if servers else VIRTUAL), seed=seed)
    except (ScenarioUnable, UsageError, LabError) as error:
        _unable(console, str(error))
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome.document()).decode() + "\n")
    _say(console, read, outcome)
    raise typer.Exit(0 if outcome.ok else FAILED)


def _unable(console: Console, text: str) -> NoReturn:
    console.print(text, style="red", soft_wrap=True)
    raise typer.Exit(SETUP_FAILED)


def _list(as_json: bool) -> None:
    found = {name: load(path) for name, path in shipped().items()}
    if as_json:
        said = [{"name": name, "title": each.title, "file": str(shipped()[name])} for name, each in found.items()]
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        return
    for name, each in found.items():
        typer.echo(f"{name:24} {each.title}")


def _say(console: Console, scenario: Scenario, outcome: Outcome) -> None:
    for each in outcome.checks:
        console.print("as expected" if each.ok else "NOT as expected", style="green" if each.ok else "bold red", end="  ")
        console.print(each.text, soft_wrap=True)
    counts, truth = outcome.counts, outcome.truth
    console.print(
        f"ledger: {counts.attempted} attempted, {counts.acknowledged} acknowledged, {counts.observed} observed, "
        f"{counts.lost} lost; truth: {truth.different} of {truth.compared} differ; seed {outcome.seed}, {outcome.wall_s:.1f} s",
        soft_wrap=True,
    )


@contextmanager
def _servers(
    lab: str | None, url: str | None, token: str | None, broker: str | None, amqp_url: str | None
) -> Iterator[Servers | None]:
    if lab is not None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleloop-lab-")))
            whole = stack.enter_context(laboratory(folder / "lab", lab))
            yield servers_of(whole)
    elif url or broker:
        with target_of(None, url, token, broker, amqp_url) as target:
            yield Servers(target.url, target.token, target.broker, target.amqp_url)
    else:
        yield None


def servers_of(lab: Lab) -> Servers:
    """A laboratory as what a scenario is run against; its broker can be taken away where it is one of its own."""
    return Servers(lab.url, lab.token, lab.units_broker, lab.amqp_url, _break(lab) if lab.mosquitto is not None else None)


def _break(lab: Lab) -> Callable[[float], Awaitable[None]]:
    async def broken(seconds: float) -> None:
        assert lab.mosquitto is not None
        await asyncio.to_thread(lab.mosquitto.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(lab.mosquitto.start)
        (lab.folder / "mosquitto" / "pid").write_text(str(lab.mosquitto.pid))

    return broken
