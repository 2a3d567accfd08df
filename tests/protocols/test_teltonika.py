"""Teltonika: outsiders' frames, our own frames, and the traps between a vendor's page and what units send."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocols import load
from protocols.checksums import crc16_arc
from protocols.codec import Frame, Peer, ProtocolError
from protocols.teltonika import LOGIN_ACCEPTED, PROTOCOL
from protocols.teltonika_layouts import (
    CODEC_8,
    CODEC_8E,
    CODEC_12,
    CODEC_13,
    CODEC_13_LAYOUTS,
    CODEC_14,
    CODEC_15,
    CODEC_16,
    COMMAND,
    REFUSED,
    RESPONSE,
)
from protocols.teltonika_session import Answer, avl, login, message, over_udp, read_answer, record

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT.parent / "shared" / "vectors" / "teltonika.jsonl"
ENVELOPES = ROOT.parent / "shared" / "vectors" / "command_auth.jsonl"
OWN = json.loads((ROOT / "tests" / "vectors" / "teltonika.json").read_text())
IMEI = "356307042441013"
AT = 1_769_779_325_000

FIELDS = {
    "lon_e7": "longitude",
    "lat_e7": "latitude",
    "alt_m": "altitude",
    "angle": "angle",
    "sats": "satellites",
    "speed": "speed",
    "priority": "priority",
    "event_id": "event_id",
    "gen": "generation_type",
}


def _outsiders() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OUTSIDERS.read_text().splitlines()] if OUTSIDERS.exists() else []


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['kind']}-{vector['hex'][-8:]}"


CONFORMANT = [vector for vector in _outsiders() if vector["conformant"]]
NEGATIVE = [vector for vector in _outsiders() if not vector["conformant"]]
EVERY_FRAME = [bytes.fromhex(vector["hex"]) for vector in (*_outsiders(), *OWN)]
GOOD_FRAMES = [bytes.fromhex(v["hex"]) for v in (*CONFORMANT, *(own for own in OWN if "kind" in own))]


def _try(data: bytes) -> Frame | ProtocolError:
    try:
        return PROTOCOL.decode(data)
    except ProtocolError as error:
        return error


def _refusal(data: bytes, peer: Peer | None = None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        PROTOCOL.decode(data, peer)
    return caught.value


def _with_crc(data: bytes) -> bytes:
    return data[:-4] + crc16_arc(data[8:-4]).to_bytes(4, "big")


def _frame(*records: dict[str, Any], codec: int = CODEC_8) -> bytes:
    return PROTOCOL.encode(avl(codec, records))


def test_it_is_found_by_its_name() -> None:
    assert load()["teltonika"] is PROTOCOL


# outsiders' frames


def _same_io(said: str | int, found: bytes | int) -> bool:
    return found == (bytes.fromhex(said) if isinstance(said, str) and isinstance(found, bytes) else said)


@pytest.mark.parametrize("vector", CONFORMANT, ids=_name)
def test_outsiders_frames_mean_what_their_parser_says(vector: dict[str, Any]) -> None:
    frame, second_opinion = PROTOCOL.decode(bytes.fromhex(vector["hex"])), vector["ref_decode"]
    assert len(frame.reports) == len(second_opinion.get("records", ()))
    for report, said in zip(frame.reports, second_opinion.get("records", ()), strict=True):
        assert report.captured_at == said["ts_ms"]
        assert {name: report.signals.get(name) for key, name in FIELDS.items() if key in said} == {
            name: said[key] for key, name in FIELDS.items() if key in said
        }
        io = {name[3:]: value for name, value in report.signals.items() if name.startswith("io_")}
        assert io.keys() == said["io"].keys()
        assert all(_same_io(value, io[avl_id]) for avl_id, value in said["io"].items())


@pytest.mark.parametrize("vector", [vector for vector in CONFORMANT if vector["expected"]], ids=_name)
def test_outsiders_frames_mean_what_their_source_says(vector: dict[str, Any]) -> None:
    data, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    frame = PROTOCOL.decode(data)
    facts = frame.facts
    found = {
        "imei": frame.unit,
        "codec": facts.get("codec"),
        "type": facts.get("type"),
        "text": facts.get("text"),
        "payload_hex": facts.get("payload", b"").hex().upper(),
        "timestamp": frame.captured_at and frame.captured_at // 1000,
        "packet_id": facts.get("packet_id"),
        "avl_packet_id": facts.get("avl_packet_id"),
        "crc": int.from_bytes(data[-4:], "big"),
        "record_count": len(frame.reports),
    }
    said = {key: value for key, value in expected.items() if key in found}
    assert {key: found[key] for key in said} == said
    if "ack" in expected:
        answer = PROTOCOL.answer(frame, len(frame.reports))
        assert answer is not None
        assert answer.hex().upper() == expected["ack"]
    for report, record_said in zip(frame.reports, expected.get("records", ()), strict=False):
        assert report.captured_at == record_said["timestamp_ms"]
        assert report.signals["event_id"] == record_said["event_io_id"]
        assert report.signals["longitude"] / 1e7 == record_said["lon"]
        assert {f"io_{avl_id}": value for avl_id, value in record_said["io"].items()}.items() <= report.signals.items()


@pytest.mark.parametrize("vector", NEGATIVE, ids=_name)
def test_outsiders_broken_frames_are_refused_for_what_is_wrong(vector: dict[str, Any]) -> None:
    error, checks = _refusal(bytes.fromhex(vector["hex"])), vector["checks"]
    if not checks["length"]:
        assert error.reason in ("truncated", "bad_length")
    elif checks["checksum"] is False:
        assert error.reason == "bad_checksum"
        assert error.expected != error.found
    else:
        assert error.reason in ("unsupported", "bad_length")


# our own frames


@pytest.mark.parametrize("vector", [own for own in OWN if "kind" in own], ids=lambda vector: vector["name"])
def test_own_frames_decode_as_stated(vector: dict[str, Any]) -> None:
    frame = PROTOCOL.decode(bytes.fromhex(vector["hex"]))
    assert frame.kind == vector["kind"]
    assert "unit" not in vector or frame.unit == vector["unit"]
    assert "text" not in vector or frame.facts["text"] == vector["text"]
    assert "payload" not in vector or frame.facts["payload"].hex() == vector["payload"]
    assert "captured_at" not in vector or frame.captured_at == vector["captured_at"]
    reports = [{"captured_at": report.captured_at, "signals": dict(report.signals)} for report in frame.reports]
    for report in vector.get("reports", ()):
        signals = report["signals"].items()
        report["signals"] = {name: bytes.fromhex(v["bytes"]) if isinstance(v, dict) else v for name, v in signals}
    assert reports == vector.get("reports", [])


@pytest.mark.parametrize("vector", [own for own in OWN if "refused" in own], ids=lambda vector: vector["name"])
def test_own_broken_frames_are_refused_where_they_are_wrong(vector: dict[str, Any]) -> None:
    error = _refusal(bytes.fromhex(vector["hex"]))
    assert error.reason == vector["refused"]
    assert vector["offset"] in (None, error.offset)


@pytest.mark.parametrize("data", GOOD_FRAMES, ids=lambda data: data.hex()[-12:])
def test_building_what_was_parsed_gives_the_frame_back(data: bytes) -> None:
    assert PROTOCOL.encode(PROTOCOL.decode(data)) == data


# nothing but ProtocolError


@pytest.mark.parametrize("data", GOOD_FRAMES, ids=lambda data: data.hex()[-12:])
def test_every_prefix_is_refused(data: bytes) -> None:
    if not data.strip(b"\xff"):
        return  # fewer keep-alives are keep-alives
    for size in range(len(data)):
        assert _refusal(data[:size]).reason in ("truncated", "bad_sync")


@pytest.mark.parametrize("data", EVERY_FRAME, ids=lambda data: data.hex()[-12:])
def test_no_flipped_bit_raises_anything_else(data: bytes) -> None:
    for bit in range(0, 8 * len(data), 1 + len(data) // 100):
        _try(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])


@pytest.mark.parametrize("data", [data for data in GOOD_FRAMES if data.startswith(bytes(4))], ids=lambda data: data.hex()[-12:])
def test_a_flipped_bit_behind_a_crc_is_never_believed(data: bytes) -> None:
    for bit in range(0, 8 * len(data), 1 + len(data) // 100):
        _refusal(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])


# traps


def test_south_and_west_are_negative() -> None:
    (report,) = PROTOCOL.decode(_frame(record(CODEC_8, AT, {"longitude": -703_456_789, "latitude": -334_567_891}))).reports
    assert report.signals["longitude"] == -703_456_789
    assert report.signals["latitude"] == -334_567_891


def test_codec_16_has_ids_of_two_bytes_but_counts_of_one() -> None:
    signals = {"io_256": 1, "io_3": 0, "io_66": 22_074, "generation_type": 5}
    data = _frame(record(CODEC_16, AT, signals), codec=CODEC_16)
    assert data[10 + 24 : 10 + 28] == bytes([0, 0, 5, 3])
    assert signals.items() <= PROTOCOL.decode(data).reports[0].signals.items()


def test_an_extended_record_without_io_is_a_record() -> None:
    assert len(PROTOCOL.decode(_frame(record(CODEC_8E, AT, {}), codec=CODEC_8E)).reports) == 1


def test_a_record_of_255_in_one_packet() -> None:
    frame = PROTOCOL.decode(_frame(*(record(CODEC_8, AT + n, {"io_239": n % 2}) for n in range(255))))
    assert [report.captured_at for report in frame.reports] == [AT + n for n in range(255)]
    assert PROTOCOL.answer(frame, 255) == bytes([0, 0, 0, 255])


def test_a_resent_record_is_the_same_record_by_any_path() -> None:
    first, second = record(CODEC_8E, AT, {"io_239": 1}), record(CODEC_8E, AT + 1000, {"io_239": 0})
    alone = PROTOCOL.decode(_frame(second, codec=CODEC_8E))
    batch = PROTOCOL.decode(_frame(first, second, codec=CODEC_8E))
    channel = PROTOCOL.decode(PROTOCOL.encode(over_udp(avl(CODEC_8E, [second]), IMEI, 7, 9)))
    assert alone.reports[0].record == batch.reports[1].record == channel.reports[0].record
    assert batch.reports[0].record != batch.reports[1].record


def test_the_guess_names_the_other_codec() -> None:
    data = _frame(record(CODEC_8E, AT, {"io_239": 1}), codec=CODEC_8E)
    error = _refusal(_with_crc(data[:8] + bytes([CODEC_8]) + data[9:]))
    assert (error.reason, error.guess) == ("bad_length", "codec 8e, not 08")


@pytest.mark.parametrize(
    ("begin", "end", "guess"),
    [
        (4, -4, "CRC over the length field too"),
        (0, -4, "CRC over the length field too"),
        (8, -5, "CRC without the second count"),
    ],
)
def test_the_guess_names_what_the_crc_was_made_over(begin: int, end: int, guess: str) -> None:
    data = _frame(record(CODEC_8, AT, {"io_239": 1}))
    assert _refusal(data[:-4] + crc16_arc(data[begin:end]).to_bytes(4, "big")).guess == guess


def test_an_edited_length_is_told_from_a_torn_frame() -> None:
    data = _frame(record(CODEC_8, AT, {}))
    edited = _refusal(data[:7] + bytes([data[7] + 40]) + data[8:])
    assert (edited.reason, edited.expected, edited.found) == ("bad_length", str(data[7]), str(data[7] + 40))
    assert _refusal(data[:-1]).reason == "truncated"


@pytest.mark.parametrize("layout", CODEC_13_LAYOUTS)
@pytest.mark.parametrize("text", [b"", b"OK", b"GET DATAORDER\r\n", bytes(40)])
def test_codec_13_is_understood_in_each_layout(layout: str, text: bytes) -> None:
    stamp = AT if layout.startswith("milli") else AT // 1000
    data = PROTOCOL.encode(message(CODEC_13, RESPONSE, text, timestamp=stamp, layout=layout))
    frame = PROTOCOL.decode(data)
    assert (frame.captured_at, frame.facts["payload"], frame.facts["layout"]) == (AT, text, layout)
    assert PROTOCOL.encode(frame) == data


# who speaks


def test_a_login_for_another_unit_is_refused() -> None:
    assert PROTOCOL.decode(PROTOCOL.encode(login(IMEI)), Peer(IMEI)).unit == IMEI
    assert _refusal(PROTOCOL.encode(login(IMEI)), Peer("352093081452251")).reason == "identity_mismatch"


@pytest.mark.parametrize("codec", [CODEC_14, CODEC_15])
def test_a_message_from_another_unit_is_refused(codec: int) -> None:
    data = PROTOCOL.encode(message(codec, RESPONSE, b"OK", imei=IMEI))
    assert PROTOCOL.decode(data, Peer(IMEI)).unit == IMEI
    error = _refusal(data, Peer("352093081452251"))
    assert (error.reason, data[error.offset : error.offset + 8].hex()) == ("identity_mismatch", "0" + IMEI)


def test_a_channel_packet_from_another_unit_is_refused() -> None:
    data = PROTOCOL.encode(over_udp(avl(CODEC_8, [record(CODEC_8, AT, {})]), IMEI, 1, 1))
    error = _refusal(data, Peer("352093081452251"))
    assert (error.reason, data[error.offset : error.offset + 15]) == ("identity_mismatch", IMEI.encode())


def test_a_nack_is_no_claim_to_be_whom_it_names() -> None:
    frame = PROTOCOL.decode(PROTOCOL.encode(message(CODEC_14, REFUSED, b"", imei=IMEI)), Peer("352093081452251"))
    assert (frame.kind, frame.unit, frame.facts["imei"]) == ("nack", None, IMEI)


# answers and commands


def test_answers_say_how_many_records_are_held() -> None:
    frame = avl(CODEC_8, [record(CODEC_8, AT, {})] * 3)
    session = PROTOCOL.answer(PROTOCOL.decode(PROTOCOL.encode(frame)), 3)
    channel = PROTOCOL.answer(PROTOCOL.decode(PROTOCOL.encode(over_udp(frame, IMEI, 0xCAFE, 5))), 2)
    assert session is not None
    assert channel is not None
    assert read_answer(session) == Answer(3)
    assert channel.hex() == "0005cafe010502"
    assert read_answer(channel) == Answer(2, packet_id=0xCAFE, avl_packet_id=5)


def test_a_login_is_answered_and_the_rest_is_not() -> None:
    assert PROTOCOL.answer(login(IMEI), 0) == LOGIN_ACCEPTED
    assert read_answer(LOGIN_ACCEPTED) == Answer(1, login=True)
    for data in (b"\xff", PROTOCOL.encode(message(CODEC_12, RESPONSE, b"OK"))):
        assert PROTOCOL.answer(PROTOCOL.decode(data), 0) is None


@pytest.mark.parametrize("data", [b"", b"\x02", bytes(2), bytes(5), bytes(7), bytes(8)])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_answer(data)


CARRIED = "000000000000002c0c0105000000240101010100000000000000076b0454f001010000f0b2265c98436020da7d63bb650775fc010000fc83"


def test_a_command_envelope_travels_in_codec_12() -> None:
    sealed = bytes.fromhex(CARRIED)[15:-5]
    assert PROTOCOL.carry(IMEI, sealed, AT, b"").hex() == CARRIED
    frame = PROTOCOL.decode(bytes.fromhex(CARRIED))
    assert (frame.kind, frame.facts["envelope"]) == ("command", sealed)


def test_a_response_envelope_is_a_result() -> None:
    sealed = bytes.fromhex("0101010200000000000000076b0454f001010001002f7fc3cfdd5bbc5b44efe1c1098c5e4b")
    frame = PROTOCOL.decode(PROTOCOL.encode(message(CODEC_12, RESPONSE, sealed)))
    assert (frame.kind, frame.facts["envelope"]) == ("result", sealed)
    assert PROTOCOL.decode(PROTOCOL.encode(message(CODEC_12, RESPONSE, sealed[:-1]))).kind == "response"
    assert PROTOCOL.decode(PROTOCOL.encode(message(CODEC_12, RESPONSE, sealed + b"\0"))).kind == "response"


# payloads


def _splits(payload: bytes) -> list[tuple[bytes, str | None]]:
    cuts = list(PROTOCOL.split(payload))
    assert b"".join(cut.data for cut in cuts) == payload
    assert [cut.offset for cut in cuts] == [sum(len(cut.data) for cut in cuts[:n]) for n in range(len(cuts))]
    return [(cut.data, cut.error and cut.error.reason) for cut in cuts]


A, B = _frame(record(CODEC_8, AT, {"io_239": 1})), _frame(record(CODEC_8E, AT, {"io_256": b"VIN"}), codec=CODEC_8E)
LOGIN, CHANNEL = PROTOCOL.encode(login(IMEI)), PROTOCOL.encode(over_udp(avl(CODEC_16, [record(CODEC_16, AT, {})]), IMEI, 1, 2))


def test_a_payload_may_carry_several_packets() -> None:
    packets = [LOGIN, A, b"\xff", B, CHANNEL, A, b"\xff\xff", LOGIN]
    assert _splits(b"".join(packets)) == [(packet, None) for packet in packets]


def test_every_good_frame_is_one_cut() -> None:
    for data in GOOD_FRAMES:
        assert _splits(data) == [(data, None)]


def test_a_payload_of_nothing_has_no_cuts() -> None:
    assert _splits(b"") == []


@pytest.mark.parametrize(
    "garbage", [b"\0", b"x", b"\0\0\0\0", b"hello, world", bytes(40), b"\xfe\xff\xff", LOGIN[:-1], b"\0\x0fABC"]
)
def test_frames_are_found_behind_garbage(garbage: bytes) -> None:
    found = _splits(A + garbage + B + garbage + CHANNEL)
    assert [data for data, reason in found if reason is None] == [A, B, CHANNEL]


def test_a_broken_frame_costs_only_itself() -> None:
    broken = A[:30] + bytes([A[30] ^ 1]) + A[31:]
    assert _splits(A + broken + B) == [(A, None), (broken, "bad_checksum"), (B, None)]


def test_a_channel_packet_is_known_from_noise_by_its_counts() -> None:
    broken = CHANNEL[:-1] + b"\2"
    assert _splits(CHANNEL + broken + A) == [(CHANNEL, None), (broken, "malformed"), (A, None)]


def test_a_torn_frame_does_not_swallow_those_behind_it() -> None:
    for size in range(1, len(A)):
        found = _splits(A[:size] + B + A)
        assert [data for data, reason in found if reason is None] == [B, A], size


def test_an_error_says_where_in_the_payload() -> None:
    broken = A[:-1] + bytes([A[-1] ^ 1])
    error = next(cut.error for cut in PROTOCOL.split(B + broken) if cut.error)
    assert error.offset == len(B) + len(A) - 4


def _hostile() -> Iterator[tuple[str, bytes]]:
    limit = 64 * 1024
    yield "zeros", bytes(limit)
    yield "keep-alives", b"\xff" * limit
    yield "lone keep-alives", b"\xff\x01" * (limit // 2)
    yield "long false starts", (bytes(6) + b"\x70\0\x08") * (limit // 9)
    yield "short false starts", (bytes(6) + b"\0\x03\x08") * (limit // 9)
    yield "false logins", (b"\0\x0f" + b"1" * 14 + b"x") * (limit // 17)
    yield "false channels", (b"\x70\0\0\0\1\0\0\x0f" + b"1" * 15 + b"\x08") * (limit // 24)
    yield "lengths of every kind", b"".join(bytes(6) + n.to_bytes(2, "big") + b"\x08" for n in range(limit // 9))


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(("name", "payload"), list(_hostile()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_work_for_a_hostile_payload_is_bounded(name: str, payload: bytes) -> None:
    honest = A * (len(payload) // len(A))
    began = time.process_time()
    _ = [_try(cut.data) for cut in PROTOCOL.split(honest)]
    honest_s = time.process_time() - began
    began = time.process_time()
    _ = list(PROTOCOL.split(payload))
    assert time.process_time() - began < 4 * honest_s  # work that grows with the square of the size is a hundred times it


# any record, any damage

NUMBERS = st.integers(0, 2**64 - 1)
SIGNALS = st.fixed_dictionaries(
    {
        "longitude": st.integers(-1_800_000_000, 1_800_000_000),
        "latitude": st.integers(-900_000_000, 900_000_000),
        "altitude": st.integers(-(2**15), 2**15 - 1),
        "angle": st.integers(0, 65535),
        "satellites": st.integers(0, 255),
        "speed": st.integers(0, 65535),
        "priority": st.integers(0, 255),
        "event_id": st.integers(0, 255),
    }
)
IO = {
    CODEC_8: st.dictionaries(st.integers(0, 255), NUMBERS, max_size=8),
    CODEC_16: st.dictionaries(st.integers(0, 65535), NUMBERS, max_size=8),
    CODEC_8E: st.dictionaries(st.integers(0, 65535), NUMBERS | st.binary(max_size=40), max_size=8),
}


@st.composite
def packets(draw: st.DrawFn) -> tuple[bytes, list[dict[str, Any]]]:
    """A packet of any codec, and the signals that its records say."""
    codec = draw(st.sampled_from([CODEC_8, CODEC_8E, CODEC_16]))
    said = []
    for _ in range(draw(st.integers(0, 4))):
        signals = draw(SIGNALS) | {f"io_{avl_id}": value for avl_id, value in draw(IO[codec]).items()}
        said.append(signals | ({"generation_type": draw(st.integers(0, 7))} if codec == CODEC_16 else {}))
    frame = avl(codec, [record(codec, AT, signals, sizes={}) for signals in said])
    frame = over_udp(frame, IMEI, 1, 2) if draw(st.booleans()) else frame
    return PROTOCOL.encode(frame), said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(packets())
def test_any_record_is_read_back_as_it_was_said(packet: tuple[bytes, list[dict[str, Any]]]) -> None:
    data, said = packet
    frame = PROTOCOL.decode(data)
    assert [dict(report.signals) for report in frame.reports] == said
    assert PROTOCOL.encode(frame) == data


def _damaged(data: bytes, damage: list[tuple[int, int]]) -> bytes:
    raw = bytearray(data)
    for at, value in damage:
        raw[at % len(raw)] = value
    return bytes(raw)


def _is_only_ever_refused_or_built_again(data: bytes) -> None:
    found = _try(data)
    if isinstance(found, Frame):
        assert PROTOCOL.encode(found) == data
    assert b"".join(cut.data for cut in PROTOCOL.split(data)) == data


DAMAGE = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD_FRAMES), DAMAGE, st.booleans())
@example(A, [(9, 0)], True)
def test_damage_with_a_right_crc_is_refused_or_built_again(data: bytes, damage: list[tuple[int, int]], crc: bool) -> None:
    damaged = _damaged(data, damage)
    _is_only_ever_refused_or_built_again(_with_crc(damaged) if crc and len(damaged) > 12 else damaged)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_noise_is_refused(noise: bytes) -> None:
    _is_only_ever_refused_or_built_again(noise)


@pytest.mark.parametrize(
    "frame",
    [
        Frame("state"),
        Frame("hello"),
        Frame("hello", "12345"),
        Frame("hello", "٣٥٦٣٠٧٠٤٢٤٤١٠١٣"),
        Frame("state", facts={"codec": CODEC_8}),
        Frame("state", facts={"codec": CODEC_8, "data": {"records": [{}]}}),
        Frame("state", facts={"codec": CODEC_8, "data": {"records": [record(CODEC_8, AT, {})] * 256}}),
        Frame("state", facts={"codec": 9, "data": {"records": []}}),
        over_udp(avl(CODEC_8, []), "", 1, 1),
        over_udp(avl(CODEC_8, []), IMEI, 65536, 1),
        Frame("command", facts={"codec": CODEC_12, "layout": "", "data": {"messages": [{"type": COMMAND}]}}),
    ],
)
def test_what_cannot_be_said_is_malformed(frame: Frame) -> None:
    with pytest.raises(ProtocolError) as caught:
        PROTOCOL.encode(frame)
    assert caught.value.reason == "malformed"


def test_bytes_travel_only_in_codec_8_extended() -> None:
    with pytest.raises(ProtocolError):
        record(CODEC_8, AT, {"io_256": b"WVWZZZ1KZAW000001"})


def test_a_signed_io_travels_as_twos_complement_of_its_size() -> None:
    (report,) = PROTOCOL.decode(_frame(record(CODEC_8, AT, {"io_17": -27, "io_72": -105}))).reports
    assert (report.signals["io_17"], report.signals["io_72"]) == (2**16 - 27, 2**32 - 105)
