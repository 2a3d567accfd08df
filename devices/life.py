"""What a demo vehicle's driver does all day, as a script: each `yield` is a pause in seconds, between them things happen.

Set off, drive a few minutes, park, lock, stand, set off again. Who comes in between with a command is obeyed.
"""

import random
from collections.abc import Callable, Iterator

from devices.vehicle import Vehicle

Life = Callable[[Vehicle, random.Random], Iterator[float]]
"""What a vehicle's driver does: each pause in seconds, and between them things happen."""

LOW_ENERGY_PERCENT = 35.0
FULL_PERCENT = 99.9
RENTALS_A_DAY = 3.0
DAY_S = 86_400.0


def moving(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    """A shared vehicle that is rented again and again."""
    yield rng.uniform(2, 60)
    while True:
        yield from _set_off(vehicle, rng)
        if vehicle.ignition:
            yield from _drive(vehicle, rng)
            yield from _arrive(vehicle, rng)
        yield from _stand(vehicle, rng)


def shared(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    """A shared vehicle over days: three short rentals a day on average, and else it stands."""
    yield rng.uniform(0, 0.5 * DAY_S / RENTALS_A_DAY)
    while True:
        yield from _set_off(vehicle, rng)
        if vehicle.ignition:
            yield from _drive(vehicle, rng)
            yield from _arrive(vehicle, rng)
        if vehicle.energy_percent < LOW_ENERGY_PERCENT:
            yield from _stand(vehicle, rng)
        yield rng.expovariate(RENTALS_A_DAY / DAY_S)


def _set_off(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    vehicle.locked, vehicle.driving_enabled = False, True
    vehicle.battery_compartment_open = vehicle.plugged = vehicle.charging = False
    yield rng.uniform(4, 10)
    yield from _through_the_door(vehicle, rng)
    vehicle.key_inserted = True
    yield rng.uniform(2, 5)
    if not vehicle.driving_enabled:
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
    while left_s > 0:
        vehicle.target_speed_kmh = rng.choice((0.0, 30.0, 30.0, 50.0, 50.0, 70.0))
        if vehicle.kind not in ("MOPED", "KICK_SCOOTER") and rng.random() < 0.1:
            vehicle.windows_open ^= {"front_left"}
        pause_s = rng.uniform(12, 40)
        left_s -= pause_s
        yield pause_s
    vehicle.target_speed_kmh = 0.0
    while vehicle.in_motion:
        yield 2.0


def _arrive(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
    vehicle.parking_brake = vehicle.center_stand_down = True
    yield rng.uniform(1, 3)
    vehicle.ignition = vehicle.headlights = False
    vehicle.windows_open.clear()
    yield rng.uniform(2, 5)
    vehicle.key_inserted = False
    yield from _through_the_door(vehicle, rng)
    vehicle.locked, vehicle.driving_enabled = True, False


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
