"""What units are told of a batch that is remembered: the answers they wait for, Acks at their pace, the time."""

from collections.abc import Mapping, Sequence

import structlog

from gateway.acks import AckPacer
from gateway.commands import Commands
from gateway.lines import Path
from gateway.memory import Memory, Vehicle
from gateway.receipts import Receipt
from protocols.codec import Protocol, UnitId

log = structlog.get_logger(__name__)


class Replies:
    """Says it by `line`. What units answered to commands is handed on to `commands`."""

    def __init__(self, line: Path, commands: Commands, protocols: Mapping[str, Protocol]) -> None:
        self._line, self._commands, self._protocols = line, commands, protocols
        self._pacer = AckPacer()
        self._contested: set[UnitId] = set()

    def give(self, receipts: Sequence[tuple[Vehicle, Receipt]], memories: Mapping[str, Memory], now: int) -> None:
        """Tell the units of a batch; `memories` are what is remembered of its vehicles where that is new. `now` in Unix ms."""
        for vehicle, receipt in receipts:
            if receipt.contested and vehicle.unit not in self._contested:
                self._contested.add(vehicle.unit)
                log.warning("two units speak under one identity", unit=str(vehicle.unit), vehicle=vehicle.vehicle_id)
            memory = memories.get(vehicle.vehicle_id, receipt.memory)
            for result in receipt.results:
                self._commands.settle(vehicle.vehicle_id, result, memory)
            for answer in receipt.answers:
                self._line.send(vehicle.unit, answer)
            if receipt.wants_time:
                self._send_time(vehicle, memory, now)
            if receipt.acknowledged and self._pacer.counted(vehicle.unit, receipt.acknowledged, now):
                self.acknowledge(vehicle, memory, now)

    @property
    def waits(self) -> bool:
        """Whether any unit's Ack waits for its second to be over."""
        return self._pacer.waits

    def due(self, now: int) -> list[UnitId]:
        """The units whose Acks have waited long enough; they count as sent, so that somebody calls `acknowledge` for each."""
        return self._pacer.due(now)

    def acknowledge(self, vehicle: Vehicle, memory: Memory, now: int) -> None:
        """Send a unit its Ack."""
        protocol, keys = self._protocols[vehicle.brand.protocol], self._commands.keys_of(vehicle, memory)
        unit, window = vehicle.unit.telematics_unit_id, memory.window
        self._line.send(vehicle.unit, protocol.acknowledge(unit, window.cumulative, window.bitmap & 0xFFFFFFFF, now, keys.seal))

    def _send_time(self, vehicle: Vehicle, memory: Memory, now: int) -> None:
        protocol, keys = self._protocols[vehicle.brand.protocol], self._commands.keys_of(vehicle, memory)
        frame = protocol.synchronise(vehicle.unit.telematics_unit_id, now, keys.seal)
        if frame is not None:
            self._line.send(vehicle.unit, frame)
