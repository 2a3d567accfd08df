"""The same rules as columns: what a bulk path needs to translate many rows at once, with a numpy version as its reference.

A row of raw signals becomes a row of lanes: one 32-bit whole number per property, two for a position. A number is in steps of
its last decimal, a named value is its place among the vocabulary's, a date is days since 1970-01-01. `SILENT` says nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from modeldb.model import Translation, VehicleModel
from modeldb.rule import BYTE_VALUES, AnyOf, Day, Linear, Lookup, Position, Rule, Scaling, Steps
from modeldb.vocabulary import PROPERTIES, Property, Value

SILENT = -(2**31)
UNIX_EPOCH = date(1970, 1, 1)
NO_CODE = -1
MOST, MOST_WIDE = (1 << 63) - 1, (1 << 64) - 1


class Lane(NamedTuple):
    """One column of the result: a property, of a position one axis."""

    known: Property
    axis: str = ""


LANES: tuple[Lane, ...] = tuple(
    lane
    for known in PROPERTIES.values()
    for lane in ((Lane(known, "lat"), Lane(known, "lon")) if known.kind == "position" else (Lane(known),))
)
"""The columns, the same for every model and brand, in the vocabulary's order."""

_AT = {(lane.known.key, lane.axis): at for at, lane in enumerate(LANES)}


class Kind(IntEnum):
    """How a lane is made: rint(raw * factor + bias); codes[table][raw >> shift & mask]; count of thresholds[table] <= raw."""

    NONE = 0
    SCALE = 1
    LOOK_UP = 2
    COUNT = 3


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The rules of some models for one brand's units. Columns are models x lanes, unless said otherwise.

    `source` is the place of the raw signal in `signals`. Where `sign_bits` is not 0, the lowest so many bits of it are a number
    in two's complement. A raw value outside `low` to `high` says nothing. `codes` (tables x 256) and `thresholds` (tables x most
    steps, filled up with the largest 64-bit number) are what `table` points to. `words` has the codes of signals that are said
    in words. `complete` tells, per model, whether all of its rules are here: those of signals that are no whole numbers, and
    those that read several signals as one, are not. `narrow` are the signals in two's complement of less than 64 bits.
    """

    models: tuple[str, ...]
    signals: tuple[str, ...]
    kind: npt.NDArray[np.uint8]
    source: npt.NDArray[np.int16]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    sign_bits: npt.NDArray[np.uint8]
    factor: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    decimals: npt.NDArray[np.uint8]
    shift: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.int64]
    table: npt.NDArray[np.int16]
    codes: npt.NDArray[np.int16]
    thresholds: npt.NDArray[np.int64]
    words: Mapping[str, Mapping[str, int]]
    complete: npt.NDArray[np.bool_]
    narrow: frozenset[str] = frozenset()

    def rows(self, reports: Sequence[Mapping[str, Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Raw signals by name as a matrix reports x signals, and which of them are present: words as their codes, and numbers
        of 64 bits as the signed number with the same bits; what is no whole number of 64 bits is not. A number that
        needs all 64 is none of a `narrow` signal.
        """
        raw = np.zeros((len(reports), len(self.signals)), np.int64)
        present = np.zeros(raw.shape, np.bool_)
        places = {name: at for at, name in enumerate(self.signals)}
        for row, report in enumerate(reports):
            for name, value in report.items():
                code = self._code(name, value) if name in self.words else value
                if name in places and type(code) is int and -(1 << 63) <= code <= (MOST if name in self.narrow else MOST_WIDE):
                    raw[row, places[name]] = code if code <= MOST else code - (1 << 64)
                    present[row, places[name]] = True
        return raw, present

    def _code(self, name: str, word: Any) -> int | None:
        return self.words[name].get(word) if isinstance(word, str) else None

    def state(self, model: int, lanes: Sequence[int] | npt.NDArray[np.int32]) -> dict[str, Value]:
        """A row of lanes as a vehicle state: what `Translation.translate` gives."""
        state: dict[str, Value] = {}
        for at, (lane, lane_value) in enumerate(zip(LANES, lanes, strict=True)):
            if (steps := int(lane_value)) == SILENT:
                continue
            value = _value(lane.known, steps, int(self.decimals[model, at]))
            if lane.axis:
                position = state.setdefault(lane.known.key, {})
                assert isinstance(position, dict)
                assert isinstance(value, float)
                position[lane.axis] = value
            else:
                state[lane.known.key] = value
        return state


