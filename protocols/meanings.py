"""What raw values mean, in words: the few forms that the tables beside the protocols' declarations are written in.

A Meaning takes a raw value and gives the unit that it is in (a step and a unit, like CloudBoxx's `0.01 km/h`) and its words.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Meaning = Callable[[Any], tuple[str, str]]

DIGITS = 10
"""Significant digits of a scaled value: all of a 32-bit number's."""


def number(step: float, unit: str, zero: float = 0, note: str = "") -> Meaning:
    """A whole number of steps from `zero`, which is in `unit`: `0.1 A from -1000 A`."""
    steps = f"{step:g} {unit}".replace("e-0", "e-") if step != 1 else unit
    steps += f" from {zero:g} {unit}" if zero else ""

    def said(value: Any) -> tuple[str, str]:
        if step == 1 and not zero:
            return steps, note
        amount = f"{round(value * step + zero, DIGITS):.{DIGITS}g} {unit}"
        return steps, f"{amount}, {note}" if note else amount

    return said


def choice(names: Mapping[int, str], otherwise: str = "not defined") -> Meaning:
    """One of several, by its code."""
    return lambda value: ("", names.get(value, otherwise))


def flags(names: Sequence[str] | Mapping[int, str], none: str = "none") -> Meaning:
    """Bits, by their number from the lowest; those without a name are told by it."""
    known = names if isinstance(names, Mapping) else dict(enumerate(names))

    def said(value: Any) -> tuple[str, str]:
        bits = (bit for bit in range(int(value).bit_length()) if value >> bit & 1)
        return "", ", ".join(known.get(bit, f"bit {bit}") for bit in bits) or none

    return said


def words(text: str, unit: str = "") -> Meaning:
    """The same words for every value."""
    return lambda value: (unit, text)


def unix_time(units_per_s: int, unit: str) -> Meaning:
    """A time since 1970-01-01 UTC."""
    return lambda value: (unit, moment(value * 1000 // units_per_s))


def moment(unix_ms: int) -> str:
    """Unix time in milliseconds in RFC 3339; empty before 1970 and after 9999."""
    try:
        time = datetime.fromtimestamp(unix_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    thousandths = f".{unix_ms % 1000:03d}" if unix_ms % 1000 else ""
    return f"{time:%Y-%m-%dT%H:%M:%S}{thousandths}Z" if unix_ms >= 0 else ""
