"""GB/T 32960.3 as declarations: the frame and its data units. Big-endian.

2016: clauses 6 and 7, annexes A and B. 2025: frames that begin with `$$`, as far as open implementations agree on them.
The information types that reports are made of are in gbt32960_items.
"""

from collections.abc import Callable, Mapping
from typing import Any

from construct import (
    Array,
    Bytes,
    Computed,
    Const,
    Construct,
    GreedyBytes,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    ListContainer,
    Rebuild,
    RepeatUntil,
    Struct,
    Switch,
    Terminated,
    this,
)

from protocols.codec import ProtocolError
from protocols.gbt32960_items import ITEMS

VIN_SIZE_BYTES = 17
ITEMS_LIMIT = 1024
"""Information items in one report: the 127 custom types and all standard ones, several times over."""

HEADER = Struct(
    "start" / Bytes(2),  # "##" 2016, "$$" 2025
    "command" / Int8ub,
    "flag" / Int8ub,  # FE a command; else the answer to one
    "vin" / Bytes(VIN_SIZE_BYTES),  # ASCII, or another unique id, padded with 00
    "encryption" / Int8ub,  # of the data unit: 01 none
    "length" / Int16ub,  # of the data unit, 0 to 65531
)
HEADER_SIZE_BYTES: int = HEADER.sizeof()

TIME = Struct(  # plain binary, Beijing time (UTC+8)
    "year" / Int8ub,  # since 2000
    "month" / Int8ub,
    "day" / Int8ub,
    "hour" / Int8ub,
    "minute" / Int8ub,
    "second" / Int8ub,
)

# Reports: items without a length of their own, one after another -------------------------------------------------------

SIGNATURE_MARK = b"\xff"


def _next_byte(context: Any) -> bytes:
    byte: bytes = context._io.read(1)
    if byte:
        context._io.seek(-1, 1)
    return byte


def _more(end: bytes) -> Callable[[Any], bool]:
    """Whether an item follows: not at the end of the data unit, nor at the byte `end`."""

    def follows(context: Any) -> bool:
        return bool(context["items"]) if context._building else _next_byte(context) not in (b"", end)

    return follows


def _last(end: bytes) -> Callable[[Any, Any, Any], bool]:
    more = _more(end)

    def last(item: Any, items: Any, context: Any) -> bool:
        if context._building:
            return len(items) == len(context["items"])
        if len(items) > ITEMS_LIMIT:
            found = f"more than {ITEMS_LIMIT}"
            raise ProtocolError("oversized", context._io.tell(), "items", expected=f"at most {ITEMS_LIMIT} items", found=found)
        return not more(context)

    return last


def _refuse(context: Any, field: str, *, expected: str, found: str, guess: str = "") -> None:
    """The byte just read says something that is not known here; when building, such a thing cannot be said."""
    if context._building:
        raise ProtocolError("malformed", 0, field, expected=expected, found=found)
    raise ProtocolError("unsupported", context._io.tell() - 1, field, expected=expected, found=found, guess=guess)


def _refused(context: Any) -> None:
    found = f"{context.type:02x}"
    guess = "the end of this item cannot be told, so nothing after it can be read; or an item before it is longer than it says"
    field = f"items.{context.get('_index') or 0}.type"
    _refuse(context, field, expected="an information type that is known", found=found, guess=guess)


def _items(kinds: Mapping[int, Any], end: bytes = b"") -> Any:
    item = Struct("type" / Int8ub, "body" / Switch(this.type, kinds, default=Computed(_refused)))
    return IfThenElse(_more(end), RepeatUntil(_last(end), item), Array(0, item))


def _signed(context: Any) -> bool:
    return context.get("signature") is not None if context._building else bool(_next_byte(context))


