"""Captured traffic: pcap and pcapng files, TCP streams put together again, and the MQTT messages in them.

Link types: Ethernet (with VLAN tags), loopback, Linux cooked (1 and 2), raw IP. IPv4 and IPv6. A stream that begins or goes on
after a loss in the middle of a packet is picked up at the next message on a topic of ours.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.conformance.packets import PUBLISH, PacketError, Publish, read, read_connect, read_publish

PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e6),
    b"\xa1\xb2\xc3\xd4": (">", 1e6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e9),
    b"\xa1\xb2\x3c\x4d": (">", 1e9),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
ETHERNET, NULL, RAW, COOKED, LOOP, IPV4, IPV6, COOKED_2 = 1, 0, 101, 113, 108, 228, 229, 276
SYN, FIN, RST = 0x02, 0x01, 0x04
TOPIC_START = b"v1/"
STREAM_LIMIT_BYTES = 64 << 20
HELD_LIMIT = 10_000
"""Segments of one direction that may wait for one before them."""


class CaptureError(ValueError):
    """The file is no capture that can be read."""


class Captured(NamedTuple):
    """One link-layer packet: when (Unix seconds), which link type, its bytes."""

    at: float
    link: int
    data: bytes


def is_capture(data: bytes) -> bool:
    """Whether a file begins as pcap or pcapng."""
    return data[:4] in PCAP_MAGIC or data[:4] == PCAPNG_MAGIC


def packets(data: bytes) -> Iterator[Captured]:
    """The packets of a file in order. Raises CaptureError; a last packet that was cut off is left out."""
    if data[:4] == PCAPNG_MAGIC:
        yield from _pcapng(data)
        return
    if data[:4] not in PCAP_MAGIC or len(data) < 24:
        raise CaptureError("neither pcap nor pcapng")
    order, ticks = PCAP_MAGIC[data[:4]]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, size, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        if at + size > len(data):
            return
        yield Captured(seconds + fraction / ticks, link, data[at : at + size])
        at += size


def _pcapng(data: bytes) -> Iterator[Captured]:
    at, order, links = 0, "<", list[tuple[int, float]]()
    while at + 12 <= len(data):
        if data[at : at + 4] == PCAPNG_MAGIC:
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or at + size > len(data):
            return
        body = data[at + 8 : at + size - 4]
        if kind == 1:
            links.append((struct.unpack_from(order + "H", body)[0], _resolution(body[8:], order)))
        elif kind == 6 and len(body) >= 20:
            interface, high, low, there, _ = struct.unpack_from(order + "IIIII", body)
            link, ticks = links[interface] if interface < len(links) else (ETHERNET, 1e6)
            yield Captured((high << 32 | low) / ticks, link, body[20 : 20 + there])
        elif kind == 3 and len(body) >= 4 and links:
            there = min(struct.unpack_from(order + "I", body)[0], len(body) - 4)
            yield Captured(0.0, links[0][0], body[4 : 4 + there])
        at += size


def _resolution(options: bytes, order: str) -> float:
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == 9 and size == 1:
            value = options[at + 4]
            return float(2 ** (value & 0x7F)) if value & 0x80 else float(10**value)
        if code == 0:
            break
        at += 4 + (size + 3 & ~3)
    return 1e6


class Segment(NamedTuple):
    """One TCP segment: from and to (address, port), its place in the stream, flags, content."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    sequence: int
    flags: int
    data: bytes


def segment(captured: Captured) -> Segment | None:
    """The TCP segment in a packet; None if there is none, or it is only a fragment of one."""
    data = _network(captured)
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        header, total = 4 * (data[0] & 15), int.from_bytes(data[2:4], "big")
        fragment = int.from_bytes(data[6:8], "big")
        if data[9] != 6 or fragment & 0x3FFF or header < 20:
            return None
        source, target = data[12:16], data[16:20]
        data = data[header : total or None]
    elif data[0] >> 4 == 6 and len(data) >= 40:
        source, target, following, at = data[8:24], data[24:40], data[6], 40
        end = at + (int.from_bytes(data[4:6], "big") or len(data))
        while following in (0, 43, 60) and at + 2 <= len(data):
            following, at = data[at], at + 8 * (data[at + 1] + 1)
        if following != 6:
            return None
        data = data[at:end]
    else:
        return None
    if len(data) < 20:
        return None
    ports = struct.unpack_from(">HHI", data)
    return Segment((source, ports[0]), (target, ports[1]), ports[2], data[13], data[4 * (data[12] >> 4) :])


