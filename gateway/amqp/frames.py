"""A published message as the bytes on the wire: method, header and body frames (AMQP 0-9-1, sections 4.2.3 and 4.2.6)."""

import struct
from collections.abc import Mapping
from functools import lru_cache

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = b"\xce"
FRAME_OVERHEAD_BYTES = 8

BASIC_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
"""Class 60, method 40, and the reserved short."""
MANDATORY = b"\x01"
BASIC_CONTENT = b"\x00\x3c\x00\x00"
"""Class 60 and the weight, which is always zero."""

# Section 4.2.6.1: one flag for each property that follows, in the order of the class.
CONTENT_TYPE, HEADERS, DELIVERY_MODE, MESSAGE_ID = 0x8000, 0x2000, 0x1000, 0x0080
FLAGS = struct.pack("!H", CONTENT_TYPE | HEADERS | DELIVERY_MODE | MESSAGE_ID)
JSON = b"\x10application/json"
PERSISTENT = b"\x02"
LONG_STRING = b"S"

SHORT_STRING_LIMIT_BYTES = 255

_frame_start = struct.Struct("!BHI").pack
_size = struct.Struct("!I").pack
_content = struct.Struct(f"!{len(BASIC_CONTENT)}sQ2s{len(JSON)}sI").pack
"""What stands before the headers: class, weight, size of the body, flags, content type, size of the table."""
_CONTENT_SIZE = struct.calcsize(f"!{len(BASIC_CONTENT)}sQ2s{len(JSON)}sI")


def short_string(text: str) -> bytes:
    """A length octet and UTF-8. Raises ValueError where that does not hold the text."""
    encoded = text.encode()
    if len(encoded) > SHORT_STRING_LIMIT_BYTES:
        raise ValueError(f"{text[:40]!r}... is longer than the {SHORT_STRING_LIMIT_BYTES} bytes of an AMQP short string")
    return bytes((len(encoded),)) + encoded


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    return short_string(name) + LONG_STRING


def table(fields: Mapping[str, str]) -> bytes:
    """A field table of long strings (section 4.2.5.5), without its size."""
    parts: list[bytes] = []
    for name, value in fields.items():
        encoded = value.encode()
        parts += (_name(name), _size(len(encoded)), encoded)
    return b"".join(parts)


@lru_cache(maxsize=65536)
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """The method frame, which is the same for all events of a type and vehicle."""
    method = b"".join((BASIC_PUBLISH, short_string(exchange), short_string(routing_key), MANDATORY))
    return _frame_start(METHOD, channel, len(method)) + method + FRAME_END


def publishing(
    channel: int,
    frame_limit_bytes: int,
    exchange: str,
    routing_key: str,
    message_id: str,
    headers: Mapping[str, str],
    body: bytes,
) -> bytes:
    """Basic.Publish of one persistent, mandatory JSON message.

    `frame_limit_bytes` is the connection's negotiated frame size, 0 for none. Raises ValueError for a name over 255 bytes.
    """
    said, key, size = table(headers), short_string(message_id), len(body)
    header_size = _CONTENT_SIZE + len(said) + len(PERSISTENT) + len(key)
    parts = [
        _publish(channel, exchange, routing_key),
        _frame_start(HEADER, channel, header_size),
        _content(BASIC_CONTENT, size, FLAGS, JSON, len(said)),
        said,
        PERSISTENT,
        key,
        FRAME_END,
    ]
    step = frame_limit_bytes - FRAME_OVERHEAD_BYTES if frame_limit_bytes else max(size, 1)
    for start in range(0, size, step):
        piece = body[start : start + step] if size > step else body
        parts += (_frame_start(BODY, channel, len(piece)), piece, FRAME_END)
    return b"".join(parts)
