"""The command line: one application put together from each folder's cli.py, and `teleloop run`, which starts everything."""

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

import bench.capacity_cli
import bench.conformance.cli
import bench.load_cli
import bench.record_cli
import bench.replay_cli
import bench.scenario_cli
import bench.truth_cli
import devices.can_cli
import devices.cli
import gateway.cli
import gateway.decode_cli
import modeldb.cli
from bench.account import AccountError
from gateway.api.access import api_token
from gateway.events import Event
from gateway.logs import configure
from gateway.server import Serving, serving, until_stopped
from gateway.settings import Settings
from modeldb.brand import luhn_holds
from modeldb.model import VehicleModel

DEMO_VEHICLES = 25
DEMO_BRAND = "CLOUDBOXX"
DEMO_GUESTS = ("TELTONIKA", "MERCEDES_BENZ", "GBT32960")
"""Brands of other protocols, in turn every GUEST_EVERY vehicles."""

GUEST_EVERY = 6
VIN_LETTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
FLEET_STOP_S = 4.0
TRUTH_WITHIN_S = 3.0
CONTROL_PORT = 8090
UNITS_FILE = "units.json"

app = typer.Typer(no_args_is_help=True, help="Telematics firmware simulator and gateway: one API for all brands of units.")
COMMANDS = (
    gateway.cli,
    gateway.decode_cli,
    devices.cli,
    devices.can_cli,
    modeldb.cli,
    bench.record_cli,
    bench.replay_cli,
    bench.load_cli,
    bench.capacity_cli,
    bench.conformance.cli,
    bench.scenario_cli,
    bench.truth_cli,
)
devices.cli.truth_check = bench.truth_cli.FleetTruth
for folder in COMMANDS:
    app.add_typer(folder.app)

console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@app.command()
def run(
    vehicles: Annotated[int, typer.Option(min=0, max=2000, help="How many vehicles are simulated.")] = DEMO_VEHICLES,
    seed: Annotated[int, typer.Option(help="The same seed gives the same lives.")] = 1,
    http: Annotated[str | None, typer.Option(help="Address of the REST API, host:port.")] = None,
    amqp_url: Annotated[str | None, typer.Option(help="RabbitMQ; none: a local event log.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.", file_okay=False)] = None,
    driving_interval: Annotated[int, typer.Option(min=1, help="Seconds between states while driving.")] = 10,
    parked_interval: Annotated[int, typer.Option(min=1, help="Seconds between states while parked.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines on stdout.")] = False,
) -> None:
    """Start everything: broker, gateway, and moving vehicles; then show live events until Ctrl-C.

    Example: teleloop run --vehicles 25
    """
    settings = gateway.cli.settings(http=http, amqp_url=amqp_url, data=data, trust_broker=True)
    configure(logging.WARNING)
    intervals = ("--driving-interval", str(driving_interval), "--parked-interval", str(parked_interval))
    gateway.cli.run_until_done(_run(settings, vehicles, seed, intervals, as_json))


async def _run(settings: Settings, vehicles: int, seed: int, intervals: Iterable[str], as_json: bool) -> None:
    stopping = asyncio.create_task(until_stopped())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=vehicles)
        async with serving(settings, lambda stage: progress.update(task, description=stage)) as under_way:
            units = await _demo_units(under_way, vehicles, seed, lambda: progress.advance(task))
            progress.update(task, description="starting the vehicles", completed=0)
            control = f"127.0.0.1:{_free_port(CONTROL_PORT)}"
            async with _fleet(under_way, units, seed, (*intervals, "--control", control)):
                progress.stop()
                _say_where(under_way, vehicles, control)
                showing = asyncio.create_task(_show_events(under_way, as_json))
                await asyncio.wait({stopping, showing}, return_when=asyncio.FIRST_COMPLETED)
                console.print("stopping ...")
                showing.cancel()
                await _compare(under_way, f"http://{control}")


