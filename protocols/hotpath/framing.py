"""Where the frames of a protocol begin and end, its checksum and its seal, as the numbers that both kernels work with."""

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

CRC_16_CCITT_FALSE = (16, 0x1021, 0xFFFF, 0, 0)
CRC_16_ARC = (16, 0x8005, 0, 1, 0)
NO_CRC = (0, 0, 0, 0, 0)


class Status(IntEnum):
    """What the fast path knows of a frame. All but VOUCHED go the slow way, which says what is wrong with them, if anything."""

    VOUCHED = 0
    UNFRAMED = 1
    CHECKSUM = 2
    UNKNOWN = 3
    DOUBTFUL = 4
    DISTRUSTED = 5


class SumKind(IntEnum):
    """How the bytes of a frame are summed up."""

    NONE = 0
    CRC = 1
    XOR = 2


class GuardKind(IntEnum):
    """What is checked of a lane: a range, text filled up with zeros, or a date of three bytes (years from 2000 to 2099)."""

    RANGE = 0
    TEXT = 1
    DATE = 2


class Guard(NamedTuple):
    """A value outside of this is not vouched for: the slow way says what it means."""

    lane: str
    kind: GuardKind
    low: int = 0
    high: int = 0


class Window(NamedTuple):
    """8 bytes of a part, as far as `mask` goes (little-endian), in frames with this context; -1: in any."""

    at: int
    mask: int
    context: int = -1


@dataclass(frozen=True, slots=True)
class Framing:
    """Offsets count from the frame's start, what is called `_trail`, `sum_at` or `again_at` from its end.

    The first 8 bytes must be `sync` where `sync_mask` has bits. A length field says the frame's size less `length_add`. A CRC is
    (width, polynomial, initial value, reflected, final XOR). With `parts`, `count_at` says how many records stand from
    `parts_from` to `parts_trail`, and the same count stands at `again_at`. The 8 bytes at `context_at`, as far as
    `context_mask` goes, are structure that stands before the parts. A seal of `tag_size` bytes covers all before it.
    """

    sync_mask: int = 0
    sync: int = 0
    least_bytes: int = 16
    length_at: int = 0
    length_width: int = 0
    length_big: int = 0
    length_add: int = 0
    sum_kind: int = SumKind.NONE
    sum_from: int = 0
    sum_trail: int = 0
    sum_at: int = 0
    sum_width: int = 0
    sum_big: int = 0
    crc: tuple[int, int, int, int, int] = NO_CRC
    parts: int = 0
    count_at: int = 0
    again_at: int = 1
    parts_from: int = 0
    parts_trail: int = 0
    context_at: int = 0
    context_mask: int = 0
    tag_size: int = 0
    tag_trail: int = 0

    def hops(self, data: bytes) -> list[tuple[int, int]]:
        """Where frames back to back begin and end by their length fields alone; all of `data` as one where they do not fit.

        If each of them proves to be a frame, they are what Protocol.split gives; otherwise that has the say.
        """
        found = self._hops(data)
        return found if found and found[-1][1] == len(data) else [(0, len(data))]

    def single(self, payloads: Sequence[bytes]) -> bool:
        """Whether each of these is one frame by its length field."""
        begin, end, added = self.length_at, self.length_at + self.length_width, self.length_add
        order: Literal["big", "little"] = "big" if self.length_big else "little"
        return begin < end and all(
            added + int.from_bytes(each[begin:end], order) == len(each) >= self.least_bytes for each in payloads
        )

    def whole(self, data: bytes) -> int:
        """How many bytes of a stream's front are whole frames by their length fields alone."""
        found = self._hops(data)
        return found[-1][1] if found else 0

    def _hops(self, data: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        at, size = 0, len(data)
        order: Literal["big", "little"] = "big" if self.length_big else "little"
        while self.length_width and at < size:
            said = at + self.length_at
            end = at + self.length_add + int.from_bytes(data[said : said + self.length_width], order)
            if not at + self.least_bytes <= end <= size:
                break
            found.append((at, end))
            at = end
        return found

    def packed(self) -> bytes:
        """As the C structure has it: 64-bit numbers in this order."""
        numbers: list[int] = []
        for each in astuple(self):
            numbers += each if isinstance(each, tuple) else [each]
        return b"".join(struct.pack("<Q", number & (1 << 64) - 1) for number in numbers)
