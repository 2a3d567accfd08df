"""`teleloop load`: a load test against any broker and gateway, or in a laboratory of its own."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from bench.account import AccountError, fleet_of
from bench.lab import laboratory
from bench.load import LoadRun
from bench.load_page import write_html
from bench.local import SettingsError, local
from bench.loops import loop_factory
from bench.objectives import Objective, parse_objective
from bench.outputs import writable
from bench.plan import Plan, Target
from bench.results import Result, reached
from bench.stages import Stage, StageError, duration_s, parse_stage, read_plan, stages_of
from bench.view import View, summary

FAILED, SETUP_FAILED = 1, 2
COMMANDS = (
    "request-vehicle-state",
    "enable-driving",
    "disable-driving",
    "lock-central-lock",
    "unlock-central-lock",
    "lock-and-disable-driving",
    "unlock-and-enable-driving",
    "lock-top-case",
    "unlock-top-case",
    "draw-attention",
    "unlock-battery-compartment",
)
PLAN_KEYS = {
    "units", "rate", "for", "stage", "brands", "models", "model", "lean", "batch", "commands", "command", "faults", "objectives",
    "seed", "drain", "parked", "connects",
}  # fmt: skip
DEFAULT_OBJECTIVE = "lost==0"
TRUTH_OBJECTIVE = "different==0"
"""Of every run that has no other objective for it."""


app = typer.Typer()
console = Console(stderr=True, highlight=False, markup=False, emoji=False)


class UsageError(ValueError):
    """A flag or a key is not understood; the message is for the user."""


@app.command(
    epilog="Example: teleloop load --lab mosquitto+rabbitmq --units 200 --rate 1000 --for 30s --objective 'event_p99<200ms'"
)
def load(
    plan: Annotated[
        Path | None, typer.Option(help="TOML: the flags' names as keys, and [\\[stage]].", exists=True, dir_okay=False)
    ] = None,
    units: Annotated[int | None, typer.Option(min=1, max=100_000, help="How many units. [default: 100]")] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Frames per second of the whole fleet. [default: one a unit]")
    ] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long, where no stage is given. [default: 60s]")] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="`ramp 30s 0..500`, `hold 60s 500`, `spike`, `storm`, `soak`; `... 0..500 units`.")
    ] = None,
    brand: Annotated[list[str] | None, typer.Option(help="BRAND or BRAND:weight; several mix. [default: CLOUDBOXX]")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model's name or id; several mix. [default: all]")] = None,
    models: Annotated[int | None, typer.Option(min=1, help="At most so many models of each brand.")] = None,
    lean: Annotated[bool, typer.Option("--lean", help="Recorded frames, sealed anew, instead of stateful units.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, max=200, help="Frames in one payload. [default: 1]")] = None,
    commands: Annotated[float | None, typer.Option(min=0, help="Commands per second, to vehicles in turn. [default: 0]")] = None,
    command: Annotated[list[str] | None, typer.Option(help="Which; several take turns. [default: request-vehicle-state]")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="NAME or NAME:rate, mixed into every unit's life.")] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="`event_p99<200ms`, `lost==0`, ...: decide the exit code, with different==0, the truth check. [default: lost==0]"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same lives. [default: 0]")] = None,
    drain: Annotated[str | None, typer.Option(help="How long to wait at the end for what is under way. [default: 60s]")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="The vehicles stand, and obey every command.")] = False,
    url: Annotated[str | None, typer.Option(help="The gateway's API. [default: the one that runs here]")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="TELELOOP_TOKEN", help="For its API, scope `vehicles` and commands.")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="Where units connect, mqtt://host:port.")] = None,
    amqp_url: Annotated[
        str | None, typer.Option(envvar="TELELOOP_AMQP_URL", help="Where events are consumed; without: GET /events.")
    ] = None,
    lab: Annotated[str | None, typer.Option(help="Start one for the run: mosquitto+rabbitmq, embedded, ...")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Do not archive the vehicles afterwards.")] = False,
    out: Annotated[Path | None, typer.Option(help="Everything, as a JSON file.", dir_okay=False)] = None,
    html: Annotated[Path | None, typer.Option(help="The report with charts: one file, works offline.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Load a broker and a gateway with simulated units, and follow every frame to the hands of a consumer.

    The vehicles are added over REST and archived afterwards. Frames are due by a schedule that waits for nobody, and latencies
    count from when a frame was due. Exit code: 0 the objectives are reached, 1 they are not, 2 usage or set-up.
    """
    flags = {
        "units": units, "rate": rate, "for": lasts, "stage": stage, "brands": brand, "models": models, "model": model,
        "lean": lean or None, "batch": batch, "commands": commands, "command": command, "faults": fault, "objectives": objective,
        "seed": seed, "drain": drain, "parked": parked or None,
    }  # fmt: skip
    try:
        said = dict(read_plan(plan)) if plan else {}
        if unknown := sorted(set(said) - PLAN_KEYS):
            raise UsageError(f"{plan}: {', '.join(unknown)} is not known; there are {', '.join(sorted(PLAN_KEYS))}")
        said |= {name: value for name, value in flags.items() if value is not None}
        wanted, objectives = plan_of(said, keep=keep or lab is not None)  # a laboratory goes, and its vehicles with it
        writable(out, html)
        with target_of(lab, url, token, broker, amqp_url) as target:
            result = run_load(wanted, target, objectives, console)
    except (AccountError, SettingsError, ValueError, RuntimeError, OSError) as error:
        fail(error)
    for path, write in ((out, write_json), (html, write_html)):
        if path is not None:
            try:
                write(path, result)
            except OSError as error:
                fail(error)
            console.print(f"written: {path}")
    if as_json:
        sys.stdout.write(msgspec.json.encode(result.document).decode() + "\n")
    raise typer.Exit(0 if reached(result.document.objectives) else FAILED)


