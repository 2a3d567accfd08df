"""The gateway does not lean on the broker: behind one that lets everybody do everything it refuses by itself, and counts."""

import asyncio
from pathlib import Path

import aiomqtt
import pytest

import modeldb
from lab.gateway import GatewayProcess, eventually, gateway
from lab.mosquitto import MosquittoBroker
from protocols.cloudboxx import PROTOCOL
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Report, UnitId

DEV_KIT = next(model for model in modeldb.load().available("CLOUDBOXX") if model.type == "DEV_KIT")
KNOWN, OTHER, GONE, UNKNOWN = (UnitId("CLOUDBOXX", f"{n:016X}") for n in range(1, 5))


@pytest.fixture
def behind_open_broker(tmp_path: Path, mosquitto_broker: MosquittoBroker):
    url = f"mqtt://gateway:nobody-asks@127.0.0.1:{mosquitto_broker.port}"
    with gateway(tmp_path / "gateway", {"TELELOOP_MQTT_URL": url, "TELELOOP_BROKER": "none"}) as process:
        yield process


def report(unit: UnitId, key: bytes, sequence: int = 1, lock: str = "LOCKED") -> bytes:
    said = Report(b"", None, DEV_KIT.units["CLOUDBOXX"].invert({"central_lock": lock}))
    frame = Frame("state", unit.telematics_unit_id, sequence, 1_795_446_000_000, (said,), {"flags": 0})
    return PROTOCOL.encode(frame, key)


async def test_every_refusal_is_the_gateways_own(behind_open_broker: GatewayProcess, mosquitto_broker: MosquittoBroker):
    teleloop = behind_open_broker
    added = {unit: teleloop.add(unit, DEV_KIT.id) for unit in (KNOWN, OTHER, GONE)}
    assert teleloop.call("POST", f"/vehicles/{added[GONE]['id']}/archive").status_code == 200
    keys = {unit: each.seal_key for unit, each in added.items()}
    good = report(KNOWN, keys[KNOWN])
    async with aiomqtt.Client("127.0.0.1", mosquitto_broker.port) as anybody:

        async def publish(unit: UnitId, payload: bytes) -> None:
            await anybody.publish(f"v1/{unit.brand}/{unit.telematics_unit_id}/up", payload, qos=1)

        async def refused(reason: str, unit: UnitId, payload: bytes) -> None:
            before = teleloop.counted("teleloop_refused_total", reason=reason)
            await publish(unit, payload)
            await eventually(lambda: teleloop.counted("teleloop_refused_total", reason=reason) == before + 1, what=reason)

        await refused("unknown_unit", UNKNOWN, report(UNKNOWN, keys[KNOWN]))
        await refused("unknown_unit", UnitId("OTHERBOXX", KNOWN.telematics_unit_id), good)
        await refused("archived", GONE, report(GONE, keys[GONE]))
        await refused("identity_mismatch", OTHER, good)
        await refused("forged", KNOWN, report(KNOWN, keys[OTHER]))
        await refused("oversized", KNOWN, good * (PAYLOAD_LIMIT_BYTES // len(good) + 1))
        assert all(teleloop.state(each["id"]) == {} for each in added.values())
        await publish(KNOWN, good)
        await eventually(lambda: teleloop.state(added[KNOWN]["id"]).get("central_lock") == "LOCKED")
        quarantined = teleloop.call("GET", "/quarantine").json()["items"]
        assert {each["reason"] for each in quarantined} >= {"identity_mismatch", "forged", "oversized"}


async def test_a_loud_unit_is_throttled_and_loses_nothing(behind_open_broker: GatewayProcess, mosquitto_broker: MosquittoBroker):
    teleloop = behind_open_broker
    added = teleloop.add(KNOWN, DEV_KIT.id)
    frames = [report(KNOWN, added.seal_key, n, "LOCKED" if n % 2 else "UNLOCKED") for n in range(1, 201)]
    async with aiomqtt.Client("127.0.0.1", mosquitto_broker.port) as unit:
        topic = f"v1/{KNOWN.brand}/{KNOWN.telematics_unit_id}"
        await unit.subscribe(f"{topic}/down", qos=1)
        for frame in frames:
            await unit.publish(f"{topic}/up", frame, qos=1)
        throttled = await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="throttled"))
        assert throttled <= len(frames) - 100

        async def all_are_accepted_when_sent_again() -> bool:
            # Throttled itself, as long as what came before it has left no token.
            await unit.publish(f"{topic}/up", b"".join(frames), qos=1)
            await asyncio.sleep(0.5)
            return teleloop.counted("teleloop_frames_total", outcome="accepted") == len(frames)

        await eventually(all_are_accepted_when_sent_again, timeout_s=30)
