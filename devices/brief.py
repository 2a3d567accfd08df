"""The short way through a CloudBoxx firmware: what thousands of units do every second, without asking what does not matter then.

Says and keeps what `devices.unit.Unit` does, byte for byte; where anything else is to be done, that is asked, and nothing has
happened yet.
"""

import struct

from devices.journal import SEQUENCE_MODULUS, ahead
from devices.physics import CHARGING, IGNITION, SPEED, Row
from devices.power import LOW_SUPPLY_GAP_VOLTS, Phase
from devices.senses import own_values
from devices.shown import onboard_volts
from devices.unit import STATE_OF_ITS_OWN, Unit, layout_of
from devices.vehicle import Vehicle
from protocols.cloudboxx import CLOCK_UNSYNCHRONISED, CODES, DRIVING
from protocols.hotpath.quick import Layout

STATE_CODE = CODES["state"]


class BriefUnit(Unit):
    """A `devices.unit.Unit` that knows the short way."""

    _names: tuple[str, ...] = ()
    _layout: Layout | None = None

    def brief(self, now_ms: int) -> tuple[list[bytes], int] | None:
        """See `devices.firmware.Firmware`: here, where a state is due of a vehicle to which nothing happens, and nothing else."""
        vehicle = self.vehicle.undisturbed
        steady = None if vehicle is None or not self._nothing_else(now_ms) else vehicle.steady(now_ms)
        if vehicle is None or steady is None or self._state_at is None:
            return None
        row, changes_ms = steady
        interval_ms = self._driving_ms if row[IGNITION] > 0 else self._parked_ms
        volts = onboard_volts(vehicle.system_voltage, row)
        if (
            now_ms < self._state_at + interval_ms
            or vehicle.supply_volts(volts) * 12.0 / vehicle.system_voltage < self.behaviour.low_volts + LOW_SUPPLY_GAP_VOLTS
            or not self._stays_awake(vehicle, row, now_ms)
        ):
            return None
        data = self._state(vehicle, row, volts, now_ms)
        if data is None:
            return None
        frames, journal_ms = self.journal.go(now_ms)
        said = self._spent([data] if len(frames) == 1 and frames[0] is data else self._together(frames), now_ms)
        if self.behaviour.data_budget_bytes and self.over_budget(now_ms):  # used up with this
            return said, self.next_tick(now_ms)
        soonest = min(self._heartbeat_due_ms, now_ms + interval_ms)
        for moment in (changes_ms, journal_ms, self._motion.next_ms(now_ms), self._sleeps_ms()):
            if moment is not None and moment < soonest:
                soonest = moment
        return said, soonest if soonest > now_ms else now_ms

    def took_ack(self, payload: bytes, now_ms: int) -> bool:
        """See `devices.firmware.Firmware`."""
        if self.phase is not Phase.ONLINE or self._hung_at is not None:
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
        return (
            self.phase is Phase.ONLINE
            and self._hung_at is None
            and self.has_line
            and self._hello is not None
            and not (self.resting or self.supply_is_low or self._told_low)
            and now_ms < self._heartbeat_due_ms
            and self.senses.is_plain
            and len(self.flash.journal) < self.journal.capacity
            and not (self.behaviour.data_budget_bytes and self.over_budget(now_ms))
        )

    def _stays_awake(self, vehicle: Vehicle, row: Row, now_ms: int) -> bool:
        """As `_rest`, where it does not fall asleep."""
        if not vehicle.locked or row[IGNITION] > 0 or row[SPEED] > 0 or row[CHARGING] > 0:
            self._still_since = None
        elif self._still_since is None:
            self._still_since = now_ms
        sleeps_ms = self._sleeps_ms()
        return sleeps_ms is None or now_ms < sleeps_ms

    def _sleeps_ms(self) -> int | None:
        if self._still_since is None or not self.behaviour.sleep_after_s:
            return None
        return self._still_since + 1000 * self.behaviour.sleep_after_s

    def _state(self, vehicle: Vehicle, row: Row, volts: float, now_ms: int) -> bytes | None:
        """As `_capture_state`: the frame, which is in the journal and stored. None: it is for the protocol's own words."""
        flash = self.flash
        (names, raws), _ = self.senses.tell(row, volts)
        if names is not self._names:  # as a rule it is the same object
            self._names, self._layout = names, layout_of(STATE_OF_ITS_OWN + names)
        layout = self._layout
        sequence = (flash.sequence + 1) % SEQUENCE_MODULUS
        oldest = next(iter(flash.journal), sequence)
        own = own_values(vehicle, vehicle.here, row, volts)
        try:
            if layout is None:
                return None
            at = (self.reset_cause, self._uptime_s(now_ms), len(flash.journal), flash.forgotten)
            body = layout.body((oldest, *own, *at, *raws))
            flags = (DRIVING if row[IGNITION] > 0 else 0) | (0 if self.rtc.synchronised else CLOCK_UNSYNCHRONISED)
            data = self._speaker.frame(STATE_CODE, flags, sequence, self.rtc.read(now_ms), body)
        except struct.error:
            return None
        self._state_at = now_ms
        self._motion.told()
        self._journalled(sequence, data, urgent=False)
        self._store(flash)
        self._unsaved = False
        return data
