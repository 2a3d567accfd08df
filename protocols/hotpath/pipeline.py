"""Frames to change records in one go, with everything at hand: for the loop that takes what has arrived, be it one frame."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.hotpath import kernels
from protocols.hotpath.columns import CHANGE
from protocols.hotpath.decoder import Decoder
from protocols.hotpath.rows import Ints
from protocols.hotpath.translator import VALUES_LIMIT, States, Translator, records

Changes = npt.NDArray[Any]


class Pipeline:
    """The stages of one protocol of one report a frame (CloudBoxx, GB/T 32960), for frames whose speakers are known to be theirs.

    Where the moment of capture is a sum of lanes (CloudBoxx), one call in C does all of it. Not for several threads at once. The
    path in C only: raises ImportError without it.
    """

    def __init__(self, decoder: Decoder, translator: Translator, states: States) -> None:
        kernel = kernels.kernel("c")
        self._decoder, self._translator, self._states = decoder, translator, states
        self._values = min(translator.width, VALUES_LIMIT)
        self._room = np.empty(0, CHANGE)
        form, clock = decoder.binding.form, decoder.binding.clock
        self._changes: Callable[[list[bytes], Ints, Ints, Changes], int] | None = None
        if clock is not None:
            lane, further = form.by_name[clock.lane], form.offsets[clock.further] if clock.further else -1
            self._changes = kernel.Pipeline(
                decoder.table, translator.rules, states.shadow, form.offsets[lane.name], lane.size_bytes, further, clock.factor
            ).changes

    def changes(self, frames: list[bytes], vehicles: Ints, models: Ints) -> Changes | None:
        """One CHANGE for each value that is new, valid until the next call; the states' shadow says it. None if the plans do not
        vouch for all frames: nothing has changed then, and they are to go through Decoder.decode, which learns."""
        if self._changes is None:
            return self._in_stages(frames, vehicles, models)
        if len(self._room) < len(frames) * self._values:
            self._room = np.empty(len(frames) * self._values, CHANGE)
        written = self._changes(frames, vehicles, models, self._room)
        return self._room[:written] if written >= 0 else None

    def _in_stages(self, frames: list[bytes], vehicles: Ints, models: Ints) -> Changes | None:
        rows = self._decoder.walk(frames)
        if rows.status.any():
            return None
        values = self._translator.translate(rows.data, models)
        return records(values, self._states.diff(values, vehicles), vehicles, rows.times)
