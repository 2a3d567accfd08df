"""What a run has to reach: `event_p99<200ms`, `lost==0`, `events_per_s>=4000`. Pure."""

import operator
import re
from collections.abc import Callable, Mapping

import msgspec

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
COUNT = {"": 1.0}
PER_SECOND = {"": 1.0, "/s": 1.0}
PERCENT = {"": 1.0, "%": 1.0}
MEBIBYTES = {"": 1.0, "MiB": 1.0, "GiB": 1024.0}

METRICS: Mapping[str, Mapping[str, float]] = {
    **{f"{of}_{at}": MILLISECONDS for of in ("event", "state", "command") for at in ("p50", "p95", "p99", "max")},
    **dict.fromkeys(("attempted", "acknowledged", "observed", "lost", "duplicated", "unexpected", "recovered"), COUNT),
    **dict.fromkeys(("missing", "refused", "commands_failed", "different", "late_connects"), COUNT),
    **dict.fromkeys(("frames_per_s", "events_per_s", "commands_per_s", "connects_per_s"), PER_SECOND),
    "generator_cpu": PERCENT,
    "generator_rss": MEBIBYTES,
    "schedule_lag_p99": MILLISECONDS,
    "schedule_lag_max": MILLISECONDS,
}
"""Each metric, and the units that a number of it may have."""

_TEXT = re.compile(r"\s*([a-z_0-9]+)\s*(<=|>=|==|!=|<|>)\s*([-+]?\d+(?:\.\d+)?)\s*([A-Za-z%/]*)\s*")


class ObjectiveError(ValueError):
    """An objective is not understood; the message lists what is known."""


class Verdict(msgspec.Struct, frozen=True):
    """What came of an objective. `value` is None where nothing was measured: then it is not reached."""

    text: str
    ok: bool
    value: float | None


class Objective(msgspec.Struct, frozen=True):
    """`metric` compared with `limit`, which is in the metric's own unit (ms, %, MiB, per second, or a count)."""

    text: str
    metric: str
    comparison: str
    limit: float

    def judge(self, values: Mapping[str, float | None]) -> Verdict:
        """Whether the run has reached it."""
        value = values.get(self.metric)
        return Verdict(self.text, value is not None and COMPARISONS[self.comparison](value, self.limit), value)


def parse_objective(said: str) -> Objective:
    """Raises ObjectiveError."""
    match = _TEXT.fullmatch(said)
    if match is None:
        raise ObjectiveError(f"an objective is METRIC<NUMBER, as in event_p99<200ms or lost==0, not {said!r}; {_known()}")
    metric, comparison, number, unit = match.groups()
    if metric not in METRICS:
        raise ObjectiveError(f"{metric!r} is no metric; {_known()}")
    units = METRICS[metric]
    if unit not in units:
        shown = ", ".join(each or "none" for each in units)
        raise ObjectiveError(f"{unit or 'no unit'!r} is no unit of {metric}; there are {shown}")
    return Objective(said.strip(), metric, comparison, float(number) * units[unit])


def _known() -> str:
    return "known are " + ", ".join(METRICS)
