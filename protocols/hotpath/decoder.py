"""Frames to rows: by plans where a layout is known, by Protocol.decode where it is not, which teaches the plan."""

import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.codec import Frame, Peer, ProtocolError
from protocols.hotpath import kernels
from protocols.hotpath.binding import Binding, Brief, Stretches
from protocols.hotpath.framing import GuardKind, Status
from protocols.hotpath.keyring import Keyring
from protocols.hotpath.plans import Plan, plan
from protocols.hotpath.rows import Bytes, Ints
from protocols.trace import watch

PLANS_LIMIT = 4096
"""Layouts that are known at a time; the least recently used go first, a sixteenth at once."""

LEARN_BURST = 512
"""Layouts that may be learnt at once: a fleet's own, several times over."""

FRAMES_PER_LESSON = 16
"""Frames that must pass by known plans for one more lesson: a stream of ever new layouts costs little more than decoding it."""

FIRST_LESSONS = 8
"""Frames that are decoded slowly before it is seen what they taught: those of a batch are mostly of few layouts."""

REFERENCES = 2
"""To the memory of rows that nobody else has: the array's own, and the one to the question."""

NONE = np.empty(0, np.intp)

Outcome = Frame | ProtocolError


@dataclass(slots=True)
class Rows:
    """What came of some frames. `status` says of each whether its rows are here (VOUCHED), or how it was decoded instead.

    `data` has one row for each report of each vouched frame, in order; those of frame i are `starts[i]` to `starts[i + 1]`, where
    a frame is one row they are at i and `starts` is None. `plans` are the rows' plans, by their numbers in `known`. `keys` tells
    which of its speaker's keys sealed each frame, counted from 1, where seals were checked. `slow` is what the slow way made of
    the others; `troubled` is how many the walk did not vouch for.
    """

    decoder: "Decoder"
    frames: list[bytes]
    data: Bytes
    status: Bytes
    plans: Ints
    starts: npt.NDArray[np.uint32] | None
    known: Sequence[Plan | None]
    troubled: int
    keys: Bytes | None = None
    slow: dict[int, Outcome] = field(default_factory=dict)

    @property
    def lanes(self) -> npt.NDArray[Any]:
        """The rows as a structured array: `present` and each lane by its name."""
        return self.data.view(self.decoder.binding.form.dtype)[:, 0]

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """When each row was captured, in Unix ms."""
        return self.decoder.binding.times(self.lanes)

    @property
    def owners(self) -> Ints:
        """Which frame each row is of."""
        if self.starts is None:
            return np.arange(len(self.data), dtype=np.int32)
        return np.repeat(np.arange(len(self.frames), dtype=np.int32), (self.starts[1:] - self.starts[:-1]).astype(np.int64))

    def briefs(self) -> Sequence[Brief | None] | None:
        """What each frame's Frame says in short; of those that are not vouched for it means nothing. None: no protocol's way."""
        briefs = self.decoder.binding.briefs
        if briefs is None:
            return None
        known, numbers = self.known, self.plans.tolist()
        if self.starts is not None:
            return briefs(self.lanes, self.frames, Stretches(self.starts.tolist(), [known[number] for number in numbers]))
        vouched = zip(numbers, self.status.tolist(), strict=True)
        return briefs(self.lanes, self.frames, Stretches((), [None if status else known[number] for number, status in vouched]))

    def outcome(self, at: int) -> Outcome:
        """What Protocol.decode gives for frame `at`, or the error that it raises."""
        return self.slow[at] if self.status[at] else self.decoder.frame(self, at)

    def outcomes(self) -> Iterator[Outcome]:
        """What Protocol.decode gives for each frame."""
        return (self.outcome(at) for at in range(len(self.frames)))


