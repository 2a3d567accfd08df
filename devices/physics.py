"""How one vehicle moves, burns, charges, warms and ages: the equations, for one row of numbers. `devices.columns` is their twin.

Longitudinal motion: T. D. Gillespie, "Fundamentals of Vehicle Dynamics" (SAE, 1992), chapters 2 and 4, and SAE J1263 for the
road load: m (1 + k) dv/dt = F - m g c_r cos(a) - 1/2 rho c_d A v^2 - m g sin(a), where F is bounded by the power at the wheels
(F v <= P) and by a driver who wants no more than so many m/s^2. Energy: L. Guzzella and A. Sciarretta, "Vehicle Propulsion
Systems" (Springer, 2013), chapters 2 and 3: a Willans line, which is a constant efficiency above what idling takes, and a share
of the braking power that comes back. Charging: constant current up to a knee, then a current that falls in proportion to what is
missing (CC-CV), and a floor at which the charger stops counting. Tyres: Gay-Lussac's law at constant volume.

Numbers live in a row: `S` names the places of what changes, `P` of what a vehicle is built like. Speeds are km/h, distances m.
"""

import math
from enum import IntEnum, auto

GRAVITY = 9.81
AIR_KG_PER_M3 = 1.2041
"""At 20 degrees Celsius and 1,013 hPa."""

STRIDE_S = 1.0
"""How finely motion is integrated. Cut otherwise, a trip of minutes differs by less than 1 % in distance and energy."""

CRUISE_S = 30.0
"""What is gone at a constant speed is integrated as finely as this."""

NEAR_M = 0.05
"""Close enough to where it wanted to stop."""

CHARGE_KNEE = 0.8
CHARGE_FLOOR = 0.05
"""Above this state of charge the current falls; below this share of the full current it falls no further."""

FLOOR_REACHED = 1 - CHARGE_FLOOR * (1 - CHARGE_KNEE)

QUIESCENT_A = 0.06
LIGHTS_A = 9.0
RECHARGE_S = 2400.0
"""What a parked vehicle and its unit take from the low-voltage battery, what lamps left on take, how fast it is filled again."""

WARM_UP_S, COOL_DOWN_S = 300.0, 5400.0
TIRE_WARM_S = 900.0
TIRE_CELSIUS_PER_KMH = 0.25
COLD_CELSIUS = 20.0
"""At which the cold pressure of a tyre is told."""

ATMOSPHERE_KPA = 101.3
CONSUMPTION_KM = 10.0
"""Over which the range display averages."""

ADBLUE_PERCENT_PER_KM = 1 / 60


class S(IntEnum):
    """Where in a row of state a number stands."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    SPEED = auto()
    TARGET = auto()
    DISTANCE = auto()
    ODOMETER = auto()
    ENERGY = auto()
    CONSUMPTION = auto()
    ADBLUE = auto()
    LOW_BATTERY = auto()
    MOTOR_C = auto()
    TIRE_C = auto()
    OUTSIDE_C = auto()
    IGNITION = auto()
    ENABLED = auto()
    LIGHTS = auto()
    CHARGING = auto()
    WAIT = auto()
    LEG_END = auto()
    LEG_LIMIT = auto()
    LEG_OUT = auto()
    LEG_GRADE = auto()
    LEG_STOP = auto()
    COLD_FL = auto()
    COLD_FR = auto()
    COLD_RL = auto()
    COLD_RR = auto()
    LEAK_FL = auto()
    LEAK_FR = auto()
    LEAK_RL = auto()
    LEAK_RR = auto()
    LOCKED = auto()
    TOP_CASE_LOCKED = auto()
    KEY = auto()
    TOP_CASE_OPEN = auto()
    COMPARTMENT_OPEN = auto()
    BRAKE = auto()
    STAND_DOWN = auto()
    PLUGGED = auto()
    ABS = auto()


class P(IntEnum):
    """Where in a row of parameters a number stands."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    MASS = auto()
    INERTIA = auto()
    DRAG = auto()
    ROLL = auto()
    POWER = auto()
    ACCELERATION = auto()
    BRAKING = auto()
    TOP = auto()
    CAPACITY = auto()
    EFFICIENCY = auto()
    REGEN = auto()
    IDLE = auto()
    CHARGER = auto()
    LOW_BATTERY_AH = auto()
    WARM_C = auto()


