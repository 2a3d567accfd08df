"""What a load generator costs: `python -m bench.peers.generators LOCUST`, LOCUST being the program in a venv with `locust[mqtt]`.

Both publish QoS 1 into the same Mosquitto, which nobody listens to; what arrived is Mosquitto's own count. Ours seals each frame.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiomqtt

from bench.lab import MosquittoBroker, mosquitto
from bench.lean import LeanFleet
from bench.ledger import Ledger
from bench.loops import loop_factory
from bench.meters import Meters
from bench.peers.compare import OPEN_BROKER_LINES, strangers
from bench.stages import Schedule, Stage

UNITS, SECONDS = 200, 10.0
COUNT = "$SYS/broker/publish/messages/received"


async def arrived(broker: MosquittoBroker) -> int:
    """PUBLISH packets that Mosquitto has had so far, by its own count, which moves once a second."""
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe(COUNT)
        async for message in client.messages:
            return int(bytes(message.payload))
    return 0


async def ours(broker: MosquittoBroker, rate: float) -> dict[str, Any]:
    """The lean generator."""
    source = LeanFleet(Ledger(), strangers(UNITS), broker.url, connects_per_s=2_000.0)
    await source.start(lambda online: None)
    await asyncio.sleep(2.0)
    schedule = Schedule((Stage(kind="hold", duration_s=SECONDS, rate_from=rate, rate_to=rate),), UNITS, rate)
    before, cpu, began, taken = await arrived(broker), time.process_time(), time.time(), 0.0
    while taken < SECONDS:
        until = min(time.time() - began, SECONDS)
        when, who = schedule.take(until, taken)
        taken = until
        for place, (at, unit) in enumerate(zip(when.tolist(), who.tolist(), strict=True), 1):
            source.say(unit, began + at)
            if not place % 100:
                await asyncio.sleep(0)
        await asyncio.sleep(0.004)
    cpu, lasted = time.process_time() - cpu, time.time() - began
    await asyncio.sleep(2.5)
    frames = await arrived(broker) - before
    await source.stop()
    return _said("teleloop load --lean", rate, frames, lasted, cpu)


async def locust(broker: MosquittoBroker, rate: float, program: str) -> dict[str, Any]:
    """Locust's MQTT user, headless."""
    file = Path(__file__).parent / "locust_mqtt.py"
    environment = os.environ | {"PORT": str(broker.port), "RATE": str(rate / UNITS)}
    command = [program, "-f", str(file), "--headless", "-u", str(UNITS), "-r", str(UNITS), "-t", "30s", "--only-summary"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await asyncio.sleep(10.0)
        meters = Meters({"locust": process.pid})
        before, cpu, began = await arrived(broker), meters.look()["locust"].cpu_s, time.monotonic()
        await asyncio.sleep(SECONDS)
        frames, used, lasted = await arrived(broker) - before, meters.look()["locust"].cpu_s - cpu, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(20)
    return _said("locust[mqtt]", rate, frames, lasted, used)


def _said(name: str, rate: float, frames: int, lasted: float, cpu_s: float) -> dict[str, Any]:
    per_frame = round(1e6 * cpu_s / frames, 1) if frames else None
    return {"generator": name, "offered": rate, "arrived_per_s": round(frames / lasted, 1), "cpu_us": per_frame}


async def both(program: str, rates: tuple[float, ...]) -> list[dict[str, Any]]:
    """Each rate by one and by the other."""
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleloop-generators-")))
        lines = (*OPEN_BROKER_LINES, "sys_interval 1")
        broker = stack.enter_context(mosquitto(folder / "mosquitto", lines=lines, log_type="error"))
        for rate in rates:
            rows.append(await ours(broker, rate))
            rows.append(await locust(broker, rate, program))
            print(json.dumps(rows[-2:]), file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(both(sys.argv[1], tuple(float(each) for each in sys.argv[2:]) or (500.0, 2_000.0)))))