async def _compare(under_way: Serving, control: str) -> None:
    """The truth check that every simulated run ends with. Exits with 1 if something differs."""
    token = api_token(under_way.gateway.settings)
    try:
        found, vehicles = await bench.truth_cli.compare(control, under_way.url, token, TRUTH_WITHIN_S)
    except (ValueError, AccountError) as error:
        console.print(f"the vehicles were not compared with the gateway: {error}", style="yellow")
        return
    for each in found.differences[: bench.truth_cli.SHOWN]:
        console.print(each.text, soft_wrap=True)
    console.print(f"truth: {found.different} of {found.compared} properties of {vehicles} vehicles differ")
    if found.different:
        raise typer.Exit(1)


async def _demo_units(under_way: Serving, wanted: int, seed: int, added: Any) -> Path:
    """The units file of the demonstration, with `wanted` vehicles in it; those of an earlier run are used again."""
    running, path = under_way.gateway, under_way.gateway.settings.data / UNITS_FILE
    known: list[dict[str, Any]] = []
    with suppress(OSError, ValueError, KeyError):
        known = json.loads(path.read_text())["units"]
    live = await running.registry.logins()
    units = [each for each in known if any(unit.telematics_unit_id == each["telematics_unit_id"] for unit in live)][:wanted]
    models = {brand: _mixed(running.models.available(brand)) for brand in (DEMO_BRAND, *DEMO_GUESTS)}
    for _ in units:
        added()
    while len(units) < wanted:
        guest, at = divmod(len(units), GUEST_EVERY)
        brand = DEMO_GUESTS[guest % len(DEMO_GUESTS)] if at == GUEST_EVERY - 1 else DEMO_BRAND
        place = guest // len(DEMO_GUESTS) if brand in DEMO_GUESTS else len(units) - guest
        units.append(await _add(under_way, brand, models[brand][place % len(models[brand])]))
        added()
    _write_for_owner(path, json.dumps({"units": units}, indent=1))
    return path


def _mixed(models: list[VehicleModel]) -> list[VehicleModel]:
    """Models in an order that brings every type early."""
    types: dict[str, list[VehicleModel]] = {}
    for model in models:
        types.setdefault(model.type, []).append(model)
    longest = max(len(each) for each in types.values())
    return [each[at] for at in range(longest) for each in types.values() if at < len(each)]


def _unit_id(brand: str) -> str:
    """An id such as the brand's units have: an IMEI, a VIN, a QNR."""
    match brand:
        case "TELTONIKA":
            digits = f"35{secrets.randbelow(10**12):012}"
            return next(f"{digits}{check}" for check in range(10) if luhn_holds(f"{digits}{check}"))
        case "MERCEDES_BENZ" | "GBT32960":
            return ("W1N" if brand == "MERCEDES_BENZ" else "LGX") + "".join(secrets.choice(VIN_LETTERS) for _ in range(14))
        case _:
            return secrets.token_hex(8).upper()


async def _add(under_way: Serving, brand: str, model: VehicleModel) -> dict[str, Any]:
    """Add one vehicle over REST, as any client would."""
    body = {"telematics_brand": brand, "telematics_unit_id": _unit_id(brand), "vehicle_model_id": model.id}
    token = api_token(under_way.gateway.settings)
    async with httpx2.AsyncClient(base_url=under_way.url, headers={"Authorization": f"Bearer {token}"}) as api:
        answer = await api.post("/vehicles", json=body)
    vehicle = answer.raise_for_status().json()
    credentials = vehicle["credentials"]
    return {
        "vehicle_id": vehicle["id"],
        "brand": brand,
        "telematics_unit_id": body["telematics_unit_id"],
        "vehicle_model_id": model.id,
        "password": credentials["password"],
        "seal_key": credentials["seal_key"],
        "command_key": credentials["command_key"],
        "generation": credentials["generation"],
    }


