"""What a vehicle is built like, as data: `devices/data/vehicles.toml`, by type, and where one model differs."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from devices.physics import AIR_KG_PER_M3, P, Row, road_load

ROTATING = 0.05
"""What wheels and shafts add to the mass that is accelerated (Gillespie, chapter 2: 1.04 to 1.1 in the higher gears)."""

RANGE_SPEED = 50 / 3.6
"""At which a new vehicle's range is told, m/s."""

USUAL_TYPE = "CAR"


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Masses and powers of one kind of vehicle. `rolling` is the rolling resistance coefficient, `efficiency` from tank or
    battery to the wheels, `regeneration` the share of braking that comes back, `idle_kw` what it takes switched on and
    standing, `charger_kw` the full charging power (0: it has a tank). `acceleration` and `braking` are an unhurried
    driver's, m/s².
    """

    mass_kg: float
    drag_area_m2: float
    rolling: float
    power_kw: float
    top_speed_kmh: float
    energy_kwh: float
    efficiency: float
    idle_kw: float
    warm_celsius: float
    regeneration: float = 0.0
    charger_kw: float = 0.0
    acceleration: float = 1.5
    braking: float = 2.5
    system_volts: float = 12.0
    low_battery_ah: float = 60.0
    tire_kpa: float = 240.0

    def row(self) -> Row:
        """The same as a row of numbers, by `devices.physics.P`."""
        said = {
            P.MASS: self.mass_kg,
            P.INERTIA: self.mass_kg * (1 + ROTATING),
            P.DRAG: 0.5 * AIR_KG_PER_M3 * self.drag_area_m2,
            P.ROLL: self.rolling,
            P.POWER: 1000 * self.power_kw,
            P.ACCELERATION: self.acceleration,
            P.BRAKING: self.braking,
            P.TOP: self.top_speed_kmh,
            P.CAPACITY: self.energy_kwh,
            P.EFFICIENCY: self.efficiency,
            P.REGEN: self.regeneration * self.efficiency,
            P.IDLE: self.idle_kw,
            P.CHARGER: self.charger_kw,
            P.LOW_BATTERY_AH: self.low_battery_ah,
            P.WARM_C: self.warm_celsius,
        }
        return [said[place] for place in P]

    def usual_kwh_per_km(self) -> float:
        """What it takes at a steady 50 km/h (or all it can) on the level, idling included."""
        speed = min(RANGE_SPEED, self.top_speed_kmh / 3.6)
        return (road_load(speed, 0.0, self.row()) * speed / 1000 / self.efficiency + self.idle_kw) / (speed * 3.6)


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("devices").joinpath("data/vehicles.toml").read_text(encoding="utf-8"))


@cache
def build_of(kind: str, electric: bool, file: str = "") -> Build:
    """That of a vehicle of this type (CAR, ...; an unknown one is built like a car); `file` is its model's."""
    data = _data()
    said = dict(data["types"].get(kind) or data["types"][USUAL_TYPE])
    differs = said.pop("electric", {})
    if electric:
        said |= differs
    return msgspec.convert(said | data["models"].get(file.removeprefix("models/"), {}), Build)
