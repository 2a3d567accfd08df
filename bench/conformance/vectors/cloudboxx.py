"""CloudBoxx: every frame type, every signal alone at its boundaries, every state of every group."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.conformance.vectors import Bad, Good, Set, expected
from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import BODIES, BY_NAME, PROTOCOL, SIGNALS
from protocols.codec import Frame, Peer, Report
from protocols.seal import seal

UNIT, KEY, AT = "0123456789ABCDEF", bytes(range(32)), 1_795_446_000_123
PEER = Peer(UNIT, (KEY,))
ENUMS = {"gnss_fix": range(4), "reset_cause": range(5), "cause": range(1, 9)}
HELLO: dict[str, Any] = {
    "firmware": {"major": 1, "minor": 4, "patch": 2},
    "hardware": 3,
    "model_configuration": 7,
    "features": 7,
    "iccid": "89490000000000000001",
    "reset_cause": 0,
    "oldest_sequence": 1,
}
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "hello": HELLO,
    "heartbeat": {"uptime": 900, "supply_voltage": 12_600, "oldest_sequence": 1},
    "ack": {"cumulative": 7, "bitmap": 6},
    "config": {"driving_interval": 10, "parked_interval": 60, "heartbeat_interval": 900},
    "time": {"seconds": 1_795_446_000, "milliseconds": 123},
}


def _bounds(form: Any) -> tuple[int, ...]:
    bits, signed = 8 * form.sizeof(), form.fmtstr[-1].islower()
    return (-(1 << bits - 1), -1, 0, 1, (1 << bits - 1) - 1) if signed else (0, 1, 1 << bits - 1, (1 << bits) - 1)


def _state(
    name: str, signals: Mapping[str, int], kind: str = "state", *, sequence: int = 7, at: int = AT, flags: int = 0
) -> Good:
    frame = Frame(kind, UNIT, sequence, at, (Report(b"", at, signals, sequence),), {"flags": flags})
    return Good(name, PROTOCOL.encode(frame, KEY), expected(frame, {"flags": flags}))


def _other(name: str, kind: str, facts: Mapping[str, Any]) -> Good:
    sequence = 7 if kind in ("hello", "heartbeat", "result") else 0
    frame = Frame(kind, UNIT, sequence, AT, facts={**facts, "flags": 0})
    data = PROTOCOL.encode(frame, KEY)
    assert all(PROTOCOL.decode(data, PEER).facts[each] == value for each, value in facts.items()), name
    return Good(name, data, expected(frame, facts))


def _good() -> Iterator[Good]:
    yield _state("state, minimal: no signal", {})
    yield _state("event, minimal: no signal", {}, "event")
    yield _state("state, maximal: every signal at its highest", {signal.name: _bounds(signal.form)[-1] for signal in SIGNALS})
    yield _state("state, every signal at its lowest", {signal.name: _bounds(signal.form)[0] for signal in SIGNALS})
    for signal in SIGNALS:
        for value in _bounds(signal.form):
            yield _state(f"{signal.name} alone = {value}", {signal.name: value}, "event" if signal.name == "cause" else "state")
        for value in ENUMS.get(signal.name, ()):
            yield _state(f"{signal.name}, value {value}", {signal.name: value}, "event" if signal.name == "cause" else "state")
        for place, state in enumerate(signal.states):
            for value in range(4):
                rest = 0xFF & ~(3 << 2 * place)
                yield _state(f"{signal.name}: {state} = {value}, the rest unknown", {signal.name: rest | value << 2 * place})
    for sequence in (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
        yield _state(f"sequence {sequence}", {"satellites": 9}, sequence=sequence)
    for at in (0, 999, 1_000, AT, 4_294_967_295_999):
        yield _state(f"captured at {at} ms", {"satellites": 9}, at=at)
    for flags in (0, 2, 4, 6):
        yield _state(f"flags {flags:02x}", {"satellites": 9}, flags=flags)
    for kind, facts in OTHERS.items():
        yield _other(f"{kind}, as usual", kind, facts)
        for field in BODIES[kind].subcons:
            value = facts[field.name]
            if isinstance(value, int):
                top = 999 if field.name == "milliseconds" else (1 << 8 * field.sizeof()) - 1
                for bound in (0, top):
                    yield _other(f"{kind}: {field.name} = {bound}", kind, {**facts, field.name: bound})
    for cause in ENUMS["reset_cause"]:
        yield _other(f"hello: reset cause {cause}", "hello", {**HELLO, "reset_cause": cause})
    yield _other("hello without an ICCID", "hello", {**HELLO, "iccid": ""})


def _checked(data: bytes) -> bytes:
    return data + crc16_ccitt_false(data).to_bytes(2, "little")


def _resealed(data: bytes) -> bytes:
    """With a right seal and CRC for what stands before them."""
    return _checked(data[:-10] + seal(data[:-10], KEY))


def _changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _bad() -> Iterator[Bad]:
    good = _state("", {name: 1 for name in ("latitude", "longitude", "satellites", "switches") if name in BY_NAME}).data
    yield Bad("nothing", b"", "truncated")
    for size in (1, 2, 12, 23, 24, len(good) - 1):
        yield Bad(f"cut off after {size} bytes", good[:size], "truncated")
    yield Bad("the first sync byte", _changed(good, 0, b"\xca"), "bad_sync")
    yield Bad("version 2", _changed(good, 1, b"\x02"), "bad_sync")
    yield Bad("a byte too many", good + b"\0", "bad_length")
    yield Bad("a length that says one byte more", _changed(good, 22, (len(good) - 33).to_bytes(2, "little")), "truncated")
    yield Bad("a length of 1000: longer than a frame may be", _changed(good, 22, (1000).to_bytes(2, "little")), "oversized")
    for at in (2, 3, 4, 12, 16, 24, 32, len(good) - 10, len(good) - 2, len(good) - 1):
        yield Bad(f"one bit flipped in byte {at}", _changed(good, at, bytes([good[at] ^ 1])), "bad_checksum")
    yield Bad("the CRC's bytes swapped", good[:-2] + good[-1:] + good[-2:-1], "bad_checksum")
    yield Bad("an unknown type", _resealed(_changed(good, 2, b"\x06")), "unsupported")
    yield Bad("an unknown signal bit, 49", _resealed(_changed(good, 30, b"\x02")), "unsupported")
    yield Bad("an unknown signal bit, 63", _resealed(_changed(good, 31, b"\x80")), "unsupported")
    yield Bad("milliseconds of 1000", _resealed(_changed(good, 20, (1000).to_bytes(2, "little"))), "malformed")
    short = good[:22] + (7).to_bytes(2, "little") + good[24:31] + bytes(10)
    yield Bad("a body shorter than its bitmap", _resealed(short), "truncated")
    extra = good[:22] + (len(good) - 33).to_bytes(2, "little") + good[24:-10] + b"\0" + bytes(10)
    yield Bad("a signal too many", _resealed(extra), "bad_length")
    yield Bad(
        "another unit's frame",
        good[:4] + bytes(8) + good[12:-2] + crc16_ccitt_false(good[:4] + bytes(8) + good[12:-2]).to_bytes(2, "little"),
        "identity_mismatch",
        peer=True,
    )
    yield Bad("a seal under another key", _checked(good[:-10] + seal(good[:-10], bytes(32))), "forged", peer=True)
    yield Bad("no seal", _checked(good[:-10] + bytes(8)), "forged", peer=True)
    iccid = _other("", "hello", HELLO).data
    yield Bad("an ICCID that is no ASCII", _resealed(_changed(iccid, 38, b"\xff")), "malformed")


def vectors() -> Set:
    """All of them."""
    good = tuple(_good())
    for each in good:
        frame = PROTOCOL.decode(each.data, PEER)
        if frame.reports:
            assert dict(frame.reports[0].signals) == each.expect["reports"][0]["signals"], each.name
    return Set("cloudboxx", {"unit": UNIT, "seal_key": KEY.hex()}, good, tuple(_bad()), PEER)
