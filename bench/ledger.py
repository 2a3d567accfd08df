"""Who lost what: every report that was captured, acknowledged, and seen by a consumer. The words are Jepsen's.

- attempted: captured by a unit; acknowledged: the gateway has said that it holds it; observed: a consumer has had its event.
- lost = acknowledged, not refused, and never observed; recovered = observed and never acknowledged; unexpected = observed and
  never attempted; duplicated = deliveries beyond the first of each event.

0 lost in N acknowledged says with 95 % confidence that fewer than 3 in N are lost ("rule of three"): give N with it.

    ledger = Ledger()
    ledger.attempt(unit, sequence, event_id(vehicle_id, record), at_ms)
    ledger.acknowledge(unit, sequence)
    ledger.observe(message_id)
    ledger.counts()    # the document of `--json`
    ledger.missing()   # each frame that no consumer has seen, with its cause

`bench.witness` fills it from simulated units.
"""

import uuid
from binascii import hexlify
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any, Literal

import msgspec
import numpy as np

from protocols.codec import Reason, UnitId

VEHICLES = uuid.UUID("6f6b2f0e-5e0b-5d1c-9f0d-3a1f0c7b9e51")
"""The name space in which a vehicle_id becomes the UUID of its events' name space (docs/events.md)."""

Cause = Literal["refused", "forgotten", "not_acknowledged", "not_sent", "lost"]
CAUSES: Mapping[Cause, str] = {
    "refused": "refused by the gateway",
    "forgotten": "forgotten by the unit: its journal was full",
    "not_acknowledged": "sent, not yet acknowledged; the unit still keeps it",
    "not_sent": "never sent: the unit had no connection",
    "lost": "acknowledged, and never seen by the consumer",
}


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger in seven numbers: the document of `--json`."""

    attempted: int = 0
    acknowledged: int = 0
    observed: int = 0
    lost: int = 0
    duplicated: int = 0
    unexpected: int = 0
    recovered: int = 0


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A report whose event nobody has seen. `reason` is the gateway's, of a refusal."""

    unit: str
    sequence: int
    event_id: str
    captured_at_ms: int
    cause: Cause
    reason: Reason | None = None

    @property
    def text(self) -> str:
        """For people."""
        return CAUSES[self.cause] + (f" ({self.reason})" if self.reason else "")


class Entry(msgspec.Struct, gc=False):
    """One report, which the garbage collector need not look through.

    `seen_at` is when its event was observed first, in seconds of whatever clock the observer has.
    """

    unit: UnitId
    sequence: int
    event_id: str
    at_ms: int
    acknowledged: bool = False
    deliveries: int = 0
    seen_at: float = 0.0
    cause: Cause | None = None
    reason: Reason | None = None


_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
"""The digit of a UUID that says its variant (RFC 9562 section 4.1), of that of the digest."""


@lru_cache(maxsize=1 << 17)
def _vehicle(vehicle_id: str) -> bytes:
    return uuid.uuid5(VEHICLES, vehicle_id).bytes


def event_id(vehicle_id: str, record: bytes) -> str:
    """The id that the contract gives to the event of a captured record: uuid5 (RFC 9562 section 5.5) of vehicle and record."""
    digest = sha1(_vehicle(vehicle_id) + record, usedforsecurity=False).digest()
    said = digest.hex()
    return f"{said[:8]}-{said[8:12]}-5{said[13:16]}-{_VARIANT[said[16]]}{said[17:20]}-{said[20:32]}"


_DIGEST_BYTES, _UUID_BYTES, _UUID_TEXT = 20, 16, 36
_GROUPS = ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24))
"""Of the hexadecimal digits of a UUID: from, to, and where they stand in its text."""


def id_begun(vehicle_id: str) -> Any:
    """The SHA-1 of a vehicle's event ids, begun: copy it, update it with a record, and give the digest to `event_ids`."""
    return sha1(_vehicle(vehicle_id), usedforsecurity=False)


def event_ids(digests: Sequence[bytes]) -> list[str]:
    """What `event_id` says of each of these SHA-1 digests of vehicle and record, all at once."""
    count = len(digests)
    raw = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(count, _DIGEST_BYTES)[:, :_UUID_BYTES].copy()
    raw[:, 6] = raw[:, 6] & 0x0F | 0x50
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(hexlify(raw.tobytes()), dtype=np.uint8).reshape(count, 2 * _UUID_BYTES)
    texts = np.full((count, _UUID_TEXT), ord("-"), dtype=np.uint8)
    for first, last, place in _GROUPS:
        texts[:, place : place + last - first] = digits[:, first:last]
    said = texts.tobytes().decode()
    return [said[at : at + _UUID_TEXT] for at in range(0, _UUID_TEXT * count, _UUID_TEXT)]


