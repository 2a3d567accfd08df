"""The framer: the same frames however the network cuts the stream, garbage skipped, memory bounded."""

import json
from collections.abc import Sequence
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.codec import Cut, ProtocolError
from protocols.gbt32960 import PROTOCOL as GBT32960
from protocols.stream import HEADER_WINDOW_BYTES, RESYNC_LIMIT_BYTES, Framer, Framing, cuts
from protocols.teltonika import PROTOCOL
from protocols.teltonika_layouts import CODEC_8, CODEC_8E, CODEC_12, CODEC_16, RESPONSE
from protocols.teltonika_session import avl, login, message, record

SHARED = Path(__file__).parents[3] / "shared" / "vectors"
LIMIT_BYTES = 2048
AT = 1_769_779_325_000


def _encoded(codec: int, **signals: int) -> bytes:
    return PROTOCOL.encode(avl(codec, [record(codec, AT, signals)]))


LOGIN = PROTOCOL.encode(login("356307042441013"))
SHORT = _encoded(CODEC_8, io_239=1, speed=50)
LONG = PROTOCOL.encode(avl(CODEC_8E, [record(CODEC_8E, AT, {"io_256": bytes(range(200))})] * 3))
TEXT = PROTOCOL.encode(message(CODEC_12, RESPONSE, b"getver: 1"))
BROKEN = SHORT[:30] + bytes([SHORT[30] ^ 1]) + SHORT[31:]
FF = b"\xff"
SESSION = (LOGIN, SHORT, FF, FF, LONG, TEXT, FF, LOGIN, _encoded(CODEC_16, generation_type=7))


def _gbt_measure(head: bytes) -> int | None:
    """GB/T 32960.3 table 2: `##` or `$$`, a header of 24 bytes with the length of the data unit at its end, a check byte."""
    if not (b"##".startswith(head[:2]) or b"$$".startswith(head[:2])):
        raise ProtocolError("bad_sync", 0, "start", expected="2323 or 2424", found=head[:2].hex())
    return 24 + int.from_bytes(head[22:24], "big") + 1 if len(head) >= 24 else None


def _gbt_check(frame: bytes) -> None:
    if reduce(xor, frame[2:]):
        raise ProtocolError("bad_checksum", len(frame) - 1, "bcc")


GBT = Framing(_gbt_measure, _gbt_check)
"""As little as a protocol must say."""


def _gbt(start: bytes, command: int, data: bytes) -> bytes:
    body = bytes([command, 0xFE]) + b"LSVAM4187C2184847" + b"\1" + len(data).to_bytes(2, "big") + data
    return start + body + bytes([reduce(xor, body)])


GBT_SESSION = (_gbt(b"##", 1, bytes(30)), _gbt(b"$$", 2, b"##$$##" * 9), _gbt(b"##", 7, b""), _gbt(b"##", 8, b"#"))


def _received(framing: Framing, chunks: Sequence[bytes], limit_bytes: int = LIMIT_BYTES) -> list[Cut]:
    framer = Framer(framing, limit_bytes)
    found: list[Cut] = []
    for chunk in chunks:
        found += framer.receive(chunk)
        assert framer.held_bytes < limit_bytes
    found += framer.close()
    assert framer.held_bytes == 0
    assert b"".join(cut.data for cut in found) == b"".join(chunks)
    at = 0
    for cut in found:
        assert cut.offset == at
        assert cut.error is None or cut.error.offset >= at
        at += len(cut.data)
    return found


def _frames(found: Sequence[Cut]) -> list[bytes]:
    """Without the keep-alives: a run of them is as many cuts as chunks that it came in."""
    return [cut.data for cut in found if cut.error is None and cut.data.strip(FF)]


@pytest.mark.parametrize(
    ("framing", "session"), [(PROTOCOL.framing, SESSION), (GBT, GBT_SESSION), (GBT32960.framing, GBT_SESSION)]
)
def test_every_split_point_gives_the_same_frames(framing: Framing, session: tuple[bytes, ...]) -> None:
    stream = b"".join(session)
    for at in range(len(stream) + 1):
        found = _received(framing, [stream[:at], stream[at:]])
        assert _frames(found) == [frame for frame in session if frame != FF]
        assert not [cut for cut in found if cut.error]


