"""A fleet's vehicles as numpy columns, stepped together: the twin of `devices.physics`, row for row, and tested against it."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from devices import physics
from devices.physics import (
    ACCELERATION,
    ADBLUE,
    ADBLUE_PERCENT_PER_KM,
    BRAKING,
    CAPACITY,
    CHARGE_FLOOR,
    CHARGE_KNEE,
    CHARGER,
    CHARGING,
    COLD,
    CONSUMPTION,
    CONSUMPTION_KM,
    COOL_DOWN_S,
    CRUISE_S,
    DISTANCE,
    DRAG,
    EFFICIENCY,
    ENABLED,
    ENERGY,
    GRAVITY,
    IDLE,
    IGNITION,
    INERTIA,
    LEAK,
    LEG_END,
    LEG_GRADE,
    LEG_LIMIT,
    LEG_OUT,
    LIGHTS,
    LIGHTS_A,
    LOW_BATTERY,
    LOW_BATTERY_AH,
    MASS,
    MOTOR_C,
    NEAR_M,
    ODOMETER,
    OUTSIDE_C,
    POWER,
    QUIESCENT_A,
    RECHARGE_S,
    REGEN,
    ROLL,
    SPEED,
    STRIDE_S,
    TARGET,
    TIRE_C,
    TIRE_CELSIUS_PER_KMH,
    TIRE_WARM_S,
    TOP,
    WAIT,
    WARM_C,
    WARM_UP_S,
    P,
    Row,
    S,
)

if TYPE_CHECKING:
    from devices.vehicle import Vehicle

Matrix = NDArray[np.float64]

TOGETHER_MS = 100
"""How far a vehicle's truth may stand behind the clock, for whoever looks at it, while its fleet is stepped together."""

UNSEEN_MS = 1_500
"""... and how far while nobody looks: what is not looked at is not stepped for nothing, ten times a second."""


