"""A gateway that serves: opened, with its REST API on a socket, until it is told to stop."""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from gateway.api import create_app
from gateway.app import Gateway
from gateway.settings import Settings

ADDRESS_FILE = "gateway.json"
BROKER_FILE = "broker-url"
"""The gateway's own login at the units' broker: `teleloop record` listens with it."""

GRACE_S = 2
"""How long requests that are under way may take to end once the gateway stops."""

SWITCH_INTERVAL_S = 0.0005
"""How long the store's thread waits for the loop's: with the language's 5 ms a transaction took as long as a hundred frames."""

GC_THRESHOLDS = (50_000, 20, 50)
"""The states of a fleet are a million objects in no circle: with the thresholds of the language a quarter of the loop's time, at
1,000 frames a second, went into walking through them."""

KEEP_ALIVE_S = 75
"""How long an idle connection stays: longer than clients keep theirs, so that none asks on one that is just being closed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway under way. `url` is where its API answers."""

    gateway: Gateway
    url: str


class _Api(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the whole process, not to its HTTP side."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket for the API. Raises OSError if the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


@asynccontextmanager
async def serving(settings: Settings, stage: Callable[[str], None] = lambda _: None) -> AsyncIterator[Serving]:
    """Open a gateway by `settings`, serve its API, and close both at the end. `stage` hears what is being done.

    Raises OSError if the API's address is taken, and what `Gateway.open` raises.
    """
    with _long_turns(), listen(settings.http_host, settings.http_port) as listening:
        gateway = Gateway(settings)
        try:
            stage("opening the store, the event log and the units' broker")
            await gateway.open()
            stage("starting the API")
            config = uvicorn.Config(
                create_app(gateway),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
            api = _Api(config)
            task = asyncio.create_task(api.serve(sockets=[listening]), name="api")
            while not api.started and not task.done():
                await asyncio.sleep(0.01)
            host, port = listening.getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            _settle_down()
            with (
                _announced(settings.data / BROKER_FILE, gateway.logins.url),
                _announced(settings.data / ADDRESS_FILE, json.dumps({**_addresses(gateway, url), "pid": os.getpid()})),
            ):
                try:
                    yield Serving(gateway, url)
                finally:
                    gateway.live.close()
                    api.should_exit = True
                    await asyncio.wait({task}, timeout=2 * GRACE_S)
        finally:
            await gateway.close()


@contextmanager
def _long_turns() -> Iterator[None]:
    """On busy cores, do not break in on who works whenever something arrives: it costs both more than it hastens either."""
    usual, batch = (getattr(os, name, None) for name in ("SCHED_OTHER", "SCHED_BATCH"))
    if usual is None or batch is None or os.sched_getscheduler(0) != usual:
        yield
        return
    with suppress(OSError):  # where it is forbidden
        os.sched_setscheduler(0, batch, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, usual, os.sched_param(0))


def _settle_down() -> None:
    """What stands by now stays: the collector need not walk through it again, nor through a fleet's states every few batches."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _addresses(gateway: Gateway, url: str) -> dict[str, Any]:
    tcp = {listener.protocol.name: listener.address for listener in gateway.listeners}
    return {"url": url, "units_broker": gateway.logins.unit_url} | ({"units_tcp": tcp} if tcp else {})


@contextmanager
def _announced(path: Path, text: str) -> Iterator[None]:
    """Say something in the data folder while the gateway runs, for the command line of the same user of this machine."""
    said = path.with_suffix(".new")
    said.unlink(missing_ok=True)
    with os.fdopen(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    said.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


async def until_stopped() -> None:
    """Return at SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


async def run(settings: Settings, started: Callable[[Serving], None] = lambda _: None) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopping = asyncio.create_task(until_stopped())
    async with serving(settings) as under_way:
        started(under_way)
        await stopping
