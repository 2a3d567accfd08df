"""The equations of motion, energy and warmth against what paper says of them; a fleet's columns against the equations."""

import math
import random
from typing import Any

import numpy as np
import pytest

from devices import physics
from devices.build import Build, build_of
from devices.columns import Columns
from devices.physics import P, S
from devices.route import Point, Way
from devices.vehicle import Vehicle
from lab.firmware import DEV_KIT, MODELS, UNIT

BRAND = UNIT.brand


def on_the_road(**how: Any) -> Vehicle:
    """A vehicle whose driver asks for all that may be asked for."""
    vehicle = Vehicle.of(DEV_KIT, BRAND, seed=4, **how)
    vehicle.ignition = vehicle.driving_enabled = True
    vehicle.parking_brake = False
    vehicle.target_speed_kmh = 500.0
    return vehicle


def test_top_speed_is_where_power_equals_road_load() -> None:
    build = Build(
        mass_kg=1500, drag_area_m2=0.7, rolling=0.012, power_kw=60, top_speed_kmh=400, energy_kwh=400, efficiency=0.3,
        idle_kw=0.0, warm_celsius=90,
    )  # fmt: skip
    vehicle = Vehicle(properties=DEV_KIT.units[BRAND].state_keys, commands=(), build=build)
    vehicle.ignition, vehicle.driving_enabled, vehicle.target_speed_kmh = True, True, 500.0
    vehicle.step(300)
    speed = vehicle.speed_kmh / 3.6
    assert speed * (1500 * 9.81 * 0.012 + 0.5 * 1.2041 * 0.7 * speed**2) == pytest.approx(60_000, rel=0.01)


def test_a_steep_slope_is_climbed_at_the_speed_that_the_power_allows() -> None:
    build = build_of("MOPED", True)
    climb = Way([Point(50.0, 7.0, 0.0), Point(50.02, 7.0, 311.35)], limits_kmh=[50.0])
    vehicle = Vehicle(properties=DEV_KIT.units[BRAND].state_keys, commands=(), build=build, route=climb)
    vehicle.ignition, vehicle.driving_enabled, vehicle.target_speed_kmh = True, True, 50.0
    vehicle.step(120)
    speed = vehicle.speed_kmh / 3.6
    weight = 200 * 9.81 / math.hypot(1, 0.14)
    assert vehicle.speed_kmh < 44
    assert speed * (weight * (0.015 + 0.14) + 0.5 * 1.2041 * 0.55 * speed**2) == pytest.approx(4_000, rel=0.02)


def test_energy_at_a_steady_speed_is_force_times_way_over_efficiency() -> None:
    vehicle = on_the_road()
    vehicle.target_speed_kmh = 72.0
    vehicle.step(60)
    before, driven = vehicle.energy_percent, vehicle.distance_m
    vehicle.step(600)
    driven = vehicle.distance_m - driven
    build = vehicle.build
    force = build.mass_kg * 9.81 * build.rolling + 0.5 * 1.2041 * build.drag_area_m2 * 20**2
    kwh = force * driven / 3.6e6 / build.efficiency + build.idle_kw / 6
    assert driven == pytest.approx(12_000)
    assert (before - vehicle.energy_percent) / 100 * build.energy_kwh == pytest.approx(kwh, rel=1e-6)


def test_braking_gives_back_what_the_vehicle_can_take_back() -> None:
    vehicle = on_the_road()
    vehicle.target_speed_kmh = 90.0
    vehicle.step(60)
    before = vehicle.energy_percent
    vehicle.target_speed_kmh = 0.0
    vehicle.step(15)
    assert vehicle.speed_kmh == 0
    assert vehicle.energy_percent > before


@pytest.mark.parametrize("dt_s", [1.0, 30.0, 600.0])
def test_charging_is_linear_then_falls_off_however_time_is_cut(dt_s: float) -> None:
    rate = 1 / 3600
    level, seen = 0.2, [0.2]
    for _ in range(round(7200 / dt_s)):
        level = physics.charged(level, rate, dt_s)
        seen.append(level)
    assert physics.charged(0.2, rate, 1800) == pytest.approx(0.7)
    assert level == pytest.approx(physics.charged(0.2, rate, 7200), abs=1e-9)
    gains = np.diff(seen)
    assert (gains[1:] <= gains[:-1] + 1e-12).all()
    assert physics.charged(0.2, rate, 1e6) == 1.0


