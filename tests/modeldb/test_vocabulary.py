"""The shared words: fixed names, fixed values, and where each comes from."""

import re

from modeldb.vocabulary import COMMANDS, LAMP, NAMED_KINDS, PROPERTIES, VEHICLE_TYPES

DOCUMENTED = set(
    """
    abs_status adblue_level_in_percent adblue_level_low_indicator altitude_in_meters brake_fluid_due_date
    brake_fluid_level_low_indicator brake_lining_wear_indicator brake_warning_indicator cellular_signal_quality central_lock
    driving_enabled ignition mileage_in_kilometers position remaining_range_in_kilometers
    state_of_charge_or_fuel_level_in_percent top_case_lid top_case_lock
    """.split()  # noqa: SIM905 - a list of words reads best as words
)


def test_a_property_is_found_by_its_key_and_named_by_its_capability() -> None:
    assert len(PROPERTIES) == 39
    for key, known in PROPERTIES.items():
        assert known.key == key
        assert known.capability.lower() == key
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", key)


def test_what_the_documentation_names_is_marked_so() -> None:
    assert {key for key, known in PROPERTIES.items() if known.source == "doc"} == DOCUMENTED


def test_a_lamp_may_fail() -> None:
    lamps = [known for known in PROPERTIES.values() if known.kind == "lamp"]
    assert len(lamps) == 7
    assert all(lamp.values == LAMP == ("ON", "OFF", "SENSOR_FAILURE") for lamp in lamps)


def test_named_values_have_a_change_event_and_numbers_do_not() -> None:
    assert PROPERTIES["central_lock"].event == "CentralLockChanged"
    assert PROPERTIES["driving_enabled"].event == "DrivingEnabledChanged"
    assert PROPERTIES["tire_pressure_low_indicator"].event == "TirePressureLowIndicatorChanged"
    for known in PROPERTIES.values():
        assert (known.event is not None) == (known.kind in NAMED_KINDS)


def test_numbers_have_bounds_and_a_unit_that_the_name_tells() -> None:
    units = {
        "in_percent": "%",
        "in_meters": "m",
        "in_kilometers": "km",
        "in_volts": "V",
        "in_kilopascals": "kPa",
        "in_degrees": "deg",
        "per_hour": "km/h",
    }
    for key, known in PROPERTIES.items():
        told = [unit for ending, unit in units.items() if key.endswith(ending)]
        if known.kind in ("number", "percent"):
            assert known.low < known.high
            assert told == [known.unit]


def test_values_are_judged_strictly() -> None:
    allows = {key: known.allows for key, known in PROPERTIES.items()}
    assert allows["driving_enabled"](True)
    assert not allows["driving_enabled"](1)
    assert not allows["satellites_in_use"](True)
    assert not allows["satellites_in_use"](7.5)
    assert not allows["central_lock"]("locked")
    assert allows["brake_fluid_due_date"]("2026-12-31")
    assert not allows["brake_fluid_due_date"]("2026-13-01")
    assert not allows["brake_fluid_due_date"]("20261231")
    assert allows["position"]({"lat": 50.5, "lon": 6})
    assert not allows["position"]({"lat": 50.5})
    assert not allows["mileage_in_kilometers"](float("inf"))
    assert not allows["state_of_charge_or_fuel_level_in_percent"](100.5)


def test_eleven_commands_and_what_they_change() -> None:
    assert len(COMMANDS) == 11
    assert COMMANDS["unlock-and-enable-driving"].effect == {"central_lock": "UNLOCKED", "driving_enabled": True}
    assert COMMANDS["draw-attention"].effect == {}
    for name, command in COMMANDS.items():
        assert command.name == name
        assert "DEV_KIT" in command.types
        assert set(command.types) <= set(VEHICLE_TYPES)
        assert all(PROPERTIES[key].allows(value) for key, value in command.effect.items())


def test_a_moped_has_no_central_lock_and_a_car_no_top_case() -> None:
    assert "MOPED" not in COMMANDS["lock-central-lock"].types
    assert "CAR" not in COMMANDS["lock-top-case"].types
