"""What a GB/T 32960.3 report says, as flat signals; and the layout of this project's own custom item, 0x80.

A signal has the raw value of its field, in the 2016 edition's raw unit: 2025 fields that count from another zero are moved, so
that one rule reads both. Abnormal and invalid values (0xFE.., 0xFF..) are left out; in a tuple they are None. Several of a
kind are told apart by the index that the unit gave them: `motor_1_speed`, `battery_2_cell_voltages`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from construct import Const, Int8ub, Int16ub, Struct, Terminated

from protocols.codec import build, parse
from protocols.gbt32960_items import CUSTOM_TYPES, ITEMS

EXTENSION_TYPE = 0x80
EXTENSION_MAGIC = b"TL\x01"
"""Other makers use item 0x80 too: ours says whose it is, and its version."""

POSITION_INVALID, SOUTH, WEST = 0x01, 0x02, 0x04
WGS_84, GCJ_02 = 1, 2
LONGITUDE_LIMIT, LATITUDE_LIMIT = 180_000_000, 90_000_000
DRIVING_FORCE, BRAKING_FORCE, GEAR_INVALID = 0x20, 0x10, 0x80


@dataclass(frozen=True, slots=True)
class Signal:
    """One raw value. `states` names the two-bit states packed into a byte, lowest bits first."""

    name: str
    form: Any
    unit: str
    meaning: str
    states: tuple[str, ...] = ()


TWO_BIT_STATES = "2-bit states: 0 off, closed, unlocked; 1 on, open, locked; 2 failure; 3 unknown"

EXTENSION_SIGNALS = (
    Signal("can_locks", Int8ub, "", TWO_BIT_STATES, ("central_lock", "top_case", "tailgate", "fuel_flap")),
    Signal("switches", Int8ub, "", TWO_BIT_STATES, ("ignition", "key", "driving_enabled", "parking_brake")),
    Signal("doors", Int8ub, "", TWO_BIT_STATES, ("front_left", "front_right", "rear_left", "rear_right")),
    Signal("openings", Int8ub, "", TWO_BIT_STATES, ("tailgate", "hood", "top_case_lid", "battery_compartment")),
    Signal("windows", Int8ub, "", TWO_BIT_STATES, ("front_left", "front_right", "rear_left", "rear_right")),
    Signal("charging", Int8ub, "", TWO_BIT_STATES, ("charging", "adapter")),
    Signal("equipment", Int8ub, "", TWO_BIT_STATES, ("headlights", "center_stand", "abs")),
    Signal("lamps_fluids", Int8ub, "", TWO_BIT_STATES, ("adblue_low", "brake_fluid_low", "engine_oil_low", "coolant")),
    Signal("lamps_safety", Int8ub, "", TWO_BIT_STATES, ("brake_lining", "brake", "tire_pressure_low", "check_engine")),
    Signal("fuel_level", Int8ub, "0.5 %", ""),
    Signal("adblue_level", Int8ub, "0.5 %", ""),
    Signal("remaining_range", Int16ub, "100 m", ""),
    Signal("onboard_voltage", Int16ub, "mV", "the vehicle's low-voltage battery"),
    Signal("supply_voltage", Int16ub, "mV", "at the unit's supply pins"),
    Signal("altitude", Int16ub, "m", "above the WGS 84 ellipsoid, from -1000 m"),
    Signal("heading", Int16ub, "0.01 deg", "over ground, clockwise from north"),
    Signal("satellites", Int8ub, "", "satellites used in the fix"),
    Signal("rssi", Int8ub, "dBm", "of the serving cell, from -200 dBm"),
    Signal("tire_pressure_front_left", Int16ub, "0.1 kPa", "gauge"),
    Signal("tire_pressure_front_right", Int16ub, "0.1 kPa", "gauge"),
    Signal("tire_pressure_rear_left", Int16ub, "0.1 kPa", "gauge"),
    Signal("tire_pressure_rear_right", Int16ub, "0.1 kPa", "gauge"),
    Signal("brake_fluid_due", Int16ub, "d", "days since 2000-01-01"),
)
"""The content of custom item 0x80 behind EXTENSION_MAGIC, in this order; 0xFE.. and 0xFF.. as in the standard's own fields."""

EXTENSION = Struct("magic" / Const(EXTENSION_MAGIC), *(signal.name / signal.form for signal in EXTENSION_SIGNALS), Terminated)
EXTENSION_SIZE_BYTES: int = len(EXTENSION_MAGIC) + sum(signal.form.sizeof() for signal in EXTENSION_SIGNALS)

# Reading ---------------------------------------------------------------------------------------------------------------

_LISTS = {"motors": "motor", "batteries": "battery", "stacks": "stack"}
_FLAGS = frozenset({"alarm_flags", "battery_faults", "motor_faults", "engine_faults", "other_faults", "position_status"})
"""Bits and codes: every value of theirs means itself."""

