"""The rig: a fleet and the gateway's core in one process under one clock, without a socket; the same seed gives the same run.

    python -m bench.rig --vehicles 200 --days 7 --seed 1

The firmware is the one that `teleloop fleet` runs, the gateway's loop, registry (SQLite), commands and presence the ones that
`teleloop gateway` runs. What stands between them is `bench.air`. Events go to whoever listens; nothing is read from the system's
clock or chance.
"""

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import func, select

import modeldb
from bench.air import Air
from bench.inline_sqlite import INLINE
from bench.truth import Truth, check, total
from devices.clock import ScaledClock, VirtualClock
from devices.fleet import Fleet
from devices.unitsfile import UnitRecord
from gateway.chance import seeded
from gateway.commands import Commands, Outcome
from gateway.events import Event
from gateway.housekeeping import Housekeeping
from gateway.live import Live
from gateway.memory import Memory, Vehicle
from gateway.metrics import Metrics
from gateway.receipts import Refused
from gateway.registry import Registry
from gateway.registry.fleets import DEFAULT_FLEET
from gateway.registry.vehicles import NewVehicle
from gateway.relay import Relay
from gateway.service import BATCH_LIMIT, Service
from gateway.store import Store
from gateway.store.tables import quarantine
from modeldb.model import VehicleModel
from protocols.codec import UnitId
from protocols.hotpath.quick import QUICK

KEY = hashlib.sha256(b"the rig's provisioning key").digest()
MEMORY = Path("/dev/shm")
"""Where a file is memory, if there is such a place."""

PURGE_EVERY_S = 12 * 3600.0
WRITE_EVERY_LOOKS = 60
LOOK_EVERY_S = 60.0
LOOK_SELDOM_S = 3600.0
QUIET_LOOKS = 24 * 60
ACK_LOOK_S = 1.05
WILL_LOOK_S = 5.05
"""When the gateway has something to look after: a second after Acks that wait, five after a Last Will, each minute for silence.

After a day without a frame everybody is known to be silent.
"""

Listener = Callable[[Event], None]


class Pen:
    """Where the rig's events go: each is part of the run's digest, and told to `listeners`."""

    ready = True

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.counted: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of every byte of every event so far, in order."""
        return self._digest.hexdigest()

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Take them in."""
        for event in events:
            self.counted[event.type] += 1
            self._digest.update(event.json())
            for listener in self.listeners:
                listener(event)


class LazyRegistry(Registry):
    """Writes down what was heard every hour: a run that ends with its process need not survive it.

    What the store alone can answer is right after `flush`; who came or went, and what was refused, is written at once.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._unwritten: dict[str, Memory] = {}

    async def remember(self, changes: Mapping[str, Memory], refused: Sequence[Refused] = ()) -> None:
        """See Registry."""
        before = await self._attachments.by_vehicle(changes)
        turned = any(each in before and memory.online is not before[each][1].online for each, memory in changes.items())
        if refused or turned:
            waiting, self._unwritten = self._unwritten, {}
            await super().remember({**waiting, **changes}, refused)
            return
        kept = {each: memory for each, memory in changes.items() if each in before}
        self._unwritten.update(kept)
        self._attachments.remember(kept, ())

    async def flush(self) -> None:
        """Write down what was heard."""
        waiting, self._unwritten = self._unwritten, {}
        if waiting:
            await super().remember(waiting)


class PromptService(Service):
    """Takes each batch through all stages before it looks at the next one: where nothing waits, they cannot overlap."""

    def __init__(self, registry: LazyRegistry, relay: Relay, pen: Pen, *given: Any) -> None:
        super().__init__(registry, relay, pen, *given)
        self._pen, self.few = pen, BATCH_LIMIT  # so few units show so many layouts that learning them costs more than it saves
        self.when_acks_wait: Callable[[], None] = _nothing

    async def run(self, *, looks: bool = False) -> None:
        """See Service; somebody else looks."""
        while True:
            await self._wakeup.wait()
            if self.gather_s:
                await asyncio.sleep(self.gather_s)
            batch = self._next_batch()
            await self._decide_on(batch)
            await self._flush()
            await self._pen.publish(batch.events)
            await self._remember([batch])
            if self._replies.waits:
                self.when_acks_wait()


@dataclass
class Rig:
    """One gateway core, and the units that reach it by `air`. `records` are the vehicles that were added."""

    clock: VirtualClock | ScaledClock
    store: Store
    registry: LazyRegistry
    service: PromptService
    commands: Commands
    pen: Pen
    metrics: Metrics
    air: Air
    records: list[UnitRecord] = field(default_factory=list)
    flows: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def add(self, unit: UnitId, model: VehicleModel, **place: Any) -> UnitRecord:
        """Add a vehicle; its unit's record, for a Fleet. `place` is latitude, longitude, moving."""
        added = await self.registry.vehicles.add(DEFAULT_FLEET, NewVehicle(unit, model.id), self._flow())
        keys = self.registry.keys(unit, added.generation)
        record = UnitRecord(
            vehicle_id=added.vehicle.vehicle_id,
            brand=unit.brand,
            telematics_unit_id=unit.telematics_unit_id,
            vehicle_model_id=model.id,
            password=keys.password,
            seal_key=keys.seal.hex(),
            command_key=keys.command.hex(),
            generation=added.generation,
            **place,
        )
        self.records.append(record)
        return record

    async def vehicle(self, unit: UnitId) -> tuple[Vehicle, Memory]:
        """What the gateway knows of a unit's vehicle. Raises KeyError."""
        return (await self.registry.find([unit]))[unit]

    async def state(self, unit: UnitId) -> dict[str, Any]:
        """The latest state: property to value."""
        _, memory = await self.vehicle(unit)
        return {key: said.value for key, said in memory.state.items()}

    async def command(self, unit: UnitId, name: str, timeout_s: float = 30.0) -> Outcome:
        """Carry out a command."""
        vehicle, _ = await self.vehicle(unit)
        if vehicle.archived:
            return Outcome(409, "archived")
        if name not in vehicle.model.units[unit.brand].commands:
            return Outcome(409, "capability_missing")
        outcome = await self.commands.carry_out(vehicle, name, flow_id=self._flow(), timeout_s=timeout_s)
        self.metrics.commands.labels(str(outcome.status)).inc()
        return outcome

    async def archive(self, unit: UnitId) -> None:
        """Take its vehicle out of operation."""
        await self.registry.flush()
        vehicle, _ = await self.vehicle(unit)
        await self.registry.vehicles.archive(DEFAULT_FLEET, vehicle.vehicle_id, self._flow())
        self.air.end(unit)

    async def restore(self, unit: UnitId) -> None:
        """Take it back."""
        vehicle, _ = await self.vehicle(unit)
        await self.registry.vehicles.restore(DEFAULT_FLEET, vehicle.vehicle_id, self._flow())

    async def truth(self, fleet: Fleet) -> Truth:
        """The truth check of every vehicle that is not archived."""
        parts = []
        for member in fleet.members:
            vehicle, _ = await self.vehicle(member.record.unit)
            if not vehicle.archived:
                translation = vehicle.model.units[vehicle.unit.brand]
                parts.append(check(member.firmware, await self.state(member.record.unit), translation))
        return total(parts)

    def refused(self) -> dict[str, int]:
        """How many frames were refused, by reason."""
        samples = next(iter(self.metrics.refused.collect())).samples
        return {each.labels["reason"]: int(each.value) for each in samples if each.name.endswith("_total") and each.value}

    async def quarantined(self) -> int:
        """How many refused frames are kept."""
        async with self.store.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(quarantine))).scalar_one())

    def frames(self, outcome: str) -> int:
        """How many frames were `accepted`, `repeated`, `late` or `contested`."""
        return int(self.metrics.frames.labels(outcome)._value.get())

    def _flow(self) -> str:
        return f"rig-{next(self.flows)}"


