"""Units of three public protocols: a third party's frame becomes the right event, a command comes back. All of it is real."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb
from lab.consumer import Consumer
from lab.gateway import Added, GatewayProcess, LineUnit, eventually, gateway
from lab.sayable import is_near
from lab.thirdparty import CASES, IDS, model_of
from modeldb.model import VehicleModel
from protocols import load
from protocols.codec import UnitId

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
OCTAVIA, HAN, EQA = (
    next(model for model in modeldb.load().models.values() if model.name == name) for name in ("Octavia", "Han", "EQA")
)


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, rabbitmq_node: Any) -> Iterator[tuple[GatewayProcess, Consumer]]:
    """A gateway that trusts its broker, and a consumer of its events."""
    with rabbitmq_node.vhost() as vhost:
        url = rabbitmq_node.url(vhost)
        settings = {"TELELOOP_AMQP_URL": url, "TELELOOP_TRUST_BROKER": "true"}
        with gateway(tmp_path_factory.mktemp("trusting") / "gateway", settings) as process, Consumer(url) as consumer:
            yield process, consumer


def vector(file: str, kind: str, containing: str = "") -> dict[str, Any]:
    """The first frame of a kind that somebody else wrote."""
    if not VECTORS.is_dir():
        pytest.skip("no frames of others here")
    lines = map(json.loads, (VECTORS / file).read_text().splitlines())
    return next(each for each in lines if each["kind"] == kind and containing in json.dumps(each))


def recorded(consumer: Consumer, added: Added) -> dict[str, Any]:
    """The vehicle's first VehicleStateRecorded."""
    mine = added["id"]
    return consumer.wait_for(lambda each: each.type == "VehicleStateRecorded" and each.vehicle_id == mine).body


def values(event: dict[str, Any]) -> dict[str, Any]:
    return {key: said["value"] for key, said in event["vehicle_state"].items()}


async def published(
    process: GatewayProcess, consumer: Consumer, added: Added, payload: bytes
) -> tuple[dict[str, Any], list[bytes]]:
    """The event that came of a payload on the unit's topic, and what was answered."""
    unit = LineUnit(added, process.units_broker)
    async with unit.online(firmware=False):
        await unit.say([payload])
        event = await asyncio.to_thread(recorded, consumer, added)
        if load()[modeldb.load().brands[added.unit.brand].protocol].acknowledgement == "frame":
            await eventually(lambda: unit.down, what="an answer")
    return event, unit.down


async def test_a_public_teltonika_packet_becomes_the_right_event(trusting: tuple[GatewayProcess, Consumer]) -> None:
    process, consumer = trusting
    said = vector("teltonika.jsonl", "avl8e_tcp")
    added = process.add(UnitId("TELTONIKA", "490154203237518"), OCTAVIA.id)
    event, down = await published(process, consumer, added, bytes.fromhex(said["hex"]))
    wanted = said["ref_decode"]["records"][0]
    state = values(event)
    assert state["position"] == {"lat": wanted["lat_e7"] / 1e7, "lon": wanted["lon_e7"] / 1e7}
    assert (state["heading_in_degrees"], state["satellites_in_use"]) == (wanted["angle"], wanted["sats"])
    assert event["vehicle_state"]["position"]["timestamp"] == "2024-06-03T04:11:04.011Z"
    assert event["metadata"]["occurred_at"] == "2024-06-03T04:11:04.011Z"
    assert down == [(1).to_bytes(4, "big")]


async def test_a_public_gbt32960_report_becomes_the_right_event_and_is_answered_as_others_answer_it(
    trusting: tuple[GatewayProcess, Consumer],
) -> None:
    process, consumer = trusting
    said = vector("gb32960.jsonl", "reissue", "resBuf")
    added = process.add(UnitId("GBT32960", said["ref_decode"]["vin"]), HAN.id)
    event, down = await published(process, consumer, added, bytes.fromhex(said["hex"]))
    state = values(event)
    assert state["position"] == {"lat": 31.982632, "lon": 118.775819}
    assert state["mileage_in_kilometers"] == said["ref_decode"]["items"][0]["odo_km"]
    assert state["state_of_charge_or_fuel_level_in_percent"] == said["ref_decode"]["items"][0]["soc"]
    assert state["ignition"] == "OFF"
    assert event["metadata"]["occurred_at"] == "2018-10-30T07:43:10Z"
    assert [answer.hex() for answer in down] == [said["expected"]["resBuf"]]


async def test_a_public_autoapi_message_becomes_the_right_event(trusting: tuple[GatewayProcess, Consumer]) -> None:
    process, consumer = trusting
    said = vector("autoapi.jsonl", "charging.battery_level")
    added = process.add(UnitId("MERCEDES_BENZ", "W1N2437011J000001"), EQA.id)
    event, _ = await published(process, consumer, added, bytes.fromhex(said["message_hex_derived"]))
    assert values(event) == {"state_of_charge_or_fuel_level_in_percent": 100 * said["expected"]}


