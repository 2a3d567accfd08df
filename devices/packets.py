"""The packets of MQTT 3.1.1 (OASIS, 2014) that a unit says and hears, as bytes. Pure."""

import struct
from typing import Final

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

PACKET_LIMIT_BYTES = 1 << 20
"""What comes down is a frame; this is far beyond what a unit could keep, and no broker fills a fleet's memory with more."""

LENGTH_BYTES = 4
"""Of the remaining length, at most (section 2.2.3)."""

PUBACK_HEAD = bytes((PUBACK << 4, 2))
"""Then comes the packet identifier."""

PUBACK_BYTES = 4
"""With it."""

LEAST_BYTES = 2
"""Of a message beside its topic. What is less than a message, PUBACKs or the answer to a ping, moves nothing: it is read later,
with what comes next."""

PING = bytes((PINGREQ << 4, 0))
BYE = bytes((DISCONNECT << 4, 0))

_PROTOCOL = b"\x00\x04MQTT\x04"
_PERSISTENT_WITH_ALL = 0xEC
"""User name, password, a retained will of QoS 1, and no clean session."""

_U16 = struct.Struct(">H")


class MalformedPacket(ValueError):
    """No broker may say this."""


def text(said: str | bytes) -> bytes:
    """A string, its length before it. Raises ValueError for one over 65,535 bytes."""
    raw = said.encode() if isinstance(said, str) else said
    if len(raw) > 0xFFFF:
        raise ValueError("a string of MQTT has at most 65,535 bytes")
    return _U16.pack(len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    """A packet: its first byte, the length of the rest in groups of seven bits, the rest."""
    length = len(body)
    if length < 0x80:
        return bytes((first, length)) + body
    if length < 0x4000:
        return bytes((first, length & 0x7F | 0x80, length >> 7)) + body
    head = bytearray((first,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + body


def connect(name: str, password: str, will_topic: str, will: bytes, keepalive_s: int) -> bytes:
    """CONNECT for a persistent session of client and user `name`, with a retained will of QoS 1."""
    said = text(name) + text(will_topic) + text(will) + text(name) + text(password)
    return packet(CONNECT << 4, _PROTOCOL + bytes((_PERSISTENT_WITH_ALL,)) + _U16.pack(keepalive_s) + said)


def subscribe(topic: str, identifier: int) -> bytes:
    """SUBSCRIBE to one topic, QoS 1."""
    return packet(SUBSCRIBE << 4 | 2, _U16.pack(identifier) + text(topic) + b"\x01")


def publish(topic: bytes, identifier: int, payload: bytes, *, retain: bool = False) -> bytes:
    """PUBLISH with QoS 1; `topic` with its length before it."""
    first, length = PUBLISH << 4 | 2 | retain, len(topic) + 2 + len(payload)
    if 0x80 <= length < 0x4000:  # a report
        return b"".join((bytes((first, length & 0x7F | 0x80, length >> 7)), topic, _U16.pack(identifier), payload))
    return packet(first, topic + _U16.pack(identifier) + payload)


def acknowledge(identifier: bytes) -> bytes:
    """PUBACK of a packet identifier, as it was said."""
    return PUBACK_HEAD + identifier


def next_packet(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends; None: not all of it is there yet. Raises MalformedPacket."""
    body, length = at + 1, 0
    for shift in range(0, 7 * LENGTH_BYTES, 7):
        if body >= len(data):
            return None
        group = data[body]
        length |= (group & 0x7F) << shift
        body += 1
        if not group & 0x80:
            break
    else:
        raise MalformedPacket("a length of more than four bytes")
    if length > PACKET_LIMIT_BYTES:
        raise MalformedPacket(f"a packet of {length} bytes")
    end = body + length
    return (body, end) if end <= len(data) else None


def published(first: int, body: bytes) -> tuple[bytes, bytes, bytes]:
    """Topic, packet identifier (none with QoS 0) and payload of a PUBLISH. Raises MalformedPacket."""
    qos = first >> 1 & 3
    after = 2 + int.from_bytes(body[:2], "big")
    start = after + (2 if qos else 0)
    if qos > 1 or len(body) < 2 or start > len(body):
        raise MalformedPacket("a PUBLISH that is none, or one of a QoS that was not asked for")
    return body[2:after], body[after:start], body[start:]
