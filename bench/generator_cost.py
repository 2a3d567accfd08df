"""What the generator of `teleloop load` costs with stateful units: paced, witnessed, its ledger kept, beside a Mosquitto.

    python -m bench.generator_cost --units 2000 --rate 2500 --seconds 10

As `bench.simulator_cost`, a process that acknowledges stands for the gateway. What a consumer would have in its hands is made up
of what was captured, and what that takes is not counted. What is told is the generator's process alone.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog

from bench.account import Added
from bench.consumer import RECORD
from bench.lab.mosquitto import mosquitto
from bench.lab.turns import long_turns
from bench.ledger import Ledger
from bench.load import LOOK_S, keeping
from bench.pacer import Pacer
from bench.reckoning import Reckoning
from bench.simulator_cost import records, run
from bench.stages import Schedule, Stage
from bench.stateful import StatefulFleet
from protocols.codec import UnitId

RAMP_S = 2.0
SETTLE_S = 2.0
SIZE_BYTES = 3_800


class _Hands:
    """A consumer that has every event as soon as it is asked; `spent_s` is the CPU that making it up has taken."""

    def __init__(self, ledger: Ledger, vehicles: Mapping[UnitId, bytes]) -> None:
        self._ledger, self._vehicles, self._taken = ledger, vehicles, 0
        self.spent_s = 0.0

    def take(self) -> Any:
        """As `bench.watcher.Watcher`."""
        began = time.thread_time()
        count = len(self._ledger) - self._taken
        self._taken += count
        fresh = [*islice(self._ledger.latest(), count)]
        now = time.monotonic()
        rows = [(now, 1, self._vehicles[entry.unit], entry.event_id.encode(), SIZE_BYTES) for entry in fresh]
        made = np.array(rows, dtype=RECORD)
        self.spent_s += time.thread_time() - began
        return made


async def measured(port: int, units: int, rate: float, seconds: float) -> dict[str, Any]:
    """Pace the fleet and tell what it took."""
    made = enumerate(records(units, True))
    added = [Added(msgspec.structs.replace(record, vehicle_id=f"{place:08d}"), fleet_id="") for place, record in made]
    names = {each.record.unit: each.record.vehicle_id.encode() for each in added}
    stages = (
        Stage(kind="ramp", duration_s=RAMP_S, rate_from=rate / 4, rate_to=rate),
        Stage(kind="hold", duration_s=seconds, rate_from=rate, rate_to=rate),
    )
    ledger, schedule = Ledger(), Schedule(stages, units, rate)
    reckoning, hands = Reckoning(ledger, schedule), _Hands(ledger, names)
    reckoning.vehicles = set(names.values())
    source = StatefulFleet(ledger, added, f"mqtt://127.0.0.1:{port}")
    await source.start(lambda online: None)
    await asyncio.sleep(SETTLE_S)
    source.collect()
    hands.take()
    look_at = 0.0

    def look() -> None:
        nonlocal look_at
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_S
            reckoning.gather(source, hands)

    with keeping():
        hands.spent_s, before, kernel, cpu = 0.0, len(ledger), os.times().system, time.process_time()
        began = reckoning.began = reckoning.wall()
        pacer = Pacer(schedule, source, reckoning.wall)
        await pacer.run(began, asyncio.Event(), lambda due, _: reckoning.said(due, reckoning.wall()), look)
        cpu, wall = time.process_time() - cpu - hands.spent_s, reckoning.wall() - began
        kernel = os.times().system - kernel
    reckoning.gather(source, hands)
    reckoning.put_down()
    frames = len(ledger) - before
    told = {
        "units": units,
        "rate": rate,
        "frames_per_s": round(frames / wall, 1),
        "cores": round(cpu / wall, 3),
        "us_per_frame": round(1e6 * cpu / frames, 1),
        "kernel_us_per_frame": round(1e6 * kernel / frames, 1),
        "said_late_ms": {f"p{each}": reckoning.lag.percentile(each) for each in (50, 99)},
        "acks_per_s": round(source.acks / wall, 1),
        "unsaid": pacer.unsaid,
    }
    await source.stop()
    return told


def main() -> None:
    """Everything beside it is started and ended here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=2500.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if given.port:
        print(json.dumps(run(measured(given.port, given.units, given.rate, given.seconds))))
        return
    with long_turns(), tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder), log_type="warning") as broker:
        simulator = [sys.executable, "-m", "bench.simulator_cost", "--port", str(broker.port), "--part", "acknowledger"]
        beside = subprocess.Popen(simulator)
        try:
            command = [sys.executable, "-m", "bench.generator_cost", "--port", str(broker.port)]
            command += ["--units", str(given.units), "--rate", str(given.rate), "--seconds", str(given.seconds)]
            sys.exit(subprocess.run(command).returncode)
        finally:
            beside.kill()
            beside.wait()


if __name__ == "__main__":
    main()
