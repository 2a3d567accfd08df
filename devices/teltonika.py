"""A Teltonika unit's firmware, sans-io: a login, then records in batches until their count is acknowledged; Codec 12 commands.

Answers carry no number: the n-th answer answers the n-th packet. So a unit that has waited too long logs in again, and whatever
is answered before that login is answered is of the past.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from devices.config import UnitConfig
from devices.flash import Flash, Store, volatile
from devices.gate import Gate, obey_code
from devices.journal import SEQUENCE_MODULUS, Journal
from devices.power import PoweredUnit
from devices.reports import Reports
from devices.rtc import Rtc
from devices.senses import FOB_CAUSE, Senses, card_number
from devices.vehicle import Vehicle
from protocols.codec import PAYLOAD_LIMIT_BYTES, ProtocolError
from protocols.teltonika import PROTOCOL
from protocols.teltonika_layouts import CODEC_8E, CODEC_12, RESPONSE
from protocols.teltonika_session import Answer, avl, login, message, read_answer, record

BATCH_RECORDS = 8
"""Records of 60 to 120 bytes: within the vendor's 1,280 bytes a packet."""

RFID: Final = "io_207"
"""AVL id 207: the number of the RFID card that was shown."""

RETRY_FIRST_MS = 10_000
RETRY_LIMIT_MS = 300_000
REJECTED_RETRY_MS = 300_000

_LOGIN: Final = ()
"""Stands for a login among the packets that wait for their answer: it carries no records."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A packet that waits for its answer, with the journal's numbers of its records."""

    sequences: tuple[int, ...]


