"""A command down, its result back: what to seal, and what a result means. Pure: counters and time are arguments."""

import math
from dataclasses import dataclass

from protocols import envelope
from protocols.envelope import COMMAND_CODES, LIFETIME_LIMIT_S, Envelope, Result, Type
from protocols.keys import UnitKeys

REFUSALS = {
    Result.EXPIRED: "expired",
    Result.ACTUATOR: "actuator_failed",
    Result.UNKNOWN: "unknown_command",
}


@dataclass(frozen=True, slots=True)
class Done:
    """The vehicle did it."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The vehicle refused; nothing was done. `reason` is a word: ignition_on, in_motion, door_open, expired, ..."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Nothing was done, and one more request can succeed: with a counter above `counter`, and `nonce` put first."""

    counter: int = 0
    nonce: bytes = b""


Answer = Done | Declined | AskAgain


def seal_request(
    unit: str,
    keys: UnitKeys,
    name: str,
    counter: int,
    now_ms: int,
    timeout_s: float,
    parameters: bytes = b"",
    code: int | None = None,
) -> bytes:
    """The authenticated request for command `name`: it expires when its caller no longer waits, at most 300 s from now.

    `code` stands in for the command's own code where the parameters are native (0x01F0).
    """
    expires = math.floor(now_ms / 1000 + min(timeout_s, LIFETIME_LIMIT_S - 1))
    expires = max(expires, now_ms // 1000 + 1)
    command = COMMAND_CODES[name] if code is None else code
    request = Envelope(Type.REQUEST, keys.generation, counter, expires, command, parameters)
    return envelope.close(request, unit, keys.command)


def answered(response: Envelope) -> Answer:
    """What a response to one of our requests means."""
    detail = response.parameters[1:]
    match response.result:
        case Result.OK:
            return Done()
        case Result.REPLAY:
            return AskAgain(counter=int.from_bytes(detail[:8], "big"))
        case Result.CLOCK:
            return AskAgain(nonce=detail[: envelope.NONCE_SIZE_BYTES])
        case Result.PRECONDITION:
            return Declined(detail.decode("ascii", "replace") or "precondition")
        case other:
            return Declined(REFUSALS[other])