class Ledger:
    """What became of each report. Calls may come in any order: an event may be seen before its attempt is noted."""

    def __init__(self) -> None:
        self._by_id: dict[str, Entry] = {}
        self._by_place: dict[UnitId, dict[int, Entry]] = {}
        self._unplaced: list[Entry] = []
        self._strays: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._by_id.values())

    def latest(self) -> Iterator[Entry]:
        """All entries, the last ones first."""
        return reversed(self._by_id.values())

    def attempt(self, unit: UnitId, sequence: int, event_id: str, at_ms: int) -> Entry:
        """A unit has captured a report; the same one again is the same entry."""
        entry = self._by_id.get(event_id)
        if entry is None:
            entry = self._by_id[event_id] = Entry(unit, sequence, event_id, at_ms)
            entry.deliveries = self._strays.pop(event_id, 0) if self._strays else 0
            self._unplaced.append(entry)
        return entry

    def _at(self, unit: UnitId, sequence: int) -> Entry | None:
        unplaced, self._unplaced = self._unplaced, []
        for entry in unplaced:
            self._by_place.setdefault(entry.unit, {})[entry.sequence] = entry
        return self._by_place.get(unit, {}).get(sequence)

    def acknowledge(self, unit: UnitId, sequence: int) -> None:
        """The unit was told that the gateway holds it."""
        entry = self._at(unit, sequence)
        if entry is not None:
            entry.acknowledged = True

    def explain(self, unit: UnitId, sequence: int, cause: Cause, reason: Reason | None = None) -> None:
        """Say what became of a report, should nobody see its event."""
        entry = self._at(unit, sequence)
        if entry is not None:
            entry.cause, entry.reason = cause, reason

    def explain_unseen(self, unit: UnitId, sequence: int, reason: Reason) -> None:
        """The gateway has refused these bytes; that matters where the report did not get through another time."""
        entry = self._at(unit, sequence)
        if entry is not None and not entry.deliveries and entry.cause is None:
            entry.cause, entry.reason = "refused", reason

    def observe(self, event_id: str, seen_at: float = 0.0) -> Entry | None:
        """A consumer was given a VehicleStateRecorded; its entry at the first time, else None."""
        entry = self._by_id.get(event_id)
        if entry is None:
            self._strays[event_id] += 1
            return None
        entry.deliveries += 1
        if entry.deliveries > 1:
            return None
        entry.seen_at = seen_at
        return entry

    @property
    def unexpected(self) -> list[str]:
        """Ids that were observed and never attempted."""
        return list(self._strays)

    def counts(self) -> Counts:
        """The seven numbers."""
        entries = self._by_id.values()
        seen = sum(entry.deliveries > 0 for entry in entries)
        deliveries = sum(entry.deliveries for entry in entries) + self._strays.total()
        return Counts(
            attempted=len(self._by_id),
            acknowledged=sum(entry.acknowledged for entry in entries),
            observed=seen + len(self._strays),
            lost=sum(entry.acknowledged and not entry.deliveries and entry.cause != "refused" for entry in entries),
            duplicated=deliveries - seen - len(self._strays),
            unexpected=len(self._strays),
            recovered=sum(entry.deliveries > 0 and not entry.acknowledged for entry in entries),
        )

    def missing(self) -> list[Missing]:
        """Every report whose event nobody has seen, in the order of capture, each with its cause."""
        unseen = (entry for entry in self._by_id.values() if not entry.deliveries)
        return sorted((_missing(entry) for entry in unseen), key=lambda each: (each.captured_at_ms, each.unit, each.sequence))

    def by_unit(self) -> dict[UnitId, Counts]:
        """The ledger of each unit; what nobody attempted is nobody's."""
        parts: dict[UnitId, Ledger] = {}
        for entry in self:
            parts.setdefault(entry.unit, Ledger())._by_id[entry.event_id] = entry
        return {unit: part.counts() for unit, part in parts.items()}


def _missing(entry: Entry) -> Missing:
    cause: Cause = entry.cause or "not_acknowledged"
    if entry.acknowledged:
        cause = "lost" if entry.cause != "refused" else "refused"
    return Missing(
        unit=str(entry.unit),
        sequence=entry.sequence,
        event_id=entry.event_id,
        captured_at_ms=entry.at_ms,
        cause=cause,
        reason=entry.reason if cause == "refused" else None,
    )


def by_cause(missing: Iterable[Missing]) -> dict[str, int]:
    """How many are missing for which cause: `refused (bad_checksum)`, `not_acknowledged`, ..."""
    return dict(Counter(each.cause + (f" ({each.reason})" if each.reason else "") for each in missing).most_common())
