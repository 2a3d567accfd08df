"""The short way through a CloudBoxx firmware: what thousands of units do every second, without asking what does not matter then.

Says and keeps what `devices.unit.Unit` does, byte for byte; where anything else is to be done, that is asked, and nothing has
happened yet.
"""

import math
import struct
from typing import Any

from devices.journal import SEQUENCE_MODULUS, ahead
from devices.physics import CHARGING, IGNITION, SPEED, Row
from devices.power import DATA_PERIOD_MS, Phase
from devices.senses import own_values
from devices.shown import LOCKED, onboard_volts
from devices.unit import STATE_OF_ITS_OWN, Unit, layout_of
from devices.vehicle import Vehicle
from protocols.cloudboxx import CLOCK_UNSYNCHRONISED, CODES, DRIVING
from protocols.hotpath.quick import Layout

STATE_CODE = CODES["state"]
_ONLINE = Phase.ONLINE

Marks = tuple[int, int, int, int, int, int, int, int, int]
"""Of a state frame: flags, sequence, seconds, milliseconds, oldest sequence; reset cause, uptime, the journal's frames, and how
many it has forgotten."""


def is_still(row: Row) -> bool:
    """Whether a vehicle stands locked, neither driven nor charged: its unit may sleep."""
    return row[LOCKED] > 0 and not (row[IGNITION] > 0 or row[SPEED] > 0 or row[CHARGING] > 0)


