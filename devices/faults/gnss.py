"""What happens to the satellite receiver: it says places where the vehicle is not, and nobody but the truth check can tell."""

import math
from dataclasses import replace
from typing import Any

from devices.faults.fault import Ailment, Fault, Recurring
from devices.line import METERS_PER_DEGREE

JUMP_MS = (20_000, 90_000)
JUMP_M = (500.0, 20_000.0)


class _Jump(Recurring):
    """The place is off by the same way for a while."""

    def begins(self, now_ms: int) -> None:
        super().begins(now_ms)
        self._over_at: int | None = None

    def strike(self, now_ms: int) -> list[bytes]:
        away_m, bearing = self.rng.uniform(*JUMP_M), math.radians(self.rng.uniform(0, 360))
        north, east = away_m * math.cos(bearing), away_m * math.sin(bearing)
        self._over_at = now_ms + self.rng.randrange(*JUMP_MS)

        def jumped(place: Any) -> Any:
            shrink = max(0.01, math.cos(math.radians(place.latitude)))
            return replace(
                place,
                latitude=max(-90.0, min(90.0, place.latitude + north / METERS_PER_DEGREE)),
                longitude=(place.longitude + east / (METERS_PER_DEGREE * shrink) + 180) % 360 - 180,
            )

        self.terminal.seen.place = jumped
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        if self._over_at is not None and now_ms >= self._over_at:
            self.ends(now_ms)
        return super().tick(now_ms)

    def next_ms(self, now_ms: int) -> int | None:
        moments = [each for each in (super().next_ms(now_ms), self._over_at) if each is not None]
        return min(moments, default=None)

    def ends(self, now_ms: int) -> None:
        self._over_at = None
        self.terminal.seen.place = None


class GnssJump(Fault):
    """Reflections between houses, or somebody who jams."""

    name = "gnss_jump"
    sentence = "for 20 to 90 s the receiver says a place that is 0.5 to 20 km away"
    level = "GNSS"
    per = "hour"
    usual_rate = 6.0
    expected = ("held", "in_order", "no_false_change", "unavoidable")
    ailment = _Jump


class _Frozen(Ailment):
    def begins(self, now_ms: int) -> None:
        vehicle = self.terminal.vehicle
        vehicle.advance(now_ms)
        frozen = vehicle.here
        self.terminal.seen.place = lambda place: frozen

    def ends(self, now_ms: int) -> None:
        self.terminal.seen.place = None


class FrozenGnss(Fault):
    """The receiver repeats its last fix for ever."""

    name = "frozen_gnss"
    sentence = "the receiver goes on saying the place where the vehicle was when it froze"
    level = "GNSS"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "in_order", "no_false_change", "unavoidable")
    ailment = _Frozen


FAULTS: tuple[type[Fault], ...] = (GnssJump, FrozenGnss)
