"""The value types of AutoAPI L13, as construct declarations: enumerations, measures with their unit, composites.

A measure carries its unit on the wire; each declaration also names the unit that our signals have, and `Measure.signal`
converts. Source: High Mobility AutoAPI level 13, custom types and unit types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from construct import (
    Adapter,
    Enum,
    Float32b,
    Float64b,
    GreedyBytes,
    GreedyString,
    Int8sb,
    Int8ub,
    Int16ub,
    Int64ub,
    OneOf,
    PascalString,
    Prefixed,
    Struct,
)

UINT8 = Int8ub
UINT16 = Int16ub
INT8 = Int8sb
FLOAT = Float32b
DOUBLE = Float64b
TIMESTAMP = Int64ub
"""Unix time in milliseconds."""
PERCENTAGE = Float64b
"""0.0 to 1.0."""
TEXT = GreedyString("utf8")
"""UTF-8 to the end of the data."""
RAW = GreedyBytes
ITEM_TEXT = PascalString(Int16ub, "utf8")
"""UTF-8 inside a composite: with its length in bytes before it."""
ITEM_RAW = Prefixed(Int16ub, GreedyBytes)
STATE = GreedyBytes * "a whole message"
"""A whole message of another capability, to the end of the data."""


class Unit(NamedTuple):
    """One unit of a measurement: base value = value * factor + offset; where `inverse`, base value = factor / value."""

    id: int
    factor: float = 1.0
    offset: float = 0.0
    inverse: bool = False


MEASUREMENTS: Mapping[str, tuple[int, Mapping[str, Unit]]] = {
    "acceleration": (0x01, {"meters_per_second_squared": Unit(0), "gravity": Unit(1, 9.80665)}),
    "angle": (0x02, {"degrees": Unit(0), "radians": Unit(3, 57.29577951308232), "revolutions": Unit(5, 360.0)}),
    "angular_velocity": (
        0x03,
        {
            "revolutions_per_minute": Unit(0),
            "degrees_per_second": Unit(1, 1 / 6),
            "radians_per_second": Unit(2, 9.549296585513721),
        },
    ),
    "duration": (
        0x07,
        {
            "seconds": Unit(0),
            "minutes": Unit(1, 60.0),
            "hours": Unit(2, 3600.0),
            "days": Unit(3, 86400.0),
            "weeks": Unit(4, 604800.0),
            "months": Unit(5, 2629800.0),
        },
    ),
    "electric_current": (0x09, {"amperes": Unit(0), "milliamperes": Unit(1, 1e-3), "kiloamperes": Unit(2, 1e3)}),
    "electric_potential_difference": (0x0A, {"volts": Unit(0), "millivolts": Unit(1, 1e-3), "kilovolts": Unit(2, 1e3)}),
    "energy": (
        0x0C,
        {"joules": Unit(0), "kilojoules": Unit(1, 1e3), "watt_hours": Unit(3, 3600.0), "kilowatt_hours": Unit(4, 3.6e6)},
    ),
    "energy_efficiency": (0x0D, {"kwh_per_100_kilometers": Unit(0), "miles_per_kwh": Unit(1, 62.13711922373339, inverse=True)}),
    "frequency": (
        0x0E,
        {
            "hertz": Unit(0),
            "millihertz": Unit(1, 1e-3),
            "kilohertz": Unit(3, 1e3),
            "megahertz": Unit(4, 1e6),
            "gigahertz": Unit(5, 1e9),
            "times_per_minute": Unit(8, 1 / 60),
        },
    ),
    "fuel_efficiency": (
        0x0F,
        {
            "liters_per_100_kilometers": Unit(0),
            "miles_per_imperial_gallon": Unit(1, 282.4809363, inverse=True),
            "miles_per_gallon": Unit(2, 235.2145833, inverse=True),
        },
    ),
    "illuminance": (0x11, {"lux": Unit(0)}),
    "length": (
        0x12,
        {
            "meters": Unit(0),
            "millimeters": Unit(1, 1e-3),
            "centimeters": Unit(2, 1e-2),
            "decimeters": Unit(3, 1e-1),
            "kilometers": Unit(4, 1e3),
            "megameters": Unit(5, 1e6),
            "inches": Unit(0x0B, 0.0254),
            "feet": Unit(0x0C, 0.3048),
            "yards": Unit(0x0D, 0.9144),
            "miles": Unit(0x0E, 1609.344),
            "scandinavian_miles": Unit(0x0F, 1e4),
            "nautical_miles": Unit(0x11, 1852.0),
        },
    ),
    "mass": (0x13, {"kilograms": Unit(0)}),
    "power": (
        0x14,
        {
            "watts": Unit(0),
            "milliwatts": Unit(1, 1e-3),
            "kilowatts": Unit(2, 1e3),
            "megawatts": Unit(3, 1e6),
            "horsepower": Unit(0x0A, 745.7),
        },
    ),
    "pressure": (
        0x15,
        {
            "newtons_per_meters_squared": Unit(0),
            "kilopascals": Unit(3, 1e3),
            "inches_of_mercury": Unit(5, 3386.39),
            "bars": Unit(6, 1e5),
            "millibars": Unit(7, 1e2),
            "millimeters_of_mercury": Unit(8, 133.322),
            "pounds_force_per_square_inch": Unit(9, 6894.757),
        },
    ),
    "speed": (
        0x16,
        {
            "meters_per_second": Unit(0),
            "kilometers_per_hour": Unit(1, 1 / 3.6),
            "miles_per_hour": Unit(2, 0.44704),
            "knots": Unit(3, 1852 / 3600),
        },
    ),
    "temperature": (
        0x17,
        {"kelvin": Unit(0), "celsius": Unit(1, 1.0, 273.15), "fahrenheit": Unit(2, 5 / 9, 255.3722222222222)},
    ),
    "torque": (0x18, {"newton_meters": Unit(0), "newton_millimeters": Unit(1, 1e-3), "pound_feet": Unit(2, 1.3558179483)}),
    "volume": (
        0x19,
        {
            "liters": Unit(2),
            "milliliters": Unit(3, 1e-3),
            "centiliters": Unit(4, 1e-2),
            "deciliters": Unit(5, 1e-1),
            "cubic_meters": Unit(7, 1e3),
            "cubic_decimeters": Unit(8),
            "cubic_centimeters": Unit(9, 1e-3),
            "cubic_millimeters": Unit(0x0A, 1e-6),
            "cubic_inches": Unit(0x0B, 0.016387064),
            "cubic_feet": Unit(0x0C, 28.316846592),
            "fluid_ounces": Unit(0x13, 0.0295735295625),
            "gallons": Unit(0x17, 3.785411784),
            "imperial_fluid_ounces": Unit(0x1A, 0.0284130625),
            "imperial_gallons": Unit(0x1D, 4.54609),
        },
    ),
}
"""Measurement name: its id, and its units. A unit that is not here is kept as `unit_<id>` and yields no signal."""


class Measure(Adapter):  # type: ignore[misc]
    """A measured value, 10 bytes: measurement id, unit id, float64. In Python `{unit name: value}`."""

    def __init__(self, measurement: str, unit: str) -> None:
        identifier, self.units = MEASUREMENTS[measurement]
        super().__init__(Struct("measurement" / OneOf(Int8ub, [identifier]), "unit" / Int8ub, "value" / Float64b))
        self.measurement_id = identifier
        self.measurement = measurement
        self.unit = unit
        """The unit of the signal."""
        self.names = {unit.id: name for name, unit in self.units.items()}
        """The units by their ids."""

    def _decode(self, obj: Any, context: Any, path: str) -> dict[str, float]:
        return {self.names.get(obj.unit, f"unit_{obj.unit}"): obj.value}

    def _encode(self, obj: Mapping[str, float], context: Any, path: str) -> dict[str, Any]:
        ((name, value),) = obj.items()
        unit = self.units[name].id if name in self.units else int(name.removeprefix("unit_"))
        return {"measurement": self.measurement_id, "unit": unit, "value": value}

    def signal(self, said: Mapping[str, float]) -> float | None:
        """The value in this declaration's unit; None if it was said in a unit that we do not know."""
        ((name, value),) = said.items()
        if name == self.unit:
            return value
        if name not in self.units:
            return None
        source, target = self.units[name], self.units[self.unit]
        if (source.inverse or target.inverse) and value == 0:
            return None
        base = source.factor / value if source.inverse else value * source.factor + source.offset
        return target.factor / base if target.inverse else (base - target.offset) / target.factor