@asynccontextmanager
async def rig(
    clock: VirtualClock | ScaledClock, *, seed: int = 0, database: Path | None = None, gather_s: float = 0.0
) -> AsyncIterator[Rig]:
    """A rig under the running loop's clock, ended at the end. `database` is a file for SQLite; none: one that goes with it.

    The gateway works on what arrives within `gather_s` together, as it does with what waits for it where it has much to do.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(seeded(seed))
        path = database or Path(stack.enter_context(TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None))) / "rig.sqlite"
        store = Store(f"sqlite:///{path}", connect_args=dict(INLINE))
        await store.open()
        stack.push_async_callback(store.close)
        registry = LazyRegistry(store, modeldb.load(), KEY, clock.now_ms, trust_broker=True)
        await registry.fleets.ensure()
        pen, live, metrics = Pen(), Live(), Metrics()
        relay = Relay(registry.outbox, pen, live, metrics)
        service = PromptService(registry, relay, pen, live, metrics, clock.now_ms, {"cloudboxx": QUICK})
        service.gather_s = gather_s
        looks = _Looks(service, registry)
        air = Air(registry.login, looks.arrived, looks.present)
        commands = Commands(registry, air, clock.now_ms, lambda: True)
        service.attach(air, commands)
        for work in (
            service.run(),
            relay.run(),
            looks.run(),
            Housekeeping(registry, PURGE_EVERY_S).run(),
        ):
            stack.push_async_callback(_ended, asyncio.create_task(work))
        yield Rig(clock, store, registry, service, commands, pen, metrics, air)
        await registry.flush()


class _Looks:
    """Has the gateway look when there is something to look after, and not five times a second for a week."""

    def __init__(self, service: PromptService, registry: LazyRegistry) -> None:
        self._service, self._registry = service, registry
        service.when_acks_wait = lambda: self._look_in(ACK_LOOK_S)
        self._busy, self._quiet, self._looks = False, 0, itertools.count(1)
        self._asked: dict[float, float] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def arrived(self, unit: UnitId, payload: bytes) -> None:
        self._busy = True
        self._service.arrived(unit, payload, _nothing)

    def present(self, unit: UnitId, online: bool) -> None:
        self._service.presence(unit, online)
        if not online:
            self._look_in(WILL_LOOK_S)

    async def run(self) -> None:
        while True:
            await self._service.look()
            if next(self._looks) % WRITE_EVERY_LOOKS == 0:
                await self._registry.flush()
            busy, self._busy = self._busy, False
            self._quiet = 0 if busy else self._quiet + 1
            await asyncio.sleep(LOOK_EVERY_S if self._quiet < QUIET_LOOKS else LOOK_SELDOM_S)

    def _look_in(self, seconds: float) -> None:
        """Once, so many seconds after the last time that this was asked for, and at least every so many seconds meanwhile."""
        loop = asyncio.get_running_loop()
        asked, self._asked[seconds] = seconds in self._asked, loop.time() + seconds
        if not asked:
            loop.call_later(seconds, self._look, seconds)

    def _look(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        left = self._asked[seconds] - loop.time()
        if left > 1e-3:
            loop.call_later(left, self._look, seconds)
        else:
            del self._asked[seconds]
        task = loop.create_task(self._service.look())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)


def _nothing() -> None:
    """What nobody waits for: an MQTT acknowledgement."""


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    from bench.week import app

    app()
