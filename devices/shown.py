"""What a vehicle shows of itself: each property of the vocabulary, and how it follows from the vehicle's attributes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from devices.physics import (
    ADBLUE,
    CHARGING,
    COLD,
    CONSUMPTION,
    ENABLED,
    ENERGY,
    IGNITION,
    LIGHTS,
    LOW_BATTERY,
    ODOMETER,
    OUTSIDE_C,
    SPEED,
    TIRE_C,
    Row,
    S,
    rest_voltage,
    warm_pressure,
)
from modeldb.vocabulary import PROPERTIES

if TYPE_CHECKING:
    from devices.vehicle import Vehicle

ABS, BRAKE, COMPARTMENT_OPEN, KEY, LOCKED = map(int, (S.ABS, S.BRAKE, S.COMPARTMENT_OPEN, S.KEY, S.LOCKED))
PLUGGED, STAND_DOWN, TOP_CASE_LOCKED, TOP_CASE_OPEN = map(int, (S.PLUGGED, S.STAND_DOWN, S.TOP_CASE_LOCKED, S.TOP_CASE_OPEN))
FLAGS = (
    ABS, BRAKE, CHARGING, COMPARTMENT_OPEN, ENABLED, IGNITION, KEY, LIGHTS, LOCKED, PLUGGED, STAND_DOWN, TOP_CASE_LOCKED,
    TOP_CASE_OPEN,
)  # fmt: skip
"""What of a row `words` asks for, but for lamps."""

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
LOW_ADBLUE_PERCENT = 10.0
LOW_TIRE_SHARE = 0.75
"""Of its nominal pressure: where the lamp is lit (UN R64 asks for it at 80 % or less)."""


def _dark(vehicle: "Vehicle") -> bool:
    return False


LIT: "Mapping[str, Callable[[Vehicle], bool]]" = {
    "adblue_level_low_indicator": lambda vehicle: vehicle.adblue_percent < LOW_ADBLUE_PERCENT,
    "tire_pressure_low_indicator": lambda vehicle: vehicle.has_flat_tire,
}


def lamp(vehicle: "Vehicle", key: str) -> str:
    """What the lamp `key` shows: ON, OFF or SENSOR_FAILURE."""
    if key in vehicle.failed_sensors:
        return "SENSOR_FAILURE"
    return "ON" if key in vehicle.warnings or LIT.get(key, _dark)(vehicle) else "OFF"


def _either(attribute: str, true: str, false: str) -> "Callable[[Vehicle], str]":
    return lambda vehicle: true if getattr(vehicle, attribute) else false


def _position(vehicle: "Vehicle") -> dict[str, float]:
    place = vehicle.here
    return {"lat": place.latitude, "lon": place.longitude}


def _lamp(key: str) -> "Callable[[Vehicle], str]":
    return lambda vehicle: lamp(vehicle, key)


def _pressure(tire: str) -> "Callable[[Vehicle], float]":
    return lambda vehicle: vehicle.tire_pressure_kpa[tire]


SHOWN: "Mapping[str, Callable[[Vehicle], Any]]" = {
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
    "remaining_range_in_kilometers": lambda vehicle: vehicle.range_km,
    "satellites_in_use": lambda vehicle: vehicle.satellites,
    "speed_in_kilometers_per_hour": lambda vehicle: vehicle.speed_kmh,
    "state_of_charge_or_fuel_level_in_percent": lambda vehicle: vehicle.energy_percent,
    "telematics_unit_supply_voltage_in_volts": lambda vehicle: vehicle.supply_voltage,
    "top_case_lid": _either("top_case_open", "OPEN", "CLOSED"),
    "top_case_lock": _either("top_case_locked", "LOCKED", "UNLOCKED"),
    "vehicle_key_status": _either("key_inserted", "IN", "OUT"),
    "windows_status": _either("windows_open", "OPEN", "CLOSED"),
    **{key: _lamp(key) for key in LAMPS},
    **{f"tire_pressure_{tire}_in_kilopascals": _pressure(tire) for tire in TIRES},
}


Words = tuple[Any, ...]
Measures = tuple[Any, ...]

WORDS = (
    "abs_status", "battery_compartment", "center_stand_position", "central_lock", "charging_adapter_status", "charging_status",
    "doors_status", "driving_enabled", "headlights_status", "ignition", "parking_brake_engaged", "top_case_lid", "top_case_lock",
    "vehicle_key_status", "windows_status", *LAMPS,
)  # fmt: skip
"""What `words` gives, in this order."""

MEASURES = (
    "adblue_level_in_percent", "altitude_in_meters", "brake_fluid_due_date", "cellular_signal_quality", "heading_in_degrees",
    "mileage_in_kilometers", "onboard_voltage_in_volts", "position", "remaining_range_in_kilometers", "satellites_in_use",
    "speed_in_kilometers_per_hour", "state_of_charge_or_fuel_level_in_percent", "telematics_unit_supply_voltage_in_volts",
    *(f"tire_pressure_{tire}_in_kilopascals" for tire in TIRES),
)  # fmt: skip
"""What `measures` gives, in this order."""

_ALL_DARK = ("OFF",) * len(LAMPS)


def words(vehicle: "Vehicle", row: Row) -> Words:
    """All that has names, as SHOWN says it, at once: a fleet asks for it all the time. `row` is the vehicle's."""
    if vehicle.warnings or vehicle.failed_sensors or row[ADBLUE] < LOW_ADBLUE_PERCENT or min(row[COLD]) < vehicle.low_tire_kpa:
        lamps = tuple([lamp(vehicle, key) for key in LAMPS])
    else:
        lamps = _ALL_DARK
    return (
        "ENABLED" if row[ABS] > 0 else "DISABLED",
        "OPEN" if row[COMPARTMENT_OPEN] > 0 else "CLOSED",
        "DOWN" if row[STAND_DOWN] > 0 else "UP",
        "LOCKED" if row[LOCKED] > 0 else "UNLOCKED",
        "CONNECTED" if row[PLUGGED] > 0 else "DISCONNECTED",
        "CHARGING" if row[CHARGING] > 0 else "NOT_CHARGING",
        "OPEN" if vehicle.doors_open else "CLOSED",
        row[ENABLED] > 0,
        "ON" if row[LIGHTS] > 0 else "OFF",
        "ON" if row[IGNITION] > 0 else "OFF",
        row[BRAKE] > 0,
        "OPEN" if row[TOP_CASE_OPEN] > 0 else "CLOSED",
        "LOCKED" if row[TOP_CASE_LOCKED] > 0 else "UNLOCKED",
        "IN" if row[KEY] > 0 else "OUT",
        "OPEN" if vehicle.windows_open else "CLOSED",
        *lamps,
    )


