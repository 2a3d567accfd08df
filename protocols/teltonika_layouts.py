"""How Teltonika packets are laid out, to be read beside the vendor's page "Teltonika Data Sending Protocols". Big-endian."""

from typing import Any

from construct import (
    Array,
    Bytes,
    Const,
    Int8ub,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Int64ub,
    PrefixedArray,
    Rebuild,
    Struct,
    Tell,
    Terminated,
    len_,
    this,
)

from protocols.teltonika_framing import CHANNEL, IMEI_DIGITS, PREAMBLE

CODEC_7, CODEC_8, CODEC_8E, CODEC_16 = 0x07, 0x08, 0x8E, 0x10
CODEC_12, CODEC_13, CODEC_14, CODEC_15 = 0x0C, 0x0D, 0x0E, 0x0F

COMMAND, RESPONSE, FORWARDED, CAMERA, REFUSED = 0x05, 0x06, 0x0B, 0x0D, 0x11
"""Types of a GPRS message."""

# AVL data: GNSS element (15 bytes) and IO element ---------------------------------------------------------------------

GROUPS = {"bytes_1": Int8ub, "bytes_2": Int16ub, "bytes_4": Int32ub, "bytes_8": Int64ub}
"""The groups of IO elements, by the bytes of their values."""

VARIABLE = Struct("id" / Int16ub, "size" / Rebuild(Int16ub, len_(this.value)), "value" / Bytes(this.size))
"""Codec 8 Extended, group NX."""


def total(context: Any) -> int:
    """How many IO elements a record has."""
    return sum(len(context[group]) for group in (*GROUPS, "bytes_x") if context.get(group))


def _record(identifier: Any, count: Any, *, generation: bool = False, variable: bool = False) -> Any:
    """One AVL record: event id and IO ids as `identifier`, counts as `count`."""
    return Struct(
        "begin" / Tell,
        "timestamp" / Int64ub,  # ms since 1970-01-01 UTC
        "priority" / Int8ub,  # 0 low, 1 high, 2 panic
        "longitude" / Int32sb,  # 1e-7 degree, east positive
        "latitude" / Int32sb,  # 1e-7 degree, north positive
        "altitude" / Int16sb,  # m above sea level
        "angle" / Int16ub,  # degree, clockwise from north
        "satellites" / Int8ub,  # in use; without a fix angle, satellites and speed are 0, the rest is the last fix
        "speed" / Int16ub,  # km/h
        "event_id" / identifier,  # the IO whose change made the record, 0: none
        *(("generation_type" / Int8ub,) if generation else ()),
        "total" / Rebuild(count, total),
        *(name / PrefixedArray(count, Struct("id" / identifier, "value" / form)) for name, form in GROUPS.items()),
        *(("bytes_x" / PrefixedArray(count, VARIABLE),) if variable else ()),
        "end" / Tell,
    )


RECORDS = {
    CODEC_8: _record(Int8ub, Int8ub),
    CODEC_8E: _record(Int16ub, Int16ub, variable=True),
    CODEC_16: _record(Int16ub, Int8ub, generation=True),
}

# GPRS messages: a type, a size, and text or raw bytes ------------------------------------------------------------------

IMEI = "imei" / Bytes(8)  # 16 BCD digits, the first 0

MESSAGES = {
    CODEC_12: Struct("type" / Int8ub, "size" / Rebuild(Int32ub, len_(this.payload)), "payload" / Bytes(this.size)),
    CODEC_14: Struct(
        "type" / Int8ub,
        "size" / Rebuild(Int32ub, len_(this.payload) + 8),
        IMEI,
        "payload" / Bytes(this.size - 8),
    ),
    CODEC_15: Struct(
        "type" / Int8ub,
        "size" / Rebuild(Int32ub, len_(this.payload) + 12),
        "timestamp" / Int32ub,  # s since 1970-01-01 UTC
        IMEI,
        "payload" / Bytes(this.size - 12),
    ),
}


def _timed(time: Any, counted_bytes: int) -> Any:
    """Codec 13: `time` before the text, `counted_bytes` of it in the size field."""
    return Struct(
        "type" / Int8ub,
        "size" / Rebuild(Int32ub, len_(this.payload) + counted_bytes),
        "timestamp" / time,
        "payload" / Bytes(this.size - counted_bytes),
    )


CODEC_13_LAYOUTS = {
    "seconds": _timed(Int32ub, 4),
    "seconds_uncounted": _timed(Int32ub, 0),
    "milliseconds": _timed(Int64ub, 8),
    "milliseconds_uncounted": _timed(Int64ub, 0),
}
"""Codec 13 as units send it: the vendor's page counts a time in seconds; other firmware leaves it out, or says milliseconds."""


def codec_13_layout(data: bytes) -> str:
    """Which layout a Codec 13 data field of one message has, told from what its size field counts.

    Milliseconds are told from seconds by their upper half: 0100 to 03ff from 2004 to 2109, where seconds say minutes after 1970.
    """
    if len(data) < 12 or data[1] != 1:
        return "seconds"
    room = len(data) - 8
    size, upper = int.from_bytes(data[3:7], "big"), int.from_bytes(data[7:11], "big")
    milliseconds = 0x100 <= upper < 0x400
    if size == room:
        return "milliseconds" if milliseconds and room >= 8 else "seconds"
    if size + 8 == room and milliseconds:
        return "milliseconds_uncounted"
    return "seconds_uncounted" if size + 4 == room else "seconds"


# Packets ---------------------------------------------------------------------------------------------------------------


def _data(codec: int, entries: str, entry: Any) -> Any:
    return Struct(
        "codec" / Const(codec, Int8ub),
        "count" / Rebuild(Int8ub, len_(this[entries])),
        entries / Array(this.count, entry),
        "count_2" / Rebuild(Int8ub, len_(this[entries])),
    )


DATA = {(codec, ""): _data(codec, "records", record) for codec, record in RECORDS.items()}
DATA |= {(codec, ""): _data(codec, "messages", message) for codec, message in MESSAGES.items()}
DATA |= {(CODEC_13, layout): _data(CODEC_13, "messages", message) for layout, message in CODEC_13_LAYOUTS.items()}

LOGIN = Struct("length" / Const(IMEI_DIGITS, Int16ub), "imei" / Bytes(IMEI_DIGITS), Terminated)

TCP = {
    key: Struct("preamble" / Const(PREAMBLE), "length" / Int32ub, "data" / data, "crc" / Int32ub, Terminated)
    for key, data in DATA.items()
}
UDP = {
    key: Struct(
        "length" / Int16ub,  # of what follows
        "packet_id" / Int16ub,
        "channel" / Const(CHANNEL, Int8ub),
        "avl_packet_id" / Int8ub,
        "imei_length" / Const(IMEI_DIGITS, Int16ub),
        "imei" / Bytes(IMEI_DIGITS),
        "data" / data,
        Terminated,
    )
    for key, data in DATA.items()
}
UDP_ANSWER = Struct(
    "length" / Const(5, Int16ub),
    "packet_id" / Int16ub,
    "channel" / Const(CHANNEL, Int8ub),
    "avl_packet_id" / Int8ub,
    "accepted" / Int8ub,
    Terminated,
)
