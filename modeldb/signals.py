"""Raw signals: what a unit can say, one by one, before any model gives it a meaning."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from typing import Any, Literal

import msgspec

from modeldb.document import ModelError, convert

SignalType = Literal[
    "u8", "u16", "u24", "u32", "u40", "u48", "u64", "i8", "i16", "i24", "i32", "i64", "f32", "f64", "enum"
]  # fmt: skip

PART_LIMIT_BITS = 8
"""The widest part of a signal: a lookup tells 256 values apart."""


class Part(msgspec.Struct, frozen=True):
    """Some bits of a signal: `width` of them from bit `shift` on. `unknown` is what they say when nobody knows."""

    shift: int
    width: int
    unknown: int

    @property
    def mask(self) -> int:
        """The part's bits where they stand in the signal."""
        return ((1 << self.width) - 1) << self.shift


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One raw signal, in the unit's own unit of measure: `multiplier` of `unit` is one.

    `states` names the two-bit states packed into it (0 off, closed, unlocked; 1 on, open, locked; 2 failure; 3 unknown),
    lowest bits first; `flags` names single bits by their number, `fields` wider groups by first bit and width. An `enum` is
    said in words: `values`, each at the place of its code, "" where no word has that code. `complement`: a negative number
    arrives as the unsigned number with the same bits (two's complement).
    """

    type: SignalType
    unit: str = ""
    multiplier: float = 1.0
    states: tuple[str, ...] = ()
    flags: dict[str, int] = {}
    fields: dict[str, tuple[int, int]] = {}
    values: tuple[str, ...] = ()
    complement: bool = False

    @property
    def low(self) -> float:
        """The smallest raw value; of an enum, the smallest code."""
        if self.fractional:
            return float("-inf")
        return -(1 << (self.bits - 1)) if self.type[0] == "i" else 0

    @property
    def high(self) -> float:
        """The largest raw value; of an enum, the largest code."""
        if self.type == "enum":
            return len(self.values) - 1
        if self.fractional:
            return float("inf")
        return (1 << (self.bits - (self.type[0] == "i"))) - 1

    @property
    def fractional(self) -> bool:
        """Whether it can say more than whole numbers."""
        return self.type[0] == "f"

    @property
    def bits(self) -> int:
        """The signal's width on the wire; an enum's code is a byte."""
        return 8 if self.type == "enum" else int(self.type[1:])

    @property
    def wrap(self) -> int:
        """What to take from a raw number that is beyond `high`, 0 if nothing."""
        return 1 << self.bits if self.complement else 0

    @property
    def codes(self) -> dict[str, int]:
        """An enum's words with their codes."""
        return {word: code for code, word in enumerate(self.values) if word}

    @property
    def parts(self) -> dict[str, Part]:
        """The named groups of bits in it."""
        states = {name: Part(2 * at, 2, 3) for at, name in enumerate(self.states)}
        flags = {name: Part(bit, 1, 0) for name, bit in self.flags.items()}
        return states | flags | {name: Part(first, width, 0) for name, (first, width) in self.fields.items()}


def read_signal(said: Any, file: str, key: str) -> Signal:
    """The signal that a data file describes. Raises ModelError."""
    signal = convert(said, Signal, file, key)
    parts = signal.parts
    if len(parts) != len(signal.states) + len(signal.flags) + len(signal.fields):
        raise ModelError(file, key, "two parts have the same name")
    taken = 0
    for name, part in parts.items():
        if signal.type[0] != "u" or part.shift < 0 or part.width < 1 or part.shift + part.width > signal.bits:
            raise ModelError(file, f"{key}.{name}", f"is not within a {signal.type}")
        if part.width > PART_LIMIT_BITS:
            raise ModelError(file, f"{key}.{name}", f"is wider than {PART_LIMIT_BITS} bits")
        if taken & part.mask:
            raise ModelError(file, f"{key}.{name}", "shares a bit with another part")
        taken |= part.mask
    if (signal.type == "enum") != bool(signal.codes) or len(signal.values) > 1 << PART_LIMIT_BITS:
        raise ModelError(file, f"{key}.values", "are the words of an enum, 1 to 256")
    if len(signal.codes) != sum(map(bool, signal.values)):
        raise ModelError(file, f"{key}.values", "has a word twice")
    if signal.complement and signal.type[0] != "i":
        raise ModelError(file, f"{key}.complement", f"has no meaning for a {signal.type}")
    if not 1e-12 < signal.multiplier < 1e12:
        raise ModelError(file, f"{key}.multiplier", "is no usable number")
    return signal


def spelled_out(name: str) -> Iterator[str]:
    """The names that one key stands for: `doors.{left|right}` is `doors.left` and `doors.right`."""
    pieces = re.split(r"\{([^{}]*\|[^{}]*)\}", name)
    choices = [piece.split("|") if at % 2 else [piece] for at, piece in enumerate(pieces)]
    return ("".join(chosen) for chosen in product(*choices))


def is_numbered(name: str) -> bool:
    """Whether the name stands for many, told apart by a number: `io_{n}`."""
    return "{n}" in name


@dataclass(frozen=True)
class SignalTable:
    """All that a unit can say.

    `known` has the signals by their raw names, `numbered` those of names with `{n}` in them: any number may stand there.
    `aliases` maps further names to raw ones. `opaque` are patterns (`*`, `?`) of what is said besides and no rule can read.
    """

    known: Mapping[str, Signal]
    numbered: Mapping[str, Signal] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    opaque: tuple[str, ...] = ()

    def find(self, name: str) -> tuple[str, Signal] | None:
        """The raw name and the signal that `name` stands for, None if there is none."""
        raw = self.aliases.get(name, name)
        if raw in self.known:
            return raw, self.known[raw]
        return next(((raw, signal) for pattern, signal in self._patterns if pattern.fullmatch(raw)), None)

    def knows(self, raw: str) -> bool:
        """Whether a unit is expected to say `raw`, readable or not."""
        return self.find(raw) is not None or any(fnmatchcase(raw, pattern) for pattern in self.opaque)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The alias of each raw name that has one."""
        return {raw: alias for alias, raw in self.aliases.items()}

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], Signal], ...]:
        return tuple(
            (re.compile("(?:0|[1-9][0-9]{0,9})".join(map(re.escape, name.split("{n}")))), signal)
            for name, signal in self.numbered.items()
        )


def read_table(said: Mapping[str, Any], file: str, opaque: tuple[str, ...] = ()) -> SignalTable:
    """The `signals` of a brand file. Raises ModelError."""
    known: dict[str, Signal] = {}
    numbered: dict[str, Signal] = {}
    for key, raw in said.items():
        signal = read_signal(raw, file, f"signals.{key}")
        for name in spelled_out(key):
            if name in known or name in numbered:
                raise ModelError(file, f"signals.{key}", f"{name} stands there twice")
            (numbered if is_numbered(name) else known)[name] = signal
    return SignalTable(known, numbered, {}, opaque)