def test_the_low_battery_drains_parked_faster_with_lamps_on_and_comes_back() -> None:
    parked, lit = on_the_road(), on_the_road()
    for each in (parked, lit):
        each.ignition = each.driving_enabled = False
        each.low_battery_charge = 1.0
    lit.headlights = True
    for each in (parked, lit):
        each.step(7 * 3600)
    assert parked.low_battery_charge > 0.99
    assert lit.low_battery_charge == 0.0
    assert lit.supply_voltage < 8.0 < 12.0 < parked.supply_voltage
    lit.ignition, lit.target_speed_kmh = True, 0.0
    lit.step(3600)
    assert lit.low_battery_charge > 0.7
    assert lit.supply_voltage > 13.0


def test_driving_warms_motor_and_tyres_and_a_nail_lets_air_out() -> None:
    vehicle = on_the_road()
    vehicle.outside_celsius = vehicle.motor_celsius = 10.0
    vehicle.tire_pressure_kpa["rear_left"] = 230.0
    assert vehicle.tire_pressure_kpa["rear_left"] == pytest.approx(230.0)
    vehicle.target_speed_kmh = 100.0
    vehicle.step(3600)
    assert vehicle.motor_celsius == pytest.approx(vehicle.build.warm_celsius, abs=1.0)
    assert vehicle.tire_pressure_kpa["rear_left"] == pytest.approx(331.3 * (283.15 + 25) / 283.15 - 101.3, rel=0.01)
    assert not vehicle.has_flat_tire
    vehicle.leak("rear_left", 90.0)
    vehicle.step(3600)
    assert vehicle.lamp("tire_pressure_low_indicator") == "ON"


def test_a_leg_is_entered_no_faster_than_it_allows_and_a_stop_is_kept() -> None:
    way = Way([Point(50.0, 7.0), Point(50.01, 7.0), Point(50.02, 7.0)], limits_kmh=[70.0, 30.0], stops={1: 20.0})
    vehicle = on_the_road(route=way)
    seconds = stood = 0
    while not vehicle.arrived:
        vehicle.step(1)
        seconds += 1
        stood += vehicle.speed_kmh == 0
        assert vehicle.speed_kmh <= (70.0 if vehicle.distance_m <= way.length_m / 2 else 30.0) + 1e-9
        assert seconds < 600
    assert 20 <= stood <= 24
    assert vehicle.distance_m == pytest.approx(way.length_m, abs=1e-6)
    vehicle.step(60)
    assert vehicle.distance_m == pytest.approx(way.length_m, abs=1e-6)


@pytest.mark.parametrize("cut_s", [0.1, 0.37, 1.0, 2.5, 60.0])
def test_a_trip_is_the_same_however_time_is_cut_within_one_percent(cut_s: float) -> None:
    rng = random.Random(11)
    points = [Point(50.0 + 0.004 * place, 7.0 + rng.uniform(-0.002, 0.002), rng.uniform(40, 60)) for place in range(20)]
    limits = [rng.choice((30.0, 50.0, 70.0)) for _ in points[1:]]
    ends = []
    for cut in (1.0, cut_s):
        vehicle = on_the_road(route=Way(points, limits_kmh=limits))
        vehicle.energy_percent = 90.0
        for _ in range(round(420 / cut)):
            vehicle.step(cut)
        ends.append((vehicle.distance_m, 90.0 - vehicle.energy_percent))
    assert ends[0] == pytest.approx(ends[1], rel=0.01)