def _network(captured: Captured) -> bytes:
    """What follows the link layer, as far as it is IP."""
    data = captured.data
    match captured.link:
        case 1:
            at = 12
            while data[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
                at += 4
            return data[at + 2 :]
        case 0 | 108:
            return data[4:]
        case 113:
            return data[16:]
        case 276:
            return data[20:]
        case 101 | 228 | 229 | 12 | 14:
            return data
    return b""


@dataclass
class Stream:
    """One direction of a TCP connection. `pieces` are the bytes in order; after a loss a new piece begins."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    pieces: list[bytearray] = field(default_factory=lambda: [bytearray()])
    times: list[tuple[int, int, float]] = field(default_factory=list)
    began: bool = False
    _next: int | None = None
    _held: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def take(self, said: Segment, at: float) -> None:
        """Take in a segment: in order, early, or again."""
        if said.flags & SYN:
            self._next, self.began = said.sequence + 1 & 0xFFFFFFFF, True
            return
        if not said.data:
            return
        if self._next is None:
            self._next = said.sequence
        kept = self._held.get(said.sequence)
        if kept is None or len(kept[0]) < len(said.data):
            self._held[said.sequence] = (said.data, at)
        self._drain()
        if len(self._held) > HELD_LIMIT:
            self.skip()

    def _drain(self) -> None:
        moved = True
        while moved and self._held and self._next is not None:
            moved = False
            for sequence in sorted(self._held, key=lambda each: (each - (self._next or 0) + (1 << 31)) & 0xFFFFFFFF):
                ahead = (sequence - self._next + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
                if ahead > 0:
                    break
                data, at = self._held.pop(sequence)
                fresh = data[-ahead:] if ahead else data
                if fresh and -ahead < len(data):
                    self.times.append((len(self.pieces) - 1, len(self.pieces[-1]), at))
                    self.pieces[-1] += fresh
                    self._next = self._next + len(fresh) & 0xFFFFFFFF
                moved = True

    def skip(self) -> None:
        """What was waited for is not in the capture: go on behind it."""
        while self._held:
            first = min(self._held, key=lambda each: (each - (self._next or 0)) & 0xFFFFFFFF)
            self.pieces.append(bytearray())
            self._next = first
            self._drain()

    def at(self, piece: int, offset: int) -> float:
        """When the byte at `offset` of a piece was captured."""
        found = 0.0
        for number, begin, moment in self.times:
            if (number, begin) <= (piece, offset):
                found = moment
        return found


def streams(data: bytes) -> list[Stream]:
    """The TCP streams of a capture, one a direction, in the order in which they began. Raises CaptureError."""
    found: dict[tuple[tuple[bytes, int], tuple[bytes, int]], Stream] = {}
    ended: list[Stream] = []
    for captured in packets(data):
        said = segment(captured)
        if said is None:
            continue
        key = (said.source, said.target)
        if key not in found or (said.flags & SYN and found[key].pieces != [bytearray()]):
            if key in found:
                ended.append(found[key])
            found[key] = Stream(*key)
        found[key].take(said, captured.at)
    every = ended + list(found.values())
    for stream in every:
        stream.skip()
    return [stream for stream in every if any(stream.pieces)]


class Message(NamedTuple):
    """A captured PUBLISH, and when it was captured (Unix seconds)."""

    at: float
    publish: Publish


def is_mqtt(stream: Stream) -> bool:
    """Whether the stream has an MQTT CONNECT at its beginning, or a message on a topic of ours anywhere."""
    try:
        first = read(stream.pieces[0])
        if first is not None and first[0].kind == 1 and read_connect(first[0]).protocol.startswith("MQ"):
            return True
    except PacketError:
        pass
    return any(True for _ in messages(stream))


def messages(stream: Stream) -> Iterator[Message]:
    """The PUBLISH packets of a stream. Bytes that are no packet are passed over up to the next message on a topic `v1/...`."""
    for number, piece in enumerate(stream.pieces):
        at = 0
        while at < len(piece):
            try:
                found = read(piece, at)
                if found is None:
                    raise PacketError("cut off")
                packet, end = found
                if packet.kind == PUBLISH:
                    yield Message(stream.at(number, at), read_publish(packet))
                at = end
            except PacketError:
                at = _resumed(piece, at + 1)


def _resumed(piece: bytearray, at: int) -> int:
    """Where, at or after `at`, a whole PUBLISH to a topic of ours begins; the end if none does."""
    place = piece.find(TOPIC_START, at)
    while place >= 0:
        for header in (4, 5, 6, 7, 3):
            begin = place - header
            if begin >= at and piece[begin] >> 4 == PUBLISH:
                try:
                    found = read(piece, begin)
                    if found is not None and read_publish(found[0]).topic.startswith("v1/"):
                        return begin
                except PacketError:
                    continue
        place = piece.find(TOPIC_START, place + 1)
    return len(piece)
