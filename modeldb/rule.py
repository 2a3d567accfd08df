"""A rule: how one property of the vehicle state is read from one raw signal, and said with it again.

Everything is a table lookup, thresholds, or `raw * factor + bias` rounded to a whole number of the property's smallest step,
so that any other implementation of the same arithmetic (IEEE 754 doubles, round half to even) finds the same value; only what
several signals say together (AnyOf) is more than that.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeGuard

from modeldb.vocabulary import Value

BYTE_VALUES = 256
"""A lookup tells at most this many raw values apart."""


class Rule(Protocol):
    """What every kind of rule can do. `key` is the property, `signals` the raw signals that it reads."""

    @property
    def key(self) -> str: ...

    @property
    def signals(self) -> tuple[str, ...]: ...

    @property
    def resolution(self) -> float:
        """The step, in the property's unit, between two values that the signal can say; 0 for what is exact."""
        ...

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        """The property's value, None if the signal is missing or says nothing. Never raises, whatever the signals are."""
        ...


Raw: TypeAlias = int | float | str
"""A raw value as a unit says it: a number, or a word where it says words."""


def _is_number(raw: Any) -> TypeGuard[int | float]:
    return type(raw) is int or type(raw) is float


def _signed(raw: Any, wrap: int) -> Any:
    """A number that arrived as two's complement, modulo `wrap`, as what it is; anything else as it came."""
    return raw - wrap if wrap and _is_number(raw) and wrap // 2 <= raw < wrap else raw


def _unsigned(raw: int | float, wrap: int) -> int | float:
    return raw % wrap if wrap else raw


@dataclass(frozen=True, slots=True)
class Scaling:
    """`raw * factor + bias`, rounded, is the value in steps of 10^-decimals. Outside `low` to `high` (raw) nothing is said.

    `wrap`: a negative raw number arrives with this much added to it; 0 where it arrives as it is.
    """

    low: float
    high: float
    factor: float
    bias: float
    decimals: int
    whole: bool = True
    wrap: int = 0

    @property
    def unit(self) -> int:
        """How many steps make one."""
        return int(10**self.decimals)

    def steps(self, raw: float) -> int:
        """The value in whole steps."""
        return round(raw * self.factor + self.bias)

    def value(self, raw: Any) -> int | float | None:
        """The value, None where the raw value says nothing."""
        raw = _signed(raw, self.wrap)
        if not _is_number(raw) or not self.low <= raw <= self.high:
            return None
        steps = self.steps(raw)
        return steps / self.unit if self.decimals else steps

    def raw(self, value: float) -> int | float:
        """The raw value nearest to `value`, kept between `low` and `high`."""
        raw = min(max((value * self.unit - self.bias) / self.factor, self.low), self.high)
        return _unsigned(round(raw), self.wrap) if self.whole else raw

    @property
    def resolution(self) -> float:
        """The larger of what one raw step means and what is shown."""
        return max(abs(self.factor), 1.0) / self.unit


@dataclass(frozen=True, slots=True)
class Linear:
    """A number: a signal scaled."""

    key: str
    signal: str
    scaling: Scaling

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    @property
    def resolution(self) -> float:
        return self.scaling.resolution

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        return self.scaling.value(signals.get(self.signal))

    def write(self, value: Any) -> dict[str, int | float]:
        """The signal that says `value`."""
        return {self.signal: self.scaling.raw(value)}


@dataclass(frozen=True, slots=True)
class Position:
    """Where the vehicle is: two signals scaled alike."""

    key: str
    latitude: str
    longitude: str
    lat: Scaling
    lon: Scaling

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.latitude, self.longitude)

    @property
    def resolution(self) -> float:
        return self.lat.resolution

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        lat, lon = self.lat.value(signals.get(self.latitude)), self.lon.value(signals.get(self.longitude))
        return None if lat is None or lon is None else {"lat": lat, "lon": lon}

    def write(self, value: Any) -> dict[str, int | float]:
        """The signals that say `value`."""
        return {self.latitude: self.lat.raw(value["lat"]), self.longitude: self.lon.raw(value["lon"])}


