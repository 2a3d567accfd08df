"""Any frame is explained: every byte once and in order, what is wrong and where, and nothing is ever raised."""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import load
from protocols.checksums import bcc, crc16_arc, crc16_ccitt_false
from protocols.codec import Peer, Protocol, ProtocolError
from protocols.explain import Explanation, Field, explain, guess, plain
from protocols.teltonika_layouts import CODEC_8
from protocols.teltonika_session import avl, record

ROOT = Path(__file__).parents[2]
OWN = ROOT / "tests" / "vectors"
OUTSIDERS = ROOT.parent / "shared" / "vectors"
OUTSIDERS_FILES = {
    "autoapi": ("autoapi.jsonl", "message_hex_derived"),
    "gbt32960": ("gb32960.jsonl", "hex"),
    "teltonika": ("teltonika.jsonl", "hex"),
}
CHECKED = ("cloudboxx", "gbt32960", "teltonika")
"""The protocols with a checksum."""

TAMPERED_LIMIT = 200
"""Damaged copies of frames looked at in one test."""


@cache
def vectors(protocol: str) -> tuple[bytes, ...]:
    said = json.loads((OWN / f"{protocol}.json").read_text())
    found = [each["hex"] for each in (said["frames"] if isinstance(said, dict) else said) if "hex" in each]
    name, key = OUTSIDERS_FILES.get(protocol, ("", ""))
    if name and (OUTSIDERS / name).exists():
        found += [json.loads(line)[key] for line in (OUTSIDERS / name).read_text().splitlines()]
    return tuple(bytes.fromhex(each) for each in found if each)


@cache
def good(protocol: str) -> tuple[bytes, ...]:
    """Those that are one whole, right frame."""
    return tuple(each for each in vectors(protocol) if holds(each, load()[protocol]))


def holds(data: bytes, protocol: Protocol) -> bool:
    try:
        protocol.decode(data)
    except ProtocolError:
        return False
    return True


def explained(payload: bytes, protocol: str) -> list[Explanation]:
    """What `explain` says, after a look at whether it covers every byte once, in order, and can be said in JSON."""
    found = explain(payload, load()[protocol])
    at = 0
    for field in (field for each in found for field in each.fields):
        assert (field.offset, field.size, field.raw) == (at, len(field.raw), payload[at : at + field.size])
        assert field.size > 0
        at += field.size
    assert at == len(payload)
    for each in found:
        json.loads(json.dumps(each.document(), allow_nan=False))
        assert each.error is None or 0 <= each.error.offset <= len(payload)
        assert not each.checksum or each.checksum["expected"] == each.checksum["found"] or each.error
    return found


@cache
def only(payload: bytes, protocol: str) -> Explanation:
    (found,) = explained(payload, protocol)
    return found


def named(found: Explanation) -> dict[str, Field]:
    return {field.name: field for field in found.fields}


def wrong(found: Explanation) -> ProtocolError:
    assert found.error is not None
    return found.error


def damaged(protocol: str) -> Iterator[bytes]:
    """Vectors cut short, with a bit flipped, with bytes put in and taken out, and behind one another; always the same ones."""
    chance = random.Random(protocol)
    for _ in range(TAMPERED_LIMIT):
        data = bytearray(chance.choice(vectors(protocol))[:600])
        match chance.randrange(5):
            case 0:
                del data[chance.randrange(len(data) + 1) :]
            case 1 if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 2:
                at = chance.randrange(len(data) + 1)
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                at = chance.randrange(len(data) + 1)
                del data[at : at + chance.randrange(1, 9)]
            case _:
                data += chance.choice(vectors(protocol))[:600]
        yield bytes(data)


@pytest.mark.parametrize("protocol", load())
def test_every_byte_of_every_vector_is_covered_once_in_order(protocol: str):
    for data in vectors(protocol):
        explained(data, protocol)


@pytest.mark.parametrize("protocol", load())
def test_every_byte_of_a_right_frame_has_a_name(protocol: str):
    assert good(protocol)
    for data in good(protocol):
        found = only(data, protocol)
        assert found.error is None
        assert [field.raw.hex() for field in found.fields if not field.name] == []


