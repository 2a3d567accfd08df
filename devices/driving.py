"""What somebody at the wheel can be told to do from outside: drive there, stop, open, switch."""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from devices.life import FAR_M, drive_along
from devices.roads import Roads
from devices.route import Point, Way
from devices.shown import TIRES
from devices.vehicle import Vehicle

Then = Literal["stay", "park", "lock"]
Opening = Literal[
    "front_left", "front_right", "rear_left", "rear_right",
    "window_front_left", "window_front_right", "window_rear_left", "window_rear_right",
    "top_case", "battery_compartment",
]  # fmt: skip

NEAR_ROADS_M = 2_000.0
"""Further from a road than this, one drives as the crow flies."""

OFF_ROAD_KMH = 30.0
SETTLE_S = 1.0
STAND_S = 30.0
"""How long a vehicle that was sent somewhere stands there before its driver goes on with what he did before."""


def way_for(
    vehicle: Vehicle,
    roads: Roads,
    *,
    to: tuple[float, float] | None = None,
    along: Way | None = None,
    kilometers: float | None = None,
) -> Way:
    """The way to a place, along a given way, or of a length; exactly one must be said. Raises ValueError with a sentence."""
    if sum(each is not None for each in (to, along, kilometers)) != 1:
        raise ValueError("exactly one of `to`, `along` and `kilometers` is wanted")
    here, from_m = vehicle.here, vehicle.distance_m
    start = Point(here.latitude, here.longitude)
    if along is not None:
        return along.begun_at(from_m)
    if to is not None:
        return _way_to(roads, start, Point(*to), from_m)
    assert kilometers is not None
    return _way_of(roads, start, 1000 * kilometers, from_m)


def _way_to(roads: Roads, start: Point, end: Point, from_m: float) -> Way:
    first, last = roads.nearest(*start[:2]), roads.nearest(*end[:2])
    away = max(roads.distance_m(first, *start[:2]), roads.distance_m(last, *end[:2]))
    nodes = roads.quickest(first, last) if away <= NEAR_ROADS_M else []
    points = [start, *(roads.points[node]._replace(altitude_m=None) for node in nodes), end]
    limits = [OFF_ROAD_KMH, *(roads.limit(one, other) for one, other in pairwise(nodes)), OFF_ROAD_KMH]
    try:
        return Way(points, limits_kmh=limits if nodes else None, from_m=from_m)
    except ValueError:
        raise ValueError("it is there already") from None


def _way_of(roads: Roads, start: Point, length_m: float, from_m: float) -> Way:
    """A way of that length: through the town from crossing to crossing, else straight to the north."""
    node = roads.nearest(*start[:2])
    if roads.distance_m(node, *start[:2]) > min(FAR_M, NEAR_ROADS_M):
        north = Point(min(90.0, start.latitude + length_m / 111_195.0), start.longitude)
        return Way([start, north], from_m=from_m)
    rng = random.Random(f"{node}/{length_m:g}")
    nodes = [node]
    points, limits = [start, roads.points[node]._replace(altitude_m=None)], [OFF_ROAD_KMH]
    while True:
        way = Way(points, limits_kmh=limits, from_m=from_m) if len({point[:2] for point in points}) > 1 else None
        if way is not None and way.length_m >= length_m:
            return way.shortened(length_m)
        more = roads.onward(nodes[-1], rng)
        points += [roads.points[each]._replace(altitude_m=None) for each in more[1:]]
        limits += [roads.limit(one, other) for one, other in pairwise(more)]
        nodes += more[1:]


def send(vehicle: Vehicle, way: Way, speed_kmh: float | None = None, then: Then = "park") -> None:
    """Have it driven along the way, from now on; once it is parked its driver goes on with what he was doing.

    One that is to stay does so until the next order, or until `vehicle.resume`.
    """
    vehicle.play(_driven(vehicle, way, speed_kmh, then), resumes_after_s=None if then == "stay" else STAND_S)


def _driven(vehicle: Vehicle, way: Way, speed_kmh: float | None, then: Then) -> Iterator[float]:
    vehicle.locked, vehicle.driving_enabled = False, True
    vehicle.plugged = vehicle.charging = vehicle.battery_compartment_open = False
    vehicle.doors_open.clear()
    vehicle.key_inserted = vehicle.ignition = True
    vehicle.parking_brake = vehicle.center_stand_down = False
    yield from drive_along(vehicle, way, speed_kmh)
    if then == "stay":
        return
    vehicle.parking_brake = vehicle.center_stand_down = True
    yield SETTLE_S
    vehicle.ignition = vehicle.headlights = vehicle.key_inserted = False
    vehicle.windows_open.clear()
    if then == "lock":
        yield SETTLE_S
        vehicle.locked, vehicle.driving_enabled = True, False


def stop(vehicle: Vehicle) -> None:
    """Brake to a stand and stay there until the next order, or until `vehicle.resume`; the ignition stays as it is."""
    vehicle.play(iter(()))
    vehicle.target_speed_kmh = 0.0


def switched(vehicle: Vehicle, on: bool) -> str | None:
    """Switch the ignition; the sentence for why not."""
    if on and not vehicle.driving_enabled:
        return "driving is not enabled: the immobiliser keeps the ignition off"
    if on and not vehicle.ignition and not vehicle.can_start:
        return "the 12 V battery is empty: it does not start"
    if not on and vehicle.in_motion:
        return "it is in motion: stop it first"
    vehicle.ignition = vehicle.key_inserted = on
    return None


def opened(vehicle: Vehicle, what: Opening, opens: bool) -> str | None:
    """Open or close one thing; the sentence for why not."""
    if what.startswith("window_"):
        _put(vehicle.windows_open, what.removeprefix("window_"), opens)
    elif what in TIRES:
        if opens and vehicle.locked:
            return f"{what}: the vehicle is locked"
        _put(vehicle.doors_open, what, opens)
    elif what == "top_case":
        if opens and vehicle.top_case_locked:
            return "top_case: it is locked"
        vehicle.top_case_open = opens
    elif opens:
        return "battery_compartment: it is opened by a command only"
    else:
        vehicle.battery_compartment_open = False
    return None


def _put(into: set[str], what: str, opens: bool) -> None:
    if opens:
        into.add(what)
    else:
        into.discard(what)
