"""A rule as a model file writes it, checked against vocabulary and brand, and made ready to use."""

import math
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from modeldb.document import ModelError, convert
from modeldb.draft import Draft, RuleFile
from modeldb.lookup import lookup
from modeldb.rule import Day, Linear, Position, Rule, Scaling, Steps
from modeldb.signals import Signal, SignalTable
from modeldb.vocabulary import NAMED_KINDS, PROPERTIES, SCALED_KINDS

STEPS_LIMIT = 2**31 - 1
"""Every value, in steps of its last decimal, fits 32 bits: what the bulk path keeps of it."""

DECIMALS_LIMIT = 7
LAST_DAY = date.max.toordinal()

PER_DAY_LIMIT = 86_400_000
"""Milliseconds in a day: the finest clock that a date is read from."""


def make_rule(property_key: str, said: Any, table: SignalTable, owner: str, file: str, key: str) -> Rule:
    """The rule that `said` describes for a property, of the signals of `owner` in `table`. Raises ModelError."""
    known = PROPERTIES.get(property_key)
    if known is None:
        raise ModelError(file, key, "is no property of the vocabulary")
    draft = Draft(known, convert(said, RuleFile, file, key), table, owner, file, key)
    draft.check_fields()
    if known.kind in NAMED_KINDS:
        return lookup(draft)
    if known.kind == "position":
        return _position(draft)
    if known.kind == "date":
        return _day(draft)
    return _steps(draft) if draft.said.steps is not None else _linear(draft)


def _exact(number: float | None, otherwise: int = 0) -> Decimal:
    return Decimal(otherwise if number is None else str(number))


def _decimals_of(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _scaling(draft: Draft, signal: Signal, low_value: float, high_value: float) -> Scaling:
    said = draft.said
    scale, offset = _exact(said.scale, 1) * _exact(signal.multiplier), _exact(said.offset, 0)
    decimals = _decimals_of(_exact(draft.known.resolution, 1)) if said.decimals is None else said.decimals
    if said.decimals is None and not signal.fractional:
        decimals = min(max(_decimals_of(scale), _decimals_of(offset)), decimals)
    if not 0 <= decimals <= DECIMALS_LIMIT:
        draft.wrong("decimals", f"must be 0 to {DECIMALS_LIMIT}")
    if draft.known.kind == "integer" and decimals:
        draft.wrong("decimals", "must be 0 for an integer")
    unit = Decimal(10) ** decimals
    factor, bias = float(scale * unit), float(offset * unit)
    low, high = draft.valid(signal)
    whole = not signal.fractional
    scaling = Scaling(low, high, factor, bias, decimals, whole)
    first, last = sorted(((low_value * 10**decimals - bias) / factor, (high_value * 10**decimals - bias) / factor))
    low, high = max(low, first), min(high, last)
    if whole:
        low, high = _whole_ends(scaling, low, high, low_value * 10**decimals, high_value * 10**decimals)
    if not low <= high:
        draft.wrong("scale", f"no raw value gives {low_value:g} to {high_value:g}")
    if said.valid is not None and (low > math.ceil(said.valid[0]) or high < math.floor(said.valid[1])):
        draft.wrong("valid", f"reaches beyond {low_value:g} to {high_value:g} {draft.known.unit}".rstrip())
    if max(abs(scaling.steps(low)), abs(scaling.steps(high))) > STEPS_LIMIT:
        draft.wrong("decimals", f"{decimals} are too many: a value would not fit 32 bits")
    return Scaling(low, high, factor, bias, decimals, whole, signal.wrap)


def _whole_ends(scaling: Scaling, low: float, high: float, first: float, last: float) -> tuple[int, int]:
    """The outermost whole raw values from about `low` to `high` whose values, in steps, are `first` to `last`."""
    ends = [math.floor(low), math.ceil(high)]
    for at, inward in ((0, 1), (1, -1)):
        for _ in range(2):
            if ends[at] < scaling.low or ends[at] > scaling.high or not first <= scaling.steps(ends[at]) <= last:
                ends[at] += inward
    return ends[0], ends[1]


def _linear(draft: Draft) -> Rule:
    known = draft.known
    assert known.kind in SCALED_KINDS
    name, signal = _counted(draft, draft.said.signal)
    return Linear(known.key, name, _scaling(draft, signal, known.low, known.high))


def _counted(draft: Draft, name: str | None, field: str = "signal") -> tuple[str, Signal]:
    raw, signal = draft.signal(name, field)
    if signal.type == "enum":
        draft.wrong(field, f"{name} says words, no numbers")
    return raw, signal


def _position(draft: Draft) -> Rule:
    latitude, lat = _counted(draft, draft.said.latitude, "latitude")
    longitude, lon = _counted(draft, draft.said.longitude, "longitude")
    return Position(draft.known.key, latitude, longitude, _scaling(draft, lat, -90, 90), _scaling(draft, lon, -180, 180))


def _steps(draft: Draft) -> Rule:
    known, said = draft.known, draft.said
    thresholds = said.steps or ()
    for field in ("scale", "offset", "decimals"):
        if getattr(said, field) is not None:
            draft.wrong(field, "has no meaning beside steps")
    name, signal = _counted(draft, said.signal)
    low, high = draft.valid(signal)
    if not thresholds or any(not a < b for a, b in pairwise(thresholds)):
        draft.wrong("steps", "must be numbers that rise")
    if not low < thresholds[0] or not thresholds[-1] <= high:
        draft.wrong("steps", "reach beyond what is valid")
    if known.low > 0 or len(thresholds) > known.high:
        draft.wrong("steps", f"are more than {known.high:g}")
    return Steps(known.key, name, thresholds, low, high, not signal.fractional, signal.wrap)


def _day(draft: Draft) -> Rule:
    said = draft.said
    per_day = 1 if said.per_day is None else said.per_day
    if said.epoch is None:
        draft.wrong("epoch", "missing")
    if not 1 <= per_day <= PER_DAY_LIMIT:
        draft.wrong("per_day", f"must be 1 to {PER_DAY_LIMIT}")
    name, signal = _counted(draft, said.signal)
    if signal.fractional:
        draft.wrong("signal", f"a {signal.type} does not count days")
    low, high = draft.valid(signal)
    first, last = 1 - said.epoch.toordinal(), LAST_DAY - said.epoch.toordinal()
    low, high = math.ceil(max(low, first * per_day)), math.floor(min(high, (last + 1) * per_day - 1))
    if not low <= high:
        draft.wrong("valid", "is no day")
    return Day(draft.known.key, name, said.epoch, low, high, per_day, signal.wrap)
