"""What a vehicle shows of itself: each property of the vocabulary, and how it follows from the vehicle's attributes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices.vehicle import Vehicle

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
