"""AutoAPI level 13: every property of every capability alone, every enum value, every unit of every measure, and bad messages."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from construct import Array, Bytes, Enum, FormatField, Struct
from construct import StringEncoded as Text

from bench.conformance.vectors import Bad, Good, Set, expected
from protocols import envelope
from protocols.autoapi import PROTOCOL
from protocols.autoapi_capabilities import CAPABILITIES, UNIVERSAL, VEHICLE_STATUS
from protocols.autoapi_commands import NATIVE_COMMANDS, property_bytes, set_message
from protocols.autoapi_types import STATE, Measure, Property
from protocols.autoapi_values import write
from protocols.codec import Peer, ProtocolError
from protocols.envelope import NATIVE_COMMAND, Envelope, Type

VIN, AT = "W1K2060461F123456", 1_795_446_000_123
PEER = Peer(VIN)
STATE_OF_DOORS = bytes.fromhex("0d00200106000401000101")
VARIED = 3
"""Values that are tried of a number or measure in a composite, besides its first; of an enum, all."""


def _samples(form: Any) -> list[Any]:
    """Values of a form: every name of an enum, every unit of a measure, the ends of a number."""
    form = _unwrapped(form)
    match form:
        case Enum():
            return [str(name) for name in form.encmapping]
        case Measure():
            return [{name: 1.5} for name in form.units] + [{form.unit: value} for value in (0.0, -40.5, 1e6)]
        case Struct():
            items = {item.name: _samples(item) for item in form.subcons}
            first = {name: values[0] for name, values in items.items()}
            more = [{**first, name: value} for name, values in items.items() for value in _some(values)]
            return [first, *more]
        case FormatField():
            return _numbers(form)
        case Text():
            return ["", "A", "Grüße"]
        case Bytes():
            return [bytes(form.sizeof())]
        case Array():
            return [[_samples(form.subcon)[0]]]
    return [b"", b"\x01\x02"]


def _unwrapped(form: Any) -> Any:
    while not isinstance(form, Text | Enum | Measure | Struct) and (inner := getattr(form, "subcon", None)) is not None:
        form = inner
    return form


def _some(values: list[Any]) -> list[Any]:
    return values[1:] if all(isinstance(value, str) for value in values) else values[1 : 1 + VARIED]


def _numbers(form: Any) -> list[Any]:
    letter = form.fmtstr[-1]
    if letter in "fd":
        return [0.0, 0.5, 1.0]
    bits, signed = 8 * form.sizeof(), letter.islower()
    return [-(1 << bits - 1), 0, (1 << bits - 1) - 1] if signed else [0, 1, (1 << bits) - 1]


def _message(capability: int, *properties: Mapping[str, Any]) -> bytes:
    universal = [property_bytes(0xA2, write(UNIVERSAL[0xA2], AT)), property_bytes(0xA3, write(UNIVERSAL[0xA3], VIN))]
    return set_message(capability, [*properties, *universal])


def _alone(capability: Any, identifier: int, known: Property, value: Any) -> Good | None:
    try:
        data = _message(capability.id, property_bytes(identifier, write(known, value)))
        frame = PROTOCOL.decode(data)
    except ProtocolError:
        return None
    said = frame.facts["properties"][0].get("value")
    assert said == value or isinstance(value, float) or isinstance(said, Mapping | list | str | bytes | int), (
        capability.name,
        known.name,
    )
    facts = {
        "capability": capability.name,
        "capability_id": capability.id,
        "property": known.name,
        "property_id": identifier,
        "value": said,
    }
    shown = value if len(str(value)) < 60 else "..."
    return Good(f"{capability.name}.{known.name} = {shown}", data, expected(frame, facts))


def _good() -> Iterator[Good]:
    for capability in CAPABILITIES.values():
        yield _set(f"{capability.name}: no property", _message(capability.id))
        for identifier, known in capability.properties.items():
            values = [STATE_OF_DOORS] if known.form is STATE else _samples(known.form)
            found = [each for value in values if (each := _alone(capability, identifier, known, value)) is not None]
            assert found, f"{capability.name}.{known.name} has no sample that can be said"
            yield from found
    for kind in (0, 2):
        for ids in (b"", b"\x01", bytes(range(1, 8))):
            data = bytes([0x0D, 0x00, 0x20, kind]) + ids
            frame = PROTOCOL.decode(data)
            yield Good(
                f"{'get' if not kind else 'get availability'} of {len(ids)} properties",
                data,
                expected(frame, {"property_ids": ids}),
            )
    moment = property_bytes(0x06, b"\x01", AT)
    yield _set("a property with a timestamp", _message(0x0020, moment))
    for reason in range(8):
        failure = bytes([reason]) + struct.pack(">H", 9) + b"try later"
        yield _set(f"a failure, reason {reason}", _message(0x0033, {"id": 0x04, "components": [{"id": 3, "data": failure}]}))
    nested = [property_bytes(0x99, STATE_OF_DOORS), property_bytes(0x99, bytes.fromhex("0d003501060004010001" + "04"))]
    yield _set("a vehicle status of two messages", _message(VEHICLE_STATUS.id, *nested))
    yield _set("an unknown capability", _message(0x7E7E, property_bytes(0x01, b"\xca\xfe")))
    yield _set("an unknown property", _message(0x0020, property_bytes(0x7E, b"\x01")))
    for name, native in NATIVE_COMMANDS.items():
        sealed = envelope.close(Envelope(Type.REQUEST, 1, AT, AT // 1000 + 30, NATIVE_COMMAND, native), VIN, bytes(32))
        yield Good(f"{name}, in an envelope", sealed, {"kind": "command", "facts": {"native": native, "command_key": bytes(32)}})


def _set(name: str, data: bytes) -> Good:
    frame = PROTOCOL.decode(data)
    return Good(name, data, expected(frame, {"capability_id": frame.facts["capability_id"]}))


def _bad() -> Iterator[Bad]:
    good = _message(0x0020, property_bytes(0x06, b"\x01"))
    yield Bad("nothing", b"", "truncated")
    for size in (1, 3, 5, 6, 8, len(good) - 1):
        yield Bad(f"cut off after {size} bytes", good[:size], "truncated")
    yield Bad("level 12", b"\x0c" + good[1:], "unsupported")
    yield Bad("a version that is none", b"\x7b" + good[1:], "bad_sync")
    yield Bad("type 3", good[:3] + b"\x03" + good[4:], "malformed")
    yield Bad("a property of no size", bytes.fromhex("0d00200106 0000".replace(" ", "")), "bad_length")
    yield Bad("a component longer than its property", bytes.fromhex("0d002001 06 0004 01 0005 01".replace(" ", "")), "bad_length")
    yield Bad(
        "a component shorter than its property", bytes.fromhex("0d002001 06 0005 01 0001 01 07".replace(" ", "")), "bad_length"
    )
    yield Bad("an enum of two bytes", bytes.fromhex("0d002001 06 0005 01 0002 0101".replace(" ", "")), "bad_length")
    yield Bad(
        "a speed measured as a length",
        bytes.fromhex("0d003301 03 000d 01 000a 1200 3ff0000000000000".replace(" ", "")),
        "malformed",
    )
    yield Bad("text that is no UTF-8", bytes.fromhex("0d000301 02 0005 01 0002 fffe".replace(" ", "")), "malformed")
    yield Bad(
        "a timestamp of four bytes", bytes.fromhex("0d002001 06 000b 01 0001 01 02 0004 00000000".replace(" ", "")), "bad_length"
    )
    yield Bad(
        "another vehicle's message",
        set_message(0x0020, [property_bytes(0xA3, b"W1K2060461F123457")]),
        "identity_mismatch",
        peer=True,
    )
    sealed = envelope.close(Envelope(Type.REQUEST, 1, AT, AT // 1000 + 30, 0x0101), VIN, bytes(32))
    yield Bad("an envelope that is cut off", sealed[:-1], "truncated")
    yield Bad("an envelope with a byte too many", sealed + b"\0", "bad_length")
    yield Bad("an envelope of type 3", sealed[:3] + b"\x03" + sealed[4:], "malformed")


def vectors() -> Set:
    """All of them."""
    return Set("autoapi", {"vin": VIN}, tuple(_good()), tuple(_bad()), PEER)
