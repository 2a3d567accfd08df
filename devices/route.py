"""Where a simulated vehicle drives: a rectangle with rounded corners; place and heading follow from the distance alone."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

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
        """The place after `distance_m` from its beginning."""


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
