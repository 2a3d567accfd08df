"""Frames by encoders that share nothing with our declarations mean, field by field, what was put into them."""

import struct
from typing import Any

import pytest

from gateway.decoding import explained
from lab.independent import (
    TIME,
    TIME_MS,
    autoapi,
    avl_data,
    avl_record,
    component,
    crc_arc,
    crc_ccitt,
    gb,
    measured,
    message,
    prop,
    said,
    tcp,
    udp,
)
from protocols import load

AT = 1_769_779_325_123
IMEI, BCD = b"352093081452251", bytes.fromhex("0352093081452251")
SOUTH_WEST = (-703_456_789, -334_567_891, -5, 359, 0, 0)
ELEMENTS = ((1, 1, 1), (239, 1, 1), (250, 255, 1), (66, 12_500, 2), (255, 0, 2), (16, 123_456_789, 4), (11, 2**63 + 5, 8))


def one(data: bytes, **meant: Any) -> dict[str, Any]:
    """The document of the one frame that `data` is."""
    (found,) = explained(data, **meant)
    at = 0
    for field in found["fields"]:
        assert (field["offset"], field["size"], field["raw"]) == (at, field["size"], data[at : at + field["size"]].hex())
        at += field["size"]
    assert at == len(data)
    return found


def good(data: bytes, kind: str, **meant: Any) -> dict[str, Any]:
    """Values by field name of a frame that is right, and that is built again from what was read of it."""
    found = one(data, **meant)
    assert (found["ok"], found["kind"], found["error"]) == (True, kind, None)
    protocol = load()[found["protocol"]]
    assert protocol.encode(protocol.decode(data)) == data
    return {field["name"]: field["value"] for field in found["fields"]}


def units(data: bytes) -> dict[str, str]:
    return {field["name"]: field["unit"] for field in one(data)["fields"]}


# Teltonika ---------------------------------------------------------------------------------------------------------------


def elements_of(values: dict[str, Any], record: int) -> dict[int, Any]:
    ids = [name for name in values if name.startswith(f"data.records.{record}.bytes_") and name.endswith(".id")]
    return {values[name]: values.get(name[:-2] + "value", "") for name in ids}


@pytest.mark.parametrize("codec", [0x08, 0x8E, 0x10])
@pytest.mark.parametrize("count", [1, 2, 255])
def test_records_of_every_codec_say_what_was_put_in(codec: int, count: int) -> None:
    records = [avl_record(codec, AT + n, SOUTH_WEST, 239, ELEMENTS if n % 2 == 0 else (), priority=2) for n in range(count)]
    values = good(tcp(avl_data(codec, records)), "state", protocol="teltonika")
    assert (values["data.codec"], values["data.count"], values["data.count_2"]) == (codec, count, count)
    names = ("longitude", "latitude", "altitude", "angle", "satellites", "speed")
    for number in (0, count - 1):
        under = f"data.records.{number}."
        assert tuple(values[under + name] for name in names) == SOUTH_WEST
        assert (values[under + "timestamp"], values[under + "priority"]) == (AT + number, 2)
        assert values[under + "event_id"] == 239
        assert elements_of(values, number) == ({number: value for number, value, _ in ELEMENTS} if number % 2 == 0 else {})


def test_two_byte_ids_and_texts_of_any_length() -> None:
    texts = ((256, b"WVWZZZ1KZAW000001"), (11_000, b""), (385, bytes(range(256)) + bytes(44)))
    data = tcp(avl_data(0x8E, [avl_record(0x8E, AT, SOUTH_WEST, 385, ((65_535, 2**32 - 1, 4),), texts)]))
    values = good(data, "state")
    assert values["data.records.0.total"] == 4
    found = elements_of(values, 0)
    assert (found[65_535], found[256]) == (2**32 - 1, "WVWZZZ1KZAW000001")
    (report,) = load()["teltonika"].decode(data).reports
    assert {number: report.signals[f"io_{number}"] for number, _ in texts} == dict(texts)


@pytest.mark.parametrize("codec", [0x08, 0x8E, 0x10])
def test_the_udp_channel(codec: int) -> None:
    data = udp(avl_data(codec, [avl_record(codec, AT, SOUTH_WEST, 0, ELEMENTS)] * 5), IMEI, 0xFFFF, 255)
    values = good(data, "state")
    assert (values["packet_id"], values["avl_packet_id"], values["imei"]) == (0xFFFF, 255, IMEI.decode())
    teltonika = load()["teltonika"]
    assert teltonika.answer(teltonika.decode(data), 5) == bytes.fromhex("0005ffff01ff05")