(SPEED, TARGET, DISTANCE, ODOMETER, ENERGY, CONSUMPTION, ADBLUE, LOW_BATTERY, MOTOR_C, TIRE_C, OUTSIDE_C) = map(int, list(S)[:11])
(IGNITION, ENABLED, LIGHTS, CHARGING, WAIT, LEG_END, LEG_LIMIT, LEG_OUT, LEG_GRADE, LEG_STOP) = map(int, list(S)[11:21])
COLD, LEAK = slice(S.COLD_FL, S.COLD_RR + 1), slice(S.LEAK_FL, S.LEAK_RR + 1)
(MASS, INERTIA, DRAG, ROLL, POWER, ACCELERATION, BRAKING, TOP, CAPACITY, EFFICIENCY, REGEN, IDLE, CHARGER) = map(
    int, list(P)[:13]
)
LOW_BATTERY_AH, WARM_C = int(P.LOW_BATTERY_AH), int(P.WARM_C)

Row = list[float]


def moves(s: Row) -> bool:
    """Whether it is in motion, or about to be."""
    return s[SPEED] > 0 or (s[TARGET] > 0 and s[IGNITION] > 0 and s[ENABLED] > 0)


def stride(s: Row, p: Row, seconds: float) -> float:
    """How much of `seconds` a vehicle that moves may move on at once: where its speed stays as it is more than STRIDE_S.

    It holds its speed while that is all that it may and can, and what it must brake for is further away than it takes to brake.
    """
    if seconds <= STRIDE_S:
        return seconds
    if s[WAIT] > 0:
        return min(seconds, max(STRIDE_S, s[WAIT]))
    speed, out = s[SPEED], s[LEG_OUT]
    if speed <= 0 or speed != min(s[TARGET], p[TOP], s[LEG_LIMIT]) or s[ENERGY] <= 1:
        return STRIDE_S
    braking_m = max(0.0, speed * speed - out * out) / (25.92 * p[BRAKING])
    free_s = (s[LEG_END] - s[DISTANCE] - braking_m) * 3.6 / speed - 2 * STRIDE_S
    if free_s <= STRIDE_S or road_load(speed / 3.6, s[LEG_GRADE], p) * speed / 3.6 > p[POWER]:
        return STRIDE_S
    return min(seconds, free_s, CRUISE_S)


def drive(s: Row, p: Row, h: float) -> None:
    """Let a vehicle that moves move on for `h` seconds, not more than a `stride`."""
    if s[WAIT] > 0:
        s[WAIT] = max(0.0, s[WAIT] - h)
        s[SPEED] = 0.0
        return
    speed, brake, left_m, ahead_s = s[SPEED], p[BRAKING], s[LEG_END] - s[DISTANCE], min(h, STRIDE_S)
    goes = s[IGNITION] > 0 and s[ENABLED] > 0 and s[ENERGY] > 0
    if goes and s[TARGET] > 0 and s[LEG_OUT] == 0 and left_m <= max(NEAR_M, 0.5 * brake * ahead_s * ahead_s):
        driven_m, after = max(0.0, left_m), 0.0
        s[DISTANCE] = s[LEG_END]
    else:
        may = 3.6 * math.sqrt((s[LEG_OUT] / 3.6) ** 2 + 2 * brake * max(0.0, left_m))
        wish = min(s[TARGET], p[TOP], s[LEG_LIMIT], max(s[LEG_OUT], may - 3.6 * brake * ahead_s)) if goes else 0.0
        load = road_load(speed / 3.6, s[LEG_GRADE], p)
        driven_m, after = _towards(speed, wish, load, p, h)
        s[DISTANCE] += driven_m
    mean = driven_m / h
    force = p[INERTIA] * (after - speed) / 3.6 / h + road_load(mean, s[LEG_GRADE], p)
    watts = force * mean
    used_kwh = (watts / p[EFFICIENCY] if watts > 0 else watts * p[REGEN]) * h / 3.6e6
    driven_km = driven_m / 1000
    s[SPEED] = after
    s[ODOMETER] += driven_km
    s[ENERGY] = min(100.0, max(0.0, s[ENERGY] - 100 * used_kwh / p[CAPACITY]))
    s[ADBLUE] = max(0.0, s[ADBLUE] - driven_km * ADBLUE_PERCENT_PER_KM)
    taken_kwh = used_kwh + p[IDLE] * h / 3600
    s[CONSUMPTION] += taken_kwh / CONSUMPTION_KM - s[CONSUMPTION] * driven_km / CONSUMPTION_KM


