"""CloudBoxx frames one by one without a parser's walk: what the declarations say is compiled to `struct` formats, once a layout.

For whoever speaks frame by frame and often - simulated units, a gateway in the bench's rig. Says and reads what
`protocols.cloudboxx` does; where anything is odd, that is asked. Needs neither kernel nor numpy.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import (
    ACK,
    CLOCK_UNSYNCHRONISED,
    CODES,
    CRC_SIZE_BYTES,
    FRAME_LIMIT_BYTES,
    HEADER_SIZE_BYTES,
    HEARTBEAT,
    KNOWN_BITS,
    OVERHEAD_BYTES,
    SIGNALS,
    SYNC,
    TIME,
    TYPES,
    CloudBoxx,
)
from protocols.codec import Frame, Peer, ProtocolError, Report
from protocols.seal import SEAL_SIZE_BYTES, sealer

_HEADER = struct.Struct("<2sBB8sIIHH")
_PRESENT = struct.Struct("<Q")
_ACK = struct.Struct(f"<2sBB8sIIHHII{SEAL_SIZE_BYTES}sH")
_ACK_CODE, _ACK_BODY_BYTES = CODES["ack"], ACK.sizeof()
_ACK_SEALED_BYTES = HEADER_SIZE_BYTES + _ACK_BODY_BYTES
QNR_BYTES = 8
_REPORTS = (CODES["state"], CODES["event"])
_ENVELOPES = (CODES["result"], CODES["command"])


def _codes(declaration: Any) -> str:
    """The `struct` codes of a declaration whose fields are all plain little-endian numbers."""
    codes = [field.subcon.fmtstr for field in declaration.subcons]
    if any(code[0] != "<" and code[1:] not in "bB" for code in codes):
        raise ValueError("not all fields are little-endian")
    return "".join(code[1:] for code in codes)


_FLAT = {
    CODES[kind]: (struct.Struct("<" + _codes(body)), tuple(field.name for field in body.subcons))
    for kind, body in (("ack", ACK), ("heartbeat", HEARTBEAT), ("time", TIME))
}
_ACK_FORM = _FLAT[_ACK_CODE][0]
HEARTBEAT_BODY = _FLAT[CODES["heartbeat"]][0]
"""A heartbeat's body: uptime in seconds, supply in millivolts, oldest sequence."""

_FORMS = tuple((signal.bit, signal.name, signal.form.fmtstr) for signal in SIGNALS)
_BITS = {name: 1 << bit for bit, name, _ in _FORMS}


@lru_cache(maxsize=4096)
def _layout(present: int) -> tuple[struct.Struct, tuple[str, ...]]:
    """How the signals of a presence bitmap are packed, and their names in order."""
    found = [(name, code[1:]) for bit, name, code in _FORMS if present >> bit & 1]
    return struct.Struct("<" + "".join(code for _, code in found)), tuple(name for name, _ in found)


class QuickCloudBoxx(CloudBoxx):
    """The CloudBoxx protocol, quicker for single frames."""

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """See CloudBoxx."""
        frame = read(data, peer)
        return super().decode(data, peer) if frame is None else frame

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """See CloudBoxx."""
        try:
            said = _said(frame, key)
        except (struct.error, KeyError, TypeError, ValueError, ProtocolError):
            said = None
        return super().encode(frame, key) if said is None else said

    def acknowledge(self, unit: str, cumulative: int, bitmap: int, now: int, key: bytes) -> bytes:
        """See CloudBoxx."""
        try:
            qnr = bytes.fromhex(unit)
            seconds, milliseconds = divmod(now, 1000)
            head = _HEADER.pack(SYNC, _ACK_CODE, 0, qnr, 0, seconds, milliseconds, _ACK_BODY_BYTES)
            sealed = head + _ACK_FORM.pack(cumulative, bitmap)
        except (struct.error, ValueError):
            return super().acknowledge(unit, cumulative, bitmap, now, key)
        if len(qnr) != QNR_BYTES:
            return super().acknowledge(unit, cumulative, bitmap, now, key)
        sealed += sealer(key).seal(sealed)
        return sealed + crc16_ccitt_false(sealed).to_bytes(CRC_SIZE_BYTES, "little")


def read(data: bytes, peer: Peer | None = None) -> Frame | None:
    """The frame, if nothing about it is odd."""
    size = len(data)
    if size < OVERHEAD_BYTES or size > FRAME_LIMIT_BYTES or data[:2] != SYNC:
        return None
    _, code, flags, qnr, sequence, seconds, milliseconds, length = _HEADER.unpack_from(data)
    if length + OVERHEAD_BYTES != size or milliseconds > 999 or code not in TYPES:
        return None
    if crc16_ccitt_false(data[:-CRC_SIZE_BYTES]) != int.from_bytes(data[-CRC_SIZE_BYTES:], "little"):
        return None
    unit = qnr.hex().upper()
    end = size - CRC_SIZE_BYTES - SEAL_SIZE_BYTES
    if peer is not None:
        sealed, tag = data[:end], data[end : end + SEAL_SIZE_BYTES]
        if unit != peer.unit.upper() or not any(sealer(key).holds(sealed, tag) for key in peer.seal_keys):
            return None
    body = data[HEADER_SIZE_BYTES:end]
    facts: dict[str, Any] = {"flags": flags, "clock_unsynchronised": bool(flags & CLOCK_UNSYNCHRONISED)}
    captured_at, reports = seconds * 1000 + milliseconds, ()
    if code in _REPORTS:
        signals = _signals(body)
        if signals is None:
            return None
        facts["oldest_sequence"] = signals.get("oldest_sequence")
        record = data[2:3] + data[12:end]
        return Frame(TYPES[code], unit, sequence, captured_at, (Report(record, captured_at, signals, sequence),), facts)
    if code in _ENVELOPES:
        facts["envelope"] = body
    elif code in _FLAT and _FLAT[code][0].size == length:
        form, names = _FLAT[code]
        facts.update(zip(names, form.unpack(body), strict=True))
    else:
        return None
    return Frame(TYPES[code], unit, sequence, captured_at, reports, facts)


