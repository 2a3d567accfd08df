"""What every wire protocol can do: cut a payload into frames, decode a frame, encode one, answer one.

A protocol is one module of this package with a `PROTOCOL` in it. Bytes in, a `Frame` or one `ProtocolError` out, never any
other exception; no socket, no clock, no vehicle: time and keys are arguments.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, cast

import construct

from protocols.trace import Leaf, dotted, parsing, stopped_at

PAYLOAD_LIMIT_BYTES = 64 * 1024
"""The longest MQTT payload a unit may send; longer is refused as `oversized`."""

Reason = Literal[
    "unknown_unit",
    "archived",
    "identity_mismatch",
    "bad_credentials",
    "forbidden_topic",
    "oversized",
    "truncated",
    "bad_sync",
    "bad_checksum",
    "bad_length",
    "malformed",
    "unsupported",
    "forged",
    "expired",
    "throttled",
]
"""Why something was refused: one closed list, the same in metrics, quarantine, decode and tests."""

NOT_UNDERSTOOD: tuple[Reason, ...] = ("unsupported", "malformed", "bad_length")
"""What may be wrong with a frame that arrived as it was sent: sent again, it would be wrong again."""

Acknowledgement = Literal["window", "frame", "none"]

NO_FACTS: Mapping[str, Any] = MappingProxyType({})


class UnitId(NamedTuple):
    """A telematics unit: its id is unique only within its brand."""

    brand: str
    telematics_unit_id: str

    def __str__(self) -> str:
        """`{brand}/{telematics_unit_id}`: the unit's MQTT client id and user name."""
        return f"{self.brand}/{self.telematics_unit_id}"


class ProtocolError(Exception):
    """These bytes are not a frame that may pass.

    `reason` is a word of `Reason`; `offset` counts bytes from the start of what was given to the call that raised it;
    `field` names the declaration's field (dotted path) or is empty; `expected` and `found` are for people. `sequence` is the
    frame's sequence number where its seal held although its content could not be understood: the unit may be told that it
    arrived, so that it does not block the rest.
    """

    def __init__(
        self, reason: Reason, offset: int = 0, field: str = "", *, expected: str = "", found: str = "", guess: str = ""
    ) -> None:
        super().__init__(f"{reason} at byte {offset}" + (f" ({field})" if field else ""))
        self.reason: Reason = reason
        self.offset = offset
        self.field = field
        self.expected = expected
        self.found = found
        self.guess = guess
        self.sequence: int | None = None

    def moved(self, by: int) -> "ProtocolError":
        """The same error, its offset counted from `by` bytes further to the front."""
        moved = ProtocolError(
            self.reason, self.offset + by, self.field, expected=self.expected, found=self.found, guess=self.guess
        )
        moved.sequence = self.sequence
        return moved


