"""The words every vehicle shares: each property of a vehicle state and each command, with types, units and origin.

Values are plain JSON values: str, int, float, bool, {"lat": float, "lon": float}, and a date as "YYYY-MM-DD". Source `doc` is
the public INVERS OneAPI documentation, `own` is this project's choice where the documentation is silent.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Value: TypeAlias = str | int | float | bool | dict[str, float]
"""A property's value as it stands in JSON."""

Kind = Literal["enum", "lamp", "bool", "number", "integer", "percent", "position", "date"]
Source = Literal["doc", "own"]
VehicleType = Literal["CAR", "VAN", "TRUCK", "MOPED", "KICK_SCOOTER", "DEV_KIT"]

VEHICLE_TYPES: tuple[VehicleType, ...] = ("CAR", "VAN", "TRUCK", "MOPED", "KICK_SCOOTER", "DEV_KIT")
LAMP: tuple[Value, ...] = ("ON", "OFF", "SENSOR_FAILURE")
BOOL: tuple[Value, ...] = (False, True)

LARGEST = sys.float_info.max
"""Above it a number is none: a whole one can be written that no float holds."""

NAMED_KINDS = frozenset({"enum", "lamp", "bool"})
"""The kinds whose values can be listed."""

SCALED_KINDS = frozenset({"number", "integer", "percent"})
"""The kinds whose values lie between two numbers."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a vehicle state.

    `values` lists what an enum, lamp or bool may be. `low` and `high` bound a number in `unit`; a raw value beyond them says
    nothing. `resolution` is the finest step shown. `event` is the type of the event that tells of a change, None if none does.
    """

    key: str
    kind: Kind
    source: Source
    values: tuple[Value, ...] = ()
    unit: str = ""
    resolution: float | None = None
    low: float = 0.0
    high: float = 0.0

    @property
    def capability(self) -> str:
        """The capability with which the property may appear: `CENTRAL_LOCK`."""
        return self.key.upper()

    @property
    def event(self) -> str | None:
        """`CentralLockChanged`; enum, lamp and bool properties have one."""
        if self.kind not in NAMED_KINDS:
            return None
        return "".join(word.capitalize() for word in self.key.split("_")) + "Changed"

    def allows(self, value: Any) -> bool:
        """Whether `value` is one this property can have."""
        match self.kind:
            case "enum" | "lamp":
                return isinstance(value, str) and value in self.values
            case "bool":
                return isinstance(value, bool)
            case "position":
                return _is_position(value)
            case "date":
                return _is_date(value)
            case "integer":
                return _is_number(value) and value == int(value) and self.low <= value <= self.high
            case _:
                return _is_number(value) and self.low <= value <= self.high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_position(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"lat", "lon"}:
        return False
    lat, lon = value["lat"], value["lon"]
    return _is_number(lat) and _is_number(lon) and -90 <= lat <= 90 and -180 <= lon <= 180


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `effect` is what the state says after it, as far as the model reports it; `types` is for which vehicles."""

    name: str
    effect: Mapping[str, Value]
    types: tuple[VehicleType, ...]
    source: Source = "doc"


def _enum(key: str, source: Source, *values: str) -> Property:
    return Property(key, "enum", source, values=values)


def _lamp(key: str, source: Source) -> Property:
    return Property(key, "lamp", source, values=LAMP)


def _bool(key: str, source: Source) -> Property:
    return Property(key, "bool", source, values=BOOL)


def _number(key: str, source: Source, unit: str, resolution: float, low: float, high: float) -> Property:
    return Property(key, "number", source, unit=unit, resolution=resolution, low=low, high=high)


def _integer(key: str, source: Source, low: int, high: int) -> Property:
    return Property(key, "integer", source, resolution=1, low=low, high=high)


def _percent(key: str) -> Property:
    return Property(key, "percent", "doc", unit="%", resolution=0.1, low=0, high=100)


def _tyre(corner: str) -> Property:
    return _number(f"tire_pressure_{corner}_in_kilopascals", "own", "kPa", 0.1, 0, 2000)


_PROPERTIES = (
    _enum("abs_status", "doc", "ENABLED", "DISABLED"),
    _percent("adblue_level_in_percent"),
    _lamp("adblue_level_low_indicator", "doc"),
    _number("altitude_in_meters", "doc", "m", 0.1, -1000, 20_000),
    _enum("battery_compartment", "own", "OPEN", "CLOSED"),
    Property("brake_fluid_due_date", "date", "doc"),
    _lamp("brake_fluid_level_low_indicator", "doc"),
    _lamp("brake_lining_wear_indicator", "doc"),
    _lamp("brake_warning_indicator", "doc"),
    _integer("cellular_signal_quality", "doc", 0, 5),
    _enum("center_stand_position", "own", "UP", "DOWN"),
    _enum("central_lock", "doc", "LOCKED", "UNLOCKED"),
    _enum("charging_adapter_status", "own", "CONNECTED", "DISCONNECTED"),
    _enum("charging_status", "own", "CHARGING", "NOT_CHARGING"),
    _lamp("check_engine_indicator", "own"),
    _enum("doors_status", "own", "OPEN", "CLOSED"),
    _bool("driving_enabled", "doc"),
    _lamp("engine_oil_level_low_indicator", "own"),
    _enum("headlights_status", "own", "ON", "OFF"),
    _number("heading_in_degrees", "own", "deg", 0.01, 0, 360),
    _enum("ignition", "doc", "ON", "OFF"),
    _number("mileage_in_kilometers", "doc", "km", 0.1, 0, 10_000_000),
    _number("onboard_voltage_in_volts", "own", "V", 0.001, 0, 100),
    _bool("parking_brake_engaged", "own"),
    Property("position", "position", "doc", unit="deg", resolution=1e-7),
    _number("remaining_range_in_kilometers", "doc", "km", 0.1, 0, 10_000),
    _integer("satellites_in_use", "own", 0, 100),
    _number("speed_in_kilometers_per_hour", "own", "km/h", 0.01, 0, 500),
    _percent("state_of_charge_or_fuel_level_in_percent"),
    _number("telematics_unit_supply_voltage_in_volts", "own", "V", 0.001, 0, 100),
    _tyre("front_left"),
    _tyre("front_right"),
    _tyre("rear_left"),
    _tyre("rear_right"),
    _lamp("tire_pressure_low_indicator", "own"),
    _enum("top_case_lid", "doc", "OPEN", "CLOSED"),
    _enum("top_case_lock", "doc", "LOCKED", "UNLOCKED"),
    _enum("vehicle_key_status", "own", "IN", "OUT"),
    _enum("windows_status", "own", "OPEN", "CLOSED"),
)

PROPERTIES: Mapping[str, Property] = MappingProxyType({known.key: known for known in _PROPERTIES})
"""Every property of a vehicle state, by its key (`central_lock`)."""

_DOORED: tuple[VehicleType, ...] = ("CAR", "VAN", "TRUCK", "DEV_KIT")
_MOPEDS: tuple[VehicleType, ...] = ("MOPED", "DEV_KIT")
_CARS: tuple[VehicleType, ...] = ("CAR", "DEV_KIT")

_COMMANDS = (
    Command("request-vehicle-state", {}, VEHICLE_TYPES),
    Command("enable-driving", {"driving_enabled": True}, VEHICLE_TYPES),
    Command("disable-driving", {"driving_enabled": False}, VEHICLE_TYPES),
    Command("lock-central-lock", {"central_lock": "LOCKED"}, _DOORED),
    Command("unlock-central-lock", {"central_lock": "UNLOCKED"}, _DOORED),
    Command("lock-and-disable-driving", {"central_lock": "LOCKED", "driving_enabled": False}, _CARS),
    Command("unlock-and-enable-driving", {"central_lock": "UNLOCKED", "driving_enabled": True}, _CARS),
    Command("lock-top-case", {"top_case_lock": "LOCKED"}, _MOPEDS),
    Command("unlock-top-case", {"top_case_lock": "UNLOCKED"}, _MOPEDS),
    Command("draw-attention", {}, VEHICLE_TYPES),
    Command("unlock-battery-compartment", {"battery_compartment": "OPEN"}, _MOPEDS),
)

COMMANDS: Mapping[str, Command] = MappingProxyType({known.name: known for known in _COMMANDS})
"""Every command, by its name (`unlock-central-lock`). A dev kit takes all of them."""