@pytest.mark.parametrize("protocol", load())
def test_no_two_fields_of_a_frame_have_one_name(protocol: str):
    for data in good(protocol):
        names = [field.name for field in only(data, protocol).fields]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("protocol", load())
def test_nothing_is_raised_whatever_is_broken(protocol: str):
    for data in damaged(protocol):
        explained(data, protocol)


@pytest.mark.parametrize("protocol", load())
def test_nothing_is_raised_by_the_frames_of_others(protocol: str):
    for other in load():
        for data in random.Random(protocol + other).sample(good(other), min(len(good(other)), 40)):
            explained(data, protocol)


@pytest.mark.parametrize("protocol", load())
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=80))
def test_nothing_is_raised_by_noise(protocol: str, data: bytes):
    for start in (b"", *load()[protocol].starts):
        explained(start + data, protocol)


@pytest.mark.parametrize("protocol", CHECKED)
def test_a_bad_checksum_names_what_is_expected_and_found(protocol: str):
    tried = 0
    for data in good(protocol):
        whole = only(data, protocol)
        if whole.checksum is None:
            continue  # logins, keep-alives and the UDP channel have none
        assert whole.checksum["expected"] == whole.checksum["found"]
        spoilt = data[:-1] + bytes([data[-1] ^ 0x01])
        (broken, *_) = explained(spoilt, protocol)
        assert wrong(broken).reason == "bad_checksum"
        assert broken.checksum is not None
        assert broken.checksum["expected"] == whole.checksum["expected"] == wrong(broken).expected
        assert broken.checksum["found"] == wrong(broken).found != whole.checksum["found"]
        tried += 1
    assert tried > 5


@pytest.mark.parametrize("protocol", load())
def test_the_protocol_of_every_right_frame_is_guessed(protocol: str):
    for data in good(protocol):
        assert guess(data).name == protocol, data.hex()


@pytest.mark.parametrize("protocol", load())
def test_the_protocol_of_a_frame_that_was_cut_off_is_guessed_from_its_beginning(protocol: str):
    for data in good(protocol):
        if len(data) >= 24:
            assert guess(data[:-1]).name == protocol, data.hex()


@pytest.mark.parametrize("protocol", CHECKED)
def test_the_protocol_of_a_frame_with_a_bad_checksum_is_guessed(protocol: str):
    for data in good(protocol):
        if only(data, protocol).checksum:
            assert guess(data[:-1] + bytes([data[-1] ^ 0x10])).name == protocol, data.hex()


def test_broken_frames_among_good_ones_do_not_mislead_the_guess():
    for protocol in CHECKED:
        frames = [data for data in good(protocol) if len(data) > 24][:8]
        torn = b"".join([frames[0][:-3], *frames[1:]])
        assert guess(torn).name == protocol
        assert guess(b"\x55\xaa" + b"".join(frames)).name == protocol


# Why: what people do to frames ------------------------------------------------------------------------------------------

TELTONIKA = bytes.fromhex("000000000000002308010000019c0f11684802d61219ebec0ee62dfe5101670c0083ef0101ef010000000100006991")
GBT32960 = bytes.fromhex(
    "232301fe4c54454c45303050304e303030303031370100261a011e151605000138393836303031323334353637383930313233340204414230314142303299"
)


def with_arc(data: bytes) -> bytes:
    return data[:-4] + crc16_arc(data[8:-4]).to_bytes(4, "big")


def with_bcc(data: bytes) -> bytes:
    return data[:-1] + bytes([bcc(data[2:-1])])


def cloudboxx() -> bytes:
    return next(data for data in vectors("cloudboxx") if data[2] == 2)


