"""The cellular link between a unit and its broker: how long things take, how much fits through, and where and when it is gone.

Pure and seeded: time is an argument in Unix milliseconds. As under TCP, what was said first arrives first, and nothing is lost
while the link stands; what is on its way when the link goes is gone with it.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

METERS_PER_DEGREE = 111_195.0
"""A degree of latitude on a sphere of 6,371.0 km."""

SECONDS_MS = 1000


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a vehicle is, for its link: WGS 84 degrees, and the metres it has driven since its unit was switched on."""

    latitude: float
    longitude: float
    driven_m: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """No coverage from one distance on the way to another (a tunnel), in metres driven."""

    from_m: float
    to_m: float

    def holds(self, where: Whereabouts) -> bool:
        """Whether the vehicle is in it."""
        return self.from_m <= where.driven_m < self.to_m


@dataclass(frozen=True, slots=True)
class Circle:
    """No coverage within `radius_m` of a point."""

    latitude: float
    longitude: float
    radius_m: float

    def holds(self, where: Whereabouts) -> bool:
        """Whether the vehicle is in it."""
        north = (where.latitude - self.latitude) * METERS_PER_DEGREE
        east = (where.longitude - self.longitude) * METERS_PER_DEGREE * math.cos(math.radians(self.latitude))
        return math.hypot(north, east) <= self.radius_m


@dataclass(frozen=True, slots=True)
class Polygon:
    """No coverage within a ring of (latitude, longitude) points; small enough that degrees are as good as metres."""

    points: tuple[tuple[float, float], ...]

    def holds(self, where: Whereabouts) -> bool:
        """Whether the vehicle is in it: a ray to the east crosses the ring an odd number of times."""
        inside = False
        for (lat, lon), (next_lat, next_lon) in zip(self.points, self.points[1:] + self.points[:1], strict=True):
            if (lat > where.latitude) is not (next_lat > where.latitude):
                crossing = lon + (where.latitude - lat) / (next_lat - lat) * (next_lon - lon)
                inside ^= where.longitude < crossing
        return inside


Hole = Stretch | Circle | Polygon


