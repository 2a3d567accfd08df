"""Teltonika packets for people: what is read of them however broken they are, their checksum, and what their fields mean."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from construct import Bytes, Int8ub, Int32ub, Struct

from protocols.checksums import crc16_arc
from protocols.codec import ProtocolError, parse
from protocols.meanings import Meaning, choice, number, unix_time, words
from protocols.teltonika_framing import (
    KEEP_ALIVE,
    LOGIN_LENGTH,
    PREAMBLE,
    TCP_HEADER_BYTES,
    UDP_HEADER_BYTES,
    length_guess,
    measure,
)
from protocols.teltonika_layouts import CODEC_8, CODEC_13, LOGIN, TCP, UDP, codec_13_layout

HEAD = Struct("preamble" / Bytes(4), "length" / Int32ub, "data" / Struct("codec" / Int8ub))
CRC = Struct("crc" / Int32ub)

CODECS = {
    0x07: "Codec 7: records of GH3000 units",
    0x08: "Codec 8: records",
    0x8E: "Codec 8 Extended: records",
    0x10: "Codec 16: records",
    0x0C: "Codec 12: GPRS messages",
    0x0D: "Codec 13: GPRS messages with a time",
    0x0E: "Codec 14: GPRS messages with an IMEI",
    0x0F: "Codec 15: GPRS messages with a time and an IMEI",
}
_AVL_ID = words("AVL id; the unit's family says what it stands for")

_RECORD: Mapping[str, Meaning] = {
    "timestamp": unix_time(1000, "ms"),
    "priority": choice({0: "low", 1: "high", 2: "panic"}),
    "longitude": number(1e-7, "deg", note="east positive"),
    "latitude": number(1e-7, "deg", note="north positive"),
    "altitude": number(1, "m", note="above sea level"),
    "angle": number(1, "deg", note="clockwise from north"),
    "satellites": words("in use; 0: no fix, and the position is the last known"),
    "speed": number(1, "km/h", note="from GNSS"),
    "event_id": words("AVL id whose change made the record; 0: none"),
    "generation_type": choice(
        dict(enumerate(("on exit", "on entrance", "on both", "reserved", "hysteresis", "on change", "eventual", "periodical")))
    ),
    "total": words("IO elements in the record"),
    "id": _AVL_ID,
    "size": number(1, "byte"),
}
_MESSAGE: Mapping[str, Meaning] = {
    "type": choice({0x05: "command", 0x06: "response", 0x0B: "forwarded", 0x0D: "camera", 0x11: "refused: not its IMEI"}),
    "size": number(1, "byte"),
    "imei": lambda value: ("", f"IMEI {value.hex()[1:]}, BCD"),
}
_PACKET: Mapping[str, Meaning] = {
    "keep_alive": words("a sign of life"),
    "preamble": words("zeros: a packet of a TCP session"),
    "length": number(1, "byte"),
    "packet_id": words("comes back in the answer"),
    "avl_packet_id": words("comes back in the answer"),
    "imei_length": number(1, "byte"),
    "data.codec": choice(CODECS),
    "data.count": words("records or messages"),
    "data.count_2": words("the same number again"),
    "crc": words("CRC-16/ARC over codec id to second count, in the lower two bytes"),
}


def read(data: bytes) -> None:
    """Read a packet as what its first bytes say it is, checking nothing. Raises ProtocolError where it ends too soon."""
    if data.startswith(KEEP_ALIVE):
        parse(Struct("keep_alive" / Bytes(len(data) - len(data.lstrip(KEEP_ALIVE)))), data)
    elif data.startswith(LOGIN_LENGTH):
        parse(LOGIN, data)
    elif not data.startswith(PREAMBLE[: len(data)]):
        key = _layout(data[UDP_HEADER_BYTES:])
        parse(UDP.get(key, UDP[CODEC_8, ""]), data)
    elif _ends_in_crc(data):
        parse(CRC, data[-4:], len(data) - 4)
        parse(TCP.get(_layout(data[TCP_HEADER_BYTES:-4]), HEAD), data)
    else:
        parse(TCP.get(_layout(data[TCP_HEADER_BYTES:]), HEAD), data)


def _layout(field: bytes) -> tuple[int, str]:
    """Which layout the data field of a packet has; a codec that does not exist has none."""
    codec = field[0] if field else 0
    return codec, codec_13_layout(field) if codec == CODEC_13 else ""


def _ends_in_crc(data: bytes) -> bool:
    """Whether the last four bytes are where the CRC stands, by the length field or because it holds there."""
    with suppress(ProtocolError):
        if data.startswith(PREAMBLE) and measure(data[:TCP_HEADER_BYTES]) == len(data):
            return True
    return length_guess(data) is not None


def checksum(data: bytes) -> Mapping[str, str] | None:
    """The CRC of a packet of a TCP session; the UDP channel and logins have none."""
    if not _ends_in_crc(data):
        return None
    return {"name": "CRC-16/ARC", "expected": f"{crc16_arc(data[TCP_HEADER_BYTES:-4]):08x}", "found": data[-4:].hex()}


def meanings(leaves: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Unit and meaning of each leaf; that of an IO element's value is told by the id before it."""
    avl_id = None
    for leaf in leaves:
        name = leaf.path.rpartition(".")[2]
        avl_id = leaf.value if name == "id" else avl_id
        if name == "value":
            yield "", f"of AVL id {avl_id}"
        elif name == "timestamp" and leaf.path.startswith("data.messages."):
            yield unix_time(*(1000, "ms") if leaf.size == 8 else (1, "s"))(leaf.value)
        else:
            yield _known(leaf.path, name)(leaf.value)


def _known(path: str, name: str) -> Meaning:
    if path.startswith("data.records."):
        return words("IO elements of this size") if name == "count" else _RECORD.get(name, words(""))
    if path.startswith("data.messages."):
        return _MESSAGE.get(name, words(""))
    return _PACKET.get(path, words(""))