@pytest.mark.parametrize(
    ("data", "kind", "time_ms", "payload"),
    [
        (message(0x0C, 5, b"getinfo"), "command", None, b"getinfo"),
        (message(0x0C, 6, b"OK\r\n"), "response", None, b"OK\r\n"),
        (message(0x0C, 5, b""), "command", None, b""),
        (message(0x0D, 6, b"getinfo", head=struct.pack(">I", AT // 1000)), "response", AT // 1000 * 1000, b"getinfo"),
        (message(0x0D, 6, b"getinfo", size=7, head=struct.pack(">I", AT // 1000)), "response", AT // 1000 * 1000, b"getinfo"),
        (message(0x0D, 6, b"getinfo", head=struct.pack(">Q", AT)), "response", AT, b"getinfo"),
        (message(0x0E, 5, b"getver", head=BCD), "command", None, b"getver"),
        (message(0x0E, 6, b"Ver:03", head=BCD), "response", None, b"Ver:03"),
        (message(0x0E, 0x11, b"", head=BCD), "nack", None, b""),
        (message(0x0F, 0x0B, b"Hello!\n", head=struct.pack(">I", AT // 1000) + BCD), "message", AT // 1000 * 1000, b"Hello!\n"),
    ],
)
def test_messages_of_codecs_12_to_15(data: bytes, kind: str, time_ms: int | None, payload: bytes) -> None:
    good(tcp(data), kind)
    frame = load()["teltonika"].decode(tcp(data))
    assert (frame.captured_at, frame.facts["payload"]) == (time_ms, payload)
    if data[0] in (0x0E, 0x0F):
        assert frame.facts["imei"] == IMEI.decode()


def test_keep_alives_and_a_login_before_records_are_frames_of_their_own() -> None:
    packet = tcp(avl_data(0x08, [avl_record(0x08, AT, SOUTH_WEST)]))
    kinds = [each["kind"] for each in explained(b"\xff\xff\0\x0f" + IMEI + packet + b"\xff" + packet)]
    assert kinds == ["heartbeat", "hello", "state", "heartbeat", "state"]


PACKET = tcp(avl_data(0x08, [avl_record(0x08, AT, SOUTH_WEST, 239, ELEMENTS)]))
DATA = PACKET[8:-4]


def with_length(data: bytes, length: int) -> bytes:
    return data[:4] + struct.pack(">I", length) + data[8:]


@pytest.mark.parametrize(
    ("data", "reason", "offset", "field", "guess"),
    [
        (tcp(DATA, crc_arc(PACKET[:-4])), "bad_checksum", 67, "crc", "over the length field too"),
        (tcp(DATA, crc_arc(DATA) >> 8 | (crc_arc(DATA) & 0xFF) << 8), "bad_checksum", 67, "crc", "bytes swapped"),
        (tcp(DATA, crc_ccitt(DATA)), "bad_checksum", 67, "crc", "CCITT"),
        (tcp(DATA, crc_ccitt(DATA, 0)), "bad_checksum", 67, "crc", "XMODEM"),
        (tcp(DATA, 0), "bad_checksum", 67, "crc", "changed after"),
        (PACKET[:20] + b"\x55" + PACKET[21:], "bad_checksum", 67, "crc", "changed after"),
        (tcp(DATA[:-1] + b"\2"), "malformed", 66, "data.count_2", ""),
        (tcp(DATA[:27] + b"\6" + DATA[28:]), "malformed", 35, "data.records.0.total", ""),
        (tcp(b"\x8e" + DATA[1:]), "bad_length", None, None, "codec 08, not 8e"),
        (tcp(b"\x10" + DATA[1:]), "bad_length", None, None, "codec 08, not 10"),
        (tcp(b"\x63" + DATA[1:]), "unsupported", 8, "data.codec", ""),
        (tcp(b"\x07" + DATA[1:]), "unsupported", 8, "data.codec", ""),
        (with_length(PACKET, 60), "bad_length", 4, "length", "length field was edited"),
        (with_length(PACKET, 58), "bad_length", 4, "length", "length field was edited"),
        (with_length(PACKET, 59 << 24), "oversized", 4, "length", "swapped"),
        (with_length(PACKET, 0x7FFFFFFF), "oversized", 4, "length", "length field was edited"),
        (PACKET[:30] + PACKET[31:], "truncated", 70, None, "in between are missing"),
        (PACKET[1:], "truncated", None, None, "first byte is missing"),
        (PACKET[:34], "truncated", 34, "data.records.event_id", "cut off"),
        (PACKET[:9], "truncated", 9, "data.count", "cut off"),
        (b"\0\x0f" + IMEI[:-1] + b"x", "malformed", 16, "imei", ""),
        (b"\0\x0e" + IMEI[:-1], "bad_length", 0, "length", "login"),
        (PACKET.hex().encode(), "bad_sync", 0, None, "hex digits as text"),
    ],
)
def test_damaged_teltonika_is_told_where_and_why(
    data: bytes, reason: str, offset: int | None, field: str | None, guess: str
) -> None:
    protocol = None if b"\0" in data else "teltonika"
    error = one(data, protocol=protocol)["error"]
    assert (error["reason"], offset in (None, error["offset"]), field in (None, error["field"])) == (reason, True, True), error
    assert guess in error["guess"]
    assert error["expected"] or error["found"]


def test_of_a_server_s_answer_it_is_said_what_it_is() -> None:
    for answer, guess in ((b"\0\0\0\5", "it holds 5"), (b"\1", "answer to a login"), (bytes.fromhex("0005cafe010501"), "UDP")):
        assert guess in one(answer, protocol="teltonika")["error"]["guess"]


# GB/T 32960.3 ------------------------------------------------------------------------------------------------------------

VEHICLE = struct.pack(">BBBHIHHBBBHBB", 1, 3, 1, 1234, 123_456, 3801, 10_050, 77, 1, 0x3E, 5000, 30, 101)
MOTORS = b"\2" + b"".join(struct.pack(">BBBHHBHH", n, 1, 90, 22_500, 20_500, 80, 3500, 10_100) for n in (1, 2))
FUEL_CELL = struct.pack(">HHHH", 2500, 1200, 90, 3) + bytes([60, 70, 80]) + struct.pack(">HBHBHBB", 1200, 1, 300, 2, 350, 3, 1)
EXTREMES = struct.pack(">BBHBBHBBBBBB", 1, 2, 4100, 1, 3, 3900, 1, 4, 65, 1, 5, 60)
ALARMS = b"\3" + struct.pack(">I", 0x2001) + b"\1" + struct.pack(">I", 7) + b"\0\2" + struct.pack(">II", 1, 2) + b"\xfe"


def cells(first: int, count: int) -> bytes:
    return (
        b"\1" + struct.pack(">BHHHHB", 1, 3800, 10_000, 300, first, count) + struct.pack(f">{count}H", *range(3000, 3000 + count))
    )


def signals(data: bytes) -> dict[str, Any]:
    (report,) = load()["gbt32960"].decode(data).reports
    return dict(report.signals)


def test_a_report_of_every_information_type_says_what_was_put_in() -> None:
    data = gb(
        3,
        TIME
        + (b"\1" + VEHICLE + b"\2" + MOTORS + b"\3" + FUEL_CELL + b"\4" + struct.pack(">BHH", 1, 2000, 655))
        + (b"\5" + struct.pack(">BII", 6, 116_397_128, 39_916_527) + b"\6" + EXTREMES + b"\7" + ALARMS)
        + (b"\x08" + cells(201, 100) + b"\x09\1\1\0\2\x50\xff" + b"\x80\0\3abc" + b"\xfe\0\0"),
    )
    values = good(data, "state")
    body = "body.items.0.body."
    assert (values[body + "speed"], values[body + "odometer"], values[body + "total_current"]) == (1234, 123_456, 10_050)
    unit = units(data)
    assert (unit[body + "speed"], unit[body + "total_current"]) == ("0.1 km/h", "0.1 A from -1000 A")
    assert unit["body.items.1.body.motors.0.temperature"] == "Cel from -40 Cel"
    found = signals(data)
    assert (found["longitude"], found["latitude"]) == (-116_397_128, -39_916_527)
    assert (found["gear"], found["driving_force"], found["braking_force"]) == (14, 1, 1)
    assert (found["motor_2_speed"], found["motor_2_torque"], found["motor_1_controller_current"]) == (22_500, 20_500, 10_100)
    assert (found["fuel_cell_temperatures"], found["engine_consumption"]) == ((60, 70, 80), 655)
    assert (found["highest_cell_voltage"], found["lowest_temperature"]) == (4100, 60)
    assert (found["alarm_level"], found["alarm_flags"], found["engine_faults"]) == (3, 0x2001, (1, 2))
    assert (found["battery_1_first_cell"], len(found["battery_1_cell_voltages"])) == (201, 100)
    assert found["battery_1_temperatures"] == (0x50, None)
    assert (found["custom_80"], found["custom_fe"]) == (b"abc", b"")
    assert load()["gbt32960"].decode(data).captured_at == TIME_MS


@pytest.mark.parametrize("sentinel", [0xFE, 0xFF])
def test_each_field_that_is_abnormal_or_invalid_is_left_out_and_no_other(sentinel: int) -> None:
    sizes = {"vehicle_state": 1, "charge_state": 1, "run_mode": 1, "speed": 2, "odometer": 4, "total_voltage": 2}
    sizes |= {"total_current": 2, "soc": 1, "dcdc_state": 1, "gear": 1, "insulation_resistance": 2, "accelerator": 1, "brake": 1}
    every, at = signals(gb(2, TIME + b"\1" + VEHICLE)), 0
    for name, size in sizes.items():
        value = bytes([0xFF] * (size - 1) + [sentinel])
        found = signals(gb(2, TIME + b"\1" + VEHICLE[:at] + value + VEHICLE[at + size :]))
        at += size
        if name != "gear":  # bits, of which no value is silence in 2016
            assert every.keys() - found.keys() == {name}
            assert {key: said for key, said in every.items() if key != name} == found


def test_sessions_platforms_and_answers() -> None:
    login = TIME + struct.pack(">H", 7) + b"89860012345678901234"
    for tail, codes in ((b"\0\0", []), (b"\2\3ABCDEF", [b"ABC", b"DEF"]), (b"\2\0", [b"", b""]), (b"\0\x18", [])):
        assert good(gb(1, login + tail), "hello")["body.sequence"] == 7
        assert load()["gbt32960"].decode(gb(1, login + tail)).facts["body"]["codes"] == codes
    unprintable = gb(1, TIME + b"\0\7" + b"\xff" * 20 + b"\0\0")
    assert good(unprintable, "hello")["body.iccid"] == "ff" * 20
    assert good(gb(4, TIME + b"\0\7"), "logout")["body.sequence"] == 7
    platform = good(gb(5, TIME + b"\0\1" + b"user".ljust(12, b"\0") + b"secret".ljust(20, b"\0") + b"\1"), "platform_login")
    assert (platform["body.user"], platform["body.password"]) == ("user", "secret")
    good(gb(6, TIME + b"\0\1"), "platform_logout")
    good(gb(7), "heartbeat")
    good(gb(8), "time_sync")
    for flag in (1, 2, 3):
        for command in (1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x82):
            assert good(gb(command, TIME, flag=flag), "answer")["flag"] == flag
        good(gb(7, flag=flag), "answer")
        good(gb(8, TIME, flag=flag), "answer")
    good(gb(1, login + b"\0\0", flag=1), "answer")
    good(gb(2, TIME + b"\1" + VEHICLE, flag=1), "answer")


def test_queries_settings_and_controls() -> None:
    assert good(gb(0x80, TIME + b"\3\1\2\7"), "query")["body.count"] == 3
    answer = good(gb(0x80, TIME + b"\3\1\0\x64\2\0\x1e\7HW001", flag=1), "answer")
    assert [answer[f"body.parameters.{n}.value"] for n in range(3)] == [100, 30, "HW001"]
    values = good(gb(0x81, TIME + b"\2\4\7\5example"), "set")
    assert values["body.parameters.1.value"] == "example"
    for control, parameters in ((1, b"ftp://x;y;"), (2, b""), (6, b"\3"), (0x80, b"\1\2"), (0xFE, b"")):
        assert good(gb(0x82, TIME + bytes([control]) + parameters), "command")["body.control"] == control


@pytest.mark.parametrize(("vin", "unit"), [(b"ABC123", "ABC123"), (b"", None), (b"LSVAU2A37N2123456", "LSVAU2A37N2123456")])
def test_ids_may_be_shorter(vin: bytes, unit: str | None) -> None:
    assert load()["gbt32960"].decode(gb(7, vin=vin)).unit == unit


def test_2025_frames() -> None:
    position = struct.pack(">BBII", 0, 1, 116_397_128, 39_916_527)
    signature = b"\xff\1" + struct.pack(">H", 32) + bytes(32) + struct.pack(">H", 31) + bytes(31)
    data = gb(
        2,
        TIME
        + (
            b"\1"
            + VEHICLE[:-2]
            + b"\2\1"
            + struct.pack(">BBBHIB", 1, 1, 90, 34_500, 210_000, 80)
            + b"\4"
            + struct.pack(">H", 900)
        )
        + (b"\5" + position + b"\6\1" + struct.pack(">I", 1) + bytes(4) + b"\1\5\2")
        + (b"\7\1" + struct.pack(">BHHH", 1, 3800, 30_100, 2) + struct.pack(">HH", 3000, 3001) + b"\x08\1\1\0\2\x50\x51")
        + signature,
        start=b"$$",
    )
    good(data, "state")
    found = signals(data)
    assert (found["total_current"], found["motor_1_speed"], found["motor_1_torque"]) == (-9950, 22_500, 30_000)
    assert (found["longitude"], found["alarms"], found["battery_1_current"]) == (116_397_128, ((5, 2),), 10_100)
    assert load()["gbt32960"].decode(data).reports[0].record == data[24 : -1 - len(signature)]
    assert units(data)["body.items.0.body.total_current"] == "0.1 A from -3000 A"
    login = TIME + struct.pack(">H", 7) + b"89860012345678901234" + b"\1\2" + b"A" * 48
    good(gb(1, login, start=b"$$"), "hello")
    for flag in range(1, 8):
        good(gb(1, TIME, flag=flag, start=b"$$"), "answer")


REPORT = gb(2, TIME + b"\1" + VEHICLE)
BODY = REPORT[24:-1]


@pytest.mark.parametrize(
    ("data", "reason", "offset", "guess"),
    [
        (REPORT[:-1] + bytes([REPORT[-1] ^ 0x23]), "bad_checksum", 51, "one start byte too"),
        (REPORT[:-1] + bytes([sum(REPORT[2:-1]) & 0xFF]), "bad_checksum", 51, "a sum"),
        (REPORT[:40] + bytes([REPORT[40] ^ 1]) + REPORT[41:], "bad_checksum", 51, "changed after"),
        (gb(2, BODY, length=28), "truncated", 52, "length field was edited"),
        (gb(2, BODY, length=26), "bad_length", 22, "length field was edited"),
        (gb(2, BODY, length=0x1B00), "truncated", 52, "swapped"),
        (REPORT[:30], "truncated", 30, "cut off"),
        (REPORT[1:], "bad_sync", None, "first byte is missing"),
        (gb(2, BODY, start=b"$$"), "unsupported", 49, "edition 2016"),
        (gb(2, TIME + b"\1" + VEHICLE[:-2] + b"\5" + bytes([0, 1]) + bytes(8)), "bad_length", None, "edition 2025"),
        (gb(2, BODY[:-1]), "bad_length", 50, ""),
        (gb(2, BODY, encryption=3), "unsupported", 21, "encrypted"),
        (gb(2, BODY, encryption=0), "unsupported", 21, ""),
        (gb(1, TIME, flag=4), "malformed", 3, ""),
        (gb(9), "unsupported", 2, ""),
        (gb(4, bytes.fromhex("260130212205") + b"\0\1"), "malformed", 24, "BCD"),
        (gb(1, TIME + b"\0\7\x14" + b"89860012345678901234" + b"\0\0"), "bad_length", None, "length byte before the ICCID"),
        (gb(7, vin=b"AB\0CD"), "malformed", 6, ""),
        (gb(2, TIME + b"\x0a\0\0"), "unsupported", 30, "cannot be told"),
    ],
)
def test_damaged_gbt32960_is_told_where_and_why(data: bytes, reason: str, offset: int | None, guess: str) -> None:
    error = one(data)["error"]
    assert (error["reason"], offset in (None, error["offset"])) == (reason, True), error
    assert guess in error["guess"]


# AutoAPI -----------------------------------------------------------------------------------------------------------------

LOCKED = said(6, b"\1")


def test_words_texts_and_measures_are_values() -> None:
    assert good(autoapi(0x20, LOCKED), "state")["doors.locks_state.value"] == "locked"
    doors = good(autoapi(0x20, said(4, b"\0\1", AT), said(4, b"\1\0")), "state")
    assert (doors["doors.positions.0.value.location"], doors["doors.positions.1.value.position"]) == ("front_left", "closed")
    assert doors["doors.positions.0.timestamp.value"] == AT
    assert good(autoapi(0x14, said(3, "Grüße".encode())), "state")["vehicle_information.model_name.value"] == "Grüße"
    odometer = autoapi(0x33, said(0x1F, measured(0x12, 4, 500.5)))
    assert good(odometer, "state")["diagnostics.odometer.value.value"] == 500.5
    assert units(odometer)["diagnostics.odometer.value.value"] == "kilometers"
    assert good(autoapi(0x20, said(6, b"\x33")), "state")["doors.locks_state.value"] == 0x33


@pytest.mark.parametrize(
    ("message_said", "state"),
    [
        (autoapi(0x33, said(3, measured(0x16, 2, 60))), {"speed_in_kilometers_per_hour": 96.56}),
        (autoapi(0x33, said(3, measured(0x16, 0x77, 60))), {}),
        (autoapi(0x33, said(3, measured(0x16, 1, float("nan")))), {}),
        (autoapi(0x33, prop(3, component(3, b"\0\0\5sorry"), component(2, struct.pack(">Q", AT)))), {}),
        (autoapi(0x20, LOCKED, said(0xA3, b"W1K2060461F123456"), said(0xA2, struct.pack(">Q", AT))), {"central_lock": "LOCKED"}),
        (
            autoapi(0x11, said(0x99, autoapi(0x20, LOCKED)), said(0x99, autoapi(0x35, said(1, b"\1")))),
            {"central_lock": "LOCKED"},
        ),
        (autoapi(0x12, said(1, autoapi(0x20, said(6, b"\1", AT))), said(1, autoapi(0x20, said(6, b"\0", AT + 5000)))),
         {"central_lock": "UNLOCKED"}),
        (autoapi(0x13, said(1, autoapi(0x20, LOCKED))), {"central_lock": "LOCKED"}),
    ],
)  # fmt: skip
def test_messages_become_the_state_that_they_say(message_said: bytes, state: dict[str, Any]) -> None:
    document = one(message_said, model="EQA")
    assert document["ok"]
    assert state.items() <= (document["state"] or {}).items()
    assert state or not document["state"]


def test_what_is_not_declared_is_kept_whole() -> None:
    for data in (
        autoapi(0x7777, said(6, b"\1\2\3")),
        autoapi(0x20, said(0x77, b"\1\2\3"), prop(6, component(1, b"\1"), component(9, b"zz"))),
        autoapi(0x20),
        autoapi(0x20, kind=0),
        autoapi(0x20, kind=0) + b"\4\6",
        autoapi(0x20, kind=2) + b"\6",
    ):
        found = one(data)
        assert found["ok"]
        autoapi_protocol = load()["autoapi"]
        assert autoapi_protocol.encode(autoapi_protocol.decode(data)) == data


@pytest.mark.parametrize(
    ("data", "reason", "offset", "expected", "guess"),
    [
        *((autoapi(0x20, LOCKED, version=version), "unsupported", 0, "level 13", "") for version in (0x0A, 0x0C, 0x0E, 0x0F)),
        (autoapi(0x20, LOCKED, kind=3), "malformed", 3, "00, 01 or 02", ""),
        (autoapi(0x33, said(3, measured(0x12, 4, 60))), "malformed", 10, "16, speed", ""),
        (autoapi(0x33, prop(3, component(3, b"\0\0\x09sorry"))), "bad_length", 13, "9 bytes", ""),
        (autoapi(0x20, said(6, b"\1\1")), "bad_length", 10, "1 bytes", ""),
        (autoapi(0x20, said(0xA3, b"W1K20604")), "bad_length", 10, "17 bytes", ""),
        (autoapi(0x14, said(3, b"\xff\xfe")), "malformed", None, "text in utf8", ""),
        (autoapi(0x20, LOCKED)[:-1], "truncated", 5, "4 bytes", "cut off"),
        (autoapi(0x20, LOCKED) + b"\r\n", "truncated", 13, "3 bytes", "behind the message from byte 11"),
        (autoapi(0x20, b"\6\0\3\1\0\1\1"), "bad_length", 7, "at most 0", ""),
    ],
)
def test_damaged_autoapi_is_told_where_and_why(data: bytes, reason: str, offset: int | None, expected: str, guess: str) -> None:
    error = one(data, protocol="autoapi")["error"]
    assert (error["reason"], offset in (None, error["offset"]), error["expected"]) == (reason, True, expected), error
    assert guess in error["guess"]


def test_a_message_behind_garbage_is_found() -> None:
    for garbage in (b"zz", b"\n", b"\x0e\x0f"):
        assert [each["ok"] for each in explained(garbage + autoapi(0x20, LOCKED), protocol="autoapi")] == [False, True]