@dataclass(frozen=True, slots=True)
class Report:
    """What a unit captured at one moment; each becomes one VehicleStateRecorded.

    `record` is what makes it that report and no other (sequence or time, and content; no envelope, flags or seal): the same
    report sent again by any path has the same record. `captured_at` is Unix time in milliseconds, None if the unit did not say.
    `sequence` orders the reports of a unit where its protocol counts them. `signals` are in the unit's raw units; a signal
    that the unit could not read is left out.
    """

    record: bytes
    captured_at: int | None
    signals: Mapping[str, Any]
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, still in the unit's own words and units of measure.

    `kind` is the protocol's name of the frame type; the gateway knows `hello`, `state`, `event`, `heartbeat`, `result`,
    and treats every other as a frame without vehicle state. `unit` is the telematics_unit_id that the frame itself carries,
    None where it carries none. `facts` is what is said besides signals. A `result` has `facts["envelope"]`: the bytes of a
    command envelope (protocols.envelope). `facts["clock_unsynchronised"]` is true where the unit says so of its clock.
    """

    kind: str
    unit: str | None = None
    sequence: int | None = None
    captured_at: int | None = None
    reports: tuple[Report, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=lambda: NO_FACTS)


@dataclass(frozen=True, slots=True)
class Cut:
    """One frame's bytes in a payload, or the stretch where no frame was found, with the first thing that is wrong there."""

    offset: int
    data: bytes
    error: ProtocolError | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is supposed to be speaking: the id that the transport vouches for, and the keys that its seals may be made with."""

    unit: str
    seal_keys: Sequence[bytes] = ()


class Protocol(ABC):
    """One wire protocol.

    `acknowledgement` says how the gateway tells the unit that a frame is held: by `window` (a cumulative sequence number,
    `acknowledge`), by an answer to each `frame` (`answer`), or `none`. `starts` are the bytes that frames begin with.
    """

    name: ClassVar[str]
    sealed: ClassVar[bool] = False
    acknowledgement: ClassVar[Acknowledgement] = "none"
    starts: ClassVar[tuple[bytes, ...]] = ()

    @abstractmethod
    def split(self, payload: bytes) -> Iterator[Cut]:
        """The frames of a payload in order; what is no frame is one Cut with its error. Covers every byte, raises nothing."""

    @abstractmethod
    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """The frame that `data` is, wholly. With a `peer`, identity and seal are checked too. Raises ProtocolError only."""

    @abstractmethod
    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """The bytes that say `frame`; the inverse of decode. Raises ProtocolError("malformed") if the frame cannot be said."""

    def answer(self, frame: Frame, accepted: int) -> bytes | None:
        """What the gateway sends at once in answer to `frame`, of which it holds `accepted` reports. None: nothing."""
        return None

    def reject(self, frame: Frame) -> bytes | None:
        """What refuses the login `frame` of a unit that may not speak. None: nothing is said."""
        return None

    def dismiss(self, data: bytes, error: ProtocolError) -> bytes | None:
        """What is said to a frame that arrived whole and could not be understood, so that it is not sent for ever.

        `error` is what decode raised. None: nothing, because the frame may be damaged, somebody else's, or waits for no answer.
        """
        return None

    def acknowledge(self, unit: str, cumulative: int, bitmap: int, now: int, key: bytes) -> bytes:
        """The Ack of a `window` protocol: all up to `cumulative`, and of the 32 after it those set in `bitmap` (bit 0 first)."""
        raise ProtocolError("unsupported", field="acknowledge")

    def synchronise(self, unit: str, now: int, key: bytes) -> bytes | None:
        """The downlink frame that tells a unit what time it is; None where the protocol has none."""
        return None

    def carry(self, unit: str, envelope: bytes, now: int, key: bytes) -> bytes:
        """The downlink frame that carries a command envelope. `now` is Unix time in milliseconds."""
        raise ProtocolError("unsupported", field="command")

    def read(self, data: bytes) -> None:
        """Parse as far as the declarations go, checking nothing: for who watches (protocols.trace). Raises ProtocolError."""
        self.decode(data)

    def checksum(self, data: bytes) -> Mapping[str, str] | None:
        """`name`, `expected` and `found` (hex) of a frame's checksum; None if it has none or is too short to have it."""
        return None

    def meaning(self, path: str, value: Any) -> tuple[str, str]:
        """The unit of the value at a dotted path of the declarations, and what it means, in words; both may be empty."""
        return "", ""

    def meanings(self, leaves: Sequence[Leaf]) -> Iterable[tuple[str, str]]:
        """`meaning` of each leaf of a frame in order, for a protocol where one leaf says what the next ones mean."""
        return [self.meaning(leaf.path, leaf.value) for leaf in leaves]


def parse(declaration: "construct.Construct[Any, Any]", data: bytes, at: int = 0, under: str = "") -> construct.Container[Any]:
    """Parse `data` by a construct declaration; every failure is a ProtocolError with the offset where reading stopped.

    Offsets of errors count from the start of `data`; `at`, where it stands in its frame, and `under`, the dotted path of what
    it is there, are for who watches (protocols.trace).
    """
    try:
        with parsing(declaration, at, under) as watched:
            value = declaration.parse(data)
            if watched is not None:
                watched.value = value
            return cast("construct.Container[Any]", value)
    except ProtocolError:
        raise
    except Exception as error:  # construct leaks struct.error, KeyError, OverflowError, ... from user input
        raise _named(error, stopped_at(declaration, data)) from error


def build(declaration: "construct.Construct[Any, Any]", value: Any) -> bytes:
    """The bytes of `value`; what cannot be said in this declaration is ProtocolError("malformed")."""
    try:
        return cast(bytes, declaration.build(value))
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError("malformed", 0, _field(error), found=str(error)) from error


def _field(error: Exception) -> str:
    return dotted(getattr(error, "path", None) or "")


def _named(error: Exception, offset: int) -> ProtocolError:
    reason: Reason
    match error:
        case construct.StreamError():
            reason = "truncated"
        case construct.TerminatedError():
            reason = "bad_length"
        case construct.ConstError():
            reason = "bad_sync"
        case construct.ChecksumError():
            reason = "bad_checksum"
        case _:
            reason = "malformed"
    said = [line for line in str(error).splitlines() if not line.startswith("Error in path")]
    expected, found = "", said[0] if said else ""
    if short := _SHORT.search(found):
        expected, found = f"{short[1]} bytes", f"{short[2]} bytes"
    elif text := _NO_TEXT.search(found):
        expected, found = f"text in {text[1]}", "other bytes"
    return ProtocolError(reason, offset, _field(error), expected=expected, found=found)


_SHORT = re.compile(r"expected (\d+), found (\d+)$")
_NO_TEXT = re.compile(r"cannot use encoding '(\w+)' to decode")
"""What construct says of bytes that are not there, and of bytes that are no text."""
