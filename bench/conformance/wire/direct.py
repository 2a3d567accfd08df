"""A simulated unit in this process, with a virtual clock."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from bench.conformance.wire.line import Heard, Wire
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import FirmwareFactory, switch_on
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel
from protocols.codec import UnitId
from protocols.keys import UnitKeys


class DirectWire(Wire):
    """A simulated unit in this process, under a clock that jumps to whatever happens next."""

    virtual = True
    RECONNECT_MS = 500
    LATENCY_MS = 20
    IDLE_STEP_MS = 50
    """How far time goes where the unit wants to be asked at once and says nothing."""

    def __init__(
        self,
        protocol: str,
        unit: UnitId,
        model: VehicleModel,
        keys: UnitKeys,
        *,
        make: FirmwareFactory | None = None,
        intervals: Intervals | None = None,
        began_ms: int | None = None,
        **config: Any,
    ) -> None:
        super().__init__()
        self._now = began_ms if began_ms is not None else super().now_ms()
        self.vehicle = Vehicle.of(model, unit.brand, seed=1)
        intervals = intervals or Intervals(2, 2, 30)
        self.config = UnitConfig(
            unit, model.units[unit.brand], keys.seal, {keys.generation: keys.command}, intervals=intervals, **config
        )
        self._protocol, self._make = protocol, make
        self._stored = Flash.factory(self._now).dump()
        self._waiting: deque[Heard] = deque()
        self._connected = False
        self._connect_at: int | None = self._now
        self._switch_on()

    def _switch_on(self) -> None:
        make = self._make or (lambda config, flash, vehicle, store: switch_on(self._protocol, config, flash, vehicle, store))
        assert self.vehicle is not None
        self.unit = make(self.config, Flash.load(self._stored), self.vehicle, self._store)

    def _store(self, flash: Flash) -> None:
        self._stored = flash.dump()

    def now_ms(self) -> int:
        """The virtual clock."""
        return self._now

    def pump(self, seconds: float) -> bool:
        """Let time pass up to the next thing that the unit says."""
        until = self._now + round(seconds * 1000)
        while not self._waiting and self._now <= until:
            self._step(until)
            if self._now >= until:
                break
        if not self._waiting:
            return False
        self.heard.extend(self._waiting)
        self._waiting.clear()
        return True

    def _step(self, until: int) -> None:
        if not self._connected and self._connect_at is not None and self._now >= self._connect_at:
            self._connected, self._connect_at = True, None
            self._waiting.append(Heard(self._now, "connect"))
            self._take(self.unit.connected(self._now))
            return
        self._take(self.unit.tick(self._now))
        if self._waiting:
            return
        due = [self.unit.next_tick(self._now), *([self._connect_at] if self._connect_at is not None else [])]
        self._now = min(until, min(due) if min(due) > self._now else self._now + self.IDLE_STEP_MS)

    def _take(self, said: Sequence[bytes]) -> None:
        if self._connected:
            self._waiting.extend(Heard(self._now, "payload", bytes(payload)) for payload in said)

    def say(self, payload: bytes) -> None:
        """The unit receives it at once, if it is connected."""
        if self._connected:
            self._now += self.LATENCY_MS
            self._take(self.unit.receive(payload, self._now))

    def cut(self) -> None:
        """The unit loses its line and comes back half a second later."""
        if self._connected:
            self._connected, self._connect_at = False, self._now + self.RECONNECT_MS
            self.unit.disconnected(self._now)
            self._waiting.append(Heard(self._now, "lost"))

    def power_cycle(self) -> None:
        """What was not in flash is gone."""
        self._connected, self._connect_at = False, self._now + self.RECONNECT_MS
        self._waiting.append(Heard(self._now, "lost"))
        self._switch_on()
