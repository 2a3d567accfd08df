"""What is offered when: a load as stages, and from them the moment of each frame. Pure.

    ramp 30s 0..500          the fleet's frames per second, from one number to another
    hold 60s 500             as many for as long
    spike 10s 2000           the same, by another name: charts show it
    soak 8h 200              the same, for long
    storm 20s 500            at its start every unit loses its line and comes back; frames go on at that rate
    ramp 30s 0..500 units    how many units report, each at its own pace

The same in TOML: `[[stage]]` with `kind`, `for`, and `rate` or `from` and `to` (or `units`, `units_from`, `units_to`).
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

Kind = Literal["ramp", "hold", "spike", "storm", "soak"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS_OF_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?(?:/s)?")


class StageError(ValueError):
    """A stage is not understood; the message is for the user."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the run: the fleet's frames per second and the units that report go from `*_from` to `*_to`, evenly.

    None where it stays as it was: the rate of the stage before, all units.
    """

    kind: Kind
    duration_s: float
    rate_from: float | None = None
    rate_to: float | None = None
    units_from: int | None = None
    units_to: int | None = None

    @property
    def text(self) -> str:
        """As it can be said on the command line."""
        said = f"{self.kind} {self.duration_s:g}s"
        if self.units_to is not None:
            return f"{said} {_span(self.units_from, self.units_to)} units"
        return said if self.rate_to is None else f"{said} {_span(self.rate_from, self.rate_to)}/s"


def _span(start: float | None, end: float) -> str:
    return f"{end:g}" if start is None or start == end else f"{start:g}..{end:g}"


def duration_s(said: str) -> float:
    """`90s`, `10m`, `1.5h`, `500ms` in seconds. Raises StageError."""
    match = _DURATION.fullmatch(said.strip())
    if match is None or float(match[1]) == 0:
        raise StageError(f"a time is wanted as 30s, 10m, 8h or 500ms, not {said!r}")
    return float(match[1]) * UNITS_OF_TIME[match[2]]


def parse_stage(said: str) -> Stage:
    """A stage as said on the command line. Raises StageError."""
    words = said.split()
    units = len(words) == 4 and words[3] == "units"
    if not 2 <= len(words) - units <= 3 or words[0] not in KINDS:
        known = ", ".join(KINDS)
        raise StageError(f"a stage is KIND TIME [FRAMES_PER_S or N units], as in `ramp 30s 0..500` ({known}), not {said!r}")
    kind, lasts = words[0], duration_s(words[1])
    if len(words) == 2:
        if kind == "ramp":
            raise StageError(f"a ramp goes from one number to another, as in `ramp 30s 0..500`, not {said!r}")
        return Stage(kind=kind, duration_s=lasts)
    match = _RANGE.fullmatch(words[2])
    if match is None or (units and words[2].endswith("/s")):
        raise StageError(f"{words[2]!r} in {said!r} is no number and no range such as 0..500")
    start, end = float(match[1]), float(match[2] or match[1])
    if units:
        return Stage(kind=kind, duration_s=lasts, units_from=int(start), units_to=int(end))
    return Stage(kind=kind, duration_s=lasts, rate_from=start, rate_to=end)


def read_plan(path: Path) -> Mapping[str, Any]:
    """A TOML file of a load: the flags' names as keys, and `[[stage]]`. Raises StageError."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StageError(f"{path}: {error}") from error


