"""Whether a vehicle has driven or turned far enough since its unit last told of it."""

import math

from devices.behaviour import Behaviour
from devices.vehicle import Vehicle

LOOK_MS = 2_000
"""How often a moving unit looks at its heading."""

ACCELERATING_MS = 10_000
"""How long it counts on a vehicle's speed."""

LEAST_MS = 500
TURNING_KMH = 5.0
"""Under this speed a receiver's heading is noise."""


class Motion:
    """The rules of a brand for reports by distance and by turn; without any it `is_never_due`. Times are Unix milliseconds."""

    __slots__ = ("_distance_m", "_heading", "_told_heading", "_told_m", "_vehicle", "is_never_due")

    def __init__(self, vehicle: Vehicle, behaviour: Behaviour) -> None:
        self._vehicle = vehicle
        self._distance_m, self._heading = behaviour.report_distance_m, behaviour.report_turn_degrees
        self.is_never_due = not (self._distance_m or self._heading)
        self._told_m = self._told_heading = 0.0
        self.told()

    def told(self) -> None:
        """A report of where it is went into the journal."""
        if self._distance_m:
            self._told_m = self._vehicle.distance_m
        if self._heading:
            self._told_heading = self._vehicle.here.heading

    def is_due(self) -> bool:
        """Whether it has driven, or turned, far enough."""
        vehicle = self._vehicle
        if self._distance_m and vehicle.distance_m - self._told_m >= self._distance_m:
            return True
        if not self._heading or vehicle.speed_kmh < TURNING_KMH:
            return False
        return abs((vehicle.here.heading - self._told_heading + 180) % 360 - 180) >= self._heading

    def next_ms(self, now_ms: int) -> int | None:
        """When to look again; None: it stands, or nobody asks."""
        if not (self._distance_m or self._heading):
            return None
        vehicle = self._vehicle
        speed = vehicle.speed_kmh / 3.6
        if not speed and not (vehicle.ignition and vehicle.target_speed_kmh):
            return None
        wait_ms: float = LOOK_MS if self._heading or not speed else ACCELERATING_MS
        if self._distance_m and speed:
            wait_ms = min(wait_ms, 1000 * (self._told_m + self._distance_m - vehicle.distance_m) / speed)
        return now_ms + max(LEAST_MS, math.ceil(wait_ms))