def fail(error: Exception | str) -> NoReturn:
    """End with the one line that says why nothing was measured."""
    console.print(str(error), style="red", soft_wrap=True)
    raise typer.Exit(SETUP_FAILED) from (error if isinstance(error, Exception) else None)


def write_json(path: Path, result: Result) -> None:
    """The whole result. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def plan_of(said: Mapping[str, Any], keep: bool = False) -> tuple[Plan, tuple[Objective, ...]]:
    """What flags and file ask for. Raises UsageError, StageError or ObjectiveError."""
    units = _number(said, "units", 100, whole=True)
    rate = _number(said, "rate", float(units))
    names = tuple(_words(said, "command", ["request-vehicle-state"]))
    if unknown := [name for name in names if name not in COMMANDS]:
        raise UsageError(f"{unknown[0]!r} is no command; there are {', '.join(COMMANDS)}")
    brands = _brands(_words(said, "brands", ["CLOUDBOXX"]))
    lean, commands = bool(said.get("lean", False)), _number(said, "commands", 0.0)
    if lean and set(brands) != {"CLOUDBOXX"}:
        raise UsageError("the lean generator has recorded frames of CLOUDBOXX only: leave out --lean for other brands")
    if lean and (commands or said.get("faults")):
        raise UsageError("the lean generator obeys no commands and has no faults: leave out --lean")
    plan = Plan(
        units=int(units),
        rate=rate,
        stages=_stages(said),
        brands=brands,
        models=int(said["models"]) if "models" in said else None,
        model_names=tuple(_words(said, "model", [])),
        lean=lean,
        batch=int(_number(said, "batch", 1, whole=True)),
        commands_per_s=commands,
        command_names=names,
        faults=_faults(_words(said, "faults", [])),
        drain_s=duration_s(str(said.get("drain", "60s"))),
        seed=int(said.get("seed", 0)),
        keep=keep,
        parked=bool(said.get("parked", False)),
        connects_per_s=_number(said, "connects", 1_000.0),
    )
    fleet_of(plan.units, plan.brands, plan.models, plan.model_names)
    texts = _words(said, "objectives", [DEFAULT_OBJECTIVE])
    objectives = tuple(parse_objective(text) for text in texts)
    if not any(each.metric == "different" for each in objectives):
        objectives += (parse_objective(TRUTH_OBJECTIVE),)
    return plan, objectives


def _stages(said: Mapping[str, Any]) -> tuple[Stage, ...]:
    given = said.get("stage", [])
    if not isinstance(given, list):
        raise StageError("stages are wanted as [[stage]] tables")
    if not given:
        return (Stage(kind="hold", duration_s=duration_s(str(said.get("for", "60s")))),)
    if isinstance(given[0], str):
        return tuple(parse_stage(each) for each in given)
    return tuple(stages_of(given))


def _number(said: Mapping[str, Any], name: str, default: float, whole: bool = False) -> float:
    value = said.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or (whole and value != int(value)):
        raise UsageError(f"{name} is wanted as a number, not {value!r}")
    return float(value)


def _words(said: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    value = said.get(name, default)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{name} is wanted as a list of words, not {value!r}")
    return value


def _brands(said: Sequence[str]) -> dict[str, float]:
    brands = {}
    for each in said:
        name, colon, weight = each.partition(":")
        try:
            brands[name] = float(weight) if colon else 1.0
        except ValueError:
            brands[name] = 0.0
        if brands[name] <= 0:
            raise UsageError(f"the weight of a brand is wanted as a number above 0, as in TELTONIKA:2, not {each!r}")
    return brands


def _faults(said: Sequence[str]) -> tuple[str, ...]:
    from devices.faults import parse

    for each in said:
        parse(each)
    return tuple(said)


@contextmanager
def target_of(lab: str | None, url: str | None, token: str | None, broker: str | None, amqp_url: str | None) -> Iterator[Target]:
    """What is loaded: a laboratory for the run, a gateway by its addresses, or the one that runs here."""
    if lab is not None:
        if url or broker:
            raise UsageError("--lab starts its own gateway and broker: leave out --url and --broker")
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleloop-lab-")))
            with console.status(Text(f"starting the laboratory: {lab}")) if console.is_terminal else contextlib.nullcontext():
                whole = stack.enter_context(laboratory(folder / "lab", lab))
            yield Target(
                url=whole.url, token=whole.token, broker=whole.units_broker, amqp_url=whole.amqp_url, pids=whole.pids, about=lab
            )
        return
    here = local()
    found_url, found_token = url or here.api_url, token or here.api_token
    found_broker = broker or (here.units_broker if url in (None, here.api_url) else None)
    if found_url is None or found_token is None:
        raise UsageError("no gateway runs here: start one, give --url, --token and --broker, or --lab embedded")
    if found_broker is None:
        raise UsageError("where do the units connect? give --broker mqtt://host:port")
    yield Target(
        url=found_url, token=found_token, broker=found_broker, amqp_url=amqp_url or None, pids=_pids(here.data), about=found_url
    )


def _pids(data: Path) -> dict[str, int]:
    """Of a gateway that runs here."""
    with contextlib.suppress(OSError, msgspec.DecodeError, KeyError, TypeError):
        pid = int(msgspec.json.decode((data / "gateway.json").read_bytes())["pid"])
        os.kill(pid, 0)
        return {"gateway": pid}
    return {}


def run_load(plan: Plan, target: Target, objectives: tuple[Objective, ...], said_to: Console) -> Result:
    """One run with its live view and summary; Ctrl-C ends it, and what was is reported."""
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    with View(said_to) as view:
        run = LoadRun(plan, target, objectives, view.watch)
        view.schedule = run.schedule
        result = on_fastest_loop(run)
    summary(result, said_to)
    return result


def on_fastest_loop(run: LoadRun) -> Result:
    """Run on uvloop where there is one; SIGINT and SIGTERM end the run in good order."""

    async def main() -> Result:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        return await run.run(stopping)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main())