SIGNATURE = Struct(
    "mark" / Const(SIGNATURE_MARK),
    "algorithm" / Int8ub,  # 1 SM2, 2 RSA, 3 ECC; over the time and all items
    "r_length" / Rebuild(Int16ub, lambda context: len(context.r)),
    "r" / Bytes(this.r_length),
    "s_length" / Rebuild(Int16ub, lambda context: len(context.s)),
    "s" / Bytes(this.s_length),
)
REPORT_2016 = Struct("time" / TIME, "items" / _items(ITEMS[2016]), Terminated)
REPORT_2025 = Struct(
    "time" / TIME, "items" / _items(ITEMS[2025], SIGNATURE_MARK), "signature" / If(_signed, SIGNATURE), Terminated
)
UNTIMED_2016 = Struct("items" / _items(ITEMS[2016]), Terminated)

# Sessions: clauses 7.1, 7.3 to 7.5 ------------------------------------------------------------------------------------


def _code_length(context: Any) -> int:
    return len(context.codes[0]) if context.codes else int(context.get("code_length") or 0)


LOGIN_2016 = Struct(
    "time" / TIME,
    "sequence" / Int16ub,  # of logins, 1 to 65531, from 1 again every day
    "iccid" / Bytes(20),  # ASCII
    "code_count" / Rebuild(Int8ub, lambda context: len(context.codes)),
    "code_length" / Rebuild(Int8ub, _code_length),
    "codes" / Array(this.code_count, Bytes(this.code_length)),  # of the batteries
    Terminated,
)
LOGIN_2025 = Struct(
    "time" / TIME,
    "sequence" / Int16ub,
    "iccid" / Bytes(20),
    "pack_counts_count" / Rebuild(Int8ub, lambda context: len(context.pack_counts)),
    "pack_counts" / Array(this.pack_counts_count, Int8ub),  # of each battery management system
    "codes" / Array(lambda context: sum(context.pack_counts), Bytes(24)),
    Terminated,
)
LOGOUT = Struct("time" / TIME, "sequence" / Int16ub, Terminated)  # sequence: of the login
PLATFORM_LOGIN = Struct(
    "time" / TIME,
    "sequence" / Int16ub,
    "user" / Bytes(12),
    "password" / Bytes(20),
    "encryption" / Int8ub,
    Terminated,
)
EMPTY = Struct(Terminated)
TIMED = Struct("time" / TIME, Terminated)

# Downlink: annex B.3.6 to B.3.8 ---------------------------------------------------------------------------------------

DOMAIN_LENGTHS = {0x05: 0x04, 0x0E: 0x0D}
"""Parameters of variable size, and the parameter before them that says their size in bytes."""


def _domain_length(context: Any) -> int:
    if context._building:
        return len(context.value)
    length = context._.lengths.get(DOMAIN_LENGTHS[context.id])
    if length is None:
        expected = f"parameter {DOMAIN_LENGTHS[context.id]:02x} before it, which says its length"
        raise ProtocolError("malformed", context._io.tell() - 1, "parameters.id", expected=expected, found=f"{context.id:02x}")
    return int(length)


def _unsized(context: Any) -> None:
    _refuse(context, "parameters.id", expected="a parameter of known size", found=f"{context.id:02x}")


PARAMETER = Struct(
    "id" / Int8ub,
    "value"
    / Switch(
        this.id,
        {
            0x01: Int16ub,  # ms, how often to store
            0x02: Int16ub,  # s, how often to report
            0x03: Int16ub,  # ms, how often to report while there is an alarm
            0x04: Int8ub,  # bytes of 05
            0x05: Bytes(_domain_length),  # the service platform
            0x06: Int16ub,  # its port
            0x07: Bytes(5),  # hardware version
            0x08: Bytes(5),  # firmware version
            0x09: Int8ub,  # s, how often to send a heartbeat
            0x0A: Int16ub,  # s, how long the unit waits for an answer
            0x0B: Int16ub,  # s, how long the platform waits for one
            0x0C: Int8ub,  # min, from three logins in vain to the next
            0x0D: Int8ub,  # bytes of 0E
            0x0E: Bytes(_domain_length),  # the public platform
            0x0F: Int16ub,  # its port
            0x10: Int8ub,  # 1 is being sampled, 2 is not
        },
        default=Computed(_unsized),
    ),
)


