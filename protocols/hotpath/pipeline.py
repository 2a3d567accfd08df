"""Frames to change records in one go, with everything at hand: for the loop that takes what has arrived, be it one frame."""

from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.hotpath import kernels
from protocols.hotpath.columns import CHANGE
from protocols.hotpath.decoder import Decoder
from protocols.hotpath.rows import Ints
from protocols.hotpath.translator import VALUES_LIMIT, States, Translator

Changes = npt.NDArray[Any]


class _Room:
    """Arrays for batches of one size, made once."""

    def __init__(self, frames: int, row_bytes: int, width: int) -> None:
        self.rows, self.status = np.empty((frames, row_bytes), np.uint8), np.empty(frames, np.uint8)
        self.plans, self.times = np.empty(frames, np.int32), np.empty(frames, np.int64)
        self.values, self.changed = np.empty((frames, width), np.int32), np.empty(frames, np.uint64)
        self.records = np.empty(frames * min(width, VALUES_LIMIT), CHANGE)


class Pipeline:
    """The stages of one protocol of one report a frame (CloudBoxx, GB/T 32960), for frames whose speakers are known to be theirs.

    Not for several threads at once. The path in C only: raises ImportError without it.
    """

    def __init__(self, decoder: Decoder, translator: Translator, states: States) -> None:
        self._kernel = kernels.kernel("c")
        self._decoder, self._translator, self._states = decoder, translator, states
        self._walk, self._translate = decoder.table.walk, translator.rules.translate
        self._rooms: dict[int, _Room] = {}
        form, clock = decoder.binding.form, decoder.binding.clock
        self._clock: tuple[int, ...] | None = None
        if clock is not None:
            further = form.offsets[clock.further] if clock.further else -1
            lane = form.by_name[clock.lane]
            self._clock = (form.size_bytes, form.offsets[clock.lane], lane.size_bytes, further, clock.factor)

    def changes(self, frames: list[bytes], vehicles: Ints, models: Ints) -> Changes | None:
        """One CHANGE for each value that is new, valid until the next call; the states' shadow says it. None if the plans do not
        vouch for all frames: nothing has changed then, and they are to go through Decoder.decode, which learns."""
        n = len(frames)
        room = self._rooms.get(n)
        if room is None:
            room = self._new_room(n)
        _, troubled = self._walk(frames, room.rows, room.status, room.plans, None)
        if troubled:
            return None
        if self._clock is None:
            room.times[:] = self._decoder.binding.times(room.rows.view(self._decoder.binding.form.dtype)[:, 0])
        else:
            self._kernel.times(room.rows, *self._clock, room.times)
        self._translate(room.rows, models, room.values)
        self._kernel.diff(room.values, vehicles, self._states.shadow, None, room.changed)
        written = self._kernel.records(room.values, room.changed, vehicles, room.times, room.records)
        return room.records[:written]

    def _new_room(self, frames: int) -> _Room:
        if len(self._rooms) > 64:
            self._rooms.clear()
        room = _Room(frames, self._decoder.binding.form.size_bytes, self._translator.width)
        self._rooms[frames] = room
        return room
