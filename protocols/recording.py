"""A recording of MQTT traffic: bytes <-> records, without a file, a broker or a clock. docs/record-replay.md has it as a page.

A header, then blocks that each stand for themselves: what is torn off at the end, or damaged in between, costs its own block
and no other, and a file is continued by appending blocks. Little-endian.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from protocols.codec import ProtocolError, UnitId

MAGIC: Final = b"\x89TLREC\r\n"
"""A byte that no text has, and a line end that a transfer as text would change."""

VERSION: Final = 1
SYNC: Final = b"\xb1\x0cTL"

BLOCK_BYTES: Final = 256 * 1024
"""How much is gathered before a block is closed; a block is read and packed as a whole."""

_HEAD = struct.Struct("<8sHHI")  # magic, version, zero, size of the JSON behind it; then the CRC of all before
_BLOCK = struct.Struct("<4sIIIqI")  # sync, packed size, raw size, records, first time, CRC of the packed bytes; then its own CRC
_CRC = struct.Struct("<I")
BLOCK_HEAD_BYTES: Final = _BLOCK.size + _CRC.size
HEADER_LIMIT_BYTES: Final = 1 << 20
RAW_LIMIT_BYTES: Final = (1 << 28) + (1 << 17)
"""One record with the longest payload that MQTT can carry (section 2.2.3): what a block may unpack to."""

_QOS, _RETAIN = 0b011, 0b100


class Record(NamedTuple):
    """One message as the broker delivered it. `at_us` is when it was received, Unix time in microseconds."""

    at_us: int
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False

    @property
    def unit(self) -> UnitId | None:
        """The unit that its topic names (`v1/{brand}/{id}/...`), None for other topics."""
        parts = self.topic.split("/")
        return UnitId(parts[1], parts[2]) if len(parts) == 4 and parts[0] == "v1" else None

    @property
    def channel(self) -> str:
        """`up`, `down` or `presence` of a unit's topic, empty for other topics."""
        return self.topic.rpartition("/")[2] if self.unit is not None else ""


def is_recording(data: bytes) -> bool:
    """Whether these bytes begin as a recording does."""
    return data[: len(MAGIC)] == MAGIC


def header(about: Mapping[str, Any]) -> bytes:
    """The first bytes of a recording; `about` is said in JSON. Raises ValueError if that is too long."""
    said = json.dumps(dict(about), ensure_ascii=False, sort_keys=True).encode()
    if len(said) > HEADER_LIMIT_BYTES:
        raise ValueError(f"a recording's header is at most {HEADER_LIMIT_BYTES} bytes long, not {len(said)}")
    head = _HEAD.pack(MAGIC, VERSION, 0, len(said)) + said
    return head + _CRC.pack(zlib.crc32(head))


def block(records: Iterable[Record]) -> bytes:
    """The block that holds `records` in their order; no bytes for no records."""
    raw, count, first, before = bytearray(), 0, 0, 0
    topics: dict[str, int] = {}
    for record in records:
        if not count:
            first = before = record.at_us
        step = record.at_us - before
        _append(raw, step << 1 if step >= 0 else (-step << 1) - 1)
        place = topics.get(record.topic, 0)
        _append(raw, place)
        if not place:
            topics[record.topic] = len(topics) + 1
            name = record.topic.encode("utf-8", "surrogatepass")
            _append(raw, len(name))
            raw += name
        raw.append(record.qos & _QOS | (_RETAIN if record.retain else 0))
        _append(raw, len(record.payload))
        raw += record.payload
        before, count = record.at_us, count + 1
    if not count:
        return b""
    packed = zlib.compress(raw, 6)
    head = _BLOCK.pack(SYNC, len(packed), len(raw), count, first, zlib.crc32(packed))
    return head + _CRC.pack(zlib.crc32(head)) + packed


def _append(raw: bytearray, number: int) -> None:
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)


