"""CloudBoxx, the after-market unit: this project's own wire format, version 1. Little-endian.

`protocols/cloudboxx.md` is the same as a page, generated from these declarations. An MQTT payload carries one or more frames
back to back. Every frame is sealed with the unit's K_seal, and checked by a CRC over all before it, so that noise on the
line (`bad_checksum`) is told from forgery (`forged`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import construct
from construct import (
    Bytes,
    Const,
    FixedSized,
    GreedyBytes,
    If,
    Int8ub,
    Int8ul,
    Int16sl,
    Int16ul,
    Int32sl,
    Int32ul,
    Int64ul,
    Rebuild,
    Struct,
    Switch,
    Terminated,
    this,
)

from protocols.checksums import crc16_arc, crc16_ccitt_false, crc16_xmodem, length_guess
from protocols.codec import Acknowledgement, Cut, Frame, Peer, Protocol, ProtocolError, Report, build, parse
from protocols.seal import SEAL_SIZE_BYTES, holds, seal

SYNC = b"\xcb\x01"
HEADER_SIZE_BYTES = 24
CRC_SIZE_BYTES = 2
OVERHEAD_BYTES = HEADER_SIZE_BYTES + SEAL_SIZE_BYTES + CRC_SIZE_BYTES
FRAME_LIMIT_BYTES = 1024
"""What a unit of this class can hold in one modem buffer; bounds the work that one frame can ask for."""

RESYNC_LIMIT = 64
"""Candidates for a next frame that are looked at in one payload: a payload of nothing but sync bytes costs no more."""

DRIVING = 0x02
CLOCK_UNSYNCHRONISED = 0x04

TYPES = {
    0x01: "hello",
    0x02: "state",
    0x03: "event",
    0x04: "heartbeat",
    0x05: "result",
    0x81: "ack",
    0x82: "command",
    0x83: "config",
    0x84: "time",
}
CODES = {kind: code for code, kind in TYPES.items()}


@dataclass(frozen=True, slots=True)
class Signal:
    """One bit of the presence bitmap. `states` names the two-bit states packed into the byte, lowest bits first."""

    bit: int
    name: str
    form: Any
    unit: str
    meaning: str
    states: tuple[str, ...] = ()


TWO_BIT_STATES = "2-bit states: 0 off, closed, unlocked; 1 on, open, locked; 2 failure; 3 unknown"

SIGNALS = (
    Signal(0, "oldest_sequence", Int32ul, "", "oldest sequence still in the journal when this was captured; in every state"),
    Signal(1, "latitude", Int32sl, "1e-7 deg", "WGS 84, north positive"),
    Signal(2, "longitude", Int32sl, "1e-7 deg", "WGS 84, east positive"),
    Signal(3, "altitude", Int16sl, "m", "above the WGS 84 ellipsoid"),
    Signal(4, "heading", Int16ul, "0.01 deg", "over ground, clockwise from north"),
    Signal(5, "gnss_speed", Int16ul, "0.01 km/h", "over ground"),
    Signal(6, "satellites", Int8ul, "", "satellites used in the fix"),
    Signal(7, "gnss_fix", Int8ul, "", "0 none, 1 dead reckoning, 2 two-dimensional, 3 three-dimensional"),
    Signal(8, "gnss_hdop", Int8ul, "0.1", "horizontal dilution of precision"),
    Signal(9, "can_speed", Int16ul, "0.01 km/h", "the vehicle's own"),
    Signal(10, "odometer", Int32ul, "100 m", ""),
    Signal(11, "fuel_level", Int8ul, "0.5 %", "201 to 255: the vehicle does not say"),
    Signal(12, "charge_level", Int8ul, "0.5 %", "traction battery; 201 to 255: the vehicle does not say"),
    Signal(13, "remaining_range", Int16ul, "100 m", ""),
    Signal(14, "adblue_level", Int8ul, "0.5 %", ""),
    Signal(15, "engine_speed", Int16ul, "1/min", ""),
    Signal(16, "onboard_voltage", Int16ul, "mV", "the vehicle's low-voltage battery"),
    Signal(17, "supply_voltage", Int16ul, "mV", "at the unit's supply pins"),
    Signal(18, "backup_voltage", Int16ul, "mV", "the unit's own battery"),
    Signal(19, "unit_temperature", Int16sl, "0.1 Cel", "on the unit's board"),
    Signal(20, "outside_temperature", Int16sl, "0.1 Cel", ""),
    Signal(21, "rssi", Int16sl, "dBm", "of the serving cell"),
    Signal(22, "cell_id", Int32ul, "", "E-UTRAN cell identity"),
    Signal(23, "network", Int32ul, "", "mobile country code x 1000 + mobile network code"),
    Signal(24, "reset_cause", Int8ul, "", "0 power, 1 watchdog, 2 brown-out, 3 update, 4 command"),
    Signal(25, "uptime", Int32ul, "s", "since the last reset"),
    Signal(26, "journal_depth", Int16ul, "", "frames not yet acknowledged"),
    Signal(27, "forgotten_frames", Int32ul, "", "dropped from a full journal, ever"),
    Signal(28, "switches", Int8ul, "", TWO_BIT_STATES, ("ignition", "key", "driving_enabled", "parking_brake")),
    Signal(29, "doors", Int8ul, "", TWO_BIT_STATES, ("front_left", "front_right", "rear_left", "rear_right")),
    Signal(30, "openings", Int8ul, "", TWO_BIT_STATES, ("tailgate", "hood", "top_case_lid", "battery_compartment")),
    Signal(31, "windows", Int8ul, "", TWO_BIT_STATES, ("front_left", "front_right", "rear_left", "rear_right")),
    Signal(32, "can_locks", Int8ul, "", "as read; " + TWO_BIT_STATES, ("central_lock", "top_case", "tailgate", "fuel_flap")),
    Signal(33, "commanded_locks", Int8ul, "", "as last commanded; " + TWO_BIT_STATES, ("central_lock", "top_case")),
    Signal(34, "charging", Int8ul, "", TWO_BIT_STATES, ("charging", "adapter")),
    Signal(35, "equipment", Int8ul, "", TWO_BIT_STATES, ("headlights", "center_stand", "abs")),
    Signal(36, "lamps_fluids", Int8ul, "", TWO_BIT_STATES, ("adblue_low", "brake_fluid_low", "engine_oil_low", "coolant")),
    Signal(37, "lamps_safety", Int8ul, "", TWO_BIT_STATES, ("brake_lining", "brake", "tire_pressure_low", "check_engine")),
    Signal(38, "tire_pressure_front_left", Int16ul, "0.1 kPa", "gauge"),
    Signal(39, "tire_pressure_front_right", Int16ul, "0.1 kPa", "gauge"),
    Signal(40, "tire_pressure_rear_left", Int16ul, "0.1 kPa", "gauge"),
    Signal(41, "tire_pressure_rear_right", Int16ul, "0.1 kPa", "gauge"),
    Signal(42, "brake_fluid_due", Int16ul, "d", "days since 2000-01-01"),
    Signal(43, "lock_code", Int8ul, "", "the vehicle's own byte for its locks; the model says what it means"),
    Signal(44, "drive_code", Int8ul, "", "the vehicle's own byte for ignition, key and release; the model says what it means"),
    Signal(45, "charge_code", Int8ul, "", "the vehicle's own byte for charging; the model says what it means"),
    Signal(46, "fuel_volume", Int16ul, "0.1 L", "for vehicles that say litres and no level"),
    Signal(47, "cause", Int8ul, "", "of an event: 1 driving, 2 lock, 3 opening, 4 charging, 5 lamp, 6 supply, 7 key, 8 fob"),
    Signal(48, "card", Int64ul, "", "of an event with cause 8: the number of the RFID card that was shown"),
)
BY_NAME = {signal.name: signal for signal in SIGNALS}
KNOWN_BITS = sum(1 << signal.bit for signal in SIGNALS)


def _present(bit: int) -> Any:
    return lambda context: context._.present >> bit & 1


def _bitmap(context: Any) -> int:
    return sum(1 << signal.bit for signal in SIGNALS if context.signals[signal.name] is not None)


REPORT = Struct(
    "present" / Rebuild(Int64ul, _bitmap),
    "signals" / Struct(*(signal.name / If(_present(signal.bit), signal.form) for signal in SIGNALS)),
)
HELLO = Struct(
    "firmware" / Struct("major" / Int8ul, "minor" / Int8ul, "patch" / Int16ul),
    "hardware" / Int16ul,
    "model_configuration" / Int32ul,
    "features" / Int32ul,
    "iccid" / Bytes(20),
    "reset_cause" / Int8ul,
    "oldest_sequence" / Int32ul,
)
HEARTBEAT = Struct("uptime" / Int32ul, "supply_voltage" / Int16ul, "oldest_sequence" / Int32ul)
ENVELOPE = Struct("envelope" / GreedyBytes)
ACK = Struct("cumulative" / Int32ul, "bitmap" / Int32ul)
CONFIG = Struct("driving_interval" / Int16ul, "parked_interval" / Int16ul, "heartbeat_interval" / Int16ul)
TIME = Struct("seconds" / Int32ul, "milliseconds" / Int16ul)

BODIES = {
    "hello": HELLO,
    "state": REPORT,
    "event": REPORT,
    "heartbeat": HEARTBEAT,
    "result": ENVELOPE,
    "ack": ACK,
    "command": ENVELOPE,
    "config": CONFIG,
    "time": TIME,
}
_TERMINATED_BODIES = {CODES[kind]: Struct("said" / body, Terminated) for kind, body in BODIES.items()}

_STATES = ("off/closed/unlocked", "on/open/locked", "failure", "unknown")
_UNITS = {
    "captured.seconds": "s",
    "captured.milliseconds": "ms",
    "length": "byte",
    "body.said.uptime": "s",
    "body.said.supply_voltage": "mV",
    "body.said.driving_interval": "s",
    "body.said.parked_interval": "s",
    "body.said.heartbeat_interval": "s",
    "body.said.seconds": "s",
    "body.said.milliseconds": "ms",
}

FRAME = Struct(
    "sync" / Const(SYNC),
    "type" / Int8ub,
    "flags" / Int8ul,
    "qnr" / Bytes(8),
    "sequence" / Int32ul,
    "captured" / Struct("seconds" / Int32ul, "milliseconds" / Int16ul),
    "length" / Int16ul,
    "body" / FixedSized(this.length, Switch(this.type, _TERMINATED_BODIES, construct.Error)),
    "seal" / Bytes(SEAL_SIZE_BYTES),
    "crc" / Int16ul,
    Terminated,
)

_HEADER = Struct(*FRAME.subcons[:7])


def _framed_size(data: bytes, at: int = 0) -> int:
    """The size that the frame at `at` says it has. Raises ProtocolError if no frame can start there."""
    left = len(data) - at
    if not SYNC.startswith(data[at : at + 2]):
        raise ProtocolError("bad_sync", at, "sync", expected=SYNC.hex(), found=data[at : at + 2].hex())
    if left < HEADER_SIZE_BYTES:
        raise ProtocolError("truncated", at + left, "header", expected=f"{HEADER_SIZE_BYTES} bytes", found=f"{left} bytes")
    size = OVERHEAD_BYTES + _body_size(data, at)
    if size > FRAME_LIMIT_BYTES:
        expected, guess = f"frame <= {FRAME_LIMIT_BYTES} bytes", _length_guess(data, at)
        raise ProtocolError("oversized", at + 22, "length", expected=expected, found=f"{size} bytes", guess=guess)
    if size > left:
        guess = _length_guess(data, at)
        raise ProtocolError("truncated", at + left, "length", expected=f"{size} bytes", found=f"{left} bytes", guess=guess)
    return size


def _body_size(data: bytes, at: int = 0) -> int:
    return int.from_bytes(data[at + 22 : at + 24], "little")


def _length_guess(data: bytes, at: int) -> str:
    """What is wrong with a length, if the CRC holds over the bytes that are there."""
    frame = data[at : at + FRAME_LIMIT_BYTES]
    if len(frame) < OVERHEAD_BYTES or crc16_ccitt_false(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        return ""
    return length_guess(frame[22:24], len(frame) - OVERHEAD_BYTES, "little")


def _check_crc(data: bytes, at: int, size: int) -> None:
    end = at + size - CRC_SIZE_BYTES
    expected, found = crc16_ccitt_false(data[at:end]), int.from_bytes(data[end : end + 2], "little")
    if expected != found:
        guess = _checksum_guess(data[at : at + size], found)
        raise ProtocolError("bad_checksum", end, "crc", expected=f"{expected:04x}", found=f"{found:04x}", guess=guess)


def _checksum_guess(frame: bytes, found: int) -> str:
    """Why the CRC of a whole frame may be what it is."""
    covered = frame[:-CRC_SIZE_BYTES]
    swapped = int.from_bytes(found.to_bytes(2, "little"), "big")
    others = (
        ("the CRC's bytes are swapped: it is little-endian", crc16_ccitt_false(covered) == swapped),
        ("the CRC leaves out the seal", crc16_ccitt_false(covered[:-SEAL_SIZE_BYTES]) == found),
        ("the CRC leaves out the sync bytes", crc16_ccitt_false(covered[2:]) == found),
        ("CRC-16/ARC instead of CRC-16/CCITT-FALSE", crc16_arc(covered) == found),
        ("CRC-16/XMODEM (init 0) instead of CRC-16/CCITT-FALSE", crc16_xmodem(covered) == found),
    )
    guesses = (guess for guess, holds in others if holds)
    return next(guesses, "a byte was changed after the CRC was made, or the CRC itself was")


def _next_frame(payload: bytes, at: int, candidates: int) -> tuple[int, int]:
    """Where the next frame with a right CRC starts at or after `at` (or the end), and the candidates left to look at."""
    while candidates and (at := payload.find(SYNC, at)) >= 0:
        candidates -= 1
        try:
            _check_crc(payload, at, _framed_size(payload, at))
        except ProtocolError:
            at += 1
        else:
            return at, candidates
    return len(payload), candidates


class CloudBoxx(Protocol):
    """The CloudBoxx wire protocol: sealed frames, acknowledged by a window over their sequence numbers."""

    name: ClassVar[str] = "cloudboxx"
    sealed: ClassVar[bool] = True
    acknowledgement: ClassVar[Acknowledgement] = "window"
    starts: ClassVar[tuple[bytes, ...]] = (SYNC,)

    def split(self, payload: bytes) -> Iterator[Cut]:
        """The frames back to back; after a broken one, the next whose CRC is right."""
        at, candidates = 0, RESYNC_LIMIT
        while at < len(payload):
            try:
                size = _framed_size(payload, at)
                _check_crc(payload, at, size)
            except ProtocolError as error:
                end, candidates = _next_frame(payload, at + 1, candidates)
                yield Cut(at, payload[at:end], error)
            else:
                end = at + size
                yield Cut(at, payload[at:end])
            at = end

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """Checked in the order: sync, length, CRC, identity, seal, body: what is noise is never called a forgery."""
        size = _framed_size(data)
        if size < len(data):
            guess = _length_guess(data, 0)
            raise ProtocolError("bad_length", 22, "length", expected=f"{len(data)} bytes", found=f"{size} bytes", guess=guess)
        _check_crc(data, 0, size)
        if peer is not None:
            _check_speaker(data, peer)
        try:
            return _understood(data)
        except ProtocolError as error:
            error.sequence = int.from_bytes(data[12:16], "little")
            raise

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """The frame, sealed with the unit's K_seal."""
        if frame.kind not in CODES:
            raise ProtocolError("malformed", 2, "type", found=frame.kind)
        body = build(BODIES[frame.kind], _body(frame))
        seconds, milliseconds = divmod(frame.captured_at or 0, 1000)
        header = build(
            _HEADER,
            {
                "type": CODES[frame.kind],
                "flags": frame.facts.get("flags", 0),
                "qnr": _qnr(frame.unit),
                "sequence": frame.sequence or 0,
                "captured": {"seconds": seconds, "milliseconds": milliseconds},
                "length": len(body),
            },
        )
        sealed = header + body
        sealed += seal(sealed, key)
        if len(sealed) + CRC_SIZE_BYTES > FRAME_LIMIT_BYTES:
            raise ProtocolError("oversized", 22, "length", expected=f"frame <= {FRAME_LIMIT_BYTES} bytes")
        return sealed + crc16_ccitt_false(sealed).to_bytes(CRC_SIZE_BYTES, "little")

    def read(self, data: bytes) -> None:
        """By the declaration of the frame."""
        parse(FRAME, data)

    def checksum(self, data: bytes) -> Mapping[str, str] | None:
        """The CRC at the end, over all bytes before it: by the length field, or because it holds there."""
        expected, found = crc16_ccitt_false(data[:-2]), int.from_bytes(data[-2:], "little")
        if len(data) < OVERHEAD_BYTES or (expected != found and OVERHEAD_BYTES + _body_size(data) != len(data)):
            return None
        return {"name": "CRC-16/CCITT-FALSE", "expected": f"{expected:04x}", "found": f"{found:04x}"}

    def meaning(self, path: str, value: Any) -> tuple[str, str]:
        """From the table of signals; two-bit states one by one."""
        name = path.rpartition(".")[2]
        if path == "type":
            return "", TYPES.get(value, "unknown type")
        signal = BY_NAME.get(name) if ".signals." in path else None
        if signal is None:
            return _UNITS.get(path, ""), ""
        if not signal.states:
            return signal.unit, signal.meaning
        said = (f"{state} {_STATES[value >> 2 * at & 3]}" for at, state in enumerate(signal.states))
        return signal.unit, ", ".join(said)

    def acknowledge(self, unit: str, cumulative: int, bitmap: int, now: int, key: bytes) -> bytes:
        """The Ack frame. `now` is Unix time in milliseconds."""
        facts = {"cumulative": cumulative, "bitmap": bitmap}
        return self.encode(Frame("ack", unit, captured_at=now, facts=facts), key)

    def carry(self, unit: str, envelope: bytes, now: int, key: bytes) -> bytes:
        """A command frame with the envelope as its body."""
        return self.encode(Frame("command", unit, captured_at=now, facts={"envelope": envelope}), key)

    def synchronise(self, unit: str, now: int, key: bytes) -> bytes:
        """A time frame that tells the unit what time it is."""
        facts = {"seconds": now // 1000, "milliseconds": now % 1000}
        return self.encode(Frame("time", unit, captured_at=now, facts=facts), key)


def _understood(data: bytes) -> Frame:
    if data[2] not in TYPES:
        raise ProtocolError("unsupported", 2, "type", found=f"{data[2]:02x}")
    kind = TYPES[data[2]]
    if kind in ("state", "event"):
        _check_bitmap(data)
    return _frame(kind, parse(FRAME, data), data)


def _check_speaker(data: bytes, peer: Peer) -> None:
    if data[4:12].hex().upper() != peer.unit.upper():
        raise ProtocolError("identity_mismatch", 4, "qnr", expected=peer.unit, found=data[4:12].hex().upper())
    tag_at = len(data) - CRC_SIZE_BYTES - SEAL_SIZE_BYTES
    tag, sealed = data[tag_at : tag_at + SEAL_SIZE_BYTES], data[:tag_at]
    if not any(holds(sealed, tag, key) for key in peer.seal_keys):
        raise ProtocolError("forged", tag_at, "seal")


def _check_bitmap(data: bytes) -> None:
    present = int.from_bytes(data[24 : min(32, len(data) - 10)], "little")
    if unknown := present & ~KNOWN_BITS:
        bit = (unknown & -unknown).bit_length() - 1
        raise ProtocolError("unsupported", 24 + bit // 8, "present", expected="known signals", found=f"bit {bit}")


def _qnr(unit: str | None) -> bytes:
    try:
        raw = bytes.fromhex(unit or "")
    except ValueError:
        raw = b""
    if len(raw) != 8:
        raise ProtocolError("malformed", 4, "qnr", expected="16 hex digits", found=str(unit))
    return raw


def _frame(kind: str, said: Any, data: bytes) -> Frame:
    if said.captured.milliseconds > 999:
        raise ProtocolError("malformed", 20, "captured.milliseconds", expected="0 to 999", found=str(said.captured.milliseconds))
    captured_at = said.captured.seconds * 1000 + said.captured.milliseconds
    body = said.body.said
    facts: dict[str, Any] = {"flags": said.flags, "clock_unsynchronised": bool(said.flags & CLOCK_UNSYNCHRONISED)}
    reports: tuple[Report, ...] = ()
    if kind in ("state", "event"):
        signals = {name: value for name, value in body.signals.items() if value is not None and name != "_io"}
        facts["oldest_sequence"] = signals.get("oldest_sequence")
        reports = (Report(_record(data), captured_at, signals, said.sequence),)
    else:
        facts |= _plain(body)
    return Frame(kind, said.qnr.hex().upper(), said.sequence, captured_at, reports, facts)


def _record(data: bytes) -> bytes:
    """Type, sequence, time and body: what was captured, without sync, flags, identity and seal."""
    return data[2:3] + data[12 : len(data) - SEAL_SIZE_BYTES - CRC_SIZE_BYTES]


def _plain(container: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: _plain(value) if isinstance(value, dict) else value for name, value in container.items() if name != "_io"
    }
    if "iccid" in facts:
        try:
            facts["iccid"] = facts["iccid"].rstrip(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise ProtocolError("malformed", 24 + 14 + error.start, "iccid", expected="ASCII") from error
    return facts


def _body(frame: Frame) -> Mapping[str, Any]:
    if frame.kind in ("state", "event"):
        said = frame.reports[0].signals if frame.reports else {}
        if unknown := set(said) - set(BY_NAME):
            raise ProtocolError("malformed", 24, "signals", found=", ".join(sorted(unknown)))
        return {"signals": {signal.name: said.get(signal.name) for signal in SIGNALS}}
    if frame.kind == "hello":
        iccid = str(frame.facts.get("iccid", "")).encode("ascii", "replace")
        return {**frame.facts, "iccid": iccid[:20].ljust(20, b"\0")}
    return frame.facts


PROTOCOL = CloudBoxx()
