"""The checks of captured AutoAPI messages."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from construct import Enum

from bench.conformance.captures import Captures, Piece
from bench.conformance.checks.frames import error_check, field_check, sound
from bench.conformance.requirement import NotExecuted, proves
from protocols.autoapi_capabilities import CAPABILITIES, UNIVERSAL
from protocols.autoapi_types import PERCENTAGE, Keyed, Measure, Property
from protocols.autoapi_values import bare
from protocols.codec import ProtocolError
from protocols.envelope import NATIVE_COMMAND

P = "autoapi"
A2, A3 = 0xA2, 0xA3
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
VIN_LETTERS = frozenset("0123456789ABCDEFGHJKLMNPRSTUVWXYZ")
Facts = Mapping[str, Any]
DOUBLES = frozenset(
    [
        "latitude",
        "longitude",
        "price",
        "value",
        "calculated_charging_cost",
        "calculated_savings",
        "simulated_immediate_charging_cost",
    ]
)
"""Items of composites that are doubles and no percentages: on the wire they look the same."""


def is_message(piece: Piece) -> bool:
    """Whether it is an AutoAPI message, not an envelope."""
    return piece.data[:1] != b"\x01"


def messages(facts: Facts) -> Iterator[Facts]:
    """A message and those in it, as they were parsed."""
    yield facts
    for said in facts.get("properties", ()):
        if "message" in said:
            yield from messages(said["message"])


def properties(piece: Piece) -> Iterator[tuple[Facts, Facts]]:
    """Each message's facts with each of its properties."""
    if piece.frame is not None:
        for facts in messages(piece.frame.facts):
            for said in facts.get("properties", ()):
                yield facts, said


def declared(facts: Facts, said: Facts) -> Property | None:
    """What level 13 says of a property."""
    known = CAPABILITIES.get(facts["capability_id"])
    return UNIVERSAL.get(said["id"]) or (known.properties.get(said["id"]) if known else None)


def _decoded(piece: Piece) -> bool:
    return piece.frame is not None and "type" in piece.frame.facts and is_message(piece)


def each(captures: Captures, what: str, applies: Callable[[Piece], bool], judge: Callable[[Piece], None], todo: str = "") -> str:
    """Over the pieces that are messages."""
    return captures.each(P, what, lambda piece: is_message(piece) and applies(piece), judge, todo)


def _of_a_value(error: ProtocolError) -> bool:
    return error.field.endswith(".value")


