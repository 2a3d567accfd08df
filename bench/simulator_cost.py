"""What a simulated fleet costs: stateful, sealed, journalled CloudBoxx units in one process, a frame a second each.

    python -m bench.simulator_cost --units 5000 --seconds 30

A Mosquitto and a process that acknowledges stand beside it, as a gateway would; what is told is the fleet's process alone.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

import modeldb
from bench.lab.mosquitto import mosquitto
from devices.config import Intervals
from devices.fleet import Fleet
from devices.packets import PUBLISH, next_packet, packet, text
from devices.unitsfile import UnitRecord
from protocols.cloudboxx import PROTOCOL
from protocols.keys import brand_key, unit_keys

BRAND = "CLOUDBOXX"
WARM_S = 8.0
CONNECT_TIMEOUT_S = 240.0
SPEAKERS = 32
"""Connections that Acks are said on: a busy Mosquitto takes one packet of each connection in turn, a unit's as a gateway's."""

PAGE = resource.getpagesize()
MUST = {"rss_mib": 350.0, "cores": 0.8}
AIM = {"rss_mib": 249.0, "cores": 0.42}


def unit_id(place: int) -> str:
    """The QNR of the place-th unit."""
    return f"C0{place:014X}"


def records(count: int, moving: bool) -> list[UnitRecord]:
    """So many units of all models."""
    models = modeldb.load().available(BRAND)
    key = brand_key(bytes(32), BRAND)
    made = []
    for place in range(count):
        keys = unit_keys(key, 1, unit_id(place))
        model = models[place % len(models)]
        made.append(
            UnitRecord(
                brand=BRAND, telematics_unit_id=unit_id(place), vehicle_model_id=model.id, password=keys.password,
                seal_key=keys.seal.hex(), command_key=keys.command.hex(), moving=moving,
            )
        )  # fmt: skip
    return made


class Speaker(asyncio.Protocol):
    """A connection on which Acks are said; nothing comes on it but CONNACK."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(self._name)))


class Acknowledger(asyncio.Protocol):
    """Hears every `up` and acknowledges each unit once a second: all a fleet needs of a gateway."""

    def __init__(self, speakers: Sequence[Speaker]) -> None:
        self._speakers = itertools.cycle(speakers)
        self._key = brand_key(bytes(32), BRAND)
        self._seals: dict[str, bytes] = {}
        self._newest: dict[str, int] = {}
        self._rest = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text("acknowledger")))
        self._transport.write(packet(0x82, b"\x00\x01" + text(f"v1/{BRAND}/+/up") + b"\x00"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while at < len(data) and (found := next_packet(data, at)) is not None:
            body, end = found
            if data[at] >> 4 == PUBLISH:
                self._heard(data[body:end])
            at = end
        self._rest = data[at:]

    def _heard(self, body: bytes) -> None:
        size = int.from_bytes(body[:2], "big")
        unit = body[2 : 2 + size].decode().split("/")[2]
        payload, at = body[2 + size :], 0
        while at + 24 <= len(payload):
            sequence = int.from_bytes(payload[at + 12 : at + 16], "little")
            if sequence > self._newest.get(unit, 0):
                self._newest[unit] = sequence
            at += 34 + int.from_bytes(payload[at + 22 : at + 24], "little")

    async def acknowledge_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            told = list(self._newest.items())
            self._newest = {}
            for place in range(0, len(told), 50):
                now_ms = time.time_ns() // 1_000_000
                for unit, sequence in told[place : place + 50]:
                    seal = self._seals.get(unit) or self._seals.setdefault(unit, unit_keys(self._key, 1, unit).seal)
                    ack = PROTOCOL.acknowledge(unit, sequence, 0, now_ms, seal)
                    next(self._speakers).transport.write(packet(0x30, text(f"v1/{BRAND}/{unit}/down") + ack))
                left = len(told) - place
                await asyncio.sleep(max(0.0, (began + 1 - time.monotonic()) * 50 / max(50, left)))
            await asyncio.sleep(max(0.001, began + 1 - time.monotonic()))


async def acknowledging(port: int) -> None:
    """Until killed."""
    loop = asyncio.get_running_loop()
    speakers = [Speaker(f"speaker-{place}") for place in range(SPEAKERS)]
    for speaker in speakers:
        await loop.create_connection(lambda made=speaker: made, "127.0.0.1", port)  # type: ignore[misc]
    _, protocol = await loop.create_connection(lambda: Acknowledger(speakers), "127.0.0.1", port)
    await protocol.acknowledge_for_ever()


def resident_mib() -> float:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / (1 << 20)


async def measured(port: int, count: int, seconds: float, moving: bool) -> dict[str, Any]:
    """Run the fleet and tell what it took."""
    empty_mib = resident_mib()
    fleet = Fleet(records(count, moving), f"mqtt://127.0.0.1:{port}", seed=1, intervals=Intervals(1, 1, 900))
    made_mib, began = resident_mib(), time.monotonic()
    fleet.start()
    while fleet.online < count:
        if time.monotonic() - began > CONNECT_TIMEOUT_S:
            raise TimeoutError(f"only {fleet.online} of {count} units are online: {fleet.tally}")
        await asyncio.sleep(0.2)
    connecting_s = time.monotonic() - began
    await asyncio.sleep(WARM_S)
    sequences = sum(member.firmware.flash.sequence for member in fleet.members)
    kernel, sent, heard = os.times().system, fleet.tally.payloads_sent, fleet.tally.payloads_received
    cpu, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, wall, kernel = time.process_time() - cpu, time.monotonic() - wall, os.times().system - kernel
    frames = sum(member.firmware.flash.sequence for member in fleet.members) - sequences
    said = {
        "units": count,
        "online": fleet.online,
        "seconds": round(wall, 1),
        "frames_per_s": round(frames / wall, 1),
        "payloads_per_s": round((fleet.tally.payloads_sent - sent) / wall, 1),
        "acks_per_s": round((fleet.tally.payloads_received - heard) / wall, 1),
        "waiting": fleet.waiting,
        "connects_per_s": round(count / connecting_s, 1),
        "cores": round(cpu / wall, 3),
        "us_per_frame": round(1e6 * cpu / max(1, frames), 1),
        "kernel_us_per_frame": round(1e6 * kernel / max(1, frames), 1),
        "rss_mib": round(resident_mib(), 1),
        "rss_empty_mib": round(empty_mib, 1),
        "rss_made_mib": round(made_mib, 1),
        "must": MUST,
        "aim": AIM,
    }
    await fleet.stop()
    return said


def run(main: Any) -> Any:
    """On uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def main() -> None:
    """Everything beside it is started and ended here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--still", action="store_true", help="vehicles that stand still")
    parser.add_argument("--part", choices=["fleet", "acknowledger"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started beside it is ended with it
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if given.part == "acknowledger":
        run(acknowledging(given.port))
    elif given.part == "fleet":
        print(json.dumps(run(measured(given.port, given.units, given.seconds, not given.still))))
    else:
        with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder), log_type="warning") as broker:
            command = [sys.executable, "-m", "bench.simulator_cost", "--port", str(broker.port), "--units", str(given.units)]
            command += ["--seconds", str(given.seconds), *(["--still"] if given.still else [])]
            beside = subprocess.Popen([*command, "--part", "acknowledger"])
            try:
                sys.exit(subprocess.run([*command, "--part", "fleet"]).returncode)
            finally:
                beside.kill()
                beside.wait()


if __name__ == "__main__":
    main()
