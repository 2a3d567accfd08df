"""What a telegram becomes: every frame its own outcome, the same ids for what comes again, no false change."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.memory import Memory
from lab.units import CLOUDBOXX, KEYS, MODEL, NOW, UNIT, VEHICLE, frame, hear, other
from protocols import envelope
from protocols.checksums import crc16_ccitt_false
from protocols.codec import PAYLOAD_LIMIT_BYTES, UnitId
from protocols.envelope import Envelope, Result, Type
from protocols.keys import brand_key, unit_keys
from protocols.seal import seal


def types(receipt):
    return [event.type for event in receipt.events]


def reasons(receipt):
    return [refusal.reason for refusal in receipt.refused]


def test_a_report_becomes_one_event_with_the_whole_state():
    receipt = hear(frame(1, central_lock="LOCKED", position={"lat": 50.7, "lon": 7.1}))
    assert types(receipt) == ["VehicleStateRecorded"]
    body = receipt.events[0].body
    assert body["vehicle_state"]["central_lock"] == {"timestamp": "2026-11-23T15:00:00Z", "value": "LOCKED"}
    assert body["vehicle_state"] == body["changed"]
    assert body["late"] is False
    assert receipt.accepted == receipt.acknowledged == 1


def test_a_change_is_told_once_with_where_it_happened():
    first = hear(frame(1, central_lock="LOCKED", position={"lat": 50.7, "lon": 7.1}))
    second = hear(frame(2, central_lock="UNLOCKED"), first.memory)
    assert types(second) == ["VehicleStateRecorded", "CentralLockChanged"]
    assert second.events[1].body["from"] == "LOCKED"
    assert second.events[1].body["to"] == "UNLOCKED"
    assert second.events[1].body["position"] == pytest.approx({"lat": 50.7, "lon": 7.1})
    assert types(hear(frame(3, central_lock="UNLOCKED"), second.memory)) == ["VehicleStateRecorded"]


def test_a_frame_that_comes_again_is_acked_again_and_changes_nothing():
    payload = frame(1, central_lock="LOCKED")
    first = hear(payload)
    again = hear(payload, first.memory, at=NOW + 86_400_000)
    assert (again.events, again.refused) == ([], [])
    assert (again.repeated, again.acknowledged, again.accepted) == (1, 1, 0)
    assert again.memory == first.memory


def test_a_number_that_comes_again_with_a_later_report_is_contested_and_a_resend_is_not():
    before = hear(frame(2, at=NOW, central_lock="LOCKED"), hear(frame(1, at=NOW - 5_000, central_lock="LOCKED")).memory).memory
    copy = hear(frame(1, at=NOW + 1_000, central_lock="UNLOCKED"), before, at=NOW + 2_000)
    assert (copy.contested, copy.repeated, copy.events, copy.memory) == (1, 1, [], before)
    for resend in (frame(1, at=NOW - 5_000, central_lock="LOCKED"), frame(2, at=NOW, central_lock="LOCKED")):
        assert hear(resend, before, at=NOW + 60_000).contested == 0
    gone_wrong = frame(1, at=NOW + 86_400_000, central_lock="LOCKED")
    assert hear(gone_wrong, before).contested == 0, "a clock that is a day ahead is no second unit"


def test_a_resend_to_a_gateway_that_forgot_has_the_same_ids():
    before = hear(frame(1, central_lock="LOCKED")).memory
    payload = frame(2, central_lock="UNLOCKED")
    assert [event.id for event in hear(payload, before).events] == [event.id for event in hear(payload, before).events]
    assert len({event.id for event in hear(payload, before).events}) == 2


def test_two_vehicles_never_share_an_id():
    twin = dataclasses.replace(VEHICLE, vehicle_id="Z9Y8X")
    payload = frame(1, central_lock="LOCKED")
    assert hear(payload).events[0].id != hear(payload, vehicle=twin).events[0].id


def test_a_late_report_is_recorded_but_turns_nothing_back():
    newest = hear(frame(9, central_lock="UNLOCKED", ignition="ON")).memory
    late = hear(frame(4, central_lock="LOCKED"), newest)
    assert types(late) == ["VehicleStateRecorded"]
    assert late.events[0].body["late"] is True
    assert late.events[0].body["changed"]["central_lock"]["value"] == "LOCKED"
    assert late.memory.state["central_lock"].value == "UNLOCKED"
    assert late.late == 1


@settings(deadline=None)
@given(order=st.permutations(list(range(1, 33))), repeats=st.integers(1, 3), start=st.sampled_from([0, 5000, 2**32 - 16]))
def test_order_and_repetition_are_harmless(order, repeats, start):
    draw = random.Random(7)
    reports = [
        frame((start + n) % 2**32, oldest=(start + 1) % 2**32, central_lock=draw.choice(["LOCKED", "UNLOCKED"]), ignition="OFF")
        for n in range(1, 33)
    ]
    memory, ids = Memory(), []
    for position in order:
        for _ in range(repeats):
            receipt = hear(reports[position - 1], memory)
            memory = receipt.memory
            ids += [event.id for event in receipt.events if event.type == "VehicleStateRecorded"]
    assert len(ids) == len(set(ids)) == 32
    assert memory.window.cumulative == (start + 32) % 2**32
    newest = MODEL.units["CLOUDBOXX"].translate(CLOUDBOXX.decode(reports[-1]).reports[0].signals)
    assert {key: said.value for key, said in memory.state.items()} == newest


def test_each_frame_of_a_payload_has_its_own_outcome():
    broken = bytearray(frame(2, central_lock="LOCKED"))
    broken[-1] ^= 1
    receipt = hear(frame(1, central_lock="LOCKED") + bytes(broken) + frame(3, central_lock="UNLOCKED"))
    assert reasons(receipt) == ["bad_checksum"]
    assert receipt.accepted == 2
    assert not receipt.memory.window.holds(2)


def test_every_flipped_bit_is_refused_and_changes_nothing():
    memory = hear(frame(1, central_lock="LOCKED")).memory
    payload = frame(2, central_lock="UNLOCKED")
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        receipt = hear(bytes(flipped), memory)
        assert (receipt.events, receipt.acknowledged, receipt.memory) == ([], 0, memory)
        assert receipt.refused


def test_a_forgery_with_a_right_crc_is_refused_as_one():
    sealed = frame(2, central_lock="UNLOCKED")[:-10] + bytes(8)
    receipt = hear(sealed + crc16_ccitt_false(sealed).to_bytes(2, "little"))
    assert (reasons(receipt), receipt.events, receipt.acknowledged) == (["forged"], [], 0)


@pytest.mark.parametrize(
    ("reason", "heard"),
    [
        ("unknown_unit", lambda payload: hear(payload, vehicle=None)),
        ("archived", lambda payload: hear(payload, vehicle=dataclasses.replace(VEHICLE, archived=True))),
        ("oversized", lambda payload: hear(payload * (PAYLOAD_LIMIT_BYTES // len(payload) + 1))),
        ("identity_mismatch", lambda payload: hear(payload, unit=UnitId("CLOUDBOXX", "FEDCBA9876543210"))),
        ("forged", lambda payload: hear(payload, keys=(unit_keys(brand_key(bytes(32), "OTHER"), 1, UNIT[1]),))),
        ("truncated", lambda payload: hear(payload[:-1])),
    ],
)
def test_who_may_not_speak_is_refused_by_name(reason, heard):
    receipt = heard(frame(1, central_lock="LOCKED"))
    assert (reasons(receipt), receipt.events, receipt.acknowledged) == ([reason], [], 0)
    assert receipt.memory == Memory()


def test_what_is_sealed_but_not_understood_does_not_block_the_rest():
    poison = bytearray(frame(2, central_lock="LOCKED"))
    poison[31] |= 0x80
    sealed = bytes(poison[:-10])
    sealed += seal(sealed, KEYS.seal)
    poisoned = sealed + crc16_ccitt_false(sealed).to_bytes(2, "little")
    receipt = hear(frame(1, central_lock="LOCKED") + poisoned + frame(3, central_lock="LOCKED"))
    assert reasons(receipt) == ["unsupported"]
    assert receipt.memory.window.cumulative == 3


def test_a_reflected_downlink_frame_is_refused():
    ack = CLOUDBOXX.acknowledge(UNIT.telematics_unit_id, 5, 0, NOW, KEYS.seal)
    receipt = hear(ack)
    assert (reasons(receipt), receipt.memory.window.cumulative) == (["forged"], 0)


def test_forgotten_frames_are_waited_for_no_longer():
    memory = hear(frame(1, central_lock="LOCKED")).memory
    receipt = hear(frame(500, oldest=400, central_lock="LOCKED"), memory)
    assert receipt.memory.window.cumulative == 399
    assert receipt.memory.window.holds(500)


def test_a_clock_that_stands_in_2080_freezes_nothing():
    future = 3_471_292_800_000
    ahead = hear(frame(1, at=future, central_lock="LOCKED"))
    assert ahead.events[0].occurred_at == NOW + 600_000
    after = hear(frame(2, central_lock="UNLOCKED"), ahead.memory)
    assert after.memory.state["central_lock"].value == "UNLOCKED"
    assert types(after) == ["VehicleStateRecorded", "CentralLockChanged"]


def result(counter: int = 42, code: Result = Result.OK, keys=KEYS) -> bytes:
    request = Envelope(Type.REQUEST, keys.generation, counter, NOW // 1000, 0x0101)
    return envelope.close(request.response(code), UNIT.telematics_unit_id, keys.command)


def test_the_state_that_a_command_causes_carries_its_flow_id():
    payload = other("result", 1, {"envelope": result(42)}) + frame(2, central_lock="UNLOCKED")
    receipt = hear(payload, flows={42: "flow-of-the-command"})
    assert [answer.counter for answer in receipt.results] == [42]
    assert {event.flow_id for event in receipt.events} == {"flow-of-the-command"}


def test_a_forged_result_is_refused_and_nobody_is_told():
    request = envelope.close(Envelope(Type.REQUEST, 1, 42, NOW // 1000, 0x0101), UNIT.telematics_unit_id, KEYS.command)
    for forged in (request, result(keys=unit_keys(bytes(32), 1, "A"))):
        receipt = hear(other("result", 1, {"envelope": forged}))
        assert (reasons(receipt), receipt.results) == (["forged"], [])


def test_hello_tells_the_firmware_and_asks_for_the_time():
    facts = {
        "flags": 4,
        "firmware": {"major": 3, "minor": 1, "patch": 4},
        "hardware": 1,
        "model_configuration": 0,
        "features": 0,
        "iccid": "",
        "reset_cause": 0,
        "oldest_sequence": 7,
    }
    receipt = hear(other("hello", 9, facts))
    assert receipt.memory.firmware == "3.1.4"
    assert receipt.wants_time
    assert receipt.memory.window.cumulative == 6


def test_either_key_generation_is_heard_and_remembered():
    newer = unit_keys(brand_key(bytes(32), "CLOUDBOXX"), 2, UNIT.telematics_unit_id)
    assert hear(frame(1, central_lock="LOCKED"), keys=(newer, KEYS)).memory.generation == 1
    assert hear(frame(1, keys=newer, central_lock="LOCKED"), keys=(newer, KEYS)).memory.generation == 2
