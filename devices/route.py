"""Where a simulated vehicle drives: place, heading, slope and what limits its speed follow from the distance alone."""

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

METERS_PER_DEGREE = 111_195.0
"""A degree of latitude on a sphere of 6,371.0 km."""


@dataclass(frozen=True, slots=True)
class Place:
    """A point of a route. WGS 84 degrees; `heading` in degrees clockwise from north, 0 <= heading < 360.

    `altitude_m` is None where the route does not know it, `limit_kmh` where nothing limits the speed; `grade` is the tangent of
    the slope, positive uphill.
    """

    latitude: float
    longitude: float
    heading: float
    altitude_m: float | None = None
    limit_kmh: float | None = None
    grade: float = 0.0


class Leg(NamedTuple):
    """A stretch on which nothing changes, up to `end_m`: at most `limit_kmh`, `out_kmh` at its end, then a stop of `stop_s`."""

    end_m: float
    limit_kmh: float
    out_kmh: float
    grade: float
    stop_s: float


FREE = Leg(math.inf, math.inf, math.inf, 0.0, 0.0)
"""Nothing limits the speed."""

ENDED = Leg(math.inf, 0.0, 0.0, 0.0, 0.0)
"""Here it goes no further."""


class Route(Protocol):
    """A way along which a vehicle drives; what is passed follows from the distance alone.

    A closed one goes round and round; on an open one the vehicle stops at `length_m`, and stays there.
    """

    @property
    def length_m(self) -> float:
        """Once along it."""

    @property
    def closed(self) -> bool:
        """Whether it ends where it begins."""

    def at(self, distance_m: float) -> Place:
        """The place when the vehicle has driven `distance_m` in all."""

    def leg(self, distance_m: float) -> Leg:
        """The leg that begins or goes on there; `end_m` counts as `distance_m` does."""

    def ended(self, distance_m: float) -> bool:
        """Whether the vehicle has arrived where an open one ends."""


@dataclass(frozen=True)
class Loop:
    """A closed road that begins and ends at (`latitude`, `longitude`), turned by `bearing` degrees from north.

    `along_m` and `across_m` are the straight sides between corners of `radius_m`.
    """

    latitude: float
    longitude: float
    bearing: float = 0.0
    along_m: float = 1200.0
    across_m: float = 700.0
    radius_m: float = 60.0
    closed = True

    @cached_property
    def length_m(self) -> float:
        """Once around."""
        return 2 * (self.along_m + self.across_m) + 2 * math.pi * self.radius_m

    def at(self, distance_m: float) -> Place:
        """The place after `distance_m` on the road, any number of times around."""
        left = distance_m % self.length_m
        east, north, heading = 0.0, 0.0, 0.0
        corner = math.pi / 2 * self.radius_m
        for side in (self.along_m, self.across_m, self.along_m, self.across_m):
            run = min(left, side)
            east, north = _moved(east, north, heading, run, 0.0)
            left -= run
            if left <= 0:
                break
            turn = min(left, corner) / self.radius_m
            east, north = _moved(east, north, heading, self.radius_m * math.sin(turn), self.radius_m * (1 - math.cos(turn)))
            heading += math.degrees(turn)
            left -= turn * self.radius_m
            if left <= 0:
                break
        return self._placed(east, north, heading)

    def leg(self, distance_m: float) -> Leg:
        """Nothing limits the speed."""
        return FREE

    def ended(self, distance_m: float) -> bool:
        """Never."""
        return False

    def _placed(self, east: float, north: float, heading: float) -> Place:
        turned_east, turned_north = _moved(0.0, 0.0, self.bearing, north, east)
        shrink = max(0.01, math.cos(math.radians(self.latitude)))
        return Place(
            self.latitude + turned_north / METERS_PER_DEGREE,
            self.longitude + turned_east / (METERS_PER_DEGREE * shrink),
            (heading + self.bearing) % 360.0,
        )


def _moved(east: float, north: float, heading: float, ahead: float, right: float) -> tuple[float, float]:
    angle = math.radians(heading)
    return (
        east + ahead * math.sin(angle) + right * math.cos(angle),
        north + ahead * math.cos(angle) - right * math.sin(angle),
    )


BRAKING = 1.4
"""m/s², which every vehicle can: how early a way asks to slow down for a leg ahead."""

