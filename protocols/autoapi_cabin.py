"""The capabilities of AutoAPI L13 about the cabin, comfort, assistance and services around the vehicle.

The rest of the table is in `protocols.autoapi_capabilities`.
"""

from protocols.autoapi_types import (
    ACTIVE,
    ANGLE,
    AXLE,
    CONNECTION,
    COORDINATES,
    CURRENT,
    DETECTED,
    DOUBLE,
    DRIVING_MODE,
    DURATION,
    ENABLED,
    ENERGY,
    FREQUENCY,
    ILLUMINANCE,
    INTERMEDIATE_POSITION,
    ITEM_TEXT,
    LENGTH,
    LONGITUDINAL,
    MILLIMETERS,
    MUTED,
    NETWORK_SECURITY,
    ON_OFF,
    PERCENTAGE,
    PLUG_TYPE,
    POWER,
    SEAT,
    SECONDS,
    SPEED,
    SPRING_TORQUE,
    TEXT,
    TIMESTAMP,
    UINT8,
    ZONE,
    Capability,
    capability,
    composite,
    enumeration,
    keyed,
    many,
    one,
)

SPRING_RATE = keyed(axle=AXLE, spring_rate=SPRING_TORQUE)

CAPABILITIES: tuple[Capability, ...] = (
    capability(
        0x0025,
        "rooftop_control",
        {
            0x01: one("dimming", PERCENTAGE),
            0x02: one("position", PERCENTAGE),
            0x03: one(
                "convertible_roof_state",
                enumeration(
                    "closed open emergency_locked closed_secured open_secured hard_top_mounted intermediate_position"
                    " loading_position loading_position_immediate"
                ),
            ),
            0x04: one("sunroof_tilt_state", enumeration("closed tilted half_tilted")),
            0x05: one("sunroof_state", INTERMEDIATE_POSITION),
            0x06: one(
                "sunroof_rain_event", enumeration("no_event in_stroke_position_because_of_rain automatically_in_stroke_position")
            ),
            0x07: one("tilt_position", PERCENTAGE),
        },
    ),
    capability(
        0x0027,
        "remote_control",
        {
            0x01: one("control_mode", enumeration("unavailable available started failed_to_start aborted ended")),
            0x02: one("angle", ANGLE),
            0x03: one("speed", SPEED),
        },
    ),
    capability(0x0028, "valet_mode", {0x01: one("status", ACTIVE)}),
    capability(0x0029, "heart_rate", {0x01: one("heart_rate", FREQUENCY)}),
    capability(
        0x0031,
        "navi_destination",
        {
            0x01: one("coordinates", COORDINATES),
            0x02: one("destination_name", TEXT),
            0x03: one("data_slots_free", UINT8),
            0x04: one("data_slots_max", UINT8),
            0x05: one("arrival_duration", DURATION),
            0x06: one("distance_to_destination", LENGTH),
        },
    ),
    capability(0x0037, "messaging", {0x01: one("text", TEXT), 0x02: one("handle", TEXT)}),
    capability(
        0x0038,
        "notifications",
        {
            0x01: one("text", TEXT),
            0x02: many("action_items", keyed(id=UINT8, name=ITEM_TEXT)),
            0x03: one("activated_action", UINT8),
            0x04: one("clear", enumeration("clear")),
        },
    ),
    capability(
        0x0041,
        "driver_fatigue",
        {
            0x01: one(
                "detected_fatigue_level",
                enumeration("light pause_recommended action_needed car_ready_to_take_over"),
            )
        },
    ),
    capability(
        0x0042,
        "windscreen",
        {
            0x01: one("wipers_status", enumeration("inactive active automatic")),
            0x02: one("wipers_intensity", enumeration("level_0 level_1 level_2 level_3")),
            0x03: one(
                "windscreen_damage",
                enumeration(
                    "no_impact_detected impact_but_no_damage_detected damage_smaller_than_1_inch damage_larger_than_1_inch"
                ),
            ),
            0x04: one("windscreen_zone_matrix", ZONE),
            0x05: one("windscreen_damage_zone", ZONE),
            0x06: one("windscreen_needs_replacement", enumeration("unknown no_replacement_needed replacement_needed")),
            0x07: one("windscreen_damage_confidence", PERCENTAGE),
            0x08: one("windscreen_damage_detection_time", TIMESTAMP),
        },
    ),
    capability(
        0x0043,
        "video_handover",
        {
            0x01: one("url", TEXT),
            0x02: one("starting_second", SECONDS),
            0x03: one("screen", enumeration("front rear")),
            0x04: one("starting_time", SECONDS),
        },
    ),
    capability(0x0044, "text_input", {0x01: one("text", TEXT)}),
    capability(
        0x0047,
        "parking_ticket",
        {
            0x01: one("status", enumeration("ended started")),
            0x02: one("operator_name", TEXT),
            0x03: one("operator_ticket_id", TEXT),
            0x04: one("ticket_start_time", TIMESTAMP),
            0x05: one("ticket_end_time", TIMESTAMP),
        },
    ),
    capability(0x0049, "browser", {0x01: one("url", TEXT)}),
    capability(0x0051, "graphics", {0x01: one("image_url", TEXT)}),
    capability(0x0052, "offroad", {0x01: one("route_incline", ANGLE), 0x02: one("wheel_suspension", PERCENTAGE)}),
    capability(
        0x0053,
        "chassis_settings",
        {
            0x01: one("driving_mode", DRIVING_MODE),
            0x02: one("sport_chrono", enumeration("inactive active reset")),
            0x05: many("current_spring_rates", SPRING_RATE),
            0x06: many("maximum_spring_rates", SPRING_RATE),
            0x07: many("minimum_spring_rates", SPRING_RATE),
            0x08: one("current_chassis_position", MILLIMETERS),
            0x09: one("maximum_chassis_position", MILLIMETERS),
            0x0A: one("minimum_chassis_position", MILLIMETERS),
        },
    ),
    capability(0x0054, "light_conditions", {0x01: one("outside_light", ILLUMINANCE), 0x02: one("inside_light", ILLUMINANCE)}),
    capability(0x0055, "weather_conditions", {0x01: one("rain_intensity", PERCENTAGE)}),
    capability(
        0x0056,
        "seats",
        {
            0x02: many("persons_detected", keyed(location=SEAT, detected=DETECTED)),
            0x03: many("seatbelts_state", keyed(location=SEAT, fastened_state=enumeration("not_fastened fastened"))),
        },
    ),
    capability(
        0x0059,
        "wi_fi",
        {
            0x01: one("status", ENABLED),
            0x02: one("network_connected", CONNECTION),
            0x03: one("network_ssid", TEXT),
            0x04: one("network_security", NETWORK_SECURITY),
            0x05: one("password", TEXT),
        },
    ),
    capability(
        0x0060,
        "home_charger",
        {
            0x01: one("charging_status", enumeration("disconnected plugged_in charging")),
            0x02: one("authentication_mechanism", enumeration("pin app")),
            0x03: one("plug_type", PLUG_TYPE),
            0x04: one("charging_power_kw", POWER),
            0x05: one("solar_charging", ACTIVE),
            0x08: one("wi_fi_hotspot_enabled", ENABLED),
            0x09: one("wi_fi_hotspot_ssid", TEXT),
            0x0A: one("wi_fi_hotspot_security", NETWORK_SECURITY),
            0x0B: one("wi_fi_hotspot_password", TEXT),
            0x0D: one("authentication_state", enumeration("unauthenticated authenticated")),
            0x0E: one("charge_current", CURRENT),
            0x0F: one("maximum_charge_current", CURRENT),
            0x10: one("minimum_charge_current", CURRENT),
            0x11: one("coordinates", COORDINATES),
            0x12: many(
                "price_tariffs",
                keyed(pricing_type=enumeration("starting_fee per_minute per_kwh"), price=DOUBLE, currency=ITEM_TEXT),
            ),
            0x13: one("charging_power", POWER),
        },
    ),
    capability(
        0x0062,
        "cruise_control",
        {
            0x01: one("cruise_control", ACTIVE),
            0x02: one("limiter", enumeration("not_set higher_speed_requested lower_speed_requested speed_fixed")),
            0x03: one("target_speed", SPEED),
            0x04: one("adaptive_cruise_control", ACTIVE),
            0x05: one("acc_target_speed", SPEED),
        },
    ),
    capability(
        0x0065,
        "power_takeoff",
        {0x01: one("status", ACTIVE), 0x02: one("engaged", enumeration("not_engaged engaged"))},
    ),
    capability(0x0066, "mobile", {0x01: one("connection", CONNECTION)}),
    capability(
        0x006C,
        "adas",
        {
            0x01: one("status", ON_OFF),
            0x02: one("alertness_system_status", ACTIVE),
            0x03: one("forward_collision_warning_system", ACTIVE),
            0x04: one("blind_spot_warning_state", ACTIVE),
            0x05: one("blind_spot_warning_system_coverage", enumeration("regular trailer")),
            0x06: one("rear_cross_warning_system", ACTIVE),
            0x07: one("automated_parking_brake", ACTIVE),
            0x08: one("lane_keep_assist_system", ON_OFF),
            0x09: many("lane_keep_assists_states", keyed(location=enumeration("left right"), state=ACTIVE)),
            0x0A: many("park_assists", keyed(location=LONGITUDINAL, alarm=ACTIVE, muted=MUTED)),
            0x0B: one("blind_spot_warning_system", ON_OFF),
            0x0C: one("launch_control", ACTIVE),
        },
    ),
    capability(
        0x006D,
        "charging_session",
        {
            0x01: many(
                "public_charging_points",
                composite(city=ITEM_TEXT, postal_code=ITEM_TEXT, street=ITEM_TEXT, provider=ITEM_TEXT),
            ),
            0x02: one("displayed_state_of_charge", PERCENTAGE),
            0x03: one("displayed_start_state_of_charge", PERCENTAGE),
            0x04: many("business_errors", TEXT),
            0x05: one("time_zone", TEXT),
            0x06: one("start_time", TIMESTAMP),
            0x07: one("end_time", TIMESTAMP),
            0x08: one("total_charging_duration", SECONDS),
            0x09: one("calculated_energy_charged", ENERGY),
            0x0A: one("energy_charged", ENERGY),
            0x0B: one("preconditioning_state", ACTIVE),
            0x0C: one("odometer", LENGTH),
            0x0D: one(
                "charging_cost",
                composite(
                    currency=ITEM_TEXT,
                    calculated_charging_cost=DOUBLE,
                    calculated_savings=DOUBLE,
                    simulated_immediate_charging_cost=DOUBLE,
                ),
            ),
            0x0E: one(
                "location",
                composite(municipality=ITEM_TEXT, formatted_address=ITEM_TEXT, street_address=ITEM_TEXT),
            ),
        },
    ),
)
"""Property ids, names and types, in the order of the capability ids."""
