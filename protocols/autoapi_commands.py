"""AutoAPI messages of our own making: states from signals, and the native message of each command.

A unit says its state by `state_message`; a command is a native message in the parameters of a VTC1 envelope with command
code 01F0, and the unit tells by `command_of` which one it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from protocols.autoapi_capabilities import (
    BY_NAME,
    CAPABILITIES,
    DOORS,
    HONK_HORN_FLASH_LIGHTS,
    IGNITION_CAPABILITY,
    MESSAGE_TIMESTAMP,
    MULTI_COMMAND,
    UNIVERSAL,
    VEHICLE_STATUS,
    VIN,
)
from protocols.autoapi_facts import facts_of
from protocols.autoapi_framing import DATA, GET, REQUEST, TIME, built
from protocols.autoapi_types import TIMESTAMP
from protocols.autoapi_values import values, write
from protocols.codec import ProtocolError, build


def property_bytes(identifier: int, data: bytes, timestamp: int | None = None) -> dict[str, Any]:
    """A property as `facts["properties"]` has it: data, and a timestamp in Unix milliseconds."""
    found = [{"id": DATA, "data": data}]
    if timestamp is not None:
        found.append({"id": TIME, "data": build(TIMESTAMP, timestamp)})
    return {"id": identifier, "components": found}


def set_message(capability_id: int, properties: Iterable[Mapping[str, Any]]) -> bytes:
    """A set message of these properties (`property_bytes`)."""
    return built({"type": "set", "capability_id": capability_id, "properties": list(properties)})


def state_message(said: Mapping[str, Any], vin: str | None = None, captured_at: int | None = None) -> bytes:
    """Signals as one message: of their capability, or where they are of several, a vehicle status that holds one of each.

    `captured_at` is Unix milliseconds. Raises ProtocolError("malformed") for a signal that is not declared.
    """
    groups: dict[str, dict[str, dict[tuple[str, ...], Any]]] = {}
    for name, value in said.items():
        capability_name, _, rest = name.partition(".")
        property_name, *path = rest.split(".")
        groups.setdefault(capability_name, {}).setdefault(property_name, {})[tuple(path)] = value
    universal = []
    if captured_at is not None:
        universal.append(property_bytes(MESSAGE_TIMESTAMP, write(UNIVERSAL[MESSAGE_TIMESTAMP], captured_at)))
    if vin is not None:
        universal.append(property_bytes(VIN, write(UNIVERSAL[VIN], vin)))
    messages = [(name, list(_properties(name, found))) for name, found in groups.items()]
    if len(messages) == 1:
        name, properties = messages[0]
        return set_message(BY_NAME[name].id, properties + universal)
    states = [property_bytes(0x99, set_message(BY_NAME[name].id, properties)) for name, properties in messages]
    return set_message(VEHICLE_STATUS.id, states + universal)


def _properties(name: str, found: Mapping[str, Mapping[tuple[str, ...], Any]]) -> Iterator[dict[str, Any]]:
    declared = BY_NAME[name].properties.items() if name in BY_NAME else ()
    identifiers = {known.name: identifier for identifier, known in declared}
    for property_name, parts in found.items():
        if property_name not in identifiers:
            raise ProtocolError("malformed", 0, "signals", expected="a declared signal", found=f"{name}.{property_name}")
        known = BY_NAME[name].properties[identifiers[property_name]]
        try:
            said = values(known, parts)
        except (ValueError, IndexError) as error:
            raise ProtocolError("malformed", 0, f"{name}.{property_name}", found=str(error)) from error
        yield from (property_bytes(identifiers[property_name], write(known, value)) for value in said)


HONK_SECONDS, FLASHES = 1.0, 3


def _command(capability_id: int, *properties: tuple[int, Any]) -> bytes:
    declared = CAPABILITIES[capability_id].properties
    return set_message(capability_id, [property_bytes(number, write(declared[number], value)) for number, value in properties])


def _both(*commands: bytes) -> bytes:
    return set_message(MULTI_COMMAND.id, [property_bytes(0x02, command) for command in commands])


_LOCK, _UNLOCK = _command(DOORS.id, (0x06, "locked")), _command(DOORS.id, (0x06, "unlocked"))
_DISABLE, _ENABLE = _command(IGNITION_CAPABILITY.id, (0x03, "off")), _command(IGNITION_CAPABILITY.id, (0x03, "on"))

NATIVE_COMMANDS: Mapping[str, bytes] = {
    "request-vehicle-state": build(REQUEST, {"capability": VEHICLE_STATUS.id, "type": GET, "property_ids": b""}),
    "lock-central-lock": _LOCK,
    "unlock-central-lock": _UNLOCK,
    "disable-driving": _DISABLE,
    "enable-driving": _ENABLE,
    "lock-and-disable-driving": _both(_LOCK, _DISABLE),
    "unlock-and-enable-driving": _both(_UNLOCK, _ENABLE),
    "draw-attention": _command(HONK_HORN_FLASH_LIGHTS.id, (0x05, {"seconds": HONK_SECONDS}), (0x03, FLASHES)),
}
"""AutoAPI's message for each command of ours that it has one for: driving is allowed by the ignition setter, a pair of
commands is one multi command. Top case and battery compartment have no capability."""


def native(command: str) -> bytes:
    """The AutoAPI message that asks for `command`; ProtocolError("unsupported") where AutoAPI has none."""
    if command not in NATIVE_COMMANDS:
        raise ProtocolError("unsupported", 0, "command", expected=", ".join(NATIVE_COMMANDS), found=command)
    return NATIVE_COMMANDS[command]


def command_of(data: bytes) -> str:
    """Which command the AutoAPI message `data` asks for, whatever universal properties it has besides. Raises ProtocolError."""
    said = facts_of(data)
    if said["type"] == "set":
        said["properties"] = [found for found in said["properties"] if found["id"] not in UNIVERSAL]
        asked_for = {found["id"] for found in said["properties"]}
        if said["capability_id"] == HONK_HORN_FLASH_LIGHTS.id and asked_for and asked_for <= {0x02, 0x03, 0x05}:
            return "draw-attention"
    asked = built(said)
    for name, command in NATIVE_COMMANDS.items():
        if command == asked:
            return name
    raise ProtocolError("unsupported", 0, "command", expected="a message of a command", found=said["capability"])
