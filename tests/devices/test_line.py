"""The cellular line: late, narrow, gone in places and at times, and the same for the same seed."""

import math
import random

import pytest

from devices.line import LINES, Circle, LineModel, Link, Outage, Polygon, Stretch, Whereabouts, line_named

NOW = 1_795_446_000_000


def link(model: LineModel, seed: int = 1) -> Link:
    return Link(model, random.Random(seed))


def at(driven_m: float = 0.0, latitude: float = 50.9, longitude: float = 6.9) -> Whereabouts:
    return Whereabouts(latitude, longitude, driven_m)


def test_a_perfect_line_takes_no_time_and_is_always_there():
    perfect = link(LINES["perfect"])
    assert perfect.up_at(10_000, NOW) == perfect.down_at(10, NOW) == NOW
    assert perfect.stands(NOW, at())


def test_latency_has_its_median_and_its_spread():
    slow = [link(LineModel(latency_ms=700, spread=0.6), seed).up_at(1, NOW) - NOW for seed in range(400)]
    assert sorted(slow)[200] == pytest.approx(700, rel=0.2)
    assert min(slow) < 400 < 1200 < max(slow)


def test_what_is_said_first_arrives_first_and_bytes_take_their_time():
    narrow = link(LineModel(latency_ms=100, spread=1.0, up=1_000))
    arrivals = [narrow.up_at(500, NOW) for _ in range(50)]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] - NOW >= 25_000


def test_there_is_no_line_in_holes_and_outages():
    model = LineModel().with_gaps(
        [Stretch(1000, 2000), Circle(51.0, 7.0, 300), Polygon(((52.0, 8.0), (52.1, 8.0), (52.1, 8.1), (52.0, 8.1)))],
        [Outage(10, 20)],
    )
    line = link(model)
    assert line.stands(NOW, at(999))
    assert not line.stands(NOW, at(1000))
    assert line.stands(NOW, at(2000))
    assert not line.stands(NOW, at(latitude=51.002, longitude=7.0))
    assert line.stands(NOW, at(latitude=51.004, longitude=7.0))
    assert not line.stands(NOW, at(latitude=52.05, longitude=8.05))
    assert line.stands(NOW, at(latitude=52.05, longitude=8.2))
    assert [line.stands(NOW + s * 1000, at()) for s in (9, 10, 19, 20)] == [True, False, False, True]


def test_dropouts_come_as_often_as_said_and_the_same_for_the_same_seed():
    flaky = LineModel(dropouts_per_hour=12, dropout_s=20)
    hours = [[link(flaky, seed).stands(NOW + s * 1000) for s in range(0, 100)] for seed in (1, 1)]
    assert hours[0] == hours[1]
    line = link(flaky)
    gone = sum(not line.stands(NOW + s * 1000) for s in range(3600 * 20))
    assert gone / 20 == pytest.approx(240, rel=0.35)


def test_a_cut_ends_by_itself_or_when_it_is_mended():
    line = link(LineModel())
    line.cut(NOW, 5)
    assert (line.stands(NOW), line.next_ms(NOW)) == (False, NOW + 5000)
    assert line.stands(NOW + 5000)
    line.cut(NOW + 6000)
    assert not line.stands(NOW + 10**9)
    line.mend()
    assert line.stands(NOW + 10**9)


def test_a_line_that_nobody_knows_is_one_clear_error():
    assert line_named("slow").latency_ms == 700
    with pytest.raises(ValueError, match=r"no line is called 'fast'; there are perfect, lte"):
        line_named("fast")
    assert all(math.isfinite(line.latency_ms) for line in LINES.values())