@dataclass(frozen=True, slots=True)
class Property:
    """What a property id of a capability means. `many`: it may come several times in a message, each a value of its own.

    `forms` are the layouts of its data, told apart by their size; the first is the one that we build.
    """

    name: str
    forms: tuple[Any, ...]
    many: bool = False

    @property
    def form(self) -> Any:
        """The layout that we build."""
        return self.forms[0]


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability: its id, its name, and its properties by their ids."""

    id: int
    name: str
    properties: Mapping[int, Property]


def one(name: str, *forms: Any) -> Property:
    """A property with one value."""
    return Property(name, forms)


def many(name: str, *forms: Any) -> Property:
    """A property that may come several times."""
    return Property(name, forms, many=True)


def capability(identifier: int, name: str, properties: Mapping[int, Property]) -> Capability:
    """A capability's declaration."""
    return Capability(identifier, name, MappingProxyType(dict(properties)))


class Keyed(Struct):  # type: ignore[misc]
    """A composite whose first item says which one it is (a door, a wheel, a lamp): each has a signal of its own."""


def enumeration(names: str) -> Any:
    """An enum byte: names by id from 0, `-` for an id that has none. An id without a name stays a number."""
    return Enum(Int8ub, **{name: number for number, name in enumerate(names.split()) if name != "-"})


