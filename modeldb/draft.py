"""A rule as a model file writes it, before it is known which kind of rule it is."""

import math
from datetime import date
from typing import NoReturn

import msgspec

from modeldb.document import ModelError
from modeldb.signals import Part, Signal, SignalTable
from modeldb.vocabulary import NAMED_KINDS, Property


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
    per_day: int | None = None


_SCALED = frozenset({"signal", "scale", "offset", "decimals", "valid"})
_MEANS: dict[str, frozenset[str]] = {
    "position": frozenset({"latitude", "longitude", "scale"}),
    "date": frozenset({"signal", "epoch", "per_day", "valid"}),
    "number": _SCALED,
    "percent": _SCALED,
    "integer": _SCALED | {"steps"},
    **dict.fromkeys(NAMED_KINDS, frozenset({"signal", "map", "any_of"})),
}


class Draft:
    """A rule being made: what was said of what, among `table`'s signals of `owner`, and where to point when it is wrong."""

    def __init__(self, known: Property, said: RuleFile, table: SignalTable, owner: str, file: str, key: str) -> None:
        self.known, self.said, self.table, self.owner, self.file, self.key = known, said, table, owner, file, key

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

    def signal(self, name: str | None, field: str = "signal") -> tuple[str, Signal]:
        """The raw name of the whole signal called `name`, and what it is."""
        if name is None:
            self.wrong(field, "missing")
        found = self.table.find(name)
        if found is None:
            self.wrong(field, f"{self.owner} has no signal {name!r}")
        return found

    def part(self, name: str, signal: Signal, part: str, field: str) -> Part:
        """The part called `part` of a signal."""
        parts = signal.parts
        if part not in parts:
            self.wrong(field, f"{name} has no part {part!r}")
        return parts[part]

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
