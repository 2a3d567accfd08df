"""The physical truth of one simulated vehicle: what a perfect observer would see, and what its actuators do.

Pure: it lives by `step`, never by a clock of its own. The same seed gives the same life.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import Any

from devices.actuators import ACTS
from devices.route import Loop, Place, Route
from modeldb.model import VehicleModel

State = dict[str, Any]
"""Property key (`central_lock`) to vocabulary value."""

STRIDE_S = 1.0
"""How finely motion is integrated."""

ACCELERATION = 1.5
BRAKING = 2.5
"""m/s², an unhurried driver."""

LAMPS = (
    "adblue_level_low_indicator",
    "brake_fluid_level_low_indicator",
    "brake_lining_wear_indicator",
    "brake_warning_indicator",
    "check_engine_indicator",
    "engine_oil_level_low_indicator",
    "tire_pressure_low_indicator",
)
TIRES = ("front_left", "front_right", "rear_left", "rear_right")


class Vehicle:
    """One vehicle. Attributes are the truth and may be set by whoever plays the driver; commands come through `execute`.

    `properties` are the keys that its model can say, `commands` the names of the commands that it is fitted for; `kind` is
    the model's type (CAR, MOPED, ...). `executed` counts the commands carried out, by name. The key that starts it is not
    the fob that a shared vehicle keeps in a holder. Without `checks_ignition` its unit does not look at the ignition before
    it acts: the locks then do not follow, and only what is read from them says so. `stuck` names actuators that do not move.
    """

    def __init__(
        self,
        *,
        properties: Collection[str],
        commands: Collection[str],
        kind: str = "CAR",
        seed: int = 0,
        latitude: float = 50.9375,
        longitude: float = 6.9603,
        life: "Callable[[Vehicle, random.Random], Iterator[float]] | None" = None,
    ) -> None:
        rng = random.Random(seed)
        self.kind = kind
        self.properties = tuple(sorted(properties))
        self.commands = frozenset(commands)
        self.executed: Counter[str] = Counter()
        self._now_ms: int | None = None
        self._put_on_road(rng, latitude, longitude)
        self._park()
        self._fill(rng)
        self._life = life(self, rng) if life is not None else None
        self._life_pause_s = next(self._life, math.inf) if self._life is not None else math.inf

    @classmethod
    def of(
        cls,
        model: VehicleModel,
        brand: str,
        *,
        seed: int = 0,
        latitude: float = 50.9375,
        longitude: float = 6.9603,
        life: "Callable[[Vehicle, random.Random], Iterator[float]] | None" = None,
    ) -> "Vehicle":
        """A vehicle of `model` with a unit of `brand`: it shows what that unit can say and does what it can command."""
        translation = model.units[brand]
        return cls(
            properties=translation.state_keys,
            commands=translation.commands,
            kind=model.type,
            seed=seed,
            latitude=latitude,
            longitude=longitude,
            life=life,
        )

    def _put_on_road(self, rng: random.Random, latitude: float, longitude: float) -> None:
        around = Loop(latitude, longitude, bearing=rng.uniform(0, 360))
        start = around.at(rng.uniform(0, around.length_m))
        self.route: Route = Loop(
            start.latitude,
            start.longitude,
            bearing=rng.uniform(0, 360),
            along_m=rng.uniform(600, 1800),
            across_m=rng.uniform(400, 1200),
        )
        self.distance_m = 0.0
        self.odometer_km = round(rng.uniform(500, 90_000), 1)
        self.speed_kmh = 0.0
        self.target_speed_kmh = 0.0
        self.top_speed_kmh = {"MOPED": 45.0, "KICK_SCOOTER": 20.0, "TRUCK": 80.0}.get(self.kind, 100.0)

    def _park(self) -> None:
        self.locked = True
        self.commanded_lock: bool | None = None
        self.top_case_locked = True
        self.commanded_top_case_lock: bool | None = None
        self.driving_enabled = False
        self.ignition = False
        self.key_inserted = False
        self.fob_in_holder = True
        self.doors_open: set[str] = set()
        self.windows_open: set[str] = set()
        self.top_case_open = False
        self.battery_compartment_open = False
        self.parking_brake = True
        self.center_stand_down = True
        self.headlights = False
        self.plugged = False
        self.charging = False
        self.abs_enabled = True
        self.checks_ignition = True
        self.stuck: set[str] = set()
        self.forced_supply_volts: float | None = None
        self.warnings: set[str] = set()
        self.failed_sensors: set[str] = set()

    def _fill(self, rng: random.Random) -> None:
        self.electric = "charging_status" in self.properties
        self.energy_percent = rng.uniform(40, 95)
        self.range_at_full_km = {"MOPED": 90.0, "KICK_SCOOTER": 40.0}.get(self.kind, 400.0 if self.electric else 650.0)
        self.adblue_percent = rng.uniform(20, 100)
        nominal = {"MOPED": 190.0, "KICK_SCOOTER": 300.0, "TRUCK": 800.0}.get(self.kind, 240.0)
        self.tire_pressure_kpa = {tire: nominal + rng.uniform(-8, 8) for tire in TIRES}
        self.brake_fluid_due = date(2026 + rng.randrange(3), rng.randrange(1, 13), rng.randrange(1, 29))
        self.system_voltage = 24.0 if self.kind == "TRUCK" else 12.0
        self.satellites = rng.randrange(8, 15)
        self.altitude_m = rng.uniform(20, 300)

    @property
    def in_motion(self) -> bool:
        """Whether it moves at all."""
        return self.speed_kmh > 0.0

    @property
    def onboard_voltage(self) -> float:
        """Of the low-voltage battery, in volts: charged while the ignition is on."""
        return self.system_voltage * (1.175 if self.ignition else 1.04)

    @property
    def supply_voltage(self) -> float:
        """At the unit's supply pins, in volts: the battery's less the cable's drop, unless `forced_supply_volts` is set."""
        return self.onboard_voltage - 0.15 if self.forced_supply_volts is None else self.forced_supply_volts

    @property
    def here(self) -> Place:
        """Where it is."""
        return self.route.at(self.distance_m)

    @property
    def signal_dbm(self) -> int:
        """What the modem hears where the vehicle is."""
        return round(-75 - 20 * math.sin(self.distance_m / 900) ** 2)

    def state(self) -> State:
        """All that the model can say, as vocabulary values and without any rounding."""
        return {key: _SHOWN[key](self) for key in self.properties if key in _SHOWN}

    def lamp(self, key: str) -> str:
        """What the lamp `key` shows: ON, OFF or SENSOR_FAILURE."""
        if key in self.failed_sensors:
            return "SENSOR_FAILURE"
        return "ON" if key in self.warnings or _LIT.get(key, _dark)(self) else "OFF"

    @property
    def next_change_ms(self) -> int | None:
        """When its life next changes something by itself, in the time that `advance` was told; None: never."""
        if self._now_ms is None or math.isinf(self._life_pause_s):
            return None
        return self._now_ms + math.ceil(self._life_pause_s * 1000)

    def advance(self, now_ms: int) -> None:
        """Live until `now_ms`. The first call only sets the time."""
        if self._now_ms is not None and now_ms > self._now_ms:
            self.step((now_ms - self._now_ms) / 1000)
        self._now_ms = max(now_ms, self._now_ms or now_ms)

    def step(self, dt_s: float) -> None:
        """Live for `dt_s` seconds: what its driver does happens at its own moment in between."""
        left = dt_s
        while left > 1e-9:
            moving = self.in_motion or self.target_speed_kmh > 0
            slice_s = min(left, self._life_pause_s, STRIDE_S if moving else math.inf)
            self._move(slice_s)
            left -= slice_s
            self._life_pause_s -= slice_s
            while self._life is not None and self._life_pause_s <= 1e-9:
                self._life_pause_s = next(self._life, math.inf)

    def _move(self, dt_s: float) -> None:
        if self.charging:
            self.energy_percent = min(100.0, self.energy_percent + CHARGE_PERCENT_PER_S * dt_s)
        target = min(self.target_speed_kmh, self.top_speed_kmh) if self.ignition and self.driving_enabled else 0.0
        before = self.speed_kmh
        if target >= before:
            self.speed_kmh = min(target, before + ACCELERATION * 3.6 * dt_s)
        else:
            self.speed_kmh = max(target, before - BRAKING * 3.6 * dt_s)
        driven_km = (before + self.speed_kmh) / 2 * dt_s / 3600
        self.distance_m += driven_km * 1000
        self.odometer_km += driven_km
        self.energy_percent = max(0.0, self.energy_percent - 100 * driven_km / self.range_at_full_km)
        self.adblue_percent = max(0.0, self.adblue_percent - driven_km / 60)

    def execute(self, command: str) -> str | None:
        """Carry out a command (`unlock-central-lock`) wholly, or not at all: then the word for why.

        Words: `not_fitted`, `ignition_on`, `in_motion`, `door_open`, `key_missing`.
        """
        if command not in self.commands or command not in ACTS:
            return "not_fitted"
        refusal, act = ACTS[command]
        word = refusal(self)
        if word is not None and (word != "ignition_on" or self.checks_ignition):
            return word
        act(self)
        self.executed[command] += 1
        return None

    def set_lock(self, locked: bool) -> None:
        """What the unit does to the central lock: it does not follow while the ignition is on, or where it is stuck."""
        self.commanded_lock = locked
        if not self.ignition and "central_lock" not in self.stuck:
            self.locked = locked

    def set_top_case_lock(self, locked: bool) -> None:
        """What the unit does to the top case."""
        self.top_case_locked = self.commanded_top_case_lock = locked

    def open_battery_compartment(self) -> None:
        """What the unit does to the battery compartment: it springs open."""
        self.battery_compartment_open = True


