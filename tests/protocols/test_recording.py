"""What a recording promises, however it was cut, damaged or handed over."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.codec import ProtocolError, UnitId
from protocols.recording import BLOCK_HEAD_BYTES, MAGIC, SYNC, Reader, Record, block, header, is_recording, read

AT = 1_795_446_000_000_000
ABOUT = {"broker": "mqtt://127.0.0.1:1883", "topics": ["v1/#"]}
RECORDS = st.builds(
    Record,
    st.integers(AT - 10**9, AT + 10**15),
    st.text(min_size=1, max_size=40),
    st.binary(max_size=300),
    st.integers(0, 2),
    st.booleans(),
)


def records(count: int, start: int = 0) -> list[Record]:
    """Some traffic of three units."""
    return [
        Record(AT + 1000 * place, f"v1/CLOUDBOXX/{place % 3:016X}/up", SYNC + b"frame %d" % place)
        for place in range(start, start + count)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RECORDS, max_size=20), max_size=4))
def test_what_was_recorded_is_read_again_in_order(blocks: list[list[Record]]) -> None:
    data = header(ABOUT) + b"".join(block(each) for each in blocks)
    assert read(data) == ([record for each in blocks for record in each], [])


def test_the_header_says_what_was_recorded_and_is_told_from_other_files() -> None:
    reader = Reader()
    assert list(reader.feed(header(ABOUT))) == []
    assert reader.about == ABOUT
    assert is_recording(header(ABOUT))
    assert not is_recording(b"cb01")
    assert not is_recording(b"")


def test_pieces_of_any_size_give_the_same_records() -> None:
    data = header(ABOUT) + block(records(20)) + block(records(5, 20))
    for size in (1, 7, 31, 1000):
        reader = Reader()
        found = [each for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
        reader.finish()
        assert found == records(25)
        assert reader.damage == []
        assert reader.whole == len(data)


def test_a_torn_last_block_is_said_and_costs_nothing_before_it() -> None:
    whole = header(ABOUT) + block(records(10))
    data = whole + block(records(10, 10))
    for end in range(len(whole) + 1, len(data)):
        reader = Reader()
        assert list(reader.feed(data[:end])) == records(10)
        reader.finish()
        assert [(error.reason, error.offset) for error in reader.damage] == [("truncated", len(whole))]
        assert reader.whole == len(whole)


def test_a_damaged_block_costs_itself_and_no_other() -> None:
    first, second, third = block(records(10)), block(records(10, 10)), block(records(10, 20))
    start = len(header(ABOUT)) + len(first)
    for place in range(len(second)):
        broken = bytearray(second)
        broken[place] ^= 0x40
        found, damage = read(header(ABOUT) + first + bytes(broken) + third)
        assert found == records(10) + records(10, 20)
        assert [error.offset for error in damage] == [start]
        assert damage[0].reason == ("bad_sync" if place < BLOCK_HEAD_BYTES else "bad_checksum")


def test_any_bytes_are_records_or_one_error() -> None:
    dice = random.Random(7)
    data = header(ABOUT) + block(records(30))
    for _ in range(3000):
        noise = bytearray(data)
        for _ in range(dice.randint(1, 6)):
            noise[dice.randrange(len(noise))] = dice.randrange(256)
        del noise[dice.randrange(len(noise)) :]
        try:
            found, _ = read(bytes(noise))
        except ProtocolError:
            continue
        assert all(record in records(30) for record in found)


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"", "truncated", 0),
        (MAGIC, "truncated", 8),
        (b"cb01" * 10, "bad_sync", 0),
        (MAGIC + b"\x02" + header(ABOUT)[9:], "unsupported", 8),
        (header(ABOUT)[:-1] + b"\x00", "bad_checksum", len(header(ABOUT)) - 4),
    ],
)
def test_what_is_no_recording_is_refused_by_name(data: bytes, reason: str, offset: int) -> None:
    with pytest.raises(ProtocolError) as error:
        read(data)
    assert (error.value.reason, error.value.offset) == (reason, offset)


def test_a_record_knows_its_unit_by_its_topic() -> None:
    up = Record(AT, "v1/TELTONIKA/352093081452251/up", b"")
    assert up.unit == UnitId("TELTONIKA", "352093081452251")
    assert up.channel == "up"
    assert Record(AT, "v1/x/up", b"").unit is None
    assert Record(AT, "$SYS/broker/uptime/now", b"").channel == ""