def measures(vehicle: "Vehicle", row: Row, volts: float | None = None) -> Measures:
    """All that has no names, as SHOWN says it, at once. `volts` are `onboard_volts`, where they are known already."""
    place = vehicle.here
    if volts is None:
        volts = onboard_volts(vehicle.system_voltage, row)
    warmth = row[OUTSIDE_C] + row[TIRE_C]
    return (
        row[ADBLUE],
        vehicle.altitude_m,
        vehicle.brake_fluid_due.isoformat(),
        min(5, max(0, (vehicle.signal_dbm + 120) // 10)),
        place.heading,
        row[ODOMETER],
        volts,
        {"lat": place.latitude, "lon": place.longitude},
        vehicle.range_left(row[CONSUMPTION], row[ENERGY]),
        vehicle.satellites,
        row[SPEED],
        row[ENERGY],
        vehicle.supply_volts(volts),
        *[warm_pressure(cold, warmth) for cold in row[COLD]],
    )


def onboard_volts(system_voltage: float, row: Row) -> float:
    """Of the low-voltage battery: charged while the ignition is on or the traction battery is being charged."""
    charge: float = row[LOW_BATTERY]
    if row[IGNITION] > 0 or row[CHARGING] > 0:
        return system_voltage / 12 * (13.2 + 1.0 * charge)
    return system_voltage / 12 * (rest_voltage(charge) - (0.3 if row[LIGHTS] > 0 else 0.0))


Pick = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def picking(keys: Sequence[str], among: Sequence[str]) -> Pick:
    """What gives the values of `keys` from those of `among`, always a tuple."""
    places = [among.index(key) for key in keys]
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda values: (values[places[0]],)) if places else (lambda values: ())


@cache
def picks(properties: tuple[str, ...]) -> tuple[Pick, Pick]:
    """How what is named, and all, of these properties is found among WORDS, and WORDS and MEASURES."""
    named = [key for key in properties if PROPERTIES[key].event is not None]
    return picking(named, WORDS), picking(properties, WORDS + MEASURES)


@cache
def shows(properties: frozenset[str]) -> "tuple[tuple[str, Callable[[Vehicle], Any]], ...]":
    """How each of these properties is found, those that a vehicle shows."""
    return tuple((key, SHOWN[key]) for key in sorted(properties) if key in SHOWN)
