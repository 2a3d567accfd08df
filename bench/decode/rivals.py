"""How else these frames can be decoded in Python: construct as it is and compiled, struct by hand, bitstruct, kaitai."""

import binascii
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from fastcrc import crc16

from protocols.checksums import bcc
from protocols.cloudboxx import FRAME, SIGNALS
from protocols.codec import Protocol
from protocols.gbt32960_signals import SIZES
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


def kaitai_cloudboxx() -> Decode:
    """A parser on Kaitai's runtime, an attribute for each field, written by hand as its compiler writes them: the compiler is no
    Python package and is not to be had from PyPI. Without the CRC."""
    from kaitaistruct import BytesIO, KaitaiStream, KaitaiStruct  # type: ignore[import-untyped]

    reads = {1: "read_u1", 2: "read_u2le", 4: "read_u4le", -1: "read_s1", -2: "read_s2le", -4: "read_s4le"}
    fields = [(s.bit, s.name, reads[(-1 if s.form.fmtstr[-1].islower() else 1) * s.form.sizeof()]) for s in SIGNALS]
    source = ["class State(KaitaiStruct):", "    def __init__(self, io):", "        super().__init__(io)", "        self._read()"]
    source += ["    def _read(self):", "        io = self._io", "        self.sync = io.read_bytes(2)"]
    source += ["        self.kind = io.read_u1()", "        self.flags = io.read_u1()", "        self.qnr = io.read_bytes(8)"]
    source += ["        self.sequence = io.read_u4le()", "        self.seconds = io.read_u4le()"]
    source += ["        self.milliseconds = io.read_u2le()", "        self.length = io.read_u2le()"]
    source += ["        self.present = io.read_u8le()"]
    for bit, name, read in fields:
        source += [f"        if self.present & {1 << bit} != 0:", f"            self.{name} = io.{read}()"]
    source += ["        self.seal = io.read_bytes(8)", "        self.crc = io.read_u2le()"]
    names: dict[str, Any] = {"KaitaiStruct": KaitaiStruct}
    exec("\n".join(source), names)

    def decode(frame: bytes) -> Any:
        return names["State"](KaitaiStream(BytesIO(frame)))

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


def codecs_protocol_teltonika() -> Decode:
    """codecs-protocol 1.0, from PyPI: takes hex and is asynchronous; checks no CRC."""
    from codecs_protocol.codec import Codec8E  # type: ignore[import-untyped]

    def decode(packet: bytes) -> Any:
        decoding = Codec8E(packet.hex()).decode_data()
        try:
            decoding.send(None)  # it waits for nothing
        except StopIteration as done:
            return done.value
        raise RuntimeError("it waits for something")

    return decode


# GB/T 32960 ------------------------------------------------------------------------------------------------------------

_GBT_HEADER = struct.Struct(">2sBB17sBH6B")
_SIZE_LETTERS = {1: "B", 2: "H", 4: "I"}
_FIXED_ITEMS = {
    kind: (struct.Struct(">" + "".join(_SIZE_LETTERS[size] for size in SIZES[2016, kind].values())), tuple(SIZES[2016, kind]))
    for kind in (0x01, 0x05, 0x06)
}
_MOTOR = struct.Struct(">BBBHHBHH")
_MOTOR_NAMES = tuple(name for name in SIZES[2016, 0x02] if name != "motors_count")
_ALARM = struct.Struct(">BI")


def struct_gbt32960(frame: bytes) -> dict[Any, Any]:
    """A walk over the items with structs kept, a dict for each report; the check character by a loop over 64-bit words."""
    start, command, flag, vin, encryption, length, *time = _GBT_HEADER.unpack_from(frame)
    if start != b"##" or length + 25 != len(frame) or bcc(frame[2:-1]) != frame[-1]:
        raise ValueError("framing")
    said: dict[Any, Any] = {"command": command, "flag": flag, "vin": vin, "encryption": encryption, "time": time}
    at, end = 30, len(frame) - 1
    while at < end:
        kind = frame[at]
        at += 1
        if kind in _FIXED_ITEMS:
            form, names = _FIXED_ITEMS[kind]
            said.update(zip(names, form.unpack_from(frame, at), strict=True))
            at += form.size
        elif kind == 0x02:
            count = frame[at]
            at += 1
            for number in range(count):
                said[number] = dict(zip(_MOTOR_NAMES, _MOTOR.unpack_from(frame, at), strict=True))
                at += _MOTOR.size
        elif kind == 0x07:
            said["alarm_level"], said["alarm_flags"] = _ALARM.unpack_from(frame, at)
            at += _ALARM.size
            for name in ("battery_faults", "motor_faults", "engine_faults", "other_faults"):
                count = frame[at]
                said[name] = struct.unpack_from(f">{count}I", frame, at + 1)
                at += 1 + 4 * count
        else:
            raise ValueError("item")
    return said


def rtm_con_gbt32960() -> Decode:
    """rtm_con 1.0, from PyPI (GPL: measured, never part of us): by construct too, check character included."""
    from rtm_con import msg_checked  # type: ignore[import-untyped]

    return msg_checked.parse  # type: ignore[no-any-return]


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
        with suppress(ImportError):
            found["kaitai, no CRC"] = kaitai_cloudboxx()
    if name == "teltonika":
        found["struct dict"] = struct_teltonika
        with suppress(ImportError):
            found["codecs-protocol, no CRC"] = codecs_protocol_teltonika()
    if name == "gbt32960":
        found["struct dict"] = struct_gbt32960
        with suppress(Exception):  # its optional dependencies are none
            found["rtm_con"] = rtm_con_gbt32960()
    return found
