"""The kernel's work in numpy: where there is no compiler, and as a second opinion in the tests.

Each function does on whole columns what its namesake in kernel.c does row by row; the arguments are the same.
"""

import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from fastcrc import crc16

from protocols.checksums import bcc
from protocols.hotpath.framing import (
    CRC_16_ARC,
    CRC_16_CCITT_FALSE,
    GuardKind,
    Status,
    SumKind,
)
from protocols.hotpath.numpy_lanes import Rules, diff, records, text
from protocols.hotpath.numpy_told import Teller
from protocols.hotpath.plans import MOVE

__all__ = ["Rules", "Table", "Teller", "check_seals", "diff", "key_schedule", "records", "text"]

_SUMS = {
    CRC_16_CCITT_FALSE: crc16.ibm_3740,
    CRC_16_ARC: crc16.arc,
}
_NUMBERS = (
    *("sync_mask", "sync", "least", "length_at", "length_width", "length_big", "length_add"),
    *("sum_kind", "sum_from", "sum_trail", "sum_at", "sum_width", "sum_big"),
    *("crc_width", "crc_poly", "crc_init", "crc_reflected", "crc_xorout"),
    *("parts", "count_at", "again_at", "parts_from", "parts_trail", "context_at", "context_mask", "tag_size", "tag_trail"),
)
_SUMS_OF_WHOLE_FRAMES = np.array([crc16.ibm_3740(bytes([0xFF ^ both] * 2)) for both in range(256)], np.uint16)
"""CRC-16/CCITT-FALSE over a frame and its own sum behind it, low byte first, by the exclusive or of the sum's bytes: taking in
the sum c as two more bytes leaves c ^ swapped(c), which is that number twice, times x^16. Spares a slice of every frame."""
MANY = 256
"""Rows of a plan from which on it pays to work plan by plan."""
TILE = 256
"""Rows that are gathered at once: with places of eight bytes for each of their bytes they stay in the second cache."""
_NOWHERE = np.int64(1 << 40)
"""A place behind all data, which is taken for the last one: that is a zero."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Array = npt.NDArray[Any]


@dataclass(slots=True)
class _Plan:
    part: bytes
    mask: bytes
    context: int
    constant: bytes
    head: bytes
    source: Array
    back: Array | None
    used: int = 0


def _places(moves: bytes, size: int) -> Array:
    """Packed moves as one index: which byte of the source comes to each byte of the destination, -1 none."""
    places = np.full(size, -1, np.int32)
    for begin, to, _, order in MOVE.iter_unpack(moves):
        for at, source in enumerate(order):
            if source < 0x80:
                places[to + at] = begin + source
    return places


class Table:
    """Plans by their structural bytes."""

    def __init__(self, row_size: int, present_size: int, capacity: int, framing: bytes, windows: bytes, guards: bytes, /) -> None:
        self.f = dict(zip(_NUMBERS, struct.unpack(f"<{len(_NUMBERS)}Q", framing), strict=True))
        self.row_size, self.capacity = row_size, capacity
        self.windows = list(struct.iter_unpack("<qQq", windows))
        self.guards = list(struct.iter_unpack("<5q", guards))
        self.plans: list[_Plan | None] = [None] * capacity
        self.now = 0
        self._index: tuple[Array, ...] | None = None
        self._stretches: dict[int, list[tuple[int, int, int, int]]] = {}
        width, *rest = (self.f[name] for name in _NUMBERS[13:18])
        places = tuple(self.f[name] for name in ("sum_from", "sum_trail", "sum_at", "sum_width", "sum_big"))
        behind = places == (0, 2, 2, 2, 0)
        swapped = behind and self.f["sum_kind"] == SumKind.CRC and (width, *rest) == CRC_16_CCITT_FALSE
        self._whole: Array | None = _SUMS_OF_WHOLE_FRAMES if swapped else None
        self.sum = bcc if self.f["sum_kind"] == SumKind.XOR else _SUMS.get((width, *rest), crc16.arc)

    def add(
        self, id: int, context: int, part: bytes, mask: bytes, moves: bytes, constant: bytes, lays: bytes, head: bytes, /
    ) -> None:
        """Keep a plan under `id`, instead of what was there."""
        if not 0 <= id < self.capacity or len(part) < 16 or len(mask) != len(part) or len(constant) != self.row_size:
            raise ValueError("a plan that reaches out of its part or row")
        source = _places(moves, self.row_size)
        back = _places(lays, len(part)) if lays else None
        self.plans[id] = _Plan(part, mask, context & self.f["context_mask"], constant, head, source, back, self.now)
        self._index = None
        self._stretches = {}

    def remove(self, id: int, /) -> None:
        """Forget a plan. Raises KeyError."""
        if not 0 <= id < self.capacity or self.plans[id] is None:
            raise KeyError("no such plan")
        self.plans[id] = None
        self._index = None
        self._stretches = {}

    def used(self) -> list[int]:
        """In which walk each plan was used last; -1 where there is none."""
        return [-1 if plan is None else plan.used for plan in self.plans]

    def room(self, frames: list[bytes], /) -> int:
        """How many rows these frames may need at most."""
        if not self.f["parts"]:
            return len(frames)
        at, least = self.f["count_at"], self.f["least"]
        return sum(frame[at] for frame in frames if len(frame) >= least)

    def walk(self, frames: list[bytes], rows: Array, status: Array, ids: Array, starts: Array | None, /) -> tuple[int, int]:
        """Frames to rows."""
        if not {*map(type, frames)} <= {bytes}:
            raise TypeError("a list of bytes")
        sizes = np.fromiter(map(len, frames), np.int64, len(frames))
        return self._walk(b"".join(frames), frames, sizes, rows, status, ids, starts)

    def walk_buffer(
        self, buffer: Any, offsets: Array, rows: Array, status: Array, ids: Array, starts: Array | None, /
    ) -> tuple[int, int]:
        """Frames in a buffer to rows."""
        data = bytes(buffer)
        ends = offsets.astype(np.int64)
        if (np.diff(ends) < 0).any() or (len(ends) and ends[-1] > len(data)):
            raise ValueError("offsets that do not rise to the end of the buffer")
        frames = [data[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        return self.walk(frames, rows, status, ids, starts)

    def hops(self, buffer: Any, at: int, offsets: Array, /) -> int:
        """Where frames back to back begin and end by their length fields."""
        data, f, n, room = memoryview(buffer).cast("B"), self.f, 0, len(offsets) - 1
        if room < 0:
            raise ValueError("a buffer is too small")
        if not 0 <= at <= len(data) < 1 << 32:
            raise ValueError("a place behind the buffer, or a buffer of 4 GiB and more")
        place, width = f["length_at"], f["length_width"]
        order: Literal["big", "little"] = "big" if f["length_big"] else "little"
        least = max(f["least"], place + width)
        offsets[0] = at
        while width and n < room and len(data) - at >= least:
            whole = f["length_add"] + int.from_bytes(data[at + place : at + place + width], order)
            if not least <= whole <= len(data) - at:
                break
            at, n = at + whole, n + 1
            offsets[n] = at
        return n

    # One stage after another, on all frames -----------------------------------------------------------------------------

    def _walk(
        self, joined: bytes, frames: list[bytes], sizes: Array, rows: Array, status: Array, ids: Array, starts: Array | None
    ) -> tuple[int, int]:
        self.now += 1
        n = len(frames)
        begins = np.zeros(n, np.int64)
        np.cumsum(sizes[:-1], out=begins[1:])
        data = np.frombuffer(joined + bytes(16), np.uint8)
        words = np.ndarray((max(len(data) - 8, 1),), "<u8", data.data, strides=(1,))
        status[:n] = self._framed(data, words, begins, sizes)
        self._check_sums(data, frames, begins, sizes, status)
        if self.f["parts"]:
            written = self._walk_parts(data, words, begins, sizes, rows, status, ids, starts)
        else:
            good = np.flatnonzero(status[:n] == Status.VOUCHED)
            contexts = words[begins[good] + self.f["context_at"]] & np.uint64(self.f["context_mask"])
            found = self._find(data, words, begins[good], sizes[good], contexts, sized=True)
            known = found >= 0
            status[good[~known]] = Status.UNKNOWN
            good, found = good[known], found[known]
            filled = self._filled(data, begins[good], found)
            held = self._guarded(filled)
            status[good[~held]] = Status.DOUBTFUL
            if len(good) == n and held.all():
                rows[:n], ids[:n] = filled, found
            else:
                rows[:n], ids[:n] = 0, -1
                rows[good[held]], ids[good[held]] = filled[held], found[held]
            written = n
            if starts is not None:
                starts[: n + 1] = 0
                np.cumsum(status[:n] == Status.VOUCHED, out=starts[1 : n + 1])
        return written, int(np.count_nonzero(status[:n]))

    def _framed(self, data: Array, words: Array, begins: Array, sizes: Array) -> Array:
        f = self.f
        right = sizes >= f["least"]
        safe = np.where(right, begins, 0)
        if f["sync_mask"]:
            right &= (words[safe] & np.uint64(f["sync_mask"])) == np.uint64(f["sync"])
        if f["length_width"]:
            said = np.zeros(len(begins), np.int64)
            for byte in range(f["length_width"]):
                shift = 8 * (f["length_width"] - 1 - byte if f["length_big"] else byte)
                said |= data[np.minimum(safe + f["length_at"] + byte, len(data) - 1)].astype(np.int64) << shift
            right &= said + f["length_add"] == sizes
        return np.where(right, np.uint8(Status.VOUCHED), np.uint8(Status.UNFRAMED))

    def _check_sums(self, data: Array, frames: list[bytes], begins: Array, sizes: Array, status: Array) -> None:
        f, sum_of = self.f, self.sum
        if f["sum_kind"] == SumKind.NONE:
            return
        begin, end, at, width = f["sum_from"], -f["sum_trail"], f["sum_at"], f["sum_width"]
        right = np.flatnonzero(status[: len(frames)] == Status.VOUCHED)
        if len(right) < len(frames):
            frames = [frames[i] for i in right.tolist()]
        if self._whole is not None:
            ends = (begins + sizes)[right]
            wanted = self._whole[data[ends - 2] ^ data[ends - 1]]
            status[right[np.fromiter(map(sum_of, frames), np.uint16, len(frames)) != wanted]] = Status.CHECKSUM
            return
        sums = np.fromiter([sum_of(frame[begin:end]) for frame in frames], np.uint64, len(frames))
        places = (begins + sizes)[right] - at
        said = np.zeros(len(frames), np.uint64)
        for byte in range(width):
            said |= data[places + byte].astype(np.uint64) << np.uint64(8 * (width - 1 - byte if f["sum_big"] else byte))
        status[right[sums != said]] = Status.CHECKSUM

    def _walk_parts(
        self, data: Array, words: Array, begins: Array, sizes: Array, rows: Array, status: Array, ids: Array, starts: Array | None
    ) -> int:
        """The parts of each frame in turn: the first of all frames, then the second, and so on."""
        f, n = self.f, len(begins)
        ok = status[:n] == Status.VOUCHED
        safe = np.where(ok, begins, 0)
        counts = np.where(ok, data[np.minimum(safe + f["count_at"], len(data) - 1)], 0).astype(np.int64)
        again = data[np.maximum(np.where(ok, begins + sizes, 1) - f["again_at"], 0)]
        unknown = ok & ((counts == 0) | (again != counts))
        contexts = words[np.minimum(safe + f["context_at"], len(words) - 1)] & np.uint64(f["context_mask"])
        at, ends = begins + f["parts_from"], begins + sizes - f["parts_trail"]
        plans = np.full((n, int(counts.max(initial=0))), -1, np.int32)
        places = np.zeros(plans.shape, np.int64)
        for number in range(plans.shape[1]):
            live = np.flatnonzero(ok & ~unknown & (counts > number))
            found = self._find(data, words, at[live], ends[live] - at[live], contexts[live], sized=False)
            unknown[live[found < 0]] = True
            live, found = live[found >= 0], found[found >= 0]
            plans[live, number], places[live, number] = found, at[live]
            at[live] += self._sizes[found]
        unknown |= ok & (at != ends)
        status[:n][unknown] = Status.UNKNOWN
        chosen = (plans >= 0) & (status[:n] == Status.VOUCHED)[:, None]
        owner = np.nonzero(chosen)[0]
        filled = self._filled(data, places[chosen], plans[chosen])
        held = self._guarded(filled)
        status[owner[~held]] = Status.DOUBTFUL
        kept = status[owner] == Status.VOUCHED
        total = int(np.count_nonzero(kept))
        rows[:total], ids[:total] = filled[kept], plans[chosen][kept]
        if starts is not None:
            starts[0] = 0
            np.cumsum(np.where(status[:n] == Status.VOUCHED, counts, 0), out=starts[1 : n + 1])
        return total

    # Plans --------------------------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> Mapping[int, list[tuple[int, int, int, int]]]:
        if not self._stretches:
            self._stretches = {at: _runs(plan.source) for at, plan in enumerate(self.plans) if plan is not None}
        return self._stretches

    @property
    def _sizes(self) -> Array:
        return self._indexed()[0]

    def _indexed(self) -> tuple[Array, ...]:
        """Per plan: size, source of each row byte, constant row, context; keys in order and whose they are; checks."""
        if self._index is not None:
            return self._index
        known = [(at, plan) for at, plan in enumerate(self.plans) if plan is not None]
        top = max((at for at, _ in known), default=0) + 1
        sizes = np.zeros(top, np.int64)
        source = np.full((top, self.row_size), _NOWHERE, np.int64)
        constant = np.zeros((top, self.row_size), np.uint8)
        longest = max((len(plan.part) // 8 + 1 for _, plan in known), default=1)
        checks = np.zeros((top, longest), np.int64)
        masks, wanted = np.zeros((top, longest), np.uint64), np.zeros((top, longest), np.uint64)
        keys, contexts = np.zeros(len(known), np.uint64), np.zeros(top, np.uint64)
        for number, (at, plan) in enumerate(known):
            sizes[at], contexts[at] = len(plan.part), plan.context
            source[at] = np.where(plan.source < 0, _NOWHERE, plan.source.astype(np.int64))
            constant[at] = np.frombuffer(plan.constant, np.uint8)
            for word, begin in enumerate(range(0, len(plan.part), 8)):
                begin = min(begin, len(plan.part) - 8)
                mask = int.from_bytes(plan.mask[begin : begin + 8], "little")
                checks[at, word], masks[at, word] = begin, mask
                wanted[at, word] = int.from_bytes(plan.part[begin : begin + 8], "little") & mask
            part = np.frombuffer(plan.part + bytes(16), np.uint8)
            words = np.ndarray((len(part) - 8,), "<u8", part.data, strides=(1,))
            zero = np.zeros(1, np.int64)
            keys[number] = self._keys(words, zero, zero + len(plan.part), contexts[at : at + 1])[0]
        order = np.argsort(keys, kind="stable")
        owners = np.array([at for at, _ in known], np.int64)[order]
        self._index = (sizes, source, constant, contexts, keys[order], owners, checks, masks, wanted)
        return self._index

    def _keys(self, words: Array, at: Array, left: Array, contexts: Array) -> Array:
        """A number for each part by which plans that may fit are found."""
        key: Array = contexts * _GOLDEN
        if not self.f["parts"]:
            key = (key ^ left.astype(np.uint64)) * _GOLDEN
        for offset, mask, context in self.windows:
            inside = (offset + 8 <= left) & ((context < 0) | (contexts == np.uint64(max(context, 0))))
            word = words[np.where(inside, at + offset, 0)] & np.uint64(mask)
            mixed = (key ^ word) * _GOLDEN
            key = np.where(inside, mixed ^ mixed >> np.uint64(32), key)
        return key

    def _find(self, data: Array, words: Array, at: Array, left: Array, contexts: Array, *, sized: bool) -> Array:
        """The plan that fits each part; -1 where none does."""
        found = np.full(len(at), -1, np.int32)
        if not len(at):
            return found
        sizes, _, _, of, keys, owners, *_ = self._indexed()
        if not len(keys):
            return found
        key = self._keys(words, at, left, contexts)
        first = np.searchsorted(keys, key, "left")
        count = np.searchsorted(keys, key, "right") - first
        for nth in range(int(count.max(initial=0))):
            (open_,) = np.nonzero((found < 0) & (count > nth))
            plan = owners[first[open_] + nth]
            fits = sizes[plan] == left[open_] if sized else sizes[plan] <= left[open_]
            open_, plan = open_[fits], plan[fits]
            right = self._fit(words, at[open_], plan) & (contexts[open_] == of[plan])
            found[open_[right]] = plan[right]
        for each in _kinds(found[found >= 0]):
            plan_used = self.plans[each]
            assert plan_used is not None
            plan_used.used = self.now
        return found

    def _fit(self, words: Array, at: Array, plans: Array) -> Array:
        """Whether the structure of each part is its plan's."""
        *_, checks, masks, wanted = self._indexed()
        right = np.ones(len(plans), np.bool_)
        kinds = _kinds(plans)
        if len(plans) < MANY * len(kinds):
            for word in np.flatnonzero(masks[plans].any(axis=0)).tolist():
                right &= (words[at + checks[plans, word]] & masks[plans, word]) == wanted[plans, word]
            return right
        for plan in kinds:
            chosen = np.flatnonzero(plans == plan) if len(kinds) > 1 else slice(None)
            begins = at[chosen]
            for word in np.flatnonzero(masks[plan]).tolist():
                right[chosen] &= (words[begins + checks[plan, word]] & masks[plan, word]) == wanted[plan, word]
        return right

    def _filled(self, data: Array, at: Array, plans: Array) -> Array:
        """Rows: each byte from where its plan says, upon the plan's constant row."""
        if not len(plans):
            return np.zeros((0, self.row_size), np.uint8)
        _, source, constant, *_ = self._indexed()
        rows: Array = constant[plans]
        kinds = _kinds(plans)
        if len(plans) < MANY * len(kinds):
            for tile in (slice(begin, begin + TILE) for begin in range(0, len(plans), TILE)):
                places = source[plans[tile]]
                places += at[tile, None]
                rows[tile] |= data.take(places, mode="clip")
            return rows
        for plan in kinds:
            chosen = np.flatnonzero(plans == plan) if len(kinds) > 1 else slice(None)
            parts = np.lib.stride_tricks.sliding_window_view(data, int(self._sizes[plan]))[at[chosen]]
            filled = rows if isinstance(chosen, slice) else rows[chosen]
            for to, begin, length, step in self._runs[plan]:
                end = begin + step * length
                filled[:, to : to + length] = parts[:, begin : end if end >= 0 else None : step]
            if not isinstance(chosen, slice):
                rows[chosen] = filled
        return rows

    def _guarded(self, rows: Array) -> Array:
        right = np.ones(len(rows), np.bool_)
        for kind, at, width, low, high in self.guards:
            lane = rows[:, at : at + width]
            match GuardKind(kind):
                case GuardKind.RANGE:
                    value = np.zeros(len(rows), np.uint64)
                    for byte in range(width):
                        value |= lane[:, byte].astype(np.uint64) << np.uint64(8 * byte)
                    right &= (np.uint64(low) <= value) & (value <= np.uint64(high))
                case GuardKind.TEXT:
                    printable, nothing = (lane >= 0x20) & (lane < 0x7F), lane == 0
                    right &= (printable | nothing).all(axis=1) & ~(nothing[:, :-1] & ~nothing[:, 1:]).any(axis=1)
                case GuardKind.DATE:
                    right &= _dates_hold(lane)
        return right

    # Rows to frames -----------------------------------------------------------------------------------------------------

    def build(self, rows: Array, ids: Array, starts: Array | None, keys: Array | None, which: Array | None, /) -> list[bytes]:
        """Rows to frames. Raises ValueError for rows that are no frame."""
        parts = [self._part(row, int(each)) for row, each in zip(rows, ids, strict=True)]
        ends = range(len(rows) + 1) if starts is None else starts.tolist()
        frames = []
        for number, (begin, end) in enumerate(pairwise(ends)):
            if begin == end or any(part is None for part in parts[begin:end]):
                raise ValueError(f"frame {number} cannot be built of its rows")
            key = keys[which[number]] if keys is not None and which is not None else None
            plan = self.plans[int(ids[begin])]
            assert plan is not None
            frames.append(self._finished(plan, [part for part in parts[begin:end] if part is not None], key))
        return frames

    def _part(self, row: Array, id: int) -> bytes | None:
        plan = self.plans[id] if 0 <= id < self.capacity else None
        if plan is None or plan.back is None:
            return None
        part = np.frombuffer(plan.part, np.uint8) & np.frombuffer(plan.mask, np.uint8)
        laid: Array = part | np.where(plan.back >= 0, row[np.maximum(plan.back, 0)], 0).astype(np.uint8)
        return laid.tobytes()

    def _finished(self, plan: _Plan, parts: Sequence[bytes], key: Any) -> bytes:
        f = self.f
        frame = bytearray(b"".join(parts))
        if f["parts"]:
            frame = bytearray(plan.head) + frame + bytes(f["parts_trail"])
            frame[f["count_at"]] = frame[len(frame) - f["again_at"]] = len(parts)
            length, order = len(frame) - f["length_add"], "big" if f["length_big"] else "little"
            frame[f["length_at"] : f["length_at"] + f["length_width"]] = length.to_bytes(f["length_width"], order)
        if f["tag_size"] and key is not None:
            covered = len(frame) - f["tag_trail"] - f["tag_size"]
            frame[covered : covered + f["tag_size"]] = _tag(bytes(key), bytes(frame[:covered]))[: f["tag_size"]]
        if f["sum_kind"] != SumKind.NONE:
            found = self.sum(bytes(frame[f["sum_from"] : len(frame) - f["sum_trail"]]))
            at = len(frame) - f["sum_at"]
            frame[at : at + f["sum_width"]] = found.to_bytes(f["sum_width"], "big" if f["sum_big"] else "little")
        return bytes(frame)


