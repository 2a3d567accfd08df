"""What one unit said, said by another, or said again now: identity, sequence, time, seal and checksum of recorded frames.

What the frames carry inside is changed too, as the new unit would have said it. Where that cannot be done it is refused: a
frame with another's id or seal would only be counted as forged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from devices.unitsfile import UnitRecord
from protocols import envelope, load
from protocols.codec import Frame, Protocol, ProtocolError, UnitId, parse
from protocols.envelope import Algorithm, Envelope, Type

SEQUENCE_MODULUS = 1 << 32

Moved = Callable[[int], int]
"""When something is said to have been captured, for when it was: Unix ms to Unix ms. The same for every copy of a frame."""


class CannotRewrite(Exception):
    """These frames cannot be said so; the sentence says why, and what would help."""


@dataclass(slots=True)
class _Count:
    """How a unit's sequence numbers are moved in this loop. `last` is the highest that was given out."""

    moved_by: int | None = None
    last: int = 0


@dataclass(slots=True)
class Rewriting:
    """`pairs` is who says what whom said; units that are not in it speak for themselves. `records` are secrets, by unit.

    With `fresh`, sequence numbers go on where a unit that is new at `now_ms` begins, and times are moved as the sending is.
    """

    pairs: Mapping[UnitId, UnitId]
    records: Mapping[UnitId, UnitRecord]
    protocol_of: Callable[[str], Protocol | None]
    fresh: bool = False
    _counts: dict[UnitId, _Count] = field(default_factory=dict)

    def check(self, units: Mapping[UnitId, Any] | list[UnitId]) -> None:
        """Raises CannotRewrite where what one of `units` said cannot be said as wanted, whatever it was."""
        for unit in units:
            speaker = self.speaker(unit)
            if not self.changes(unit):
                continue
            if speaker.brand != unit.brand:
                raise CannotRewrite(f"{unit} cannot become {speaker}: units of {speaker.brand} speak otherwise")
            protocol = self.protocol_of(unit.brand)
            if protocol is None:
                raise CannotRewrite(f"nobody here knows how units of {unit.brand} speak: what {unit} said stays as it is")
            if protocol.sealed and speaker not in self.records:
                raise CannotRewrite(
                    f"what {unit} sealed can only be changed with the seal_key of {speaker}: name it in --units FILE"
                )
            if self.fresh and protocol.name not in _FRESHENED:
                raise CannotRewrite(f"times of {protocol.name} frames cannot be moved: leave out {unit} (--only), or --fresh")

    def speaker(self, unit: UnitId) -> UnitId:
        """Who says what `unit` said."""
        return self.pairs.get(unit, unit)

    def changes(self, unit: UnitId) -> bool:
        """Whether its payloads are not as they were recorded."""
        return self.fresh or self.speaker(unit) != unit

    def next_loop(self) -> None:
        """The recording begins again: what follows has higher numbers."""
        for count in self._counts.values():
            count.moved_by = None

    def payload(self, unit: UnitId, data: bytes, moved: Moved, now_ms: int) -> bytes:
        """What the speaker says now for a payload that `unit` said. Raises CannotRewrite."""
        if not self.changes(unit):
            return data
        protocol = self.protocol_of(unit.brand)
        assert protocol is not None
        try:
            cuts = list(protocol.split(data))
            for cut in cuts:
                if cut.error is not None:
                    raise cut.error
            return b"".join(self._frame(protocol, unit, cut.data, moved, now_ms) for cut in cuts)
        except ProtocolError as error:
            raise CannotRewrite(f"a frame that cannot be read: {error}") from error

    def _frame(self, protocol: Protocol, unit: UnitId, data: bytes, moved: Moved, now_ms: int) -> bytes:
        speaker = self.speaker(unit)
        frame = protocol.decode(data)
        said = frame
        if frame.unit is not None:
            said = replace(frame, unit=speaker.telematics_unit_id)
        if self.fresh:
            said = _FRESHENED[protocol.name](said, moved)
            if said.sequence is not None:
                said = _renumbered(said, self._moved_by(speaker, said.sequence, now_ms), self._counts[speaker])
        record = self.records.get(speaker)
        said = _enveloped(said, speaker, record)
        if said == frame:
            return data
        if protocol.name in _IN_ASCII and not self.fresh and "envelope" not in said.facts:
            return data.replace(unit.telematics_unit_id.encode(), speaker.telematics_unit_id.encode())
        return protocol.encode(said, bytes.fromhex(record.seal_key) if record is not None else b"")

    def _moved_by(self, speaker: UnitId, sequence: int, now_ms: int) -> int:
        count = self._counts.setdefault(speaker, _Count(last=now_ms // 1000))
        if count.moved_by is None:
            count.moved_by = count.last + 1 - sequence
        return count.moved_by


_IN_ASCII = frozenset({"autoapi", "teltonika"})
"""Protocols in which a unit's id stands as ASCII digits and letters, under no checksum, or nowhere."""


def _renumbered(frame: Frame, by: int, count: _Count) -> Frame:
    assert frame.sequence is not None
    sequence = (frame.sequence + by) % SEQUENCE_MODULUS
    if (sequence - count.last) % SEQUENCE_MODULUS < SEQUENCE_MODULUS // 2:
        count.last = sequence
    facts, reports = dict(frame.facts), frame.reports
    oldest = facts.get("oldest_sequence")
    if oldest is not None:
        facts["oldest_sequence"] = moved = (oldest + by) % SEQUENCE_MODULUS
        reports = tuple(replace(each, signals={**each.signals, "oldest_sequence": moved}) for each in reports)
    return replace(frame, sequence=sequence, facts=facts, reports=reports)


def _enveloped(frame: Frame, speaker: UnitId, record: UnitRecord | None) -> Frame:
    """A command's result is authenticated for the unit that gave it: made anew, it is the answer to nobody's request."""
    sealed = frame.facts.get("envelope")
    if sealed is None:
        return frame
    if record is None:
        raise CannotRewrite(f"a command's result of {speaker} needs its command_key: name it in --units FILE")
    said = parse(envelope.DECLARATION, sealed)
    again = Envelope(
        Type(said.type),
        record.generation,
        said.counter,
        said.expires,
        said.command,
        bytes(said.parameters),
        Algorithm(said.algorithm),
    )
    made = envelope.close(again, speaker.telematics_unit_id, bytes.fromhex(record.command_key))
    return replace(frame, facts={**frame.facts, "envelope": made} | _carried(frame.facts, sealed, made))


def _carried(facts: Mapping[str, Any], sealed: bytes, made: bytes) -> dict[str, Any]:
    """Where the envelope stands a second time, in the fields that a frame is encoded from."""
    return {name: _swapped(facts[name], sealed, made) for name in ("payload", "data", "body") if name in facts}


def _swapped(value: Any, old: bytes, new: bytes) -> Any:
    if isinstance(value, Mapping):
        return {name: _swapped(each, old, new) for name, each in value.items()}
    if isinstance(value, list):
        return [_swapped(each, old, new) for each in value]
    return new if value == old else value


# Said again now ---------------------------------------------------------------------------------------------------------------


def _cloudboxx_moved(frame: Frame, moved: Moved) -> Frame:
    at = None if frame.captured_at is None else max(0, moved(frame.captured_at))
    return replace(frame, captured_at=at, reports=tuple(replace(each, captured_at=at) for each in frame.reports))


def _teltonika_moved(frame: Frame, moved: Moved) -> Frame:
    data = frame.facts.get("data")
    if not frame.reports or not isinstance(data, Mapping):
        return frame
    records = [{**each, "timestamp": max(0, moved(each["timestamp"]))} for each in data["records"]]
    return replace(frame, facts={**frame.facts, "data": {**data, "records": records}})


_FRESHENED: Mapping[str, Callable[[Frame, Moved], Frame]] = {"cloudboxx": _cloudboxx_moved, "teltonika": _teltonika_moved}


def protocol_of(brands: Mapping[str, Any]) -> Callable[[str], Protocol | None]:
    """How the units of a brand speak, None for a brand that is not in `brands`."""
    known = load()
    return lambda brand: known[brands[brand].protocol] if brand in brands else None
