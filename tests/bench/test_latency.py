"""Latencies keep three digits over the whole range, and objectives compare what they say."""

import numpy as np
import pytest

from bench.latency import Histogram
from bench.objectives import METRICS, ObjectiveError, parse_objective


@pytest.mark.parametrize("scale_ms", [0.01, 1.0, 37.0, 60_000.0])
def test_percentiles_are_right_to_a_tenth_of_a_percent(scale_ms: float) -> None:
    values = np.random.default_rng(1).exponential(scale_ms, 50_000)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.record(part)
    ordered = np.sort(values)
    for percent in (50, 95, 99, 99.9):
        exact = ordered[int(np.ceil(len(values) * percent / 100)) - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.001, abs=0.001)
    assert histogram.percentiles().max == pytest.approx(values.max(), rel=1e-4, abs=0.001)


def test_two_histograms_are_one() -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    one.record([1, 2, 3])
    other.record([4000.5])
    both.record([1, 2, 3, 4000.5])
    one.add(other)
    assert (one.percentiles(), one.count) == (both.percentiles(), both.count)


def test_nothing_and_nonsense() -> None:
    histogram = Histogram()
    assert histogram.percentiles().p99 is None
    histogram.record([])
    histogram.record([-5.0, 1e15])
    assert histogram.count == 2
    assert histogram.percentile(1) == 0


@pytest.mark.parametrize(
    ("said", "value", "ok"),
    [
        ("event_p99<200ms", 199.9, True),
        ("event_p99<0.2s", 200.0, False),
        ("lost==0", 0.0, True),
        ("lost == 0", 1.0, False),
        ("events_per_s>=4000/s", 4000.0, True),
        ("generator_cpu<=90%", 91.0, False),
        ("state_max != 5 us", 0.005, False),
    ],
)
def test_an_objective_compares_in_the_metrics_own_unit(said: str, value: float, ok: bool) -> None:
    objective = parse_objective(said)
    assert objective.judge({objective.metric: value}).ok is ok


def test_what_was_not_measured_is_not_reached() -> None:
    for said in ("command_p99<1s", "command_p99>0ms", "command_p99!=7ms"):
        verdict = parse_objective(said).judge({"command_p99": None})
        assert (verdict.ok, verdict.value) == (False, None)


@pytest.mark.parametrize("said", ["", "event_p99", "p99<1ms", "event_p99<200kg", "lost==0ms", "lost=0", "event_p99<fast"])
def test_what_is_no_objective_lists_what_is_known(said: str) -> None:
    with pytest.raises(ObjectiveError, match=r"known are|there are"):
        parse_objective(said)


def test_every_metric_can_be_asked_for() -> None:
    for metric in METRICS:
        unit = next(iter(METRICS[metric]))
        assert parse_objective(f"{metric}>=0{unit}").metric == metric
