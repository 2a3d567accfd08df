"""The physical truth: what commands do to it, and that it lives a plausible, repeatable life."""

import math
from itertools import pairwise
from typing import Any

import pytest

from devices.life import moving, shared
from devices.vehicle import Vehicle
from lab.firmware import DEV_KIT, MODELS, UNIT
from modeldb.model import VehicleModel
from modeldb.vocabulary import COMMANDS, PROPERTIES

HOUR_S = 3600


def vehicle(model: VehicleModel = DEV_KIT, **how: Any) -> Vehicle:
    return Vehicle.of(model, UNIT.brand, **{"seed": 1, **how})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_effect_that_the_vocabulary_tells(name: str) -> None:
    ours = vehicle()
    if name.startswith(("lock", "disable")):  # it starts locked and disabled: the contrary is what these can change
        ours.locked, ours.driving_enabled, ours.top_case_locked = False, True, False
    assert ours.execute(name) is None
    state = ours.state()
    assert {key: state[key] for key in COMMANDS[name].effect} == dict(COMMANDS[name].effect)
    assert ours.executed == {name: 1}


@pytest.mark.parametrize(
    ("name", "circumstances", "reason"),
    [
        ("lock-central-lock", {"ignition": True}, "ignition_on"),
        ("lock-central-lock", {"doors_open": {"rear_left"}}, "door_open"),
        ("lock-and-disable-driving", {"ignition": True}, "ignition_on"),
        ("lock-and-disable-driving", {"doors_open": {"front_left"}}, "door_open"),
        ("lock-and-disable-driving", {"fob_in_holder": False}, "key_missing"),
        ("unlock-central-lock", {"ignition": True}, "ignition_on"),
        ("unlock-central-lock", {"speed_kmh": 30.0}, "in_motion"),
        ("unlock-and-enable-driving", {"speed_kmh": 0.5}, "in_motion"),
        ("disable-driving", {"speed_kmh": 30.0}, "in_motion"),
        ("unlock-top-case", {"speed_kmh": 30.0}, "in_motion"),
        ("lock-top-case", {"top_case_open": True}, "door_open"),
        ("unlock-battery-compartment", {"ignition": True}, "ignition_on"),
    ],
)
def test_a_refused_command_names_its_reason_and_changes_nothing(name: str, circumstances: dict[str, Any], reason: str) -> None:
    ours = vehicle()
    for attribute, value in circumstances.items():
        setattr(ours, attribute, value)
    before = ours.state()
    assert ours.execute(name) == reason
    assert ours.state() == before
    assert not ours.executed


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.file)
def test_what_a_model_is_not_fitted_for_is_refused(model: VehicleModel) -> None:
    for name in COMMANDS.keys() - model.units[UNIT.brand].commands:
        assert vehicle(model).execute(name) == "not_fitted"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.file)
def test_in_an_hour_of_life_every_value_stays_within_the_vocabulary(model: VehicleModel) -> None:
    ours = vehicle(model, life=moving)
    keys = set(model.units[UNIT.brand].state_keys)
    for _ in range(HOUR_S // 20):
        ours.step(20)
        state = ours.state()
        assert set(state) == keys
        assert all(PROPERTIES[key].allows(value) for key, value in state.items())


def test_a_life_drives_and_parks_and_locks_again_and_again() -> None:
    ours, began, locked = vehicle(life=moving), 0, 0
    was_on = False
    for _ in range(2 * HOUR_S):
        ours.step(1)
        began += ours.ignition and not was_on
        locked += ours.locked and not ours.ignition
        was_on = ours.ignition
        assert not (ours.in_motion and ours.locked)
    assert began >= 3
    assert locked > 100


def test_the_same_seed_lives_the_same_life() -> None:
    one, same, other = (vehicle(seed=seed, life=moving) for seed in (7, 7, 8))
    for each in (one, same, other):
        each.step(HOUR_S)
    assert one.state() == same.state()
    assert one.state() != other.state()


def test_position_odometer_speed_and_heading_tell_of_the_same_motion() -> None:
    ours = vehicle()
    ours.ignition = ours.driving_enabled = True
    ours.parking_brake = False
    ours.target_speed_kmh = 50.0
    states = []
    for _ in range(600):
        ours.step(1)
        states.append(ours.state())
    for before, after in pairwise(states):
        east = (after["position"]["lon"] - before["position"]["lon"]) * math.cos(math.radians(after["position"]["lat"]))
        north = after["position"]["lat"] - before["position"]["lat"]
        driven_m = math.hypot(east, north) * 111_195
        assert driven_m == pytest.approx((after["mileage_in_kilometers"] - before["mileage_in_kilometers"]) * 1000, abs=0.3)
        if after["heading_in_degrees"] == before["heading_in_degrees"] and driven_m > 1:
            course = math.degrees(math.atan2(east, north)) % 360
            assert math.cos(math.radians(course - after["heading_in_degrees"])) > 0.99
    assert states[-1]["speed_in_kilometers_per_hour"] == 50.0
    assert states[-1]["state_of_charge_or_fuel_level_in_percent"] < states[0]["state_of_charge_or_fuel_level_in_percent"]


def test_the_route_is_a_closed_loop() -> None:
    route = vehicle().route
    start, end = route.at(0), route.at(route.length_m * (1 - 1e-12))
    assert (end.latitude, end.longitude) == pytest.approx((start.latitude, start.longitude), abs=1e-7)
    assert math.cos(math.radians(end.heading - start.heading)) == pytest.approx(1.0)


def test_charging_fills_the_battery_and_stops_by_itself() -> None:
    ours = vehicle(seed=3, life=moving)
    ours.energy_percent = 20.0
    charged = False
    for _ in range(4 * HOUR_S):
        ours.step(1)
        charged |= ours.charging
        if charged and not ours.charging:
            break
    assert charged
    assert ours.energy_percent == pytest.approx(100.0, abs=1.0)


def test_a_shared_vehicle_with_the_smallest_battery_starts_for_a_week() -> None:
    scooter = vehicle(kind_of("KICK_SCOOTER"), life=shared)
    for hour in range(7 * 24):
        scooter.advance(hour * HOUR_S * 1000)
        assert scooter.can_start


def kind_of(kind: str) -> VehicleModel:
    return next(model for model in MODELS if model.type == kind)
