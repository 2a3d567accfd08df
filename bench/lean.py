"""The lean generator: recorded drives of CloudBoxx units, said again with a seal, number and time of their own.

A stateful unit costs more than the gateway does, and would hide what the gateway can take. These units keep what is not
acknowledged and say it again on their next line; they sense nothing and obey nothing.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import modeldb
from bench.account import Added
from bench.ledger import Ledger, event_ids, id_begun
from bench.mqtt_wire import LeanLine, Lines
from bench.truth import Truth
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.life import moving
from devices.switch import switch_on
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel
from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import SYNC
from protocols.codec import UnitId
from protocols.seal import Sealer

DRIVE_FRAMES = 16
DRIVE_STEP_MS = 1_000
DEPARTURE_STEP_MS = 10_000
DRIVE_LOOKS = 2_000
"""How often a vehicle is looked at until it drives off."""

JOURNAL = 1_000
TURN_S = 0.01
HANDSHAKES = 128
STOP_TIMEOUT_S = 2.0
ACK, STATE = 0x81, 0x02
TAIL_BYTES = 10
"""Seal and checksum."""

_said_last: dict[UnitId, int] = {}
"""The last sequence number of each unit in this process: its next run goes on above it."""

_MOMENT = struct.Struct("<IIH")
_OLDEST = struct.Struct("<I")
_ACK = struct.Struct("<II")


def drive(brand: str, model: VehicleModel, seed: int) -> list[bytes]:
    """State frames of a simulated drive, a second apart, from when it is under way."""
    config = UnitConfig(UnitId(brand, "0" * 16), model.units[brand], bytes(32), {1: bytes(32)}, intervals=Intervals(1, 1, 900))
    flash = Flash.factory(0)
    vehicle = Vehicle.of(model, brand, seed=seed, life=moving, latitude=50.94, longitude=6.96)
    unit = switch_on(modeldb.load().brands[brand].protocol, config, flash, vehicle)
    frames: dict[int, bytes] = {}
    now_ms = 1_795_446_000_000
    for _ in range(DRIVE_LOOKS):
        if vehicle.ignition and vehicle.speed_kmh:
            break
        unit.tick(now_ms)
        now_ms += DEPARTURE_STEP_MS
    began = flash.sequence
    while len(frames) < DRIVE_FRAMES:
        unit.tick(now_ms)
        now_ms += DRIVE_STEP_MS
        said = {sequence: data for sequence, data in flash.journal.items() if sequence > began and data[2] == STATE}
        frames |= said
    return list(frames.values())[:DRIVE_FRAMES]


class Pieces(NamedTuple):
    """A frame of a drive without what each unit says for itself: id, sequence, time, oldest sequence, seal and checksum."""

    before_id: bytes
    before_oldest: bytes
    after_oldest: bytes

    @classmethod
    def of(cls, frame: bytes) -> "Pieces":
        """Of a whole frame."""
        return cls(frame[:4], frame[22:32], frame[36:-TAIL_BYTES])


@dataclass(slots=True, eq=False)
class LeanUnit:
    """One unit. `frames` are the drive's, in pieces; `kept` are its frames without an Ack, by sequence number."""

    added: Added
    unit: UnitId
    frames: Sequence[Pieces]
    sealer: Sealer
    sequence: int
    turn: int = 0
    line: LeanLine | None = None
    connecting: "asyncio.Task[None] | None" = None
    kept: dict[int, bytes] = field(default_factory=dict)
    batch: list[bytes] = field(default_factory=list)
    last: bytes = b""
    id_bytes: bytes = field(init=False)
    id_begun: Any = field(init=False)

    def __post_init__(self) -> None:
        self.id_bytes = bytes.fromhex(self.unit.telematics_unit_id)
        self.id_begun = id_begun(self.added.record.vehicle_id)