class Parameters(Construct):  # type: ignore[misc]
    """`count` parameters, of which some say the size of others; construct's Array shows an element nothing before it."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        context.lengths = {}
        said = ListContainer()
        for _ in range(context.count):
            said.append(parameter := PARAMETER._parsereport(stream, context, path))
            context.lengths[parameter.id] = parameter.value
        return said

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        for parameter in obj:
            PARAMETER._build(parameter, stream, context, path)
        return obj


QUERY = Struct(
    "time" / TIME,
    "count" / Rebuild(Int8ub, lambda context: len(context.ids)),
    "ids" / Array(this.count, Int8ub),
    Terminated,
)
PARAMETERS = Struct(
    "time" / TIME,
    "count" / Rebuild(Int8ub, lambda context: len(context.parameters)),
    "parameters" / Parameters(),
    Terminated,
)
CONTROL = Struct(
    "time" / TIME,
    "control" / Int8ub,  # 1 update, 2 power off, 3 reset, 4 factory settings, 5 disconnect, 6 alarm, 7 sample; 80 to FE own
    "parameters" / GreedyBytes,
    Terminated,
)

# 2025 only ------------------------------------------------------------------------------------------------------------

ACTIVATION = Struct(
    "time" / TIME,
    "chip" / Bytes(16),
    "key_length" / Rebuild(Int16ub, lambda context: len(context.key)),
    "key" / Bytes(this.key_length),
    "vin" / Bytes(VIN_SIZE_BYTES),
    "algorithm" / Int8ub,
    "r_length" / Rebuild(Int16ub, lambda context: len(context.r)),
    "r" / Bytes(this.r_length),
    "s_length" / Rebuild(Int16ub, lambda context: len(context.s)),
    "s" / Bytes(this.s_length),
    Terminated,
)
ACTIVATION_RESULT = Struct("result" / Int8ub, "reason" / Int8ub, Terminated)
KEY_EXCHANGE = Struct(
    "encryption" / Int8ub,
    "key_length" / Rebuild(Int16ub, lambda context: len(context.key)),
    "key" / Bytes(this.key_length),
    "valid_from" / TIME,
    "valid_until" / TIME,
    Terminated,
)
PARAMETERS_2025 = Struct("time" / TIME, "data" / GreedyBytes, Terminated)  # of other sizes than in 2016: kept raw
RAW = Struct("data" / GreedyBytes, Terminated)
ENCRYPTED = Struct("encrypted" / GreedyBytes, Terminated)

_SESSIONS = {
    0x04: LOGOUT,
    0x05: PLATFORM_LOGIN,
    0x06: LOGOUT,
    0x07: EMPTY,
    0x08: EMPTY,
    0x80: QUERY,
    0x82: CONTROL,
    **dict.fromkeys(range(0xC0, 0xFF), RAW),
}
COMMANDS: Mapping[int, Mapping[int, Any]] = {
    2016: {0x01: LOGIN_2016, 0x02: REPORT_2016, 0x03: REPORT_2016, 0x81: PARAMETERS, **_SESSIONS},
    2025: {
        0x01: LOGIN_2025,
        0x02: REPORT_2025,
        0x03: REPORT_2025,
        0x09: ACTIVATION,
        0x0A: ACTIVATION_RESULT,
        0x0B: KEY_EXCHANGE,
        0x81: PARAMETERS_2025,
        **_SESSIONS,
    },
}
"""The data unit of each command, by edition."""

ANSWERS: Mapping[int, Mapping[int, Any]] = {
    2016: {**COMMANDS[2016], 0x80: PARAMETERS},
    2025: {**COMMANDS[2025], 0x80: PARAMETERS_2025},
}
"""The data unit of an answer that says more than the time."""