def with_ccitt(data: bytes) -> bytes:
    return data[:-2] + crc16_ccitt_false(data[:-2]).to_bytes(2, "little")


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "protocol", "reason", "offset", "guessed"),
    [
        (TELTONIKA[:-7], "teltonika", "truncated", 40, "cut off"),
        (GBT32960[:-7], "gbt32960", "truncated", 56, "cut off"),
        (cloudboxx()[:-1], "cloudboxx", "truncated", len(cloudboxx()) - 1, "cut off"),
        (edited(TELTONIKA, 20, b"\x55"), "teltonika", "bad_checksum", 43, "changed after"),
        (edited(GBT32960, 30, b"\x55"), "gbt32960", "bad_checksum", 62, "changed after"),
        (edited(TELTONIKA, 4, b"\0\0\0\x24"), "teltonika", "bad_length", 4, "length field was edited"),
        (edited(TELTONIKA, 4, b"\0\0\0\x22"), "teltonika", "bad_length", 4, "length field was edited"),
        (edited(TELTONIKA, 4, b"\x23\0\0\0"), "teltonika", "oversized", 4, "swapped: it is big-endian"),
        (with_bcc(edited(GBT32960, 22, b"\x26\x00")), "gbt32960", "truncated", 63, "swapped: it is big-endian"),
        (with_bcc(edited(GBT32960, 22, b"\x00\x25")), "gbt32960", "bad_length", 22, "length field was edited"),
        (
            with_ccitt(edited(cloudboxx(), 22, cloudboxx()[23:21:-1])),
            "cloudboxx",
            "oversized",
            22,
            "swapped: it is little-endian",
        ),
        (with_arc(edited(TELTONIKA, 8, b"\x8e")), "teltonika", "bad_length", None, "codec 08"),
        (TELTONIKA[:-4] + TELTONIKA[-4:-2] + TELTONIKA[:-3:-1], "teltonika", "bad_checksum", 43, "swapped"),
        (GBT32960[:-1] + bytes([bcc(GBT32960[24:-1])]), "gbt32960", "bad_checksum", 62, "data unit only"),
        (TELTONIKA, "cloudboxx", "bad_sync", 0, "another protocol, teltonika"),
        (GBT32960, "teltonika", None, None, "another protocol, gbt32960"),
    ],
)
def test_the_first_thing_that_is_wrong_is_said_with_the_best_guess_why(
    data: bytes, protocol: str, reason: str | None, offset: int | None, guessed: str
):
    error = wrong(explained(data, protocol)[0])
    assert guessed in error.guess
    assert reason in (None, error.reason)
    assert offset in (None, error.offset)
    assert error.expected or error.found


# What: names, units and words -------------------------------------------------------------------------------------------


def test_the_elements_of_lists_are_numbered():
    records = [record(CODEC_8, 1_769_779_325_000, {"io_1": number, "io_21": 3}) for number in (0, 1)]
    names = named(only(load()["teltonika"].encode(avl(CODEC_8, records)), "teltonika"))
    assert [names[f"data.records.{number}.timestamp"].offset for number in (0, 1)] == [10, 44]
    assert [names[f"data.records.1.bytes_1.items.{number}.id"].value for number in (0, 1)] == [1, 21]


def test_teltonika_fields_have_units_and_words():
    fields = named(only(TELTONIKA, "teltonika"))
    assert fields["data.records.0.timestamp"].meaning == "2026-01-30T13:22:05Z"
    assert fields["data.records.0.priority"].meaning == "panic"
    assert (fields["data.records.0.longitude"].unit, fields["data.records.0.speed"].unit) == ("1e-7 deg", "km/h")
    assert fields["data.records.0.longitude"].meaning.startswith("-70.3456789 deg")
    assert fields["data.records.0.bytes_1.items.0.value"].meaning == "of AVL id 239"
    assert fields["data.codec"].meaning.startswith("Codec 8:")


def test_gbt32960_fields_have_units_and_words():
    said = named(only(report(b"\x01" + bytes.fromhex("010301003a00001a0a0064277450022e07d0fffe"), 2016), "gbt32960"))
    values = {name.removeprefix("body.items.0.body."): field.meaning for name, field in said.items()}
    assert values["body.time.year"] == "2026"
    assert values["speed"] == "5.8 km/h"
    assert values["total_current"] == "10 A"
    assert (values["vehicle_state"], values["gear"]) == ("on", "D, driving force")
    assert (values["accelerator"], values["brake"]) == ("invalid", "abnormal")
    later = named(only(report(b"\x02\x01\x01\x01\x32\x7d\x00\x00\x03\x0d\x40\x32", 2025), "gbt32960"))
    assert later["body.items.0.body.motors.0.speed"].meaning == "0 1/min"
    assert later["body.items.0.body.motors.0.torque"].meaning == "0 N.m"