CHARGE_PERCENT_PER_S = 0.15


def _dark(vehicle: Vehicle) -> bool:
    return False


_LIT: Mapping[str, Callable[[Vehicle], bool]] = {
    "adblue_level_low_indicator": lambda vehicle: vehicle.adblue_percent < 10,
    "tire_pressure_low_indicator": lambda vehicle: min(vehicle.tire_pressure_kpa.values()) < 150,
}


def _either(attribute: str, true: str, false: str) -> Callable[[Vehicle], str]:
    return lambda vehicle: true if getattr(vehicle, attribute) else false


def _position(vehicle: Vehicle) -> dict[str, float]:
    place = vehicle.here
    return {"lat": place.latitude, "lon": place.longitude}


def _lamp(key: str) -> Callable[[Vehicle], str]:
    return lambda vehicle: vehicle.lamp(key)


def _pressure(tire: str) -> Callable[[Vehicle], float]:
    return lambda vehicle: vehicle.tire_pressure_kpa[tire]


_SHOWN: Mapping[str, Callable[[Vehicle], Any]] = {
    "abs_status": _either("abs_enabled", "ENABLED", "DISABLED"),
    "adblue_level_in_percent": lambda vehicle: vehicle.adblue_percent,
    "altitude_in_meters": lambda vehicle: vehicle.altitude_m,
    "battery_compartment": _either("battery_compartment_open", "OPEN", "CLOSED"),
    "brake_fluid_due_date": lambda vehicle: vehicle.brake_fluid_due.isoformat(),
    "cellular_signal_quality": lambda vehicle: min(5, max(0, (vehicle.signal_dbm + 120) // 10)),
    "center_stand_position": _either("center_stand_down", "DOWN", "UP"),
    "central_lock": _either("locked", "LOCKED", "UNLOCKED"),
    "charging_adapter_status": _either("plugged", "CONNECTED", "DISCONNECTED"),
    "charging_status": _either("charging", "CHARGING", "NOT_CHARGING"),
    "doors_status": _either("doors_open", "OPEN", "CLOSED"),
    "driving_enabled": lambda vehicle: vehicle.driving_enabled,
    "heading_in_degrees": lambda vehicle: vehicle.here.heading,
    "headlights_status": _either("headlights", "ON", "OFF"),
    "ignition": _either("ignition", "ON", "OFF"),
    "mileage_in_kilometers": lambda vehicle: vehicle.odometer_km,
    "onboard_voltage_in_volts": lambda vehicle: vehicle.onboard_voltage,
    "parking_brake_engaged": lambda vehicle: vehicle.parking_brake,
    "position": _position,
    "remaining_range_in_kilometers": lambda vehicle: vehicle.energy_percent / 100 * vehicle.range_at_full_km,
    "satellites_in_use": lambda vehicle: vehicle.satellites,
    "speed_in_kilometers_per_hour": lambda vehicle: vehicle.speed_kmh,
    "state_of_charge_or_fuel_level_in_percent": lambda vehicle: vehicle.energy_percent,
    "telematics_unit_supply_voltage_in_volts": lambda vehicle: vehicle.supply_voltage,
    "top_case_lid": _either("top_case_open", "OPEN", "CLOSED"),
    "top_case_lock": _either("top_case_locked", "LOCKED", "UNLOCKED"),
    "vehicle_key_status": _either("key_inserted", "IN", "OUT"),
    "windows_status": _either("windows_open", "OPEN", "CLOSED"),
    **{lamp: _lamp(lamp) for lamp in LAMPS},
    **{f"tire_pressure_{tire}_in_kilopascals": _pressure(tire) for tire in TIRES},
}