def fleet(seed: int, columns: Columns | None) -> list[Vehicle]:
    rng = random.Random(seed)
    made = []
    for place in range(60):
        model = MODELS[place % len(MODELS)]
        points = [Point(50.0 + 0.003 * leg, 7.0 + rng.uniform(-0.002, 0.002), rng.uniform(40, 70)) for leg in range(12)]
        stops = {leg: rng.uniform(2, 9) for leg in range(1, 11) if rng.random() < 0.3}
        way = Way(points, limits_kmh=[rng.choice((30.0, 50.0, 100.0)) for _ in points[1:]], stops=stops)
        vehicle = Vehicle.of(model, BRAND, seed=seed + place, columns=columns, route=way if rng.random() < 0.7 else None)
        vehicle.ignition = vehicle.driving_enabled = rng.random() < 0.7
        vehicle.target_speed_kmh = rng.choice((0.0, 45.0, 200.0))
        vehicle.charging, vehicle.headlights = rng.random() < 0.3, rng.random() < 0.3
        vehicle.energy_percent = rng.choice((0.001, 50.0, 79.5, 98.0))
        if rng.random() < 0.2:
            vehicle.leak("front_left", 40.0)
        made.append(vehicle)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_the_columns_are_the_equations_for_every_row(seed: int) -> None:
    columns, rng = Columns(60), random.Random(seed)
    together, alone = fleet(seed, columns), fleet(seed, None)
    now = 0.0
    for vehicle in together:
        vehicle.advance(0)
    for _ in range(150):
        dt_s = rng.choice((0.1, 0.5, 1.0, 3.3, 20.0))
        now += 1000 * dt_s
        columns.advance(now)
        for vehicle in alone:
            vehicle.step(dt_s)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one._row, other._row, rtol=1e-7, atol=1e-7, err_msg=repr(list(S)))
    assert {vehicle.arrived for vehicle in alone} == {True, False}


def test_vehicles_whose_drivers_act_are_stepped_in_their_own_moments() -> None:
    def driver(vehicle: Vehicle, rng: random.Random) -> Any:
        while True:
            yield rng.uniform(1, 9)
            vehicle.locked = not vehicle.locked
            vehicle.headlights = not vehicle.headlights

    columns = Columns(5)
    columns.led = True
    together = [Vehicle.of(DEV_KIT, BRAND, seed=seed, life=driver, columns=columns) for seed in range(5)]
    alone = [Vehicle.of(DEV_KIT, BRAND, seed=seed, life=driver) for seed in range(5)]
    for vehicle in (*together, *alone):
        vehicle.advance(0)
    for now in range(150, 120_000, 150):
        columns.advance(now)
        for one, other in zip(together, alone, strict=True):
            other.advance(now)
            assert (one.locked, one.headlights) == (other.locked, other.headlights)
            assert one._row.tolist() == pytest.approx(other._row.tolist())


def test_a_led_vehicle_is_never_further_behind_than_its_fleet_is_stepped() -> None:
    columns = Columns(1)
    columns.led = True
    vehicle = on_the_road(columns=columns)
    vehicle.advance(0)
    columns.advance(1_000)
    before = vehicle.distance_m
    vehicle.advance(1_090)
    assert vehicle.distance_m == before
    columns.advance(1_100)
    assert vehicle.distance_m > before


def test_only_those_at_whom_somebody_will_look_are_made_ready() -> None:
    columns = Columns(2)
    columns.led = True
    seen, unseen, alone = on_the_road(columns=columns), on_the_road(columns=columns), on_the_road()
    for vehicle in (seen, unseen, alone):
        vehicle.advance(0)
    before = unseen.distance_m
    columns.prepare(np.array([seen.at_row]), 1_000)
    alone.advance(1_000)
    assert seen.distance_m == pytest.approx(alone.distance_m)
    assert seen.distance_m > before
    assert unseen.distance_m == before
    columns.prepare(np.array([seen.at_row, unseen.at_row]), 900)  # nobody goes back
    assert columns.clocks.tolist() == [1_000, 900]


def test_every_number_of_a_vehicle_has_a_place() -> None:
    assert [*S] == list(range(len(S)))
    assert [*P] == list(range(len(P)))
    assert len(build_of("CAR", True).row()) == len(P)