@dataclass(frozen=True, slots=True)
class Steps:
    """A whole number: how many of the `thresholds` the signal has reached."""

    key: str
    signal: str
    thresholds: tuple[float, ...]
    low: float
    high: float
    whole: bool = True
    wrap: int = 0

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    @property
    def resolution(self) -> float:
        return 0.0

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        raw = _signed(signals.get(self.signal), self.wrap)
        if not _is_number(raw) or not self.low <= raw <= self.high:
            return None
        return bisect_right(self.thresholds, raw)

    def write(self, value: Any) -> dict[str, int | float]:
        """The signal that says `value`: the threshold itself, below the first one step before it."""
        reached = min(int(value), len(self.thresholds))
        raw = self.thresholds[reached - 1] if reached else max(self.low, self.thresholds[0] - 1)
        return {self.signal: _unsigned(math.ceil(raw), self.wrap) if self.whole else raw}


@dataclass(frozen=True, slots=True)
class Day:
    """A date: whole days after `epoch`, each `per_day` of the signal's units long."""

    key: str
    signal: str
    epoch: date
    low: int
    high: int
    per_day: int = 1
    wrap: int = 0

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    @property
    def resolution(self) -> float:
        return 0.0

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        raw = _signed(signals.get(self.signal), self.wrap)
        if type(raw) is not int or not self.low <= raw <= self.high:
            return None
        return (self.epoch + timedelta(days=raw // self.per_day)).isoformat()

    def write(self, value: Any) -> dict[str, int | float]:
        """The signal that says `value`, kept between the first and the last day that it can say."""
        raw = (date.fromisoformat(value) - self.epoch).days * self.per_day
        return {self.signal: _unsigned(min(max(raw, self.low), self.high), self.wrap)}


@dataclass(frozen=True)
class Lookup:
    """A named value: the signal's bits under `mask`, moved down by `shift`, are the place in `table`; None says nothing.

    `ranks` says how natural a place is for its value, 0 first: which one to say where several mean the same. `parts` names the
    bits, for people; none where the whole signal is looked up. `words` are what the signal says instead of the places from 0
    on; none where it says numbers.
    """

    key: str
    signal: str
    mask: int
    shift: int
    table: tuple[Value | None, ...]
    ranks: tuple[int, ...]
    parts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def signals(self) -> tuple[str, ...]:
        return (self.signal,)

    @property
    def resolution(self) -> float:
        return 0.0

    def place(self, raw: int) -> int:
        """Where in the table `raw` points; may be beyond its end."""
        return (raw & self.mask) >> self.shift

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        raw = signals.get(self.signal)
        if self.words:
            raw = self._codes.get(raw) if type(raw) is str else None
        if type(raw) is not int or raw < 0:
            return None
        place = self.place(raw)
        return self.table[place] if place < len(self.table) else None

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {word: code for code, word in enumerate(self.words) if word}

    @cached_property
    def sayable(self) -> frozenset[Value]:
        """The values that the signal can say."""
        return frozenset(value for value in self.table if value is not None)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A named value that several signals say together, each by `means`: the strongest that one of them says.

    `order` lists the values from the weakest on. The weakest, as that all doors are closed, is said only where all say it.
    """

    key: str
    signals: tuple[str, ...]
    means: Mapping[Raw, Value]
    order: tuple[Value, ...]

    @property
    def resolution(self) -> float:
        return 0.0

    def read(self, signals: Mapping[str, Any]) -> Value | None:
        said = [self._meaning(signals.get(name)) for name in self.signals]
        for value in reversed(self.order[1:]):
            if value in said:
                return value
        return self.order[0] if all(value == self.order[0] for value in said) else None

    def write(self, value: Any) -> dict[str, Raw]:
        """The signals that say `value`: the first does, the others the weakest. None for what they cannot say."""
        if value not in self.order:
            return {}
        weakest = self._saying(self.order[0])
        return {name: self._saying(value) if at == 0 else weakest for at, name in enumerate(self.signals)}

    def _meaning(self, raw: Any) -> Value | None:
        return self.means.get(raw) if type(raw) is int or type(raw) is str else None

    def _saying(self, value: Value) -> Raw:
        return next(raw for raw, meaning in self.means.items() if meaning == value)


def ranked(order: Sequence[int], size: int) -> tuple[int, ...]:
    """The rank of each of `size` places: those of `order` first, as they come, then the rest from the highest down."""
    ranks = {place: rank for rank, place in enumerate(order)}
    rest = (place for place in range(size - 1, -1, -1) if place not in ranks)
    for rank, place in enumerate(rest, len(ranks)):
        ranks[place] = rank
    return tuple(ranks[place] for place in range(size))
