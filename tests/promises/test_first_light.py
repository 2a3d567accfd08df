"""A sealed frame becomes an event in RabbitMQ, a command comes back, and nobody else gets in. Everything here is real."""

import asyncio
import contextlib
import re

import aiomqtt
import pytest

import modeldb
from devices.vehicle import Vehicle
from lab.consumer import Consumer
from lab.gateway import Added, GatewayProcess, LineUnit, eventually
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Report, UnitId

UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
OTHER = UnitId("CLOUDBOXX", "FEDCBA9876543210")
MODELS = modeldb.load().available("CLOUDBOXX")
DEV_KIT = next(model for model in MODELS if model.type == "DEV_KIT")
SCOOTER = next(model for model in MODELS if "unlock-central-lock" not in model.units["CLOUDBOXX"].commands)


def with_model(model, unit: UnitId = UNIT):
    return unit, model.id


def report(added: Added, sequence: int, key: bytes | None = None, **state) -> bytes:
    translation = DEV_KIT.units["CLOUDBOXX"]
    said = Report(b"", None, translation.invert(state) | {"oldest_sequence": 1})
    frame = Frame("state", added.unit.telematics_unit_id, sequence, 1_795_446_000_000 + sequence, (said,), {"flags": 0})
    return PROTOCOL.encode(frame, key or added.seal_key)


async def until_acked(unit: LineUnit) -> None:
    await eventually(lambda: not unit.flash.journal, what="every frame acknowledged")


async def test_an_acked_frame_is_an_event_in_rabbitmq(teleloop: GatewayProcess, consumer: Consumer):
    added = teleloop.add(*with_model(DEV_KIT))
    async with LineUnit(added, teleloop.units_broker).online() as unit:
        await until_acked(unit)
    seen = await asyncio.to_thread(consumer.wait_for, lambda each: each.type == "VehicleStateRecorded")
    metadata = seen.body["metadata"]
    assert seen.routing_key == f"{metadata['fleet_id']}.VehicleStateRecorded.{added['id']}"
    assert (seen.message_id, seen.content_type, seen.delivery_mode) == (metadata["id"], "application/json", 2)
    assert seen.headers == {
        "Flow-ID": metadata["flow_id"],
        "Message-Type": metadata["type"],
        "Message-Version": metadata["version"],
    }
    assert list(metadata) == ["id", "type", "version", "flow_id", "occurred_at", "recorded_at", "fleet_id", "vehicle_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", metadata["occurred_at"])
    assert seen.body["vehicle_state"].keys() == seen.body["changed"].keys()
    state = teleloop.state(added["id"])
    assert state == {key: said["value"] for key, said in seen.body["vehicle_state"].items()}


async def test_ids_are_the_same_after_a_resend_and_a_repeat_changes_nothing(teleloop: GatewayProcess, consumer: Consumer):
    added = teleloop.add(*with_model(DEV_KIT))
    unit = LineUnit(added, teleloop.units_broker)
    frames = [report(added, n, central_lock=lock) for n, lock in enumerate(["LOCKED", "UNLOCKED", "LOCKED"], 1)]
    async with unit.online(firmware=False):
        await unit.say(frames)
        await asyncio.to_thread(consumer.wait_for, lambda each: each.type == "CentralLockChanged" and each.body["to"] == "LOCKED")
        before = [each.id for each in consumer.of(added["id"], "VehicleStateRecorded", "CentralLockChanged")]
        repeated = teleloop.counted("teleloop_frames_total", outcome="repeated")
        await unit.say([frames[1], frames[0] + frames[2]])
        await eventually(lambda: teleloop.counted("teleloop_frames_total", outcome="repeated") >= repeated + 3)
        teleloop.kill()
        teleloop.start()
    again = LineUnit(added, teleloop.units_broker)
    async with again.online(firmware=False):
        repeated = teleloop.counted("teleloop_frames_total", outcome="repeated")
        await again.say(frames)
        await eventually(lambda: teleloop.counted("teleloop_frames_total", outcome="repeated") >= repeated + 3)
    consumer.pump(0.5)
    sequenced = [each for each in consumer.of(added["id"], "VehicleStateRecorded", "CentralLockChanged") if each.id in before]
    assert [each.id for each in sequenced] == before
    assert len(set(before)) == len(before)


async def test_two_units_with_the_same_id_under_two_brands_are_two_vehicles(
    twin_brand: str, teleloop: GatewayProcess, consumer: Consumer
):
    twin_id = UnitId(twin_brand, UNIT.telematics_unit_id)
    first, second = teleloop.add(UNIT, DEV_KIT.id), teleloop.add(twin_id, DEV_KIT.id)
    assert first["id"] != second["id"]
    assert first["credentials"]["seal_key"] != second["credentials"]["seal_key"]
    assert teleloop.call("POST", "/vehicles", json=_body(UNIT)).status_code == 409
    one, two = LineUnit(first, teleloop.units_broker), LineUnit(second, teleloop.units_broker)
    async with one.online(firmware=False), two.online(firmware=False):
        await one.say([report(first, 1, central_lock="LOCKED")])
        await two.say([report(second, 1, central_lock="UNLOCKED")])
        await eventually(
            lambda: teleloop.state(first["id"]).get("central_lock") and teleloop.state(second["id"]).get("central_lock")
        )
        forged = teleloop.counted("teleloop_refused_total", reason="forged")
        await one.say([report(second, 9, central_lock="UNLOCKED")])
        await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="forged") == forged + 1)
    assert UNIT.telematics_unit_id in {
        each["telematics_unit"]["id"] for each in teleloop.call("GET", "/vehicles").json()["items"]
    }


