"""The ThingsBoard IoT gateway: `python -m bench.peers.thingsboard PYTHON [RATE ...]`, PYTHON having `thingsboard-gateway`.

It reads frames from one Mosquitto by its bytes converter, and publishes telemetry as JSON to another, where a stand-in for
ThingsBoard answers what it asks at the start and counts records. It authenticates no unit and keeps no state.
"""

import asyncio
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiomqtt

from bench.lab import Server, mosquitto
from bench.latency import Histogram
from bench.loops import loop_factory
from bench.meters import Meters
from bench.mqtt_wire import LeanLine, Lines
from bench.peers.compare import OPEN_BROKER_LINES

DEVICES, SECONDS, SETTLE_S, QUIET_S = 200, 10.0, 15.0, 6.0
FIELDS = {"index": "[6:10]", "latitude": "[10:14]", "longitude": "[14:18]", "speed": "[18:20]", "odometer": "[20:24]"}
LIMITS = {"maxPayloadSize": 65536, "maxInflightMessages": 1000, "rateLimits": {}, "gatewayRateLimits": dict.fromkeys(
    ("messages", "telemetryMessages", "telemetryDataPoints"), "")}  # fmt: skip


def configure(folder: Path, python: str, units_port: int, server_port: int) -> None:
    """The gateway's own configuration files, from its documentation."""
    where = "import thingsboard_gateway, pathlib; print(pathlib.Path(thingsboard_gateway.__file__).parent / 'config')"
    package = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    shutil.copy(package / "logs.json", folder / "logs.json")
    general = json.loads((package / "tb_gateway.json").read_text())
    general["thingsboard"] |= {"host": "127.0.0.1", "port": server_port, "remoteConfiguration": False}
    general["thingsboard"]["security"] = {"type": "accessToken", "accessToken": "token"}
    general["thingsboard"]["statistics"]["enable"] = False
    general["connectors"] = [{"type": "mqtt", "name": "units", "configuration": "mqtt.json"}]
    (folder / "tb_gateway.json").write_text(json.dumps(general))
    device = {
        "deviceNameExpressionSource": "message", "deviceNameExpression": "[0:6]",
        "deviceProfileExpressionSource": "constant", "deviceProfileExpression": "default",
    }  # fmt: skip
    fields = [{"type": "raw", "key": key, "value": value, "hexMode": True} for key, value in FIELDS.items()]
    converter = {"type": "bytes", "deviceInfo": device, "timeout": 60000, "attributes": [], "timeseries": fields}
    mapping = [{"topicFilter": "v1/+/+/up", "subscriptionQos": 1, "converter": converter}]
    broker = {"host": "127.0.0.1", "port": units_port, "clientId": "gateway", "version": 5, "security": {"type": "anonymous"}}
    said = {"broker": broker, "mapping": mapping, "requestsMapping": {}, "dataMapping": [], "serverSideRpc": []}
    (folder / "mqtt.json").write_text(json.dumps(said))


class StandIn:
    """ThingsBoard, as far as the gateway notices: it answers the first questions and takes telemetry."""

    def __init__(self) -> None:
        self.records = 0
        self.last_at = 0.0
        self.due: dict[int, float] = {}
        self.latencies = Histogram()

    async def serve(self, port: int) -> None:
        """Until cancelled."""
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe([("v1/devices/me/rpc/request/+", 0), ("v1/devices/me/attributes/request/+", 0)])
            await client.subscribe("v1/gateway/telemetry", 1)
            async for message in client.messages:
                topic, body = str(message.topic), bytes(message.payload)
                number = topic.rsplit("/", 1)[1]
                if "/rpc/request/" in topic:
                    await client.publish(f"v1/devices/me/rpc/response/{number}", json.dumps(LIMITS))
                elif "/attributes/request/" in topic:
                    await client.publish(f"v1/devices/me/attributes/response/{number}", "{}")
                else:
                    self._take(json.loads(body))

    def _take(self, telemetry: dict[str, list[dict[str, Any]]]) -> None:
        now = self.last_at = time.monotonic()
        for record in (record for records in telemetry.values() for record in records):
            values = record.get("values", record)
            if "index" in values:
                self.records += 1
                due = self.due.get(int(values["index"], 16))
                if due is not None:
                    self.latencies.record(1000 * (now - due))


async def measure(python: str, rates: list[int]) -> list[dict[str, Any]]:
    """Each rate for ten seconds; what comes late is waited for as long as anything comes."""
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teleloop-thingsboard-")))
        units = stack.enter_context(mosquitto(folder / "units", lines=OPEN_BROKER_LINES, log_type="error"))
        server = stack.enter_context(mosquitto(folder / "server", lines=OPEN_BROKER_LINES, log_type="error"))
        configure(folder, python, units.port, server.port)
        stand_in = StandIn()
        serving = asyncio.create_task(stand_in.serve(server.port))
        start = "from thingsboard_gateway.tb_gateway import main; main()"
        gateway = Server([python, "-c", start], folder, os.environ | {"TB_GW_CONFIG_DIR": str(folder) + "/"})
        stack.callback(gateway.stop)
        gateway.start()
        await asyncio.sleep(SETTLE_S)
        wires = Lines("127.0.0.1", units.port)
        looking = asyncio.create_task(wires.keep_looking())
        lines = [await _line(wires, place) for place in range(DEVICES)]
        meters, index = Meters({"gateway": gateway.pid}), 0
        for rate in rates:
            stand_in.latencies, before, cpu = Histogram(), stand_in.records, meters.look()["gateway"].cpu_s
            began, first = time.monotonic(), index
            while index - first < rate * SECONDS:
                while index - first < min((time.monotonic() - began) * rate, rate * SECONDS):
                    body = struct.pack(">IiiHI", index, 525_000_000, 134_000_000, index % 200, index)
                    stand_in.due[index] = began + (index - first) / rate
                    lines[index % DEVICES].publish(b"D%05d" % (index % DEVICES) + body)
                    index += 1
                await asyncio.sleep(0.004)
            said_in = time.monotonic() - began
            while (
                stand_in.records - before < index - first and time.monotonic() - max(stand_in.last_at, began + said_in) < QUIET_S
            ):
                await asyncio.sleep(0.2)
            records, used = stand_in.records - before, meters.look()["gateway"].cpu_s - cpu
            took = max(stand_in.last_at - began, said_in)
            p = stand_in.latencies.percentiles()
            row = {
                "offered": rate,
                "records_per_s": round(records / took, 1),
                "missing": index - first - records,
                "p50_ms": p.p50,
                "p99_ms": p.p99,
                "cpu_us": round(1e6 * used / max(1, records), 1),
            }
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
            if not records:
                print(gateway.output[-1500:], file=sys.stderr)
        for line in lines:
            line.close()
        await wires.emptied(1.0)
        for task in (serving, looking):
            task.cancel()
        await asyncio.gather(serving, looking, return_exceptions=True)
    return rows


async def _line(wires: Lines, place: int) -> LeanLine:
    made = wires.dial(f"D/{place:05}", "-", lambda data: None, lambda: None)
    await made.opened()
    return made


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(measure(sys.argv[1], [int(each) for each in sys.argv[2:]] or [500, 1_000, 2_000]))))
