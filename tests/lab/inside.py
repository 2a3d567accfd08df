"""A gateway in the test's own process, with a clock that the test sets; its events are in the local log."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modeldb
from gateway.app import Gateway
from gateway.eventlog import LocalEventLog
from gateway.settings import Settings
from lab.mosquitto import MosquittoBroker
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Report, UnitId

FLEET = "default"
SAYS_ALL = next(model for model in modeldb.load().available("CLOUDBOXX") if model.type == "DEV_KIT")
"""A model that reports every property."""


@dataclass
class Clock:
    """Now, in Unix ms: as time passes, unless it is stopped, and as far ahead as the test says."""

    ahead_ms: int = 0
    stopped_ms: int | None = None

    def __call__(self) -> int:
        return (time.time_ns() // 1_000_000 if self.stopped_ms is None else self.stopped_ms) + self.ahead_ms

    def stop(self) -> None:
        """From now on no time passes by itself: however slow the machine is, nothing is due."""
        self.stopped_ms = time.time_ns() // 1_000_000


@asynccontextmanager
async def gateway_inside(data: Path, broker: MosquittoBroker, clock: Callable[[], int]) -> AsyncIterator[Gateway]:
    """A gateway behind an open Mosquitto; it is connected."""
    settings = Settings(data=data, mqtt_url=f"mqtt://gateway@127.0.0.1:{broker.port}", broker="none")
    gateway = Gateway(settings, clock)
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()


def report(gateway: Gateway, unit: UnitId, sequence: int, **state: Any) -> bytes:
    """A sealed frame of a CloudBoxx of that model, captured now."""
    said = Report(b"", None, SAYS_ALL.units["CLOUDBOXX"].invert(state))
    frame = Frame("state", unit.telematics_unit_id, sequence, gateway.now_ms(), (said,), {"flags": 0})
    return PROTOCOL.encode(frame, gateway.registry.keys(unit, 1).seal)


async def logged(gateway: Gateway) -> list[dict[str, Any]]:
    """Every event of the fleet, oldest first."""
    log, last, events = gateway.publisher, None, []
    assert isinstance(log, LocalEventLog)
    while page := await log.since(FLEET, last, 5_000):
        last = page[-1].event_id
        events += [json.loads(each.body) for each in page]
    return events


def confirmed(gateway: Gateway, event_type: str) -> int:
    """How many events of a type are confirmed."""
    return int(gateway.metrics.events.labels(event_type)._value.get())


async def until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Until something is true; TimeoutError if that takes longer."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.02)
