"""The information types of a GB/T 32960.3 report, as declarations. Big-endian.

2016: clause 7.2.3 and annex B. 2025: as far as open implementations agree. Values are raw: 0xFE.. says abnormal and 0xFF..
invalid in every numeric field, and a count that says so has nothing behind it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from construct import Array, Bytes, Int8ub, Int16ub, Int32ub, Rebuild, Struct, this

# Counted lists ---------------------------------------------------------------------------------------------------------


def _written(name: str, sentinel: int) -> Callable[[Any], int]:
    def count(context: Any) -> int:
        said = context.get(f"{name}_count")
        return said if said is not None and said >= sentinel and not context[name] else len(context[name])

    return count


def _there(name: str, sentinel: int) -> Callable[[Any], int]:
    return lambda context: 0 if context[f"{name}_count"] >= sentinel else context[f"{name}_count"]


def listed(name: str, count: Any, element: Any) -> tuple[Any, ...]:
    """`{name}_count`, then that many elements; none where the count is abnormal or invalid."""
    sentinel = (1 << 8 * count.sizeof()) - 2
    return (
        f"{name}_count" / Rebuild(count, _written(name, sentinel)),
        name / Array(_there(name, sentinel), element),
    )


# Information types, 2016: clause 7.2.3, tables 9 to 18; 08 and 09 annex B, tables B.5 to B.8 ---------------------------

_VEHICLE = (
    "vehicle_state" / Int8ub,  # 1 on, 2 off, 3 other
    "charge_state" / Int8ub,  # 1 parked and charging, 2 driving and charging, 3 not charging, 4 complete
    "run_mode" / Int8ub,  # 1 electric, 2 hybrid, 3 fuel
    "speed" / Int16ub,  # 0.1 km/h
    "odometer" / Int32ub,  # 0.1 km
    "total_voltage" / Int16ub,  # 0.1 V
    "total_current" / Int16ub,  # 0.1 A, from -1000 A (2025: from -3000 A)
    "soc" / Int8ub,  # %
    "dcdc_state" / Int8ub,  # 1 works, 2 open
    "gear" / Int8ub,  # bit 5 driving force, bit 4 braking force, bits 3 to 0: 0 N, 1 to 12, 13 R, 14 D, 15 P
    "insulation_resistance" / Int16ub,  # kOhm
)
VEHICLE = Struct(
    *_VEHICLE,
    "accelerator" / Int8ub,  # % of travel
    "brake" / Int8ub,  # % of travel; 101: pressed, travel unknown
)
MOTORS = Struct(
    *listed(
        "motors",
        Int8ub,
        Struct(
            "index" / Int8ub,
            "state" / Int8ub,  # 1 consumes, 2 generates, 3 off, 4 ready
            "controller_temperature" / Int8ub,  # Cel, from -40
            "speed" / Int16ub,  # 1/min, from -20000
            "torque" / Int16ub,  # 0.1 N m, from -2000 N m
            "temperature" / Int8ub,  # Cel, from -40
            "controller_voltage" / Int16ub,  # 0.1 V
            "controller_current" / Int16ub,  # 0.1 A, from -1000 A
        ),
    )
)


def _hydrogen(concentration: str) -> tuple[Any, ...]:
    """The hydrogen system: its highest values, and which probe or sensor says them."""
    return (
        "hydrogen_temperature" / Int16ub,  # 0.1 Cel, from -40
        "hydrogen_temperature_probe" / Int8ub,
        concentration / Int16ub,
        f"{concentration}_sensor" / Int8ub,
        "hydrogen_pressure" / Int16ub,  # 0.1 MPa
        "hydrogen_pressure_sensor" / Int8ub,
        "fuel_cell_dcdc_state" / Int8ub,  # 1 works, 2 isolated
    )


FUEL_CELL = Struct(
    "fuel_cell_voltage" / Int16ub,  # 0.1 V
    "fuel_cell_current" / Int16ub,  # 0.1 A
    "fuel_consumption_rate" / Int16ub,  # 0.01 kg/100 km
    *listed("fuel_cell_temperatures", Int16ub, Int8ub),  # Cel, from -40
    *_hydrogen("hydrogen_concentration"),  # mg/kg
)
ENGINE = Struct(
    "engine_state" / Int8ub,  # 1 started, 2 stopped
    "engine_speed" / Int16ub,  # 1/min
    "engine_consumption" / Int16ub,  # 0.01 L/100 km
)
POSITION = Struct(
    "position_status" / Int8ub,  # bit 0 invalid, bit 1 south, bit 2 west
    "longitude" / Int32ub,  # 1e-6 degree; where invalid: the last valid one
    "latitude" / Int32ub,  # 1e-6 degree
)
EXTREMES = Struct(
    "highest_voltage_system" / Int8ub,
    "highest_voltage_cell" / Int8ub,
    "highest_cell_voltage" / Int16ub,  # mV
    "lowest_voltage_system" / Int8ub,
    "lowest_voltage_cell" / Int8ub,
    "lowest_cell_voltage" / Int16ub,  # mV
    "highest_temperature_system" / Int8ub,
    "highest_temperature_probe" / Int8ub,
    "highest_temperature" / Int8ub,  # Cel, from -40
    "lowest_temperature_system" / Int8ub,
    "lowest_temperature_probe" / Int8ub,
    "lowest_temperature" / Int8ub,  # Cel, from -40
)
_ALARMS = (
    "alarm_level" / Int8ub,  # 0 none, 1 to 3; the highest there is
    "alarm_flags" / Int32ub,  # table 18: bits 0 to 18 (2025: to 27)
    *listed("battery_faults", Int8ub, Int32ub),
    *listed("motor_faults", Int8ub, Int32ub),
    *listed("engine_faults", Int8ub, Int32ub),
    *listed("other_faults", Int8ub, Int32ub),
)
ALARMS = Struct(*_ALARMS)
CELL_VOLTAGES = Struct(
    *listed(
        "batteries",
        Int8ub,
        Struct(
            "index" / Int8ub,
            "voltage" / Int16ub,  # 0.1 V
            "current" / Int16ub,  # 0.1 A, from -1000 A
            "cells" / Int16ub,  # of the whole battery
            "first_cell" / Int16ub,  # of this frame, from 1: more than 200 cells take several frames
            *listed("cell_voltages", Int8ub, Int16ub),  # mV
        ),
    )
)
TEMPERATURES = Struct(
    *listed("batteries", Int8ub, Struct("index" / Int8ub, *listed("temperatures", Int16ub, Int8ub)))  # Cel, from -40
)
CUSTOM = Struct(
    "length" / Rebuild(Int16ub, lambda context: len(context.content)),
    "content" / Bytes(this.length),
)
CUSTOM_TYPES = range(0x80, 0xFF)

ITEMS_2016: Mapping[int, Any] = {
    0x01: VEHICLE,
    0x02: MOTORS,
    0x03: FUEL_CELL,
    0x04: ENGINE,
    0x05: POSITION,
    0x06: EXTREMES,
    0x07: ALARMS,
    0x08: CELL_VOLTAGES,
    0x09: TEMPERATURES,
    **dict.fromkeys(CUSTOM_TYPES, CUSTOM),
}

# Information types, 2025 -----------------------------------------------------------------------------------------------

VEHICLE_2025 = Struct(*_VEHICLE)  # gear bit 7: the gear is not valid
MOTORS_2025 = Struct(
    *listed(
        "motors",
        Int8ub,
        Struct(
            "index" / Int8ub,
            "state" / Int8ub,
            "controller_temperature" / Int8ub,
            "speed" / Int16ub,  # 1/min, from -32000
            "torque" / Int32ub,  # 0.1 N m, from -20000 N m
            "temperature" / Int8ub,
        ),
    )
)
HYDROGEN_2025 = Struct(
    *_hydrogen("hydrogen_fraction"),  # 0.0001 % by volume
    "hydrogen_level" / Int8ub,  # %
    "fuel_cell_dcdc_temperature" / Int8ub,  # Cel, from -40
)
ENGINE_2025 = Struct("engine_speed" / Int16ub)
POSITION_2025 = Struct(
    "position_status" / Int8ub,
    "coordinate_system" / Int8ub,  # 1 WGS 84, 2 GCJ-02, 3 other
    "longitude" / Int32ub,
    "latitude" / Int32ub,
)
ALARMS_2025 = Struct(*_ALARMS, *listed("alarms", Int8ub, Struct("flag" / Int8ub, "level" / Int8ub)))
CELL_VOLTAGES_2025 = Struct(
    *listed(
        "batteries",
        Int8ub,
        Struct(
            "index" / Int8ub,
            "voltage" / Int16ub,
            "current" / Int16ub,  # 0.1 A, from -3000 A
            *listed("cell_voltages", Int16ub, Int16ub),  # of groups of cells in parallel
        ),
    )
)
STACKS_2025 = Struct(
    *listed(
        "stacks",
        Int8ub,
        Struct(
            "index" / Int8ub,
            "voltage" / Int16ub,  # 0.1 V
            "current" / Int16ub,  # 0.1 A
            "hydrogen_pressure" / Int16ub,  # 0.1 kPa, from -100 kPa; at the inlet
            "air_pressure" / Int16ub,  # 0.1 kPa, from -100 kPa; at the inlet
            "air_temperature" / Int8ub,  # Cel, from -40
            *listed("temperatures", Int16ub, Int8ub),  # Cel, from -40; of the cooling water
        ),
    )
)
CAPACITOR_2025 = Struct(
    "capacitor_system" / Int8ub,
    "capacitor_voltage" / Int16ub,  # 0.1 V
    "capacitor_current" / Int16ub,  # 0.1 A, from -3000 A
    *listed("capacitor_cell_voltages", Int16ub, Int16ub),  # mV
    *listed("capacitor_temperatures", Int16ub, Int8ub),  # Cel, from -40
)
CAPACITOR_EXTREMES_2025 = Struct(
    "highest_capacitor_voltage_system" / Int8ub,
    "highest_capacitor_voltage_cell" / Int16ub,
    "highest_capacitor_voltage" / Int16ub,  # mV
    "lowest_capacitor_voltage_system" / Int8ub,
    "lowest_capacitor_voltage_cell" / Int16ub,
    "lowest_capacitor_voltage" / Int16ub,  # mV
    "highest_capacitor_temperature_system" / Int8ub,
    "highest_capacitor_temperature_probe" / Int16ub,
    "highest_capacitor_temperature" / Int8ub,  # Cel, from -40
    "lowest_capacitor_temperature_system" / Int8ub,
    "lowest_capacitor_temperature_probe" / Int16ub,
    "lowest_capacitor_temperature" / Int8ub,  # Cel, from -40
)

ITEMS_2025: Mapping[int, Any] = {
    0x01: VEHICLE_2025,
    0x02: MOTORS_2025,
    0x03: HYDROGEN_2025,
    0x04: ENGINE_2025,
    0x05: POSITION_2025,
    0x06: ALARMS_2025,
    0x07: CELL_VOLTAGES_2025,
    0x08: TEMPERATURES,
    0x30: STACKS_2025,
    0x31: CAPACITOR_2025,
    0x32: CAPACITOR_EXTREMES_2025,
    **dict.fromkeys(CUSTOM_TYPES, CUSTOM),
}
ITEMS = {2016: ITEMS_2016, 2025: ITEMS_2025}
