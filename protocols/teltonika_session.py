"""A Teltonika unit's own words: frames made of signals, and what the server's answers say to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocols.codec import Frame, ProtocolError, parse
from protocols.teltonika import MESSAGE_KINDS
from protocols.teltonika_layouts import CODEC_8E, CODEC_13, CODEC_16, UDP_ANSWER

AVL_SIZES: Mapping[int, int] = {
    **dict.fromkeys((1, 2, 3, 10, 20, 21, 30, 31, 32, 37, 48, 69, 80, 81, 82, 89, 113, 114, 179, 180, 200, 239, 240), 1),
    **dict.fromkeys((6, 9, 13, 15, 17, 18, 19, 24, 25, 26, 27, 28, 36, 66, 67, 68, 84, 85, 90, 110, 112, 115), 2),
    **dict.fromkeys((181, 182, 205, 206), 2),
    **dict.fromkeys((12, 16, 72, 73, 74, 75, 83, 87, 100, 102, 105, 199, 241, 389, 390, 636), 4),
    **dict.fromkeys((11, 14, 78, 132), 8),
}
"""Bytes of an AVL id's value on the FMBxxx and FMCxxx families (vendor's page "FMB AVL ID")."""

_FIXED = ("longitude", "latitude", "altitude", "angle", "satellites", "speed", "priority", "event_id")
_GROUP_SIZES = (1, 2, 4, 8)


def login(imei: str) -> Frame:
    """The first frame of a session. `imei` is 15 digits."""
    return Frame("hello", imei)


def record(codec: int, captured_at: int, signals: Mapping[str, Any], sizes: Mapping[int, int] = AVL_SIZES) -> dict[str, Any]:
    """An AVL record that says `signals`, named as decode names them; fields not given are 0. `captured_at` is Unix ms.

    An id that `sizes` does not list takes the fewest bytes that hold its value; bytes travel as they are (Codec 8 Extended
    only: ProtocolError("malformed")), negative numbers as two's complement.
    """
    said: dict[str, Any] = {name: signals.get(name, 0) for name in _FIXED}
    said |= {"timestamp": captured_at} | {f"bytes_{size}": [] for size in _GROUP_SIZES}
    if codec == CODEC_16:
        said["generation_type"] = signals.get("generation_type", 0)
    if codec == CODEC_8E:
        said["bytes_x"] = []
    for name, value in signals.items():
        if name.startswith("io_"):
            _add(said, int(name[3:]), value, sizes)
    return said


def _add(said: dict[str, Any], avl_id: int, value: Any, sizes: Mapping[int, int]) -> None:
    if isinstance(value, bytes):
        if "bytes_x" not in said:
            raise ProtocolError("malformed", field=f"io_{avl_id}", expected="a number: only Codec 8 Extended carries bytes")
        said["bytes_x"].append({"id": avl_id, "value": value})
        return
    number = int(value)
    fitting = (size for size in _GROUP_SIZES if number < 1 << 8 * size and number >= -1 << 8 * size - 1)
    size = sizes.get(avl_id) or next(fitting, 8)
    said[f"bytes_{size}"].append({"id": avl_id, "value": number % (1 << 8 * size)})


def avl(codec: int, records: Sequence[Mapping[str, Any]]) -> Frame:
    """An AVL frame of records as `record` makes them, at most 255."""
    return Frame("state", facts={"transport": "tcp", "codec": codec, "data": {"records": list(records)}})


def message(codec: int, kind: int, payload: bytes, *, imei: str = "", timestamp: int = 0, layout: str = "seconds") -> Frame:
    """A GPRS message of type `kind`.

    `imei` is for Codec 14 and 15; `timestamp` for 13 and 15, in seconds or what `layout` (CODEC_13_LAYOUTS) says.
    """
    said = {"type": kind, "payload": payload, "timestamp": timestamp, "imei": bytes.fromhex(imei.zfill(16))}
    facts = {"transport": "tcp", "codec": codec, "layout": layout if codec == CODEC_13 else "", "data": {"messages": [said]}}
    return Frame(MESSAGE_KINDS.get(kind, "message"), imei or None, facts=facts)


def over_udp(frame: Frame, imei: str, packet_id: int, avl_packet_id: int) -> Frame:
    """The same frame in a UDP channel packet; both ids come back in the server's answer."""
    facts = {**frame.facts, "transport": "udp", "packet_id": packet_id, "avl_packet_id": avl_packet_id}
    return replace(frame, unit=imei, facts=facts)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to a login (`accepted` 1 or 0) or to records (how many it holds: else they are to be sent again).

    The two ids are those of the UDP packet that is answered, None in a TCP session.
    """

    accepted: int
    login: bool = False
    packet_id: int | None = None
    avl_packet_id: int | None = None


def read_answer(data: bytes) -> Answer:
    """The answer that `data` is: 1 byte to a login, 4 to records, 7 in the UDP channel. Raises ProtocolError."""
    if len(data) == 7:
        said = parse(UDP_ANSWER, data)
        return Answer(said.accepted, packet_id=said.packet_id, avl_packet_id=said.avl_packet_id)
    if len(data) == 1 and data[0] < 2:
        return Answer(data[0], login=True)
    if len(data) == 4:
        return Answer(int.from_bytes(data, "big"))
    raise ProtocolError("bad_length", 0, "answer", expected="1, 4 or 7 bytes", found=f"{len(data)} bytes")
