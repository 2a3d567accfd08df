"""AutoAPI messages for people: what is read of them however broken they are, and what their fields mean.

A property's parts go by its name: `doors.locks.0.value.lock_state`, `doors.locks.0.timestamp`; those of a message in a message
by both, `vehicle_status.states.0.doors.locks_state.value`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from construct import Enum, Int8ub, Int16ub, Struct

from protocols import envelope
from protocols.autoapi_capabilities import BY_NAME, CAPABILITIES, UNIVERSAL
from protocols.autoapi_facts import COMPONENTS
from protocols.autoapi_framing import (
    AVAILABLE,
    DATA,
    FAILED,
    HEADER_BYTES,
    NESTING_LIMIT,
    PROPERTY,
    REQUEST,
    SET,
    TIME,
    TYPES,
    VERSION,
    components,
    header,
    message,
    walk,
)
from protocols.autoapi_types import STATE, TIMESTAMP, Measure, Property
from protocols.autoapi_values import bare
from protocols.autoapi_values import read as read_value
from protocols.codec import ProtocolError, parse
from protocols.meanings import Meaning, choice, moment, number, words

HEAD = Struct("version" / Int8ub, "capability" / Int16ub, "type" / Int8ub)
PROPERTY_HEAD = Struct("id" / Int8ub, "size" / Int16ub)
PROPERTY_HEAD_BYTES = 3


def read(data: bytes) -> None:
    """Read a message, or a command envelope, checking nothing. Raises ProtocolError where it ends too soon."""
    if data.startswith(b"\x01"):
        parse(envelope.DECLARATION, data, 0, envelope.PATH)
    else:
        _read_message(data, 0, "", 0)


def _read_message(data: bytes, at: int, under: str, depth: int) -> None:
    parse(HEAD, data[:HEADER_BYTES], at, under)
    if header(data, 0) != SET:
        parse(REQUEST, data, at, under)
        return
    end, counts, error = walk(data, HEADER_BYTES)
    if error is not None:
        with suppress(ProtocolError):
            parse(PROPERTY, data[end:], at + end, f"{under}.property" if under else "property")
    identifier = int.from_bytes(data[1:3], "big")
    declared = CAPABILITIES.get(identifier)
    name = ".".join(filter(None, (under, declared.name if declared else f"0x{identifier:04x}")))
    seen: dict[int, int] = {}
    start = HEADER_BYTES
    for raw, count in zip(parse(message(len(counts)), data[:end], at, under).properties, counts, strict=True):
        known = UNIVERSAL.get(raw.id) or (declared.properties.get(raw.id) if declared else None)
        path = f"{name}.{known.name if known else f'0x{raw.id:02x}'}"
        nth = seen[raw.id] = seen.get(raw.id, -1) + 1
        path = f"{path}.{nth}" if nth or (known and known.many) else path
        parse(PROPERTY_HEAD, data[start : start + PROPERTY_HEAD_BYTES], at + start, path)
        _read_components(raw.components, count, known, at + start + PROPERTY_HEAD_BYTES, path, depth)
        start += PROPERTY_HEAD_BYTES + len(raw.components)


def _read_components(data: bytes, count: int, known: Property | None, at: int, path: str, depth: int) -> None:
    start = PROPERTY_HEAD_BYTES
    for component in parse(components(count), data, at, path).components:
        part, declared = COMPONENTS.get(component.id, ("", known if component.id == DATA else None))
        with suppress(ProtocolError):
            if declared is not None and declared.form is STATE and depth < NESTING_LIMIT:
                _read_message(component.data, at + start, path, depth + 1)
            elif declared is not None and declared.form is not STATE:
                read_value(declared, component.data, at + start, f"{path}.{part}" if part else path)
        start += PROPERTY_HEAD_BYTES + len(component.data)


# What the fields mean ----------------------------------------------------------------------------------------------------

_HEADS: Mapping[str, Meaning] = {
    "version": choice({VERSION: "level 13", 0x0A: "level 10", 0x0B: "level 11", 0x0C: "level 12"}),
    "capability": choice({identifier: known.name for identifier, known in CAPABILITIES.items()}, "not declared: kept as it is"),
    "type": choice(TYPES),
    "size": number(1, "byte"),
    "property_ids": words("of the properties asked for"),
}
_COMPONENT = choice({DATA: "data", TIME: "timestamp", FAILED: "failure", AVAILABLE: "availability"})
_PARTS = dict(COMPONENTS.values())
_UNIVERSAL = {known.name: known for known in UNIVERSAL.values()}


def meanings(leaves: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Unit and meaning of each leaf, by the declaration of the property that its path names."""
    unit = ""
    for leaf in leaves:
        path = [part for part in leaf.path.split(".") if not part.isdecimal()]
        form, items = _declared(path)
        if isinstance(form, Measure):
            if items == ["unit"]:
                unit = form.names.get(leaf.value, f"unit {leaf.value}")
            yield _of_measure(form, items, leaf.value, unit)
        elif form is not None and not items:
            yield _of_value(form, leaf.value)
        elif path[-1] == "id":
            yield _COMPONENT(leaf.value) if path[-2:-1] == ["components"] else ("", " ".join(path[-2:-1]))
        else:
            yield _HEADS.get(path[-1], words(""))(leaf.value)


def _declared(path: Sequence[str]) -> tuple[Any, list[str]]:
    """What declares the value, or the item of a value, at a path, and what is left of the path there."""
    for at in reversed(range(len(path) - 2)):
        capability, name, *rest = path[at:]
        known = {each.name: each for each in BY_NAME[capability].properties.values()} if capability in BY_NAME else {}
        declared = known.get(name) or _UNIVERSAL.get(name)
        if declared and rest[0] in _PARTS:
            declared, *rest = _PARTS[rest[0]], *rest[1:]
        if declared and rest[:1] == ["value"]:
            return _item(declared.form, rest[1:])
    return None, []


def _item(form: Any, path: list[str]) -> tuple[Any, list[str]]:
    form = bare(form)
    for item in form.subcons if path and isinstance(form, Struct) else ():
        if item.name == path[0]:
            return _item(item.subcon, path[1:])
    return form, path


def _of_measure(form: Measure, items: Sequence[str], value: Any, unit: str) -> tuple[str, str]:
    match items:
        case ["measurement"]:
            return "", form.measurement
        case ["unit"]:
            return "", unit
        case _:
            said = None if unit == form.unit else form.signal({unit: value})
            return unit, "" if said is None else f"{said:.10g} {form.unit}"


def _of_value(form: Any, value: Any) -> tuple[str, str]:
    if form is TIMESTAMP:
        return "ms", moment(value)
    if isinstance(form, Enum):
        return "", "" if isinstance(value, str) else "not defined"
    return "", ""
