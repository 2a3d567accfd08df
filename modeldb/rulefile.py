"""A rule as a model file writes it, checked against vocabulary and brand, and made ready to use."""

import math
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, NoReturn

import msgspec

from modeldb.brand import Brand, Part, Signal
from modeldb.document import ModelError, convert
from modeldb.rule import BYTE_VALUES, Day, Linear, Lookup, Position, Rule, Scaling, Steps, ranked
from modeldb.vocabulary import LAMP, NAMED_KINDS, PROPERTIES, SCALED_KINDS, Property, Value

STEPS_LIMIT = 2**31 - 1
"""Every value, in steps of its last decimal, fits 32 bits: what the bulk path keeps of it."""

DECIMALS_LIMIT = 7
LAST_DAY = date.max.toordinal()

IMPLIED: dict[str, dict[str, Any]] = {
    "lamp": {"0": "OFF", "1": "ON", "2": "SENSOR_FAILURE"},
    "bool": {"0": False, "1": True},
}
"""What a two-bit state means for a lamp or a bool when the file does not say."""


class RuleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of a model file. Which fields may stand together is decided by the property's kind."""

    signal: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    scale: float | None = None
    offset: float | None = None
    decimals: int | None = None
    valid: tuple[float, float] | None = None
    map: dict[str, str | bool] | None = None
    any_of: tuple[str, ...] | None = None
    steps: tuple[float, ...] | None = None
    epoch: date | None = None


_SCALED = frozenset({"signal", "scale", "offset", "decimals", "valid"})
_MEANS: dict[str, frozenset[str]] = {
    "position": frozenset({"latitude", "longitude", "scale"}),
    "date": frozenset({"signal", "epoch", "valid"}),
    "number": _SCALED,
    "percent": _SCALED,
    "integer": _SCALED | {"steps"},
    **dict.fromkeys(NAMED_KINDS, frozenset({"signal", "map", "any_of"})),
}


class _Draft:
    """A rule being made: what was said, of what, and where to point when it is wrong."""

    def __init__(self, known: Property, said: RuleFile, brand: Brand, file: str, key: str) -> None:
        self.known, self.said, self.brand, self.file, self.key = known, said, brand, file, key

    def wrong(self, field: str, problem: str) -> NoReturn:
        raise ModelError(self.file, f"{self.key}.{field}" if field else self.key, problem)

    def check_fields(self) -> None:
        means = _MEANS[self.known.kind]
        for field in RuleFile.__struct_fields__:
            if getattr(self.said, field) is not None and field not in means:
                self.wrong(field, f"has no meaning for a {self.known.kind}")
        for field in ("scale", "offset"):
            number = getattr(self.said, field)
            if number is not None and not (math.isfinite(number) and (number == 0 or 1e-12 < abs(number) < 1e12)):
                self.wrong(field, f"{number} is no usable number")
        if self.said.scale == 0:
            self.wrong("scale", "0 would make every value the same")

    def signal(self, name: str | None, field: str = "signal") -> Signal:
        """The brand's signal of that name; no part of one."""
        if name is None:
            self.wrong(field, "missing")
        if name not in self.brand.signals:
            self.wrong(field, f"{self.brand.name} has no signal {name!r}")
        return self.brand.signals[name]

    def valid(self, signal: Signal) -> tuple[float, float]:
        """The raw values that say something: `valid`, or all of the signal's type."""
        if self.said.valid is None:
            return signal.low, signal.high
        low, high = self.said.valid
        if not (math.isfinite(low) and math.isfinite(high)):
            self.wrong("valid", "must be two numbers")
        if not low <= high:
            self.wrong("valid", f"[{low}, {high}] is empty")
        if low < signal.low or high > signal.high:
            self.wrong("valid", f"is wider than a {signal.type}")
        return low, high