class Reader:
    """Takes a recording in pieces of any size. `about` is what its header says, once that has been read.

    `damage` lists what could not be read, with offsets from the start of the recording; reading goes on behind it. `whole` is
    where the last good block ends: what may be continued from there.
    """

    def __init__(self) -> None:
        self.about: Mapping[str, Any] | None = None
        self.damage: list[ProtocolError] = []
        self.whole = 0
        self._left = bytearray()
        self._at = 0
        self._lost_at: int | None = None

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete with `data`. Raises ProtocolError if this is no recording that can be read."""
        self._left += data
        if self.about is None and not self._take_header():
            return
        while (size := self._next_block()) is not None:
            packed = bytes(self._left[BLOCK_HEAD_BYTES:size])
            _, _, raw_size, count, first, crc = _BLOCK.unpack_from(self._left)
            try:
                records = _unpacked(packed, raw_size, count, first, crc)
            except ProtocolError as error:
                self.damage.append(error.moved(self._at))
                self._drop(size)
                continue
            self._drop(size)
            self.whole = self._at
            yield from records

    def finish(self) -> None:
        """There is no more: a block that has begun and not ended is damage. Raises ProtocolError if there was no header."""
        if self.about is None:
            raise ProtocolError("truncated", len(self._left), "header", found=f"{len(self._left)} bytes")
        if self._lost_at is not None:
            self._note_lost(self._at + len(self._left))
        elif self._left:
            found = f"{len(self._left)} bytes of a block that was being written"
            self.damage.append(ProtocolError("truncated", self._at, "block", found=found))
        self._left.clear()

    def _take_header(self) -> bool:
        if not MAGIC.startswith(self._left[: len(MAGIC)]):
            raise ProtocolError("bad_sync", 0, "magic", expected=MAGIC.hex(), found=self._left[: len(MAGIC)].hex())
        if len(self._left) < _HEAD.size:
            return False
        _, version, _, size = _HEAD.unpack_from(self._left)
        if version != VERSION:
            raise ProtocolError("unsupported", 8, "version", expected=f"{VERSION}", found=f"{version}")
        if size > HEADER_LIMIT_BYTES:
            raise ProtocolError("oversized", 12, "header", expected=f"at most {HEADER_LIMIT_BYTES} bytes", found=f"{size} bytes")
        end = _HEAD.size + size
        if len(self._left) < end + _CRC.size:
            return False
        if zlib.crc32(self._left[:end]) != _CRC.unpack_from(self._left, end)[0]:
            raise ProtocolError("bad_checksum", end, "header")
        try:
            about = json.loads(self._left[_HEAD.size : end])
        except ValueError as error:
            raise ProtocolError("malformed", _HEAD.size, "header", found=str(error)) from error
        if not isinstance(about, dict):
            raise ProtocolError("malformed", _HEAD.size, "header", expected="a JSON object")
        self.about = about
        self._drop(end + _CRC.size)
        self.whole = self._at
        return True

    def _next_block(self) -> int | None:
        """The size of the whole block that stands first, once it has arrived; what is no block is passed over."""
        while len(self._left) >= BLOCK_HEAD_BYTES:
            size = _block_size(self._left)
            if size is not None:
                if self._lost_at is not None:
                    self._note_lost(self._at)
                return size if len(self._left) >= size else None
            if self._lost_at is None:
                self._lost_at = self._at
            found = self._left.find(SYNC, 1)
            self._drop(found if found > 0 else len(self._left) - len(SYNC) + 1)
        return None

    def _note_lost(self, until: int) -> None:
        assert self._lost_at is not None
        found = f"{until - self._lost_at} bytes that are no block"
        self.damage.append(ProtocolError("bad_sync", self._lost_at, "block", found=found))
        self._lost_at = None

    def _drop(self, size: int) -> None:
        del self._left[:size]
        self._at += size


def read(data: bytes) -> tuple[list[Record], list[ProtocolError]]:
    """The records of a whole recording, and what of it could not be read. Raises ProtocolError if it is none."""
    reader = Reader()
    records = list(reader.feed(data))
    reader.finish()
    return records, reader.damage


def _block_size(data: bytearray) -> int | None:
    """What the block that begins here says of its size, head included; None where none begins."""
    sync, packed_size, raw_size, _, _, _ = _BLOCK.unpack_from(data)
    if sync != SYNC or raw_size > RAW_LIMIT_BYTES or zlib.crc32(data[: _BLOCK.size]) != _CRC.unpack_from(data, _BLOCK.size)[0]:
        return None
    return int(BLOCK_HEAD_BYTES + packed_size)


def _unpacked(packed: bytes, raw_size: int, count: int, first: int, crc: int) -> list[Record]:
    if zlib.crc32(packed) != crc:
        raise ProtocolError("bad_checksum", 0, "block", expected=f"{crc:08x}", found=f"{zlib.crc32(packed):08x}")
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(packed, max(1, raw_size))
        if len(raw) != raw_size or not unpacking.eof:
            raise ProtocolError("bad_length", 0, "block", expected=f"{raw_size} bytes")
        records = list(_records(raw, first))
    except (zlib.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError("malformed", 0, "block", found=str(error)) from error
    if len(records) != count:
        raise ProtocolError("malformed", 0, "block", expected=f"{count} records", found=f"{len(records)}")
    return records


def _records(raw: bytes, at: int) -> Iterator[Record]:
    place, topics = 0, [""]
    while place < len(raw):
        step, place = _number(raw, place)
        at += -((step + 1) >> 1) if step & 1 else step >> 1
        topic, place = _number(raw, place)
        if not topic:
            size, place = _number(raw, place)
            topics.append(_slice(raw, place, size).decode("utf-8", "surrogatepass"))
            topic, place = len(topics) - 1, place + size
        flags = raw[place]
        size, place = _number(raw, place + 1)
        yield Record(at, topics[topic], _slice(raw, place, size), flags & _QOS, bool(flags & _RETAIN))
        place += size


def _slice(raw: bytes, at: int, size: int) -> bytes:
    if at + size > len(raw):
        raise IndexError(f"{size} bytes wanted at {at}, {len(raw) - at} are there")
    return raw[at : at + size]


def _number(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while raw[at] & 0x80:
        number |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise IndexError(f"a number of more than 9 bytes at {at}")
    return number | raw[at] << shift, at + 1
