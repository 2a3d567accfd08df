"""What an AutoAPI message says: its properties with name, value, time, failure and availability, and the bytes of each.

Nothing is lost: `components` keeps every property as it came, declared or not, and `autoapi_framing.built` gives the message
back. Messages in a message (vehicle status, history, multi command) are read the same way, under `message`.
"""

from collections.abc import Mapping
from typing import Any

from protocols.autoapi_capabilities import CAPABILITIES, UNIVERSAL
from protocols.autoapi_framing import (
    AVAILABLE,
    DATA,
    FAILED,
    HEADER_BYTES,
    NESTING_LIMIT,
    REQUEST,
    SET,
    TIME,
    TYPES,
    components,
    header,
    message,
    walk,
)
from protocols.autoapi_types import AVAILABILITY, FAILURE, STATE, TIMESTAMP, Property, one
from protocols.autoapi_values import read
from protocols.codec import ProtocolError, parse

COMPONENTS: Mapping[int, tuple[str, Property]] = {
    TIME: ("timestamp", one("timestamp", TIMESTAMP)),
    FAILED: ("failure", one("failure", FAILURE)),
    AVAILABLE: ("availability", one("availability", AVAILABILITY)),
}
"""The components of a property besides its data: what each is called, and its type."""


def facts_of(data: bytes, offset: int = 0, depth: int = 0) -> dict[str, Any]:
    """What the message `data` says, as facts; offsets count from the outermost message, in which it begins at `offset`."""
    try:
        kind = header(data, 0)
        declared = CAPABILITIES.get(int.from_bytes(data[1:3], "big"))
        facts: dict[str, Any] = {"type": TYPES[kind], "capability_id": int.from_bytes(data[1:3], "big")}
        facts["capability"] = declared.name if declared else f"0x{facts['capability_id']:04x}"
        if kind != SET:
            return facts | {"property_ids": parse(REQUEST, data).property_ids}
        _, counts, error = walk(data, HEADER_BYTES)
        if error is not None:
            raise error
        said = parse(message(len(counts)), data)
    except ProtocolError as error:
        raise error.moved(offset) from error
    properties, at = [], HEADER_BYTES
    for raw, count in zip(said.properties, counts, strict=True):
        known = UNIVERSAL.get(raw.id) or (declared.properties.get(raw.id) if declared else None)
        properties.append(_said(raw, count, known, offset + at, depth))
        at += 3 + len(raw.components)
    return facts | {"properties": properties}


def _said(raw: Any, count: int, known: Property | None, offset: int, depth: int) -> dict[str, Any]:
    """One property: its bytes as they came, and what they mean as far as it is declared."""
    found = parse(components(count), raw.components).components
    said: dict[str, Any] = {
        "id": raw.id,
        "name": known.name if known else f"0x{raw.id:02x}",
        "offset": offset,
        "size": 3 + len(raw.components),
        "components": [{"id": component.id, "data": component.data} for component in found],
    }
    at = offset + 6
    for component in found:
        key, declared = ("value", known) if component.id == DATA else COMPONENTS.get(component.id, ("", None))
        try:
            if key and key not in said:
                _mean(said, key, declared, component.data, at, depth)
        except ProtocolError as error:
            raise ProtocolError(
                error.reason, error.offset, f"{said['name']}.{key}", expected=error.expected, found=error.found
            ) from error
        at += 3 + len(component.data)
    return said


def _mean(said: dict[str, Any], key: str, declared: Property | None, data: bytes, at: int, depth: int) -> None:
    if declared is None:
        said[key] = data
    elif declared.form is STATE:
        if depth >= NESTING_LIMIT:
            raise ProtocolError("malformed", at, expected=f"at most {NESTING_LIMIT} messages in each other")
        said["message"] = facts_of(data, at, depth + 1)
        said[key] = {said["message"]["capability"]: named(said["message"])}
    else:
        try:
            said[key] = read(declared, data)
        except ProtocolError as error:
            raise error.moved(at) from error


def named(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A message's values by property name; those of a property that came several times, as a list."""
    named: dict[str, list[Any]] = {}
    for said in facts.get("properties", ()):
        if "value" in said:
            named.setdefault(said["name"], []).append(said["value"])
    return {name: found[0] if len(found) == 1 else found for name, found in named.items()}
