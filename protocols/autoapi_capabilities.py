"""The capabilities of AutoAPI L13 that say how the vehicle is: property ids, names, types.

Written as a table, to be read beside High Mobility's capability pages. Signals are `<capability>.<property>`, then `.<key>`
where the value says which one it is (`doors.positions.front_left`), `.<item>` where it has several items
(`vehicle_location.coordinates.latitude`), `.<number>` from 0 for other repeated values; measures are in the unit that the
type declares. What a vehicle's cabin and its services are about is in `protocols.autoapi_cabin`.
"""

from collections.abc import Mapping

from construct import Bytes, StringEncoded

from protocols import autoapi_cabin
from protocols.autoapi_types import (
    ACCELERATION,
    ACTIVE,
    ACTIVE_SELECTED,
    ANGLE,
    ANGULAR_VELOCITY,
    AXLE,
    COORDINATES,
    CURRENT,
    DASHBOARD_LIGHT,
    DASHBOARD_LIGHT_WIDE,
    DAYS,
    DETECTED,
    DOUBLE,
    DRIVING_MODE,
    DRIVING_MODE_PHEV,
    DURATION,
    ENABLED,
    ENERGY,
    ENERGY_EFFICIENCY,
    ENGINE_TYPE,
    EVENT,
    FLUID_LEVEL,
    FUEL_EFFICIENCY,
    GRADE,
    HOURS,
    IGNITION,
    INT8,
    INTERMEDIATE_POSITION,
    ITEM_RAW,
    ITEM_TEXT,
    LENGTH,
    LOCATION,
    LOCK,
    LOCK_SAFETY,
    LONGITUDINAL,
    MASS,
    METERS,
    MONTHS,
    ON_OFF,
    PERCENTAGE,
    PLUG_TYPE,
    POSITION,
    POWER,
    PRESSURE,
    RAW,
    SECONDS,
    SERVICE_STATUS,
    SPEED,
    STATE,
    TEMPERATURE,
    TEXT,
    TIME,
    TIMESTAMP,
    TORQUE,
    TRIGGERED,
    UINT8,
    UINT16,
    VOLTAGE,
    VOLUME,
    WEEKDAY,
    WHEEL,
    WINDOW,
    YAW_RATE,
    Capability,
    Property,
    capability,
    composite,
    enumeration,
    keyed,
    many,
    one,
    sized,
)

BRANDS = enumeration(
    "unknown abarth alfaromeo alpine audi bmw cadillac chevrolet chrysler citroen cupra dacia dodge ds fiat ford honda hyundai"
    " iveco jaguar jeep kia lancia land_rover lexus man mazda mercedes_benz mini mitsubishi nissan opel peugeot porsche renault"
    " seat skoda smart subaru toyota volkswagen volvo_cars emulator tesla maserati"
)
NONCE, SIGNATURE, MESSAGE_TIMESTAMP, VIN, BRAND = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4
UNIVERSAL: Mapping[int, Property] = {
    NONCE: one("nonce", Bytes(9)),
    SIGNATURE: one("vehicle_signature", Bytes(64)),
    MESSAGE_TIMESTAMP: one("timestamp", TIMESTAMP),
    VIN: one("vin", StringEncoded(Bytes(17), "ascii")),
    BRAND: one("brand", BRANDS),
}
"""What any message may carry besides its capability's own properties."""

WEEKDAY_TIME = keyed(weekday=WEEKDAY, time=TIME)
TIRE_PRESSURE = keyed(location=WHEEL, pressure=PRESSURE)
TEMPERATURE_EXTREME = keyed(extreme=enumeration("highest lowest"), temperature=TEMPERATURE)
LIGHT = keyed(location=LONGITUDINAL, state=ACTIVE)
DOOR_LOCK = keyed(location=LOCATION, lock_state=LOCK)
ADDRESS_COMPONENT = keyed(
    type=enumeration("city country country_short district postal_code street state_province other"), value=ITEM_TEXT
)
ENERGY_CATEGORY = enumeration("- driving climate")