def make_rule(property_key: str, said: Any, brand: Brand, file: str, key: str) -> Rule:
    """The rule that `said` describes for a property. Raises ModelError."""
    known = PROPERTIES.get(property_key)
    if known is None:
        raise ModelError(file, key, "is no property of the vocabulary")
    draft = _Draft(known, convert(said, RuleFile, file, key), brand, file, key)
    draft.check_fields()
    if known.kind in NAMED_KINDS:
        return _lookup(draft)
    if known.kind == "position":
        return _position(draft)
    if known.kind == "date":
        return _day(draft)
    return _steps(draft) if draft.said.steps is not None else _linear(draft)


def _decimals_of(number: float | None) -> int:
    exponent = Decimal(str(number or 0)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _scaling(draft: _Draft, signal: Signal, low_value: float, high_value: float) -> Scaling:
    said = draft.said
    scale, offset = 1.0 if said.scale is None else said.scale, said.offset or 0.0
    decimals = said.decimals
    if decimals is None:
        decimals = min(max(_decimals_of(scale), _decimals_of(offset)), _decimals_of(draft.known.resolution))
    if not 0 <= decimals <= DECIMALS_LIMIT:
        draft.wrong("decimals", f"must be 0 to {DECIMALS_LIMIT}")
    if draft.known.kind == "integer" and decimals:
        draft.wrong("decimals", "must be 0 for an integer")
    unit = Decimal(10) ** decimals
    factor, bias = float(Decimal(str(scale)) * unit), float(Decimal(str(offset)) * unit)
    low, high = draft.valid(signal)
    whole = signal.type[0] != "f"
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
    return Scaling(low, high, factor, bias, decimals, whole)


def _whole_ends(scaling: Scaling, low: float, high: float, first: float, last: float) -> tuple[int, int]:
    """The outermost whole raw values from about `low` to `high` whose values, in steps, are `first` to `last`."""
    ends = [math.floor(low), math.ceil(high)]
    for at, inward in ((0, 1), (1, -1)):
        for _ in range(2):
            if ends[at] < scaling.low or ends[at] > scaling.high or not first <= scaling.steps(ends[at]) <= last:
                ends[at] += inward
    return ends[0], ends[1]


def _linear(draft: _Draft) -> Rule:
    known = draft.known
    assert known.kind in SCALED_KINDS
    signal = draft.signal(draft.said.signal)
    return Linear(known.key, draft.said.signal or "", _scaling(draft, signal, known.low, known.high))


def _position(draft: _Draft) -> Rule:
    said = draft.said
    latitude, longitude = draft.signal(said.latitude, "latitude"), draft.signal(said.longitude, "longitude")
    lat, lon = _scaling(draft, latitude, -90, 90), _scaling(draft, longitude, -180, 180)
    return Position(draft.known.key, said.latitude or "", said.longitude or "", lat, lon)


def _steps(draft: _Draft) -> Rule:
    known, said = draft.known, draft.said
    thresholds = said.steps or ()
    for field in ("scale", "offset", "decimals"):
        if getattr(said, field) is not None:
            draft.wrong(field, "has no meaning beside steps")
    signal = draft.signal(said.signal)
    low, high = draft.valid(signal)
    if not thresholds or any(not a < b for a, b in pairwise(thresholds)):
        draft.wrong("steps", "must be numbers that rise")
    if not low < thresholds[0] or not thresholds[-1] <= high:
        draft.wrong("steps", "reach beyond what is valid")
    if known.low > 0 or len(thresholds) > known.high:
        draft.wrong("steps", f"are more than {known.high:g}")
    return Steps(known.key, said.signal or "", thresholds, low, high, whole=signal.type[0] != "f")


def _day(draft: _Draft) -> Rule:
    said = draft.said
    if said.epoch is None:
        draft.wrong("epoch", "missing")
    signal = draft.signal(said.signal)
    if signal.type[0] == "f":
        draft.wrong("signal", f"a {signal.type} does not count days")
    low, high = draft.valid(signal)
    first, last = 1 - said.epoch.toordinal(), LAST_DAY - said.epoch.toordinal()
    low, high = math.ceil(max(low, first)), math.floor(min(high, last))
    if not low <= high:
        draft.wrong("valid", "is no day")
    return Day(draft.known.key, said.signal or "", said.epoch, low, high)


def _lookup(draft: _Draft) -> Rule:
    said = draft.said
    name, _, part_name = (said.signal or "").partition(".")
    signal = draft.signal(name or None)
    parts = signal.parts
    if said.any_of is not None:
        if part_name:
            draft.wrong("any_of", "names parts of a whole signal")
        chosen = [_part(draft, parts, name, each, "any_of") for each in said.any_of]
        return _any_lookup(draft, name, chosen)
    if part_name:
        part = _part(draft, parts, name, part_name, "signal")
        places = 1 << part.width
        table, order = _table(draft, places, IMPLIED.get(draft.known.kind))
        return Lookup(draft.known.key, name, part.mask, part.shift, table, ranked(order, places), (part_name,))
    if parts:
        draft.wrong("signal", f"{name} has parts: name one ({', '.join(parts)}), or several in any_of")
    if signal.type[0] != "u":
        draft.wrong("signal", f"a {signal.type} cannot be looked up")
    table, order = _table(draft, int(min(BYTE_VALUES, signal.high + 1)), None)
    return Lookup(draft.known.key, name, -1, 0, table, ranked(order, len(table)))


def _part(draft: _Draft, parts: dict[str, Part], signal: str, name: str, field: str) -> Part:
    if name not in parts:
        draft.wrong(field, f"{signal} has no part {name!r}")
    return parts[name]


def _table(draft: _Draft, places: int, implied: dict[str, Any] | None) -> tuple[tuple[Value | None, ...], list[int]]:
    """The lookup table of `map`, and the raw values in the order in which the file names them."""
    known = draft.known
    said: dict[str, Any] | None = draft.said.map if draft.said.map is not None else implied
    if not said:
        draft.wrong("map", "missing")
    table: list[Value | None] = [None] * places
    order: list[int] = []
    for raw, value in said.items():
        place = _raw_value(raw)
        if place is None:
            draft.wrong("map", f"{raw!r} is no raw value")
        if place >= places:
            if draft.said.map is None:
                continue
            draft.wrong("map", f"{raw} is beyond {places - 1}")
        if not known.allows(value):
            choice = ", ".join(str(each).lower() if known.kind == "bool" else str(each) for each in known.values)
            draft.wrong("map", f"{value!r} is none of {choice}")
        if table[place] is not None:
            draft.wrong("map", f"{raw} stands there twice")
        table[place] = value
        order.append(place)
    return tuple(table), order


def _raw_value(text: str) -> int | None:
    """A raw value as a key: decimal, or hexadecimal after 0x."""
    digits, base = (text[2:], 16) if text[:2] in ("0x", "0X") else (text, 10)
    if not digits.isascii() or not digits.isalnum() or len(digits) > 20:
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def _any_lookup(draft: _Draft, name: str, parts: list[Part]) -> Rule:
    """Several parts as one: the value of raw 1 if any says 1, else that of raw 0 if any says 0, else nothing."""
    if not parts:
        draft.wrong("any_of", "is empty")
    shift = min(part.shift for part in parts)
    span = max(part.shift + part.width for part in parts) - shift
    if 1 << span > BYTE_VALUES:
        draft.wrong("any_of", "the parts are more than eight bits apart")
    if draft.known.values == LAMP:
        draft.wrong("any_of", "has no meaning for a lamp")
    means, _ = _table(draft, 2, IMPLIED.get(draft.known.kind))
    table: list[Value | None] = []
    for place in range(1 << span):
        said = [place >> (part.shift - shift) & (part.mask >> part.shift) for part in parts]
        table.append(means[1] if 1 in said else means[0] if 0 in said else None)
    mask = sum({part.mask for part in parts})
    order = sorted(range(1 << span), key=lambda place: _strangeness(place, span))
    return Lookup(draft.known.key, name, mask, shift, tuple(table), ranked(order, 1 << span), draft.said.any_of or ())


def _strangeness(place: int, span: int) -> tuple[int, int, int, int]:
    """Orders what a group may say: no failures before failures, all known before unknown ones, few that are on before many."""
    states = [place >> at & 3 for at in range(0, span, 2)]
    return states.count(2), states.count(3), states.count(1), place
