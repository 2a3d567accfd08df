"""The page about decoding speed says what its run measured, and nothing else."""

import json
import re

import pytest

from bench.decode.page import GOALS, NIGHTS, RESULTS, page, written

DOCUMENT = json.loads(RESULTS.read_text()) if RESULTS.exists() else None
measured = pytest.mark.skipif(DOCUMENT is None, reason="nothing was measured yet: python -m bench.decode --write")


@measured
def test_page_and_chart_are_what_the_results_say():
    for path, text in written().items():
        assert path.read_text() == text, f"{path.name}: python -m bench.decode --write"


@measured
def test_every_goal_was_measured_and_stands_on_the_page():
    text = page(DOCUMENT, json.loads(NIGHTS.read_text()))
    for goal in GOALS:
        assert DOCUMENT["ratios"].get(goal.key) is not None, goal.key
        assert f"| {goal.text} |" in text


@measured
def test_every_row_of_the_run_stands_on_the_page():
    text = page(DOCUMENT, [])
    for row in DOCUMENT["rows"]:
        assert re.search(rf"^\| {re.escape(row['protocol'])} \| {re.escape(row['decoder'])} \| {row['batch']:,} \|", text, re.M)


@pytest.mark.parametrize(
    ("value", "said"), [(None, "not measured"), (39.0, "**missed**"), (40.0, "reached"), (80.0, "aim reached")]
)
def test_what_was_missed_is_said(value: float | None, said: str):
    assert GOALS[0]._replace(must=40, aim=80).verdict(value) == said


def test_where_less_is_better_more_is_missed():
    goal = next(each for each in GOALS if each.key == "single_frame_us")
    assert [goal.verdict(each) for each in (0.4, 1.0, 3.0)] == ["aim reached", "reached", "**missed**"]
