"""A row: the canonical form of one report, the same for every layout. One bit for each lane that is there, then the lanes.

Lanes lie in a row little-endian, each at its own place; a lane that the frame does not have is zero and its bit is clear.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

BLOCK_BYTES = 16
LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Lane:
    """One raw value of a protocol's reports. `form` is i, u (numbers), f (IEEE 754) or S (bytes); `meant_below`: a number that
    is not below it says that there is none."""

    name: str
    size_bytes: int
    form: str = "u"
    meant_below: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy sees it in a row."""
        return np.dtype(f"S{self.size_bytes}" if self.form == "S" else f"<{self.form}{self.size_bytes}")


class Bits(NamedTuple):
    """A raw signal that is some bits of a lane."""

    lane: str
    shift: int
    mask: int


@dataclass(frozen=True)
class RowForm:
    """Where each lane lies; `bits_of` are signals that share a lane with others."""

    lanes: tuple[Lane, ...]
    bits_of: Mapping[str, Bits] = field(default_factory=dict)

    @cached_property
    def present_bytes(self) -> int:
        """The bitmap's size: whole 64-bit words."""
        return (len(self.lanes) + 63) // 64 * 8

    @cached_property
    def offsets(self) -> Mapping[str, int]:
        """Each lane's place in the row, in bytes."""
        places, at = {}, self.present_bytes
        for lane in self.lanes:
            places[lane.name] = at
            at += lane.size_bytes
        return places

    @cached_property
    def bits(self) -> Mapping[str, int]:
        """Each lane's bit in the bitmap."""
        return {lane.name: at for at, lane in enumerate(self.lanes)}

    @cached_property
    def by_name(self) -> Mapping[str, Lane]:
        """The lanes by their names."""
        return {lane.name: lane for lane in self.lanes}

    @cached_property
    def size_bytes(self) -> int:
        """A whole number of blocks, with 8 bytes behind the last lane: any lane can be read as a 64-bit word."""
        used = self.present_bytes + sum(lane.size_bytes for lane in self.lanes) + 8
        return -(-used // BLOCK_BYTES) * BLOCK_BYTES

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """A row as numpy sees it: `present` and each lane by its name."""
        return np.dtype(
            {
                "names": ["present", *(lane.name for lane in self.lanes)],
                "formats": [f"{self.present_bytes // 8}<u8", *(lane.dtype for lane in self.lanes)],
                "offsets": [0, *self.offsets.values()],
                "itemsize": self.size_bytes,
            }
        )

    def constant(self, present: Sequence[str]) -> bytes:
        """A row in which nothing is said yet, with the bits of these lanes set."""
        bitmap = sum(1 << self.bits[name] for name in present)
        return bitmap.to_bytes(self.present_bytes, "little") + bytes(self.size_bytes - self.present_bytes)

    def empty(self, rows: int) -> Bytes:
        """Room for so many rows, which begins where a cache line does."""
        size = rows * self.size_bytes
        room = np.empty(size + LINE_BYTES, np.uint8)
        begin = -room.__array_interface__["data"][0] % LINE_BYTES
        return room[begin : begin + size].reshape(rows, self.size_bytes)

    def values(self, row: Bytes) -> dict[str, Any]:
        """What a row says, by lane."""
        bitmap = int.from_bytes(row[: self.present_bytes].tobytes(), "little")
        there = np.frombuffer(row.tobytes(), self.dtype)[0]
        said = {}
        for lane in self.lanes:
            if bitmap >> self.bits[lane.name] & 1:
                at = self.offsets[lane.name]
                said[lane.name] = row[at : at + lane.size_bytes].tobytes() if lane.form == "S" else there[lane.name].item()
        return said