class Columns:
    """The physical state of `size` vehicles: `state[row]` by `S`, `built[row]` by `P`.

    `clocks` is up to when each row has lived (Unix ms, NaN: not yet begun), `pauses` the seconds until its driver next acts.
    `fixed` are what a vehicle usually takes (kWh/km), and the pressure under which a tyre is flat (kPa).
    `looks_ms` is when somebody will look at it, as far as that is known.
    `places` is where each row is (latitude, longitude, heading, altitude) after `placed_m`, NaN: not known.
    Where somebody calls `advance` or `lead` again and again, `led` is to be set: then a vehicle does not step itself while
    nothing happens to it, and nobody looks.
    """

    def __init__(self, size: int) -> None:
        self.state: Matrix = np.zeros((size, len(S)))
        self.built: Matrix = np.zeros((size, len(P)))
        self.clocks: Matrix = np.full(size, math.nan)
        self.pauses: Matrix = np.full(size, math.inf)
        self.fixed: Matrix = np.zeros((size, 2))
        self.places: Matrix = np.zeros((size, 4))
        self.placed_m: Matrix = np.full(size, math.nan)
        self.looks_ms: Matrix = np.full(size, math.inf)
        self.vehicles: list[Vehicle] = []
        self.led = False
        self._now_ms = self._looked_ms = -math.inf

    def join(self, vehicle: "Vehicle") -> int:
        """A row for one more vehicle. Raises IndexError where there is none left."""
        row = len(self.vehicles)
        if row >= len(self.state):
            raise IndexError(f"these columns are for {len(self.state)} vehicles")
        self.vehicles.append(vehicle)
        return row

    def advance(self, now_ms: float) -> None:
        """Let every vehicle live until now: those whose driver acts meanwhile one by one, the others together."""
        if now_ms < self._now_ms + TOGETHER_MS:
            return
        self._now_ms = self._looked_ms = now_ms
        self._act(now_ms)
        self._follow(np.flatnonzero((now_ms - self.clocks) > 0), now_ms)

    def lead(self, now_ms: float) -> None:
        """As `advance`, but that vehicles to which nothing happens, and at which nobody looks soon, are left UNSEEN_MS behind."""
        if now_ms < self._looked_ms + TOGETHER_MS:
            return
        self._looked_ms = now_ms
        self._act(now_ms)
        behind_ms = now_ms - self.clocks
        seen = (self.looks_ms < now_ms + TOGETHER_MS) & (behind_ms > 0)
        self._follow(np.flatnonzero(seen | (behind_ms >= UNSEEN_MS)), now_ms)

    def prepare(self, rows: NDArray[np.intp], now_ms: float) -> None:
        """As `lead`, for one that knows at whom it will look within TOGETHER_MS: at `rows`."""
        self._act(now_ms)
        self._follow(rows[now_ms > self.clocks[rows]], now_ms)

    def catch_up(self, rows: NDArray[np.intp], moments_ms: Matrix) -> None:
        """Somebody looks at `rows`, whose drivers do nothing until these moments: let those live that are far behind them."""
        behind_ms = moments_ms - self.clocks[rows]
        late = behind_ms > TOGETHER_MS
        if late.any():
            self.step(rows[late], behind_ms[late] / 1000)
            self.clocks[rows[late]] = moments_ms[late]

    def whereabouts(self, rows: NDArray[np.intp], driven_m: Matrix) -> Matrix:
        """`places` of `rows`, which have driven so far."""
        for at in np.flatnonzero(self.placed_m[rows] != driven_m).tolist():
            row = rows.item(at)
            vehicle = self.vehicles[row]
            place = vehicle.here
            self.places[row] = place.latitude, place.longitude, place.heading, vehicle.altitude_m
            self.placed_m[row] = driven_m[at]
        return self.places[rows]

    def _act(self, now_ms: float) -> None:
        """Let those live until now whose drivers act meanwhile."""
        with np.errstate(invalid="ignore"):
            left = (now_ms - self.clocks) / 1000
            acting = np.flatnonzero((left > 0) & (self.pauses <= left + 1e-6))
        for row in acting.tolist():
            self.vehicles[row].live_until(now_ms)

    def _follow(self, rows: NDArray[np.intp], now_ms: float) -> None:
        if len(rows):
            self.step(rows, (now_ms - self.clocks[rows]) / 1000)
            self.clocks[rows] = now_ms

    def step(self, rows: NDArray[np.intp], seconds: Matrix) -> None:
        """Let `rows` live, each for its seconds, in which its driver does nothing."""
        self.pauses[rows] -= seconds
        state, built = np.asfortranarray(self.state[rows]), np.asfortranarray(self.built[rows])
        moving = (state[:, SPEED] > 0) | ((state[:, TARGET] > 0) & (state[:, IGNITION] > 0) & (state[:, ENABLED] > 0))
        still = ~moving
        if still.any():
            self.state[rows[still]] = _stood(state[still], built[still], seconds[still])
        driving, left, own = rows[moving], seconds[moving], built[moving]
        state = state[moving]
        while len(driving):
            stride = _stride(state, own, left)
            state = _driven(_stood(state, own, stride), own, stride)
            self._next_legs(driving, state)
            left = left - stride
            done = left <= 1e-9
            self.state[driving[done]] = state[done]
            driving, left, own, state = driving[~done], left[~done], own[~done], state[~done]

    def _next_legs(self, rows: NDArray[np.intp], state: Matrix) -> None:
        for place in np.flatnonzero(state[:, DISTANCE] >= state[:, LEG_END]).tolist():
            row: Row = state[place].tolist()
            self.vehicles[int(rows[place])].next_leg(row)
            state[place] = row


