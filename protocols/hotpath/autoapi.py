"""AutoAPI on the hot path: state messages with a timestamp of their own, whose layout is their properties, sizes and units.

What repeats from one message of a vehicle to the next is the layout; numbers, names by number, times and the VIN are data. Texts,
keys of composites and whatever else tells a value's form are structure. Messages of another kind, histories, and those with
several VINs go the slow way. There is no checksum: bytes are held against the layout alone, as the declarations do.

Rows have a place for each value in its order, not a lane for each of some thousand signals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from construct import Enum, FormatField, Renamed, Struct

from protocols.autoapi import PROTOCOL, frame_of, signals_of
from protocols.autoapi_capabilities import CAPABILITIES, MESSAGE_TIMESTAMP, NONCE, SIGNATURE, UNIVERSAL, VIN
from protocols.autoapi_facts import named
from protocols.autoapi_framing import DATA, SET, TIME, VERSION
from protocols.autoapi_types import Keyed, Measure, Property
from protocols.autoapi_values import plain
from protocols.codec import Frame
from protocols.hotpath.binding import Binding, Brief, Clock, Stretches, Values
from protocols.hotpath.framing import Framing, Guard, GuardKind
from protocols.hotpath.framing import Window as Look
from protocols.hotpath.plans import Datum, Part, Plan
from protocols.hotpath.rows import Lane, RowForm
from protocols.trace import Trace

PLACES = 48
"""Values that a row holds besides VIN and time. A message with more of them goes the slow way."""

VIN_BYTES = 17
PROPERTY_HEAD, COMPONENT_HEAD = 3, 3
_MEASURED_AT = 2

FORM = RowForm((Lane("vin", VIN_BYTES, "S"), Lane("at", 8), *(Lane(f"value_{number}", 8) for number in range(PLACES))))

Make = Callable[[Iterator[Any], bytes], Any]
"""Makes a value of the frame's values, in their order, and of its bytes."""


class _Unlearnable(Exception):
    """Not all of this message can be data of a row."""


class _Mark:
    """Stands for a value, by its place among the frame's, to see where it comes out."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place

    def decode(self, _: str) -> "_Mark":
        """Of a VIN's bytes."""
        return self


class _Signal(NamedTuple):
    """A signal: the value at `place` among the frame's, by its name in `names` where it has such; or always `value`."""

    name: str
    place: int | None
    names: Mapping[int, str] | None
    value: Any


@dataclass(frozen=True, slots=True)
class _Shape:
    """A message without its values. `signals` are those of its report in order, of which a later one counts more, and `record`
    the stretches of bytes that the report's record is; None where signals are not the values as they are."""

    make: Make
    signals: tuple[_Signal, ...] | None
    record: tuple[tuple[int, int], ...]

    def said(self, values: Values) -> dict[str, Any]:
        """The signals of the report, as the declarations find them."""
        found = {}
        for name, place, names, value in self.signals or ():
            if place is not None:
                value = values[place]
                if names is not None:
                    value = names.get(value)
                    if value is None:
                        continue
                elif type(value) is float and not isfinite(value):
                    continue
            found[name] = value
        return found


@dataclass(slots=True)
class _Draft:
    """The values of a message as they are found, and the names of those that have names."""

    values: list[Datum] = field(default_factory=list)
    lanes: set[str] = field(default_factory=set)
    names: dict[int, Mapping[int, str]] = field(default_factory=dict)

    def add(self, offset: int, size: int, form: str, lane: str = "") -> None:
        """A value at `offset`, in the lane of that name or the next place."""
        lane = lane or f"value_{sum(each.lane.startswith('value_') for each in self.values)}"
        if lane in self.lanes or lane not in FORM.by_name:
            raise _Unlearnable
        self.lanes.add(lane)
        self.values.append(Datum(lane, offset, size, form, ">"))


def _parts(frame: Frame, traces: Sequence[Trace], data: bytes) -> list[Part] | None:
    if frame.kind != "state" or len(frame.reports) != 1 or "properties" not in frame.facts:
        return None
    draft = _Draft()
    try:
        make = _message(draft, frame.facts)
    except _Unlearnable:
        return None
    times = [said.get("value") for said in frame.facts["properties"] if said["id"] == MESSAGE_TIMESTAMP]
    if "at" not in draft.lanes or times != [frame.reports[0].captured_at]:
        return None
    return [Part(0, data, tuple(draft.values), shape=_shape(draft, make, data))]


def _shape(draft: _Draft, make: Make, data: bytes) -> _Shape:
    facts = make(map(_Mark, range(len(draft.values))), data)
    kept = [said for said in facts["properties"] if said["id"] not in (NONCE, SIGNATURE)]
    record = tuple((said["offset"], said["offset"] + said["size"]) for said in kept)
    try:
        found = list(signals_of(facts))
    except TypeError:  # something is reckoned with a value, as where it is said in another unit
        return _Shape(make, None, record)
    return _Shape(make, tuple(_signal(draft, name, value) for name, value in found), record)


def _signal(draft: _Draft, name: str, value: Any) -> _Signal:
    if isinstance(value, _Mark):
        return _Signal(name, value.place, draft.names.get(value.place), None)
    return _Signal(name, None, None, value)


def _message(draft: _Draft, facts: Mapping[str, Any], depth: int = 0) -> Make:
    """What makes the facts of a message again."""
    if facts["type"] != "set":
        raise _Unlearnable
    declared = CAPABILITIES.get(facts["capability_id"])
    known = [
        UNIVERSAL.get(said["id"]) or (declared.properties.get(said["id"]) if declared else None) for said in facts["properties"]
    ]
    makes = [_property(draft, said, each, depth) for said, each in zip(facts["properties"], known, strict=True)]
    kept = {name: value for name, value in facts.items() if name != "properties"}
    return lambda values, data: kept | {"properties": [make(values, data) for make in makes]}