class LeanFleet:
    """A `bench.source.Source` of such units. `batch` frames go together in one payload."""

    def __init__(
        self, ledger: Ledger, added: Sequence[Added], broker: str, *, batch: int = 1, connects_per_s: float = 1_000
    ) -> None:
        parts = urlsplit(broker)
        if parts.scheme != "mqtt":
            raise ValueError("the lean generator speaks mqtt://, not " + broker)
        self._lines = Lines(parts.hostname or "127.0.0.1", parts.port or 1883)
        self._looking: asyncio.Task[None] | None = None
        self._ledger, self._batch, self._pace = ledger, batch, connects_per_s
        self._handshakes = asyncio.Semaphore(HANDSHAKES)
        self._next_connect = 0.0
        self._stopping = False
        models = modeldb.load().models
        drives: dict[str, list[Pieces]] = {}
        self._members: list[LeanUnit] = []
        for place, each in enumerate(added):
            record = each.record
            if record.vehicle_model_id not in drives:
                recorded = drive(record.brand, models[record.vehicle_model_id], place)
                drives[record.vehicle_model_id] = [Pieces.of(data) for data in recorded]
            frames = drives[record.vehicle_model_id]
            first = max(int(time.time()), _said_last.get(record.unit, 0))
            self._members.append(LeanUnit(each, record.unit, frames, Sealer(bytes.fromhex(record.seal_key)), first, place))
        self.units = [member.unit for member in self._members]
        self.sent = self.connects = self.connect_failures = 0
        self.forgotten = 0
        self._ids: list[tuple[LeanUnit, int, bytes, int]] = []

    @property
    def online(self) -> int:
        """Units with a line."""
        return sum(member.line is not None and member.line.up for member in self._members)

    @property
    def waiting(self) -> int:
        """Frames without an Ack."""
        return sum(len(member.kept) for member in self._members)

    async def start(self, progress: Callable[[int], None]) -> None:
        """Connect all."""
        self._looking = asyncio.create_task(self._lines.keep_looking())
        for member in self._members:
            self._connect(member)
        while any(member.connecting is not None for member in self._members) and self.connect_failures < 10 * len(self._members):
            progress(self.online)
            await asyncio.sleep(0.05)
        progress(self.online)

    def _connect(self, member: LeanUnit) -> None:
        if not self._stopping and member.connecting is None:
            member.connecting = asyncio.create_task(self._stay_connecting(member))

    async def _stay_connecting(self, member: LeanUnit) -> None:
        loop, delay_s = asyncio.get_running_loop(), 0.5
        while True:
            now = loop.time()
            self._next_connect = max(now, self._next_connect) + 1 / self._pace
            await asyncio.sleep(self._next_connect - now)
            try:
                async with self._handshakes, asyncio.timeout(15):
                    line = self._line(member)
                    await line.opened()
                    if not line.up:
                        raise OSError("the broker closed the connection at once")
            except (OSError, TimeoutError):
                self.connect_failures += 1
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 8.0)
                continue
            member.line, member.connecting = line, None
            self.connects += 1
            for data in member.kept.values():
                line.publish(data)
            return

    def _line(self, member: LeanUnit) -> LeanLine:
        record = member.added.record
        return self._lines.dial(
            str(record.unit), record.password, lambda data: self._heard(member, data), lambda: self._lost(member)
        )

    def _lost(self, member: LeanUnit) -> None:
        member.line = None
        self._connect(member)

    def _heard(self, member: LeanUnit, data: bytes) -> None:
        if data[:2] != SYNC or len(data) < 34 or data[2] != ACK:
            return
        cumulative, bitmap = _ACK.unpack_from(data, 24)
        kept = member.kept
        while kept and (oldest := next(iter(kept))) <= cumulative:
            del kept[oldest]
        while bitmap:
            bit = (bitmap & -bitmap).bit_length() - 1
            kept.pop(cumulative + 1 + bit, None)
            bitmap &= bitmap - 1

    def expect(self, places: Sequence[int], within_s: float) -> float:
        """One by one costs no more than many at once."""
        return TURN_S

    def say(self, place: int, at_s: float) -> None:
        """The next frame of the drive, as captured at `at_s`."""
        member = self._members[place]
        member.sequence += 1
        member.turn += 1
        at_ms = round(at_s * 1000)
        data = self._sealed(member, at_ms)
        member.kept[member.sequence] = member.last = data
        if len(member.kept) > JOURNAL:
            self._forget(member)
        self._ids.append((member, member.sequence, data, at_ms))
        self.sent += 1
        if self._batch > 1:
            member.batch.append(data)
            if len(member.batch) < self._batch:
                return
            data, member.batch = b"".join(member.batch), []
        if member.line is not None:
            member.line.publish(data)

    def _sealed(self, member: LeanUnit, at_ms: int) -> bytes:
        before_id, before_oldest, after_oldest = member.frames[member.turn % len(member.frames)]
        moment = _MOMENT.pack(member.sequence, at_ms // 1000, at_ms % 1000)
        oldest = _OLDEST.pack(next(iter(member.kept), member.sequence))
        data = b"".join((before_id, member.id_bytes, moment, before_oldest, oldest, after_oldest))
        data += member.sealer.seal(data)
        return data + crc16_ccitt_false(data).to_bytes(2, "little")

    def _forget(self, member: LeanUnit) -> None:
        oldest = next(iter(member.kept))
        del member.kept[oldest]
        self.forgotten += 1
        self.collect()
        self._ledger.explain(member.unit, oldest, "forgotten")

    def storm(self) -> None:
        """All lines are gone at once, without a word."""
        for member in self._members:
            if member.line is not None:
                line, member.line = member.line, None
                line.drop()
                self._connect(member)

    def collect(self) -> None:
        """Bring the ledger up to date."""
        noted, self._ids = self._ids, []
        if not noted:
            return
        digests = []
        for member, _, data, _ in noted:
            said = member.id_begun.copy()
            said.update(data[2:3] + data[12:-TAIL_BYTES])
            digests.append(said.digest())
        attempt = self._ledger.attempt
        for (member, sequence, _, at_ms), identity in zip(noted, event_ids(digests), strict=True):
            attempt(member.unit, sequence, identity, at_ms)

    def nudge(self) -> None:
        """Say again what nobody has acknowledged, and what waits for its batch to be full."""
        for member in self._members:
            member.batch = []
            if member.line is not None:
                for data in list(member.kept.values()):
                    member.line.publish(data)

    def ping(self) -> None:
        """Keep quiet lines open."""
        for member in self._members:
            if member.line is not None:
                member.line.ping()

    async def stop(self) -> None:
        """Leave; what is not kept any more is acknowledged."""
        self._stopping = True
        _said_last.update((member.unit, member.sequence) for member in self._members)
        self.collect()
        kept = {(member.unit, sequence) for member in self._members for sequence in member.kept}
        for entry in self._ledger:
            if entry.cause != "forgotten" and (entry.unit, entry.sequence) not in kept:
                entry.acknowledged = True
        for member in self._members:
            if member.connecting is not None:
                member.connecting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await member.connecting
            if member.line is not None:
                member.line.close()
        await self._lines.emptied(STOP_TIMEOUT_S)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    def last_look(self) -> int:
        """These units look at nothing."""
        return 0

    def truth(self, shown: Mapping[str, Mapping[str, Any]]) -> Truth | None:
        """There is nothing behind them: what they said last is all there is to compare."""
        return None

    def last_frames(self) -> Mapping[int, bytes]:
        """The newest frame of each unit."""
        return {place: member.last for place, member in enumerate(self._members) if member.last}
