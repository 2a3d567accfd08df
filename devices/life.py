"""What a vehicle's drivers do all day, as a script: each `yield` is a pause in seconds, between them things happen.

One rental after the other: reserve, unlock, drive, park, lock, stand. Who comes in between with a command is obeyed. `moving`
drives round a block, `renting` through a graph of roads, `following` along given ways.
"""

import random
from collections.abc import Iterator, Sequence

from devices.roads import Roads
from devices.route import Point, Route, Way
from devices.vehicle import Life, Vehicle

__all__ = ["Life", "drive_along", "following", "moving", "renting", "shared"]

LOW_ENERGY_PERCENT = 35.0
FULL_PERCENT = 99.9
RENTALS_A_DAY = 3.0
DAY_S = 86_400.0

WEAK_CHARGE = 0.7
"""Of the low-voltage battery: with so much the smallest lasts another two days in a parked vehicle."""

FAR_M = 20_000.0
"""Further from any road than this, a vehicle is not of this town."""

AT_CROSSING_M = 10.0
OFF_ROAD_KMH = 30.0
LEAST_LOOK_S = 2.0


def moving(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    """A shared vehicle that is rented again and again, and driven up and down the road that it is on."""
    yield rng.uniform(2, 60)
    while True:
        yield from _set_off(vehicle, rng)
        if vehicle.ignition:
            yield from _drive(vehicle, rng)
            yield from _arrive(vehicle, rng)
        yield from _stand(vehicle, rng)


def shared(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    """A shared vehicle over days: three short rentals a day on average, and else it stands.

    Short trips do not fill a small low-voltage battery again: before it is empty somebody comes and charges it.
    """
    yield rng.uniform(0, 0.5 * DAY_S / RENTALS_A_DAY)
    while True:
        yield from _set_off(vehicle, rng)
        if vehicle.ignition:
            yield from _drive(vehicle, rng)
            yield from _arrive(vehicle, rng)
        if vehicle.low_battery_charge < WEAK_CHARGE:
            yield rng.uniform(600, 3600)
            vehicle.low_battery_charge = 1.0
        if vehicle.energy_percent < LOW_ENERGY_PERCENT:
            yield from _stand(vehicle, rng)
        yield rng.expovariate(RENTALS_A_DAY / DAY_S)


def renting(roads: Roads) -> Life:
    """A shared vehicle of a town: each rental leads to another crossing, on the quickest way, within the limits, with red lights.

    One that is far from all roads does as `moving`.
    """

    def life(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
        place = vehicle.here
        node = roads.nearest(place.latitude, place.longitude)
        if roads.distance_m(node, place.latitude, place.longitude) > FAR_M:
            yield from moving(vehicle, rng)
        vehicle.route = roads.stand(node, vehicle.distance_m)
        yield rng.uniform(2, 60)
        while True:
            yield from _set_off(vehicle, rng)
            if vehicle.ignition:
                here = vehicle.here
                node = roads.nearest(here.latitude, here.longitude)
                if roads.distance_m(node, here.latitude, here.longitude) > AT_CROSSING_M:
                    to_node = [Point(here.latitude, here.longitude), roads.points[node]]
                    yield from drive_along(vehicle, Way(to_node, from_m=vehicle.distance_m), OFF_ROAD_KMH)
                if vehicle.ignition:
                    yield from drive_along(vehicle, roads.trip(node, rng, from_m=vehicle.distance_m))
                yield from _arrive(vehicle, rng)
            yield from _stand(vehicle, rng)

    return life


def following(ways: Sequence[Way]) -> Life:
    """A vehicle that drives these ways in turn, each from its beginning; a closed one goes round once."""

    def life(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
        turn = rng.randrange(len(ways))
        vehicle.route = ways[turn].begun_at(vehicle.distance_m)
        yield rng.uniform(2, 20)
        while True:
            yield from _set_off(vehicle, rng)
            if vehicle.ignition:
                yield from drive_along(vehicle, ways[turn].begun_at(vehicle.distance_m))
                yield from _arrive(vehicle, rng)
                turn = (turn + 1) % len(ways)
            yield from _stand(vehicle, rng)

    return life


def drive_along(vehicle: Vehicle, way: Route, speed_kmh: float | None = None) -> Iterator[float]:
    """Drive to the end of a way, or once round a closed one, as fast as is allowed or at most at `speed_kmh`.

    It also ends where somebody switches the vehicle off, or its energy is used up.
    """
    vehicle.route = way
    end_m = vehicle.distance_m + way.length_m
    vehicle.target_speed_kmh = most = min(vehicle.top_speed_kmh, speed_kmh or vehicle.top_speed_kmh)
    while vehicle.ignition and vehicle.driving_enabled and vehicle.energy_percent > 0 and not vehicle.arrived:
        left_m = end_m - vehicle.distance_m
        if left_m <= 0:
            break
        yield max(LEAST_LOOK_S, left_m / max(1.0, most / 3.6))
    yield from _come_to_a_stop(vehicle)


def _come_to_a_stop(vehicle: Vehicle) -> Iterator[float]:
    vehicle.target_speed_kmh = 0.0
    while vehicle.in_motion:
        yield LEAST_LOOK_S


def _set_off(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    vehicle.reserved = True
    yield rng.uniform(1, 5)
    vehicle.locked, vehicle.driving_enabled = False, True
    vehicle.battery_compartment_open = vehicle.plugged = vehicle.charging = False
    yield rng.uniform(4, 10)
    yield from _through_the_door(vehicle, rng)
    vehicle.key_inserted = True
    yield rng.uniform(2, 5)
    if not vehicle.driving_enabled or not vehicle.can_start:
        vehicle.key_inserted = False
        return
    vehicle.ignition = True
    vehicle.headlights = rng.random() < 0.5
    vehicle.center_stand_down = False
    yield rng.uniform(2, 5)
    vehicle.parking_brake = False


def _through_the_door(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    if vehicle.kind in ("MOPED", "KICK_SCOOTER") or vehicle.locked:
        return
    vehicle.doors_open.add("front_left")
    yield rng.uniform(3, 8)
    vehicle.doors_open.discard("front_left")
    yield rng.uniform(2, 5)


def _drive(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    left_s = rng.uniform(120, 420)
    while left_s > 0 and vehicle.ignition:
        vehicle.target_speed_kmh = rng.choice((0.0, 30.0, 30.0, 50.0, 50.0, 70.0))
        if vehicle.kind not in ("MOPED", "KICK_SCOOTER") and rng.random() < 0.1:
            vehicle.windows_open ^= {"front_left"}
        pause_s = rng.uniform(12, 40)
        left_s -= pause_s
        yield pause_s
    yield from _come_to_a_stop(vehicle)


def _arrive(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    vehicle.parking_brake = vehicle.center_stand_down = True
    yield rng.uniform(1, 3)
    vehicle.ignition = vehicle.headlights = False
    vehicle.windows_open.clear()
    yield rng.uniform(2, 5)
    vehicle.key_inserted = False
    yield from _through_the_door(vehicle, rng)
    vehicle.locked, vehicle.driving_enabled = True, False
    vehicle.reserved = False


def _stand(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    yield rng.uniform(20, 60)
    if vehicle.energy_percent < LOW_ENERGY_PERCENT:
        if vehicle.electric:
            vehicle.plugged = vehicle.charging = True
            while vehicle.charging and vehicle.energy_percent < FULL_PERCENT:
                yield 60.0
            vehicle.charging = False
        else:
            vehicle.energy_percent = vehicle.adblue_percent = 100.0
    yield rng.uniform(30, 180)