def _value(known: Property, steps: int, decimals: int) -> Value:
    if known.values:
        return known.values[steps]
    if known.kind == "date":
        return day(steps)
    return steps / 10**decimals if decimals else steps


def day(days: int) -> str:
    """The date so many days after 1970-01-01."""
    return (UNIX_EPOCH + timedelta(days=days)).isoformat()


def tables(models: Sequence[VehicleModel], brand: str) -> Tables:
    """The columns of `models` for units of `brand`, in that order. Raises KeyError if one has no translation for them."""
    units = [model.units[brand] for model in models]
    known = {name: signal for unit in units for name, signal in unit.signals.items()}
    signals = tuple(known)
    draft = _Draft(len(units), signals)
    complete = [sum(draft.add(at, unit, rule) for rule in unit.rules) == len(unit.rules) for at, unit in enumerate(units)]
    width = max((len(row) for row in draft.thresholds), default=1)
    filled = [[*row, *[np.iinfo(np.int64).max] * (width - len(row))] for row in draft.thresholds]
    return Tables(
        tuple(model.id for model in models),
        signals,
        draft.kind,
        draft.source,
        draft.low,
        draft.high,
        draft.sign_bits,
        draft.factor,
        draft.bias,
        draft.decimals,
        draft.shift,
        draft.mask,
        draft.table,
        np.array(list(draft.codes), np.int16).reshape(-1, BYTE_VALUES),
        np.array(filled, np.int64).reshape(-1, width),
        {name: signal.codes for name, signal in known.items() if signal.type == "enum"},
        np.array(complete, np.bool_),
        frozenset(name for name, signal in known.items() if signal.complement and signal.bits < 64),
    )


