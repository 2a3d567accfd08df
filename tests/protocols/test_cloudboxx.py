"""The CloudBoxx wire format: what goes in comes out, and whatever else arrives is refused by its right name."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import load
from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import FRAME_LIMIT_BYTES, OVERHEAD_BYTES, SIGNALS
from protocols.codec import Frame, Peer, ProtocolError, Report
from protocols.page import page
from protocols.seal import seal

ROOT = Path(__file__).parents[2]
QNR = "0123456789ABCDEF"
KEY = bytes(range(32))
PEER = Peer(QNR, (KEY,))
CLOUDBOXX = load()["cloudboxx"]
VECTORS = json.loads((ROOT / "tests/vectors/cloudboxx.json").read_text())


def state(sequence: int = 7, **signals: int) -> Frame:
    return Frame("state", QNR, sequence, 1_795_446_000_123, (Report(b"", None, signals),), {"flags": 2})


def resealed(data: bytes) -> bytes:
    """`data` with its seal and CRC made right again, so that what lies behind them is reached."""
    sealed = data[:-10]
    sealed += seal(sealed, KEY)
    return sealed + crc16_ccitt_false(sealed).to_bytes(2, "little")


def refusal(data: bytes) -> ProtocolError | None:
    try:
        CLOUDBOXX.decode(data, PEER)
    except ProtocolError as error:
        return error
    return None


def signal_values() -> st.SearchStrategy[dict[str, int]]:
    def limits(signal):
        bits = 8 * signal.form.length
        signed = signal.form.fmtstr[-1].islower()
        return st.integers(-(1 << bits - 1) if signed else 0, (1 << bits - 1) - 1 if signed else (1 << bits) - 1)

    return st.fixed_dictionaries({}, optional={signal.name: limits(signal) for signal in SIGNALS})


FRAME = CLOUDBOXX.encode(state(oldest_sequence=5, latitude=507_000_000, longitude=-71_000_000, doors=0b01000100), KEY)


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["name"])
def test_vectors_decode_and_build(vector):
    data, key = bytes.fromhex(vector["hex"]), bytes.fromhex(VECTORS["seal_key"])
    frame = CLOUDBOXX.decode(data, Peer(VECTORS["unit"], (key,)))
    assert frame.kind == vector["kind"]
    assert frame.sequence == vector["sequence"]
    assert frame.captured_at == vector["captured_at"]
    if "signals" in vector:
        assert dict(frame.reports[0].signals) == vector["signals"]
    facts = {name: value.hex() if isinstance(value, bytes) else value for name, value in frame.facts.items()}
    assert vector["facts"].items() <= facts.items()
    assert CLOUDBOXX.encode(frame, key) == data


@given(signals=signal_values(), sequence=st.integers(0, 2**32 - 1), at=st.integers(0, (2**32 - 1) * 1000))
def test_what_is_said_is_what_is_heard(signals, sequence, at):
    said = Frame("event", QNR, sequence, at, (Report(b"", None, signals),), {"flags": 0})
    data = CLOUDBOXX.encode(said, KEY)
    heard = CLOUDBOXX.decode(data, PEER)
    assert (heard.kind, heard.unit, heard.sequence, heard.captured_at) == ("event", QNR, sequence, at)
    assert dict(heard.reports[0].signals) == signals
    assert CLOUDBOXX.encode(heard, KEY) == data


def test_every_prefix_is_refused():
    for size in range(len(FRAME)):
        with pytest.raises(ProtocolError) as refused:
            CLOUDBOXX.decode(FRAME[:size], PEER)
        assert refused.value.reason == "truncated"


def test_every_flipped_bit_is_refused():
    for bit in range(8 * len(FRAME)):
        data = bytearray(FRAME)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError) as refused:
            CLOUDBOXX.decode(bytes(data), PEER)
        assert refused.value.reason in {"bad_sync", "truncated", "bad_length", "oversized", "bad_checksum"}


def test_noise_is_told_from_forgery():
    body = bytearray(FRAME)
    body[30] ^= 1
    with pytest.raises(ProtocolError, match="bad_checksum"):
        CLOUDBOXX.decode(bytes(body), PEER)
    forged = bytes(body[:-2]) + crc16_ccitt_false(bytes(body[:-2])).to_bytes(2, "little")
    with pytest.raises(ProtocolError, match="forged"):
        CLOUDBOXX.decode(forged, PEER)


def test_another_units_frame_is_a_mismatch_of_identity_even_with_its_own_seal():
    with pytest.raises(ProtocolError, match="identity_mismatch"):
        CLOUDBOXX.decode(FRAME, Peer("FEDCBA9876543210", (KEY,)))


def test_either_of_two_key_generations_seals():
    assert CLOUDBOXX.decode(FRAME, Peer(QNR, (b"x" * 32, KEY))).sequence == 7


@pytest.mark.parametrize(
    ("at", "byte", "reason", "field"),
    [(2, 0x7F, "unsupported", "type"), (31, 0x80, "unsupported", "present"), (21, 0xFF, "malformed", "captured.milliseconds")],
)
def test_what_is_sealed_but_not_understood_still_tells_its_sequence(at, byte, reason, field):
    data = bytearray(FRAME)
    data[at] = byte
    with pytest.raises(ProtocolError) as refused:
        CLOUDBOXX.decode(resealed(bytes(data)), PEER)
    assert (refused.value.reason, refused.value.field, refused.value.sequence) == (reason, field, 7)


def test_what_is_not_sealed_right_tells_no_sequence():
    with pytest.raises(ProtocolError) as refused:
        CLOUDBOXX.decode(FRAME, Peer(QNR, (b"x" * 32,)))
    assert refused.value.sequence is None


@settings(max_examples=400)
@given(data=st.data())
def test_any_bytes_give_a_frame_or_a_protocol_error(data):
    raw = bytearray(FRAME)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    for tried in (bytes(raw), resealed(bytes(raw))):
        refused = refusal(tried)
        assert refused is None or 0 <= refused.offset <= len(tried)


def test_split_covers_every_byte_and_finds_the_frames_behind_a_broken_one():
    broken = bytearray(FRAME)
    broken[22] ^= 0x01  # the length itself lies
    payload = FRAME + bytes(broken) + b"\xcb\x01noise" + FRAME
    cuts = list(CLOUDBOXX.split(payload))
    assert b"".join(cut.data for cut in cuts) == payload
    assert [cut.data for cut in cuts if cut.error is None] == [FRAME, FRAME]
    assert cuts[1].error is not None
    assert cuts[1].error.offset >= len(FRAME)


@given(st.binary(max_size=300))
def test_split_covers_any_bytes(payload):
    assert b"".join(cut.data for cut in CLOUDBOXX.split(payload)) == payload


def test_a_frame_longer_than_the_limit_is_neither_built_nor_read():
    envelope = Frame("result", QNR, 1, 0, facts={"envelope": bytes(FRAME_LIMIT_BYTES - OVERHEAD_BYTES + 1)})
    with pytest.raises(ProtocolError, match="oversized"):
        CLOUDBOXX.encode(envelope, KEY)
    header = FRAME[:22] + (FRAME_LIMIT_BYTES).to_bytes(2, "little")
    with pytest.raises(ProtocolError, match="oversized"):
        CLOUDBOXX.decode(header + bytes(FRAME_LIMIT_BYTES + 10), PEER)


def test_a_resent_report_has_the_same_record_whatever_its_flags_and_seal():
    other = CLOUDBOXX.encode(Frame("state", QNR, 7, 1_795_446_000_123, CLOUDBOXX.decode(FRAME).reports, {"flags": 0}), b"z" * 32)
    assert CLOUDBOXX.decode(other).reports[0].record == CLOUDBOXX.decode(FRAME).reports[0].record


def test_an_iccid_that_is_not_ascii_is_malformed():
    facts = {
        "firmware": {"major": 1, "minor": 2, "patch": 3},
        "hardware": 1,
        "model_configuration": 2,
        "features": 3,
        "iccid": "89490200001234567890",
        "reset_cause": 0,
        "oldest_sequence": 1,
    }
    data = bytearray(CLOUDBOXX.encode(Frame("hello", QNR, 1, 0, facts=facts), KEY))
    data[24 + 14 + 3] = 0xC3
    with pytest.raises(ProtocolError) as refused:
        CLOUDBOXX.decode(resealed(bytes(data)), PEER)
    assert (refused.value.reason, refused.value.field, refused.value.offset) == ("malformed", "iccid", 24 + 14 + 3)


def test_the_page_says_what_the_declarations_say():
    assert (ROOT / "protocols/cloudboxx.md").read_text() == page(), "run: python -m protocols.page > protocols/cloudboxx.md"


def test_at_least_forty_signals_and_no_bit_twice():
    assert len(SIGNALS) >= 40
    assert len({signal.bit for signal in SIGNALS}) == len({signal.name for signal in SIGNALS}) == len(SIGNALS)