def _property(draft: _Draft, said: Mapping[str, Any], declared: Property | None, depth: int) -> Make:
    kept = {name: value for name, value in said.items() if name not in ("components", "value", "timestamp", "message")}
    places: list[tuple[int, int, int]] = []
    makes: dict[str, Make] = {}
    at = said["offset"] + PROPERTY_HEAD
    for component in said["components"]:
        begin, size = at + COMPONENT_HEAD, len(component["data"])
        at = begin + size
        if any(component["id"] == number for number, _, _ in places):
            raise _Unlearnable  # which of two counts, the declarations say
        places.append((component["id"], begin, at))
        if component["id"] == DATA and "message" in said:
            makes["message"] = _message(draft, said["message"], depth + 1)
        elif component["id"] == DATA and "value" in said:
            makes["value"] = _data(draft, said, declared, begin, size, depth)
        elif component["id"] == TIME and "timestamp" in said:
            draft.add(begin, size, "u")
            makes["timestamp"] = lambda values, _: next(values)

    def make(values: Iterator[Any], data: bytes) -> dict[str, Any]:
        made = kept | {"components": [{"id": number, "data": data[begin:end]} for number, begin, end in places]}
        for name, each in makes.items():
            made[name] = each(values, data)
        if "message" in made:
            made["value"] = {made["message"]["capability"]: named(made["message"])}
        return made

    return make


def _data(draft: _Draft, said: Mapping[str, Any], declared: Property | None, begin: int, size: int, depth: int) -> Make:
    if said["id"] == VIN:
        draft.add(begin, size, "S", "vin")
        return lambda values, _: next(values).decode("ascii")
    if said["id"] == MESSAGE_TIMESTAMP and not depth:
        draft.add(begin, size, "u", "at")
        return lambda values, _: next(values)
    form = next((form for form in declared.forms if _size(form) in (None, size)), None) if declared else None
    if form is None or _size(form) is None:
        return _constant(said["value"])  # as raw bytes, or of a form whose size may vary: structure
    return _value(draft, form, said["value"], begin)


def _size(form: Any) -> int | None:
    try:
        return int(form.sizeof())
    except Exception:  # construct's, for what has no size
        return None


def _value(draft: _Draft, form: Any, value: Any, begin: int) -> Make:
    """What makes a value of this form that stands at `begin`; what is no plain number is structure."""
    while isinstance(form, Renamed):
        form = form.subcon
    match form:
        case Measure():
            draft.add(begin + _MEASURED_AT, 8, "f")
            (unit,) = value
            return lambda values, _: {unit: next(values)}
        case Enum() if isinstance(form.subcon, FormatField):
            draft.add(begin, form.sizeof(), "u")
            names = {number: plain(name) for number, name in form.decmapping.items()}
            draft.names[len(draft.values) - 1] = names

            def make(values: Iterator[Any], data: bytes) -> Any:
                number = next(values)
                return names.get(number, number)

            return make
        case Struct():
            return _composite(draft, form, value, begin)
        case FormatField() if form.fmtstr[0] == ">":
            letter = form.fmtstr[-1]
            draft.add(begin, form.sizeof(), "f" if letter in "fd" else "i" if letter.islower() else "u")
            return lambda values, _: next(values)
    return _constant(value)


def _constant(value: Any) -> Make:
    return lambda _, __: value


def _composite(draft: _Draft, form: Any, value: Mapping[str, Any], begin: int) -> Make:
    makes: list[tuple[str, Make]] = []
    for number, item in enumerate(form.subcons):
        said, size = value[item.name], _size(item)
        if size is None:
            raise _Unlearnable
        key = isinstance(form, Keyed) and not number
        makes.append((item.name, _constant(said) if key else _value(draft, item, said, begin)))
        begin += size
    return lambda values, data: {name: make(values, data) for name, make in makes}


def _frame(plans: Sequence[Plan], values: Sequence[Values], data: bytes) -> Frame:
    (plan,), (said,) = plans, values
    return frame_of(data, plan.shape.make(iter(said), data))


def _briefs(rows: npt.NDArray[Any], frames: Sequence[bytes], stretches: Stretches) -> Sequence[Brief | None]:
    times = _times(rows).tolist()
    return [
        None if plan is None or plan.shape.signals is None else _brief(plan, data, at)
        for plan, data, at in zip(stretches.plans, frames, times, strict=True)
    ]


def _brief(plan: Plan, data: bytes, at: int) -> Brief:
    said = plan.shape.said(plan.unpack.unpack_from(data))
    record = data[1:3] + b"".join(data[begin:end] for begin, end in plan.shape.record)
    return Brief("state", None, None, False, ((record, at),) if said else (), signals=(said,) if said else ())


def _times(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    at: npt.NDArray[np.int64] = rows["at"].astype(np.int64)
    return at


BINDING = Binding(
    PROTOCOL,
    Framing(sync_mask=0xFF0000FF, sync=VERSION | SET << 24),
    FORM,
    windows=(Look(0, (1 << 64) - 1),),  # the capability, and the first property with its size
    guards=(Guard("vin", GuardKind.TEXT), Guard("at", GuardKind.RANGE, 0, (1 << 63) - 1)),
    parts=_parts,
    frame=_frame,
    times=_times,
    briefs=_briefs,
    clock=Clock("at", 1),
    unit_lane="vin",
)