@dataclass(frozen=True, slots=True)
class Outage:
    """No link between two moments, in seconds since the run began."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class LineModel:
    """What a link is like. `latency_ms` is the median one way, `spread` the sigma of its log-normal distribution.

    `up` and `down` are bytes a second. Beside the `holes` and `outages` that are named, `dropouts_per_hour` come by chance, each
    of `dropout_s` seconds on average.
    """

    name: str = "perfect"
    sentence: str = "no delay, no limit, always there"
    latency_ms: float = 0.0
    spread: float = 0.0
    up: float = math.inf
    down: float = math.inf
    dropouts_per_hour: float = 0.0
    dropout_s: float = 20.0
    holes: tuple[Hole, ...] = ()
    outages: tuple[Outage, ...] = ()

    def with_gaps(self, holes: Sequence[Hole] = (), outages: Sequence[Outage] = ()) -> "LineModel":
        """The same with further gaps."""
        return replace(self, holes=self.holes + tuple(holes), outages=self.outages + tuple(outages))

    @property
    def follows_the_road(self) -> bool:
        """Whether coverage depends on where the vehicle is."""
        return bool(self.holes)


PERFECT = LineModel()
LINES: Mapping[str, LineModel] = {
    line.name: line
    for line in (
        PERFECT,
        LineModel("lte", "a good LTE cell: 45 ms each way, 1 MB/s up", 45.0, 0.35, 1_000_000.0, 4_000_000.0),
        LineModel("slow", "GPRS at the edge of a cell: 700 ms each way, 1.5 kB/s up", 700.0, 0.6, 1_500.0, 4_000.0),
        LineModel("nbiot", "NB-IoT with coverage enhancement: 3 s each way, 400 B/s up", 3_000.0, 0.5, 400.0, 600.0),
        LineModel("flaky", "LTE that is gone for 20 s, twelve times an hour", 80.0, 0.6, 200_000.0, 800_000.0, 12.0, 20.0),
        LineModel("underground", "a car park: gone for ten minutes, once an hour", 120.0, 0.6, 50_000.0, 100_000.0, 1.0, 600.0),
    )
}
"""Lines by name."""


def line_named(name: str) -> LineModel:
    """One of LINES. Raises ValueError that lists them."""
    try:
        return LINES[name]
    except KeyError:
        raise ValueError(f"no line is called {name!r}; there are {', '.join(LINES)}") from None


@dataclass(slots=True)
class _Way:
    """One direction: until when it is busy with what was sent, and when the last of it arrives."""

    busy_until: float = 0.0
    arrived_at: float = 0.0

    def through(self, size: int, now_ms: int, rate: float, delay_ms: float) -> int:
        sent = max(float(now_ms), self.busy_until) + (0.0 if math.isinf(rate) else size / rate * SECONDS_MS)
        self.busy_until, self.arrived_at = sent, max(self.arrived_at, sent + delay_ms)
        return math.ceil(self.arrived_at)


@dataclass(slots=True)
class Link:
    """One unit's link: `model` may be changed at any time, `began_ms` is when its outages count from."""

    model: LineModel
    rng: random.Random
    began_ms: int | None = None
    _up: _Way = field(default_factory=_Way)
    _down: _Way = field(default_factory=_Way)
    _cut_until: float | None = None
    _dropout: tuple[float, float] | None = field(default=None)

    @property
    def is_perfect(self) -> bool:
        """Whether all that is said arrives at once, now and until somebody changes or cuts the link."""
        return self.model is PERFECT and self._cut_until is None and self._up.arrived_at == self._down.arrived_at == 0.0

    def cut(self, now_ms: int, for_s: float | None = None) -> None:
        """No link from now on: for a time, or until `mend`."""
        self._cut_until = math.inf if for_s is None else now_ms + for_s * SECONDS_MS

    def mend(self) -> None:
        """Undo `cut`."""
        self._cut_until = None

    def stands(self, now_ms: int, where: Whereabouts | None = None) -> bool:
        """Whether there is a link now, for a vehicle that is there."""
        if self.began_ms is None:
            self.began_ms = now_ms
        if self._cut_until is not None:
            if now_ms < self._cut_until:
                return False
            self._cut_until = None
        if self.model is PERFECT:
            return True
        since_s = (now_ms - self.began_ms) / SECONDS_MS
        if any(outage.from_s <= since_s < outage.to_s for outage in self.model.outages):
            return False
        if where is not None and any(hole.holds(where) for hole in self.model.holes):
            return False
        return not self._drops_out(now_ms)

    def up_at(self, size: int, now_ms: int) -> int:
        """When `size` bytes that are sent now arrive at the broker."""
        if self.model is PERFECT and self._up.arrived_at <= now_ms:
            return now_ms
        return self._up.through(size, now_ms, self.model.up, self._delay_ms())

    def down_at(self, size: int, now_ms: int) -> int:
        """When `size` bytes that the broker sends now arrive at the unit."""
        if self.model is PERFECT and self._down.arrived_at <= now_ms:
            return now_ms
        return self._down.through(size, now_ms, self.model.down, self._delay_ms())

    def reset(self) -> None:
        """A new connection: nothing is on its way."""
        self._up, self._down = _Way(), _Way()

    def next_ms(self, now_ms: int) -> int | None:
        """When it will next come or go by itself, as far as time alone decides."""
        if self.model is PERFECT and self._cut_until is None:
            return None
        moments: list[float] = [] if self._cut_until is None else [self._cut_until]
        if self.began_ms is not None:
            edges = (self.began_ms + edge * SECONDS_MS for each in self.model.outages for edge in (each.from_s, each.to_s))
            moments += [edge for edge in edges if edge > now_ms]
        if self._dropout is not None:
            moments += [edge for edge in self._dropout if edge > now_ms]
        nearest = min(moments, default=math.inf)
        return None if math.isinf(nearest) else math.ceil(nearest)

    def _delay_ms(self) -> float:
        model = self.model
        return model.latency_ms * math.exp(self.rng.gauss(0.0, model.spread)) if model.latency_ms else 0.0

    def _drops_out(self, now_ms: int) -> bool:
        model = self.model
        if not model.dropouts_per_hour:
            return False
        while self._dropout is None or now_ms >= self._dropout[1]:
            last = now_ms if self._dropout is None else self._dropout[1]
            begins = last + self.rng.expovariate(model.dropouts_per_hour / 3600) * SECONDS_MS
            self._dropout = (begins, begins + max(1.0, self.rng.expovariate(1 / model.dropout_s)) * SECONDS_MS)
        return self._dropout[0] <= now_ms