def composite(kind: type[Struct] = Struct, /, **items: Any) -> Any:
    """A custom type: its items in order, by name."""
    return kind(*(name / form for name, form in items.items()))


def keyed(**items: Any) -> Any:
    """A custom type whose first item is its key."""
    return composite(Keyed, **items)


def sized(form: Any) -> Any:
    """A composite without a fixed size, as an item of another: with its length in bytes before it."""
    return Prefixed(Int16ub, form)


LENGTH = Measure("length", "kilometers")
METERS = Measure("length", "meters")
MILLIMETERS = Measure("length", "millimeters")
SPEED = Measure("speed", "kilometers_per_hour")
ACCELERATION = Measure("acceleration", "gravity")
ANGLE = Measure("angle", "degrees")
ANGULAR_VELOCITY = Measure("angular_velocity", "revolutions_per_minute")
YAW_RATE = Measure("angular_velocity", "degrees_per_second")
DURATION = Measure("duration", "minutes")
SECONDS = Measure("duration", "seconds")
HOURS = Measure("duration", "hours")
DAYS = Measure("duration", "days")
MONTHS = Measure("duration", "months")
CURRENT = Measure("electric_current", "amperes")
VOLTAGE = Measure("electric_potential_difference", "volts")
ENERGY = Measure("energy", "kilowatt_hours")
ENERGY_EFFICIENCY = Measure("energy_efficiency", "kwh_per_100_kilometers")
FREQUENCY = Measure("frequency", "hertz")
FUEL_EFFICIENCY = Measure("fuel_efficiency", "liters_per_100_kilometers")
ILLUMINANCE = Measure("illuminance", "lux")
MASS = Measure("mass", "kilograms")
POWER = Measure("power", "kilowatts")
PRESSURE = Measure("pressure", "bars")
TEMPERATURE = Measure("temperature", "celsius")
TORQUE = Measure("torque", "newton_meters")
SPRING_TORQUE = Measure("torque", "newton_millimeters")
VOLUME = Measure("volume", "liters")