def _signals(body: bytes) -> dict[str, Any] | None:
    if len(body) < _PRESENT.size:
        return None
    (present,) = _PRESENT.unpack_from(body)
    if present & ~KNOWN_BITS:
        return None
    form, names = _layout(present)
    if form.size + _PRESENT.size != len(body):
        return None
    return dict(zip(names, form.unpack_from(body, _PRESENT.size), strict=True))


def _said(frame: Frame, key: bytes) -> bytes | None:
    """The frame's bytes, if it is of a kind that is said often."""
    code = CODES[frame.kind]
    if code in _REPORTS:
        body = _body(frame.reports[0].signals if frame.reports else {})
    elif code in _ENVELOPES:
        body = frame.facts["envelope"]
    elif code in _FLAT:
        form, names = _FLAT[code]
        body = form.pack(*(frame.facts[name] for name in names))
    else:
        return None
    qnr = bytes.fromhex(frame.unit or "")
    if len(qnr) != 8 or len(body) + OVERHEAD_BYTES > FRAME_LIMIT_BYTES:
        return None
    seconds, milliseconds = divmod(frame.captured_at or 0, 1000)
    flags = frame.facts.get("flags", 0)
    sealed = _HEADER.pack(SYNC, code, flags, qnr, frame.sequence or 0, seconds, milliseconds, len(body)) + body
    sealed += sealer(key).seal(sealed)
    return sealed + crc16_ccitt_false(sealed).to_bytes(CRC_SIZE_BYTES, "little")


class Layout:
    """Reports that always have the same signals, in the order of `names`: what `QuickCloudBoxx.encode` makes of them."""

    __slots__ = ("_form", "_ordered", "_present")

    def __init__(self, names: Sequence[str]) -> None:
        """Where a name is there twice the last one counts. Raises KeyError for one that no report has."""
        places = {_BITS[name]: place for place, name in enumerate(names)}
        present = sum(places)
        self._present = _PRESENT.pack(present)
        self._form, ordered = _layout(present)
        order = [places[_BITS[name]] for name in ordered]
        self._ordered = itemgetter(*order) if len(order) > 1 else lambda values: [values[place] for place in order]

    def body(self, values: Sequence[Any]) -> bytes:
        """The body that says `values`, one for each name. Raises struct.error for what cannot be said."""
        return self._present + self._form.pack(*self._ordered(values))


class Speaker:
    """One unit's frames, its id and seal at hand. Raises ValueError for an id that no frame can carry."""

    __slots__ = ("_qnr", "_sealer")

    def __init__(self, unit: str, key: bytes) -> None:
        self._qnr, self._sealer = bytes.fromhex(unit), sealer(key)
        if len(self._qnr) != QNR_BYTES:
            raise ValueError(f"{unit}: the id of a unit has 16 hexadecimal digits")

    def frame(self, code: int, flags: int, sequence: int, captured_ms: int, body: bytes) -> bytes:
        """A whole frame. Raises struct.error for what cannot be said."""
        seconds, milliseconds = divmod(captured_ms, 1000)
        sealed = _HEADER.pack(SYNC, code, flags, self._qnr, sequence, seconds, milliseconds, len(body)) + body
        sealed += self._sealer.seal(sealed)
        return sealed + crc16_ccitt_false(sealed).to_bytes(CRC_SIZE_BYTES, "little")

    def acknowledged(self, payload: bytes) -> tuple[int, int] | None:
        """`cumulative` and `bitmap` if the payload is one Ack for this unit, and nothing about it is odd."""
        if len(payload) != _ACK.size or payload[2] != _ACK_CODE:
            return None
        sync, _, _, qnr, _, _, milliseconds, length, cumulative, bitmap, tag, crc = _ACK.unpack(payload)
        if sync != SYNC or qnr != self._qnr or milliseconds > 999 or length != _ACK_BODY_BYTES:
            return None
        if crc16_ccitt_false(payload[:-CRC_SIZE_BYTES]) != crc or not self._sealer.holds(payload[:_ACK_SEALED_BYTES], tag):
            return None
        return cumulative, bitmap


def _body(signals: Mapping[str, Any]) -> bytes:
    present = 0
    for name, value in signals.items():
        if value is not None:
            present |= _BITS[name]
    form, names = _layout(present)
    return _PRESENT.pack(present) + form.pack(*[signals[name] for name in names])


QUICK = QuickCloudBoxx()