CORNERS = ((150.0, 5.0), (60.0, 15.0), (25.0, 30.0))
"""Turning by more than so many degrees is done at no more than so many km/h."""

DEFAULT_LIMIT_KMH = 50.0


class Point(NamedTuple):
    """A point that a way goes through; `altitude_m` is None where it is not known."""

    latitude: float
    longitude: float
    altitude_m: float | None = None


class Way:
    """A way through points. `limits_kmh` is for the legs between them, `stops` the seconds that are waited at a point.

    An open one ends with its last point. A closed one returns to its first; if that is not said twice, one more leg leads there.
    """

    __slots__ = ("_altitudes", "_ends", "_from_m", "_latitudes", "_limits", "_longitudes", "_outs", "_stops", "closed", "name")

    def __init__(
        self,
        points: Sequence[Point],
        *,
        limits_kmh: Sequence[float] | None = None,
        stops: Mapping[int, float] | None = None,
        closed: bool = False,
        from_m: float = 0.0,
        name: str = "",
    ) -> None:
        """Raises ValueError for a way that leads nowhere."""
        limits = list(limits_kmh or [DEFAULT_LIMIT_KMH] * (len(points) - 1))
        if closed and points and points[0][:2] != points[-1][:2]:
            points, limits = [*points, points[0]], [*limits, limits[-1] if limits else DEFAULT_LIMIT_KMH]
        lengths = [_apart(one, other) for one, other in pairwise(points)]
        if sum(lengths) < 1.0:
            raise ValueError("a way needs two points that are a metre apart or more")
        points, limits, lengths, stops = _without_repeats(points, limits, lengths, stops or {})
        known = all(point.altitude_m is not None for point in points)
        self._latitudes = array("d", (point.latitude for point in points))
        self._longitudes = array("d", (point.longitude for point in points))
        self._altitudes = array("d", (point.altitude_m or 0.0 for point in points)) if known else array("d")
        self._limits = array("d", limits)
        self._ends = array("d", _summed(lengths))
        self._stops = array("d", (stops.get(place + 1, 0.0) for place in range(len(lengths))))
        self._outs = array("d", _outs(points, limits, lengths, self._stops, closed))
        self.closed, self._from_m, self.name = closed, from_m, name

    def begun_at(self, distance_m: float) -> "Way":
        """The same way for a vehicle that has driven `distance_m` when it sets out on it."""
        made = Way.__new__(Way)
        for name in Way.__slots__:
            setattr(made, name, getattr(self, name))
        made._from_m = distance_m
        return made

    def shortened(self, length_m: float) -> "Way":
        """An open way that is the beginning of this one. Raises ValueError if it is longer than this one."""
        if not 0 < length_m <= self.length_m + 1e-6:
            raise ValueError(f"the way is {self.length_m:g} m long, not {length_m:g}")
        last = min(bisect_right(self._ends, length_m - 1e-9), len(self._ends) - 1)
        points = [
            Point(self._latitudes[place], self._longitudes[place], self._altitudes[place] if self._altitudes else None)
            for place in range(last + 1)
        ]
        end = self.at(self._from_m + length_m)
        points.append(Point(end.latitude, end.longitude, end.altitude_m))
        stops = {place + 1: stop for place, stop in enumerate(self._stops[:last]) if stop}
        return Way(points, limits_kmh=self._limits[: last + 1], stops=stops, from_m=self._from_m, name=self.name)

    @property
    def length_m(self) -> float:
        """Once along it."""
        return self._ends[-1]

    def at(self, distance_m: float) -> Place:
        """The place when the vehicle has driven `distance_m` in all."""
        along, _ = self._along(distance_m)
        leg = min(bisect_right(self._ends, along), len(self._ends) - 1)
        begins = self._ends[leg - 1] if leg else 0.0
        share = (along - begins) / (self._ends[leg] - begins)
        south, north = self._latitudes[leg], self._latitudes[leg + 1]
        west, east = self._longitudes[leg], self._longitudes[leg + 1]
        turned = (east - west + 180) % 360 - 180
        heading = math.degrees(math.atan2(turned * math.cos(math.radians((south + north) / 2)), north - south)) % 360
        altitude = self._altitudes[leg] + share * self._rise(leg) if self._altitudes else None
        longitude = (west + share * turned + 180) % 360 - 180
        return Place(south + share * (north - south), longitude, heading, altitude, self._limits[leg], self._grade(leg))

    def leg(self, distance_m: float) -> Leg:
        """The leg that begins or goes on there."""
        along, begun_m = self._along(distance_m)
        leg = bisect_right(self._ends, along)
        if leg == len(self._ends):
            return ENDED
        return Leg(begun_m + self._ends[leg], self._limits[leg], self._outs[leg], self._grade(leg), self._stops[leg])

    def ended(self, distance_m: float) -> bool:
        """Whether the vehicle has arrived where an open one ends."""
        return not self.closed and distance_m - self._from_m >= self.length_m - 1e-6

    def _along(self, distance_m: float) -> tuple[float, float]:
        """How far along it, and the distance driven when this round of it began."""
        driven = max(0.0, distance_m - self._from_m)
        if not self.closed:
            return min(driven, self.length_m), self._from_m
        rounds = math.floor(driven / self.length_m)
        return driven - rounds * self.length_m, self._from_m + rounds * self.length_m

    def _rise(self, leg: int) -> float:
        return self._altitudes[leg + 1] - self._altitudes[leg]

    def _grade(self, leg: int) -> float:
        if not self._altitudes:
            return 0.0
        steep = self._rise(leg) / (self._ends[leg] - (self._ends[leg - 1] if leg else 0.0))
        return max(-STEEPEST, min(STEEPEST, steep))


