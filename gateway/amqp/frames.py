"""A published message as the bytes on the wire: method, header and body frames (AMQP 0-9-1, sections 4.2.3 and 4.2.6)."""

import struct
from collections.abc import Mapping, Sequence
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
_size = struct.Struct("!I")
_content = struct.Struct(f"!{len(BASIC_CONTENT)}sQ2s{len(JSON)}sI")
"""What stands before the headers: class, weight, size of the body, flags, content type, size of the table."""


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
        parts += (_name(name), _size.pack(len(encoded)), encoded)
    return b"".join(parts)


class Publishing:
    """Basic.Publish of persistent, mandatory JSON messages that have all but their body, id and one of their headers in common.

    `varying` is that header's name; it stands first. `frame_limit_bytes` is the connection's negotiated frame size, 0 for none.
    Raises ValueError for a name over 255 bytes.
    """

    def __init__(
        self, channel: int, frame_limit_bytes: int, exchange: str, routing_key: str, varying: str, headers: Mapping[str, str]
    ) -> None:
        method = b"".join((BASIC_PUBLISH, short_string(exchange), short_string(routing_key), MANDATORY))
        self._method = _frame_start(METHOD, channel, len(method)) + method + FRAME_END
        self._channel, self._step = channel, frame_limit_bytes - FRAME_OVERHEAD_BYTES if frame_limit_bytes else None
        self._varying, self._headers = _name(varying), table(headers) + PERSISTENT
        self._table_size = len(self._varying) + _size.size + len(self._headers) - len(PERSISTENT)
        self._header_size = _content.size + self._table_size + len(PERSISTENT)

    def frames(self, message_id: str, varying: str, body: Sequence[bytes]) -> list[bytes]:
        """One message, whose `body` is in pieces, in pieces. `message_id` and `varying` are text; ValueError as above."""
        key, said, size, channel = short_string(message_id), varying.encode(), sum(map(len, body)), self._channel
        value_size = len(said)
        found = [
            self._method,
            _frame_start(HEADER, channel, self._header_size + value_size + len(key)),
            _content.pack(BASIC_CONTENT, size, FLAGS, JSON, self._table_size + value_size),
            self._varying,
            _size.pack(value_size),
            said,
            self._headers,
            key,
            FRAME_END,
        ]
        if self._step is None or size <= self._step:
            if size:
                found += (_frame_start(BODY, channel, size), *body, FRAME_END)
            return found
        whole = b"".join(body)
        for start in range(0, size, self._step):
            piece = whole[start : start + self._step]
            found += (_frame_start(BODY, channel, len(piece)), piece, FRAME_END)
        return found
