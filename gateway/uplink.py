"""One telegram in; its events, results and refusals out. Pure: no sockets, no clock, nothing awaited.

The caller publishes the events, then remembers `Receipt.memory`, and only then tells the unit that its frames are held.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Any

from gateway.changes import Occasion, State, changed, merged, recording
from gateway.events import recorded_id
from gateway.memory import SEQUENCE_MODULUS, Memory, Vehicle, Window, ahead
from gateway.onward import onward
from gateway.receipts import CLOCK_ALLOWANCE_MS, DOWNLINK_KINDS, Heard, Piece, Receipt, Refused, Telegram, Told
from gateway.trips import follow
from protocols import envelope
from protocols.codec import PAYLOAD_LIMIT_BYTES, Cut, Frame, Peer, Protocol, ProtocolError, Reason, UnitId
from protocols.keys import UnitKeys

RECENT_REPORTS = 256
"""Fingerprints kept for a unit that does not number its reports: more than two payloads of the longest backlog batch."""

FlowOf = Callable[[str, int], str | None]
"""The flow id of the command that was sent to a vehicle with a counter, None if there was none."""


def unattached(telegram: Telegram, reason: Reason, memory: Memory = Memory()) -> Receipt:  # noqa: B008 - frozen
    """The receipt of a telegram whose unit may not speak at all."""
    return Receipt(memory, refused=[Refused(telegram.unit, reason, telegram.payload, telegram.at)])


def receive(
    telegram: Telegram,
    vehicle: Vehicle | None,
    memory: Memory,
    protocol: Protocol | None,
    keys: Sequence[UnitKeys],
    flow_of: FlowOf,
    pieces: Sequence[Piece] | Heard | None = None,
) -> Receipt:
    """Decide what a telegram means, frame by frame; each frame has its own outcome.

    `pieces` are the frames of the payload where somebody has cut and decoded it already (gateway.reader); a Heard, where all of
    it is one frame.
    """
    if vehicle is None or protocol is None:
        return unattached(telegram, "unknown_unit")
    if vehicle.archived:
        return unattached(telegram, "archived")
    if len(telegram.payload) > PAYLOAD_LIMIT_BYTES:
        return unattached(telegram, "oversized")
    if isinstance(pieces, Heard):
        if (receipt := onward(telegram, vehicle, memory, pieces)) is not None:
            return receipt
        pieces = (Piece(Cut(0, telegram.payload), pieces),)
    hearing = _Hearing(telegram, vehicle, protocol, keys, flow_of, Receipt(memory))
    for piece in map(Piece, protocol.split(telegram.payload)) if pieces is None else pieces:
        hearing.hear(piece)
    hearing.receipt.memory = hearing.remembered()
    return hearing.receipt


def decode(protocol: Protocol, data: bytes, unit: UnitId, keys: Sequence[UnitKeys]) -> tuple[Frame, int | None]:
    """The frame that `data` is, if it is the unit's own, and the generation of the key that sealed it. Raises ProtocolError."""
    name = unit.telematics_unit_id
    if not protocol.sealed:
        return protocol.decode(data, Peer(name)), None
    for each in keys[:-1]:
        try:
            return protocol.decode(data, Peer(name, (each.seal,))), each.generation
        except ProtocolError as error:
            if error.reason != "forged":
                raise
    return protocol.decode(data, Peer(name, (keys[-1].seal,))), keys[-1].generation


def understood(frame: Frame, generation: int | None, vehicle: Vehicle, known: Sequence[Mapping[str, Any] | None] = ()) -> Heard:
    """A frame of the vehicle's unit, its reports read by the vehicle's model, where it is not `known` already what they say."""
    facts, translate = frame.facts, vehicle.model.units[vehicle.unit.brand].translate
    reports = []
    for at, said in enumerate(frame.reports):
        properties = known[at] if at < len(known) else None
        reports.append(
            Told(said.record, said.captured_at, said.sequence, translate(said.signals) if properties is None else properties)
        )
    clock_unsynchronised = bool(facts.get("clock_unsynchronised"))
    return Heard(frame.kind, frame.sequence, facts.get("oldest_sequence"), clock_unsynchronised, reports, generation, frame)


