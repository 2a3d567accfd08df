"""What the fields of GB/T 32960.3 mean: units, zeros, codes and bits, by information type. 2016: clauses 6, 7, annex B."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from protocols.gbt32960_signals import EXTENSION_SIGNALS
from protocols.meanings import Meaning, choice, flags, number, words

Table = Mapping[str, Meaning]

COMMANDS = {
    0x01: "vehicle login",
    0x02: "realtime report",
    0x03: "reissued report",
    0x04: "vehicle logout",
    0x05: "platform login",
    0x06: "platform logout",
    0x07: "heartbeat",
    0x08: "time synchronisation",
    0x09: "activation",
    0x0A: "result of an activation",
    0x0B: "key exchange",
    0x80: "query of parameters",
    0x81: "setting of parameters",
    0x82: "terminal control",
    **dict.fromkeys(range(0xC0, 0xFF), "the user's own"),
}
FLAGS = {
    0xFE: "a command",
    0x01: "answer: done",
    0x02: "answer: wrong",
    0x03: "answer: the VIN is there already",
    0x04: "answer: nobody knows the VIN",
    0x05: "answer: the signature is wrong",
    0x06: "answer: the structure is wrong",
    0x07: "answer: cannot be decrypted",
}
ENCRYPTIONS = {0x01: "none", 0x02: "RSA", 0x03: "AES-128", 0x04: "SM2", 0x05: "SM4", 0xFE: "abnormal", 0xFF: "invalid"}
CONTROLS = {
    0x01: "update",
    0x02: "power off",
    0x03: "reset",
    0x04: "factory settings",
    0x05: "disconnect",
    0x06: "alarm",
    0x07: "start sampling",
    **dict.fromkeys(range(0x80, 0xFF), "the user's own"),
}
ITEMS = {
    0x01: "the vehicle",
    0x02: "drive motors",
    0x03: "fuel cell",
    0x04: "engine",
    0x05: "position",
    0x06: "extremes",
    0x07: "alarms",
    0x08: "cell voltages",
    0x09: "temperatures of the battery",
    **dict.fromkeys(range(0x80, 0xFF), "the user's own"),
}
ITEMS_2025 = {
    **ITEMS,
    0x03: "hydrogen system",
    0x06: "alarms",
    0x07: "cell voltages",
    0x08: "temperatures of the battery",
    0x09: "not defined",
    0x30: "fuel cell stacks",
    0x31: "supercapacitor",
    0x32: "extremes of the supercapacitor",
}
PARAMETERS = {
    0x01: "ms between two stored records",
    0x02: "s between two reports",
    0x03: "ms between two reports during an alarm",
    0x04: "bytes of 05",
    0x05: "the service platform",
    0x06: "its port",
    0x07: "hardware version",
    0x08: "firmware version",
    0x09: "s between two heartbeats",
    0x0A: "s that the unit waits for an answer",
    0x0B: "s that the platform waits for an answer",
    0x0C: "min from three logins in vain to the next",
    0x0D: "bytes of 0E",
    0x0E: "the public platform",
    0x0F: "its port",
    0x10: "whether it is being sampled: 1 yes, 2 no",
}
ALARMS = (
    "battery temperatures differ",
    "battery hot",
    "pack overvoltage",
    "pack undervoltage",
    "state of charge low",
    "cell overvoltage",
    "cell undervoltage",
    "state of charge too high",
    "state of charge jumps",
    "pack does not match",
    "cells differ",
    "insulation",
    "DC-DC temperature",
    "brake system",
    "DC-DC state",
    "motor controller temperature",
    "high-voltage interlock",
    "motor temperature",
    "pack overcharged",
)
"""Table 18, from bit 0."""

_CELSIUS = number(1, "Cel", -40)
_VOLTS, _AMPERES, _CELL = number(0.1, "V"), number(0.1, "A", -1000), number(1, "mV")
_PERCENT = number(1, "%")
_GEARS = {0: "N", 13: "R", 14: "D", 15: "P", **{step: f"gear {step}" for step in range(1, 13)}}


def _gear(value: int) -> tuple[str, str]:
    forces = [word for bit, word in ((0x20, "driving force"), (0x10, "braking force"), (0x80, "not valid")) if value & bit]
    return "", ", ".join((_GEARS[value & 0x0F], *forces))


_FIELDS: Table = {
    "vehicle_state": choice({1: "on", 2: "off", 3: "other"}),
    "charge_state": choice({1: "parked and charging", 2: "driving and charging", 3: "not charging", 4: "charged"}),
    "run_mode": choice({1: "electric", 2: "hybrid", 3: "fuel"}),
    "speed": number(0.1, "km/h"),
    "odometer": number(0.1, "km"),
    "total_voltage": _VOLTS,
    "total_current": _AMPERES,
    "soc": _PERCENT,
    "dcdc_state": choice({1: "works", 2: "open"}),
    "gear": _gear,
    "insulation_resistance": number(1, "kOhm"),
    "accelerator": _PERCENT,
    "brake": number(1, "%", note="101: pressed, travel unknown"),
    "motors.state": choice({1: "consumes", 2: "generates", 3: "off", 4: "ready"}),
    "motors.controller_temperature": _CELSIUS,
    "motors.speed": number(1, "1/min", -20_000),
    "motors.torque": number(0.1, "N.m", -2_000),
    "motors.temperature": _CELSIUS,
    "motors.controller_voltage": _VOLTS,
    "motors.controller_current": _AMPERES,
    "fuel_cell_voltage": _VOLTS,
    "fuel_cell_current": number(0.1, "A"),
    "fuel_consumption_rate": number(0.01, "kg/100 km"),
    "fuel_cell_temperatures": _CELSIUS,
    "hydrogen_temperature": number(0.1, "Cel", -40),
    "hydrogen_concentration": number(1, "mg/kg"),
    "hydrogen_fraction": number(0.0001, "%", note="by volume"),
    "hydrogen_pressure": number(0.1, "MPa"),
    "hydrogen_level": _PERCENT,
    "fuel_cell_dcdc_state": choice({1: "works", 2: "isolated"}),
    "fuel_cell_dcdc_temperature": _CELSIUS,
    "engine_state": choice({1: "started", 2: "stopped"}),
    "engine_speed": number(1, "1/min"),
    "engine_consumption": number(0.01, "L/100 km"),
    "position_status": flags(("invalid", "south", "west"), "valid, north, east"),
    "coordinate_system": choice({1: "WGS 84", 2: "GCJ-02", 3: "other"}),
    "longitude": number(1e-6, "deg"),
    "latitude": number(1e-6, "deg"),
    "highest_cell_voltage": _CELL,
    "lowest_cell_voltage": _CELL,
    "highest_temperature": _CELSIUS,
    "lowest_temperature": _CELSIUS,
    "alarm_level": choice({0: "none", 1: "level 1", 2: "level 2", 3: "level 3"}),
    "alarm_flags": flags(ALARMS),
    "batteries.voltage": _VOLTS,
    "batteries.current": _AMPERES,
    "batteries.cells": words("of the whole battery"),
    "batteries.first_cell": words("of this frame, from 1"),
    "batteries.cell_voltages": _CELL,
    "batteries.temperatures": _CELSIUS,
    "stacks.voltage": _VOLTS,
    "stacks.current": number(0.1, "A"),
    "stacks.hydrogen_pressure": number(0.1, "kPa", -100),
    "stacks.air_pressure": number(0.1, "kPa", -100),
    "stacks.air_temperature": _CELSIUS,
    "stacks.temperatures": _CELSIUS,
    "capacitor_voltage": _VOLTS,
    "capacitor_current": number(0.1, "A", -3_000),
    "capacitor_cell_voltages": _CELL,
    "capacitor_temperatures": _CELSIUS,
    "highest_capacitor_voltage": _CELL,
    "lowest_capacitor_voltage": _CELL,
    "highest_capacitor_temperature": _CELSIUS,
    "lowest_capacitor_temperature": _CELSIUS,
    "length": number(1, "byte"),
}
_FIELDS_2025: Table = {
    **_FIELDS,
    "total_current": number(0.1, "A", -3_000),
    "motors.speed": number(1, "1/min", -32_000),
    "motors.torque": number(0.1, "N.m", -20_000),
    "batteries.current": number(0.1, "A", -3_000),
}
_CODES = ("alarm_flags", "battery_faults", "motor_faults", "engine_faults", "other_faults", "position_status", "index")
"""Every value of these means itself; of the others FE.. is abnormal and FF.. invalid."""

_TIME: Table = {
    "year": lambda value: ("", str(2000 + value)),
    "month": words(""),
    "day": words(""),
    "hour": words("Beijing time (UTC+8)"),
    "minute": words(""),
    "second": words(""),
}
_FRAME: Table = {
    "start": lambda value: ("", {b"##": "edition 2016", b"$$": "edition 2025"}.get(value, "")),
    "command": choice(COMMANDS, "reserved"),
    "flag": choice(FLAGS),
    "vin": words("of the vehicle, or another id of the unit"),
    "encryption": choice(ENCRYPTIONS),
    "length": number(1, "byte", note="of the data unit"),
    "bcc": words("XOR of all bytes from the command on"),
    "body.sequence": words("number of the login, from 1 every day"),
    "body.iccid": words("of the SIM"),
    "body.code_count": words("batteries"),
    "body.code_length": number(1, "byte"),
    "body.encryption": choice(ENCRYPTIONS),
    "body.control": choice(CONTROLS, "reserved"),
    "body.ids": choice(PARAMETERS, "not defined"),
    "body.parameters.id": choice(PARAMETERS, "not defined"),
}
_EXTENSION = {signal.name: signal for signal in EXTENSION_SIGNALS}
_STATES = ("off/closed/unlocked", "on/open/locked", "failure", "unknown")


def meanings(leaves: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Unit and meaning of each leaf of a frame, by the edition that its first leaf says."""
    edition = 2025 if leaves and leaves[0].value == b"$$" else 2016
    for leaf in leaves:
        if leaf.path == "body.items.type":
            yield "", (ITEMS_2025 if edition == 2025 else ITEMS).get(leaf.value, "not defined")
        elif leaf.path.startswith("body.items.body."):
            yield _item(leaf.path.removeprefix("body.items.body."), leaf, _FIELDS_2025 if edition == 2025 else _FIELDS)
        elif ".extension." in leaf.path:
            yield _extension(leaf.path.rpartition(".")[2], leaf)
        elif leaf.path.rpartition(".")[0].endswith(("time", "valid_from", "valid_until")):
            yield _TIME.get(leaf.path.rpartition(".")[2], words(""))(leaf.value)
        else:
            yield _FRAME.get(leaf.path, words(""))(leaf.value)


def _silence(leaf: Any) -> str:
    """`abnormal` or `invalid`, if the value of a numeric field says that."""
    highest = (1 << 8 * leaf.size) - 1
    return {highest - 1: "abnormal", highest: "invalid"}.get(leaf.value, "") if isinstance(leaf.value, int) else ""


def _item(field: str, leaf: Any, table: Table) -> tuple[str, str]:
    unit, said = table.get(field, words(""))(leaf.value)
    own = field.rpartition(".")[2] in _CODES
    return unit, said if own else _silence(leaf) or said


def _extension(name: str, leaf: Any) -> tuple[str, str]:
    signal = _EXTENSION.get(name)
    if signal is None:
        return "", "whose item it is, and its version"
    if signal.states:
        return "", ", ".join(f"{state} {_STATES[leaf.value >> 2 * at & 3]}" for at, state in enumerate(signal.states))
    return signal.unit, _silence(leaf) or signal.meaning
