"""GB/T 32960.3: outsiders' frames, our own frames, and the traps between the standard and what units send."""

import json
import operator
import re
import time
from collections.abc import Iterator
from functools import reduce
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocols import envelope, load
from protocols.checksums import bcc
from protocols.codec import Frame, Peer, ProtocolError
from protocols.gbt32960 import ERROR, OK, PROTOCOL, TIME_SYNC, time_fields, unix_ms
from protocols.gbt32960_framing import DATA_UNIT_LIMIT_BYTES, FRAME_LIMIT_BYTES, FRAMING
from protocols.gbt32960_items import ITEMS
from protocols.gbt32960_session import heartbeat, items, login, logout, reissued, report, result, time_sync
from protocols.gbt32960_signals import EXTENSION_MAGIC, EXTENSION_SIGNALS, EXTENSION_SIZE_BYTES, MOVED_2025, SIZES, signals
from protocols.stream import Framer

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT.parent / "shared" / "vectors" / "gb32960.jsonl"
OWN = json.loads((ROOT / "tests" / "vectors" / "gbt32960.json").read_text())
VIN = "LTELE00P0N0000017"
AT = 1_769_779_325_000
CARRIED = (
    "232382fe5756575a5a5a314b5a415730303030303101002b1a0b17120000800101010100000000000000076b0454f001010000"
    "f0b2265c98436020da7d63bb650775fc02"
)
RESPONSE = bytes.fromhex("0101010200000000000000076b0454f001010001002f7fc3cfdd5bbc5b44efe1c1098c5e4b")


def _outsiders() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OUTSIDERS.read_text().splitlines()] if OUTSIDERS.exists() else []


def _name(vector: dict[str, Any]) -> str:
    return vector.get("name") or f"{vector['kind']}-{vector['hex'][-8:]}"


CONFORMANT = [vector for vector in _outsiders() if vector["conformant"]]
NEGATIVE = [vector for vector in _outsiders() if not vector["conformant"]]
OWN_GOOD = [vector for vector in OWN if "kind" in vector]
EVERY_FRAME = [bytes.fromhex(vector["hex"]) for vector in (*_outsiders(), *OWN)]
GOOD_FRAMES = [bytes.fromhex(vector["hex"]) for vector in (*CONFORMANT, *OWN_GOOD)]


def _try(data: bytes) -> Frame | ProtocolError:
    try:
        return PROTOCOL.decode(data)
    except ProtocolError as error:
        return error