def _stood(state: Matrix, built: Matrix, dt: Matrix) -> Matrix:
    """`physics.stand` for many."""
    s = state.copy()
    on, charging = s[:, IGNITION] > 0, s[:, CHARGING] > 0
    if charging.any():
        rate = built[charging, CHARGER] / built[charging, CAPACITY] / 3600
        s[charging, ENERGY] = 100 * _charged(s[charging, ENERGY] / 100, rate, dt[charging])
    idle = np.maximum(0.0, s[:, ENERGY] - 100 * built[:, IDLE] * dt / 3600 / built[:, CAPACITY])
    s[:, ENERGY] = np.where(on, idle, s[:, ENERGY])
    amps = QUIESCENT_A + np.where(s[:, LIGHTS] > 0, LIGHTS_A, 0.0)
    drained = np.maximum(0.0, s[:, LOW_BATTERY] - amps * dt / 3600 / built[:, LOW_BATTERY_AH])
    filled = 1 - (1 - s[:, LOW_BATTERY]) * np.exp(-dt / RECHARGE_S)
    s[:, LOW_BATTERY] = np.where(on | charging, filled, drained)
    warm = np.where(on, built[:, WARM_C], s[:, OUTSIDE_C])
    s[:, MOTOR_C] = warm + (s[:, MOTOR_C] - warm) * np.exp(-dt / np.where(on, WARM_UP_S, COOL_DOWN_S))
    warmth = TIRE_CELSIUS_PER_KMH * s[:, SPEED]
    s[:, TIRE_C] = warmth + (s[:, TIRE_C] - warmth) * np.exp(-dt / TIRE_WARM_S)
    if s[:, LEAK].any():
        s[:, COLD] = np.maximum(0.0, s[:, COLD] - s[:, LEAK] * dt[:, None] / 3600)
    return s


def _charged(level: Matrix, rate: Matrix, dt: Matrix) -> Matrix:
    """`physics.charged` for many."""
    known = rate > 0
    rate = np.where(known, rate, 1.0)
    linear = np.where(level < CHARGE_KNEE, np.minimum(dt, (CHARGE_KNEE - level) / rate), 0.0)
    now, left = level + rate * linear, dt - linear
    tau = (1 - CHARGE_KNEE) / rate
    reached = physics.FLOOR_REACHED
    with np.errstate(divide="ignore", invalid="ignore"):
        falling = np.minimum(left, tau * np.log((1 - now) / (1 - reached)))
    falling = np.where((left > 0) & (now < reached), falling, 0.0)
    now, left = np.where(falling > 0, 1 - (1 - now) * np.exp(-falling / tau), now), left - falling
    now = np.maximum(now, np.minimum(1.0, now + CHARGE_FLOOR * rate * left))
    return np.where(known, now, level)


def _stride(s: Matrix, p: Matrix, seconds: Matrix) -> Matrix:
    """`physics.stride` for many."""
    least = np.minimum(seconds, STRIDE_S)
    speed, out, wait = s[:, SPEED], s[:, LEG_OUT], s[:, WAIT]
    wish = np.minimum(np.minimum(s[:, TARGET], p[:, TOP]), s[:, LEG_LIMIT])
    braking_m = np.maximum(0.0, speed * speed - out * out) / (25.92 * p[:, BRAKING])
    with np.errstate(divide="ignore", invalid="ignore"):
        free_s = (s[:, LEG_END] - s[:, DISTANCE] - braking_m) * 3.6 / speed - 2 * STRIDE_S
    can = _road_load(speed / 3.6, s[:, LEG_GRADE], p) * speed / 3.6 <= p[:, POWER]
    cruises = (speed > 0) & (speed == wish) & (s[:, ENERGY] > 1) & can & (free_s > STRIDE_S)
    held = np.where(cruises, np.minimum(free_s, CRUISE_S), STRIDE_S)
    return np.where(seconds <= STRIDE_S, least, np.minimum(seconds, np.where(wait > 0, np.maximum(STRIDE_S, wait), held)))