def road_load(speed: float, grade: float, p: Row) -> float:
    """What holds it back at `speed` m/s on a slope of that tangent, in newtons: rolling, climbing, the air."""
    along = 1 / math.sqrt(1 + grade * grade)
    rolling = p[ROLL] if speed > 0 else 0.0
    return p[MASS] * GRAVITY * along * (rolling + grade) + p[DRAG] * speed * speed


def _towards(speed: float, wish: float, load: float, p: Row, h: float) -> tuple[float, float]:
    """The metres driven in `h` seconds and the speed after them, for a driver at `speed` who wants `wish` km/h."""
    if wish >= speed:
        most = (p[POWER] / max(speed / 3.6, 1.0) - load) / p[INERTIA]
        change = 3.6 * min(p[ACCELERATION], most)
    else:
        change = -3.6 * p[BRAKING]
    after = speed + change * h
    if (change > 0 and after > wish) or (change < 0 and wish < speed and after < wish):
        changing_s = (wish - speed) / change
        return ((speed + wish) / 2 * changing_s + wish * (h - changing_s)) / 3.6, wish
    after = max(0.0, after)
    return (speed + after) / 2 * h / 3.6, after


def stand(s: Row, p: Row, dt: float) -> None:
    """What time alone does in `dt` seconds, however long: charging, idling, the low-voltage battery, warmth, leaks."""
    on = s[IGNITION] > 0
    if s[CHARGING] > 0:
        s[ENERGY] = 100 * charged(s[ENERGY] / 100, p[CHARGER] / p[CAPACITY] / 3600, dt)
    if on:
        s[ENERGY] = max(0.0, s[ENERGY] - 100 * p[IDLE] * dt / 3600 / p[CAPACITY])
    if on or s[CHARGING] > 0:
        s[LOW_BATTERY] = 1 - (1 - s[LOW_BATTERY]) * math.exp(-dt / RECHARGE_S)
    else:
        amps = QUIESCENT_A + (LIGHTS_A if s[LIGHTS] > 0 else 0.0)
        s[LOW_BATTERY] = max(0.0, s[LOW_BATTERY] - amps * dt / 3600 / p[LOW_BATTERY_AH])
    warm, tau_s = (p[WARM_C], WARM_UP_S) if on else (s[OUTSIDE_C], COOL_DOWN_S)
    s[MOTOR_C] = warm + (s[MOTOR_C] - warm) * math.exp(-dt / tau_s)
    warmth = TIRE_CELSIUS_PER_KMH * s[SPEED]
    s[TIRE_C] = warmth + (s[TIRE_C] - warmth) * math.exp(-dt / TIRE_WARM_S)
    if any(s[LEAK]):
        for cold, leak in zip(range(COLD.start, COLD.stop), range(LEAK.start, LEAK.stop), strict=True):
            s[cold] = max(0.0, s[cold] - s[leak] * dt / 3600)


def charged(level: float, rate: float, dt: float) -> float:
    """The state of charge (0 to 1) after `dt` seconds on a charger whose full current fills `rate` a second."""
    if rate <= 0:
        return level
    left = dt
    if level < CHARGE_KNEE:
        linear_s = min(left, (CHARGE_KNEE - level) / rate)
        level, left = level + rate * linear_s, left - linear_s
    tau_s = (1 - CHARGE_KNEE) / rate
    if left > 0 and level < FLOOR_REACHED:
        falling_s = min(left, tau_s * math.log((1 - level) / (1 - FLOOR_REACHED)))
        level, left = 1 - (1 - level) * math.exp(-falling_s / tau_s), left - falling_s
    return max(level, min(1.0, level + CHARGE_FLOOR * rate * left))


def warm_pressure(cold_kpa: float, celsius: float) -> float:
    """The gauge pressure at that temperature of a tyre that has `cold_kpa` at 20 degrees: none where it is empty."""
    warm = (cold_kpa + ATMOSPHERE_KPA) * (celsius + 273.15) / (COLD_CELSIUS + 273.15) - ATMOSPHERE_KPA
    return warm if warm > 0.0 else 0.0


def cold_pressure(warm_kpa: float, celsius: float) -> float:
    """The inverse of `warm_pressure`."""
    return (warm_kpa + ATMOSPHERE_KPA) * (COLD_CELSIUS + 273.15) / (celsius + 273.15) - ATMOSPHERE_KPA


def rest_voltage(level: float) -> float:
    """Of a 12 V lead-acid battery without load at that state of charge (0 to 1); it collapses when it is nearly empty."""
    return 11.4 + 1.3 * level - 45.0 * max(0.0, 0.1 - level)
