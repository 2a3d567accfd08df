"""`teleloop record`: what a broker hands out, into a file."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from bench.local import Local, SettingsError, local
from bench.loops import loop_factory
from bench.recorder import TOPICS, BrokerLogin, BrokerRefused, Heard, Recorder
from bench.recording import RecordingError, RecordingWriter
from devices.unitsfile import UnitsFileError, read_units

SETUP_FAILED = 2
STATUS_INTERVAL_S = 0.5
T = TypeVar("T")

app = typer.Typer()
console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@app.command(epilog="Example: teleloop record morning.rec --for 60")
def record(
    file: Annotated[Path, typer.Argument(help="The recording; one that is there is continued.", dir_okay=False)],
    broker: Annotated[
        str | None,
        typer.Option(help="mqtt://user:secret@host:port. Without: the running gateway's own login, from its data folder."),
    ] = None,
    topics: Annotated[list[str] | None, typer.Option(help="A topic filter; may be given several times.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Seconds; without: until Ctrl-C.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder of the gateway.", file_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout at the end.")] = False,
) -> None:
    """Record all that a broker hands out, with times, until Ctrl-C.

    By default that is what all units and the gateway say to each other: `v1/+/+/up`, `down` and `presence`. A login hears what
    its broker lets it hear. What was heard is written every half second: a killed recorder loses no more than that.
    """
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    here = known_here(data)
    login = broker_login(broker or here.broker_url, here)
    wanted = tuple(topics or TOPICS)
    is_new = not file.exists()
    try:
        with RecordingWriter(file, _about(login, wanted, here)) as writer:
            if writer.cut_bytes:
                console.print(
                    f"{file}: the last block had been torn, {writer.cut_bytes} bytes cut off; recording goes on behind it"
                )
            began = time.monotonic()
            heard = run(_record(Recorder(login, writer, wanted), seconds, file))
    except (RecordingError, OSError) as error:
        stop_with(str(error))
    except BrokerRefused as error:
        if is_new:
            file.unlink(missing_ok=True)
        stop_with(str(error))
    document = {
        "file": str(file),
        "messages": heard.messages,
        "units": len(heard.units),
        "channels": dict(heard.channels),
        "payload_bytes": heard.payload_bytes,
        "file_bytes": file.stat().st_size,
        "seconds": round(time.monotonic() - began, 1),
        "interruptions": heard.interruptions,
        "refused_topics": heard.refused,
    }
    if as_json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    console.print(f"{_status(heard)}; {file} has {file.stat().st_size:,} bytes")


async def _record(recorder: Recorder, seconds: float | None, file: Path) -> Heard:
    stopping = stop_at_signals()
    with console.status(Text(f"connecting to {recorder.broker.address}")) as line:

        def started() -> None:
            for topic in recorder.heard.refused:
                console.print(f"{recorder.broker.address} does not let this login hear {topic}", style="yellow", soft_wrap=True)
            if not console.is_terminal:
                console.print(f"recording {recorder.broker.address} to {file}", soft_wrap=True)
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, stopping.set)

        async def show() -> None:
            while True:
                line.update(_status(recorder.heard))
                await asyncio.sleep(STATUS_INTERVAL_S)

        showing = asyncio.create_task(show())
        try:
            await recorder.run(stopping, started)
        finally:
            showing.cancel()
    return recorder.heard


def _status(heard: Heard) -> str:
    parts = [
        f"{heard.messages:,} messages of {len(heard.units):,} units",
        f"{heard.payload_bytes:,} payload bytes",
        f"{heard.interruptions} interruptions" if heard.interruptions else "",
    ]
    return ", ".join(part for part in parts if part)


def _about(login: BrokerLogin, topics: tuple[str, ...], here: Local) -> dict[str, Any]:
    """What the header says: no secrets. The units' models are what a shadow run needs to know."""
    about: dict[str, Any] = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "broker": login.address,
        "topics": list(topics),
    }
    if here.units_file is not None:
        with contextlib.suppress(UnitsFileError):
            models = {str(each.unit): each.vehicle_model_id for each in read_units(here.units_file)}
            if len(models) <= MODELS_LIMIT:
                about["models"] = models
    return about


MODELS_LIMIT = 10_000
"""Units whose models fit into a header."""


# What all commands about recordings share ---------------------------------------------------------------------------------


def known_here(data: Path | None) -> Local:
    """What is known of a gateway on this machine."""
    try:
        return local(data)
    except SettingsError as error:
        stop_with(str(error))


def broker_login(url: str | None, here: Local) -> BrokerLogin:
    """The login that a URL says; ends the program where there is none."""
    if url is None:
        stop_with(f"No gateway runs here (looked in {here.data}). Start one, or say --broker mqtt://user:secret@host:port.")
    try:
        return BrokerLogin.parse(url)
    except ValueError as error:
        stop_with(str(error))


def stop_with(sentence: str) -> NoReturn:
    """End the program: it was not set up or used rightly."""
    console.print(sentence, style="red", soft_wrap=True)
    raise typer.Exit(SETUP_FAILED)


def stop_at_signals() -> asyncio.Event:
    """Set at SIGINT and SIGTERM."""
    stopping = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    return stopping


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
