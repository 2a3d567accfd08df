"""The CloudBoxx unit's firmware, sans-io: it senses, reports, keeps frames until they are acknowledged, and obeys commands.

No socket, no clock, no task: time is an argument, so that resends, expiry and reboots are plain function calls. A reboot is a
new `Unit` on the same flash and vehicle.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from devices.config import Intervals, UnitConfig
from devices.flash import Flash, Store, volatile
from devices.gate import Gate, obey_code
from devices.journal import SEQUENCE_MODULUS, Journal, ahead
from devices.motion import Motion
from devices.power import PoweredUnit
from devices.rtc import Rtc
from devices.senses import FOB_CAUSE, OWN, SUPPLY_CAUSE, Senses, card_number, iccid, own_facts, own_values, supply_mv
from devices.vehicle import Vehicle
from protocols.cloudboxx import CLOCK_UNSYNCHRONISED, CODES, DRIVING
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Peer, ProtocolError, Report
from protocols.hotpath.quick import HEARTBEAT_BODY, Layout, Speaker
from protocols.hotpath.quick import QUICK as PROTOCOL

PAYLOAD_BYTES = 16 * 1024
"""Frames are sent together up to this size: a quarter of what a payload may be."""

GAP_NOTICE_MS = 10_000
"""The gateway is told at most this often what will never come."""

FEATURES = 0b111
"""Hello: window Acks, VTC1 commands, remote configuration."""

RESULT_CODE: Final = CODES["result"]

STATE_OF_ITS_OWN = (*OWN, "reset_cause", "uptime", "journal_depth", "forgotten_frames")
"""What a state says beside what the vehicle does."""


@lru_cache(maxsize=4_096)
def layout_of(names: tuple[str, ...]) -> Layout | None:
    """Reports of these signals, the oldest sequence first; None where the protocol has no word for one."""
    try:
        return Layout(("oldest_sequence", *names))
    except KeyError:
        return None


class Unit(PoweredUnit):
    """One CloudBoxx that is switched on. See `devices.firmware.Firmware` for the calls, `devices.power` for its phases.

    `refused` counts frames from the air that were dropped, by reason; `gate` the commands.
    """

    def __init__(self, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile, reset_cause: int = 0) -> None:
        super().__init__(config, flash, vehicle, store, reset_cause)
        self._id = config.unit.telematics_unit_id
        self._peer = Peer(self._id, (config.seal_key,))
        self._speaker = Speaker(self._id, config.seal_key)
        self.senses = Senses(config.translation, vehicle)
        self.rtc = Rtc(config.clock_error_ms, config.synchronised)
        self.gate = Gate(self._id, config.command_keys, flash, store, self.rtc, config.entropy)
        self._boot()

    def _boot(self) -> None:
        self.journal = Journal(self.flash, self.config.journal_capacity)
        self._take_intervals()
        self.senses.forget()
        self._unsaved = False
        self._state_at: int | None = None
        self._heartbeat_at: int | None = None
        self._hello: int | None = None
        self._gap_told_at: int | None = None
        self._motion = Motion(self.vehicle, self.behaviour)
        self._told_low = False

    @property
    def intervals(self) -> Intervals:
        """How often it reports: as configured over the air, else as delivered."""
        return Intervals(*self.flash.intervals_s) if self.flash.intervals_s else self.config.intervals

    def _take_intervals(self) -> None:
        intervals = self.intervals
        self._driving_ms, self._parked_ms = round(1000 * intervals.driving_s), round(1000 * intervals.parked_s)
        self._beat_ms = round(1000 * intervals.heartbeat_s)
        self._asleep_ms = 1000 * self.behaviour.sleep_heartbeat_s or self._beat_ms

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands: say hello, then what has been waiting, oldest first."""
        if not self._line_up(now_ms):
            return []
        self.journal.line_lost()
        if self._hello is None or self._hello not in self.journal:
            self._hello = self._capture_hello(now_ms)
        self._observe(now_ms)
        return self._send(now_ms)

    def leaving(self, now_ms: int) -> list[bytes]:
        """This protocol has no word for it: the journal keeps what is not acknowledged."""
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        """Look at the vehicle, report what is due, send what may go."""
        if not self._live(now_ms):
            return []
        self._observe(now_ms)
        return self._send(now_ms)

    def next_tick(self, now_ms: int) -> int:
        """The next report, resend, or change of the vehicle by its own life."""
        power = self._power_moments(now_ms)
        if not self.runs and power is not None:
            return max(now_ms, power)
        if self._state_at is None:
            return now_ms
        over = self.over_budget(now_ms)
        soonest = self._heartbeat_due_ms
        for moment in (
            power,
            self.vehicle.next_change_ms,
            None if over else self._state_due_ms,
            None if over else self._motion.next_ms(now_ms),
            self.journal.next_due_ms(now_ms, only_urgent=over) if self.has_line else None,
        ):
            if moment is not None and moment < soonest:
                soonest = moment
        return soonest if soonest > now_ms else now_ms

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take in what came down: frames of the gateway, each on its own; everything else is dropped and counted."""
        if self.runs and (told := self._speaker.acknowledged(payload)) is not None:  # what comes all the time, and moves nothing
            self._hear_ack(*told, now_ms)
            return self._send(now_ms)
        if not self._live(now_ms):
            return []
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            self.refused["oversized"] += 1
            return []
        for cut in PROTOCOL.split(payload):
            try:
                if cut.error is not None:
                    raise cut.error
                self._take(PROTOCOL.decode(cut.data, self._peer), now_ms)
            except ProtocolError as error:
                self.refused[error.reason] += 1
        return self._send(now_ms)

    def _hear_ack(self, cumulative: int, bitmap: int, now_ms: int) -> None:
        try:
            self._take_ack(cumulative, bitmap, now_ms)
        except ProtocolError as error:
            self.refused[error.reason] += 1

    def _take(self, frame: Frame, now_ms: int) -> None:
        match frame.kind:
            case "ack":
                self._take_ack(frame.facts["cumulative"], frame.facts["bitmap"], now_ms)
            case "command":
                self._take_command(frame.facts["envelope"], now_ms)
            case "time" if self._is_newer(frame):
                self.rtc.set(frame.facts["seconds"] * 1000 + frame.facts["milliseconds"], now_ms)
            case "config" if self._is_newer(frame):
                self._take_config(frame.facts)
            case "time" | "config":
                self.refused["expired"] += 1
            case _:
                self.refused["forged"] += 1

    def _is_newer(self, frame: Frame) -> bool:
        """Settings older than what was taken before are a recording: they would turn back the clock, and so expiry."""
        said_ms = frame.captured_at or 0
        if said_ms < self.flash.settled_ms:
            return False
        self.flash.settled_ms = said_ms
        self._unsaved = True
        return True

    def _take_config(self, facts: Mapping[str, Any]) -> None:
        intervals = (facts["driving_interval"], facts["parked_interval"], facts["heartbeat_interval"])
        if 0 in intervals:
            raise ProtocolError("malformed", 24, "intervals", expected="1 s or more")
        self.flash.intervals_s = intervals
        self._take_intervals()

    def _take_ack(self, cumulative: int, bitmap: int, now_ms: int) -> None:
        if ahead(cumulative, self.flash.sequence) > 0:
            raise ProtocolError("malformed", 24, "cumulative", expected=f"at most {self.flash.sequence}", found=f"{cumulative}")
        self._unsaved |= self.journal.acknowledge(cumulative, bitmap) > 0
        oldest = self.journal.oldest
        waits_in_vain = oldest is not None and ahead(oldest, cumulative) > 1
        if waits_in_vain and (self._gap_told_at is None or now_ms - self._gap_told_at >= GAP_NOTICE_MS):
            self._gap_told_at = now_ms
            self._capture_heartbeat(now_ms, urgent=True)

    def _take_command(self, sealed: bytes, now_ms: int) -> None:
        self._wake_up(now_ms)
        self._observe(now_ms)
        response = self.gate.admit(sealed, now_ms, partial(obey_code, self.vehicle))
        if response is not None:
            self._capture("result", now_ms, {"envelope": response}, urgent=True)
            self._capture_state(now_ms, urgent=True)

    @property
    def _state_due_ms(self) -> int | None:
        if self._state_at is None or self.resting:
            return None
        return self._state_at + (self._driving_ms if self.vehicle.ignition else self._parked_ms)

    def _state_is_due(self, now_ms: int) -> bool:
        due = self._state_due_ms
        return (due is not None and now_ms >= due) or self._motion.is_due()

    @property
    def _heartbeat_due_ms(self) -> int:
        return (self._heartbeat_at or self.booted_at or 0) + (self._asleep_ms if self.resting else self._beat_ms)

    def _observe(self, now_ms: int) -> None:
        """Capture what there is to tell: a change at once, a state and a heartbeat when they are due."""
        if self._hello is None:
            self._hello = self._capture_hello(now_ms)
        if self._state_at is None or (not self.over_budget(now_ms) and self._state_is_due(now_ms)):
            self._capture_state(now_ms)
        elif (told := self.senses.change()) is not None:
            self._capture_report("event", now_ms, tuple(told), list(told.values()), urgent=self.over_budget(now_ms))
        if (card := self.senses.untold_card()) is not None:
            self._capture_card(card, now_ms)
        if self.supply_is_low is not self._told_low:
            self._told_low = self.supply_is_low
            self._capture_supply(now_ms)
        if now_ms >= self._heartbeat_due_ms:
            self._capture_heartbeat(now_ms)

    def _capture_state(self, now_ms: int, *, urgent: bool = False) -> None:
        self._state_at = now_ms
        self._motion.told()
        (names, raws), row = self.senses.tell()
        vehicle = self.vehicle.bare
        place = self.vehicle.here if row is None else vehicle.here
        own = own_values(vehicle, place, vehicle.row() if row is None else row)
        own += (self.reset_cause, self._uptime_s(now_ms), len(self.journal), self.flash.forgotten)
        self._capture_report("state", now_ms, STATE_OF_ITS_OWN + names, own + raws, urgent=urgent)

    def _capture_hello(self, now_ms: int) -> int:
        major, minor, patch = self.config.firmware
        facts = {
            "firmware": {"major": major, "minor": minor, "patch": patch},
            "hardware": self.config.hardware,
            "model_configuration": self.config.model_configuration,
            "features": FEATURES,
            "iccid": iccid(self._id),
            "reset_cause": self.reset_cause,
        }
        return self._capture("hello", now_ms, facts, urgent=True)

    def _capture_supply(self, now_ms: int) -> None:
        own = own_facts(self.vehicle)
        told = {name: own[name] for name in ("latitude", "longitude", "supply_voltage", "backup_voltage")}
        self._capture("event", now_ms, signals=told | {"cause": SUPPLY_CAUSE}, urgent=True)

    def _because_of_fob(self) -> None:
        self.senses.because(FOB_CAUSE)

    def _because_of_card(self, card: str) -> None:
        self.senses.because(FOB_CAUSE, card_number(card))

    def _capture_card(self, card: int, now_ms: int) -> None:
        own = own_facts(self.vehicle)
        told = {"latitude": own["latitude"], "longitude": own["longitude"], "cause": FOB_CAUSE, "card": card}
        self._capture("event", now_ms, signals=told, urgent=True)

    def _capture_heartbeat(self, now_ms: int, *, urgent: bool = False) -> None:
        self._heartbeat_at = now_ms
        uptime_s, millivolts = self._uptime_s(now_ms), supply_mv(self.vehicle)
        sequence, oldest = self._numbers()
        self._keep("heartbeat", now_ms, sequence, HEARTBEAT_BODY.pack(uptime_s, millivolts, oldest), urgent=urgent)

    def _uptime_s(self, now_ms: int) -> int:
        return max(0, now_ms - (self.booted_at or 0)) // 1000

    def _capture_report(
        self, kind: str, now_ms: int, names: tuple[str, ...], values: Sequence[Any], *, urgent: bool = False
    ) -> None:
        """A state or an event; where a signal is named twice the last one counts."""
        layout = layout_of(names)
        sequence, oldest = self._numbers()
        try:
            body = None if layout is None else layout.body((oldest, *values))
        except struct.error:
            body = None
        if body is None:  # the protocol's own words for what is odd
            self._capture(kind, now_ms, signals=dict(zip(names, values, strict=True)), urgent=urgent)
        else:
            self._keep(kind, now_ms, sequence, body, urgent=urgent)

    def _capture(
        self,
        kind: str,
        now_ms: int,
        facts: Mapping[str, Any] | None = None,
        signals: Mapping[str, Any] | None = None,
        *,
        urgent: bool = False,
    ) -> int:
        """Put a frame into the journal, as it will be sent for ever; its sequence number."""
        sequence, oldest = self._numbers()
        told = {"oldest_sequence": oldest}
        captured_at = self.rtc.read(now_ms)
        reports = () if signals is None else (Report(b"", captured_at, {**signals, **told}, sequence),)
        frame = Frame(kind, self._id, sequence, captured_at, reports, {**told, **(facts or {}), "flags": self._flags()})
        return self._journalled(sequence, PROTOCOL.encode(frame, self.config.seal_key), urgent=urgent)

    def _keep(self, kind: str, now_ms: int, sequence: int, body: bytes, *, urgent: bool) -> int:
        """The same for a frame whose body is made."""
        data = self._speaker.frame(CODES[kind], self._flags(), sequence, self.rtc.read(now_ms), body)
        return self._journalled(sequence, data, urgent=urgent)

    def _numbers(self) -> tuple[int, int]:
        """The next frame's sequence number, and the oldest one with it in the journal, which has room for it."""
        self.journal.make_room()
        sequence = (self.flash.sequence + 1) % SEQUENCE_MODULUS
        oldest = self.journal.oldest
        return sequence, sequence if oldest is None else oldest

    def _flags(self) -> int:
        return (DRIVING if self.vehicle.ignition else 0) | (0 if self.rtc.synchronised else CLOCK_UNSYNCHRONISED)

    def _journalled(self, sequence: int, data: bytes, *, urgent: bool) -> int:
        self.journal.append(sequence, data, urgent=urgent)
        self.flash.sequence = sequence
        self._unsaved = True
        return sequence

    def _send(self, now_ms: int) -> list[bytes]:
        if self._unsaved:
            self._store(self.flash)
            self._unsaved = False
        due = self.journal.due(now_ms, only_urgent=self.over_budget(now_ms)) if self.has_line else []
        if not due:
            return []
        self.journal.sent([sequence for sequence, _ in due], now_ms)
        return self._spent(self._together(data for _, data in due), now_ms)

    def _together(self, frames: Iterable[bytes]) -> list[bytes]:
        """These frames in as few payloads as may be."""
        payloads: list[bytearray] = []
        for data in frames:
            opens = data[2] == RESULT_CODE  # a result stays together with the state behind it
            if not payloads or opens or len(payloads[-1]) + len(data) > PAYLOAD_BYTES:
                payloads.append(bytearray())
            payloads[-1] += data
        return [bytes(payload) for payload in payloads]
