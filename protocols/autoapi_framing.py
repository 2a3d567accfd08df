"""AutoAPI messages as bytes: where they begin and end, their properties and components, before anything is understood.

No message says how long it is: its properties' sizes do, and each property must be filled by its components exactly.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from construct import Array, Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, Terminated

from protocols import envelope
from protocols.autoapi_capabilities import CAPABILITIES
from protocols.codec import ProtocolError, build

VERSION = 0x0D
OTHER_VERSIONS = b"\x0a\x0b\x0c\x0e\x0f"
"""Levels 10 to 12, and such as may come: other units and types under the same ids."""
GET, SET, GET_AVAILABILITY = 0x00, 0x01, 0x02
TYPES = {GET: "get", SET: "set", GET_AVAILABILITY: "availability"}
DATA, TIME, FAILED, AVAILABLE = 0x01, 0x02, 0x03, 0x05
"""Component ids."""

COMPONENT = Struct("id" / Int8ub, "data" / Prefixed(Int16ub, GreedyBytes))
PROPERTY = Struct("id" / Int8ub, "components" / Prefixed(Int16ub, GreedyBytes))
REQUEST = Struct(
    "version" / Const(VERSION, Int8ub), "capability" / Int16ub, "type" / Int8ub, "property_ids" / GreedyBytes, Terminated
)
"""get and get-availability; no property ids: all."""
HEADER_BYTES = 4
ENVELOPE_BYTES = 36
"""A VTC1 envelope without parameters."""
NESTING_LIMIT = 4
"""How deep messages may stand in messages: one level is the standard's own use."""
SEARCH_LIMIT = 32
"""Places looked at for a message behind garbage."""


@lru_cache(maxsize=512)
def message(count: int) -> Any:
    """The declaration of a set message with `count` properties."""
    return Struct(
        "version" / Const(VERSION, Int8ub),
        "capability" / Int16ub,
        "type" / Const(SET, Int8ub),
        "properties" / Array(count, PROPERTY),
        Terminated,
    )


@lru_cache(maxsize=16)
def components(count: int) -> Any:
    """The declaration of what is in a property with `count` components."""
    return Struct("components" / Array(count, COMPONENT), Terminated)


def frame_end(data: bytes, at: int) -> int:
    """Where the message or envelope that begins at `at` ends."""
    if data[at : at + 1] == b"\x01":
        return envelope_end(data, at)
    kind = header(data, at)
    if kind != SET:
        return len(data)
    end, _, error = walk(data, at + HEADER_BYTES)
    if error is not None and not _begins(data, end):
        if end > at + HEADER_BYTES and error.reason == "truncated":
            error.guess = f"the end was cut off, or what stands behind the message from byte {end} on does not belong to it"
        raise error
    return end


def _begins(data: bytes, at: int) -> bool:
    """Whether a frame may begin here: a message header, or a whole envelope."""
    if data[at] == VERSION:
        return len(data) >= at + HEADER_BYTES and data[at + 3] in TYPES
    if data[at] != 1:
        return False
    try:
        return envelope_end(data, at) <= len(data) and data[at + 1] in (1, 2) and data[at + 3] in (1, 2)
    except ProtocolError:
        return False


def next_frame(data: bytes, at: int) -> int:
    """Behind bytes that are no frame: where a message begins whose first property holds, or the end."""
    for _ in range(SEARCH_LIMIT):
        at = data.find(VERSION, at + 1)
        if at < 0:
            break
        known = int.from_bytes(data[at + 1 : at + 3], "big") in CAPABILITIES
        if known and _begins(data, at) and data[at + 3] == SET and _holds(data, at + HEADER_BYTES):
            return at
    return len(data)


def _holds(data: bytes, at: int) -> bool:
    try:
        _property(data, at)
    except ProtocolError:
        return False
    return True


def header(data: bytes, at: int) -> int:
    """The type of the message at `at`."""
    if at >= len(data):
        raise ProtocolError("truncated", at, "version", expected=f"at least {HEADER_BYTES} bytes", found="0 bytes")
    if data[at] in OTHER_VERSIONS:
        raise ProtocolError("unsupported", at, "version", expected="level 13", found=f"level {data[at]}")
    if data[at] != VERSION:
        raise ProtocolError("bad_sync", at, "version", expected="0d", found=f"{data[at]:02x}")
    if len(data) < at + HEADER_BYTES:
        raise ProtocolError(
            "truncated", len(data), "type", expected=f"at least {HEADER_BYTES} bytes", found=f"{len(data) - at} bytes"
        )
    kind = data[at + 3]
    if kind not in TYPES:
        raise ProtocolError("malformed", at + 3, "type", expected="00, 01 or 02", found=f"{kind:02x}")
    return kind


def walk(data: bytes, at: int) -> tuple[int, list[int], ProtocolError | None]:
    """Over the properties from `at`: where they end, how many components each has, and why the next one is none."""
    counts: list[int] = []
    while at < len(data):
        try:
            end, count = _property(data, at)
        except ProtocolError as error:
            return at, counts, error
        counts.append(count)
        at = end
    return at, counts, None


def _property(data: bytes, at: int) -> tuple[int, int]:
    """Where the property at `at` ends, and how many components it has: they must fill its size exactly."""
    if len(data) < at + 3:
        raise ProtocolError("truncated", len(data), "property.size", expected="3 bytes", found=f"{len(data) - at} bytes")
    size = int.from_bytes(data[at + 1 : at + 3], "big")
    at, end = at + 3, at + 3 + size
    if end > len(data):
        raise ProtocolError("truncated", at - 2, "property.size", expected=f"{size} bytes", found=f"{len(data) - at} bytes")
    if not size:
        raise ProtocolError("bad_length", at - 2, "property.size", expected="a component", found="0 bytes")
    count = 0
    while at < end:
        left = end - at - 3
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        if left < 0 or length > left:
            raise ProtocolError("bad_length", at, "component.size", expected=f"at most {max(left, 0)}", found=str(length))
        at += 3 + length
        count += 1
    return end, count


def envelope_end(data: bytes, at: int) -> int:
    """Where the VTC1 envelope at `at` ends."""
    if len(data) < at + 20:
        raise ProtocolError("truncated", len(data), "envelope", expected=f"at least {ENVELOPE_BYTES} bytes")
    size = int.from_bytes(data[at + 18 : at + 20], "big")
    if size > envelope.PARAMETERS_LIMIT_BYTES:
        raise ProtocolError(
            "oversized", at + 18, "parameters", expected=f"at most {envelope.PARAMETERS_LIMIT_BYTES} bytes", found=f"{size} bytes"
        )
    end = at + ENVELOPE_BYTES + size
    if end > len(data):
        raise ProtocolError("truncated", len(data), "envelope", expected=f"{end - at} bytes", found=f"{len(data) - at} bytes")
    return end


def built(facts: Mapping[str, Any]) -> bytes:
    kinds = {name: number for number, name in TYPES.items()}
    try:
        head = {"capability": facts["capability_id"], "type": kinds[facts["type"]]}
        if facts["type"] != "set":
            return build(REQUEST, head | {"property_ids": facts["property_ids"]})
        properties = [
            {"id": said["id"], "components": build(components(len(said["components"])), {"components": said["components"]})}
            for said in facts["properties"]
        ]
    except KeyError as error:
        raise ProtocolError("malformed", 0, str(error)) from error
    return build(message(len(properties)), head | {"properties": properties})