ACTIVE = enumeration("inactive active")
ACTIVE_SELECTED = enumeration("inactive_selected inactive_not_selected active")
AXLE = enumeration("front rear")
CONNECTION = enumeration("disconnected connected")
DETECTED = enumeration("not_detected detected")
DRIVING_MODE = enumeration("regular eco sport sport_plus eco_plus comfort")
DRIVING_MODE_PHEV = enumeration("not_in_traction in_charge full_electric hybrid_serial thermic hybrid_parallel")
ENABLED = enumeration("disabled enabled")
ENGINE_TYPE = enumeration(
    "unknown all_electric combustion_engine phev hydrogen hydrogen_hybrid petrol electric gas diesel gasoline cng lpg hybrid"
)
EVENT = enumeration(
    "ping trip_started trip_ended vehicle_location_changed authorization_changed tire_pressure_changed"
    " harsh_acceleration_triggered harsh_acceleration_pedal_position_triggered harsh_braking_triggered"
    " harsh_cornering_triggered seat_belt_triggered maintenance_changed dashboard_lights_changed ignition_changed"
    " accident_reported emergency_reported breakdown_reported battery_guard_warning"
)
FLUID_LEVEL = enumeration("low filled very_low normal high very_high")
GRADE = enumeration("excellent normal warning")
IGNITION = enumeration("lock off accessory on start")
INTERMEDIATE_POSITION = enumeration("closed open intermediate")
LOCATION = enumeration("front_left front_right rear_right rear_left")
LOCK = enumeration("unlocked locked")
LOCK_SAFETY = enumeration("safe unsafe")
LONGITUDINAL = enumeration("front rear")
MUTED = enumeration("not_muted muted")
NETWORK_SECURITY = enumeration("none wep wpa wpa2_personal")
ON_OFF = enumeration("off on")
PLUG_TYPE = enumeration("type_1 type_2 ccs chademo")
POSITION = enumeration("closed open")
SEAT = enumeration("front_left front_right rear_right rear_left rear_center driver passenger")
SERVICE_STATUS = enumeration("ok warning critical")
TRIGGERED = enumeration("not_triggered triggered")
WEEKDAY = enumeration("monday tuesday wednesday thursday friday saturday sunday automatic")
WHEEL = enumeration("front_left front_right rear_right rear_left rear_right_outer rear_left_outer spare")
WINDOW = enumeration("front_left front_right rear_right rear_left hatch")

COORDINATES = composite(latitude=DOUBLE, longitude=DOUBLE)
TIME = composite(hour=UINT8, minute=UINT8)
ZONE = composite(horizontal=UINT8, vertical=UINT8)

FAILURE = composite(
    reason=enumeration("rate_limit execution_timeout format_error unauthorised unknown pending oem_error privacy_mode_active"),
    description=ITEM_TEXT,
)
"""Why a property has no data: its failure component."""
AVAILABILITY = composite(
    update_rate=enumeration("trip_high trip trip_start_end trip_end unknown not_available on_change"),
    rate_limit=FREQUENCY,
    applies_per=enumeration("app vehicle"),
)
"""How often a property is to be had: its availability component."""

