"""A GB/T 32960.3 unit's firmware (2016), sans-io: login, time, realtime reports, reissue of what was stored, commands.

An answer gives back the command and the time of what it answers, so that is how an answer finds its report. A time is a whole
second: no two reports say the same one, or the second could be taken for the first come again. Where the platform does not
answer valid reports (annex B.2.1, the brand's `answers` false), a report that went out counts as arrived.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from devices.alarms import SECOND_MS, AlarmWatch, graded
from devices.config import UnitConfig
from devices.flash import Flash, Store, volatile
from devices.gate import Gate, obey_code
from devices.journal import SEQUENCE_MODULUS, Journal
from devices.power import PoweredUnit
from devices.reports import Reports
from devices.rtc import Rtc
from devices.senses import Senses, iccid
from devices.vehicle import Vehicle
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, ProtocolError
from protocols.gbt32960 import LOGIN, OK, PROTOCOL, REALTIME, REISSUE, REPORTS, TIME_SYNC, unix_ms
from protocols.gbt32960_session import SEQUENCE_LIMIT, heartbeat, login, logout, reissued, report, result, time_sync

REPORT_LIMIT_S = 30
"""The longest between two realtime reports (5.3.2 of part 3, table 1 of annex B)."""

LOGIN_RETRY_MS = 60_000
LOGIN_TRIES = 3
LOGIN_PAUSE_MS = 30 * 60_000
"""After three logins without an answer (annex B.2.1)."""

TIME_SYNC_MS = 24 * 3600_000
TIME_SYNC_RETRY_MS = 60_000
CLOCK_TOLERANCE_MS = 2_000
"""The standard's times are whole seconds: a clock that is no further off is left alone."""

SET_BACK_MS = 60_000
"""A last report further ahead of the clock than this was made before the clock was set back."""

PAYLOAD_BYTES = 16 * 1024
WAITING_LIMIT = 256
"""Transmissions whose answers are still looked for; older ones are given up."""

DAY_MS = 24 * 3600_000
BEIJING_MS = 8 * 3600_000
FIRST_MS: Final = 946_656_000_000
LAST_MS: Final = 4_102_415_999_000
"""The times that the standard can say: from 2000 to 2099, Beijing time."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A report on its way, with its number in the journal; an answer names `command` and `at`, Unix ms."""

    command: int
    at: int
    sequence: int


