"""`teleloop can`: a simulated vehicle's control units on a CAN bus, for a real unit on an adapter; or what a bus says."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console

import modeldb
from devices.can import BusDatabase, BusReader, CanError, Ecus, bus_database, models, open_bus
from devices.life import moving
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel

SETUP_FAILED = 2
STATUS_INTERVAL_S = 1.0
STALE_FIRST_S = 0.005

app = typer.Typer()
console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@app.command(epilog="Example: teleloop can volkswagen/golf-2020 --interface socketcan --channel can0")
def can(
    model: Annotated[str, typer.Argument(help="A model with a DBC, by its file; `list` names them.")],
    interface: Annotated[str, typer.Option(help="virtual, socketcan, or udp_multicast inside a network namespace.")] = "virtual",
    channel: Annotated[str, typer.Option(help="can0, vcan0, a multicast address; without: the interface's usual one.")] = "",
    listen: Annotated[bool, typer.Option("--listen", help="Say nothing: show what the bus says.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Seconds; without: until Ctrl-C.")] = None,
    parked: Annotated[
        bool, typer.Option("--parked", help="The vehicle stands still; without: it is driven, parked and locked.")
    ] = False,
    silent: Annotated[list[str] | None, typer.Option(help="A message that is not sent. Several times.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same life.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout at the end.")] = False,
) -> None:
    """Put a simulated vehicle's truth on a CAN bus by the DBC of its model, so that a unit on the bus sees a car.

    Needs the extra `hil` (python-can, which is LGPL-3.0, and cantools). Exit code 0: done; 2: there is no such bus or model.
    """
    if model == "list":
        for name in models():
            typer.echo(name)
        return
    try:
        database = bus_database(model)
        named = {message.name for message in database.messages}
        if unknown := set(silent or ()) - named:
            raise CanError(f"no message {', '.join(sorted(unknown))} on this bus; there are {', '.join(sorted(named))}")
        bus = open_bus(interface, channel)
    except CanError as error:
        console.print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(SETUP_FAILED) from error
    try:
        if listen:
            document = asyncio.run(_listen(database, bus, seconds))
        else:
            vehicle = Vehicle.of(*_model(database), seed=seed, life=None if parked else moving)
            ecus = Ecus(vehicle, database, bus, silent=set(silent or ()))
            document = asyncio.run(_speak(ecus, seconds))
    finally:
        bus.shutdown()
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")


def _model(database: BusDatabase) -> tuple[VehicleModel, str]:
    """The model and a brand whose units know it."""
    found = next(each for each in modeldb.load().models.values() if each.file == f"models/{database.model}.toml")
    return found, next(iter(found.units))


async def _speak(ecus: Ecus, seconds: float | None) -> dict[str, Any]:
    stopping, shown_at = _stopping(seconds), 0.0
    with console.status("starting") as line:
        while not stopping.is_set():
            now_ms = time.time_ns() // 1_000_000
            ecus.vehicle.advance(now_ms)
            ecus.advance(now_ms)
            if time.monotonic() - shown_at >= STATUS_INTERVAL_S:
                shown_at = time.monotonic()
                line.update(f"{ecus.sent.total():,} messages sent, {ecus.vehicle.speed_kmh:.0f} km/h")
            wait_s = max(0.001, (ecus.next_ms(now_ms) - now_ms) / 1000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait_s)
    console.print(f"{ecus.sent.total():,} messages sent")
    return {"sent": dict(ecus.sent)}


async def _listen(database: BusDatabase, bus: Any, seconds: float | None) -> dict[str, Any]:
    stopping, reader, shown_at, state = _stopping(seconds), BusReader(database, bus), 0.0, dict[str, Any]()
    with console.status("listening") as line:
        while not stopping.is_set():
            now_ms = time.time_ns() // 1_000_000
            reader.drain(now_ms)
            if time.monotonic() - shown_at >= STATUS_INTERVAL_S:
                shown_at, state = time.monotonic(), reader.state(now_ms)
                line.update(f"{reader.heard.total():,} messages heard, {reader.lost} lost, {len(state)} properties")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), STALE_FIRST_S)
    state = reader.state(time.time_ns() // 1_000_000)
    for name, value in sorted(state.items()):
        console.print(f"{name} = {value}")
    return {"heard": dict(reader.heard), "lost": reader.lost, "refused": dict(reader.refused), "state": state}


def _stopping(seconds: float | None) -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(name, stopping.set)
    if seconds is not None:
        loop.call_later(seconds, stopping.set)
    return stopping
