"""Between a property's bytes, its value, and the flat signals that the rest of the gateway knows.

A value is plain Python: numbers, text, bytes, `{unit: number}` for a measure, a dict for a composite. An enum id without a
name stays a number: kept in the value, no signal. Timestamps are Unix milliseconds, percentages 0.0 to 1.0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from construct import Enum, SizeofError, Struct, Terminated

from protocols.autoapi_types import MEASUREMENTS, Keyed, Measure, Property
from protocols.codec import ProtocolError, build, parse

Parts = Mapping[tuple[str, ...], Any]
"""The signals of one value: what stands after the value's own name, and the signal's value."""


@cache
def _layouts(declared: Property) -> tuple[tuple[int | None, Any], ...]:
    return tuple((_size(form), Struct("value" / form, Terminated)) for form in declared.forms)


def _size(form: Any) -> int | None:
    try:
        return int(form.sizeof())
    except SizeofError:
        return None


def read(declared: Property, data: bytes, at: int = 0, under: str = "") -> Any:
    """The value that `data`, a property's whole data component, says. Raises ProtocolError with the offset in `data`.

    `at` and `under` are for who watches (protocols.codec.parse).
    """
    layouts = _layouts(declared)
    for size, layout in layouts:
        if size is None or size == len(data):
            try:
                return plain(parse(layout, data, at, under).value)
            except ProtocolError as error:
                if error.reason == "truncated":
                    error.reason = "bad_length"
                _say_measurement(error, declared, data)
                raise
    sizes = " or ".join(str(size) for size, _ in layouts)
    raise ProtocolError("bad_length", 0, "data", expected=f"{sizes} bytes", found=f"{len(data)} bytes")


def _say_measurement(error: ProtocolError, declared: Property, data: bytes) -> None:
    form = bare(declared.form)
    if isinstance(form, Measure) and data[0] != form.measurement_id:
        names = {identifier: name for name, (identifier, _) in MEASUREMENTS.items()}
        error.offset, error.expected = 0, f"{form.measurement_id:02x}, {form.measurement}"
        error.found = f"{data[0]:02x}, {names.get(data[0], 'not defined')}"


def write(declared: Property, value: Any) -> bytes:
    """The data component that says `value`; the inverse of read for what read gives. Raises ProtocolError("malformed")."""
    return build(declared.form, value)


def plain(value: Any) -> Any:
    """Without construct's containers."""
    match value:
        case Mapping():
            return {name: plain(item) for name, item in value.items() if name != "_io"}
        case str():
            return str(value)
        case bytes() | float():
            return value
        case int():
            return int(value)
        case Sequence():
            return [plain(item) for item in value]
    return value


def signals(name: str, form: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """The signals of one value: nothing for what is not finite, has no name, or is in a unit that we do not know."""
    match bare(form):
        case Measure() as measure:
            value = measure.signal(value)
        case Keyed() as composite:
            key, *items = composite.subcons
            under = f"{name}.{value[key.name]}"
            for item in items:
                yield from signals(under if len(items) == 1 else f"{under}.{item.name}", item, value[item.name])
            return
        case Struct() as composite:
            for item in composite.subcons:
                yield from signals(f"{name}.{item.name}", item, value[item.name])
            return
        case Enum() if isinstance(value, int):
            return
    if isinstance(value, float) and not math.isfinite(value):
        return
    if value is not None:
        yield name, value.hex() if isinstance(value, bytes) else value


def values(declared: Property, parts: Parts) -> list[Any]:
    """The values of a property that have these signals; the inverse of `signals`. Raises ProtocolError("malformed")."""
    form = declared.form
    if not isinstance(form, Keyed):
        if not declared.many:
            return [_value(form, parts)]
        return [_value(form, _below(parts, number)) for number in sorted({path[0] for path in parts}, key=int)]
    key, *items = form.subcons
    found = []
    for which in dict.fromkeys(path[0] for path in parts if path):
        below = _below(parts, which)
        said: dict[str, Any] = {key.name: int(which) if which.isdecimal() else which}
        for item in items:
            said[item.name] = _value(item, below if len(items) == 1 else _below(below, item.name))
        found.append(said)
    return found


def _value(form: Any, parts: Parts) -> Any:
    form = bare(form)
    if isinstance(form, Struct):
        return {item.name: _value(item, _below(parts, item.name)) for item in form.subcons}
    if () not in parts:
        raise ProtocolError("malformed", 0, "signals", expected="a signal for each item of a value")
    said = parts[()]
    return {form.unit: said} if isinstance(form, Measure) else said


def _below(parts: Parts, first: str) -> Parts:
    return {path[1:]: value for path, value in parts.items() if path[:1] == (first,)}


def bare(form: Any) -> Any:
    """A form without what is only wrapped around it."""
    while not isinstance(form, Enum | Measure | Struct) and (inner := getattr(form, "subcon", None)) is not None:
        form = inner
    return form