class BriefUnit(Unit):
    """A `devices.unit.Unit` that knows the short way. `standing` is for `devices.together`, which knows it for many."""

    standing: Any = None
    _names: tuple[str, ...] = ()
    _layout: Layout | None = None

    def brief(self, now_ms: int) -> tuple[list[bytes], int] | None:
        """See `devices.firmware.Firmware`: here, where a state is due, or the vehicle's driver did what nobody sees."""
        vehicle = self.open_to_brief(now_ms)
        if vehicle is None or not vehicle.columns.led:
            return None
        steady = vehicle.steady(now_ms)
        if steady is None:  # its driver acts
            vehicle.advance(now_ms)
            steady = vehicle.steady(now_ms)
        if steady is None or self._state_at is None:
            return None
        row, changes = steady
        drives, changes_ms = row[IGNITION] > 0, math.inf if changes is None else changes
        interval_ms = self.interval_ms(drives)
        volts = onboard_volts(vehicle.system_voltage, row)
        supply = vehicle.supply_volts(volts) * 12.0 / vehicle.system_voltage
        if not self.stays_as_it_is(is_still(row), supply, now_ms):
            return None
        if not self.state_is_over(now_ms, interval_ms):
            unsaid = self._unsaved or self._motion.is_due() or self.senses.has_news() or self.journal.due(now_ms)
            return None if unsaid else ([], self._next_ms(now_ms, interval_ms, changes_ms, self.journal.next_due_ms(now_ms)))
        marks = self.marks(drives, now_ms)
        data = self._state(vehicle, row, volts, marks)
        return None if data is None else self.has_said(data, marks, now_ms, interval_ms, changes_ms)

    def open_to_brief(self, now_ms: int) -> Vehicle | None:
        """Its vehicle, if it sees that as it is, has told its state before, and has nothing else on its mind."""
        return self.vehicle.undisturbed if self._state_at is not None and self._nothing_else(now_ms) else None

    def interval_ms(self, drives: bool) -> int:
        """How often it tells its vehicle's state."""
        return self._driving_ms if drives else self._parked_ms

    def state_is_over(self, now_ms: int, interval_ms: int) -> bool:
        """Whether the next state is due."""
        return self._state_at is not None and now_ms >= self._state_at + interval_ms

    def stays_as_it_is(self, still: bool, supply: float, now_ms: int) -> bool:
        """Whether neither sleep nor `supply`, in volts of a 12 V system, are to be looked at."""
        return supply >= self.behaviour.low_volts and self._stays_awake(still, now_ms)

    def marks(self, drives: bool, now_ms: int) -> Marks:
        """What its next state begins and ends with."""
        flash = self.flash
        sequence = (flash.sequence + 1) % SEQUENCE_MODULUS
        flags = (DRIVING if drives else 0) | (0 if self.rtc.synchronised else CLOCK_UNSYNCHRONISED)
        seconds, milliseconds = divmod(self.rtc.read(now_ms), 1000)
        journal = flash.journal
        oldest = next(iter(journal)) if journal else sequence
        uptime_s = max(0, now_ms - (self.booted_at or 0)) // 1000
        return flags, sequence, seconds, milliseconds, oldest, self.reset_cause, uptime_s, len(journal), flash.forgotten

    def has_said(self, data: bytes, marks: Marks, now_ms: int, interval_ms: int, changes_ms: float) -> tuple[list[bytes], int]:
        """That is its state: it is kept and stored. What goes out, and when to look again; its vehicle changes at `changes_ms`.

        Raises OSError where the flash cannot be written.
        """
        flash, journal = self.flash, self.journal
        self._state_at = now_ms
        if not self._motion.is_never_due:
            self._motion.told()
        journal.append(marks[1], data)
        flash.sequence = marks[1]
        self._unsaved = True
        self._store(flash)
        self._unsaved = False
        frames, journal_ms = journal.go(now_ms)
        said = self._spent(frames if len(frames) == 1 else self._together(frames), now_ms)
        budget = self.behaviour.data_budget_bytes
        if budget and flash.data_bytes >= budget:  # used up with this
            return said, self.next_tick(now_ms)
        return said, self._next_ms(now_ms, interval_ms, changes_ms, journal_ms)

    def _next_ms(self, now_ms: int, interval_ms: int, changes_ms: float, journal_ms: int | None) -> int:
        """As `next_tick`."""
        state_ms = now_ms if self._state_at is None else self._state_at + interval_ms
        soonest: float = min(self._heartbeat_due_ms, state_ms, changes_ms)
        moving_ms = None if self._motion.is_never_due else self._motion.next_ms(now_ms)
        for moment in (journal_ms, moving_ms, None if self._still_since is None else self._sleeps_ms()):
            if moment is not None and moment < soonest:
                soonest = moment
        return int(soonest) if soonest > now_ms else now_ms

    def took_ack(self, payload: bytes, now_ms: int) -> bool:
        """See `devices.firmware.Firmware`."""
        if self.phase is not _ONLINE or self._hung_at is not None:
            return False
        told = self._speaker.acknowledged(payload)
        if told is None or ahead(told[0], self.flash.sequence) > 0:
            return False
        self._unsaved |= self.journal.acknowledge(*told) > 0
        oldest = self.journal.oldest
        if oldest is not None and (ahead(oldest, told[0]) > 1 or self.journal.due(now_ms)):
            return False
        if self._unsaved:
            self._store(self.flash)
            self._unsaved = False
        return True

    def _nothing_else(self, now_ms: int) -> bool:
        """Whether it is on its line and awake, and neither supply, heartbeat, card, budget nor a full journal wants anything."""
        flash, budget = self.flash, self.behaviour.data_budget_bytes
        return (
            self.phase is _ONLINE
            and self._hung_at is None
            and self.has_line
            and self._hello is not None
            and not (self.resting or self.supply_is_low or self._told_low)
            and now_ms < (self._heartbeat_at or self.booted_at or 0) + self._beat_ms
            and self.senses.is_plain
            and len(flash.journal) < self.journal.capacity
            and not (budget and (flash.data_bytes >= budget or now_ms // DATA_PERIOD_MS != flash.data_period))
        )

    def _stays_awake(self, still: bool, now_ms: int) -> bool:
        """As `_rest`, where it does not fall asleep."""
        if not still:
            self._still_since = None
            return True
        if self._still_since is None:
            self._still_since = now_ms
        sleeps_ms = self._sleeps_ms()
        return sleeps_ms is None or now_ms < sleeps_ms

    def _sleeps_ms(self) -> int | None:
        if self._still_since is None or not self.behaviour.sleep_after_s:
            return None
        return self._still_since + 1000 * self.behaviour.sleep_after_s

    def _state(self, vehicle: Vehicle, row: Row, volts: float, marks: Marks) -> bytes | None:
        """As `_capture_state`: the frame. None: it is for the protocol's own words."""
        (names, raws), _ = self.senses.tell(row, volts)
        if names is not self._names:  # as a rule it is the same object
            self._names, self._layout = names, layout_of(STATE_OF_ITS_OWN + names)
        own = own_values(vehicle, vehicle.here, row, volts)
        flags, sequence, seconds, milliseconds, oldest, *at = marks
        try:
            if self._layout is None:
                return None
            body = self._layout.body((oldest, *own, *at, *raws))
            return self._speaker.frame(STATE_CODE, flags, sequence, 1000 * seconds + milliseconds, body)
        except struct.error:
            return None