class TeltonikaUnit(PoweredUnit):
    """One tracker that is switched on. See `devices.firmware.Firmware` for the calls.

    The journal holds each record as a packet of one; a batch is put together when it goes out.
    """

    def __init__(self, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile, reset_cause: int = 0) -> None:
        super().__init__(config, flash, vehicle, store, reset_cause)
        self._imei = config.unit.telematics_unit_id
        self.senses = Senses(config.translation, vehicle)
        self.rtc = Rtc(config.clock_error_ms, config.synchronised)
        self.gate = Gate(self._imei, config.command_keys, flash, store, self.rtc, config.entropy)
        self._boot()

    def _boot(self) -> None:
        self.senses.forget()
        self._reports = Reports(self.vehicle, self.senses, self.config.intervals, self.behaviour)
        self.journal = Journal(self.flash, self.config.journal_capacity)
        self._logged_in = False
        self._waiting: deque[_Sent] = deque()
        self._batch: tuple[int, ...] = ()
        self._retry_at = 0
        self._retries = 0

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands: log in. Records wait for the answer."""
        if not self._line_up(now_ms):
            return []
        self._reports.wake(now_ms)
        self._retries = 0
        self._observe(now_ms)
        return self._spent([self._log_in(now_ms)], now_ms)

    def _line_lost(self, now_ms: int) -> None:
        self._logged_in = False
        self._waiting.clear()

    def leaving(self, now_ms: int) -> list[bytes]:
        """This protocol has no word for it."""
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        """Look at the vehicle, record what is due, send what may go, log in again where no answer came."""
        if not self._live(now_ms):
            return []
        self._reports.wake(now_ms, self.resting or self.over_budget(now_ms))
        self._observe(now_ms)
        return self._spent(self._send(now_ms), now_ms)

    def next_tick(self, now_ms: int) -> int:
        """The next record, keep-alive, retry, or change of the vehicle by its own life."""
        power = self._power_moments(now_ms)
        if not self.runs and power is not None:
            return max(now_ms, power)
        due_ms = self._reports.next_ms(now_ms)
        if self.has_line and self._waits:
            due_ms = min(due_ms, self._retry_at)
        return max(now_ms, due_ms if power is None else min(power, due_ms))

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take in an answer, or Codec 12 commands; everything else is dropped and counted."""
        if not self._live(now_ms):
            return []
        self._reports.wake(now_ms)
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            self.refused["oversized"] += 1
            return []
        said: list[bytes] = []
        try:
            self._take_answer(read_answer(payload), now_ms)
        except ProtocolError:
            said = self._take_commands(payload, now_ms)
        return self._spent(said + self._send(now_ms), now_ms)

    @property
    def _waits(self) -> bool:
        return not self._logged_in or bool(self._waiting) or len(self.journal) > 0

    def _take_answer(self, answer: Answer, now_ms: int) -> None:
        """An answer that does not fit what waits longest is of the past, or somebody else's."""
        first = self._waiting[0] if self._waiting else None
        if first is None or answer.login is not (first.sequences == _LOGIN):
            return
        self._waiting.popleft()
        if answer.login:
            self._logged_in = answer.accepted == 1
            self._retry_at = now_ms if self._logged_in else now_ms + REJECTED_RETRY_MS
        elif answer.accepted == len(first.sequences):
            self._acknowledged(first.sequences)
            self._retries, self._retry_at = 0, now_ms
            if self._waiting:
                self._put_off(now_ms)
        else:
            self._put_off(now_ms)

    def _acknowledged(self, sequences: tuple[int, ...]) -> None:
        for sequence in sequences:
            self.journal.release(sequence)
        if sequences == self._batch:
            self._batch = ()
        self._store(self.flash)

    def _take_commands(self, payload: bytes, now_ms: int) -> list[bytes]:
        said: list[bytes] = []
        for cut in PROTOCOL.split(payload):
            try:
                if cut.error is not None:
                    raise cut.error
                frame = PROTOCOL.decode(cut.data)
                if frame.kind != "command" or "envelope" not in frame.facts or frame.facts["codec"] != CODEC_12:
                    raise ProtocolError("forged", field="type", expected="a command in an envelope", found=frame.kind)
            except ProtocolError as error:
                self.refused[error.reason] += 1
                continue
            self._wake_up(now_ms)
            response = self.gate.admit(frame.facts["envelope"], now_ms, partial(obey_code, self.vehicle))
            if response is not None:
                said.append(self._result(response, now_ms))
        return said

    def _result(self, response: bytes, now_ms: int) -> bytes:
        """The response with the record after it: the record waits for its own answer, behind what waits already."""
        sequence = self._capture(now_ms)
        self._store(self.flash)
        self._waiting.append(_Sent((sequence,)))
        if len(self._waiting) == 1:
            self._put_off(now_ms)
        return PROTOCOL.encode(message(CODEC_12, RESPONSE, response)) + self.flash.journal[sequence]

    def _observe(self, now_ms: int) -> None:
        if self._reports.state_is_due(now_ms):
            self._capture(now_ms)
            self._store(self.flash)

    def _capture(self, now_ms: int) -> int:
        """Put a record into the journal, as it will be sent for ever; its number there."""
        self._reports.state_told(now_ms)
        signals = fix(self.vehicle) | self.senses.all()
        if (card := self.senses.untold_card()) is not None:
            signals = signals | {RFID: card}
        said = record(CODEC_8E, self.rtc.read(now_ms), signals)
        self.journal.make_room()
        self.flash.sequence = (self.flash.sequence + 1) % SEQUENCE_MODULUS
        self.journal.append(self.flash.sequence, PROTOCOL.encode(avl(CODEC_8E, [said])))
        return self.flash.sequence

    def _because_of_card(self, card: str) -> None:
        if (number := card_number(card)) is not None:
            self.senses.because(FOB_CAUSE, number)

    def _send(self, now_ms: int) -> list[bytes]:
        if not self.has_line:
            return []
        beat = [PROTOCOL.encode(_KEEP_ALIVE)] if self._reports.heartbeat_is_due(now_ms) else []
        if now_ms < self._retry_at or not self._waits:
            return beat
        if self._waiting or not self._logged_in:
            return [*beat, self._log_in(now_ms)]
        if not self._batch or self._batch[0] not in self.journal:
            self._batch = tuple(self.journal.oldest_frames(BATCH_RECORDS))
        self._waiting.append(_Sent(self._batch))
        self._put_off(now_ms)
        return [*beat, _together([self.flash.journal[sequence] for sequence in self._batch])]

    def _log_in(self, now_ms: int) -> bytes:
        self._logged_in = False
        self._waiting = deque([_Sent(_LOGIN)])
        self._put_off(now_ms)
        return PROTOCOL.encode(login(self._imei))

    def _put_off(self, now_ms: int) -> None:
        """The next try: later each time, until something is acknowledged."""
        self._retry_at = now_ms + min(RETRY_FIRST_MS << min(self._retries, 10), RETRY_LIMIT_MS)
        self._retries += 1


_KEEP_ALIVE = PROTOCOL.decode(b"\xff")


def fix(vehicle: Vehicle) -> dict[str, int]:
    """What every record says of the receiver's fix."""
    place = vehicle.here
    return {
        "longitude": round(place.longitude * 1e7),
        "latitude": round(place.latitude * 1e7),
        "altitude": round(vehicle.altitude_m),
        "angle": round(place.heading) % 360,
        "satellites": vehicle.satellites,
        "speed": round(vehicle.speed_kmh),
    }


def _together(packets: list[bytes]) -> bytes:
    """One packet with the records of all."""
    if len(packets) == 1:
        return packets[0]
    records: list[Mapping[str, Any]] = []
    for packet in packets:
        records += PROTOCOL.decode(packet).facts["data"]["records"]
    return PROTOCOL.encode(avl(CODEC_8E, records))
