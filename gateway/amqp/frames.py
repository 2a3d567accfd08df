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
_LONG_LONG = 8
"""Octets of the body's size in a header."""


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
        self._varying, self._headers = _name(varying), table(headers)
        self._body = FRAME_END + _frame_start(BODY, channel, 0)[: -_size.size]
        self._forms: dict[tuple[int, int], tuple[bytes, bytes, bytes]] = {}

    def _form(self, key_size: int, said_size: int) -> tuple[bytes, bytes, bytes]:
        """What stands before the size of a body, behind it, and between the varying header's value and the id, for ids and values
        of these sizes."""
        if key_size > SHORT_STRING_LIMIT_BYTES:
            raise ValueError(f"a message id of {key_size} bytes is longer than an AMQP short string, {SHORT_STRING_LIMIT_BYTES}")
        fields = self._varying + _size.pack(said_size)
        properties = FLAGS + JSON + _size.pack(len(fields) + said_size + len(self._headers)) + fields
        between = self._headers + PERSISTENT + bytes((key_size,))
        header_size = len(BASIC_CONTENT) + _LONG_LONG + len(properties) + said_size + len(between) + key_size
        start = self._method + _frame_start(HEADER, self._channel, header_size) + BASIC_CONTENT
        form = self._forms[key_size, said_size] = (start, properties, between)
        return form

    def frames(self, message_id: str, varying: str, body: Sequence[bytes]) -> list[bytes]:
        """One message, whose `body` is in pieces, in pieces. `message_id` and `varying` are text; ValueError as above."""
        key, size = message_id.encode(), sum(map(len, body))
        said = key if varying is message_id else varying.encode()
        form = self._forms.get((len(key), len(said))) or self._form(len(key), len(said))
        found = [form[0], size.to_bytes(_LONG_LONG), form[1], said, form[2], key]
        if not size:
            found.append(FRAME_END)
            return found
        if self._step is None or size <= self._step:
            found += (self._body, size.to_bytes(_size.size), *body, FRAME_END)
            return found
        whole = b"".join(body)
        found.append(FRAME_END)
        for start in range(0, size, self._step):
            piece = whole[start : start + self._step]
            found += (_frame_start(BODY, self._channel, len(piece)), piece, FRAME_END)
        return found