class Gbt32960Unit(PoweredUnit):
    """One on-board terminal that is switched on. See `devices.firmware.Firmware` for the calls.

    The journal holds each report as the realtime frame that was captured; sent again, or late, it goes out as a reissue.
    """

    def __init__(self, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile, reset_cause: int = 0) -> None:
        super().__init__(config, flash, vehicle, store, reset_cause)
        self._unit = config.unit.telematics_unit_id
        self.senses = Senses(config.translation, vehicle)
        self.rtc = Rtc(config.clock_error_ms, config.synchronised)
        self.gate = Gate(self._unit, config.command_keys, flash, store, self.rtc, config.entropy)
        self._answered = config.translation.brand.answers
        self._says_alarms = "alarm_flags" in config.translation.invert(vehicle.state())
        self._boot()

    def _boot(self) -> None:
        self.senses.forget()
        self._reports = Reports(self.vehicle, self.senses, self.config.intervals, self.behaviour, REPORT_LIMIT_S)
        self.journal = Journal(self.flash, self.config.journal_capacity)
        self._logged_in = self._unsaved = False
        self._login_at = 0
        self._login_tries = 0
        self._sync_at = 0
        self._asked_time = False
        self._waiting: deque[_Sent] = deque(maxlen=WAITING_LIMIT)
        self._stale: set[int] = set(self.flash.journal)
        self._alarms = AlarmWatch()
        self._reported_at = self._second_at = 0

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands: log in. Reports are stored until that is answered."""
        if not self._line_up(now_ms):
            return []
        self._login_at, self._login_tries = now_ms, 0
        self.journal.line_lost()
        return self.tick(now_ms)

    def _line_lost(self, now_ms: int) -> None:
        """Reports are stored, and those under way are to be reissued."""
        self._logged_in = self._asked_time = False
        self._waiting.clear()
        self._stale.update(self.flash.journal)

    def leaving(self, now_ms: int) -> list[bytes]:
        """Log out."""
        if not (self.has_line and self._logged_in):
            return []
        self._logged_in = False
        return [PROTOCOL.encode(logout(self._unit, self._clock_ms(now_ms), self.flash.login_number))]

    def tick(self, now_ms: int) -> list[bytes]:
        """Look at the vehicle, report what is due, send what may go, ask again where no answer came."""
        if not self._live(now_ms):
            return []
        self._reports.wake(now_ms, self.resting or self.over_budget(now_ms))
        self._observe(now_ms)
        return self._spent(self._send(now_ms), now_ms)

    def next_tick(self, now_ms: int) -> int:
        """The next report, heartbeat, retry, second that is kept, or change of the vehicle by its own life."""
        power = self._power_moments(now_ms)
        if not self.runs and power is not None:
            return max(now_ms, power)
        moments: list[int | None] = [power, self._second_at or self._reports.next_ms(now_ms)]
        if self._watches and not self._second_at:
            moments.append(self._alarms.sampled_ms + SECOND_MS)
        if self._alarms.is_close(now_ms) and not self._second_at:
            moments.append(self._reported_at + SECOND_MS)
        if self.has_line:
            session = (self._sync_at, self.journal.next_due_ms(now_ms)) if self._logged_in else (self._login_at,)
            moments += session
        return max(now_ms, min(moment for moment in moments if moment is not None))

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take in answers and control commands; everything else is dropped and counted."""
        if not self._live(now_ms):
            return []
        self._reports.wake(now_ms)
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            self.refused["oversized"] += 1
            return []
        said: list[bytes] = []
        for cut in PROTOCOL.split(payload):
            try:
                if cut.error is not None:
                    raise cut.error
                said += self._take(PROTOCOL.decode(cut.data), now_ms)
            except ProtocolError as error:
                self.refused[error.reason] += 1
        return self._spent(said + self._send(now_ms), now_ms)

    def _take(self, frame: Frame, now_ms: int) -> list[bytes]:
        if frame.unit != self._unit:
            raise ProtocolError("identity_mismatch", 4, "vin", expected=self._unit, found=str(frame.unit))
        if frame.kind == "command" and "envelope" in frame.facts:
            self._wake_up(now_ms)
            response = self.gate.admit(frame.facts["envelope"], now_ms, partial(obey_code, self.vehicle))
            return [] if response is None else [self._result(response, now_ms)]
        if frame.kind != "answer":
            raise ProtocolError("forged", 2, "command", expected="an answer, or a command in an envelope", found=frame.kind)
        command, flag = frame.facts["command"], frame.facts["flag"]
        if command == LOGIN and flag == OK and self.has_line and not self._logged_in:
            self._logged_in, self._sync_at = True, now_ms
        elif command == TIME_SYNC and flag == OK and "time" in frame.facts["body"]:
            self._take_time(unix_ms(frame.facts["body"]["time"]), now_ms)
        elif command in REPORTS and frame.captured_at is not None:
            self._take_answer(command, frame.captured_at)
        return []

    def _take_answer(self, command: int, at: int) -> None:
        """Whichever way it was judged: a report that the platform calls wrong would be called so again."""
        sent = next((each for each in self._waiting if (each.command, each.at) == (command, at)), None)
        if sent is not None:
            self._waiting.remove(sent)
            self._drop(sent.sequence)

    def _drop(self, sequence: int) -> None:
        self.journal.release(sequence)
        self._stale.discard(sequence)
        self._unsaved = True

    def _take_time(self, said_ms: int, now_ms: int) -> None:
        """Only an own question is answered; whoever else says a time is not believed."""
        if not self._asked_time:
            return
        self._asked_time, self._sync_at = False, now_ms + TIME_SYNC_MS
        if not self.rtc.synchronised or abs(self.rtc.read(now_ms) - said_ms) > CLOCK_TOLERANCE_MS:
            self.rtc.set(said_ms, now_ms)

    def _result(self, response: bytes, now_ms: int) -> bytes:
        sequence = self._capture(now_ms)
        self._save()
        said = PROTOCOL.encode(result(self._unit, self._clock_ms(now_ms), response))
        return said + (self._outgoing(sequence, now_ms) if self._logged_in else b"")

    def _clock_ms(self, now_ms: int) -> int:
        return min(max(self.rtc.read(now_ms), FIRST_MS), LAST_MS)

    def _said_ms(self, now_ms: int) -> int:
        """The time of a report that is made now: the clock's second, or the next that no report has said."""
        second_ms, last_ms = self._clock_ms(now_ms) // SECOND_MS * SECOND_MS, self.flash.captured_ms
        taken = 0 <= last_ms - second_ms <= SET_BACK_MS
        return min(last_ms + SECOND_MS, LAST_MS) if taken else second_ms

    @property
    def _watches(self) -> bool:
        return self._says_alarms and self.vehicle.ignition

    def _observe(self, now_ms: int) -> None:
        """Report what is due. What happens in a second that has its report waits for the next: only a command's does not."""
        close = self._alarms.is_close(now_ms) and now_ms >= self._reported_at + SECOND_MS
        self._second_at = 0
        if close or self._reports.state_is_due(now_ms):
            ahead_ms = self._said_ms(now_ms) - self._clock_ms(now_ms)
            if ahead_ms > 0:
                self._second_at = now_ms + ahead_ms
            else:
                self._capture(now_ms)
        elif self._watches and self._alarms.sample_is_due(now_ms):
            self._alarms.keep(now_ms, self._said_ms(now_ms), self._report(now_ms, self.senses.look()))

    def _report(self, now_ms: int, signals: Mapping[str, Any]) -> bytes:
        return PROTOCOL.encode(report(self._unit, self._said_ms(now_ms), graded(signals)))

    def _capture(self, now_ms: int) -> int:
        """Put a report into the journal, behind the seconds before it if it begins an alarm; its number there."""
        self._reports.state_told(now_ms)
        said_ms, signals = self._said_ms(now_ms), self.senses.all()
        data = self._report(now_ms, signals)
        for before in self._alarms.reported(now_ms, said_ms, graded(signals).get("alarm_level", 0)):
            self._stale.add(self._kept(before))
        self._reported_at, self.flash.captured_ms = now_ms, said_ms
        sequence = self._kept(data)
        if not self._logged_in:
            self._stale.add(sequence)
        return sequence

    def _kept(self, data: bytes) -> int:
        self.journal.make_room()
        self.flash.sequence = (self.flash.sequence + 1) % SEQUENCE_MODULUS
        self.journal.append(self.flash.sequence, data)
        self._unsaved = True
        return self.flash.sequence

    def _save(self) -> None:
        if self._unsaved:
            self._store(self.flash)
            self._unsaved = False

    def _send(self, now_ms: int) -> list[bytes]:
        said = self._session(now_ms) if self.has_line else []
        due = self.journal.due(now_ms) if self._logged_in else []
        self._save()
        payloads: list[bytearray] = []
        for sequence, _ in due:
            data = self._outgoing(sequence, now_ms)
            if not payloads or len(payloads[-1]) + len(data) > PAYLOAD_BYTES:
                payloads.append(bytearray())
            payloads[-1] += data
        self._save()
        return said + [bytes(payload) for payload in payloads]

    def _outgoing(self, sequence: int, now_ms: int) -> bytes:
        """The report's bytes as they go out: realtime the first time and at once, a reissue ever after."""
        data = self.flash.journal[sequence]
        frame = PROTOCOL.decode(data)
        again = sequence in self._stale
        self._stale.add(sequence)
        if again:
            data = PROTOCOL.encode(reissued(frame))
        self.journal.sent((sequence,), now_ms)
        if self._answered:
            self._waiting.append(_Sent(REISSUE if again else REALTIME, frame.captured_at or 0, sequence))
        else:
            self._drop(sequence)
        return data

    def _session(self, now_ms: int) -> list[bytes]:
        """What keeps the session: a login, the question for the time, a heartbeat."""
        if not self._logged_in:
            return [self._log_in(now_ms)] if now_ms >= self._login_at else []
        said = []
        if now_ms >= self._sync_at:
            self._asked_time, self._sync_at = True, now_ms + TIME_SYNC_RETRY_MS
            said.append(PROTOCOL.encode(time_sync(self._unit)))
        if self._reports.heartbeat_is_due(now_ms):
            said.append(PROTOCOL.encode(heartbeat(self._unit)))
        return said

    def _log_in(self, now_ms: int) -> bytes:
        clock_ms = self._clock_ms(now_ms)
        day = (clock_ms + BEIJING_MS) // DAY_MS
        number = self.flash.login_number % SEQUENCE_LIMIT + 1 if day == self.flash.login_day else 1
        self.flash.login_day, self.flash.login_number, self._unsaved = day, number, True
        self._login_tries += 1
        self._login_at = now_ms + (LOGIN_PAUSE_MS if self._login_tries % LOGIN_TRIES == 0 else LOGIN_RETRY_MS)
        return PROTOCOL.encode(login(self._unit, clock_ms, number, iccid(self._unit)))
