"""What is offered when: stages are understood or refused, and the schedule says each frame once, when it is due."""

from pathlib import Path

import numpy as np
import pytest

from bench.load_cli import plan_of
from bench.stages import Schedule, Stage, StageError, duration_s, parse_stage, read_plan


def moments(schedule: Schedule, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    when, who, at = [], [], 0.0
    while at < schedule.duration_s:
        until = min(at + step_s, schedule.duration_s)
        some, theirs = schedule.take(until, at)
        when.append(some)
        who.append(theirs)
        at = until
    return np.concatenate(when), np.concatenate(who)


@pytest.mark.parametrize("step_s", [0.004, 0.1, 0.37, 2.5, 100.0])
def test_however_it_is_asked_the_schedule_says_the_same_frames(step_s: float) -> None:
    stages = [parse_stage(each) for each in ("ramp 2s 0..100", "hold 3s 100", "spike 1s 300", "soak 2s 50")]
    when, _ = moments(Schedule(stages, 10, 100), step_s)
    assert len(when) == 800
    assert np.histogram(when, bins=8, range=(0, 8))[0].tolist() == pytest.approx([25, 75, 100, 100, 100, 300, 50, 50], abs=1)
    assert (np.diff(when) >= -1e-9).all()
    assert np.diff(when[(when > 2.1) & (when < 4.9)]) == pytest.approx(0.01)


def test_a_slow_rate_is_not_rounded_away() -> None:
    when, _ = moments(Schedule([parse_stage("hold 100s 0.05")], 1, 1), 0.004)
    assert when.tolist() == pytest.approx([20, 40, 60, 80, 100])


def test_units_speak_in_turn_and_only_those_that_are_in_the_stage() -> None:
    _, who = moments(Schedule([parse_stage("hold 4s 100")], 7, 100), 0.05)
    assert np.ptp(np.bincount(who, minlength=7)) <= 1
    schedule = Schedule([parse_stage("hold 2s 3 units")], 30, 300)
    when, who = moments(schedule, 0.05)
    assert set(who.tolist()) == {0, 1, 2}
    assert len(when) == 60
    grown = Schedule([parse_stage("ramp 10s 0..30 units"), parse_stage("hold 5s")], 30, 300)
    assert (grown.units_at(5.0), grown.units_at(12.0)) == (15, 30)
    assert grown.rate_at(5.0) == pytest.approx(150)


def test_a_storm_comes_at_the_start_of_its_stage() -> None:
    schedule = Schedule([parse_stage("hold 5s 10"), parse_stage("storm 3s 10"), parse_stage("storm 2s 10")], 4, 10)
    assert schedule.storms == [5.0, 8.0]
    assert schedule.peak_rate == 10


@pytest.mark.parametrize(
    "said",
    ["", "hold", "hold 3", "hold 3s x", "ramp 3s", "jump 3s 5", "hold 0s 5", "hold 3s 5 cats", "hold 3s 5/s units", "hold -3s 5"],
)
def test_what_is_no_stage_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(StageError, match=r"30s|0\.\.500"):
        parse_stage(said)


def test_a_stage_says_itself_again() -> None:
    for said in ("ramp 30s 0..500", "hold 1.5m 20", "spike 500ms 9", "ramp 2h 1..7 units", "soak 3s"):
        stage = parse_stage(said)
        assert parse_stage(stage.text.replace("/s", "")) == stage
    assert duration_s("1.5m") == 90


def test_a_plan_file_says_what_flags_say(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'units = 7\nrate = 20\nlean = true\nobjectives = ["lost==0", "event_p99<1s"]\n'
        '[[stage]]\nkind = "ramp"\nfor = "2s"\nfrom = 0\nto = 20\n[[stage]]\nkind = "hold"\nfor = "3s"\nunits = 3\n'
    )
    plan, objectives = plan_of(read_plan(path))
    assert (plan.units, plan.rate, plan.lean) == (7, 20.0, True)
    assert plan.stages == (
        Stage(kind="ramp", duration_s=2, rate_from=0, rate_to=20),
        Stage(kind="hold", duration_s=3, units_from=3, units_to=3),
    )
    assert [(each.metric, each.limit) for each in objectives] == [("lost", 0.0), ("event_p99", 1000.0), ("different", 0.0)]


@pytest.mark.parametrize("text", ["units = ", '[[stage]]\nkind = "ramp"', '[[stage]]\nkind = "hold"\nfor = "3s"\nspeed = 3'])
def test_a_plan_file_that_is_wrong_says_where(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(StageError, match=r"plan\.toml|stage 1"):
        plan_of(read_plan(path))
