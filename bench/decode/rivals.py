"""How else these frames can be decoded in Python: construct as it is and compiled, struct by hand, bitstruct, kaitai."""

import binascii
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from fastcrc import crc16

from protocols.cloudboxx import FRAME, SIGNALS
from protocols.codec import Protocol
from protocols.teltonika_layouts import CODEC_8E, TCP

Decode = Callable[[bytes], Any]

# CloudBoxx -------------------------------------------------------------------------------------------------------------

_HEADER = struct.Struct("<2sBB8sIIHHQ")
_LETTERS = {1: "B", 2: "H", 4: "I"}


@cache
def _by_bitmap(present: int) -> tuple[struct.Struct, tuple[str, ...]]:
    there = [signal for signal in SIGNALS if present >> signal.bit & 1]
    letters = "".join(str(signal.form.fmtstr[-1]).replace("l", "i").replace("L", "I") for signal in there)
    return struct.Struct("<" + letters), tuple(signal.name for signal in there)


def struct_cloudboxx(frame: bytes) -> dict[str, Any]:
    """A struct kept for each bitmap, a dict for each frame; the CRC by binascii."""
    sync, kind, flags, qnr, sequence, seconds, milliseconds, length, present = _HEADER.unpack_from(frame)
    if sync != b"\xcb\x01" or length + 34 != len(frame):
        raise ValueError("framing")
    if binascii.crc_hqx(frame[:-2], 0xFFFF) != int.from_bytes(frame[-2:], "little"):
        raise ValueError("checksum")
    form, names = _by_bitmap(present)
    said = dict(zip(names, form.unpack_from(frame, 32), strict=True))
    said["kind"], said["flags"], said["qnr"], said["sequence"] = kind, flags, qnr, sequence
    said["captured_at"] = seconds * 1000 + milliseconds
    return said


def _declared_cloudboxx() -> Decode:
    return FRAME.parse  # type: ignore[no-any-return]


def bitstruct_cloudboxx() -> Decode:
    """bitstruct's C implementation, a compiled format kept for each bitmap; without the CRC."""
    import bitstruct.c as bitstruct  # type: ignore[import-untyped]

    @cache
    def form(present: int) -> Any:
        there = [signal for signal in SIGNALS if present >> signal.bit & 1]
        letters = "".join(f"{'s' if s.form.fmtstr[-1].islower() else 'u'}{8 * s.form.sizeof()}" for s in there)
        return bitstruct.CompiledFormatDict(letters, [signal.name for signal in there])

    def decode(frame: bytes) -> Any:
        return form(int.from_bytes(frame[24:32], "little")).unpack(frame[32:-10])

    return decode


# Teltonika -------------------------------------------------------------------------------------------------------------

_RECORD = struct.Struct(">QBiihHBHHH")
_COUNT = struct.Struct(">H")
_IO = tuple(struct.Struct(f">H{letter}") for letter in "BHIQ")


def struct_teltonika(packet: bytes) -> list[dict[Any, Any]]:
    """A walk over the records with structs kept, a dict for each record; CRC by fastcrc."""
    if len(packet) != int.from_bytes(packet[4:8], "big") + 12 or packet[9] != packet[-5]:
        raise ValueError("framing")
    if crc16.arc(packet[8:-4]) != int.from_bytes(packet[-4:], "big"):
        raise ValueError("checksum")
    records, at = [], 10
    for _ in range(packet[9]):
        timestamp, priority, longitude, latitude, altitude, angle, satellites, speed, event, _ = _RECORD.unpack_from(packet, at)
        at += 28
        said: dict[Any, Any] = {"timestamp": timestamp, "priority": priority, "longitude": longitude, "latitude": latitude}
        said["altitude"], said["angle"], said["satellites"], said["speed"], said["event_id"] = (
            altitude,
            angle,
            satellites,
            speed,
            event,
        )
        for form in _IO:
            (count,) = _COUNT.unpack_from(packet, at)
            at += 2
            end = at + count * form.size
            said.update(form.iter_unpack(packet[at:end]))
            at = end
        (count,) = _COUNT.unpack_from(packet, at)
        at += 2
        for _ in range(count):
            number, size = struct.unpack_from(">HH", packet, at)
            said[number] = packet[at + 4 : at + 4 + size]
            at += 4 + size
        records.append(said)
    return records


def compiled(name: str) -> Decode | None:
    """construct's compiled parser, where construct can compile the declaration; without the CRC."""
    declaration = FRAME if name == "cloudboxx" else TCP[CODEC_8E, ""] if name == "teltonika" else None
    try:
        parser = declaration.compile() if declaration is not None else None
    except Exception:  # declarations with functions in them
        return None
    return parser.parse if parser is not None else None


def rivals(protocol: Protocol) -> dict[str, Decode]:
    """Decoders by name; `construct` is the protocol's own decode, checksum and verdicts included."""
    name = protocol.name
    found: dict[str, Decode] = {"construct": protocol.decode}
    if (parser := compiled(name)) is not None:
        found["construct compiled, no CRC"] = parser
    if name == "cloudboxx":
        found["construct, declaration only"] = _declared_cloudboxx()
        found["struct dict"] = struct_cloudboxx
        with suppress(ImportError):
            found["bitstruct, no CRC"] = bitstruct_cloudboxx()
    if name == "teltonika":
        found["struct dict"] = struct_teltonika
    return found
