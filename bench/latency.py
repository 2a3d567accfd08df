"""Latencies with high dynamic range: three significant digits from a microsecond to twelve days, in 300 KiB, however many.

The layout is that of Gil Tene's HdrHistogram (log-linear): 2,048 exact microseconds, then 1,024 buckets for each doubling.
Latencies are counted from the moment at which something was meant to happen, so that a stalled run shows its stall
("coordinated omission").
"""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

LINEAR = 2_048
STEPS = LINEAR // 2
DOUBLINGS = 30
LIMIT_US = (1 << (11 + DOUBLINGS)) - 1


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """In milliseconds; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class Histogram:
    """Counts latencies. `record` takes milliseconds, one or many; what is below zero (two clocks) counts as zero."""

    def __init__(self) -> None:
        self._counts = np.zeros(LINEAR + DOUBLINGS * STEPS, dtype=np.int64)
        self.count = 0
        self.max_ms = 0.0

    def record(self, milliseconds: float | Iterable[float] | NDArray[np.float64]) -> None:
        """Take these in."""
        values = np.atleast_1d(np.asarray(milliseconds, dtype=np.float64))
        if not len(values):
            return
        microseconds = np.clip(np.rint(values * 1000), 0, LIMIT_US).astype(np.int64)
        np.add.at(self._counts, _places(microseconds), 1)
        self.count += len(values)
        self.max_ms = max(self.max_ms, float(values.max()), 0.0)

    def add(self, other: "Histogram") -> None:
        """Take in all of another."""
        self._counts += other._counts
        self.count += other.count
        self.max_ms = max(self.max_ms, other.max_ms)

    def percentile(self, percent: float) -> float | None:
        """The latency in ms that `percent` of all do not exceed; None if there are none."""
        if not self.count:
            return None
        wanted = max(1, int(np.ceil(self.count * percent / 100)))
        place = int(np.searchsorted(np.cumsum(self._counts), wanted))
        return min(_highest(place) / 1000, self.max_ms)

    def percentiles(self) -> Percentiles:
        """The usual ones."""
        if not self.count:
            return Percentiles()
        p50, p95, p99 = (_shown(self.percentile(each)) for each in (50, 95, 99))
        return Percentiles(p50=p50, p95=p95, p99=p99, max=_shown(self.max_ms))

    def curve(self) -> list[tuple[float, float]]:
        """(percent, ms) from the median to the last nines, for a chart."""
        points = (0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100)
        return [(each, self.percentile(each) or 0.0) for each in points] if self.count else []


def _places(microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    doubling = np.maximum(np.frexp(microseconds.astype(np.float64))[1] - 11, 0)
    within = microseconds >> doubling
    return np.where(doubling == 0, microseconds, LINEAR + (doubling - 1) * STEPS + within - STEPS).astype(np.int64)


def _highest(place: int) -> int:
    """The largest number of microseconds that falls into a bucket."""
    if place < LINEAR:
        return place
    doubling, step = divmod(place - LINEAR, STEPS)
    return ((step + STEPS + 1) << (doubling + 1)) - 1


def _shown(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