@pytest.mark.parametrize(("framing", "session"), [(PROTOCOL.framing, SESSION), (GBT, GBT_SESSION)])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 65, 1000])
def test_chunks_of_any_size_give_the_same_frames(framing: Framing, session: tuple[bytes, ...], size: int) -> None:
    stream = b"".join(session)
    found = _received(framing, [stream[at : at + size] for at in range(0, len(stream), size)])
    assert _frames(found) == [frame for frame in session if frame != FF]


def test_a_frame_comes_out_with_its_last_byte() -> None:
    framer = Framer(PROTOCOL.framing)
    for frame in (LOGIN, SHORT, TEXT, LONG):
        assert [cut for byte in frame[:-1] for cut in framer.receive(bytes([byte]))] == []
        assert framer.receive(frame[-1:]) == [Cut(framer.offset - len(frame), frame)]


def test_keep_alives_glued_before_a_frame_are_cuts_of_their_own() -> None:
    assert [cut.data for cut in Framer(PROTOCOL.framing).receive(FF * 3 + LOGIN)] == [FF * 3, LOGIN]


GARBAGE = [
    b"x",
    bytes(1),
    bytes(4),
    bytes(11),
    b"GET / HTTP/1.1\r\n\r\n",
    bytes(range(256)),
    LOGIN[:9],
    SHORT[:20],
    SHORT[5:],
    BROKEN,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: garbage.hex()[:24])
def test_frames_behind_garbage_are_found_at_every_split_point(garbage: bytes) -> None:
    stream = SHORT + garbage + LONG + SHORT
    for at in range(len(stream) + 1):
        found = _received(PROTOCOL.framing, [stream[:at], stream[at:]])
        assert _frames(found) == [SHORT, LONG, SHORT]
        assert any(cut.error for cut in found)


@pytest.mark.parametrize("garbage", [b"x", b"#", b"##", b"$#", GBT_SESSION[1][:-1], GBT_SESSION[0][:40]], ids=bytes.hex)
@pytest.mark.parametrize("framing", [GBT, GBT32960.framing])
def test_another_protocols_frames_are_found_behind_garbage(framing: Framing, garbage: bytes) -> None:
    stream = GBT_SESSION[0] + garbage + GBT_SESSION[2] + GBT_SESSION[3]
    for at in range(len(stream) + 1):
        found = _frames(_received(framing, [stream[:at], stream[at:]]))
        assert found[0] == GBT_SESSION[0]
        assert found[-1] == GBT_SESSION[3]


def test_a_login_in_what_a_torn_frame_takes_for_its_own_is_found_however_the_stream_was_cut() -> None:
    stream = SHORT[:20] + bytes(11) + LOGIN
    for at in range(len(stream) + 1):
        assert _frames(_received(PROTOCOL.framing, [stream[:at], stream[at:]])) == [LOGIN], at


PIECES = st.lists(st.sampled_from([LOGIN, SHORT, LONG, TEXT, BROKEN, *GARBAGE]) | st.binary(max_size=30), max_size=6)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.integers(1, 300), max_size=20))
def test_the_frames_do_not_depend_on_the_chunks(pieces: list[bytes], sizes: list[int]) -> None:
    stream, chunks, at = b"".join(pieces), [], 0
    for size in sizes:
        chunks.append(stream[at : at + size])
        at += size
    assert _frames(_received(PROTOCOL.framing, [*chunks, stream[at:]])) == _frames(_received(PROTOCOL.framing, [stream]))


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_a_frame_between_frames_is_never_lost(pieces: list[bytes]) -> None:
    """Behind whatever came before, from the second good frame on at the latest: the first may complete a false one."""
    found = _frames(_received(PROTOCOL.framing, [*pieces, SHORT, bytes(LIMIT_BYTES), SHORT, LONG]))
    assert found[-2:] == [SHORT, LONG]


def test_a_broken_frame_is_told_at_once_and_costs_only_itself() -> None:
    framer = Framer(PROTOCOL.framing)
    (told,) = framer.receive(BROKEN)
    assert told.error is not None
    assert (told.data, told.error.reason, told.error.offset) == (BROKEN, "bad_checksum", len(BROKEN) - 4)
    assert framer.receive(SHORT) == [Cut(len(BROKEN), SHORT)]


