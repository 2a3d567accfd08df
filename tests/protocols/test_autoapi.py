"""AutoAPI L13: outsiders' examples by value, our own messages, damage, several frames in one payload, commands in envelopes."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import envelope, load
from protocols.autoapi import PROTOCOL
from protocols.autoapi_capabilities import BY_NAME, CAPABILITIES
from protocols.autoapi_commands import NATIVE_COMMANDS, command_of, native, property_bytes, set_message, state_message
from protocols.autoapi_framing import HEADER_BYTES, walk
from protocols.autoapi_types import MEASUREMENTS, Keyed, Measure
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Peer, ProtocolError, Report

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT.parent / "shared" / "vectors" / "autoapi.jsonl"
OWN = json.loads((ROOT / "tests" / "vectors" / "autoapi.json").read_text())
UNIT = "WDD2050071R123456"
KEY = bytes(range(32))
FLIPS = 250
"""Bits flipped in one frame; a longer frame has some of its bits flipped."""
AT = 1_769_779_325_000

MISPRINTS: Mapping[str, Any] = {
    "multi_command.multi_commands": {"ignition": {"state": "off"}},
    "trips.average_electric_consumption": {"kwh_per_100_kilometers": 7.34},
}
"""Examples whose bytes say something else than their own text: property 03 of ignition is `state`, unit 00 of the energy
efficiency is kilowatt hours per 100 kilometers."""


def _outsiders() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OUTSIDERS.read_text().splitlines()] if OUTSIDERS.exists() else []


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['kind']}-{vector['hex'][:12]}"


def _same(said: Any, expected: Any) -> bool:
    match said, expected:
        case int(), str():
            return datetime.datetime.fromtimestamp(said / 1000, datetime.UTC) == datetime.datetime.fromisoformat(expected)
        case dict(), dict():
            return said.keys() == expected.keys() and all(_same(said[name], expected[name]) for name in expected)
        case bytes(), list():
            return list(said) == expected
    return bool(said == expected)


@pytest.mark.parametrize("vector", _outsiders(), ids=_name)
def test_every_outsiders_example_has_its_value(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["message_hex_derived"])
    frame = PROTOCOL.decode(data)
    (said,) = frame.facts["properties"]
    assert f"{frame.facts['capability']}.{said['name']}" == vector["kind"]
    assert _same(said["value"], MISPRINTS.get(vector["kind"], vector["expected"])), said["value"]
    assert PROTOCOL.encode(frame) == data
    assert [cut.data for cut in PROTOCOL.split(data)] == [data]


@pytest.mark.parametrize("vector", _outsiders(), ids=_name)
def test_signals_of_every_example_make_a_message_with_the_same_signals(vector: dict[str, Any]) -> None:
    for report in PROTOCOL.decode(bytes.fromhex(vector["message_hex_derived"])).reports:
        again = PROTOCOL.decode(state_message(report.signals)).reports[0]
        assert again.signals == {name: pytest.approx(value) for name, value in report.signals.items()}


@pytest.mark.parametrize("vector", OWN["frames"], ids=lambda vector: vector["name"])
def test_our_own_messages_mean_what_they_say(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    frame = PROTOCOL.decode(data)
    assert (frame.kind, frame.unit, frame.captured_at) == (vector["kind"], vector["unit"], vector["captured_at"])
    assert [{"captured_at": report.captured_at, "signals": report.signals} for report in frame.reports] == vector["reports"]
    assert PROTOCOL.encode(frame) == data
    assert [(cut.data, cut.error) for cut in PROTOCOL.split(data)] == [(data, None)]


@pytest.mark.parametrize("vector", OWN["refused"], ids=lambda vector: vector["name"])
def test_what_is_no_message_is_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as refused:
        PROTOCOL.decode(bytes.fromhex(vector["hex"]))
    assert (refused.value.reason, refused.value.offset, refused.value.field) == (
        vector["reason"],
        vector["offset"],
        vector["field"],
    )


def _frames() -> list[bytes]:
    return [bytes.fromhex(vector["hex"]) for vector in OWN["frames"]]


def _no_other_error(data: bytes) -> Frame | None:
    try:
        frame = PROTOCOL.decode(data, Peer(UNIT))
    except ProtocolError:
        return None
    assert PROTOCOL.encode(frame) == data
    return frame


@pytest.mark.parametrize("data", _frames(), ids=lambda data: data[:8].hex())
def test_every_prefix_is_refused_or_ends_where_a_property_ends(data: bytes) -> None:
    ends = {HEADER_BYTES, len(data)}
    if data[3] == 1:
        ends |= {walk(data[:size], HEADER_BYTES)[0] for size in range(HEADER_BYTES, len(data))}
    else:
        ends |= set(range(HEADER_BYTES, len(data)))
    for size in range(len(data)):
        if size in ends:
            assert PROTOCOL.decode(data[:size])
        else:
            with pytest.raises(ProtocolError):
                PROTOCOL.decode(data[:size])


@pytest.mark.parametrize("data", _frames(), ids=lambda data: data[:8].hex())
def test_a_flipped_bit_is_refused_or_said_back_unchanged(data: bytes) -> None:
    every = 1 + len(data) * 8 // FLIPS
    for number in range(0, len(data) * 8, every):
        place, bit = divmod(number, 8)
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        _no_other_error(bytes(damaged))
        assert b"".join(cut.data for cut in PROTOCOL.split(bytes(damaged))) == damaged


def test_outsiders_examples_cut_and_flipped_raise_nothing_else() -> None:
    for number, vector in enumerate(_outsiders()):
        data = bytes.fromhex(vector["message_hex_derived"])
        for size in range(number % 4, len(data), 4):
            _no_other_error(data[:size])
        for place in range(number % 5, len(data), 5):
            _no_other_error(data[:place] + bytes([data[place] ^ (1 << number % 8)]) + data[place + 1 :])


# --- identity and repetition


def _state(vin: str | None = UNIT, at: int | None = AT, **said: Any) -> bytes:
    return state_message({"doors.locks_state": "locked", **said}, vin, at)


def test_another_vehicles_vin_is_an_identity_mismatch_where_the_vin_stands() -> None:
    data = _state()
    assert PROTOCOL.decode(data, Peer(UNIT)).unit == UNIT
    with pytest.raises(ProtocolError) as refused:
        PROTOCOL.decode(data, Peer("WDD2050071R999999"))
    assert (refused.value.reason, data[refused.value.offset]) == ("identity_mismatch", 0xA3)


def test_the_vin_of_a_message_in_a_message_counts_too() -> None:
    outer = set_message(0x11, [property_bytes(0x99, _state("WDD2050071R999999"))])
    with pytest.raises(ProtocolError, match="identity_mismatch"):
        PROTOCOL.decode(outer, Peer(UNIT))


def test_a_message_without_vin_or_time_says_neither() -> None:
    frame = PROTOCOL.decode(_state(None, None), Peer(UNIT))
    assert (frame.unit, frame.captured_at, frame.reports[0].captured_at) == (None, None, None)


def test_a_repetition_with_a_new_nonce_is_the_same_record_and_another_time_is_not() -> None:
    first = _state()
    nonce = property_bytes(0xA0, bytes(9))["components"][0]["data"]
    again = first + b"\xa0\x00\x0c\x01\x00\x09" + nonce
    later = _state(at=AT + 1)
    records = [PROTOCOL.decode(data).reports[0].record for data in (first, again, later)]
    assert records[0] == records[1] != records[2]


# --- several frames in one payload


def _sealed(response: bool = True) -> bytes:
    request = envelope.Envelope(envelope.Type.REQUEST, 1, 7, 1_795_446_000, envelope.NATIVE_COMMAND, native("lock-central-lock"))
    return envelope.close(request.response(envelope.Result.OK) if response else request, UNIT, KEY)


def test_a_result_and_the_state_after_it_come_in_one_payload() -> None:
    payload = _sealed() + _state() + _state(at=AT + 1)
    kinds = [(cut.offset, PROTOCOL.decode(cut.data, Peer(UNIT)).kind) for cut in PROTOCOL.split(payload)]
    assert kinds == [(0, "result"), (len(_sealed()), "state"), (len(_sealed()) + len(_state()), "state")]
    swapped = list(PROTOCOL.split(_state() + _sealed()))
    assert [PROTOCOL.decode(cut.data).kind for cut in swapped] == ["state", "result"]


def test_property_0d_is_no_new_message() -> None:
    data = state_message({"diagnostics.odometer": 12.5, "diagnostics.distance_since_reset": 7.0}, UNIT, AT)
    assert [cut.data for cut in PROTOCOL.split(data)] == [data]


def test_behind_garbage_the_next_message_is_found() -> None:
    payload = b"\xff\xfe\x0d\x00" + _state()
    garbage, found = PROTOCOL.split(payload)
    assert garbage.error is not None
    assert garbage.error.reason == "bad_sync"
    assert (found.data, found.error) == (_state(), None)


def test_a_truncated_message_is_one_cut_with_its_error() -> None:
    (cut,) = PROTOCOL.split(_state()[:-1])
    assert cut.error is not None
    assert cut.error.reason == "truncated"


@pytest.mark.parametrize("filling", [b"\xff", b"\x0d", b"\x01", b"\xff\x0d\x00\x20\x01\x06\x00\x04\x01"])
def test_the_longest_garbage_is_a_cut_or_two(filling: bytes) -> None:
    payload = (filling * PAYLOAD_LIMIT_BYTES)[:PAYLOAD_LIMIT_BYTES]
    found = list(PROTOCOL.split(payload))
    assert b"".join(cut.data for cut in found) == payload
    assert len(found) <= 2
    assert found[-1].error is not None


def test_longer_than_a_payload_may_be_is_oversized() -> None:
    with pytest.raises(ProtocolError, match="oversized"):
        PROTOCOL.decode(_state() + bytes(PAYLOAD_LIMIT_BYTES))


# --- commands


def test_the_down_frame_is_the_envelope_and_its_native_command_is_understood() -> None:
    down = PROTOCOL.carry(UNIT, _sealed(response=False), AT, KEY)
    frame = PROTOCOL.decode(down)
    assert (frame.kind, PROTOCOL.encode(frame)) == ("command", down)
    opened = envelope.open(frame.facts["envelope"], UNIT, {1: KEY})
    assert (opened.command, command_of(opened.parameters)) == (envelope.NATIVE_COMMAND, "lock-central-lock")


@pytest.mark.parametrize("command", sorted(envelope.COMMAND_CODES))
def test_each_command_has_a_native_message_or_is_unsupported(command: str) -> None:
    if "top-case" in command or "battery" in command:
        with pytest.raises(ProtocolError, match="unsupported"):
            native(command)
        return
    assert command_of(native(command)) == command
    assert len(native(command)) <= envelope.PARAMETERS_LIMIT_BYTES
    PROTOCOL.decode(native(command))


def test_lock_and_unlock_are_the_standards_own_bytes() -> None:
    assert native("lock-central-lock").hex() == "0d00200106000401000101"
    assert native("unlock-central-lock").hex() == "0d00200106000401000100"


def test_a_command_with_vin_and_time_is_the_same_command_and_a_foreign_message_is_none() -> None:
    assert command_of(_state()) == "lock-central-lock"
    assert len({native(command) for command in NATIVE_COMMANDS}) == len(NATIVE_COMMANDS)
    with pytest.raises(ProtocolError, match="unsupported"):
        command_of(state_message({"trunk.lock": "locked"}))


# --- declarations


def test_the_protocol_is_found_by_its_name() -> None:
    assert load()["autoapi"] is PROTOCOL
    assert (PROTOCOL.sealed, PROTOCOL.acknowledgement) == (False, "none")


def test_every_property_has_one_name_and_every_keyed_value_a_key() -> None:
    assert len(BY_NAME) == len(CAPABILITIES)
    for declared in CAPABILITIES.values():
        found = [known.name for known in declared.properties.values()]
        assert len(set(found)) == len(found), declared.name
        for known in declared.properties.values():
            assert not any("." in word for word in (declared.name, known.name))
            assert not isinstance(known.form, Keyed) or len(known.form.subcons) > 1


@pytest.mark.parametrize("measurement", sorted(MEASUREMENTS))
def test_every_unit_converts_there_and_back(measurement: str) -> None:
    units = MEASUREMENTS[measurement][1]
    for source in units:
        for target in units:
            there = Measure(measurement, target).signal({source: 42.0})
            assert there is not None
            assert Measure(measurement, source).signal({target: there}) == pytest.approx(42.0)


@pytest.mark.parametrize(
    ("said", "unit", "expected"),
    [
        ({"fahrenheit": 212.0}, Measure("temperature", "celsius"), 100.0),
        ({"miles": 1.0}, Measure("length", "kilometers"), 1.609344),
        ({"miles_per_gallon": 47.0}, Measure("fuel_efficiency", "liters_per_100_kilometers"), 5.00456),
        ({"meters_per_second": 10.0}, Measure("speed", "kilometers_per_hour"), 36.0),
        ({"kilopascals": 230.0}, Measure("pressure", "bars"), 2.3),
    ],
)
def test_signals_are_in_the_declared_unit(said: dict[str, float], unit: Measure, expected: float) -> None:
    assert unit.signal(said) == pytest.approx(expected, rel=1e-5)


def test_an_undeclared_signal_cannot_be_said() -> None:
    for name in ("doors.wings", "spoilers.position", "doors", "vehicle_location.coordinates.latitude"):
        with pytest.raises(ProtocolError, match="malformed"):
            PROTOCOL.encode(Frame("state", UNIT, captured_at=AT, reports=(Report(b"", AT, {name: 1.0}),)))


# --- noise


@st.composite
def _noise(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_frames())))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from("scid")):
            case "s" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "c":
                del data[place:]
            case "i":
                data[place:place] = draw(st.binary(max_size=8))
            case "d":
                del data[place : place + draw(st.integers(1, 8))]
    return bytes(data)


def _survives(data: bytes) -> None:
    _no_other_error(data)
    cuts = list(PROTOCOL.split(data))
    assert b"".join(cut.data for cut in cuts) == data
    for cut in cuts:
        _no_other_error(cut.data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(_noise(), st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: b"\x0d\x00\x33\x01" + tail)))
def test_noise_raises_nothing_but_protocol_errors(data: bytes) -> None:
    _survives(data)
