"""A vehicle model: what it can report and do behind each brand of units, and how their signals translate to vehicle state."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from modeldb.brand import Brand
from modeldb.inverse import Writer, inverse
from modeldb.reading import reading
from modeldb.rule import Raw, Rule
from modeldb.saying import Saying, saying
from modeldb.signals import Signal, SignalTable
from modeldb.vocabulary import NAMED_KINDS, PROPERTIES, Value, VehicleType


@dataclass(frozen=True, slots=True)
class RenderedCommand:
    """What a unit is told besides the command's code. `native`: the parameters are a message of the brand's own protocol."""

    parameters: bytes = b""
    native: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """Signals and the whole vehicle state that they mean: the file's own test."""

    signals: Mapping[str, Any]
    state: Mapping[str, Value]


class Translation:
    """A model behind a brand's units: signals to state, state to signals, commands to what the unit is told.

    `table` has all that its units can say, `signals` those of them by raw name that are known or read by a rule. `family` names
    the family of devices that the units are of, "" where the brand has none.
    """

    def __init__(
        self,
        brand: Brand,
        rules: tuple[Rule, ...],
        commands: Mapping[str, RenderedCommand],
        examples: tuple[Example, ...] = (),
        *,
        table: SignalTable | None = None,
        family: str = "",
    ) -> None:
        self.brand, self.rules, self.examples, self.family = brand, rules, examples, family
        self.table = brand.table if table is None else table
        self.signals = _signals(self.table, rules)
        self._reads = tuple((rule.key, reading(rule)) for rule in rules)
        self.state_keys = tuple(rule.key for rule in rules)
        self.commands = tuple(commands)
        self._rendered = dict(commands)
        self._resolutions = {rule.key: rule.resolution for rule in rules}
        self._named_keys, self._write_named, self._write_others = _apart(rules, self.signals)
        self._named_set = frozenset(self._named_keys)
        self._named: dict[tuple[Any, ...], Mapping[str, Raw]] = {}

    def translate(self, signals: Mapping[str, Any]) -> dict[str, Value]:
        """The properties that the raw `signals` speak of. Unknown signals and senseless values say nothing; never raises."""
        state: dict[str, Value] = {}
        for key, read in self._reads:
            value = read(signals)
            if value is not None:
                state[key] = value
        return state

    def invert(self, state: Mapping[str, Any]) -> dict[str, Raw]:
        """The raw signals of a true `state`, each to its nearest value: whole numbers, fractions or words, as the unit says them.

        Properties that no rule reports are passed over; numbers beyond the signal's range become its nearest end. Two-bit
        states that nobody set say `unknown`. Raises ValueError for a value outside the vocabulary.
        """
        others = {key: value for key, value in state.items() if key not in self._named_set}
        self._check(others)
        return {**self._named_signals(state), **self._write_others(others)}

    def saying(self, keys: Sequence[str]) -> Saying | None:
        """`invert` for states of just these properties, quicker; None where it cannot be had so."""
        return saying(self.rules, keys, self._write_named, self._named_keys)

    def _named_signals(self, state: Mapping[str, Any]) -> Mapping[str, Raw]:
        """The part of `invert` for properties with few values: what was asked before is remembered."""
        wanted = tuple(map(state.get, self._named_keys))
        sure = all(isinstance(value, str | bool) for value in wanted)  # 1 is not true, and nothing is not a value
        named = self._named.get(wanted) if sure else None
        if named is None:
            said = {key: state[key] for key in self._named_keys if key in state}
            self._check(said)
            named = self._write_named(said)
            if sure:
                if len(self._named) >= NAMED_LIMIT:
                    self._named.clear()
                self._named[wanted] = named
        return named

    def _check(self, state: Mapping[str, Any]) -> None:
        for key, value in state.items():
            if type(value) is float and key in FRACTIONS:
                low, high = FRACTIONS[key]
                if low <= value <= high:
                    continue
            if key in self._resolutions and not PROPERTIES[key].allows(value):
                raise ValueError(f"{key} cannot be {value!r}")

    def resolution(self, key: str) -> float:
        """The step between two values that the signal of property `key` can say, in the property's unit (a position: degrees).

        0 for what is exact: named values, dates, counts. Raises KeyError for a property that no rule reports.
        """
        return self._resolutions[key]

    def on(self, brand: Brand) -> "Translation":
        """The same for the units of a brand that is like this one."""
        return Translation(brand, self.rules, self._rendered, self.examples, table=self.table, family=self.family)

    def render(self, command: str) -> RenderedCommand:
        """What the unit is told to carry out `command`. Raises KeyError if this model cannot."""
        return self._rendered[command]


FRACTIONS = {
    key: (max(each.low, -sys.float_info.max), min(each.high, sys.float_info.max))
    for key, each in PROPERTIES.items()
    if each.kind in ("number", "percent")
}
"""The finite numbers that properties with fractions can have: looked up, because a fleet asks for a dozen of them a report."""

NAMED_LIMIT = 4_096
"""Combinations of named values that a translation remembers the raw signals of: a fleet shows a few hundred."""


def _apart(rules: Sequence[Rule], signals: Mapping[str, Signal]) -> tuple[tuple[str, ...], Writer, Writer]:
    """The properties with few values, how those are written, and how all others are: no signal is written by both."""
    numbers = [rule for rule in rules if PROPERTIES[rule.key].kind not in (*NAMED_KINDS, "date")]
    taken = {name for rule in numbers for name in rule.signals}
    named = [rule for rule in rules if rule not in numbers]
    while shared := [rule for rule in named if taken & set(rule.signals)]:
        taken |= {name for rule in shared for name in rule.signals}
        named = [rule for rule in named if rule not in shared]
    others = [rule for rule in rules if rule not in named]
    return tuple(rule.key for rule in named), inverse(named, signals), inverse(others, signals)


def _signals(table: SignalTable, rules: tuple[Rule, ...]) -> Mapping[str, Signal]:
    found = (table.find(name) for rule in rules for name in rule.signals)
    return {**table.known, **dict(each for each in found if each is not None)}


@dataclass(frozen=True, slots=True, eq=False)
class VehicleModel:
    """One model in one production span.

    `make` and `name` are the vehicle's ("Volkswagen", "Golf"), `id` is a ULID, `units` maps a telematics brand's name to the
    translation for its units. `end_of_production` is the last day, None while it is built. `file` is where it stands.
    """

    id: str
    make: str
    name: str
    type: VehicleType
    start_of_production: date
    end_of_production: date | None
    regions: tuple[str, ...]
    version: int
    units: Mapping[str, Translation] = field(default_factory=dict)
    file: str = ""

    @property
    def title(self) -> str:
        """`Volkswagen Golf`."""
        return f"{self.make} {self.name}"

    def built_in(self, year: int) -> bool:
        """Whether it was in production on any day of `year`."""
        return self.start_of_production.year <= year and (self.end_of_production is None or year <= self.end_of_production.year)

    def is_called(self, name: str) -> bool:
        """Whether `name` means it, with or without the make; upper and lower case are the same."""
        return " ".join(name.split()).casefold() in (self.name.casefold(), self.title.casefold())