def _driven(state: Matrix, p: Matrix, h: Matrix) -> Matrix:
    """`physics.drive` for many."""
    s = state
    waits = s[:, WAIT] > 0
    s[:, WAIT] = np.where(waits, np.maximum(0.0, s[:, WAIT] - h), s[:, WAIT])
    speed, brake, left_m, ahead_s = s[:, SPEED], p[:, BRAKING], s[:, LEG_END] - s[:, DISTANCE], np.minimum(h, STRIDE_S)
    goes = (s[:, IGNITION] > 0) & (s[:, ENABLED] > 0) & (s[:, ENERGY] > 0)
    stops = goes & (s[:, TARGET] > 0) & (s[:, LEG_OUT] == 0) & (left_m <= np.maximum(NEAR_M, 0.5 * brake * ahead_s * ahead_s))
    may = 3.6 * np.sqrt((s[:, LEG_OUT] / 3.6) ** 2 + 2 * brake * np.maximum(0.0, left_m))
    held = np.maximum(s[:, LEG_OUT], may - 3.6 * brake * ahead_s)
    wish = np.where(goes, np.minimum(np.minimum(s[:, TARGET], p[:, TOP]), np.minimum(s[:, LEG_LIMIT], held)), 0.0)
    driven_m, after = _towards(speed, wish, _road_load(speed / 3.6, s[:, LEG_GRADE], p), p, h)
    driven_m = np.where(stops, np.maximum(0.0, left_m), driven_m)
    after = np.where(stops | waits, 0.0, after)
    mean = driven_m / h
    watts = (p[:, INERTIA] * (after - speed) / 3.6 / h + _road_load(mean, s[:, LEG_GRADE], p)) * mean
    used_kwh = np.where(watts > 0, watts / p[:, EFFICIENCY], watts * p[:, REGEN]) * h / 3.6e6
    goes_on = ~waits
    driven_km = driven_m / 1000
    s[:, DISTANCE] = np.where(goes_on, np.where(stops, s[:, LEG_END], s[:, DISTANCE] + driven_m), s[:, DISTANCE])
    s[:, SPEED] = after
    s[:, ODOMETER] = np.where(goes_on, s[:, ODOMETER] + driven_km, s[:, ODOMETER])
    energy = np.clip(s[:, ENERGY] - 100 * used_kwh / p[:, CAPACITY], 0.0, 100.0)
    s[:, ENERGY] = np.where(goes_on, energy, s[:, ENERGY])
    adblue = np.maximum(0.0, s[:, ADBLUE] - driven_km * ADBLUE_PERCENT_PER_KM)
    s[:, ADBLUE] = np.where(goes_on, adblue, s[:, ADBLUE])
    taken_kwh = used_kwh + p[:, IDLE] * h / 3600
    consumption = s[:, CONSUMPTION] + (taken_kwh / CONSUMPTION_KM - s[:, CONSUMPTION] * driven_km / CONSUMPTION_KM)
    s[:, CONSUMPTION] = np.where(goes_on, consumption, s[:, CONSUMPTION])
    return s


def _road_load(speed: Matrix, grade: Matrix, p: Matrix) -> Matrix:
    """`physics.road_load` for many."""
    along = 1 / np.sqrt(1 + grade * grade)
    rolling = np.where(speed > 0, p[:, ROLL], 0.0)
    load: Matrix = p[:, MASS] * GRAVITY * along * (rolling + grade) + p[:, DRAG] * speed * speed
    return load


def _towards(speed: Matrix, wish: Matrix, load: Matrix, p: Matrix, h: Matrix) -> tuple[Matrix, Matrix]:
    """`physics._towards` for many."""
    most = (p[:, POWER] / np.maximum(speed / 3.6, 1.0) - load) / p[:, INERTIA]
    change: Any = np.where(wish >= speed, 3.6 * np.minimum(p[:, ACCELERATION], most), -3.6 * p[:, BRAKING])
    after = speed + change * h
    reaches = ((change > 0) & (after > wish)) | ((change < 0) & (wish < speed) & (after < wish))
    changing_s = np.where(reaches, (wish - speed) / np.where(change == 0, 1.0, change), 0.0)
    slowed = np.maximum(0.0, after)
    driven = np.where(reaches, ((speed + wish) / 2 * changing_s + wish * (h - changing_s)) / 3.6, (speed + slowed) / 2 * h / 3.6)
    return driven, np.where(reaches, wish, slowed)
