"""A Teltonika unit on a TCP connection, as a process of its own: `python tests/lab/tcp_unit.py units.json host port`."""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import modeldb
from devices.config import UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.unitsfile import UnitRecord, read_units
from devices.vehicle import Vehicle
from protocols import load
from protocols.stream import Framer


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def live(record: UnitRecord, host: str, port: int) -> None:
    """Connect and report, again and again."""
    model = modeldb.load().models[record.vehicle_model_id]
    translation = model.units[record.brand]
    keys = {record.generation: bytes.fromhex(record.command_key)}
    config = UnitConfig(record.unit, translation, bytes.fromhex(record.seal_key), keys)
    vehicle = Vehicle.of(model, record.brand, seed=2)
    firmware = switch_on("teltonika", config, Flash.factory(now_ms()), vehicle)
    firmware.tick(now_ms())
    framer = Framer(load()["teltonika"].framing)
    while True:
        await asyncio.sleep(0.3)
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            for payload in firmware.connected(now_ms()):
                writer.write(payload)
            while True:
                try:
                    chunk = await asyncio.wait_for(reader.read(4096), 0.1)
                except TimeoutError:
                    said = firmware.tick(now_ms())
                else:
                    if not chunk:
                        break
                    parts = [chunk] if len(chunk) in (1, 4) else [cut.data for cut in framer.receive(chunk)]
                    said = [each for part in parts for each in firmware.receive(part, now_ms())]
                for payload in said:
                    writer.write(payload)
            firmware.disconnected(now_ms())


if __name__ == "__main__":
    asyncio.run(live(read_units(Path(sys.argv[1]))[0], sys.argv[2], int(sys.argv[3])))