_GROUPS = frozenset(signal.name for signal in EXTENSION_SIGNALS if signal.states)

MOVED_2025: Mapping[str, int] = {
    "total_current": -20_000,  # from -3000 A to -1000 A, in 0.1 A
    "batteries.current": -20_000,
    "motors.speed": -12_000,  # from -32000 1/min to -20000 1/min
    "motors.torque": -180_000,  # from -20000 N m to -2000 N m, in 0.1 N m
}
"""What is added to a 2025 field so that it counts from where its 2016 namesake does."""


def _sizes(declaration: Any, prefix: str = "") -> dict[str, int]:
    """Bytes of each number in a declaration, by its dotted name; a list's are its elements'."""
    found: dict[str, int] = {}
    for field in declaration.subcons:
        name, form = prefix + (field.name or ""), field.subcon if field.name else field
        element = getattr(form, "subcon", None)
        if element is not None and not name.endswith("_count") and hasattr(element, "subcons"):
            found |= _sizes(element, f"{name}.")
        elif element is not None and hasattr(form, "count"):
            found[name] = element.sizeof()
        elif field.name:
            found[name] = form.sizeof()
    return found


SIZES: Mapping[tuple[int, int], Mapping[str, int]] = {
    (edition, kind): _sizes(declaration)
    for edition, kinds in ITEMS.items()
    for kind, declaration in kinds.items()
    if kind not in CUSTOM_TYPES
}
_EXTENSION_SIZES = {signal.name: signal.form.sizeof() for signal in EXTENSION_SIGNALS}


def signals(items: Sequence[Mapping[str, Any]], edition: int) -> dict[str, Any]:
    """The flat signals of a report's items as they were parsed. A later item of a type overrides an earlier one."""
    said: dict[str, Any] = {}
    for item in items:
        kind, body = item["type"], item["body"]
        if kind in CUSTOM_TYPES:
            said |= _custom(kind, body["content"])
        else:
            said |= dict(_flat(body, SIZES[edition, kind], MOVED_2025 if edition == 2025 else {}))
    if "position_status" in said:
        _place(said)
    if "gear" in said:
        _engage(said, edition)
    return said


def _flat(
    body: Mapping[str, Any], sizes: Mapping[str, int], moved: Mapping[str, int], path: str = "", prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for field, value in body.items():
        if field.endswith("_count") or (path and field == "index"):
            continue
        name = path + field
        if field in _LISTS:
            for one in value:
                yield from _flat(one, sizes, moved, f"{name}.", f"{_LISTS[field]}_{one['index']}_")
        elif field == "alarms":
            yield "alarms", tuple((alarm["flag"], alarm["level"]) for alarm in value)
        elif isinstance(value, list):
            yield prefix + field, tuple(_known(one, field, sizes[name]) for one in value)
        elif (number := _known(value, field, sizes[name])) is not None:
            yield prefix + field, number + moved.get(name, 0)


def _known(value: int, field: str, size_bytes: int) -> int | None:
    if field in _FLAGS or value < (1 << 8 * size_bytes) - 2:
        return value
    return None


def _place(said: dict[str, Any]) -> None:
    """Signs from the status bits; a position that is not valid, not on earth, or not in WGS 84 is not `longitude`, `latitude`."""
    status, system = said["position_status"], said.get("coordinate_system", WGS_84)
    longitude, latitude = said.pop("longitude", None), said.pop("latitude", None)
    if status & POSITION_INVALID or longitude is None or latitude is None or system not in (WGS_84, GCJ_02):
        return
    if longitude > LONGITUDE_LIMIT or latitude > LATITUDE_LIMIT:
        return
    prefix = "gcj02_" if system == GCJ_02 else ""
    said[f"{prefix}longitude"] = -longitude if status & WEST else longitude
    said[f"{prefix}latitude"] = -latitude if status & SOUTH else latitude


def _engage(said: dict[str, Any], edition: int) -> None:
    byte = said.pop("gear")
    said["driving_force"], said["braking_force"] = int(bool(byte & DRIVING_FORCE)), int(bool(byte & BRAKING_FORCE))
    if edition == 2016 or not byte & GEAR_INVALID:
        said["gear"] = byte & 0x0F


def _custom(kind: int, content: bytes) -> dict[str, Any]:
    if kind != EXTENSION_TYPE or not content.startswith(EXTENSION_MAGIC) or len(content) != EXTENSION_SIZE_BYTES:
        return {f"custom_{kind:02x}": content}
    said = parse(EXTENSION, content)
    return {
        name: said[name]
        for name, size_bytes in _EXTENSION_SIZES.items()
        if name in _GROUPS or _known(said[name], name, size_bytes) is not None
    }


def extension(said: Mapping[str, Any]) -> bytes:
    """The content of custom item 0x80 that says these signals; what is not among them is unknown (groups) or invalid."""
    return build(EXTENSION, {name: said.get(name, (1 << 8 * size) - 1) for name, size in _EXTENSION_SIZES.items()})