def test_a_false_start_inside_a_broken_frame_does_not_break_it_up() -> None:
    false = bytes(6) + b"\0\x03\x0c\0\0\0\0\0\0"
    text = PROTOCOL.encode(message(CODEC_12, RESPONSE, b"text" + false + b"text"))
    broken = text[:16] + b"T" + text[17:]
    found = _received(PROTOCOL.framing, [SHORT + broken + SHORT])
    assert [cut.data for cut in found] == [SHORT, broken, SHORT]


@pytest.mark.parametrize("size", [b"\x70\0", b"\0\x10"])
def test_false_starts_are_checked_for_a_bounded_number_of_bytes(size: bytes) -> None:
    checked = []

    def check(frame: bytes) -> None:
        checked.append(len(frame))
        raise ProtocolError("bad_checksum")

    for _ in cuts((bytes(6) + size + b"\x08") * 7000, Framing(PROTOCOL.framing.measure, check, PROTOCOL.framing.starts)):
        pass
    assert len(checked) > 8
    assert sum(checked) < RESYNC_LIMIT_BYTES + 3 * 64 * 1024


def test_garbage_is_told_at_once() -> None:
    (told,) = Framer(PROTOCOL.framing).receive(b"GET / HTTP/1.1\r\n\r\n")
    assert told.error is not None
    assert told.error.reason == "bad_sync"


def test_a_frame_longer_than_the_limit_is_refused_from_its_header() -> None:
    framer = Framer(PROTOCOL.framing, limit_bytes=256)
    (told, *_) = framer.receive(LONG[:8])
    assert told.error is not None
    assert told.error.reason == "oversized"
    assert framer.held_bytes < 256


def test_memory_is_bounded_whatever_comes() -> None:
    header = bytes(6) + (LIMIT_BYTES - 12).to_bytes(2, "big") + b"\x08"
    for hostile in (header, bytes(1), b"\xff", b"\0\x0f", b"\x08", LOGIN[:-1], header + b"\0\x0f"):
        framer = Framer(PROTOCOL.framing, LIMIT_BYTES)
        for _ in range(12_000 // len(hostile)):
            framer.receive(hostile)
            assert framer.held_bytes < LIMIT_BYTES


def test_the_end_of_the_stream_says_what_is_missing() -> None:
    for size in range(1, len(SHORT)):
        framer = Framer(PROTOCOL.framing)
        assert framer.receive(LOGIN + SHORT[:size]) == [Cut(0, LOGIN)]
        error = framer.close()[0].error
        assert error is not None
        assert (error.reason, error.offset) == ("truncated", len(LOGIN) + size)
    assert Framer(PROTOCOL.framing).close() == []


def test_a_limit_below_a_header_is_a_header() -> None:
    assert Framer(PROTOCOL.framing, limit_bytes=1).receive(TEXT[:HEADER_WINDOW_BYTES]) == [Cut(0, TEXT)]


def test_each_byte_of_a_buffer_is_in_one_cut() -> None:
    data = SHORT + b"garbage" + LONG + BROKEN + LONG[:-1]
    found = list(cuts(data, PROTOCOL.framing))
    assert b"".join(cut.data for cut in found) == data
    assert [cut.error and cut.error.reason for cut in found] == [None, "bad_sync", None, "bad_checksum", "truncated"]


@pytest.mark.skipif(not SHARED.exists(), reason="outsiders' frames are not here")
@pytest.mark.parametrize(("framing", "file"), [(PROTOCOL.framing, "teltonika.jsonl"), (GBT32960.framing, "gb32960.jsonl")])
def test_outsiders_sessions_survive_every_split_point(framing: Framing, file: str) -> None:
    vectors = [json.loads(line) for line in (SHARED / file).read_text().splitlines()]
    sessions = [vector for vector in vectors if vector["conformant"] and not vector["kind"].endswith("udp")]
    frames = [bytes.fromhex(vector["hex"]) for vector in sessions]
    stream = b"".join(frames)
    for at in range(0, len(stream), 7):
        assert _frames(_received(framing, [stream[:at], stream[at:]], 65536)) == frames