DASHBOARD_LIGHTS = (
    "high_beam low_beam hazard_warning brake_failure hatch_open fuel_level engine_coolant_temperature"
    " battery_charging_condition engine_oil position_lights front_fog_light rear_fog_light park_heating engine_indicator"
    " service_call transmission_fluid_temperature transmission_failure anti_lock_brake_failure worn_brake_linings"
    " windscreen_washer_fluid tire_failure engine_oil_level engine_coolant_level steering_failure esc_indication brake_lights"
    " adblue_level fuel_filter_diff_pressure seat_belt advanced_braking acc trailer_connected airbag esc_switched_off"
    " lane_departure_warning_off air_filter_minder air_suspension_ride_control_fault all_wheel_drive_disabled anti_theft"
    " blind_spot_detection charge_system_fault check_fuel_cap check_fuel_fill_inlet check_fuel_filter dc_temp_warning"
    " dc_warning_status diesel_engine_idle_shutdown diesel_engine_warning diesel_exhaust_fluid_system_fault"
    " diesel_exhaust_over_temp diesel_exhaust_fluid_quality diesel_filter_regeneration diesel_particulate_filter"
    " diesel_pre_heat electric_trailer_brake_connection ev_battery_cell_max_volt_warning ev_battery_cell_min_volt_warning"
    " ev_battery_charge_energy_storage_warning ev_battery_high_level_warning ev_battery_high_temperature_warning"
    " ev_battery_insulation_resist_warning ev_battery_jump_level_warning ev_battery_low_level_warning"
    " ev_battery_max_volt_veh_energy_warning ev_battery_min_volt_veh_energy_warning ev_battery_over_charge_warning"
    " ev_battery_poor_cell_warning ev_battery_temp_diff_warning forward_collision_warning fuel_door_open"
    " hill_descent_control_fault hill_start_assist_warning hv_interlocking_status_warning lighting_system_failure"
    " malfunction_indicator motor_controller_temp_warning park_aid_malfunction passive_entry_passive_start"
    " powertrain_malfunction restraints_indicator_warning start_stop_engine_warning traction_control_disabled"
    " traction_control_active traction_motor_temp_warning tire_pressure_monitor_system_warning water_in_fuel"
    " tire_warning_front_right tire_warning_front_left tire_warning_rear_right tire_warning_rear_left"
    " tire_warning_system_error battery_low_warning brake_fluid_warning active_hood_fault active_spoiler_fault"
    " adjust_tire_pressure steering_lock_alert anti_pollution_failure_engine_start_impossible anti_pollution_system_failure"
    " anti_reverse_system_failing auto_parking_brake automatic_braking_deactive automatic_braking_system_fault"
    " automatic_lights_settings_failure keyfob_battery_alarm trunk_open check_reversing_lamp"
    " crossing_line_system_alert_failure dipped_beam_headlamps_front_left_failure"
    " dipped_beam_headlamps_front_right_failure directional_headlamps_failure directional_light_failure dsg_failing"
    " electric_mode_not_available electronic_lock_failure engine_control_system_failure engine_oil_pressure_alert esp_failure"
    " excessive_oil_temperature tire_front_left_flat tire_front_right_flat tire_rear_left_flat tire_rear_right_flat"
    " fog_light_front_left_failure fog_light_front_right_failure fog_light_rear_left_failure fog_light_rear_right_failure"
    " fog_light_front_fault door_front_left_open door_front_left_open_high_speed tire_front_left_not_monitored"
    " door_front_right_open door_front_right_open_high_speed tire_front_right_not_monitored headlights_left_failure"
    " headlights_right_failure hybrid_system_fault hybrid_system_fault_repaired_vehicle"
    " hydraulic_pressure_or_brake_fluid_insufficient lane_departure_fault limited_visibility_aids_camera tire_pressure_low"
    " maintenance_date_exceeded maintenance_odometer_exceeded other_failing_system parking_brake_control_failing"
    " parking_space_measuring_system_failure place_gear_to_parking power_steering_assistance_failure power_steering_failure"
    " preheating_deactivated_battery_too_low preheating_deactivated_fuel_level_too_low"
    " preheating_deactivated_battery_set_the_clock fog_light_rear_fault door_rear_left_open door_rear_left_open_high_speed"
    " tire_rear_left_not_monitored door_rear_right_open door_rear_right_open_high_speed tire_rear_right_not_monitored"
    " screen_rear_open retractable_roof_mechanism_fault reverse_light_left_failure reverse_light_right_failure risk_of_ice"
    " roof_operation_impossible_apply_parking_break roof_operation_impossible_apply_start_engine"
    " roof_operation_impossible_temperature_too_high seatbelt_passenger_front_right_unbuckled"
    " seatbelt_passenger_rear_left_unbuckled seatbelt_passenger_rear_center_unbuckled"
    " seatbelt_passenger_rear_right_unbuckled battery_secondary_low shock_sensor_failing side_lights_front_left_failure"
    " side_lights_front_right_failure side_lights_rear_left_failure side_lights_rear_right_failure"
    " spare_wheel_fitter_driving_aids_deactivated speed_control_failure stop_light_left_failure stop_light_right_failure"
    " suspension_failure suspension_failure_reduce_speed suspension_fault_limited_to_90kmh tire_pressure_sensor_failure"
    " trunk_open_high_speed trunk_window_open turn_signal_front_left_failure turn_signal_front_right_failure"
    " turn_signal_rear_left_failure turn_signal_rear_right_failure tire_under_inflation wheel_pressure_fault"
    " oil_change_warning inspection_warning diesel_oil_filter_water_presence engine_drag_torque_control_failure"
    " high_beam_left_failure high_beam_right_failure daytime_running_light_left_failure daytime_running_light_right_failure"
    " side_mark_lights_failure licence_plate_light_failure"
)
DASHBOARD_LIGHT = keyed(name=enumeration(DASHBOARD_LIGHTS), state=ON_OFF)
DASHBOARD_LIGHT_WIDE = keyed(
    name=Enum(Int16ub, **{name: number for number, name in enumerate(DASHBOARD_LIGHTS.split())}), state=ON_OFF
)
"""The form of L13.5: the lamp's id has two bytes."""