def test_what_is_read_in_the_end_stands_for_what_was_tried_before():
    fields = named(only(framed(b"##\x02\x01", b"\x05\0\x06\xf4\x05\x0a\x02\x62\x5d\x0c"), "gbt32960"))  # items without a time
    assert fields["body.items.0.type"].offset == 24
    assert fields["body.items.0.body.longitude"].meaning == "116.65537 deg"


def report(items: bytes, edition: int) -> bytes:
    """A realtime frame with these items."""
    return framed(b"##\x02\xfe" if edition == 2016 else b"$$\x02\xfe", bytes((26, 1, 30, 21, 22, 5)) + items)


def framed(start: bytes, content: bytes) -> bytes:
    """A GB/T 32960.3 frame in plain text; `start` is sync, command and flag."""
    return with_bcc(start + b"LTELE00P0N0000017" + b"\x01" + len(content).to_bytes(2, "big") + content + b"\0")


def test_autoapi_fields_go_by_the_names_of_their_properties():
    fields = named(only(bytes.fromhex("0d0033011f000d01000a120e408f400000000000a2000b0100080000019c0f116848"), "autoapi"))
    value = fields["diagnostics.odometer.value.value"]
    assert (value.offset, value.value, value.unit, value.meaning) == (12, 1000.0, "miles", "1609.344 kilometers")
    assert fields["diagnostics.timestamp.value"].meaning == "2026-01-30T13:22:05Z"
    lock = named(only(bytes.fromhex("0d00200106000401000101"), "autoapi"))["doors.locks_state.value"]
    assert (lock.value, lock.raw) == ("locked", b"\1")


def test_a_message_in_a_message_is_read_to_its_last_byte():
    inner = bytes.fromhex("0d00200106000401000101")
    size = len(inner).to_bytes(2, "big")
    outer = b"\x0d\x00\x11\x01\x99" + (len(inner) + 3).to_bytes(2, "big") + b"\x01" + size + inner
    field = named(only(outer, "autoapi"))["vehicle_status.states.0.doors.locks_state.value"]
    assert (field.offset, field.value) == (len(outer) - 1, "locked")


@pytest.mark.parametrize("protocol", ["teltonika", "gbt32960", "autoapi"])
def test_a_command_envelope_is_read_in_whatever_carries_it(protocol: str):
    envelope = bytes.fromhex("0101010100000000000000076b0454f001010000f0b2265c98436020da7d63bb650775fc")
    fields = named(only(load()[protocol].carry("356307042441013", envelope, 1_769_779_325_000, b""), protocol))
    assert fields["envelope.command"].meaning == "unlock-central-lock"
    assert fields["envelope.type"].meaning == "request"
    assert fields["envelope.tag"].size == 16


def test_a_forged_frame_is_told_where_the_unit_and_its_key_are_known():
    frame = cloudboxx()
    found = explain(frame, load()["cloudboxx"], Peer(frame[4:12].hex().upper(), (bytes(32),)))
    assert wrong(found[0]).reason == "forged"


def test_what_is_not_finite_can_still_be_said():
    assert plain([float("nan"), float("-inf"), b"\xff", b"OK\0"]) == ["nan", "-inf", "ff", "OK"]


@pytest.mark.parametrize("protocol", load())
def test_what_is_wrong_behind_a_right_frame_is_counted_from_the_payloads_start(protocol: str):
    first = max(good(protocol)[:10], key=len)
    found = explained(first + first[: len(first) // 2], protocol)
    assert found[0].error is None
    assert len(first) <= wrong(found[1]).offset <= len(first) + len(first) // 2
