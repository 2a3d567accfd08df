"""What arrives from a unit, what it is understood as, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.events import Event
from gateway.memory import Memory
from protocols.codec import Cut, Frame, ProtocolError, Reason, UnitId
from protocols.envelope import Envelope

CLOCK_ALLOWANCE_MS = 10 * 60 * 1000
"""How far ahead of now a unit's clock is believed."""

DOWNLINK_KINDS = frozenset({"ack", "command", "config", "time"})
"""What only a gateway says: on the way up it is a reflection, however well it is sealed."""


class Telegram(msgspec.Struct, frozen=True, gc=False):
    """What arrived: who the topic says it is from, and the bytes. `at` is when, in Unix ms."""

    unit: UnitId
    payload: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that were refused, with the closed reason, the byte of the payload and the field where it showed."""

    unit: UnitId
    reason: Reason
    data: bytes
    at: int
    offset: int = 0
    field: str = ""


class Told(msgspec.Struct, frozen=True, gc=False):
    """A report as the vehicle's model understands it: what it captured, when, in what order, and the properties that it says.

    Where somebody has said the properties in JSON already, as they are shown with the moment of their capture, `shown` is that,
    and `mark` goes into the state's `Snapshot`.
    """

    record: bytes
    captured_at: int | None
    sequence: int | None
    properties: Mapping[str, Any]
    shown: bytes = b""
    mark: bytes = b""


class Heard(msgspec.Struct, frozen=True, gc=False):
    """A frame that is known to be its unit's own, and the key generation that sealed it.

    `frame` is there where more of it is wanted than stands here: for all kinds but reports that the hot path vouches for; of
    those `answer` is what the unit is to be told.
    """

    kind: str
    sequence: int | None
    oldest_sequence: int | None
    clock_unsynchronised: bool
    reports: Sequence[Told]
    generation: int | None
    frame: Frame | None = None
    answer: bytes | None = None


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a payload, and what is known of it already: None, if it is still to be decoded."""

    cut: Cut
    heard: Heard | ProtocolError | None = None


class Receipt(msgspec.Struct):
    """What came of one telegram. `memory` is what to remember of the vehicle once the events are confirmed.

    `contested` counts those of the `repeated` that the unit cannot have made: somebody else speaks under its name.
    `acknowledged` counts the frames that a window protocol's next Ack is about, `answers` are the direct answers of a
    protocol that answers each frame. `wants_time`: the unit said that its clock is not synchronised.
    """

    memory: Memory
    events: list[Event] = []
    refused: list[Refused] = []
    results: list[Envelope] = []
    answers: list[bytes] = []
    accepted: int = 0
    repeated: int = 0
    contested: int = 0
    late: int = 0
    acknowledged: int = 0
    wants_time: bool = False