class _Hearing:
    """One telegram being heard, frame by frame: what is remembered moves on with each, and ends up in the receipt."""

    def __init__(
        self,
        telegram: Telegram,
        vehicle: Vehicle,
        protocol: Protocol,
        keys: Sequence[UnitKeys],
        flow_of: FlowOf,
        receipt: Receipt,
    ) -> None:
        self.telegram, self.vehicle, self.protocol = telegram, vehicle, protocol
        self.keys, self.flow_of, self.receipt = keys, flow_of, receipt
        self.flow_id: str | None = None
        self.counts = protocol.acknowledgement == "window"
        memory = receipt.memory
        self.window, self.order, self.state, self.trip = memory.window, memory.order, memory.state, memory.trip
        self.last_contact_at, self.firmware = memory.last_contact_at, memory.firmware
        self.generation, self.recent = memory.generation, memory.recent

    def remembered(self) -> Memory:
        """The memory after all that was heard; the very one from before, if there is nothing new in it."""
        before = self.receipt.memory
        if (
            self.last_contact_at is before.last_contact_at
            and self.window is before.window
            and self.generation == before.generation
            and not self.receipt.accepted
        ):
            return before
        return Memory(
            self.window,
            self.order,
            self.state,
            self.last_contact_at,
            self.firmware,
            before.online,
            before.online_changed_at,
            self.generation,
            self.recent,
            self.trip,
            before.replacements,
        )

    def hear(self, piece: Piece) -> None:
        """Take in one frame, or the stretch where none was found."""
        cut, heard = piece.cut, piece.heard
        if cut.error is not None:
            self._refuse(cut, cut.error)
            return
        if heard is None:
            heard = self._decoded(cut.data)
        if isinstance(heard, ProtocolError):
            self._refuse(cut, heard.moved(cut.offset))
            if heard.sequence is not None:
                self._count(heard.sequence, None)
            self._dismiss(cut.data, heard)
            return
        kind, sequence, frame = heard.kind, heard.sequence, heard.frame
        if heard.generation is not None:
            self.generation = heard.generation
        if kind in DOWNLINK_KINDS:
            self._refuse(cut, ProtocolError("forged", cut.offset, "type", expected="an uplink frame", found=kind))
            return
        receipt = self.receipt
        receipt.wants_time |= heard.clock_unsynchronised
        if self.counts and sequence is not None and not self._is_new(heard):
            receipt.repeated += 1
            receipt.contested += self._is_anothers(heard)
            self._answer(heard)
            return
        if frame is not None:
            self._take_facts(cut, frame)
        for report in heard.reports:
            self._take_report(report)
        self.last_contact_at = self.telegram.at
        receipt.accepted += 1
        if sequence is not None:
            self._count(sequence, heard.oldest_sequence)
        if frame is not None or heard.answer is not None:
            self._answer(heard)

    def _take_facts(self, cut: Cut, frame: Frame) -> None:
        if frame.kind == "result":
            self._take_result(cut, frame)
        if frame.kind == "hello":
            self.firmware = _firmware(frame.facts) or self.firmware

    def _decoded(self, data: bytes) -> Heard | ProtocolError:
        try:
            frame, generation = decode(self.protocol, data, self.telegram.unit, self.keys)
        except ProtocolError as error:
            return error
        return understood(frame, generation, self.vehicle)

    def _is_new(self, heard: Heard) -> bool:
        sequence = heard.sequence
        assert sequence is not None
        if self.last_contact_at is None:
            self._begin_window(sequence, heard.oldest_sequence)
        if self.window.holds(sequence):
            self.receipt.acknowledged += 1
            return False
        return True

    def _is_anothers(self, heard: Heard) -> bool:
        """Whether a number that has arrived comes again with a report of later than all that was told: a unit counts up."""
        newest = max((said.at for said in self.state.values()), default=None)
        if newest is None or heard.clock_unsynchronised:
            return False
        latest = self.telegram.at + CLOCK_ALLOWANCE_MS
        return any(newest < said.captured_at <= latest for said in heard.reports if said.captured_at is not None)

    def _begin_window(self, sequence: int, oldest: int | None) -> None:
        """A unit's first frame may stand anywhere in its count, also far beyond half of it."""
        if oldest is not None and ahead(oldest, sequence) <= 0:
            self.window = Window((oldest - 1) % SEQUENCE_MODULUS)
        elif ahead(sequence, self.window.cumulative) < 0:
            self.window = Window((sequence - 1) % SEQUENCE_MODULUS)

    def _count(self, sequence: int, oldest: int | None) -> None:
        window = self.window
        if oldest is not None and ahead(oldest, window.cumulative) > 1 and ahead(oldest, sequence) <= 0:
            window = window.without_before(oldest)
        self.window = window.with_arrived(sequence)
        self.receipt.acknowledged += 1

    def _take_report(self, report: Told) -> None:
        record, captured_at, sequence, properties = report.record, report.captured_at, report.sequence, report.properties
        now, last = self.telegram.at, self.order
        at = now if captured_at is None else min(captured_at, now + CLOCK_ALLOWANCE_MS)
        fingerprint = 0
        if sequence is None:
            order = at
            fingerprint = int.from_bytes(sha1(record, usedforsecurity=False).digest()[:8], "little")
            # A report without a time says the same bytes whenever things are as they were: only the last one can be its repeat.
            if fingerprint in (self.recent if captured_at is not None else self.recent[-1:]):
                self.receipt.repeated += 1
                return
        else:
            order = sequence if last is None else last + ahead(sequence, last % SEQUENCE_MODULUS)
        late = last is not None and order < last
        after = merged(self.state, properties, at, order, late, report.mark)
        self._tell(report, at, after, late)
        self.receipt.late += late
        self.state = after
        if not late:
            self.order = order
        if fingerprint:
            self.recent = (*self.recent[-RECENT_REPORTS + 1 :], fingerprint)

    def _tell(self, report: Told, at: int, after: State, late: bool) -> None:
        """Tell what the report says and what follows from it."""
        vehicle, properties = self.vehicle, report.properties
        record = report.record if report.captured_at is not None else report.record + at.to_bytes(8, "big")
        event_id = recorded_id(vehicle.vehicle_id, record)
        occasion = Occasion(event_id, self.flow_id or event_id, at, self.telegram.at, vehicle.fleet_id, vehicle.vehicle_id)
        events = self.receipt.events
        shown = report.shown if at == report.captured_at else b""
        events.append(occasion.event(event_id, "VehicleStateRecorded", recording(after, properties, at, late, shown)))
        if late:
            return
        events.extend(changed(self.state, after, occasion, properties))
        self.trip, told_of_trip = follow(vehicle, self, after, properties, occasion)
        events.extend(told_of_trip)

    def _take_result(self, cut: Cut, frame: Frame) -> None:
        commands = {keys.generation: keys.command for keys in self.keys}
        try:
            result = envelope.open(frame.facts["envelope"], self.telegram.unit.telematics_unit_id, commands)
            if result.type is not envelope.Type.RESPONSE:
                raise ProtocolError("forged", 3, "type", expected="a response", found="a request")
            result.result  # noqa: B018 - a result that says nothing known is refused here, where its bytes are at hand
        except ProtocolError as error:
            self._refuse(cut, error.moved(cut.offset))
            return
        self.receipt.results.append(result)
        self.flow_id = self.flow_of(self.vehicle.vehicle_id, result.counter) or self.flow_id

    def _dismiss(self, data: bytes, error: ProtocolError) -> None:
        """It is in the quarantine: the unit need not keep it."""
        answer = self.protocol.dismiss(data, error) if self.protocol.acknowledgement == "frame" else None
        if answer is not None:
            self.receipt.answers.append(answer)

    def _answer(self, heard: Heard) -> None:
        if heard.reports and not self.vehicle.brand.answers:
            return
        answer = heard.answer
        if self.protocol.acknowledgement == "frame" and heard.frame is not None:
            answer = self.protocol.answer(heard.frame, len(heard.reports))
        if answer is not None:
            self.receipt.answers.append(answer)

    def _refuse(self, cut: Cut, error: ProtocolError) -> None:
        refused = Refused(self.telegram.unit, error.reason, cut.data, self.telegram.at, error.offset, error.field)
        self.receipt.refused.append(refused)


def _firmware(facts: Mapping[str, Any]) -> str | None:
    said = facts.get("firmware")
    if isinstance(said, Mapping):
        return ".".join(str(said[part]) for part in ("major", "minor", "patch") if part in said)
    return str(said) if said is not None else None