def _kinds(plans: Array) -> list[int]:
    """Which numbers there are."""
    return np.flatnonzero(np.bincount(plans)).tolist() if len(plans) else []


def _runs(source: Array) -> list[tuple[int, int, int, int]]:
    """Stretches of a row whose bytes stand side by side in the part: to, from, length, and 1 forwards or -1 backwards."""
    runs: list[tuple[int, int, int, int]] = []
    for to in np.flatnonzero(source >= 0).tolist():
        here = int(source[to])
        if runs:
            begin, first, length, step = runs[-1]
            direction = here - (first + step * (length - 1))
            if to == begin + length and (direction == step or (length == 1 and direction == -1)):
                runs[-1] = (begin, first, length + 1, direction)
                continue
        runs.append((to, here, 1, 1))
    return runs


def _dates_hold(dates: Array) -> Array:
    days = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.uint8)
    year, month, day = dates[:, 0], dates[:, 1], dates[:, 2]
    leap = (year % 4 == 0) & (month == 2)
    inside = (year <= 99) & (month >= 1) & (month <= 12)
    right: Array = inside & (day >= 1) & (day <= days[np.where(inside, month, 0)] + leap)
    return right


# Seals ------------------------------------------------------------------------------------------------------------------


def key_schedule(key: bytes) -> bytes:
    """The key itself, filled up to 64 bytes, as HMAC takes it anyway."""
    if len(key) > 64:
        raise ValueError("a key of at most 64 bytes")
    return key.ljust(64, b"\0")


def _tag(schedule: bytes, data: bytes) -> bytes:
    return hmac.digest(schedule, data, "sha256")


def check_seals(frames: list[bytes], keys: Any, which: Array, tag_size: int, trail: int, holds: Array) -> None:
    """Sets `holds` where it is 0 and the seal holds."""
    schedules = np.frombuffer(keys, np.uint8).reshape(-1, 64)
    for i, (frame, key) in enumerate(zip(frames, which.tolist(), strict=True)):
        if holds[i] or not 0 <= key < len(schedules) or len(frame) < tag_size + trail:
            continue
        covered = len(frame) - tag_size - trail
        right = _tag(schedules[key].tobytes(), frame[:covered])[:tag_size]
        holds[i] = hmac.compare_digest(right, frame[covered : covered + tag_size])
