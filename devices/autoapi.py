"""An AutoAPI vehicle's own unit, sans-io: states on change and at intervals, commands as native messages in an envelope.

Nothing is ever acknowledged: what is published is the broker's to keep, and what happens without a line is not told later.
"""

from collections.abc import Mapping
from typing import Any

from devices.config import UnitConfig
from devices.flash import Flash, Store, volatile
from devices.gate import Gate, obey, obey_code
from devices.power import PoweredUnit
from devices.reports import Reports
from devices.rtc import Rtc
from devices.senses import Senses
from devices.vehicle import Vehicle
from protocols.autoapi import PROTOCOL
from protocols.autoapi_commands import command_of, state_message
from protocols.codec import PAYLOAD_LIMIT_BYTES, ProtocolError
from protocols.envelope import NATIVE_COMMAND, NONCE_SIZE_BYTES, Envelope, Result


class AutoApiUnit(PoweredUnit):
    """One such unit that is switched on. See `devices.firmware.Firmware` for the calls."""

    def __init__(self, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile, reset_cause: int = 0) -> None:
        super().__init__(config, flash, vehicle, store, reset_cause)
        self._vin = config.unit.telematics_unit_id
        self.senses = Senses(config.translation, vehicle)
        self.rtc = Rtc(config.clock_error_ms, config.synchronised)
        self.gate = Gate(self._vin, config.command_keys, flash, store, self.rtc, config.entropy)
        self._boot()

    def _boot(self) -> None:
        self.senses.forget()
        self._reports = Reports(self.vehicle, self.senses, self.config.intervals, self.behaviour)

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands: how things are."""
        if not self._line_up(now_ms):
            return []
        self._reports.wake(now_ms)
        return self._spent([self._state(now_ms)], now_ms)

    def leaving(self, now_ms: int) -> list[bytes]:
        """This protocol has no word for it."""
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        """Look at the vehicle; a state if one is due, or as the sign of life that this protocol has no other word for."""
        if not self._live(now_ms) or not self.has_line:
            return []
        over_budget = self.over_budget(now_ms)
        self._reports.wake(now_ms, self.resting or over_budget)
        beats = self._reports.heartbeat_is_due(now_ms) and not over_budget
        return self._spent([self._state(now_ms)], now_ms) if beats or self._reports.state_is_due(now_ms) else []

    def next_tick(self, now_ms: int) -> int:
        """The next state, or change of the vehicle by its own life."""
        power = self._power_moments(now_ms)
        if not self.runs and power is not None:
            return max(now_ms, power)
        due_ms = self._reports.next_ms(now_ms) if self.has_line else now_ms + round(1000 * self.config.intervals.heartbeat_s)
        return max(now_ms, due_ms if power is None else min(power, due_ms))

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take in commands; everything else is dropped and counted."""
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
                frame = PROTOCOL.decode(cut.data)
                if frame.kind != "command" or "envelope" not in frame.facts:
                    raise ProtocolError("forged", field="type", expected="a command in an envelope", found=frame.kind)
            except ProtocolError as error:
                self.refused[error.reason] += 1
            else:
                self._wake_up(now_ms)
                response = self.gate.admit(frame.facts["envelope"], now_ms, self._act)
                if response is not None:
                    said.append(response + self._state(now_ms))
        return self._spent(said, now_ms)

    def _act(self, request: Envelope) -> tuple[Result, bytes]:
        if request.command != NATIVE_COMMAND:
            return obey_code(self.vehicle, request)
        message = request.parameters if self.rtc.synchronised else request.parameters[NONCE_SIZE_BYTES:]
        try:
            return obey(self.vehicle, command_of(message))
        except ProtocolError:
            return Result.UNKNOWN, b""

    def _state(self, now_ms: int) -> bytes:
        self._reports.state_told(now_ms)
        said: Mapping[str, Any] = self.senses.all()
        self._store(self.flash)
        return state_message(said, self._vin, self.rtc.read(now_ms))
