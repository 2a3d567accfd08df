"""Scenario files: what is wrong is named with its line, and what is shipped is right."""

from pathlib import Path

import pytest

from devices.scenario import ScenarioError, load, parse_scenario, shipped
from devices.scenario_units import seconds
from devices.scenario_when import Trigger

GOOD = """title = "a drive"
vehicle = { model = "Golf" }
steps = [
  { command = "unlock-and-enable-driving" },
  { drive = "3 km" },
]
[[expect]]
trips = 1
"""


def test_what_is_shipped_is_a_dozen_and_all_of_it_is_right():
    assert len(shipped()) >= 12
    for name, path in shipped().items():
        scenario = load(path)
        assert (scenario.name, bool(scenario.expectations)) == (name, True)


def test_the_drive_with_a_gap_takes_ten_lines():
    assert len(shipped()["gap"].read_text().splitlines()) == 10


def test_a_shipped_one_is_loaded_by_its_name_and_a_missing_one_lists_them():
    assert load(Path("gap")).title == load(shipped()["gap"]).title
    with pytest.raises(ScenarioError, match=r"shipped are .*tunnel"):
        load(Path("no-such"))


def test_a_scenario_says_who_when_and_what_must_be_true():
    scenario = parse_scenario(GOOD)
    assert [(step.verb, step.value, step.line) for step in scenario.steps] == [
        ("command", "unlock-and-enable-driving", 4),
        ("drive", 3000.0, 5),
    ]
    assert [(each.kind, each.value, each.line) for each in scenario.expectations] == [("trips", 1, 8)]
    assert scenario.groups[0].model.name == "Golf"


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("title", "titel", 1, "nothing is called 'titel' here; perhaps title"),
        ('"Golf"', '"Gulf"', 2, "has no model 'Gulf'"),
        ("model =", 'brand = "ACME", model =', 2, "no brand is called 'ACME'"),
        ('"3 km"', '"3 miles"', 5, "a distance is `3 km`"),
        ('"3 km"', '"-3 km"', 5, "a distance is `3 km`"),
        ('drive = "3 km"', 'fly = "3 km"', 5, "nothing is called 'fly'"),
        ('drive = "3 km"', 'drive = "3 km", park = true', 5, "does drive and park"),
        ('drive = "3 km"', "wait = -5", 5, "a time is not negative"),
        ('drive = "3 km"', 'wait = "soon"', 5, "a time is a number of seconds"),
        ('drive = "3 km"', 'fault = "bad_crd"', 5, "no fault is called 'bad_crd'"),
        ('drive = "3 km"', 'drive = "3 km", who = "bus"', 5, "nobody is called 'bus'"),
        ('drive = "3 km"', 'drive = "3 km", status = 200', 5, "`status` belongs to a command"),
        ('drive = "3 km"', "set = { wings = 2 }", 5, "has no wings to set"),
        ('drive = "3 km"', "set = { locked = 3 }", 5, "locked is true or false, not 3"),
        ('drive = "3 km"', "set = { energy_percent = 800 }", 5, "energy_percent is a number from 0 to 100, not 800"),
        ('drive = "3 km"', 'set = { low_battery_charge = "flat" }', 5, "low_battery_charge is a number from 0 to 1, not 'flat'"),
        ('drive = "3 km"', "", 5, "a step does one thing, one of drive"),
        ('drive = "3 km"', "open = { a = 1 }", 5, "one of front_left, front_right, rear_left, rear_right is wanted"),
        ('drive = "3 km"', "wait = 2026-01-01", 5, "a time is a number of seconds"),
        ('{ drive = "3 km" }', '"drive"', 5, "steps is a list of tables, not of 'drive'"),
        ('command = "unlock-and-enable-driving"', 'command = ["lock-central-lock"]', 4, "no command is called"),
        ("unlock-and-enable-driving", 'lock-central-lock", status = "200', 4, "status is a whole number not below 100"),
        ("model =", "count = 1e9, model =", 2, "count is a whole number"),
        ("model =", "count = 100000, model =", 2, "count is at most 10000"),
        ("model =", "start = [100.0, 7.0], model =", 2, "a start is"),
        ("model =", "start = [true, false], model =", 2, "a start is"),
        (
            "model =",
            'brand = "TELTONIKA", faults = ["reorder"], model =',
            2,
            "not for teltonika: it says nothing new",
        ),
        ('title = "a drive"', 'holes = [{ polygon = [["a","b"],["c","d"],["e","f"]] }]', 1, "a polygon is three or more"),
        ('title = "a drive"', "holes = [{ latitude = 50 }]", 1, "there is no longitude, no radius_m"),
        ('title = "a drive"', "real_time = 1", 1, "real_time is true or false"),
        ("trips = 1", 'state = { mileage_in_kilometers = "far" }', 8, "mileage_in_kilometers can never be 'far'"),
        ("trips = 1", 'event = "CentralLockChanged"\nto = "AJAR"', 9, "CentralLockChanged never says that it is 'AJAR'"),
        ("trips = 1", 'event = "TripStarted"\nat_most = true', 9, "`at_most` is a number"),
        ("trips = 1", "wonders = 1", 8, "nothing is called 'wonders'"),
        ("trips = 1", 'who = "Golf"', 7, "an expectation names one of"),
        ('drive = "3 km"', 'at = "5m", drive = "3 km" },\n  { at = "1m", park = true', 6, "is before the step before it"),
        ('drive = "3 km"', 'park = true, when = { driven = "1 mile" }', 5, "a distance is `3 km`"),
        ('drive = "3 km"', 'park = true, when = { event = "Nope" }', 5, "no event is called 'Nope'"),
        ('drive = "3 km"', 'park = true, when = { event = "TripEnded", to = "ON" }', 5, "has no `to`"),
        ('drive = "3 km"', 'park = true, when = { driven = "1 km", count = 2 }', 5, "`count` belongs to an event"),
        (
            'drive = "3 km"',
            'park = true, when = { state = { top_case_lid = "OPEN" } }',
            5,
            "not all of these vehicles have top_case_lid",
        ),
        ('drive = "3 km"', 'park = true, when = { state = { ignition = "MAYBE" } }', 5, "ignition can never be 'MAYBE'"),
        ('drive = "3 km"', 'park = true, when = { state = { mileage_in_kilometers = "lots" } }', 5, "is waited for as a number"),
        (
            'drive = "3 km"',
            'park = true, when = { driven = "1 km", event = "TripEnded" }',
            5,
            "`when` names one of event, driven, state, not event and driven",
        ),
        ('drive = "3 km"', 'park = true, when = "later"', 5, "`when` is a table"),
        ("unlock-and-enable-driving", "open-sesame", 4, "no command is called 'open-sesame'"),
        ("unlock-and-enable-driving", "lock-top-case", 4, "cannot be told to lock-top-case"),
        ("trips = 1", 'trips = "one"', 8, "a number of times is wanted"),
        ("trips = 1", 'event = "TripBegun"', 8, "no event is called 'TripBegun'"),
        ("trips = 1", 'state = { central_lock = "AJAR" }', 8, "central_lock can never be 'AJAR'"),
        ("trips = 1", 'state = { top_case_lid = "OPEN" }', 8, "none of these vehicles has top_case_lid: it never happens"),
        ("trips = 1", 'state = { colour = "red" }', 8, "no property is called 'colour'"),
        ("trips = 1", 'gap = "late and in order"', 8, "no step cuts the line: it never happens"),
        ("trips = 1", 'refused = "ugly"', 8, "one of unknown_unit"),
        ("trips = 1", 'event = "TripEnded"\ncount = 1\nat_most = 2', 9, "either `count`"),
    ],
)
def test_every_mistake_is_named_with_its_line(old: str, new: str, line: int, why: str):
    assert old in GOOD
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(GOOD.replace(old, new, 1), where="drive.toml")
    named = [each for each in str(caught.value).splitlines() if why in each]
    assert named, str(caught.value)
    assert named[0].startswith(f"drive.toml:{line}: "), named[0]


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(GOOD.replace("3 km", "far").replace("trips", "trips_").replace("Golf", "Gulf"))
    assert len(str(caught.value).splitlines()) >= 3


