"""The truth check: what the gateway says of a vehicle beside what the vehicle is, property by property. Zero differences pass.

A number may differ by the step of the signal that carries it, a position by one in each direction; words, dates and bools are
equal or different. Numbers are compared as they were when the unit reported last, for they move on; what has a name must be told
at once, and is compared as it is now.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from devices.terminal import Terminal
from modeldb.model import Translation
from modeldb.vocabulary import PROPERTIES

ROUNDING = 1e-9


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One property that the gateway has otherwise than it is; `gateway` is None where it has nothing."""

    unit: str
    key: str = msgspec.field(name="property")
    truth: Any
    gateway: Any
    why: str = ""

    @property
    def text(self) -> str:
        """For people."""
        said = "nothing" if self.gateway is None else repr(self.gateway)
        return f"{self.unit}: {self.key} is {self.truth!r}, and the gateway says {said}" + (f" ({self.why})" if self.why else "")


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """How much was compared, and what of it differs."""

    compared: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def different(self) -> int:
        """How many; 0 is the only pass."""
        return len(self.differences)

    def document(self) -> dict[str, int]:
        """As `--json` shows it."""
        return {"compared": self.compared, "different": self.different}

    def __add__(self, other: "Truth") -> "Truth":
        return Truth(compared=self.compared + other.compared, differences=self.differences + other.differences)


def check(terminal: Terminal, shown: Mapping[str, Any], translation: Translation | None = None) -> Truth:
    """Compare what the gateway shows of a terminal's vehicle (property to value) with the truth.

    `translation` is the one of the vehicle's right model; none: the terminal's own.
    """
    waits = bool(terminal.flash.journal)
    translation = translation or terminal.config.translation
    return compared(str(terminal.config.unit), terminal.vehicle.state(), terminal.truth_told, shown, translation, waits=waits)


def compared(
    unit: str,
    now: Mapping[str, Any],
    told: Mapping[str, Any] | None,
    shown: Mapping[str, Any],
    translation: Translation,
    *,
    waits: bool = False,
) -> Truth:
    """As `check`, from the facts: what is true `now`, what was true when the unit `told` of it last, what the gateway has.

    `waits`: something that the unit said is not acknowledged yet.
    """
    sayable = translation.translate(translation.invert(now))
    waiting = "its last report is not acknowledged" if waits else ""
    found: list[Difference] = []
    for key in sayable:
        true = now[key] if told is None or PROPERTIES[key].event is not None else told.get(key, now[key])
        if not near(shown.get(key), true, translation.resolution(key)):
            found.append(Difference(unit=unit, key=key, truth=true, gateway=shown.get(key), why=waiting))
    return Truth(compared=len(sayable), differences=tuple(found))


def near(said: Any, true: Any, step: float) -> bool:
    """Whether two values are the same within `step`."""
    if isinstance(true, Mapping):
        return isinstance(said, Mapping) and all(near(said.get(key), value, step) for key, value in true.items())
    if isinstance(true, bool) or not isinstance(true, int | float):
        return bool(said == true)
    return isinstance(said, int | float) and abs(said - true) <= step + ROUNDING


def total(parts: Iterable[Truth]) -> Truth:
    """All of them together."""
    whole = Truth()
    for part in parts:
        whole += part
    return whole