@proves("AAP-MSG-001")
def version(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[:1] != b"\x0d":
            raise piece.broken("0d", piece.data[:1].hex())

    return each(captures, "message", lambda piece: True, judge)


@proves("AAP-MSG-002")
def message_type(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[3] > 2:
            raise piece.broken("00, 01 or 02", f"{piece.data[3]:02x}")

    return each(captures, "message", lambda piece: piece.data[:1] == b"\x0d" and len(piece.data) >= 4, judge)


@proves("AAP-MSG-003")
def capability_known(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.frame is not None
        for facts in messages(piece.frame.facts):
            if facts["capability_id"] not in CAPABILITIES:
                raise piece.broken("a capability of level 13", f"{facts['capability_id']:04x}")

    return each(captures, "message", _decoded, judge)


error_check("AAP-MSG-004", P, "message", "properties that end where the message ends", "truncated")
error_check("AAP-MSG-005", P, "message", "at most 64 KiB", "oversized")
error_check(
    "AAP-MSG-007",
    P,
    "message",
    "four messages in each other at most",
    "malformed",
    when=lambda error: "in each other" in error.expected,
)


@proves("AAP-MSG-006")
def getter(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.frame is not None
        ids = piece.frame.facts["property_ids"]
        if len(ids) != len(set(ids)):
            raise piece.broken("each property id once", ids.hex(" "))

    return each(captures, "getter", lambda piece: _decoded(piece) and "property_ids" in piece.frame.facts, judge)  # type: ignore[union-attr]


@proves("AAP-MSG-008")
def nothing_between(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "bad_sync":
            raise piece.broken("messages back to back", f"{len(piece.data)} bytes that begin none")

    return captures.each(P, "message", lambda piece: True, judge)


error_check(
    "AAP-PROP-001",
    P,
    "message",
    "components that fill their property",
    "bad_length",
    fields="property component",
    when=lambda error: error.expected != "a component",
)


@proves("AAP-PROP-002")
def not_empty(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "bad_length" and piece.error.expected == "a component":
            raise piece.broken("a component", "a property of 0 bytes")

    return each(
        captures, "message", lambda piece: sound(piece) or (piece.error is not None and piece.error.reason == "bad_length"), judge
    )


def _property_check(
    id: str, what: str, expected: str, applies: Callable[[Facts, Facts], bool], wrong: Callable[[Facts, Facts], str]
) -> None:
    """`wrong` says what is wrong with a property that `applies` names; nothing if it is right."""

    @proves(id)
    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            for facts, said in properties(piece):
                if applies(facts, said) and (seen := wrong(facts, said)):
                    raise piece.broken(expected, f"{facts['capability']}.{said['name']}: {seen}")

        def has_one(piece: Piece) -> bool:
            return _decoded(piece) and any(applies(facts, said) for facts, said in properties(piece))

        return each(captures, what, has_one, judge)

    check.__qualname__ = id.lower().replace("-", "_")


def _ids(said: Facts) -> list[int]:
    return [component["id"] for component in said["components"]]


def _any(facts: Facts, said: Facts) -> bool:
    return True


def _component(said: Facts, number: int) -> bytes:
    return next((component["data"] for component in said["components"] if component["id"] == number), b"")


def _more_than_once(facts: Facts, said: Facts) -> str:
    known = declared(facts, said)
    times = sum(other["id"] == said["id"] for other in facts["properties"])
    return f"{times} times" if known is not None and not known.many and times > 1 else ""


def _after_message(facts: Facts, said: Facts) -> str:
    own = next((other["value"] for other in facts["properties"] if other["id"] == A2 and "value" in other), None)
    return f"{said['timestamp']} after {own}" if own is not None and said["timestamp"] > own else ""


def _twice(facts: Facts, said: Facts) -> str:
    return next((f"component {one:02x} twice" for one, times in Counter(_ids(said)).items() if times > 1), "")


_property_check(
    "AAP-PROP-003",
    "property",
    "components 01, 02, 03 and 05",
    _any,
    lambda facts, said: ", ".join(f"{one:02x}" for one in _ids(said) if one not in (1, 2, 3, 5)),
)
_property_check("AAP-PROP-004", "property", "each component once", _any, _twice)
_property_check(
    "AAP-PROP-006",
    "property with a failure",
    "no data",
    lambda facts, said: 3 in _ids(said),
    lambda facts, said: "data beside the failure" if 1 in _ids(said) else "",
)
_property_check(
    "AAP-PROP-007",
    "property with a failure",
    "a reason of level 13",
    lambda facts, said: 3 in _ids(said),
    lambda facts, said: "" if isinstance(said.get("failure", {}).get("reason"), str) else str(said.get("failure")),
)
_property_check("AAP-PROP-008", "property", "once", _any, _more_than_once)
_property_check(
    "AAP-PROP-009",
    "property of a known capability",
    "a property of level 13",
    lambda facts, said: facts["capability_id"] in CAPABILITIES,
    lambda facts, said: "" if declared(facts, said) else f"id {said['id']:02x}",
)
_property_check(
    "AAP-PROP-011",
    "property with a timestamp",
    "a time not after the message's",
    lambda facts, said: "timestamp" in said,
    _after_message,
)
error_check(
    "AAP-PROP-010",
    P,
    "message",
    "data of its type's size",
    "bad_length",
    when=lambda error: _of_a_value(error) and error.expected.endswith(" bytes"),
)


@proves("AAP-PROP-005")
def timestamp_size(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.field.endswith(".timestamp"):
            raise piece.broken("8 bytes", f"{piece.error.reason} at byte {piece.error.offset}")
        for facts, said in properties(piece):
            if 2 in _ids(said) and len(_component(said, 2)) != 8:
                raise piece.broken("8 bytes", f"{facts['capability']}.{said['name']}: {len(_component(said, 2))}")

    def applies(piece: Piece) -> bool:
        timed = any(2 in _ids(said) for _, said in properties(piece))
        return timed or (piece.error is not None and piece.error.field.endswith(".timestamp"))

    return each(captures, "property with a timestamp", applies, judge)


# Values ------------------------------------------------------------------------------------------------------------------


def _walked(form: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    form = bare(form) if not isinstance(form, Keyed) else form
    if hasattr(form, "subcons") and isinstance(value, Mapping) and not isinstance(form, Measure | Enum):
        for item in form.subcons:
            if item.name in value and item.name not in DOUBLES:
                yield from _walked(item, value[item.name])
        return
    yield form, value


def _values(facts: Facts, said: Facts) -> Iterator[tuple[Any, Any]]:
    known = declared(facts, said)
    if known is not None and "value" in said and "message" not in said:
        yield from _walked(known.form, said["value"])


def _value_check(
    id: str, what: str, expected: str, applies: Callable[[Any, Any], bool], holds: Callable[[Any, Any], bool]
) -> None:
    _property_check(
        id,
        what,
        expected,
        lambda facts, said: any(applies(form, value) for form, value in _values(facts, said)),
        lambda facts, said: next(
            (repr(value) for form, value in _values(facts, said) if applies(form, value) and not holds(form, value)), ""
        ),
    )


def _measures(form: Any, value: Any) -> bool:
    return isinstance(form, Measure) and isinstance(value, Mapping)


_value_check(
    "AAP-TYPE-002",
    "measure",
    "a unit of the measurement",
    _measures,
    lambda form, value: not next(iter(value)).startswith("unit_"),
)
_value_check(
    "AAP-TYPE-003", "measure", "a finite value", _measures, lambda form, value: math.isfinite(next(iter(value.values())))
)
_value_check(
    "AAP-TYPE-004",
    "percentage",
    "0.0 to 1.0",
    lambda form, value: _is_percentage(form, value),
    lambda form, value: 0.0 <= value <= 1.0,
)
_value_check(
    "AAP-TYPE-005", "enum", "a name", lambda form, value: isinstance(form, Enum), lambda form, value: isinstance(value, str)
)
error_check(
    "AAP-TYPE-001",
    P,
    "message",
    "the measurement that the property declares",
    "malformed",
    when=lambda error: "measurement" in error.found or "OneOf" in error.found or "invalid object" in error.found,
)
error_check("AAP-TYPE-006", P, "message", "UTF-8", "malformed", when=lambda error: "utf" in error.found.lower())
error_check(
    "AAP-TYPE-007",
    P,
    "message",
    "lengths that hold",
    "bad_length",
    when=lambda error: _of_a_value(error) and not error.expected.endswith(" bytes"),
)


def _is_percentage(form: Any, value: Any) -> bool:
    return isinstance(value, float) and form is PERCENTAGE


_property_check(
    "AAP-UNI-001",
    "VIN",
    "17 letters and digits without I, O, Q",
    lambda facts, said: said["id"] == A3 and "value" in said,
    lambda facts, said: "" if len(said["value"]) == 17 and set(said["value"]) <= VIN_LETTERS else str(said["value"]),
)
_property_check(
    "AAP-UNI-004",
    "nonce or signature",
    "9 and 64 bytes",
    lambda facts, said: said["id"] in (0xA0, 0xA1),
    lambda facts, said: (
        "" if len(_component(said, 1)) == {0xA0: 9, 0xA1: 64}[said["id"]] else f"{len(_component(said, 1))} bytes"
    ),
)
_property_check(
    "AAP-UNI-005",
    "timestamp",
    "Unix ms from 2000 to 2100",
    lambda facts, said: said["id"] == A2 and "value" in said,
    lambda facts, said: "" if YEAR_2000_MS <= said["value"] < YEAR_2100_MS else str(said["value"]),
)


@proves("AAP-UNI-002")
def vins(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.capture.unit is not None
        for _, said in properties(piece):
            if said["id"] == A3 and said.get("value") != piece.capture.unit.telematics_unit_id:
                raise piece.broken(piece.capture.unit.telematics_unit_id, str(said.get("value")))

    def applies(piece: Piece) -> bool:
        return piece.capture.unit is not None and any(said["id"] == A3 for _, said in properties(piece))

    return each(
        captures, "message with a VIN whose unit is known", applies, judge, "name the unit: --brand MERCEDES_BENZ --unit VIN"
    )


@proves("AAP-UNI-003")
def says_when(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.frame is not None and piece.frame.captured_at is None:
            raise piece.broken("a timestamp", "none")

    return each(captures, "state", lambda piece: piece.kind == "state" and any(True for _ in properties(piece)), judge)


@proves("AAP-POS-001")
def on_earth(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for _, said in properties(piece):
            value = said.get("value")
            if (
                said["name"] == "coordinates"
                and isinstance(value, Mapping)
                and (abs(value["latitude"]) > 90 or abs(value["longitude"]) > 180)
            ):
                raise piece.broken("latitude within 90, longitude within 180", str(dict(value)))

    return each(captures, "position", lambda piece: any(said["name"] == "coordinates" for _, said in properties(piece)), judge)


_property_check(
    "AAP-POS-002",
    "heading",
    "0 to 360 degrees",
    lambda facts, said: facts["capability"] == "vehicle_location" and said["name"] == "heading" and "value" in said,
    lambda facts, said: "" if 0 <= next(iter(said["value"].values())) <= 360 else str(said["value"]),
)
_property_check(
    "AAP-NEST-001",
    "vehicle status",
    "whole set messages",
    lambda facts, said: facts["capability"] == "vehicle_status" and said["id"] == 0x99,
    lambda facts, said: "" if said.get("message", {}).get("type") == "set" else str(said.get("message", {}).get("type")),
)


@proves("AAP-CMD-001")
def native_command(captures: Captures) -> str:
    from protocols.autoapi_facts import facts_of

    found = 0
    for piece in captures.pieces(P):
        data = piece.frame.facts.get("envelope") if piece.frame else None
        if not isinstance(data, bytes) or data[3] != 1 or int.from_bytes(data[16:18], "big") != NATIVE_COMMAND:
            continue
        found += 1
        parameters = data[20:-16]
        try:
            facts_of(parameters if parameters[:1] == b"\x0d" else parameters[8:])
        except ProtocolError as error:
            raise piece.broken("a whole AutoAPI message", f"{error.reason} at byte {error.offset}: {parameters.hex()}") from error
    if not found:
        raise NotExecuted("no native command in an envelope", "capture a command")
    return f"{found} native commands"


__all__ = ["field_check"]