def test_what_is_no_toml_says_where():
    with pytest.raises(ScenarioError, match=r"^scenario:2: no TOML"):
        parse_scenario('title = "x"\nsteps = [')


@pytest.mark.parametrize(("said", "is_"), [(90, 90.0), ("2m", 120.0), ("1h30m", 5400.0), ("3d", 259_200.0), ("1.5s", 1.5)])
def test_times_are_said_as_people_do(said: object, is_: float):
    assert seconds(said) == is_


def test_lines_are_found_in_nested_tables_and_comments():
    text = """# a comment with [ and { in it
title = '''
two lines'''

[[vehicles]]   # the first
name = "one"
[[vehicles]]
name = "two"
count = 0
[[steps]]
wait = 1
[[expect]]
trips = 0
"""
    with pytest.raises(ScenarioError, match=r"^s:9: count is a whole number not below 1"):
        parse_scenario(text, where="s")


def test_a_state_that_is_waited_for_is_all_that_it_says():
    wanted = Trigger("state", {"ignition": "OFF", "speed_in_kilometers_per_hour": "< 5"})
    assert wanted.holds({"ignition": "OFF", "speed_in_kilometers_per_hour": 4.9})
    assert not wanted.holds({"ignition": "OFF", "speed_in_kilometers_per_hour": 5.0})
    assert not wanted.holds({"ignition": "ON", "speed_in_kilometers_per_hour": 0.0})
    assert not wanted.holds({"ignition": "OFF"})