STEEPEST = 0.15
"""Altitudes measured along a way are noisy: no road that is driven here is steeper."""


def _apart(one: Point, other: Point) -> float:
    turned = (other.longitude - one.longitude + 180) % 360 - 180
    shrink = math.cos(math.radians((one.latitude + other.latitude) / 2))
    return math.hypot(other.latitude - one.latitude, turned * shrink) * METERS_PER_DEGREE


def _bearing(one: Point, other: Point) -> float:
    turned = (other.longitude - one.longitude + 180) % 360 - 180
    shrink = math.cos(math.radians((one.latitude + other.latitude) / 2))
    return math.degrees(math.atan2(turned * shrink, other.latitude - one.latitude))


def _without_repeats(
    points: Sequence[Point], limits: Sequence[float], lengths: Sequence[float], stops: Mapping[int, float]
) -> tuple[list[Point], list[float], list[float], dict[int, float]]:
    """Without points that stand for no step: they have no direction. A stop there is kept."""
    kept, legs, steps, waits = [points[0]], [], [], {}
    for place, (point, limit, length) in enumerate(zip(points[1:], limits, lengths, strict=True), 1):
        if length >= 0.01:
            kept.append(point)
            legs.append(limit)
            steps.append(length)
        if place in stops:
            waits[len(kept) - 1] = stops[place]
    return kept, legs, steps, waits


def _summed(lengths: Sequence[float]) -> list[float]:
    total, sums = 0.0, []
    for length in lengths:
        total += length
        sums.append(total)
    return sums


def _outs(
    points: Sequence[Point], limits: Sequence[float], lengths: Sequence[float], stops: Sequence[float], closed: bool
) -> list[float]:
    """How fast each leg may be left, so that every later one can be kept to: from the last one backwards, twice if closed."""
    last = len(limits) - 1
    outs = [0.0] * (last + 1)
    entry = limits[0] if closed else 0.0
    for _ in range(2 if closed else 1):
        for leg in range(last, -1, -1):
            following = leg + 1 if leg < last else 0
            if leg == last and not closed:
                outs[leg] = 0.0
            else:
                outs[leg] = 0.0 if stops[leg] else min(limits[leg], limits[following], entry, _corner(points, leg, closed))
            entry = min(limits[leg], 3.6 * math.sqrt((outs[leg] / 3.6) ** 2 + 2 * BRAKING * lengths[leg]))
    return outs


def _corner(points: Sequence[Point], leg: int, closed: bool) -> float:
    """How fast the corner at the end of a leg may be taken."""
    following = leg + 1 if leg + 2 < len(points) else 0
    before = _bearing(points[leg], points[leg + 1])
    turn = abs((_bearing(points[following], points[following + 1]) - before + 180) % 360 - 180)
    return next((speed for degrees, speed in CORNERS if turn > degrees), math.inf)
