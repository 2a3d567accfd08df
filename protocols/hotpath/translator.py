"""Rows to values: whole numbers in steps of their last decimal, by each vehicle model's own rules; what of them is new; records.

The rules come as columns (models x values), as `modeldb.tables` has them; this module only reads their names.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from protocols.hotpath import kernels
from protocols.hotpath.columns import CHANGE, RULE, SILENT, RuleKind
from protocols.hotpath.rows import Bits, Bytes, Ints, Lane, RowForm

Masks = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]
VALUES_LIMIT = 64
"""Values of a vehicle: one 64-bit mask says which have changed."""


class Tables(Protocol):
    """The rules of some models as columns: what `modeldb.tables.Tables` is."""

    @property
    def signals(self) -> tuple[str, ...]:
        """The raw signals by their places."""

    @property
    def kind(self) -> npt.NDArray[np.uint8]: ...
    @property
    def source(self) -> npt.NDArray[np.int16]: ...
    @property
    def low(self) -> npt.NDArray[np.int64]: ...
    @property
    def high(self) -> npt.NDArray[np.int64]: ...
    @property
    def sign_bits(self) -> npt.NDArray[np.uint8]: ...
    @property
    def factor(self) -> npt.NDArray[np.float64]: ...
    @property
    def bias(self) -> npt.NDArray[np.float64]: ...
    @property
    def shift(self) -> npt.NDArray[np.uint8]: ...
    @property
    def mask(self) -> npt.NDArray[np.int64]: ...
    @property
    def table(self) -> npt.NDArray[np.int16]: ...
    @property
    def codes(self) -> npt.NDArray[np.int16]: ...
    @property
    def thresholds(self) -> npt.NDArray[np.int64]: ...


class Translator:
    """Translates the rows of one protocol. `pairs` are values of which neither speaks without the other: a position's axes.

    `unplaced` are the signals that rules read and rows have no lane for, or none of whole numbers: their values stay silent.
    """

    def __init__(
        self, form: RowForm, tables: Tables, pairs: Sequence[tuple[int, int]] = (), *, path: kernels.Path | None = None
    ) -> None:
        self.form, self.width = form, tables.kind.shape[1]
        if self.width > VALUES_LIMIT:
            raise ValueError(f"at most {VALUES_LIMIT} values")
        self.unplaced = (
            frozenset(tables.signals[tables.source[at]] for at in zip(*np.nonzero(tables.kind), strict=True))
            - {lane.name for lane in form.lanes if lane.form in "ui"}
            - set(form.bits_of)
        )
        packed = [_packed(form, tables, model) for model in range(len(tables.kind))]
        starts = np.cumsum([0, *map(len, packed)], dtype=np.uint32)
        rules = np.concatenate(packed) if packed else np.empty(0, RULE)
        codes, steps = np.ascontiguousarray(tables.codes, np.int16), np.ascontiguousarray(tables.thresholds, np.int64)
        self.rules = kernels.kernel(path or kernels.path_in_use).Rules(
            form.size_bytes, self.width, rules, starts, codes, steps, steps.shape[1], np.array(pairs, np.uint32).reshape(-1)
        )

    def translate(self, rows: Bytes, models: Ints, into: Ints | None = None) -> Ints:
        """A row of values for each row, SILENT where it says nothing. `models` are places in the tables, -1 for none."""
        values = np.empty((len(rows), self.width), np.int32) if into is None else into
        self.rules.translate(rows, models, values)
        return values


def _packed(form: RowForm, tables: Tables, model: int) -> npt.NDArray[Any]:
    rules = []
    for value in np.flatnonzero(tables.kind[model]).tolist():
        at = model, value
        name = tables.signals[tables.source[at]]
        bits = form.bits_of.get(name, Bits(name, 0, 0))
        lane = form.by_name.get(bits.lane)
        if lane is None or lane.form not in "ui":
            continue
        rule = np.zeros((), RULE)
        rule["raw_shift"], rule["raw_mask"] = bits.shift, bits.mask
        rule["most"] = _most(lane, tables, at)
        rule["kind"], rule["lane"], rule["low"], rule["high"] = tables.kind[at], value, tables.low[at], tables.high[at]
        rule["factor"], rule["bias"] = tables.factor[at], tables.bias[at]
        rule["shift"], rule["mask"] = tables.shift[at], tables.mask[at]
        rule["table"] = tables.table[at] if tables.kind[at] in (RuleKind.LOOK_UP, RuleKind.COUNT) else 0
        rule["at"], rule["bit"], rule["width"] = form.offsets[lane.name], form.bits[lane.name], lane.size_bytes
        of_64 = tables.sign_bits[at] == 64 and lane.size_bytes == 8
        rule["is_signed"] = lane.form == "i" or of_64
        rule["sign_bits"] = tables.sign_bits[at] if tables.sign_bits[at] < 64 else 0
        rules.append(rule)
    return np.array(rules, RULE)


def _most(lane: Lane, tables: Tables, at: tuple[int, int]) -> int:
    """The largest number that a rule may be given: only one that looks at single bits knows what to do with 64 of them."""
    if lane.meant_below is not None:
        return lane.meant_below - 1
    bits_alone = tables.kind[at] == RuleKind.LOOK_UP and tables.low[at] < 0
    return int(np.iinfo(np.uint64 if bits_alone else np.int64).max)


class States:
    """The last values of some vehicles, and the shadow that runs ahead of them until what it says is confirmed."""

    def __init__(self, vehicles: int, width: int, *, path: kernels.Path | None = None) -> None:
        self.confirmed: Ints = np.full((vehicles, width), SILENT, np.int32)
        self.shadow: Ints = self.confirmed.copy()
        self._kernel = kernels.kernel(path or kernels.path_in_use)

    def diff(self, values: Ints, vehicles: Ints, moves: Bytes | None = None, into: Masks | None = None) -> Masks:
        """Per row the values (by bit) that say something new of its vehicle; the shadow says it from then on. Rows are taken in
        their order; one whose `moves` is 0 (it came late), or whose vehicle is -1, changes nothing."""
        changed = np.empty(len(values), np.uint64) if into is None else into
        self._kernel.diff(values, vehicles, self.shadow, moves, changed)
        return changed

    def confirm(self, vehicles: Ints) -> None:
        """What the shadow says of these vehicles is their state."""
        self.confirmed[vehicles] = self.shadow[vehicles]

    def revert(self, vehicles: Ints) -> None:
        """The shadow of these vehicles is their state again."""
        self.shadow[vehicles] = self.confirmed[vehicles]


def records(values: Ints, changed: Masks, vehicles: Ints, times: Times, *, path: kernels.Path | None = None) -> npt.NDArray[Any]:
    """One CHANGE for each changed value, in the rows' order. `times` in Unix ms."""
    room = np.empty(int(np.bitwise_count(changed).sum()), CHANGE)
    written = kernels.kernel(path or kernels.path_in_use).records(values, changed, vehicles, times, room)
    return room[:written]
