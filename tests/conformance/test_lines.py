"""The kit on real lines: as the MQTT server that a unit connects to, behind a Mosquitto, and as a TCP server."""

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import modeldb
from bench.conformance.captures import Keys, protocol_of
from bench.conformance.requirement import requirements, select
from bench.conformance.run import judge
from bench.conformance.targets import UnitTarget, talk_with
from bench.conformance.wire.servers import MqttServerWire, TcpServerWire
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.fleet import Fleet
from devices.switch import switch_on
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from lab.mosquitto import MosquittoBroker
from protocols import load
from protocols.codec import UnitId
from protocols.keys import brand_key, unit_keys
from protocols.stream import Framer

QNR, IMEI = "C0FFEE0000000001", "356307042441013"
LINKS = "CBX-LINK-*"


def record(brand: str, unit_id: str) -> UnitRecord:
    secret = unit_keys(brand_key(bytes(32), brand), 1, unit_id)
    model = next(each for each in modeldb.load().available(brand) if "unlock-central-lock" in each.units[brand].commands)
    return UnitRecord(
        brand=brand,
        telematics_unit_id=unit_id,
        vehicle_model_id=model.id,
        password="secret",
        seal_key=secret.seal.hex(),
        command_key=secret.command.hex(),
        moving=False,
    )


def keys_of(unit: UnitRecord) -> Keys:
    return Keys(
        {unit.telematics_unit_id: bytes.fromhex(unit.seal_key)}, {unit.telematics_unit_id: {1: bytes.fromhex(unit.command_key)}}
    )


@contextmanager
def driving(unit: UnitRecord, broker: str) -> Iterator[Fleet]:
    """A simulated unit at a broker, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def begin() -> Fleet:
        fleet = Fleet([unit], broker, intervals=Intervals(2, 2, 30))
        fleet.start()
        return fleet

    fleet = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
    try:
        yield fleet
    finally:
        asyncio.run_coroutine_threadsafe(fleet.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)


def verdicts(target: UnitTarget, only: str, address: list[str], talk: object = None) -> dict[str, tuple[str, str]]:
    wanted = select(requirements().values(), [only])
    return {each.requirement.id: (each.verdict, each.reason) for each in judge(wanted, talk)}  # type: ignore[arg-type]


@pytest.mark.timeout(300)
def test_as_the_units_mqtt_server_the_kit_sees_session_and_frames():
    unit = record("CLOUDBOXX", QNR)
    target = UnitTarget(unit.unit, protocol_of("CLOUDBOXX"), keys_of(unit), listen="127.0.0.1:0", timeout_s=60.0)
    talk = talk_with(target, print)
    assert isinstance(talk.wire, MqttServerWire)
    with driving(unit, talk.wire.address):
        found = verdicts(target, f"{LINKS},CBX-UNIT-005,VTC-UNIT-001,VTC-FORGE-001,CBX-FRAME-008", [], talk)
    talk.wire.close()
    assert {name: reason for name, (verdict, reason) in found.items() if verdict != "pass"} == {}
    assert len(found) == 10


@pytest.mark.night
def test_behind_a_broker_the_kit_says_what_it_cannot_see(mosquitto_broker: MosquittoBroker):
    unit = record("CLOUDBOXX", secrets.token_hex(8).upper())
    target = UnitTarget(
        unit.unit, protocol_of("CLOUDBOXX"), keys_of(unit), broker=mosquitto_broker.url, timeout_s=60.0, password="secret"
    )
    talk = talk_with(target, print)
    with driving(unit, mosquitto_broker.url):
        found = verdicts(target, f"{LINKS},CBX-UNIT-001,CBX-UNIT-005,VTC-UNIT-001", [], talk)
    talk.wire.close()
    skipped = {name for name, (verdict, _) in found.items() if verdict == "not_executed"}
    assert skipped == {"CBX-LINK-001", "CBX-LINK-002", "CBX-LINK-003", "CBX-LINK-004", "CBX-LINK-006"}
    assert {name: reason for name, (verdict, reason) in found.items() if verdict == "fail"} == {}


def _tcp_unit(address: str, unit: UnitRecord, stopped: threading.Event) -> None:
    """A tracker on a socket, which connects again whenever it is cut off."""
    model = modeldb.load().models[unit.vehicle_model_id]
    config = UnitConfig(
        unit.unit, model.units[unit.brand], b"", {1: bytes.fromhex(unit.command_key)}, intervals=Intervals(2, 2, 30)
    )
    firmware = switch_on("teltonika", config, Flash.factory(_now()), Vehicle.of(model, unit.brand, seed=1))
    host, port = address.rsplit(":", 1)
    while not stopped.is_set():
        with socket.create_connection((host, int(port)), 20) as line:
            line.settimeout(0.05)
            framer = Framer(load()["teltonika"].framing)  # type: ignore[attr-defined]
            said = firmware.connected(_now())
            while not stopped.is_set():
                line.sendall(b"".join(map(bytes, said)))
                said = []
                try:
                    chunk = line.recv(4096)
                    if not chunk:
                        break
                    heard = [chunk] if len(chunk) in (1, 4) else [cut.data for cut in framer.receive(chunk)]
                    for payload in heard:
                        said += firmware.receive(payload, _now())
                except TimeoutError:
                    said = firmware.tick(_now())
                except OSError:
                    break
        firmware.disconnected(_now())
        time.sleep(0.2)


def _now() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.timeout(300)
def test_over_tcp_the_kit_logs_a_tracker_in_counts_its_records_and_commands_it():
    unit = record("TELTONIKA", IMEI)
    target = UnitTarget(UnitId("TELTONIKA", IMEI), protocol_of("TELTONIKA"), keys_of(unit), tcp="127.0.0.1:0", timeout_s=60.0)
    talk = talk_with(target, print)
    assert isinstance(talk.wire, TcpServerWire)
    stopped = threading.Event()
    thread = threading.Thread(target=_tcp_unit, args=(talk.wire.address, unit, stopped), daemon=True)
    thread.start()
    try:
        found = verdicts(target, "TEL-UNIT-001,TEL-UNIT-002,TEL-UNIT-003,TEL-UNIT-008,TEL-UNIT-009,TEL-FRAME-004", [], talk)
    finally:
        stopped.set()
        talk.wire.close()
        thread.join(10)
    assert {name: reason for name, (verdict, reason) in found.items() if verdict != "pass"} == {}