def stages_of(tables: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """The stages of a TOML file. Raises StageError."""
    return [_stage_of(table, place) for place, table in enumerate(tables, 1)]


def _stage_of(table: Mapping[str, Any], place: int) -> Stage:
    known = {"kind", "for", "rate", "from", "to", "units", "units_from", "units_to"}
    if unknown := sorted(set(table) - known):
        raise StageError(f"stage {place}: {', '.join(unknown)} is not known; there are {', '.join(sorted(known))}")
    if table.get("kind") not in KINDS or not isinstance(table.get("for"), str):
        raise StageError(f"stage {place}: kind (one of {', '.join(KINDS)}) and for (such as 30s) are wanted")
    for name in known - {"kind", "for"}:
        if name in table and (isinstance(table[name], bool) or not isinstance(table[name], int | float) or table[name] < 0):
            raise StageError(f"stage {place}: {name} is wanted as a number, not {table[name]!r}")
    rate_to = table.get("to", table.get("rate"))
    units_to = table.get("units_to", table.get("units"))
    return Stage(
        kind=table["kind"],
        duration_s=duration_s(table["for"]),
        rate_from=table.get("from", rate_to),
        rate_to=rate_to,
        units_from=None if units_to is None else int(table.get("units_from", units_to)),
        units_to=None if units_to is None else int(units_to),
    )


class Schedule:
    """The moments of all frames of a run, in seconds from its start, and who says each. Open loop: nothing waits."""

    def __init__(self, stages: Sequence[Stage], units: int, rate: float) -> None:
        self.stages, self.units = list(stages), units
        self._spans: list[tuple[float, float, float, float]] = []
        at, last_units = 0.0, units
        pace = rate / units
        for stage in stages:
            first_units = last_units if stage.units_from is None else min(stage.units_from, units)
            last_units = last_units if stage.units_to is None else min(stage.units_to, units)
            first, last = (rate, rate) if stage.rate_to is None else (stage.rate_from or 0.0, stage.rate_to)
            if stage.units_to is not None:
                first, last = pace * first_units, pace * last_units
            self._spans.append((at, at + stage.duration_s, first, last))
            at += stage.duration_s
        self.duration_s = at
        self._active = self._unit_spans(stages, units)
        self._turn = 0
        self._carry = 0.0

    @staticmethod
    def _unit_spans(stages: Sequence[Stage], units: int) -> list[tuple[int, int]]:
        spans, now = [], units
        for stage in stages:
            first = now if stage.units_from is None else min(stage.units_from, units)
            now = now if stage.units_to is None else min(stage.units_to, units)
            spans.append((first, now))
        return spans

    @property
    def peak_rate(self) -> float:
        """The most frames per second."""
        return max(max(span[2], span[3]) for span in self._spans)

    @property
    def storms(self) -> list[float]:
        """When all units lose their lines."""
        return [span[0] for span, stage in zip(self._spans, self.stages, strict=True) if stage.kind == "storm"]

    def stage_at(self, at_s: float) -> int:
        """Which stage it is then."""
        return next((place for place, span in enumerate(self._spans) if at_s < span[1]), len(self._spans) - 1)

    def rate_at(self, at_s: float) -> float:
        """Frames per second that are offered then."""
        start, end, first, last = self._spans[self.stage_at(at_s)]
        return first + (last - first) * min(1.0, max(0.0, (at_s - start) / (end - start)))

    def units_at(self, at_s: float) -> int:
        """How many units report then."""
        place = self.stage_at(at_s)
        start, end = self._spans[place][:2]
        first, last = self._active[place]
        return max(1, round(first + (last - first) * min(1.0, max(0.0, (at_s - start) / (end - start)))))

    def take(self, until_s: float, since_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The moments in [since, until) and the place of the unit that says each; to be asked stretch by stretch, in order."""
        moments = [self._within(max(since_s, span[0]), min(until_s, span[1]), span) for span in self._spans]
        when = np.concatenate([each for each in moments if each is not None] or [np.empty(0)])
        if not len(when):
            return when, np.empty(0, dtype=np.int64)
        active = self.units_at(since_s)
        who = (self._turn + np.arange(len(when))) % active
        self._turn = int(who[-1]) + 1
        return when, who

    def _within(self, start: float, end: float, span: tuple[float, float, float, float]) -> NDArray[np.float64] | None:
        """Where the integral of the rate passes whole numbers: evenly spaced under a constant rate."""
        if end <= start:
            return None
        slope = (span[3] - span[2]) / (span[1] - span[0])
        first = span[2] + slope * (start - span[0])
        due = first * (end - start) + slope * (end - start) ** 2 / 2
        count = int(np.floor(self._carry + due + 1e-9))
        wanted = np.arange(1, count + 1) - self._carry
        self._carry = self._carry + due - count
        if abs(slope) < 1e-12:
            return np.asarray(start + wanted / first if first else np.empty(0), dtype=np.float64)
        inside = np.maximum(first * first + 2 * slope * wanted, 0.0)
        found: NDArray[np.float64] = start + (np.sqrt(inside) - first) / slope
        return np.clip(found, start, end)