FAILURE_MESSAGE = capability(
    0x0002,
    "failure_message",
    {
        0x01: one("failed_message_id", UINT16),
        0x02: one("failed_message_type", UINT8),
        0x03: one(
            "failure_reason",
            enumeration(
                "unsupported_capability unauthorised incorrect_state execution_timeout vehicle_asleep invalid_command pending"
                " rate_limit oem_error privacy_mode_active"
            ),
        ),
        0x04: one("failure_description", TEXT),
        0x05: one("failed_property_ids", RAW),
    },
)
FIRMWARE_VERSION = capability(
    0x0003,
    "firmware_version",
    {
        0x01: one("hmkit_version", composite(major=UINT8, minor=UINT8, patch=UINT8)),
        0x02: one("hmkit_build_name", TEXT),
        0x03: one("application_version", TEXT),
    },
)
CAPABILITIES_CAPABILITY = capability(
    0x0010,
    "capabilities",
    {
        0x01: many("capabilities", composite(capability_id=UINT16, supported_property_ids=ITEM_RAW)),
        0x02: many("webhooks", composite(available=enumeration("unavailable available"), event=EVENT)),
    },
)
VEHICLE_STATUS = capability(0x0011, "vehicle_status", {0x99: many("states", STATE)})
HISTORICAL = capability(
    0x0012,
    "historical",
    {
        0x01: many("states", STATE),
        0x02: one("capability_id", UINT16),
        0x03: one("start_date", TIMESTAMP),
        0x04: one("end_date", TIMESTAMP),
    },
)
MULTI_COMMAND = capability(0x0013, "multi_command", {0x01: many("multi_states", STATE), 0x02: many("multi_commands", STATE)})
VEHICLE_INFORMATION = capability(
    0x0014,
    "vehicle_information",
    {
        0x01: one("vin", TEXT),
        0x02: one("powertrain", ENGINE_TYPE),
        0x03: one("model_name", TEXT),
        0x04: one("name", TEXT),
        0x05: one("license_plate", TEXT),
        0x06: one("sales_designation", TEXT),
        0x07: one("model_year", UINT16),
        0x08: one("colour_name", TEXT),
        0x09: one("power_in_kw", POWER),
        0x0A: one("number_of_doors", UINT8),
        0x0B: one("number_of_seats", UINT8),
        0x0C: one("engine_volume", VOLUME),
        0x0D: one("engine_max_torque", TORQUE),
        0x0E: one("gearbox", enumeration("manual automatic semi_automatic")),
        0x0F: one("display_unit", enumeration("km miles")),
        0x10: one("driver_seat_location", enumeration("left right center")),
        0x11: many("equipments", TEXT),
        0x12: one("brand", TEXT),
        0x13: one("power", POWER),
        0x14: one("language", TEXT),
        0x15: one("timeformat", enumeration("twelve_h twenty_four_h")),
        0x1B: one("model_key", TEXT),
        0x1C: one("data_quality", enumeration("no_data up_to_date almost_up_to_date out_of_date")),
        0x1D: many("extra_equipment_codes", TEXT),
        0x1E: one("series", TEXT),
        0x1F: one("last_data_transfer_date", TIMESTAMP),
        0x21: one("vehicle_mass", MASS),
    },
)
DOORS = capability(
    0x0020,
    "doors",
    {
        0x02: many("inside_locks", DOOR_LOCK),
        0x03: many("locks", DOOR_LOCK),
        0x04: many(
            "positions",
            keyed(location=enumeration("front_left front_right rear_right rear_left - all"), position=POSITION),
        ),
        0x05: one("inside_locks_state", LOCK),
        0x06: one("locks_state", LOCK),
    },
)
TRUNK = capability(0x0021, "trunk", {0x01: one("lock", LOCK), 0x02: one("position", POSITION)})
CHARGING = capability(
    0x0023,
    "charging",
    {
        0x02: one("estimated_range", LENGTH),
        0x03: one("battery_level", PERCENTAGE),
        0x04: one("battery_current_ac", CURRENT),
        0x05: one("battery_current_dc", CURRENT),
        0x06: one("charger_voltage_ac", VOLTAGE),
        0x07: one("charger_voltage_dc", VOLTAGE),
        0x08: one("charge_limit", PERCENTAGE),
        0x09: one("time_to_complete_charge", DURATION),
        0x0A: one("charging_rate_kw", POWER),
        0x0B: one("charge_port_state", POSITION),
        0x0C: one("charge_mode", enumeration("immediate timer_based inductive conductive push_button")),
        0x0E: one("max_charging_current", CURRENT),
        0x0F: one("plug_type", PLUG_TYPE),
        0x10: one("charging_window_chosen", enumeration("not_chosen chosen")),
        0x11: many("departure_times", composite(state=ACTIVE, time=TIME)),
        0x13: many("reduction_times", keyed(start_stop=enumeration("start stop"), time=TIME)),
        0x14: one("battery_temperature", TEMPERATURE),
        0x15: many(
            "timers",
            keyed(timer_type=enumeration("preferred_start_time preferred_end_time departure_date"), date=TIMESTAMP),
        ),
        0x16: one("plugged_in", enumeration("disconnected plugged_in")),
        0x17: one(
            "status",
            enumeration(
                "not_charging charging charging_complete initialising charging_paused charging_error cable_unplugged"
                " slow_charging fast_charging discharging foreign_object_detected conditioning flap_open ready_for_charging"
            ),
        ),
        0x18: one("charging_rate", POWER),
        0x19: one("battery_current", CURRENT),
        0x1A: one("charger_voltage", VOLTAGE),
        0x1B: one("current_type", enumeration("alternating_current direct_current wireless")),
        0x1C: one("max_range", LENGTH),
        0x1D: one("starter_battery_state", enumeration("red yellow green orange green_yellow")),
        0x1E: one("smart_charging_status", enumeration("wallbox_is_active scc_is_active peak_setting_active")),
        0x1F: one("battery_level_at_departure", PERCENTAGE),
        0x20: one("preconditioning_departure_status", ACTIVE),
        0x21: one("preconditioning_immediate_status", ACTIVE),
        0x22: one("preconditioning_departure_enabled", ENABLED),
        0x23: one(
            "preconditioning_error",
            enumeration("no_change not_possible_low not_possible_finished available_after_engine_restart general_error"),
        ),
        0x24: one("battery_capacity", ENERGY),
        0x25: one("auxiliary_power", POWER),
        0x26: one("charging_complete_lock", ACTIVE),
        0x27: one("battery_max_available", ENERGY),
        0x28: one(
            "charging_end_reason",
            enumeration(
                "unknown goal_reached requested_by_driver connector_removed powergrid_failed hv_system_failure"
                " charging_station_failure parking_lock_failed no_parking_lock signal_invalid"
            ),
        ),
        0x29: one("charging_phases", enumeration("no_charging one two three")),
        0x2A: one("battery_energy", ENERGY),
        0x2B: one("battery_energy_chargable", ENERGY),
        0x2C: one("charging_single_immediate", ACTIVE),
        0x2D: one("charging_time_display", enumeration("no_display display_duration no_display_duration")),
        0x2E: one("departure_time_display", enumeration("no_display reachable not_reachable")),
        0x2F: one("restriction", composite(active=ACTIVE, limit=enumeration("max reduced min"))),
        0x30: one("limit_status", ACTIVE),
        0x31: one("current_limit", CURRENT),
        0x32: one("smart_charging_option", enumeration("price_optimized renewable_energy co2_optimized")),
        0x33: one("plug_lock_status", LOCK),
        0x34: one("flap_lock_status", LOCK),
        0x35: one("acoustic_limit", enumeration("no_action automatic unlimited limited")),
        0x36: one("min_charging_current", CURRENT),
        0x37: one("estimated_range_target", LENGTH),
        0x38: many("fully_charged_end_times", WEEKDAY_TIME),
        0x39: one("preconditioning_scheduled_time", TIME),
        0x3A: one("preconditioning_remaining_time", DURATION),
        0x3B: one("battery_voltage", VOLTAGE),
        0x3C: many("battery_tempretature_extremes", TEMPERATURE_EXTREME),
        0x3D: one(
            "battery_temperature_control_demand",
            enumeration(
                "high_cooling medium_cooling low_cooling no_temperature_requirement low_heating medium_heating high_heating"
                " circulation_requirement"
            ),
        ),
        0x3E: one("charging_current", CURRENT),
        0x3F: one(
            "battery_status",
            enumeration("inactive active balancing external_load load error initialising conditioning"),
        ),
        0x40: one(
            "battery_led",
            enumeration(
                "no_colour white yellow green red yellow_pulsing green_pulsing red_pulsing green_red_pulsing green_flashing"
                " initialising error blue"
            ),
        ),
        0x41: one("battery_cooling_temperature", TEMPERATURE),
        0x42: many("battery_temperature_extremes", TEMPERATURE_EXTREME),
        0x43: one("driving_mode_phev", DRIVING_MODE_PHEV),
        0x44: one(
            "battery_charge_type",
            enumeration("no_charge normal accelerated fast quick ultra_fast not_used vehicle_to_home vehicle_to_grid"),
        ),
        0x48: one("station_power_type", enumeration("- ac_smart")),
        0x4D: one("conserving_charge", ACTIVE),
        0x4E: one("charging_rate_distance", composite(distance=LENGTH, time=HOURS)),
        0x51: one("distance_since_charging", LENGTH),
    },
)
CLIMATE = capability(
    0x0024,
    "climate",
    {
        0x01: one("inside_temperature", TEMPERATURE),
        0x02: one("outside_temperature", TEMPERATURE),
        0x03: one("driver_temperature_setting", TEMPERATURE),
        0x04: one("passenger_temperature_setting", TEMPERATURE),
        0x05: one("hvac_state", ACTIVE),
        0x06: one("defogging_state", ACTIVE),
        0x07: one("defrosting_state", ACTIVE),
        0x08: one("ionising_state", ACTIVE),
        0x09: one("defrosting_temperature_setting", TEMPERATURE),
        0x0B: many("hvac_weekday_starting_times", WEEKDAY_TIME),
        0x0C: one("rear_temperature_setting", TEMPERATURE),
    },
)
HONK_HORN_FLASH_LIGHTS = capability(
    0x0026,
    "honk_horn_flash_lights",
    {
        0x01: one("flashers", enumeration("inactive emergency_flasher_active left_flasher_active right_flasher_active")),
        0x02: one("honk_seconds", SECONDS),
        0x03: one("flash_times", UINT8),
        0x04: one("emergency_flashers_state", ACTIVE),
        0x05: one("honk_time", SECONDS),
    },
)
VEHICLE_LOCATION = capability(
    0x0030,
    "vehicle_location",
    {
        0x04: one("coordinates", COORDINATES),
        0x05: one("heading", ANGLE),
        0x06: one("altitude", METERS),
        0x07: one("precision", METERS),
        0x08: one("gps_source", enumeration("dead_reckoning real none")),
        0x09: one("gps_signal_strength", PERCENTAGE),
        0x0A: one("fuzzy_coordinates", COORDINATES),
    },
)
DIAGNOSTICS = capability(
    0x0033,
    "diagnostics",
    {
        0x01: one("mileage", LENGTH),
        0x02: one("engine_oil_temperature", TEMPERATURE),
        0x03: one("speed", SPEED),
        0x04: one("engine_rpm", ANGULAR_VELOCITY),
        0x05: one("fuel_level", PERCENTAGE),
        0x06: one("estimated_range", LENGTH),
        0x09: one("washer_fluid_level", FLUID_LEVEL),
        0x0B: one("battery_voltage", VOLTAGE),
        0x0C: one("adblue_level", PERCENTAGE),
        0x0D: one("distance_since_reset", LENGTH),
        0x0E: one("distance_since_start", LENGTH),
        0x0F: one("fuel_volume", VOLUME),
        0x10: one("anti_lock_braking", ACTIVE),
        0x11: one("engine_coolant_temperature", TEMPERATURE),
        0x12: one("engine_total_operating_hours", HOURS),
        0x13: one("engine_total_fuel_consumption", VOLUME),
        0x14: one("brake_fluid_level", FLUID_LEVEL),
        0x15: one("engine_torque", PERCENTAGE),
        0x16: one("engine_load", PERCENTAGE),
        0x17: one("wheel_based_speed", SPEED),
        0x18: one("battery_level", PERCENTAGE),
        0x19: many("check_control_messages", composite(id=UINT16, remaining_time=DURATION, text=ITEM_TEXT, status=ITEM_TEXT)),
        0x1A: many("tire_pressures", TIRE_PRESSURE),
        0x1B: many("tire_temperatures", keyed(location=WHEEL, temperature=TEMPERATURE)),
        0x1C: many("wheel_rpms", keyed(location=WHEEL, rpm=ANGULAR_VELOCITY)),
        0x1D: many(
            "trouble_codes",
            composite(
                occurrences=UINT8,
                id=ITEM_TEXT,
                ecu_id=ITEM_TEXT,
                status=ITEM_TEXT,
                system=enumeration("unknown body chassis powertrain network"),
            ),
        ),
        0x1E: one("mileage_meters", LENGTH),
        0x1F: one("odometer", LENGTH),
        0x20: one("engine_total_operating_time", HOURS),
        0x21: many("tire_pressure_statuses", keyed(location=WHEEL, status=enumeration("normal low alert soft deflation"))),
        0x22: one("brake_lining_wear_pre_warning", ACTIVE),
        0x23: one("engine_oil_life_remaining", PERCENTAGE),
        0x24: many(
            "oem_trouble_code_values", composite(id=ITEM_TEXT, key_value=sized(composite(key=ITEM_TEXT, value=ITEM_TEXT)))
        ),
        0x25: one("diesel_exhaust_fluid_range", LENGTH),
        0x26: one("diesel_particulate_filter_soot_level", PERCENTAGE),
        0x27: many(
            "confirmed_trouble_codes",
            composite(id=ITEM_TEXT, ecu_address=ITEM_TEXT, ecu_variant_name=ITEM_TEXT, status=ITEM_TEXT),
        ),
        0x28: many(
            "diesel_exhaust_filter_status",
            composite(
                status=enumeration("unknown normal_operation overloaded at_limit over_limit"),
                component=enumeration(
                    "unknown exhaust_filter diesel_particulate_filter overboost_code_regulator off_board_regeneration"
                ),
                cleaning=enumeration("unknown in_progress complete interrupted"),
            ),
        ),
        0x2A: one("engine_total_idle_operating_time", HOURS),
        0x2B: one("engine_oil_amount", VOLUME),
        0x2C: one("engine_oil_level", PERCENTAGE),
        0x2D: one("estimated_secondary_powertrain_range", LENGTH),
        0x2E: one("fuel_level_accuracy", enumeration("measured calculated")),
        0x2F: many("tire_pressures_targets", TIRE_PRESSURE),
        0x30: many("tire_pressures_differences", TIRE_PRESSURE),
        0x31: one("backup_battery_remaining_time", DURATION),
        0x32: one("engine_coolant_fluid_level", FLUID_LEVEL),
        0x33: one("engine_oil_fluid_level", FLUID_LEVEL),
        0x34: one("engine_oil_pressure_level", enumeration("low normal high low_soft low_hard no_sensor system_fault")),
        0x35: one("engine_time_to_next_service", HOURS),
        0x36: one(
            "low_voltage_battery_charge_level",
            enumeration("ok deactivation_level_1 deactivation_level_2 deactivation_level_3"),
        ),
        0x37: one("engine_oil_service_status", SERVICE_STATUS),
        0x38: one("passenger_airbag_status", ACTIVE),
    },
)
MAINTENANCE = capability(
    0x0034,
    "maintenance",
    {
        0x01: one("days_to_next_service", DAYS),
        0x02: one("kilometers_to_next_service", LENGTH),
        0x03: one("cbs_reports_count", UINT8),
        0x04: one("months_to_exhaust_inspection", MONTHS),
        0x05: one("teleservice_availability", enumeration("pending idle successful error")),
        0x06: one("service_distance_threshold", LENGTH),
        0x07: one("service_time_threshold", DAYS),
        0x08: one("automatic_teleservice_call_date", TIMESTAMP),
        0x09: one("teleservice_battery_call_date", TIMESTAMP),
        0x0A: one("next_inspection_date", TIMESTAMP),
        0x0B: many(
            "condition_based_services",
            composite(
                year=UINT16,
                month=UINT8,
                id=UINT16,
                due_status=enumeration("ok pending overdue"),
                text=ITEM_TEXT,
                description=ITEM_TEXT,
            ),
        ),
        0x0C: one("brake_fluid_change_date", TIMESTAMP),
        0x0D: one("time_to_next_service", DAYS),
        0x0E: one("distance_to_next_service", LENGTH),
        0x0F: one("time_to_exhaust_inspection", MONTHS),
        0x10: one("last_ecall", TIMESTAMP),
        0x11: one("distance_to_next_oil_service", LENGTH),
        0x12: one("time_to_next_oil_service", DAYS),
        0x13: one("brake_fluid_remaining_distance", LENGTH),
        0x14: one("brake_fluid_status", SERVICE_STATUS),
        0x16: many("brakes_service_due_dates", keyed(axle=AXLE, due_date=TIMESTAMP)),
        0x17: many("brakes_service_remaining_distances", keyed(axle=AXLE, distance=LENGTH)),
        0x18: many("brakes_service_statuses", keyed(axle=AXLE, status=SERVICE_STATUS)),
        0x19: one("drive_in_inspection_date", TIMESTAMP),
        0x1A: one("drive_in_inspection_status", SERVICE_STATUS),
        0x1B: one("next_oil_service_date", TIMESTAMP),
        0x1C: one("next_inspection_distance_to", LENGTH),
        0x1D: one("legal_inspection_date", TIMESTAMP),
        0x1E: one("service_status", SERVICE_STATUS),
        0x1F: one("service_date", TIMESTAMP),
        0x20: one("inspection_status", SERVICE_STATUS),
        0x21: one("drive_in_inspection_distance_to", LENGTH),
        0x22: one("vehicle_check_date", TIMESTAMP),
        0x23: one("vehicle_check_status", SERVICE_STATUS),
        0x24: one("vehicle_check_distance_to", LENGTH),
        0x25: one("service_warning", composite(due=enumeration("- almost"), reason=enumeration("- - - distance_driven"))),
        0x26: one("last_service_date", TIMESTAMP),
        0x27: one("last_service_distance", LENGTH),
        0x28: one("next_inspection_distance", LENGTH),
    },
)
IGNITION_CAPABILITY = capability(
    0x0035,
    "ignition",
    {0x01: one("status", ON_OFF), 0x02: one("accessories_status", IGNITION), 0x03: one("state", IGNITION)},
)
LIGHTS = capability(
    0x0036,
    "lights",
    {
        0x01: one("front_exterior_light", enumeration("inactive active active_with_full_beam drl automatic")),
        0x02: one("rear_exterior_light", ACTIVE),
        0x04: one("ambient_light_colour", composite(red=UINT8, green=UINT8, blue=UINT8)),
        0x05: one("reverse_light", ACTIVE),
        0x06: one("emergency_brake_light", ACTIVE),
        0x07: many("fog_lights", LIGHT),
        0x08: many("reading_lamps", keyed(location=LOCATION, state=ACTIVE)),
        0x09: many("interior_lights", LIGHT),
    },
)
FUELING = capability(0x0040, "fueling", {0x02: one("gas_flap_lock", LOCK), 0x03: one("gas_flap_position", POSITION)})
WINDOWS = capability(
    0x0045,
    "windows",
    {
        0x02: many("open_percentages", keyed(location=WINDOW, open_percentage=PERCENTAGE)),
        0x03: many("positions", keyed(location=WINDOW, position=INTERMEDIATE_POSITION)),
    },
)
THEFT_ALARM = capability(
    0x0046,
    "theft_alarm",
    {
        0x01: one("status", enumeration("unarmed armed triggered")),
        0x02: one("interior_protection_status", ACTIVE_SELECTED),
        0x03: one("tow_protection_status", ACTIVE_SELECTED),
        0x04: one(
            "last_warning_reason",
            enumeration(
                "no_alarm basis_alarm door_front_left door_front_right door_rear_left door_rear_right hood trunk common_alm_in"
                " panic glovebox center_box rear_box sensor_vta its its_slv tps horn hold_com remote unknown"
            ),
        ),
        0x05: one("last_event", TIMESTAMP),
        0x06: one("last_event_level", enumeration("low medium high")),
        0x07: one(
            "event_type",
            enumeration("idle front_left front_middle front_right right rear_right rear_middle rear_left left unknown"),
        ),
        0x08: one("interior_protection_triggered", TRIGGERED),
        0x09: one("tow_protection_triggered", TRIGGERED),
    },
)
KEYFOB_POSITION = capability(
    0x0048,
    "keyfob_position",
    {
        0x01: one(
            "location",
            enumeration(
                "out_of_range outside_driver_side outside_in_front_of_car outside_passenger_side outside_behind_car inside_car"
            ),
        )
    },
)
RACE = capability(
    0x0057,
    "race",
    {
        0x01: many(
            "accelerations",
            keyed(direction=enumeration("longitudinal lateral front_lateral rear_lateral"), acceleration=ACCELERATION),
        ),
        0x02: one("understeering", PERCENTAGE),
        0x03: one("oversteering", PERCENTAGE),
        0x04: one("gas_pedal_position", PERCENTAGE),
        0x05: one("steering_angle", ANGLE),
        0x06: one("brake_pressure", PRESSURE),
        0x07: one("yaw_rate", YAW_RATE),
        0x08: one("rear_suspension_steering", ANGLE),
        0x09: one("electronic_stability_program", ACTIVE),
        0x0A: many("brake_torque_vectorings", keyed(axle=AXLE, state=ACTIVE)),
        0x0B: one("gear_mode", enumeration("manual park reverse neutral drive low_gear sport")),
        0x0C: one("selected_gear", INT8),
        0x0D: one("brake_pedal_position", PERCENTAGE),
        0x0E: one("brake_pedal_switch", ACTIVE),
        0x0F: one("clutch_pedal_switch", ACTIVE),
        0x10: one("accelerator_pedal_idle_switch", ACTIVE),
        0x11: one("accelerator_pedal_kickdown_switch", ACTIVE),
        0x12: one("vehicle_moving", enumeration("not_moving moving")),
        0x13: one(
            "drivetrain_state",
            enumeration(
                "inactive race_start_preparation race_start start comfort_start start_idle_run_control"
                " ready_for_overpressing low_speed_mode e_launch"
            ),
        ),
        0x14: many("accelerator_durations", composite(pedal_position_threshold=PERCENTAGE, duration=SECONDS)),
    },
)
PARKING_BRAKE = capability(0x0058, "parking_brake", {0x01: one("status", ACTIVE)})
DASHBOARD = capability(
    0x0061,
    "dashboard_lights",
    {
        0x01: many("dashboard_lights", DASHBOARD_LIGHT, DASHBOARD_LIGHT_WIDE),
        0x02: many(
            "bulb_failures",
            enumeration(
                "turn_signal_left turn_signal_right low_beam low_beam_left low_beam_right high_beam high_beam_left"
                " high_beam_right fog_light_front fog_light_rear stop position day_running trailer_turn trailer_turn_left"
                " trailer_turn_right trailer_stop trailer_electrical_failure multiple"
            ),
        ),
        0x03: many("dynamic_warnings", composite(category=ITEM_TEXT, id=ITEM_TEXT, description=ITEM_TEXT)),
    },
)
HOOD = capability(
    0x0067,
    "hood",
    {0x01: one("position", INTERMEDIATE_POSITION), 0x02: one("lock", LOCK), 0x03: one("lock_safety", LOCK_SAFETY)},
)
_ENERGY_CONSUMPTION = keyed(category=ENERGY_CATEGORY, consumption=ENERGY)
_ENERGY_SHARE = keyed(category=ENERGY_CATEGORY, percentage=PERCENTAGE)
USAGE = capability(
    0x0068,
    "usage",
    {
        0x01: one("average_weekly_distance", LENGTH),
        0x02: one("average_weekly_distance_long_run", LENGTH),
        0x03: one("acceleration_evaluation", PERCENTAGE),
        0x04: one("driving_style_evaluation", PERCENTAGE),
        0x05: many("driving_modes_activation_periods", keyed(driving_mode=DRIVING_MODE, period=PERCENTAGE)),
        0x06: many("driving_modes_energy_consumptions", keyed(driving_mode=DRIVING_MODE, consumption=ENERGY)),
        0x07: one("last_trip_energy_consumption", ENERGY),
        0x08: one("last_trip_fuel_consumption", VOLUME),
        0x09: one("mileage_after_last_trip", LENGTH),
        0x0A: one("last_trip_electric_portion", PERCENTAGE),
        0x0B: one("last_trip_average_energy_recuperation", ENERGY_EFFICIENCY),
        0x0C: one("last_trip_battery_remaining", PERCENTAGE),
        0x0D: one("last_trip_date", TIMESTAMP),
        0x0E: one("average_fuel_consumption", FUEL_EFFICIENCY),
        0x0F: one("current_fuel_consumption", FUEL_EFFICIENCY),
        0x10: one("odometer_after_last_trip", LENGTH),
        0x11: one("safety_driving_score", PERCENTAGE),
        0x12: one("rapid_acceleration_grade", GRADE),
        0x13: one("rapid_deceleration_grade", GRADE),
        0x14: one("late_night_grade", GRADE),
        0x15: one("distance_over_time", composite(distance=LENGTH, time=DAYS)),
        0x16: one("electric_consumption_rate_since_start", ENERGY_EFFICIENCY),
        0x17: one("electric_consumption_rate_since_reset", ENERGY_EFFICIENCY),
        0x18: one("electric_distance_last_trip", LENGTH),
        0x19: one("electric_distance_since_reset", LENGTH),
        0x1A: one("electric_duration_last_trip", DURATION),
        0x1B: one("electric_duration_since_reset", DURATION),
        0x1C: one("fuel_consumption_rate_last_trip", FUEL_EFFICIENCY),
        0x1D: one("fuel_consumption_rate_since_reset", FUEL_EFFICIENCY),
        0x1E: one("average_speed_last_trip", SPEED),
        0x1F: one("average_speed_since_reset", SPEED),
        0x20: one("fuel_distance_last_trip", LENGTH),
        0x21: one("fuel_distance_since_reset", LENGTH),
        0x22: one("driving_duration_last_trip", DURATION),
        0x23: one("driving_duration_since_reset", DURATION),
        0x24: one("eco_score_total", PERCENTAGE),
        0x25: one("eco_score_free_wheel", PERCENTAGE),
        0x26: one("eco_score_constant", PERCENTAGE),
        0x27: one("eco_score_bonus_range", LENGTH),
        0x28: many("trip_meters", keyed(id=UINT8, distance=LENGTH)),
        0x29: one("electric_consumption_average", ENERGY_EFFICIENCY),
        0x2A: one("braking_evaluation", PERCENTAGE),
        0x2B: one("average_speed", SPEED),
        0x2C: one("recuperation_power", POWER),
        0x2D: many(
            "acceleration_durations",
            composite(
                direction=enumeration("longitudinal lateral"),
                type=enumeration("regular positive_outlier negative_outlier"),
                duration=SECONDS,
            ),
        ),
        0x2E: one("last_trip_battery_regenerated", PERCENTAGE),
        0x2F: many("energy_consumption_last_trip", _ENERGY_CONSUMPTION),
        0x30: many("energy_consumption_since_reset", _ENERGY_CONSUMPTION),
        0x31: many("energy_consumption_since_charging", _ENERGY_CONSUMPTION),
        0x32: many("energy_consumption_percentages_last_trip", _ENERGY_SHARE),
        0x33: many("energy_consumption_percentages_since_reset", _ENERGY_SHARE),
        0x34: many("energy_consumption_percentages_since_charging", _ENERGY_SHARE),
        0x36: one("fuel_consumption_rate_since_start", FUEL_EFFICIENCY),
        0x37: one("fuel_consumption_rate_since_refuel", FUEL_EFFICIENCY),
        0x38: one("energy_consumption_rate_since_charging", ENERGY_EFFICIENCY),
    },
)
ENGINE = capability(
    0x0069,
    "engine",
    {
        0x01: one("status", ON_OFF),
        0x02: one("start_stop_state", ACTIVE),
        0x03: one("start_stop_enabled", ENABLED),
        0x04: one("preconditioning_enabled", ENABLED),
        0x05: one("preconditioning_active", ACTIVE),
        0x06: one("preconditioning_remaining_time", DURATION),
        0x07: one(
            "preconditioning_error",
            enumeration("low_fuel low_battery quota_exceeded heater_failure component_failure open_or_unlocked ok"),
        ),
        0x08: one("preconditioning_status", enumeration("standby heating cooling ventilation inactive")),
        0x09: one("limp_mode", ACTIVE),
        0x0A: one(
            "running_status",
            enumeration("vehicle_asleep vehicle_awake stopped ignition_on starting_in_progress running"),
        ),
    },
)
TRIPS = capability(
    0x006A,
    "trips",
    {
        0x01: one("type", enumeration("single multi eco")),
        0x02: one("driver_name", TEXT),
        0x03: one("description", TEXT),
        0x04: one("start_time", TIMESTAMP),
        0x05: one("end_time", TIMESTAMP),
        0x06: one("start_address", TEXT),
        0x07: one("end_address", TEXT),
        0x08: one("start_coordinates", COORDINATES),
        0x09: one("end_coordinates", COORDINATES),
        0x0A: one("start_odometer", LENGTH),
        0x0B: one("end_odometer", LENGTH),
        0x0C: one("average_fuel_consumption", FUEL_EFFICIENCY),
        0x0D: one("distance", LENGTH),
        0x0E: many("start_address_components", ADDRESS_COMPONENT),
        0x0F: many("end_address_components", ADDRESS_COMPONENT),
        0x10: one(
            "event",
            enumeration("harsh_braking harsh_acceleration sharp_turn over_rpm overspeed idling_engine_on emergency_braking"),
        ),
        0x11: one("eco_level", enumeration("high medium")),
        0x12: many("thresholds", keyed(type=enumeration("zero one"), value=DOUBLE)),
        0x13: one("total_fuel_consumption", VOLUME),
        0x14: one("total_idle_fuel_consumption", VOLUME),
        0x15: one("maximum_speed", SPEED),
        0x16: one(
            "road_type",
            enumeration("private_or_gravel local county rural federal_highway highway country national"),
        ),
        0x17: one("braking_count", UINT16),
        0x18: one("id", TEXT),
        0x19: one("duration", DURATION),
        0x1A: one("average_electric_consumption", ENERGY_EFFICIENCY),
    },
)
CRASH = capability(
    0x006B,
    "crash",
    {
        0x01: many(
            "incidents",
            keyed(
                location=enumeration("front lateral rear"),
                severity=enumeration("very_high high medium low unknown"),
                repairs=enumeration("unknown needed not_needed"),
            ),
        ),
        0x02: one("type", enumeration("pedestrian non_pedestrian")),
        0x03: one("tipped_state", enumeration("tipped_over not_tipped")),
        0x04: one("automatic_ecall", ENABLED),
        0x05: one("severity", UINT8),
        0x06: many(
            "impact_zone",
            enumeration(
                "predestrian_protection rollover rear_passenger_side rear_driver_side side_passenger_side side_driver_side"
                " front_passenger_side front_driver_side"
            ),
        ),
        0x07: one("status", enumeration("normal")),
    },
)
TACHOGRAPH = capability(
    0x0064,
    "tachograph",
    {
        0x01: many(
            "drivers_working_states",
            keyed(driver_number=UINT8, working_state=enumeration("resting driver_available working driving")),
        ),
        0x02: many(
            "drivers_time_states",
            keyed(
                driver_number=UINT8,
                time_state=enumeration(
                    "normal fifteen_min_before_four four_reached fifteen_min_before_nine nine_reached"
                    " fifteen_min_before_sixteen sixteen_reached"
                ),
            ),
        ),
        0x03: many("drivers_cards_present", keyed(driver_number=UINT8, card_present=enumeration("not_present present"))),
        0x04: one("vehicle_motion", DETECTED),
        0x05: one("vehicle_overspeed", enumeration("no_overspeed overspeed")),
        0x06: one("vehicle_direction", enumeration("forward reverse")),
        0x07: one("vehicle_speed", SPEED),
    },
)

CAPABILITIES: Mapping[int, Capability] = {
    declared.id: declared
    for declared in (
        *(found for found in list(globals().values()) if isinstance(found, Capability)),
        *autoapi_cabin.CAPABILITIES,
    )
}
"""Every declared capability by its id."""
BY_NAME: Mapping[str, Capability] = {declared.name: declared for declared in CAPABILITIES.values()}