def _refusal(data: bytes, peer: Peer | None = None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        PROTOCOL.decode(data, peer)
    return caught.value


def _checked(data: bytes) -> bytes:
    return data[:-1] + bytes([bcc(data[2:-1])])


def _framed(command: int, unit: bytes, flag: int = 0xFE, start: bytes = b"##") -> bytes:
    return _checked(start + bytes([command, flag]) + VIN.encode() + b"\1" + len(unit).to_bytes(2, "big") + unit + b"\0")


def _signals(data: bytes) -> dict[str, Any]:
    (found,) = PROTOCOL.decode(data).reports
    return dict(found.signals)


def test_it_is_found_by_its_name() -> None:
    assert load()["gbt32960"] is PROTOCOL


# outsiders' frames

UNITS = {"speed_kmh": 10, "odo_km": 10, "volt": 10, "lon": 1_000_000, "lat": 1_000_000, "vmax": 1000, "vmin": 1000}
OFFSETS = {"ctrl_temp": 40, "temp": 40, "tmax": 40, "tmin": 40, "rpm": 20_000}
NAMES = {
    "vehicle": {
        "state": "vehicle_state",
        "charge": "charge_state",
        "mode": "run_mode",
        "speed_kmh": "speed",
        "odo_km": "odometer",
        "volt": "total_voltage",
        "curr": "total_current",
        "soc": "soc",
        "dcdc": "dcdc_state",
        "gear": "gear",
        "insul_kohm": "insulation_resistance",
        "accel": "accelerator",
        "brake": "brake",
    },
    "motors": {
        "state": "state",
        "ctrl_temp": "controller_temperature",
        "rpm": "speed",
        "torque": "torque",
        "temp": "temperature",
        "volt": "controller_voltage",
        "curr": "controller_current",
    },
    "position": {"state": "position_status", "lon": "longitude", "lat": "latitude"},
    "extremes": {
        "vmax_sys": "highest_voltage_system",
        "vmax_cell": "highest_voltage_cell",
        "vmax": "highest_cell_voltage",
        "vmin_sys": "lowest_voltage_system",
        "vmin_cell": "lowest_voltage_cell",
        "vmin": "lowest_cell_voltage",
        "tmax_sys": "highest_temperature_system",
        "tmax_probe": "highest_temperature_probe",
        "tmax": "highest_temperature",
        "tmin_sys": "lowest_temperature_system",
        "tmin_probe": "lowest_temperature_probe",
        "tmin": "lowest_temperature",
    },
    "alarms": {"level": "alarm_level", "flags": "alarm_flags"},
    "cell_volts": {"volt": "voltage", "curr": "current", "total": "cells", "first": "first_cell"},
}
LISTS = {"motors": "motor", "cell_volts": "battery", "probe_temps": "battery"}


def _raw(key: str, value: float) -> int:
    if key == "curr":
        return round((value + 1000) * 10)
    if key == "torque":
        return round((value + 2000) * 10)
    return round(value * UNITS.get(key, 1)) + OFFSETS.get(key, 0)


def _second_opinion(item: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    kind = item["type"]
    if kind == "custom":
        yield f"custom_{item['type_id']:02x}", bytes.fromhex(item["hex"])
        return
    for row in item.get("list", [item]):
        prefix = f"{LISTS[kind]}_{row['idx']}_" if "idx" in row else ""
        if "cells" in row:
            yield f"{prefix}cell_voltages", tuple(round(volts * 1000) for volts in row["cells"])
        if "temps" in row:
            yield f"{prefix}temperatures", tuple(temperature + 40 for temperature in row["temps"])
        for key, name in NAMES.get(kind, {}).items():
            yield prefix + name, _raw(key, row[key])


@pytest.mark.parametrize("vector", [v for v in CONFORMANT if "items" in (v["ref_decode"] or {})], ids=_name)
def test_outsiders_reports_mean_what_an_independent_parser_says(vector: dict[str, Any]) -> None:
    frame, said = PROTOCOL.decode(bytes.fromhex(vector["hex"])), vector["ref_decode"]
    expected = {name: value for item in said["items"] for name, value in _second_opinion(item)}
    found = dict(frame.reports[0].signals)
    flags = {"driving_force", "braking_force", "battery_faults", "motor_faults", "engine_faults", "other_faults"}
    assert {name: found[name] for name in found.keys() - flags} == expected


@pytest.mark.parametrize("vector", CONFORMANT, ids=_name)
def test_outsiders_headers_mean_what_an_independent_parser_says(vector: dict[str, Any]) -> None:
    frame, said = PROTOCOL.decode(bytes.fromhex(vector["hex"])), vector["ref_decode"]
    facts = frame.facts
    assert frame.unit == said["vin"].rstrip("\0")
    assert (facts["edition"], facts["command"], facts["flag"], facts["encryption"]) == (
        said["version"],
        said["cmd"],
        said["ack"],
        said["enc"],
    )
    assert said.get("seq") in (None, facts["body"].get("sequence"))


JSON_NAMES = {
    "Accelerator": ("accelerator", 1),
    "Brakes": ("brake", 1),
    "CarStatus": ("vehicle_state", 1),
    "ChargeStatus": ("charge_state", 1),
    "OperationMode": ("run_mode", 1),
    "Resistance": ("insulation_resistance", 1),
    "SOC": ("soc", 1),
    "Speed": ("speed", 1),
    "Stall": ("gear", 1),
    "TotalDis": ("odometer", 1),
    "TotalTemp": ("total_current", 1),
    "TotalVoltage": ("total_voltage", 1),
    "DCStatus": ("fuel_cell_dcdc_state", 3),
    "FuelBatteryCurrent": ("fuel_cell_current", 3),
    "FuelBatteryVoltage": ("fuel_cell_voltage", 3),
    "FuelConsumptionRate": ("fuel_consumption_rate", 3),
    "TemperatureProbeCount": ("temperatures_count", 9),
    "HydrogenSystemMaxConcentrations": ("hydrogen_concentration", 3),
    "HydrogenSystemMaxConcentrationsNo": ("hydrogen_concentration_sensor", 3),
    "HydrogenSystemMaxPressure": ("hydrogen_pressure", 3),
    "HydrogenSystemMaxPressureNo": ("hydrogen_pressure_sensor", 3),
    "HydrogenSystemMaxTemp": ("hydrogen_temperature", 3),
    "HydrogenSystemMaxTempNo": ("hydrogen_temperature_probe", 3),
    "EngineStatus": ("engine_state", 4),
    "FuelRate": ("engine_consumption", 4),
    "Revs": ("engine_speed", 4),
    "Lat": ("latitude", 5),
    "Lng": ("longitude", 5),
    "PositioStatus": ("position_status", 5),
    "MaxVoltageBatteryAssemblyNo": ("highest_voltage_system", 6),
    "MaxVoltageSingleBatteryNo": ("highest_voltage_cell", 6),
    "MaxVoltageSingleBatteryValue": ("highest_cell_voltage", 6),
    "MinVoltageBatteryAssemblyNo": ("lowest_voltage_system", 6),
    "MinVoltageSingleBatteryNo": ("lowest_voltage_cell", 6),
    "MinVoltageSingleBatteryValue": ("lowest_cell_voltage", 6),
    # the source has system and probe the other way round than table 16 of the standard
    "MaxTempBatteryAssemblyNo": ("highest_temperature_probe", 6),
    "MaxTempProbeBatteryNo": ("highest_temperature_system", 6),
    "MaxTempProbeBatteryValue": ("highest_temperature", 6),
    "MinTempProbeBatteryNo": ("lowest_temperature_system", 6),
    "MinTempProbeBatteryValue": ("lowest_temperature", 6),
    "AlarmLevel": ("alarm_level", 7),
    "AlarmBatteryOthers.Count": ("battery_faults_count", 7),
    "AlarmEls.Count": ("motor_faults_count", 7),
    "AlarmEngines.Count": ("engine_faults_count", 7),
    "AlarmOthers.Count": ("other_faults_count", 7),
    "ElectricalCount": ("motors_count", 2),
    "ElControlTemp": ("controller_temperature", 2),
    "ElCurrent": ("controller_current", 2),
    "ElNo": ("index", 2),
    "ElSpeed": ("speed", 2),
    "ElStatus": ("state", 2),
    "ElTemp": ("temperature", 2),
    "ElTorque": ("torque", 2),
    "ElVoltage": ("controller_voltage", 2),
    "BatteryAssemblyCount": ("batteries_count", 8),
    "BatteryAssemblyCurrent": ("current", 8),
    "BatteryAssemblyVoltage": ("voltage", 8),
    "SingleBatteryCount": ("cells", 8),
    "ThisSingleBatteryBeginNo": ("first_cell", 8),
    "ThisSingleBatteryBeginCount": ("cell_voltages_count", 8),
    "BatteryTemperatureCount": ("batteries_count", 9),
}


@pytest.mark.parametrize(
    "vector", [v for v in CONFORMANT if "Speed" in (v["expected"] or {}).get("csharp_asserts", {})], ids=_name
)
def test_an_answer_that_gives_back_the_items_without_their_time(vector: dict[str, Any]) -> None:
    frame = PROTOCOL.decode(bytes.fromhex(vector["hex"]))
    assert (frame.kind, frame.captured_at, frame.reports) == ("answer", None, ())
    bodies = {item["type"]: item["body"] for item in frame.facts["body"]["items"]}
    for key, value in vector["expected"]["csharp_asserts"].items():
        if key not in JSON_NAMES:
            continue
        name, kind = JSON_NAMES[key]
        body = bodies[kind]
        rows = [body, *body.get("motors", []), *body.get("batteries", [])]
        assert value in [row.get(name) for row in rows], key


@pytest.mark.parametrize("vector", [v for v in CONFORMANT if "resBuf" in (v["expected"] or {})], ids=_name)
def test_outsiders_frames_are_answered_as_their_servers_do(vector: dict[str, Any]) -> None:
    frame, expected = PROTOCOL.decode(bytes.fromhex(vector["hex"])), vector["expected"]["resBuf"]
    if frame.kind == "time_sync":
        assert PROTOCOL.synchronise(frame.unit or "", AT, b"").hex().startswith(expected.removeprefix("re:"))
        return
    answer = PROTOCOL.answer(frame, len(frame.reports))
    assert answer is not None
    assert answer.hex() == expected


@pytest.mark.parametrize("vector", NEGATIVE, ids=_name)
def test_outsiders_broken_frames_are_refused_for_what_is_wrong(vector: dict[str, Any]) -> None:
    error = _refusal(bytes.fromhex(vector["hex"]))
    assert (error.reason, error.field) == ("bad_length", "items.body.content")


# our own frames


@pytest.mark.parametrize("vector", OWN_GOOD, ids=_name)
def test_own_frames_decode_as_stated(vector: dict[str, Any]) -> None:
    frame = PROTOCOL.decode(bytes.fromhex(vector["hex"]))
    assert frame.kind == vector["kind"]
    assert frame.unit == vector.get("unit", frame.unit)
    assert frame.captured_at == vector.get("captured_at", frame.captured_at)
    assert {name: frame.facts[name] for name in vector.get("facts", {})} == vector.get("facts", {})
    for found, stated in zip(frame.reports, vector.get("reports", ()), strict="reports" in vector):
        assert found.captured_at == stated["captured_at"]
        plain = {name: {"bytes": v.hex()} if isinstance(v, bytes) else v for name, v in found.signals.items()}
        assert json.loads(json.dumps(plain)) == stated["signals"]


@pytest.mark.parametrize("vector", [vector for vector in OWN if "answer" in vector], ids=_name)
def test_own_frames_are_answered_as_stated(vector: dict[str, Any]) -> None:
    frame = PROTOCOL.decode(bytes.fromhex(vector["hex"]))
    answer = PROTOCOL.answer(frame, len(frame.reports))
    assert (answer and answer.hex()) == vector["answer"]


@pytest.mark.parametrize("vector", [vector for vector in OWN if "refused" in vector], ids=_name)
def test_own_broken_frames_are_refused_where_they_are_wrong(vector: dict[str, Any]) -> None:
    error = _refusal(bytes.fromhex(vector["hex"]))
    assert error.reason == vector["refused"]
    assert vector["offset"] in (None, error.offset)
    assert error.offset <= len(vector["hex"]) // 2


@pytest.mark.parametrize("data", GOOD_FRAMES, ids=lambda data: data.hex()[-12:])
def test_building_what_was_parsed_gives_the_frame_back(data: bytes) -> None:
    assert PROTOCOL.encode(PROTOCOL.decode(data)) == data


# nothing but ProtocolError


@pytest.mark.parametrize("data", GOOD_FRAMES, ids=lambda data: data.hex()[-12:])
def test_every_prefix_is_refused(data: bytes) -> None:
    for size in range(len(data)):
        assert _refusal(data[:size]).reason == "truncated"


def _flipped(data: bytes, step: int) -> Iterator[bytes]:
    for bit in range(0, 8 * len(data), step):
        yield data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


@pytest.mark.parametrize("data", GOOD_FRAMES, ids=lambda data: data.hex()[-12:])
def test_a_flipped_bit_is_never_believed(data: bytes) -> None:
    for flipped in _flipped(data, 1 + len(data) // 100):
        _refusal(flipped)


@pytest.mark.parametrize("data", [data for data in EVERY_FRAME if data], ids=lambda data: data.hex()[-12:])
def test_a_flipped_bit_under_a_right_check_character_raises_nothing_else(data: bytes) -> None:
    for flipped in _flipped(data, 1 + len(data) // 25):
        frame = _try(_checked(flipped))
        assert isinstance(frame, ProtocolError) or PROTOCOL.encode(frame) == _checked(flipped)


# traps


def test_time_is_plain_binary_in_beijing() -> None:
    assert unix_ms(time_fields(AT)) == AT
    assert time_fields(AT) == {"year": 26, "month": 1, "day": 30, "hour": 21, "minute": 22, "second": 5}
    assert time_fields(AT + 999) == time_fields(AT)
    for wrong in (-1, 946_684_799_000 - 8 * 3_600_000, 4_102_444_800_000, 1 << 80):
        with pytest.raises(ProtocolError):
            time_fields(wrong)


def test_a_time_in_bcd_is_refused_and_the_guess_says_so() -> None:
    error = _refusal(_framed(0x04, bytes.fromhex("2601302122050001")))
    assert (error.reason, error.offset) == ("malformed", 24)
    assert "BCD" in error.guess


def test_the_current_of_a_battery_counts_from_minus_1000_in_2016_and_from_minus_3000_in_2025() -> None:
    moment = bytes.fromhex("1a011e151605")
    old = _framed(0x02, moment + bytes.fromhex("08 01 01 0e10 26c3 0001 0001 00"))
    new = _framed(0x02, moment + bytes.fromhex("07 01 01 0e10 74e3 0000"), start=b"$$")
    assert _signals(old)["battery_1_current"] == _signals(new)["battery_1_current"] == 9923  # -7.7 A


def test_each_moved_2025_field_is_moved_to_the_zero_of_its_namesake() -> None:
    assert all(any(name in SIZES[2025, kind] for kind in (1, 2, 7)) for name in MOVED_2025)
    moment = bytes.fromhex("1a011e151605")
    new = _framed(0x02, moment + bytes.fromhex("01 010101 0000 00000000 0000 7530 00 01 00 0000"), start=b"$$")
    assert _signals(new)["total_current"] == 10_000  # 0 A


@pytest.mark.parametrize("size_bytes", [1, 2, 4])
def test_sentinels_are_told_from_the_values_below_them(size_bytes: int) -> None:
    name = {1: "soc", 2: "speed", 4: "odometer"}[size_bytes]
    top = (1 << 8 * size_bytes) - 1
    for value, there in ((top, False), (top - 1, False), (top - 2, True), (0, True)):
        said = _signals(PROTOCOL.encode(report(VIN, AT, {name: value})))
        assert (name in said) is there


def test_a_speed_of_feff_is_no_sentinel() -> None:
    assert _signals(PROTOCOL.encode(report(VIN, AT, {"speed": 0xFEFF})))["speed"] == 0xFEFF


def test_an_unknown_item_stops_the_reading_and_the_error_says_where() -> None:
    good = PROTOCOL.encode(report(VIN, AT, {"soc": 80}))
    unit = good[24:-1]
    for kind in (0x00, 0x0A, 0x2F, 0x30, 0x7F, 0xFF):
        error = _refusal(_framed(0x02, unit + bytes([kind]) + bytes(8)))
        assert (error.reason, error.offset, error.field) == ("unsupported", 24 + len(unit), "items.1.type")
        assert error.found == f"{kind:02x}"


def test_a_flag_of_success_is_01_and_fe_asks() -> None:
    moment = bytes.fromhex("1a011e151605")
    assert PROTOCOL.decode(_framed(0x01, moment, flag=OK)).kind == "answer"
    assert _refusal(_framed(0x01, moment)).reason == "bad_length"


@given(st.binary(max_size=600))
def test_the_check_character_is_the_xor_of_all_bytes(data: bytes) -> None:
    assert bcc(data) == reduce(operator.xor, data, 0)


def test_the_guess_names_what_the_check_character_was_made_over() -> None:
    data = PROTOCOL.encode(report(VIN, AT, {"soc": 80, "speed": 1234}))
    assert _refusal(data[:-1] + bytes([bcc(data[24:-1])])).guess == "XOR over the data unit only"
    assert _refusal(data[:-1] + bytes([bcc(data[3:-1])])).guess == "XOR without the command byte"
    assert _refusal(data[:-1] + bytes([sum(data[2:-1]) & 0xFF])).guess == "a sum instead of XOR"


def test_an_edited_length_is_guessed() -> None:
    data = bytearray(PROTOCOL.encode(report(VIN, AT, {"soc": 80})))
    data[23] += 9
    assert "edited" in _refusal(_checked(bytes(data))).guess
    assert _refusal(bytes(data[:-4])).guess == ""


def test_the_longest_data_unit() -> None:
    fill = DATA_UNIT_LIMIT_BYTES - 6 - 3
    data = _framed(0x02, bytes.fromhex("1a011e151605") + b"\x81" + fill.to_bytes(2, "big") + bytes(fill))
    assert len(data) == FRAME_LIMIT_BYTES
    assert len(_signals(data)["custom_81"]) == fill
    assert PROTOCOL.encode(PROTOCOL.decode(data)) == data


@pytest.mark.usefixtures("no_collection")
def test_more_items_than_any_report_has_are_refused_early() -> None:
    data = _framed(0x02, bytes.fromhex("1a011e151605") + b"\x81\0\0" * 21_000)
    honest = _framed(0x02, bytes.fromhex("1a011e151605") + (b"\x81\0\x3d" + bytes(61)) * 1_000)
    began = time.process_time()
    assert len(PROTOCOL.decode(honest).facts["body"]["items"]) == 1_000
    honest_s = time.process_time() - began
    began = time.process_time()
    assert _refusal(data).reason == "oversized"
    assert time.process_time() - began < 5 * honest_s


def test_a_report_that_the_protocol_cannot_say_is_not_said() -> None:
    for signals_ in ({"no_such_signal": 1}, {"soc": 256}, {"battery_1_cell_voltages": (1,) * 201}, {"custom_7f": b""}):
        with pytest.raises(ProtocolError) as caught:
            PROTOCOL.encode(report(VIN, AT, signals_))
        assert caught.value.reason == "malformed"
    with pytest.raises(ProtocolError):
        PROTOCOL.encode(heartbeat("an id of more than 17 characters"))
    with pytest.raises(ProtocolError):
        PROTOCOL.encode(Frame("heartbeat", VIN))


# reports


def test_a_reissued_report_is_the_same_report() -> None:
    said = {"soc": 80, "longitude": -1, "latitude": 2, "switches": 0x51}
    realtime = report(VIN, AT, said)
    first = PROTOCOL.decode(PROTOCOL.encode(realtime))
    again = PROTOCOL.decode(PROTOCOL.encode(reissued(realtime)))
    assert first.reports == again.reports
    assert (first.facts["reissued"], again.facts["reissued"]) == (False, True)
    other = PROTOCOL.decode(
        PROTOCOL.encode(report(VIN, AT + 1000, {"soc": 80, "longitude": -1, "latitude": 2, "switches": 0x51}))
    )
    assert other.reports[0].record != first.reports[0].record


def test_a_report_is_the_same_whoever_signed_it() -> None:
    unit = bytes.fromhex("1a011e15160504 0bb8")
    unsigned, signed, otherwise = (
        PROTOCOL.decode(_framed(command, unit + bytes.fromhex(signature), start=b"$$"))
        for command, signature in ((2, ""), (2, "ff 02 0001 aa 0000"), (3, "ff 01 0002 aabb 0001 cc"))
    )
    assert unsigned.reports == signed.reports == otherwise.reports


_EXTENDED = {signal.name: st.integers(0, (1 << 8 * signal.form.sizeof()) - 3) for signal in EXTENSION_SIGNALS}
_PLAIN = {
    name: st.integers(0, (1 << 8 * size_bytes) - 3)
    for kind in (1, 4, 6)
    for name, size_bytes in SIZES[2016, kind].items()
    if name != "gear"
}
_MOTOR = {
    f"motor_{index}_{name.removeprefix('motors.')}": st.integers(0, (1 << 8 * size_bytes) - 3)
    for index in (1, 2)
    for name, size_bytes in SIZES[2016, 2].items()
    if name.startswith("motors.") and name != "motors.index"
}
_CELLS = st.lists(st.none() | st.integers(0, 0xFFFD), max_size=200).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={**_EXTENDED, **_PLAIN, **_MOTOR, "custom_81": st.binary(max_size=30)}),
    st.none() | st.tuples(st.integers(-180_000_000, 180_000_000), st.integers(-90_000_000, 90_000_000)),
    st.none() | _CELLS,
    st.none() | st.integers(0, 15),
)
def test_what_a_unit_says_is_what_the_gateway_hears(
    said: dict[str, Any], place: tuple[int, int] | None, cells: tuple[int | None, ...] | None, gear: int | None
) -> None:
    if place is not None:
        said |= {"longitude": place[0], "latitude": place[1]}
    if cells is not None:
        said["battery_1_cell_voltages"] = cells
    if gear is not None:
        said |= {"gear": gear, "driving_force": 1, "braking_force": 0}
    heard = _signals(PROTOCOL.encode(report(VIN, AT, said)))
    assert said.items() <= heard.items()
    silent = {name for name in heard if name not in said} - {"position_status"}
    assert all(name in {signal.name for signal in EXTENSION_SIGNALS if signal.states} for name in silent)
    assert signals(items(heard), 2016) == heard


def test_the_groups_that_a_unit_does_not_know_are_unknown() -> None:
    heard = _signals(PROTOCOL.encode(report(VIN, AT, {"fuel_level": 100})))
    assert heard == {"fuel_level": 100} | {signal.name: 0xFF for signal in EXTENSION_SIGNALS if signal.states}


def test_signals_of_one_name_have_one_size() -> None:
    for kind, sizes in ((kind, SIZES[2016, kind]) for kind in ITEMS[2016] if kind < 0x80):
        for other in (other for other in ITEMS[2016] if other < 0x80 and other != kind):
            shared = {name for name in sizes.keys() & SIZES[2016, other].keys() if not name.startswith("batteries")}
            assert not shared


def test_the_page_lists_every_signal_and_nothing_else() -> None:
    page = (ROOT / "protocols" / "gbt32960.md").read_text()
    listed = re.findall(r"^\|(?: \d+ \| \d+ \|)? `([^`]+)`", page, re.MULTILINE)
    rows = {"motors.": "motor_{n}_", "batteries.": "battery_{n}_", "stacks.": "stack_{n}_"}
    declared = {name for sizes in SIZES.values() for name in sizes if not name.endswith(("_count", ".index"))}
    declared = {name for name in declared if not name.startswith("alarms.")} | {"alarms", "custom_{80..fe}"}
    declared |= {"driving_force", "braking_force", "gcj02_longitude", "gcj02_latitude"}
    for path, prefix in rows.items():
        declared = {name.replace(path, prefix) for name in declared}
    assert set(listed) == declared | {signal.name for signal in EXTENSION_SIGNALS}
    assert len(listed) == len(set(listed))


def test_the_page_lays_out_our_own_item_as_declared() -> None:
    page = (ROOT / "protocols" / "gbt32960.md").read_text()
    offset = len(EXTENSION_MAGIC)
    for signal in EXTENSION_SIGNALS:
        size_bytes = signal.form.sizeof()
        assert f"| {offset} | {size_bytes} | `{signal.name}` | {signal.unit} |" in page
        offset += size_bytes
    assert offset == EXTENSION_SIZE_BYTES


# who speaks


def test_a_frame_of_another_unit_is_refused() -> None:
    for frame in (login(VIN, AT, 1), heartbeat(VIN), report(VIN, AT, {"soc": 80})):
        data = PROTOCOL.encode(frame)
        assert PROTOCOL.decode(data, Peer(VIN)).unit == VIN
        error = _refusal(data, Peer("LTELE00P0N0000018"))
        assert (error.reason, error.offset) == ("identity_mismatch", 4)


def test_a_frame_of_nobody_is_nobodys() -> None:
    data = PROTOCOL.encode(heartbeat(""))
    assert PROTOCOL.decode(data).unit is None
    assert _refusal(data, Peer(VIN)).reason == "identity_mismatch"


def test_a_broken_frame_is_broken_before_it_is_anothers() -> None:
    data = PROTOCOL.encode(heartbeat(VIN))
    assert _refusal(data[:-1] + b"\0", Peer("LTELE00P0N0000018")).reason == "bad_checksum"


# answers and commands


def test_a_report_that_is_not_held_is_answered_with_an_error() -> None:
    frame = PROTOCOL.decode(PROTOCOL.encode(report(VIN, AT, {"soc": 80})))
    for accepted, flag in ((1, OK), (0, ERROR)):
        answer = PROTOCOL.decode(PROTOCOL.answer(frame, accepted) or b"", Peer(VIN))
        assert (answer.kind, answer.captured_at, answer.facts["flag"]) == ("answer", AT, flag)


def test_nothing_is_answered_that_is_an_answer_or_a_command() -> None:
    for vector in OWN_GOOD:
        frame = PROTOCOL.decode(bytes.fromhex(vector["hex"]))
        if frame.facts["flag"] != 0xFE or frame.facts["command"] >= 0x80:
            assert PROTOCOL.answer(frame, len(frame.reports)) is None


def test_a_unit_that_asks_for_the_time_is_told() -> None:
    assert PROTOCOL.decode(PROTOCOL.encode(time_sync(VIN))).facts["clock_unsynchronised"]
    told = PROTOCOL.decode(PROTOCOL.synchronise(VIN, AT + 17, b""))
    assert (told.kind, told.facts["command"], told.captured_at) == ("answer", TIME_SYNC, AT)


def test_a_session_is_said_as_it_is_heard() -> None:
    heard = PROTOCOL.decode(PROTOCOL.encode(login(VIN, AT, 7, "89860012345678901234", ["AB01", "AB02"])))
    assert (heard.kind, heard.unit, heard.captured_at) == ("hello", VIN, AT)
    assert (heard.facts["sequence"], heard.facts["iccid"]) == (7, "89860012345678901234")
    assert heard.facts["body"]["codes"] == [b"AB01", b"AB02"]
    assert PROTOCOL.decode(PROTOCOL.encode(logout(VIN, AT, 7))).facts["body"]["sequence"] == 7
    assert PROTOCOL.decode(PROTOCOL.encode(heartbeat(VIN))).kind == "heartbeat"


def test_a_command_envelope_travels_in_a_control_command() -> None:
    sealed = bytes.fromhex(CARRIED)[31:-1]
    assert PROTOCOL.carry("WVWZZZ1KZAW000001", sealed, 1_795_428_000_000, b"").hex() == CARRIED
    frame = PROTOCOL.decode(bytes.fromhex(CARRIED))
    assert (frame.kind, frame.facts["envelope"]) == ("command", sealed)


def test_the_response_envelope_comes_back_as_a_result() -> None:
    data = PROTOCOL.encode(result("WVWZZZ1KZAW000001", AT, RESPONSE))
    frame = PROTOCOL.decode(data, Peer("WVWZZZ1KZAW000001"))
    assert (frame.kind, frame.facts["flag"], frame.facts["envelope"]) == ("result", OK, RESPONSE)
    key = bytes.fromhex("67163cdb1089ae14f216c737f47a70ab6de9a6f5a177c40d3543a29aa9af0703")
    assert envelope.open(frame.facts["envelope"], frame.unit or "", {1: key}).result is envelope.Result.OK
    assert data[2:4] == b"\x82\x01"


def test_a_request_envelope_given_back_is_no_result() -> None:
    echoed = _checked(bytes.fromhex(CARRIED[:6] + "01" + CARRIED[8:]))
    assert PROTOCOL.decode(echoed).kind == "answer"


# payloads and streams


def _splits(payload: bytes) -> list[tuple[bytes, str | None]]:
    cuts = list(PROTOCOL.split(payload))
    assert b"".join(cut.data for cut in cuts) == payload
    assert [cut.offset for cut in cuts] == [0, *accumulate(len(cut.data) for cut in cuts)][: len(cuts)]
    return [(cut.data, cut.error and cut.error.reason) for cut in cuts]


A, B = PROTOCOL.encode(report(VIN, AT, {"soc": 80, "custom_81": b"##\2\xfe##$$"})), PROTOCOL.encode(login(VIN, AT, 1))
C = _framed(0x02, bytes.fromhex("1a011e15160504 0bb8 ff 02 0001 aa 0000"), start=b"$$")


def test_a_payload_may_carry_several_frames() -> None:
    frames = [B, A, C, PROTOCOL.encode(heartbeat(VIN)), A]
    assert _splits(b"".join(frames)) == [(frame, None) for frame in frames]


def test_every_good_frame_is_one_cut() -> None:
    for data in GOOD_FRAMES:
        assert _splits(data) == [(data, None)]


def test_a_payload_of_nothing_has_no_cuts() -> None:
    assert _splits(b"") == []


@pytest.mark.parametrize("garbage", [b"\0", b"#", b"##", b"$#", b"####", b"hello, world", bytes(40), B[:-3], B[:23]])
def test_frames_are_found_behind_garbage(garbage: bytes) -> None:
    found = _splits(A + garbage + B + garbage + C)
    assert [data for data, reason in found if reason is None] == [A, B, C]


def test_a_broken_frame_costs_only_itself() -> None:
    broken = A[:30] + bytes([A[30] ^ 1]) + A[31:]
    assert _splits(B + broken + C) == [(B, None), (broken, "bad_checksum"), (C, None)]


def test_a_torn_frame_does_not_swallow_those_behind_it() -> None:
    for size in range(1, len(A)):
        found = _splits(A[:size] + B + C)
        assert [data for data, reason in found if reason is None] == [B, C], size


def test_an_error_says_where_in_the_payload() -> None:
    broken = A[:-1] + bytes([A[-1] ^ 1])
    error = next(cut.error for cut in PROTOCOL.split(B + broken) if cut.error)
    assert error.offset == len(B) + len(A) - 1


def test_a_stream_may_be_cut_anywhere() -> None:
    stream = B + A + b"noise" + C + A
    for at in range(len(stream) + 1):
        framer = Framer(FRAMING)
        cuts = [*framer.receive(stream[:at]), *framer.receive(stream[at:]), *framer.close()]
        assert [cut.data for cut in cuts if cut.error is None] == [B, A, C, A], at


def test_a_stream_may_come_byte_by_byte() -> None:
    framer, found = Framer(FRAMING), []
    for byte in B + A + C:
        found += framer.receive(bytes([byte]))
    assert [cut.data for cut in found] == [B, A, C]
    assert framer.held_bytes == 0


def _hostile() -> Iterator[tuple[str, bytes]]:
    limit = 64 * 1024
    yield "starts", b"#" * limit
    yield "both starts", b"##$$" * (limit // 4)
    header = b"##\2\xfe" + VIN.encode() + b"\1"
    yield "long false headers", (header + b"\x70\0") * (limit // 24)
    yield "short false headers", (header + b"\0\0\1") * (limit // 25)
    yield "headers in headers", b"".join(header + n.to_bytes(2, "big") for n in range(limit // 24))


@pytest.mark.parametrize(("name", "payload"), list(_hostile()), ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_payloads_cost_little(name: str, payload: bytes) -> None:
    honest = A * (len(payload) // len(A))
    began = time.process_time()
    _ = [_try(cut.data) for cut in PROTOCOL.split(honest)]
    honest_s = time.process_time() - began
    began = time.process_time()
    found = _splits(payload)
    assert time.process_time() - began < 2 * honest_s, name
    assert all(reason or isinstance(_try(data), ProtocolError) for data, reason in found)


# fuzz


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(GOOD_FRAMES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("set", "insert", "delete", "copy"))):
            case "set" if data:
                data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFE, 0xFF)) | st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "delete":
                del data[at : at + draw(st.integers(1, 8))]
            case "copy":
                data[at:at] = data[draw(st.integers(0, len(data))) :][:40]
    if draw(st.booleans()) and len(data) >= 25:
        data[22:24] = (len(data) - 25).to_bytes(2, "big")
    return _checked(bytes(data)) if len(data) >= 3 and draw(st.integers(0, 9)) else bytes(data)


def _survives(data: bytes) -> None:
    frame = _try(data)
    if isinstance(frame, Frame):
        assert PROTOCOL.encode(frame) == data
        PROTOCOL.answer(frame, len(frame.reports))
    else:
        assert 0 <= frame.offset <= len(data)
    _splits(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutated())
@example(b"")
@example(b"##")
def test_mutated_frames_are_frames_or_refused(data: bytes) -> None:
    _survives(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    _survives(data)
    _survives(_framed(0x02, data))
