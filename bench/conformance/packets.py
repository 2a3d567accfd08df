"""MQTT 3.1.1 packets as bytes: what the kit says as a client and as a server, and what it reads out of captured traffic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)
RESERVED_FLAGS = {CONNECT: 0, CONNACK: 0, PUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0, SUBSCRIBE: 2, SUBACK: 0}
RESERVED_FLAGS |= {UNSUBSCRIBE: 2, UNSUBACK: 0, PINGREQ: 0, PINGRESP: 0, DISCONNECT: 0}
"""The lower four bits of a packet's first byte (MQTT 3.1.1 table 2.2); PUBLISH has flags of its own."""


class PacketError(ValueError):
    """These bytes are no MQTT 3.1.1 packet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One control packet: its type, the four flag bits, and what follows the fixed header."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT. `will` is topic, payload, QoS, retain; None where there is none."""

    client_id: str
    clean_session: bool
    keepalive_s: int
    protocol: str = "MQTT"
    level: int = 4
    user_name: str | None = None
    password: bytes | None = None
    will: tuple[str, bytes, int, bool] | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH; `mid` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    mid: int = 0
    retain: bool = False
    dup: bool = False


def size_of(data: bytes | bytearray | memoryview, at: int = 0) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins, and its size; None if more bytes are needed. Raises PacketError."""
    size = shift = 0
    for place in range(at + 1, at + 5):
        if place >= len(data):
            return None
        size |= (data[place] & 0x7F) << shift
        shift += 7
        if not data[place] & 0x80:
            return place + 1, size
    raise PacketError("a remaining length of more than four bytes")


def read(data: bytes | bytearray, at: int = 0) -> tuple[Packet, int] | None:
    """The packet at `at` and where it ends; None if it is not all there yet. Raises PacketError."""
    if at >= len(data):
        return None
    kind, flags = data[at] >> 4, data[at] & 0x0F
    if kind not in RESERVED_FLAGS and kind != PUBLISH:
        raise PacketError(f"packet type {kind} is reserved")
    if kind != PUBLISH and flags != RESERVED_FLAGS[kind]:
        raise PacketError(f"reserved flags {flags:04b} in packet type {kind}")
    measured = size_of(data, at)
    if measured is None or sum(measured) > len(data):
        return None
    begin, size = measured
    return Packet(kind, flags, bytes(data[begin : begin + size])), begin + size


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    if at + 2 > len(data) or end > len(data):
        raise PacketError("a string reaches beyond its packet")
    return data[at + 2 : end], end


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PacketError("a string is no UTF-8") from error


def read_connect(packet: Packet) -> Connect:
    """What a CONNECT says. Raises PacketError."""
    data = packet.body
    protocol, at = _text(data, 0)
    if len(data) < at + 4:
        raise PacketError("a CONNECT that is too short")
    level, flags, keepalive = data[at], data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
    client_id, at = _text(data, at + 4)
    will = user = password = None
    if flags & 0x04:
        topic, at = _text(data, at)
        payload, at = _text(data, at)
        will = (_decoded(topic), payload, flags >> 3 & 3, bool(flags & 0x20))
    if flags & 0x80:
        raw, at = _text(data, at)
        user = _decoded(raw)
    if flags & 0x40:
        password, at = _text(data, at)
    return Connect(_decoded(client_id), bool(flags & 0x02), keepalive, _decoded(protocol), level, user, password, will)


def read_publish(packet: Packet) -> Publish:
    """What a PUBLISH says. Raises PacketError."""
    qos = packet.flags >> 1 & 3
    if qos == 3:
        raise PacketError("QoS 3")
    topic, at = _text(packet.body, 0)
    mid = 0
    if qos:
        mid, at = int.from_bytes(packet.body[at : at + 2], "big"), at + 2
    return Publish(_decoded(topic), packet.body[at:], qos, mid, bool(packet.flags & 1), bool(packet.flags & 8))


def read_subscribe(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """The packet id of a SUBSCRIBE and its topic filters with the QoS asked for. Raises PacketError."""
    at, filters = 2, []
    while at < len(packet.body):
        topic, at = _text(packet.body, at)
        filters.append((_decoded(topic), packet.body[at] if at < len(packet.body) else 0))
        at += 1
    return int.from_bytes(packet.body[:2], "big"), filters


def mid_of(packet: Packet) -> int:
    """The packet id of a PUBACK, SUBACK or UNSUBSCRIBE."""
    return int.from_bytes(packet.body[:2], "big")


def _string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes = b"", flags: int | None = None) -> bytes:
    """A packet as it goes over the wire."""
    size, length = len(body), bytearray()
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            break
    return bytes([kind << 4 | (RESERVED_FLAGS.get(kind, 0) if flags is None else flags)]) + bytes(length) + body


def connect(said: Connect) -> bytes:
    """A CONNECT."""
    flags = (0x02 if said.clean_session else 0) | (0x80 if said.user_name is not None else 0)
    flags |= 0x40 if said.password is not None else 0
    body = _string(said.protocol) + bytes([said.level])
    tail = _string(said.client_id)
    if said.will is not None:
        topic, payload, qos, retain = said.will
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        tail += _string(topic) + _string(payload)
    tail += b"" if said.user_name is None else _string(said.user_name)
    tail += b"" if said.password is None else _string(said.password)
    return packet(CONNECT, body + bytes([flags]) + said.keepalive_s.to_bytes(2, "big") + tail)


def connack(code: int = 0, *, session_present: bool = False) -> bytes:
    """A CONNACK."""
    return packet(CONNACK, bytes([session_present, code]))


def publish(said: Publish) -> bytes:
    """A PUBLISH."""
    mid = said.mid.to_bytes(2, "big") if said.qos else b""
    return packet(PUBLISH, _string(said.topic) + mid + said.payload, said.dup << 3 | said.qos << 1 | said.retain)


def puback(mid: int) -> bytes:
    """A PUBACK."""
    return packet(PUBACK, mid.to_bytes(2, "big"))


def subscribe(mid: int, filters: Iterable[tuple[str, int]]) -> bytes:
    """A SUBSCRIBE."""
    return packet(SUBSCRIBE, mid.to_bytes(2, "big") + b"".join(_string(topic) + bytes([qos]) for topic, qos in filters))


def suback(mid: int, granted: Sequence[int]) -> bytes:
    """A SUBACK."""
    return packet(SUBACK, mid.to_bytes(2, "big") + bytes(granted))