class Decoder:
    """Decodes one protocol's frames in bulk; says of each what Protocol.decode says.

    A layout is learnt from a frame whose checksum holds and, where the protocol has seals, whose seal holds; with `trusting`,
    also from frames whose speaker is not known. `path` is "c" or "numpy". Not for several threads at once.
    """

    def __init__(
        self, binding: Binding, *, path: kernels.Path | None = None, trusting: bool = False, plans_limit: int = PLANS_LIMIT
    ) -> None:
        self.binding, self.path = binding, path or kernels.path_in_use
        self.trusting = trusting or not binding.protocol.sealed
        self.keyring = Keyring(self.path, binding.unit_bytes)
        self.lessons = float(LEARN_BURST)
        self._rows = binding.form.empty(0)
        lane = binding.unit_lane
        self._unit = (binding.form.offsets[lane], binding.form.by_name[lane].size_bytes) if lane else (0, 0)
        self.known: list[Plan | None] = [None] * plans_limit
        self._structures: dict[tuple[int, bytes, bytes], int] = {}
        self._free = list(range(plans_limit - 1, -1, -1))
        self.table = self._new_table(plans_limit)

    def _new_table(self, limit: int) -> kernels.Table:
        binding, form = self.binding, self.binding.form
        windows = [struct.pack("<qQq", *window) for window in binding.windows]
        guards = []
        for guard in binding.guards:
            size = 3 if guard.kind is GuardKind.DATE else form.by_name[guard.lane].size_bytes
            numbers = (guard.kind, form.offsets[guard.lane], size, guard.low, guard.high)
            guards.append(b"".join(number.to_bytes(8, "little") for number in numbers))
        return kernels.table(self.path, form.size_bytes, form.present_bytes, limit, binding.framing.packed(), windows, guards)

    # Decoding -----------------------------------------------------------------------------------------------------------

    def decode(self, frames: list[bytes], speakers: Ints | None = None) -> Rows:
        """Decode whole frames. `speakers` are the places of their units in the keyring (-1: nobody): as Protocol.decode with a
        peer, identity and seal are checked too."""
        rows = self.walk(frames)
        if speakers is None and not rows.troubled:
            self.lessons = min(self.lessons + len(frames) / FRAMES_PER_LESSON, LEARN_BURST)
            return rows
        troubled = self._distrusted(rows, speakers) if speakers is not None else np.flatnonzero(rows.status)
        if not len(troubled):
            self.lessons = min(self.lessons + len(frames) / FRAMES_PER_LESSON, LEARN_BURST)
            return rows
        self.lessons = min(self.lessons + (len(frames) - len(troubled)) / FRAMES_PER_LESSON, LEARN_BURST)
        if self._slowly(rows, troubled, speakers):
            slow, rows = rows.slow, self.walk(frames)
            troubled = self._distrusted(rows, speakers) if speakers is not None else np.flatnonzero(rows.status)
            rows.slow = slow
            for at in troubled.tolist():
                if at not in slow:
                    slow[at] = self._decoded(frames[at], self._peer(speakers, at))
        return rows

    def walk(self, frames: list[bytes]) -> Rows:
        """Only what the plans say; nothing is decoded slowly or learnt, no seal is checked."""
        n = len(frames)
        with_parts = bool(self.binding.framing.parts)
        room = self.table.room(frames) if with_parts else n
        data, ids, status = self._room(room), np.empty(room, np.int32), np.empty(n, np.uint8)
        starts = np.empty(n + 1, np.uint32) if with_parts else None
        written, troubled = self.table.walk(frames, data, status, ids, starts)
        return Rows(self, frames, data[:written], status, ids[:written], starts, self.known, troubled)

    def _room(self, rows: int) -> Bytes:
        """Room for so many rows: that of an earlier call, if nobody has it any more, which spares the system fresh pages."""
        if sys.getrefcount(self._rows.base) > REFERENCES or len(self._rows) < rows:
            self._rows = self.binding.form.empty(rows)
        return self._rows[:rows]

    def walk_buffer(self, buffer: kernels.Buffer, offsets: npt.NDArray[np.uint32], *, alone: bool = False) -> Rows:
        """The same for frames that stand in one buffer between n + 1 offsets; the C kernel works without the GIL meanwhile.
        `alone`: no other thread does so, and the room of an earlier call may be used again."""
        n = len(offsets) - 1
        with_parts = bool(self.binding.framing.parts)
        count_at = self.binding.framing.count_at
        begins = offsets[:-1][np.diff(offsets.astype(np.int64)) > count_at].astype(np.int64)
        room = int(np.frombuffer(buffer, np.uint8)[begins + count_at].sum()) if with_parts else n
        data = self._room(room) if alone else self.binding.form.empty(room)
        ids, status = np.empty(room, np.int32), np.empty(n, np.uint8)
        starts = np.empty(n + 1, np.uint32) if with_parts else None
        written, troubled = self.table.walk_buffer(buffer, offsets, data, status, ids, starts)
        return Rows(self, [], data[:written], status, ids[:written], starts, self.known, troubled)

    def _distrusted(self, rows: Rows, speakers: Ints) -> npt.NDArray[np.intp]:
        """Marks what is not its speaker's own. Where all speakers are known and right, nothing is left to do."""
        binding = self.binding
        if self.keyring.path == "c" and rows.starts is None:
            tag = (binding.framing.tag_size, binding.framing.tag_trail) if binding.protocol.sealed else (0, 0)
            troubled, rows.keys = self.keyring.distrust(rows.frames, speakers, rows.data, rows.status, self._unit, tag)
            return np.flatnonzero(rows.status) if troubled else NONE
        trusted = rows.status == Status.VOUCHED
        right = np.ones(len(rows.frames), np.bool_)
        if binding.unit_lane:
            at, size = self._unit
            right &= (rows.data[:, at : at + size] == self.keyring.ids(size)[speakers]).all(axis=1) & (speakers >= 0)
        if binding.protocol.sealed:
            framing = binding.framing
            rows.keys = self.keyring.check(rows.frames, speakers, framing.tag_size, framing.tag_trail)
            right &= rows.keys != 0
        rows.status[trusted & ~right] = Status.DISTRUSTED
        return np.flatnonzero(rows.status)

    def _slowly(self, rows: Rows, troubled: npt.NDArray[np.intp], speakers: Ints | None) -> int:
        """Decodes these by the declarations; how many layouts were learnt. After some lessons it is seen what they taught."""
        known = [at for at in troubled.tolist() if rows.status[at] != Status.UNKNOWN]
        unknown = [at for at in troubled.tolist() if rows.status[at] == Status.UNKNOWN]
        learnt, lesson_size = 0, FIRST_LESSONS
        for at in known:
            rows.slow[at] = self._decoded(rows.frames[at], self._peer(speakers, at))
        while unknown:
            now, unknown = unknown[:lesson_size], unknown[lesson_size:]
            fresh = sum(self._taught(rows, at, self._peer(speakers, at)) for at in now)
            if fresh and unknown:
                status = self.walk([rows.frames[at] for at in unknown]).status.tolist()
                unknown = [at for at, each in zip(unknown, status, strict=True) if each == Status.UNKNOWN]
            learnt, lesson_size = learnt + fresh, lesson_size * 2
        return learnt

    def _taught(self, rows: Rows, at: int, peer: Peer | None) -> bool:
        """Decodes a frame of an unknown layout, and learns it if that may be."""
        frame = self.binding.aside(rows.frames[at], peer)
        if frame is not None:
            rows.slow[at] = frame
            return False
        if self.lessons < 1 or not (self.trusting or peer is not None):
            rows.slow[at] = self._decoded(rows.frames[at], peer)
            return False
        self.lessons -= 1
        taught = self.learn(rows.frames[at], peer, rows.slow, at)
        if taught:
            del rows.slow[at]
        return taught

    def _peer(self, speakers: Ints | None, at: int) -> Peer | None:
        if speakers is None:
            return None
        return self.keyring.peer(int(speakers[at]))

    def _decoded(self, frame: bytes, peer: Peer | None) -> Outcome:
        try:
            return self.binding.protocol.decode(frame, peer)
        except ProtocolError as error:
            return error

    # Learning -----------------------------------------------------------------------------------------------------------

    def learn(self, frame: bytes, peer: Peer | None = None, outcomes: dict[int, Outcome] | None = None, at: int = 0) -> bool:
        """Learn the layouts of a frame that Protocol.decode accepts; whether they are known then. What came of it is put into
        `outcomes`."""
        outcomes = {} if outcomes is None else outcomes
        with watch() as traces:
            try:
                outcomes[at] = decoded = self.binding.protocol.decode(frame, peer)
            except ProtocolError as error:
                outcomes[at] = error
                return False
        parts = self.binding.parts(decoded, traces, frame)
        if parts is None:
            return False
        form, context = self.binding.form, self._context(frame)
        plans = [plan(part, form) for part in parts]
        if any(each is None or not self._findable(each, context) for each in plans):
            return False
        head = self.binding.head(frame)
        for each in plans:
            if each is not None and (context, *each.structure) not in self._structures:
                self._keep(each, context, head)
        return True

    def _context(self, frame: bytes) -> int:
        at = self.binding.framing.context_at
        return int.from_bytes(frame[at : at + 8], "little") & self.binding.framing.context_mask

    def _findable(self, each: Plan, context: int) -> bool:
        """Whether the windows show only structure of a part, and the same bytes whatever stands behind it."""
        for at, mask, of in self.binding.windows:
            seen = each.mask[at : at + 8]
            if of not in (-1, context) or (len(seen) < 8 and not self.binding.framing.parts):
                continue
            if len(seen) < 8 or mask & ~int.from_bytes(seen, "little"):
                return False
        return True

    def _keep(self, each: Plan, context: int, head: bytes) -> None:
        if not self._free:
            self._forget()
        number = self._free.pop()
        self.table.add(number, context, each.part, each.mask, each.moves, each.constant, each.lays, head)
        self.known[number] = each
        self._structures[(context, *each.structure)] = number

    def _forget(self) -> None:
        used = self.table.used()
        self.known = self.known.copy()  # earlier rows keep the plans that they were made by
        oldest = sorted((when, number) for number, when in enumerate(used) if when >= 0)[: max(1, len(used) // 16)]
        for _, number in oldest:
            self.table.remove(number)
            self.known[number] = None
            self._free.append(number)
        forgotten = {number for _, number in oldest}
        self._structures = {each: number for each, number in self._structures.items() if number not in forgotten}

    # Frames -------------------------------------------------------------------------------------------------------------

    def frame(self, rows: Rows, at: int) -> Frame:
        """The Frame that Protocol.decode gives for the vouched frame `at`."""
        data = rows.frames[at]
        begin, end = (at, at + 1) if rows.starts is None else rows.starts[at : at + 2].tolist()
        plans = [each for each in (rows.known[number] for number in rows.plans[begin:end].tolist()) if each is not None]
        offset = self.binding.framing.parts_from if self.binding.framing.parts else 0
        values = []
        for each in plans:
            values.append(each.unpack.unpack_from(data, offset))
            offset += each.size_bytes
        return self.binding.frame(plans, values, data)

    # The other way ------------------------------------------------------------------------------------------------------

    def build(
        self, data: Bytes, plans: Ints, starts: npt.NDArray[np.uint32] | None = None, speakers: Ints | None = None
    ) -> list[bytes]:
        """The frames that rows say, by the plans of these numbers: the bytes that Protocol.encode gives. Sealed with the first
        key of each speaker; without speakers, seals are zeros. Raises ValueError where a row does not say a whole part, or its
        plan is not known any more."""
        keys, which = (None, None) if speakers is None else (self.keyring.schedules, self.keyring.first_keys(speakers))
        return self.table.build(data, plans, starts, keys, which)