@pytest.mark.parametrize(("brand", "model"), CASES, ids=lambda each: getattr(each, "file", each))
async def test_the_gateways_state_is_the_vehicles_truth(
    brand: str, model: VehicleModel, trusting: tuple[GatewayProcess, Consumer]
) -> None:
    process, _ = trusting
    added = process.add(UnitId(brand, _id(brand, CASES.index((brand, model)))), model.id)
    unit = LineUnit(added, process.units_broker)
    translation = model.units[brand]
    async with unit.online():
        await eventually(lambda: process.state(added["id"]).keys() == unit.vehicle.state().keys(), what="the whole state")
        unit.vehicle.locked = not unit.vehicle.locked
        unit.vehicle.doors_open.add("front_left")
        unit.vehicle.energy_percent = 41.3
        unit.vehicle.headlights = unit.vehicle.plugged = unit.vehicle.driving_enabled = True

        def is_true() -> bool:
            state, truth = process.state(added["id"]), unit.vehicle.state()
            return all(is_near(state[key], truth[key], translation.resolution(key)) for key in truth)

        await eventually(is_true, what="the truth")


@pytest.mark.parametrize("brand", IDS)
async def test_a_command_is_done_by_the_vehicle_and_answered_with_its_state(
    brand: str, trusting: tuple[GatewayProcess, Consumer]
) -> None:
    process, consumer = trusting
    added = process.add(UnitId(brand, IDS[brand]), model_of(brand).id)
    unit = LineUnit(added, process.units_broker)
    async with unit.online():
        await eventually(lambda: process.state(added["id"]).get("central_lock") == "LOCKED", what="the first state")
        path = f"/vehicles/{added['id']}/commands/unlock-central-lock"
        flows = []
        for _ in range(2):
            answer = await asyncio.to_thread(process.call, "POST", path, headers={"Idempotency-Key": brand})
            assert answer.status_code == 200, answer.text
            assert answer.json()["central_lock"]["value"] == "UNLOCKED"
            flows.append(answer.headers["X-INVERS-Flow-ID"])
        assert unit.vehicle.executed == {"unlock-central-lock": 1}
        unit.vehicle.ignition = True
        refused = await asyncio.to_thread(process.call, "POST", path)
        assert (refused.status_code, refused.json()["reason"]) == (422, "ignition_on")
        await eventually(lambda: not unit.flash.journal, what="every report acknowledged")
    mine = added["id"]
    changed = await asyncio.to_thread(
        consumer.wait_for, lambda each: each.type == "CentralLockChanged" and each.vehicle_id == mine
    )
    assert changed.headers["Flow-ID"] == flows[0]


async def test_what_comes_again_is_answered_again_and_changes_nothing(trusting: tuple[GatewayProcess, Consumer]) -> None:
    process, consumer = trusting
    added = process.add(UnitId("TELTONIKA", _id("TELTONIKA", 50)), OCTAVIA.id)
    unit = LineUnit(added, process.units_broker)
    payload = bytes.fromhex(vector("teltonika.jsonl", "avl8e_tcp")["hex"])
    repeated = process.counted("teleloop_frames_total", outcome="repeated")
    async with unit.online(firmware=False):
        await unit.say([payload] * 3)
        await eventually(lambda: len(unit.down) == 3, what="three answers")
    assert len(set(unit.down)) == 1
    assert process.counted("teleloop_frames_total", outcome="repeated") >= repeated + 2
    consumer.pump(0.3)
    assert len(consumer.of(added["id"], "VehicleStateRecorded")) == 1


async def test_a_packet_that_nobody_understands_is_quarantined_and_still_answered(
    trusting: tuple[GatewayProcess, Consumer],
) -> None:
    process, _ = trusting
    added = process.add(UnitId("TELTONIKA", _id("TELTONIKA", 51)), OCTAVIA.id)
    unit = LineUnit(added, process.units_broker)
    payload = bytes.fromhex(vector("teltonika.jsonl", "codec7_gh_tcp")["hex"])
    async with unit.online(firmware=False):
        await unit.say([payload])
        await eventually(lambda: unit.down, what="an answer")
    assert unit.down == [payload[9].to_bytes(4, "big")]
    kept = process.call("GET", "/quarantine").json()["items"]
    assert "unsupported" in {each["reason"] for each in kept}


def test_a_unit_without_a_seal_needs_a_broker_that_is_trusted(shared_gateway: GatewayProcess) -> None:
    for brand, unit_id in IDS.items():
        body = {"telematics_brand": brand, "telematics_unit_id": unit_id, "vehicle_model_id": model_of(brand).id}
        answer = shared_gateway.call("POST", "/vehicles", json=body)
        assert answer.is_client_error
        assert "TELELOOP_TRUST_BROKER" in answer.text


def _id(brand: str, number: int) -> str:
    """A unit id of its own for each test."""
    if brand != "TELTONIKA":
        return f"W1N24370{number:02}J000002"
    digits = f"35630704{number:06}"
    total = sum(sum(divmod(int(digit) * (2 - at % 2), 10)) for at, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)