class _Draft:
    """The columns while they are filled, rule by rule. Equal tables are kept once."""

    def __init__(self, models: int, signals: Sequence[str]) -> None:
        self.places = {name: at for at, name in enumerate(signals)}
        shape = (models, len(LANES))
        self.kind, self.source = np.zeros(shape, np.uint8), np.zeros(shape, np.int16)
        self.low, self.high = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.sign_bits = np.zeros(shape, np.uint8)
        self.factor, self.bias = np.zeros(shape), np.zeros(shape)
        self.decimals, self.shift = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self.mask, self.table = np.zeros(shape, np.int64), np.zeros(shape, np.int16)
        self.codes: dict[tuple[int, ...], int] = {}
        self.thresholds: dict[tuple[int, ...], int] = {}

    def add(self, model: int, unit: Translation, rule: Rule) -> bool:
        """Fill in a rule; False if it has no column."""
        if isinstance(rule, AnyOf) or any(unit.signals[name].fractional for name in rule.signals) or _highest(rule) > MOST:
            return False
        match rule:
            case Linear():
                self._scale(model, rule.key, "", rule.signal, rule.scaling)
            case Position():
                self._scale(model, rule.key, "lat", rule.latitude, rule.lat)
                self._scale(model, rule.key, "lon", rule.longitude, rule.lon)
            case Day():
                self._scale(model, rule.key, "", rule.signal, _days(rule))
            case Steps():
                at = self._lane(model, rule.key, "", rule.signal, Kind.COUNT, rule.low, rule.high, rule.wrap)
                row = tuple(math.ceil(each) for each in rule.thresholds)
                self.table[at] = self.thresholds.setdefault(row, len(self.thresholds))
            case Lookup():
                self._look_up(model, rule)
        return True

    def _lane(
        self, model: int, key: str, axis: str, signal: str, kind: Kind, low: float, high: float, wrap: int = 0
    ) -> tuple[int, int]:
        at = (model, _AT[key, axis])
        self.sign_bits[at] = wrap.bit_length() - 1 if wrap else 0
        self.kind[at], self.source[at] = kind, self.places[signal]
        self.low[at], self.high[at] = math.ceil(low), math.floor(high)
        return at

    def _scale(self, model: int, key: str, axis: str, signal: str, scaling: Scaling) -> None:
        at = self._lane(model, key, axis, signal, Kind.SCALE, scaling.low, scaling.high, scaling.wrap)
        self.factor[at], self.bias[at], self.decimals[at] = scaling.factor, scaling.bias, scaling.decimals

    def _look_up(self, model: int, rule: Lookup) -> None:
        whole = rule.mask < 0
        ends = (0, len(rule.table) - 1) if whole else (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
        at = self._lane(model, rule.key, "", rule.signal, Kind.LOOK_UP, *ends)
        self.shift[at], self.mask[at] = rule.shift, BYTE_VALUES - 1 if whole else rule.mask >> rule.shift
        values = PROPERTIES[rule.key].values
        codes = [NO_CODE if value is None else values.index(value) for value in rule.table]
        row = tuple(codes + [NO_CODE] * (BYTE_VALUES - len(codes)))
        self.table[at] = self.codes.setdefault(row, len(self.codes))


def _highest(rule: Rule) -> float:
    """The largest raw number that a rule takes for one."""
    match rule:
        case Linear():
            return rule.scaling.high
        case Position():
            return max(rule.lat.high, rule.lon.high)
        case Steps() | Day():
            return rule.high
    return 0


def _days(rule: Day) -> Scaling:
    """Days since 1970 as a scaling: half a day less what the clock can say is rounded to the day it is in."""
    bias = (rule.epoch - UNIX_EPOCH).days - (0.5 - 0.5 / rule.per_day)
    return Scaling(rule.low, rule.high, 1 / rule.per_day, bias, 0, wrap=rule.wrap)


def translate_rows(
    columns: Tables, models: npt.NDArray[np.intp], raw: npt.NDArray[np.int64], present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Rows of raw signals to rows of lanes. `models` is each row's place in `columns.models`."""
    lanes = np.full((len(raw), len(LANES)), SILENT, np.int32)
    rows = np.arange(len(raw))
    for lane in range(len(LANES)):
        kind, source = columns.kind[models, lane], columns.source[models, lane]
        value = _signed(raw[rows, source], columns.sign_bits[models, lane])
        said = (kind != Kind.NONE) & present[rows, source]
        said &= (columns.low[models, lane] <= value) & (value <= columns.high[models, lane])
        for each, steps in ((Kind.SCALE, _scaled), (Kind.LOOK_UP, _looked_up), (Kind.COUNT, _counted)):
            (chosen,) = np.nonzero(said & (kind == each))
            if len(chosen):
                lanes[chosen, lane] = steps(columns, models[chosen], lane, value[chosen])
    lat, lon = _AT["position", "lat"], _AT["position", "lon"]
    lanes[(lanes[:, lat] == SILENT) | (lanes[:, lon] == SILENT), lat : lon + 1] = SILENT
    return lanes


def _signed(raw: npt.NDArray[np.int64], bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The numbers whose lowest `bits` are two's complement as what they are; of 0 bits, or negative already, as they came."""
    top = np.int64(1) << np.maximum(bits, 1).astype(np.int64) - 1
    beyond = (bits > 0) & (bits < 64) & (raw >= top) & (raw < 2 * top)
    return np.where(beyond, raw - 2 * top, raw)


def _scaled(columns: Tables, models: npt.NDArray[np.intp], lane: int, raw: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    steps: npt.NDArray[np.float64] = np.rint(raw * columns.factor[models, lane] + columns.bias[models, lane])
    return steps.astype(np.int32)


def _looked_up(columns: Tables, models: npt.NDArray[np.intp], lane: int, raw: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    places = raw >> columns.shift[models, lane] & columns.mask[models, lane]
    codes = columns.codes[columns.table[models, lane], places].astype(np.int32)
    return np.where(codes == NO_CODE, np.int32(SILENT), codes)


def _counted(columns: Tables, models: npt.NDArray[np.intp], lane: int, raw: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    reached: npt.NDArray[np.bool_] = columns.thresholds[columns.table[models, lane]] <= raw[:, None]
    counts: npt.NDArray[np.int32] = reached.sum(axis=1, dtype=np.int32)
    return counts
