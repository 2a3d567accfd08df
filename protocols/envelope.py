"""VTC1, the command envelope: an unlock that cannot be forged, replayed, or executed late.

The transport protects a hop; this protects the command from the gateway to the actuator. The full freshness counter travels
(AUTOSAR SecOC truncates it only because a CAN frame has 8 bytes), and the tag keeps 128 bits (RFC 2104 section 5).
"""

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

from construct import Bytes as FixedBytes
from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Int64ub, Prefixed, Struct, Terminated
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from protocols.codec import ProtocolError, build, parse
from protocols.meanings import Meaning, choice, unix_time, words

TAG_SIZE_BYTES = 16
PARAMETERS_LIMIT_BYTES = 256
LIFETIME_LIMIT_S = 300
NONCE_SIZE_BYTES = 8
_CONTEXT = b"VTC1"
_VERSION = 1

DECLARATION = Struct(
    "version" / Const(_VERSION, Int8ub),
    "algorithm" / Int8ub,
    "key_id" / Int8ub,
    "type" / Int8ub,
    "counter" / Int64ub,
    "expires" / Int32ub,
    "command" / Int16ub,
    "parameters" / Prefixed(Int16ub, GreedyBytes),
    "tag" / FixedBytes(TAG_SIZE_BYTES),
    Terminated,
)
_HEAD = struct.Struct(">BBBBQIHH")
"""All of the declaration up to the parameters."""

_AROUND_BYTES = _HEAD.size + TAG_SIZE_BYTES


class Algorithm(IntEnum):
    """How the tag is made."""

    HMAC_SHA256 = 1
    AES_CMAC = 2


class Type(IntEnum):
    """Which way the envelope goes; part of what is authenticated, so that a request is no response."""

    REQUEST = 1
    RESPONSE = 2


class Result(IntEnum):
    """First parameter byte of a response."""

    OK = 0
    EXPIRED = 1
    REPLAY = 2
    PRECONDITION = 3
    ACTUATOR = 4
    UNKNOWN = 5
    CLOCK = 6


COMMAND_CODES = {
    "request-vehicle-state": 0x0100,
    "unlock-central-lock": 0x0101,
    "lock-central-lock": 0x0102,
    "disable-driving": 0x0103,
    "enable-driving": 0x0104,
    "unlock-and-enable-driving": 0x0105,
    "lock-and-disable-driving": 0x0106,
    "unlock-top-case": 0x0107,
    "lock-top-case": 0x0108,
    "draw-attention": 0x0109,
    "unlock-battery-compartment": 0x010A,
}
COMMAND_NAMES = {code: name for name, code in COMMAND_CODES.items()}
NATIVE_COMMAND = 0x01F0
"""The parameters are a message of the brand's own protocol."""

PATH = "envelope"
"""What the envelope in a frame is called where the frame is explained."""

_MEANINGS: Mapping[str, Meaning] = {
    "algorithm": choice({1: "HMAC-SHA-256, leftmost 16 bytes", 2: "AES-128-CMAC"}),
    "key_id": words("the unit's key generation"),
    "type": choice({1: "request", 2: "response"}),
    "counter": words("freshness: higher than any before"),
    "expires": unix_time(1, "s"),
    "command": choice(COMMAND_NAMES | {NATIVE_COMMAND: "a message of the brand's own protocol, in the parameters"}),
    "tag": words("over VTC1, the unit's id and all bytes before it, under K_cmd"),
}


def meaning(path: str, value: Any) -> tuple[str, str]:
    """Unit and meaning of a field of an envelope, by its name."""
    known = _MEANINGS.get(path.rpartition(".")[2])
    return known(value) if known else ("", "")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One authenticated request or response. `expires` is Unix time in seconds; `parameters` are at most 256 bytes."""

    type: Type
    key_id: int
    counter: int
    expires: int
    command: int
    parameters: bytes = b""
    algorithm: Algorithm = Algorithm.HMAC_SHA256

    def response(self, result: Result, detail: bytes = b"") -> "Envelope":
        """The unit's answer to this request."""
        return Envelope(
            Type.RESPONSE, self.key_id, self.counter, self.expires, self.command, bytes([result]) + detail, self.algorithm
        )

    @property
    def result(self) -> Result:
        """What a response says came of the request. Raises ProtocolError if it says nothing known."""
        try:
            return Result(self.parameters[0])
        except (IndexError, ValueError) as error:
            raise ProtocolError("malformed", 20, "parameters", expected="a result code 00 to 06") from error