def _body(unit: UnitId) -> dict[str, str]:
    return {"telematics_brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_model_id": DEV_KIT.id}


async def test_who_may_not_speak_is_refused_and_counted(teleloop: GatewayProcess):
    added, other = teleloop.add(UNIT, DEV_KIT.id), teleloop.add(OTHER, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)

    async def refused(reason: str, payload: bytes) -> None:
        before = teleloop.counted("teleloop_refused_total", reason=reason)
        state = teleloop.state(added["id"])
        await unit.say([payload])
        await eventually(lambda: teleloop.counted("teleloop_refused_total", reason=reason) > before, what=reason)
        assert teleloop.state(added["id"]) == state

    async with unit.online():
        await until_acked(unit)
        sequence = unit.flash.sequence + 1000
        good = report(added, sequence, central_lock="UNLOCKED")
        for bit in range(0, 8 * len(good), 41):
            flipped = bytearray(good)
            flipped[bit // 8] ^= 1 << bit % 8
            before = _all_refused(teleloop)
            await unit.say([bytes(flipped)])
            await eventually(lambda before=before: _all_refused(teleloop) == before + 1, what=f"bit {bit}")
        await refused("forged", report(added, sequence, key=bytes(32), central_lock="UNLOCKED"))
        await refused("identity_mismatch", report(other, sequence, central_lock="UNLOCKED"))
        await refused("truncated", good[:-1])
        await refused("bad_sync", b"nonsense")
        state = teleloop.state(other["id"])
        await unit.publish(f"v1/CLOUDBOXX/{OTHER.telematics_unit_id}/up", report(other, sequence, central_lock="UNLOCKED"))
        await refused("bad_checksum", good[:-1] + bytes([good[-1] ^ 1]))
        assert teleloop.state(other["id"]) == state


def _all_refused(teleloop: GatewayProcess) -> float:
    lines = teleloop.call("GET", "/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("teleloop_refused_total{"))


async def test_wrong_secrets_and_brands_do_not_get_in(twin_brand: str, teleloop: GatewayProcess):
    added = teleloop.add(UNIT, DEV_KIT.id)
    before = teleloop.counted("teleloop_refused_total", reason="bad_credentials")
    attempts = [
        (str(UNIT), "wrong"),
        (f"{twin_brand}/{UNIT.telematics_unit_id}", added["credentials"]["password"]),
        ("CLOUDBOXX/0", "x"),
    ]
    for user, password in attempts:
        with pytest.raises(aiomqtt.MqttError):
            await _login(teleloop, user, password)
    await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="bad_credentials") >= before + len(attempts))
    await _login(teleloop, str(UNIT), added["credentials"]["password"])


async def _login(teleloop: GatewayProcess, user: str, password: str) -> None:
    host, port = teleloop.units_broker.removeprefix("mqtt://").rsplit(":", 1)
    async with aiomqtt.Client(host, int(port), username=user, password=password, identifier=user):
        pass


async def test_an_archived_vehicle_is_out_at_once(teleloop: GatewayProcess):
    added = teleloop.add(UNIT, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)
    with contextlib.suppress(aiomqtt.MqttError):
        async with unit.online():
            await until_acked(unit)
            assert teleloop.call("POST", f"/vehicles/{added['id']}/archive").status_code == 200
            state = teleloop.state(added["id"])
            await unit.say([report(added, unit.flash.sequence + 5, central_lock="UNLOCKED")])
            await asyncio.sleep(1)
    assert teleloop.state(added["id"]) == state
    assert teleloop.call("POST", f"/vehicles/{added['id']}/commands/request-vehicle-state").status_code == 409
    with pytest.raises(aiomqtt.MqttError):
        await _login(teleloop, str(UNIT), added["credentials"]["password"])


async def test_an_oversized_payload_is_refused_and_counted(teleloop: GatewayProcess):
    added = teleloop.add(UNIT, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)
    with contextlib.suppress(aiomqtt.MqttError):
        async with unit.online():
            await until_acked(unit)
            state = teleloop.state(added["id"])
            one = report(added, unit.flash.sequence + 5, central_lock="UNLOCKED")
            await unit.say([one * (66_000 // len(one))])
            await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="oversized") == 1)
            await unit.say([one * (90_000 // len(one))])
    await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="oversized") == 2)
    assert teleloop.state(added["id"]) == state


async def test_another_units_topic_is_refused_and_counted(teleloop: GatewayProcess):
    added, other = teleloop.add(UNIT, DEV_KIT.id), teleloop.add(OTHER, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)
    async with unit.online():
        await unit.publish(f"v1/CLOUDBOXX/{OTHER.telematics_unit_id}/up", report(other, 5, central_lock="UNLOCKED"))
        await eventually(lambda: teleloop.counted("teleloop_refused_total", reason="forbidden_topic") == 1)
    assert teleloop.state(other["id"]) == {}


async def test_unlock_reaches_the_vehicle_and_comes_back(teleloop: GatewayProcess, consumer: Consumer):
    added = teleloop.add(UNIT, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)
    async with unit.online():
        await until_acked(unit)
        assert unit.vehicle.locked
        answer = await asyncio.to_thread(teleloop.call, "POST", f"/vehicles/{added['id']}/commands/unlock-central-lock")
        assert answer.status_code == 200, answer.text
        assert answer.json()["central_lock"]["value"] == "UNLOCKED"
        assert not unit.vehicle.locked
        flow = answer.headers["X-INVERS-Flow-ID"]
        changed = await asyncio.to_thread(consumer.wait_for, lambda each: each.type == "CentralLockChanged")
        assert (changed.body["from"], changed.body["to"]) == ("LOCKED", "UNLOCKED")
        assert changed.headers["Flow-ID"] == flow
        recorded = [each for each in consumer.of(added["id"], "VehicleStateRecorded") if each.headers["Flow-ID"] == flow]
        assert recorded[0].body["vehicle_state"]["central_lock"]["value"] == "UNLOCKED"


async def test_a_command_that_comes_again_is_not_executed_again(teleloop: GatewayProcess):
    added = teleloop.add(UNIT, DEV_KIT.id)
    unit = LineUnit(added, teleloop.units_broker)
    path = f"/vehicles/{added['id']}/commands/draw-attention"
    async with unit.online():
        await until_acked(unit)
        for _ in range(2):
            answer = await asyncio.to_thread(teleloop.call, "POST", path, headers={"Idempotency-Key": "honk-once"})
            assert answer.status_code == 200, answer.text
        assert unit.vehicle.executed["draw-attention"] == 1
        command = next(payload for payload in unit.down if PROTOCOL.decode(payload).kind == "command")
        for _ in range(3):
            await unit.say(unit.unit.receive(command, unit_now()))
        assert unit.vehicle.executed["draw-attention"] == 1
        answer = await asyncio.to_thread(teleloop.call, "POST", path)
        assert answer.status_code == 200
        assert unit.vehicle.executed["draw-attention"] == 2


def unit_now() -> int:
    from lab.gateway import now_ms

    return now_ms()


async def test_commands_that_cannot_be_done_say_why(teleloop: GatewayProcess):
    added, scooter = teleloop.add(UNIT, DEV_KIT.id), teleloop.add(OTHER, SCOOTER.id)
    missing = teleloop.call("POST", f"/vehicles/{scooter['id']}/commands/unlock-central-lock")
    assert missing.status_code == 409
    unit = LineUnit(added, teleloop.units_broker)
    path = f"/vehicles/{added['id']}/commands/unlock-central-lock"
    async with unit.online():
        await until_acked(unit)
        unit.vehicle.driving_enabled = unit.vehicle.ignition = True
        answer = await asyncio.to_thread(teleloop.call, "POST", path)
        assert answer.status_code == 422, answer.text
        assert answer.json()["reason"] == "ignition_on"
        assert answer.json()["flow_id"] == answer.headers["X-INVERS-Flow-ID"]
        assert unit.vehicle.executed["unlock-central-lock"] == 0
    answer = await asyncio.to_thread(teleloop.call, "POST", path, params={"timeout": 1})
    assert answer.status_code in (503, 504)
    assert teleloop.call("POST", "/vehicles/ZZZZZ/commands/unlock-central-lock").status_code == 404


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.name} {model.start_of_production.year}")
async def test_the_gateways_state_is_the_vehicles_truth(model, shared_gateway: GatewayProcess):
    translation = model.units["CLOUDBOXX"]
    unit_id = UnitId("CLOUDBOXX", f"{MODELS.index(model):016X}")
    added = shared_gateway.add(unit_id, model.id)
    vehicle = Vehicle.of(model, "CLOUDBOXX", seed=MODELS.index(model))
    unit = LineUnit(added, shared_gateway.units_broker, vehicle=vehicle)
    async with unit.online():
        await until_acked(unit)
        state = shared_gateway.state(added["id"])
    truth = vehicle.state()
    assert state.keys() == truth.keys() == set(translation.state_keys)
    for key, value in truth.items():
        step = translation.resolution(key)
        if isinstance(value, dict):
            assert state[key] == pytest.approx(value, abs=step)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert state[key] == pytest.approx(value, abs=step or 1e-9), key
        else:
            assert state[key] == value, key