def _write_for_owner(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
    new.replace(path)


@asynccontextmanager
async def _fleet(under_way: Serving, units: Path, seed: int, intervals: Iterable[str]) -> AsyncIterator[None]:
    """The simulated units, in a process of their own: they meet the gateway only on the wire."""
    data = under_way.gateway.settings.data
    command = [sys.executable, "-m", "teleloop", "fleet", "--units", str(units), "--seed", str(seed), *intervals]
    command += ["--broker", under_way.gateway.logins.unit_url, "--flash", str(data / "flash")]
    with open(data / "fleet.log", "wb") as output:
        ours = {name: value for name, value in os.environ.items() if name != "TELELOOP_URL"}  # `run` makes the truth check
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, start_new_session=True, env=ours)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(FLEET_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port(wanted: int) -> int:
    """The wanted port on loopback, or any free one if it is taken."""
    for port in (wanted, 0):
        with suppress(OSError), socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return int(tried.getsockname()[1])
    return wanted


def _say_where(under_way: Serving, vehicles: int, control: str) -> None:
    settings = under_way.gateway.settings
    console.print(f"API docs      {under_way.url}/docs")
    console.print(f"API token     {settings.data / 'api-token'}")
    console.print(f"units' broker {under_way.gateway.logins.unit_url}")
    console.print(f"fleet control http://{control}/docs")
    home = "RabbitMQ, exchange `events`" if settings.amqp_url else "local event log"
    console.print(f"events        {home}, {under_way.url}/events")
    gateway.cli.say_first_client(under_way)
    console.print(f"{vehicles} vehicles are on the road; events as they happen, Ctrl-C stops everything:\n")


async def _show_events(under_way: Serving, as_json: bool) -> None:
    registry, models = under_way.gateway.registry, under_way.gateway.models
    names: dict[str, str] = {}
    out = Console(highlight=False, markup=False, emoji=False)
    for fleet_id in await registry.fleets.all():
        with under_way.gateway.live.subscribe(fleet_id) as events:
            async for event in events:
                if as_json:
                    sys.stdout.write(event.json().decode() + "\n")
                    sys.stdout.flush()
                    continue
                if event.vehicle_id not in names:
                    vehicle = await registry.vehicles.get(fleet_id, event.vehicle_id)
                    model = models.models.get(vehicle.vehicle_model_id)
                    names[event.vehicle_id] = model.title if model else "?"
                out.print(_line(event, names[event.vehicle_id]), soft_wrap=True)


def _line(event: Event, name: str) -> Text:
    """One event, readable, on one line."""
    moment = datetime.fromtimestamp(event.occurred_at / 1000).strftime("%H:%M:%S")
    line = Text(f"{moment}  {event.vehicle_id}  {name[:24]:24}  ")
    line.append(f"{event.type:28}", style="bold" if event.type.endswith("Changed") else "dim")
    line.append(_said(event))
    return line


def _said(event: Event) -> str:
    body = event.body
    if "to" in body:
        return f"{body['from']} -> {body['to']}"
    if "reasons" in body:
        return ", ".join(body["reasons"])
    if "changed" not in body:
        return ""
    state = {key: said["value"] for key, said in body["vehicle_state"].items()}
    parts = []
    if "speed_in_kilometers_per_hour" in state:
        parts.append(f"{state['speed_in_kilometers_per_hour']:5.1f} km/h")
    if "position" in state:
        parts.append(f"{state['position']['lat']:.5f},{state['position']['lon']:.5f}")
    if "state_of_charge_or_fuel_level_in_percent" in state:
        parts.append(f"{state['state_of_charge_or_fuel_level_in_percent']:.0f} %")
    parts += [str(state[key]) for key in ("central_lock",) if key in state]
    return "  ".join(parts) + ("  late" if body.get("late") else "")


def main() -> None:
    """Run the command line; exit code 0 done, 1 the thing under test failed, 2 usage or set-up."""
    app()


if __name__ == "__main__":
    main()
