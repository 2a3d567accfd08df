"""Plans: how a part of one exact layout becomes a row, and a row that part again.

A layout is what all bytes but the data say: types, lengths, counts, ids. A plan is read off one traced parse by the construct
declarations, so they stay the only specification; it fits only where every byte of structure is the same.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.hotpath.rows import BLOCK_BYTES, RowForm

MOVE = struct.Struct("<HHH16s")
"""From, to, whether it begins its block and with what, and the shuffle: as kernel.c has it."""
ONTO, CONSTANT, ZERO = range(3)
ABSENT = 0x80
"""In a shuffle: no byte comes here."""

PART_LIMIT_BYTES = 2048
"""Longer parts are not learnt: a full table of them would take more memory than their speed is worth."""

UNPACKED = {
    ("u", 1): "B", ("i", 1): "b", ("u", 2): "H", ("i", 2): "h", ("u", 4): "I", ("i", 4): "i", ("u", 8): "Q", ("i", 8): "q",
    ("f", 4): "f", ("f", 8): "d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Datum:
    """A value in a part: its lane ("" if the rows have none for it), its place, and its bytes' order ("<", ">")."""

    lane: str
    offset: int
    size_bytes: int
    form: str = "u"
    order: str = "<"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A frame, or a record of one, as the learner saw it. `free` are bytes that say nothing (checksum, seal): offset, size.

    `shape` is what its protocol needs to make a Frame of the values again.
    """

    begin: int
    data: bytes
    values: tuple[Datum, ...]
    free: tuple[tuple[int, int], ...] = ()
    shape: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A learnt layout. `complete`: every byte of data has a lane, so that rows can be made frames again."""

    part: bytes
    mask: bytes
    constant: bytes
    moves: bytes
    lays: bytes
    names: tuple[str, ...]
    unpack: struct.Struct
    shape: Any
    complete: bool = field(default=False)

    @property
    def size_bytes(self) -> int:
        """Of the part."""
        return len(self.part)

    @property
    def structure(self) -> tuple[bytes, bytes]:
        """What parts must have in common for this plan to fit them."""
        return self.mask, bytes(byte & kept for byte, kept in zip(self.part, self.mask, strict=True))


def plan(part: Part, form: RowForm) -> Plan | None:
    """The plan of a part; None if a value does not fit its lane, or the part is too small or too large."""
    size = len(part.data)
    if not BLOCK_BYTES <= size <= PART_LIMIT_BYTES:
        return None
    laid = [each for each in part.values if each.lane in form.by_name]
    to_row: dict[int, int] = {}
    for each in laid:
        lane = form.by_name[each.lane]
        if each.size_bytes > lane.size_bytes or (each.size_bytes < lane.size_bytes and lane.form != "u"):
            return None
        at = form.offsets[each.lane]
        ascending = range(each.offset, each.offset + each.size_bytes)
        places = reversed(ascending) if each.order == ">" and each.form != "S" else ascending
        for byte, source in enumerate(places):
            if at + byte in to_row:
                return None
            to_row[at + byte] = source
    mask = bytearray(b"\xff" * size)
    for each in part.values:
        mask[each.offset : each.offset + each.size_bytes] = bytes(each.size_bytes)
    for offset, free_bytes in part.free:
        mask[offset : offset + free_bytes] = bytes(free_bytes)
    constant = form.constant([each.lane for each in laid])
    kept = bytes(byte & structure for byte, structure in zip(part.data, mask, strict=True))
    complete = len(laid) == len(part.values)
    ordered = sorted(part.values, key=lambda each: each.offset)
    return Plan(
        part.data,
        bytes(mask),
        constant,
        moves(to_row, size, constant),
        moves({source: to for to, source in to_row.items()}, form.size_bytes, kept) if complete else b"",
        tuple(each.name or each.lane for each in ordered),
        _unpacking(ordered),
        part.shape,
        complete,
    )


def moves(bytes_to_from: Mapping[int, int], from_size: int, constant: bytes) -> bytes:
    """Packed moves of 16 bytes: for each block of the destination one shuffle for each stretch of the source that it needs;
    the first begins with the block's `constant` bytes."""
    packed = b""
    for to in _blocks(len(constant)):
        wanted = sorted((source, at - to) for at, source in bytes_to_from.items() if to <= at < to + BLOCK_BYTES)
        first = CONSTANT if any(constant[to : to + BLOCK_BYTES]) else ZERO
        while wanted or first:
            begin = min(wanted[0][0], from_size - BLOCK_BYTES) if wanted else 0
            order = bytearray([ABSENT] * BLOCK_BYTES)
            taken = [(source, at) for source, at in wanted if source - begin < BLOCK_BYTES]
            for source, at in taken:
                order[at] = source - begin
            packed += MOVE.pack(begin, to, first, bytes(order))
            wanted, first = wanted[len(taken) :], ONTO
    return packed


def _blocks(size: int) -> Iterable[int]:
    yield from range(0, size - BLOCK_BYTES + 1, BLOCK_BYTES)
    if size % BLOCK_BYTES:
        yield size - BLOCK_BYTES


def _unpacking(ordered: Sequence[Datum]) -> struct.Struct:
    """Reads the values of a part in the order in which they stand. All of a part have the same byte order."""
    form, at = ordered[0].order if ordered else "<", 0
    for each in ordered:
        form += f"{each.offset - at}x" if each.offset > at else ""
        form += f"{each.size_bytes}s" if each.form == "S" else UNPACKED[each.form, each.size_bytes]
        at = each.offset + each.size_bytes
    return struct.Struct(form)