def _tag(algorithm: Algorithm, key: bytes, unit: str, signed: bytes) -> bytes:
    identity = unit.encode("ascii")
    data = _CONTEXT + bytes([len(identity)]) + identity + signed
    if algorithm is Algorithm.HMAC_SHA256:
        return hmac.digest(key, data, "sha256")[:TAG_SIZE_BYTES]
    cmac = CMAC(AES(key[:16]))
    cmac.update(data)
    return cmac.finalize()


def close(envelope: Envelope, unit: str, key: bytes) -> bytes:
    """The envelope's bytes, authenticated for the unit `unit` under its K_cmd (for AES-CMAC its first 16 bytes)."""
    if len(envelope.parameters) > PARAMETERS_LIMIT_BYTES:
        raise ProtocolError("oversized", 18, "parameters", expected=f"at most {PARAMETERS_LIMIT_BYTES} bytes")
    if envelope.expires == 0:
        raise ProtocolError("malformed", 12, "expires", expected="a time, not 0")
    signed = _signed(envelope)
    return signed + _tag(envelope.algorithm, key, unit, signed)


def _signed(envelope: Envelope) -> bytes:
    """All but the tag: by the declaration where the short way cannot say it."""
    said, parameters = envelope, envelope.parameters
    try:
        head = _HEAD.pack(
            _VERSION, said.algorithm, said.key_id, said.type, said.counter, said.expires, said.command, len(parameters)
        )
    except struct.error:
        fields = {name: getattr(said, name) for name in ("algorithm", "key_id", "type", "counter", "expires", "command")}
        return build(DECLARATION, fields | {"parameters": parameters, "tag": bytes(TAG_SIZE_BYTES)})[:-TAG_SIZE_BYTES]
    return head + parameters


def open(data: bytes, unit: str, keys: dict[int, bytes], allowed: frozenset[Algorithm] = frozenset(Algorithm)) -> Envelope:
    """The envelope that `data` is, if one of `keys` (by key id) made it for `unit`; ProtocolError otherwise.

    Length comes before version and algorithm, and those before the tag; nothing after a bad tag is looked at.
    """
    version = size = -1
    if len(data) >= _AROUND_BYTES:
        version, code, key_id, kind, counter, expires, command, size = _HEAD.unpack_from(data)
    if version != _VERSION or size != len(data) - _AROUND_BYTES:
        parse(DECLARATION, data)
        raise ProtocolError("malformed", 0, "envelope")
    if size > PARAMETERS_LIMIT_BYTES:
        raise ProtocolError("oversized", 18, "parameters", expected=f"at most {PARAMETERS_LIMIT_BYTES} bytes")
    if code not in allowed:
        raise ProtocolError("unsupported", 1, "algorithm", found=f"{code:02x}")
    algorithm = Algorithm(code)
    key = keys.get(key_id)
    if key is None:
        raise ProtocolError("forged", 2, "key_id", found=f"no key {key_id}")
    signed, tag = data[:-TAG_SIZE_BYTES], data[-TAG_SIZE_BYTES:]
    if not hmac.compare_digest(tag, _tag(algorithm, key, unit, signed)):
        raise ProtocolError("forged", len(signed), "tag")
    if kind not in (Type.REQUEST, Type.RESPONSE):
        raise ProtocolError("malformed", 3, "type", found=f"{kind:02x}")
    if expires == 0:
        raise ProtocolError("malformed", 12, "expires", expected="a time, not 0")
    return Envelope(Type(kind), key_id, counter, expires, command, signed[_HEAD.size :], algorithm)


class Freshness(Enum):
    """Whether an authentic request may still be carried out."""

    FRESH = "fresh"
    REPEATED = "repeated"
    REPLAYED = "replayed"
    EXPIRED = "expired"


def freshness(request: Envelope, data: bytes, last_counter: int, last_request: bytes, now_s: float) -> Freshness:
    """Judge a request against the last counter and request bytes that the unit stored, and its clock in Unix seconds.

    Equal counter and identical bytes: the cached response is repeated, nothing is done again. An expiry further away than
    300 s is refused like one that has passed: no gateway seals it.
    """
    if request.counter == last_counter and data == last_request:
        return Freshness.REPEATED
    if request.counter <= last_counter:
        return Freshness.REPLAYED
    if not now_s <= request.expires <= now_s + LIFETIME_LIMIT_S:
        return Freshness.EXPIRED
    return Freshness.FRESH
