"""Every model that teleloop brings, by the same promises; a new file is tested by being there."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.sayable import is_near, raw_signals, sayable
from modeldb import load
from modeldb.check import check_unit
from modeldb.model import Translation, VehicleModel
from modeldb.vocabulary import COMMANDS, PROPERTIES

MODELS = list(load().models.values())
UNITS = [pytest.param(unit, id=f"{model.file}:{brand}") for model in MODELS for brand, unit in model.units.items()]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cloudboxx(name: str, year: int) -> Translation:
    [model] = load().find("CLOUDBOXX", name, year)
    return model.units["CLOUDBOXX"]


@pytest.mark.parametrize("unit", UNITS)
def test_every_example_holds(unit: Translation) -> None:
    assert [str(problem) for problem in check_unit(unit, "", "")] == []
    assert len(unit.examples) >= 2


@pytest.mark.parametrize("unit", UNITS)
@QUICK
@given(data=st.data())
def test_what_a_unit_says_of_a_state_means_that_state(unit: Translation, data: st.DataObject) -> None:
    state = data.draw(sayable(unit))
    found = unit.translate(unit.invert(state))
    for key, truth in state.items():
        assert is_near(found[key], truth, unit.resolution(key)), (key, truth, found[key])


@pytest.mark.parametrize("unit", UNITS)
@QUICK
@given(data=st.data())
def test_what_was_translated_once_is_said_again_exactly(unit: Translation, data: st.DataObject) -> None:
    state = unit.translate(data.draw(raw_signals(unit)))
    found = unit.translate(unit.invert(state))
    assert {key: found[key] for key in state} == state


@pytest.mark.parametrize("unit", UNITS)
@QUICK
@given(data=st.data())
def test_no_raw_value_yields_what_the_vocabulary_does_not_have(unit: Translation, data: st.DataObject) -> None:
    signals = data.draw(raw_signals(unit))
    for key, value in unit.translate(signals).items():
        assert PROPERTIES[key].allows(value), (key, value, signals)


JUNK = (
    st.none()
    | st.booleans()
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.floats()
    | st.integers()
    | st.lists(st.integers())
)


@QUICK
@given(data=st.data())
def test_senseless_signals_never_raise(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([unit for model in MODELS for unit in model.units.values()]))
    read = [name for rule in unit.rules for name in rule.signals]
    signals = data.draw(st.dictionaries(st.sampled_from([*read, "no_such_signal"]), JUNK))
    for key, value in unit.translate(signals).items():
        assert PROPERTIES[key].allows(value), (key, value)


@pytest.mark.parametrize("unit", UNITS)
def test_every_byte_of_shared_signals_can_be_said_again(unit: Translation) -> None:
    for name, signal in unit.signals.items():
        for raw in signal.codes or range(256 if signal.type == "u8" else 0):
            state = unit.translate({name: raw})
            if state:
                assert unit.translate(unit.invert(state)) == state, (name, raw)


def test_together_the_models_say_and_do_everything() -> None:
    units = [unit for model in MODELS for unit in model.units.values()]
    assert {key for unit in units for key in unit.state_keys} == set(PROPERTIES)
    assert {name for unit in units for name in unit.commands} == set(COMMANDS)


def test_the_fleet_is_mixed() -> None:
    assert {model.type for model in MODELS} == {"CAR", "VAN", "TRUCK", "MOPED", "KICK_SCOOTER", "DEV_KIT"}
    assert len(MODELS) >= 14
    assert len({model.id for model in MODELS}) == len(MODELS)


GOLF_2017: dict[str, Any] = {
    "central_lock": "LOCKED",
    "remaining_range_in_kilometers": 412,
    "ignition": "ON",
    "vehicle_key_status": "IN",
}
ZOE_2013: dict[str, Any] = {"central_lock": "LOCKED", "charging_status": "CHARGING", "remaining_range_in_kilometers": 140}
ZOE_WRONG = {"central_lock": "UNLOCKED", "charging_status": "NOT_CHARGING", "remaining_range_in_kilometers": 14.0}
TRANSIT_2015: dict[str, Any] = {"mileage_in_kilometers": 100_000.0, "central_lock": "LOCKED"}


@pytest.mark.parametrize(
    ("name", "year", "wrong_year", "truth", "wrong"),
    [
        ("Golf", 2018, 2021, GOLF_2017, {"remaining_range_in_kilometers": 41.2}),
        (
            "Zoe",
            2015,
            2021,
            ZOE_2013,
            {"central_lock": "UNLOCKED", "charging_status": "NOT_CHARGING", "remaining_range_in_kilometers": 14.0},
        ),
        ("Transit", 2016, 2022, TRANSIT_2015, {"mileage_in_kilometers": 62137.1}),
    ],
)
def test_the_wrong_year_gives_a_wrong_state(
    name: str, year: int, wrong_year: int, truth: dict[str, Any], wrong: dict[str, Any]
) -> None:
    right = cloudboxx(name, year)
    signals = right.invert(truth)
    assert right.translate(signals) | truth == right.translate(signals)
    seen = cloudboxx(name, wrong_year).translate(signals)
    assert {key: seen.get(key) for key in wrong} == wrong
    assert seen != truth


def test_two_bit_states_that_nobody_set_say_unknown() -> None:
    golf = cloudboxx("Golf", 2021)
    assert golf.invert({"central_lock": "LOCKED"}) == {"can_locks": 0b11_11_11_01}
    assert golf.invert({"brake_warning_indicator": "SENSOR_FAILURE"}) == {"lamps_safety": 0b11_11_10_11}
    assert golf.invert({"doors_status": "OPEN"}) == {"doors": 0b00_00_00_01}


def test_one_byte_that_several_rules_share_says_all_of_them() -> None:
    golf = cloudboxx("Golf", 2021)
    on = {"ignition": "ON", "vehicle_key_status": "IN", "driving_enabled": True}
    assert golf.invert(on) == {"drive_code": 0x07}
    assert golf.translate(golf.invert({"driving_enabled": True}))["driving_enabled"] is True


def test_what_no_code_can_say_keeps_what_comes_first_in_the_file() -> None:
    golf = cloudboxx("Golf", 2021)
    found = golf.translate(golf.invert({"ignition": "ON", "vehicle_key_status": "OUT"}))
    assert found["ignition"] == "ON"


@pytest.mark.parametrize(
    ("doors", "said"),
    [(0b00_00_00_00, "CLOSED"), (0b11_11_11_00, "CLOSED"), (0b10_11_01_00, "OPEN"), (0b11_11_11_11, None), (0b10_10_10_10, None)],
)
def test_doors_are_open_if_any_is_and_unknown_if_all_are(doors: int, said: str | None) -> None:
    assert cloudboxx("Golf", 2021).translate({"doors": doors}).get("doors_status") == said


def test_numbers_beyond_the_signal_become_its_end() -> None:
    golf = cloudboxx("Golf", 2018)
    assert golf.invert({"remaining_range_in_kilometers": 9_999}) == {"remaining_range": 2000}


def test_a_value_outside_the_vocabulary_is_no_state() -> None:
    golf = cloudboxx("Golf", 2018)
    for state in ({"central_lock": "AJAR"}, {"mileage_in_kilometers": float("nan")}, {"position": {"lat": 91, "lon": 0}}):
        with pytest.raises(ValueError, match="cannot be"):
            golf.invert(state)


def test_properties_that_no_rule_reports_are_passed_over() -> None:
    assert cloudboxx("unu Scooter", 2021).invert({"doors_status": "OPEN", "battery_compartment": "OPEN"}) == {
        "openings": 0b01_11_11_11
    }


def test_commands_carry_their_parameters() -> None:
    assert cloudboxx("Golf", 2018).render("unlock-central-lock").parameters == bytes.fromhex("01f4")
    assert cloudboxx("Golf", 2021).render("unlock-central-lock").parameters == b""
    with pytest.raises(KeyError):
        cloudboxx("Golf", 2021).render("unlock-top-case")


def test_a_model_is_found_by_name_and_year() -> None:
    database = load()

    def spans(name: str, year: int | None = None) -> list[int]:
        return [model.start_of_production.year for model in database.find("CLOUDBOXX", name, year)]

    assert spans("golf") == spans(" volkswagen  GOLF ") == [2017, 2020]
    assert spans("Golf", 2019) == [2017]
    assert spans("Golf", 2020) == spans("Golf", 2099) == [2020]
    assert spans("Zoe", 2019) == [2013, 2019], "built in both: only a person can tell"
    assert spans("Golf", 2016) == spans("Trabant") == []
    assert database.find("NO_SUCH_BRAND", "Golf") == []


def test_production_ends_with_its_last_year() -> None:
    [unu] = load().find("CLOUDBOXX", "unu Scooter")
    assert isinstance(unu, VehicleModel)
    assert [unu.built_in(year) for year in (2019, 2020, 2023, 2024)] == [False, True, True, False]
