"""The loop: receive, decide, publish, remember, acknowledge - in this order, which is the promise.

Three stages work at once, each on batches of its own: while RabbitMQ confirms one batch, the next is decoded and decided, and the
one before is written to the store.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from gateway.batch import Arrival, Batch, Turn
from gateway.commands import Commands
from gateway.flights import Flights
from gateway.gathering import Gathering
from gateway.lines import Path
from gateway.live import Live
from gateway.memory import Memory, Vehicle
from gateway.metrics import Metrics
from gateway.mqtt import Acknowledge
from gateway.presence import Presence
from gateway.publisher import Publisher
from gateway.reader import Reader, Said
from gateway.receipts import Heard, Piece, Receipt, Telegram
from gateway.registry import Registry
from gateway.relay import Relay
from gateway.replies import Replies
from gateway.throttle import Throttle
from gateway.uplink import receive, unattached
from protocols import load as load_protocols
from protocols.codec import Protocol, UnitId
from protocols.hotpath.quick import QUICK, QuickCloudBoxx

BATCH_LIMIT = 1_000
"""Payloads that are worked on together: one run of confirms, one transaction."""

OUTSTANDING_LIMIT = 5_000
"""Payloads in hand above which the gateway stops reading: what is behind waits in the broker and in the units' journals."""

FEW = 1
"""Payloads up to which a batch is quicker read frame by frame, where the protocol has a quick way for that."""

CONFIRMED_LIMIT = 8
"""Confirmed batches that wait for the store; they are remembered together."""

RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)
TICK_S = 0.2

_NOBODY: tuple[None, Memory] = (None, Memory())

T = TypeVar("T")
log = structlog.get_logger(__name__)


def wall_clock_ms() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _newer(remembered: Memory, decided: Memory | None) -> Memory:
    """What counts of a vehicle: what is decided and not yet remembered, unless it is of the unit that the vehicle had before."""
    return decided if decided is not None and decided.replacements == remembered.replacements else remembered


class Service:
    """Takes what the line hears through to confirmed events. One a gateway; `run` is its whole life.

    With `gather_s`, what arrives within so long of the first payload is always worked on together with it; up to `few` payloads
    are read frame by frame where the protocol has a quick way for that.
    """

    def __init__(
        self,
        registry: Registry,
        relay: Relay,
        publisher: Publisher,
        live: Live,
        metrics: Metrics,
        now_ms: Callable[[], int] = wall_clock_ms,
        protocols: Mapping[str, Protocol] | None = None,
    ) -> None:
        """`protocols` stand in for those that are there."""
        self._registry, self._relay, self._live, self._metrics = registry, relay, live, metrics
        self._now_ms = now_ms
        self._protocols = {**load_protocols(), QUICK.name: QUICK, **(protocols or {})}
        self._arrivals: list[Arrival | Turn] = []
        self._presence = Presence()
        self._throttle = Throttle()
        self.reader = Reader(registry.models, registry.secrets)
        self._gathering = Gathering()
        self._wakeup = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()
        self._decided: asyncio.Queue[Batch] = asyncio.Queue()
        self._flights = Flights(publisher, self._flush, metrics)
        self._begun: asyncio.Queue[tuple[Batch, float]] = asyncio.Queue()
        self._confirmed: asyncio.Queue[Batch] = asyncio.Queue(CONFIRMED_LIMIT)
        self._shadow: dict[str, Memory] = {}
        self._paused = False
        self.storing = True
        self.gather_s = 0.0
        self.few = FEW

    def attach(self, line: Path, commands: Commands, hears: Callable[[], bool] = lambda: True) -> None:
        """Say by which line the units are reached, who waits for what they answer to commands, and whether units are heard."""
        self._line, self._commands, self._hears = line, commands, hears
        self._replies = Replies(line, commands, self._protocols)

    def arrived(self, unit: UnitId, payload: bytes, acknowledge: Acknowledge) -> None:
        """Take a payload from the line."""
        self._presence.back(unit)
        self._arrivals.append(Arrival(unit, Telegram(unit, payload, self._now_ms()), acknowledge))
        self._wakeup.set()
        if len(self._arrivals) > OUTSTANDING_LIMIT and not self._paused:
            self._paused = True
            self._line.pause()

    def presence(self, unit: UnitId, online: bool, retained: bool = False) -> None:
        """Take a presence message from the line. That a unit was online when the broker kept the message says nothing of now."""
        if not online:
            self._presence.will(unit, self._now_ms(), retained=retained)
        elif not retained:
            self._presence.back(unit)
            self._turn(unit, True)

    async def run(self, *, looks: bool = True) -> None:
        """Work until cancelled. What is not finished then is neither acknowledged nor lost: its units keep it.

        Without `looks` somebody else calls `look`.
        """
        online = await self._insist(self._registry.online, "looking up who is online")
        for vehicle, _ in online.values():
            self._presence.heard(vehicle.unit, self._now_ms(), vehicle.brand.heartbeat_s)
        stages = [self._keep_deciding, self._keep_publishing, self._keep_confirming, self._keep_remembering]
        stages += [self._tick] if looks else []
        tasks = [asyncio.create_task(stage(), name=f"service {stage.__name__}") for stage in stages]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._flights.stop()

    async def _keep_deciding(self) -> None:
        while True:
            await self._wakeup.wait()
            hold_s = self.gather_s or self._gathering.hold_s(time.monotonic(), len(self._arrivals))
            if hold_s:
                await asyncio.sleep(hold_s)
            await self._taken.wait()  # what arrives until then goes together
            batch = self._next_batch()
            await self._decide_on(batch)
            self._taken.clear()
            self._decided.put_nowait(batch)

    async def _keep_publishing(self) -> None:
        while True:
            batch = await self._decided.get()
            self._taken.set()
            await self._flights.begin(batch.events)
            self._begun.put_nowait((batch, time.perf_counter()))

    async def _keep_confirming(self) -> None:
        landed_at = 0.0
        while True:
            batch, begun_at = await self._begun.get()
            await self._flights.landed()
            landed_at = self._metrics.spend("publish", max(begun_at, landed_at))
            await self._confirmed.put(batch)

    async def _keep_remembering(self) -> None:
        while True:
            batches = [await self._confirmed.get()]
            while not self._confirmed.empty():
                batches.append(self._confirmed.get_nowait())
            await self._remember(batches)

    def _next_batch(self) -> Batch:
        batch = Batch(self._arrivals[:BATCH_LIMIT])
        self._gathering.took(time.monotonic(), len(batch.arrivals))
        self._arrivals = self._arrivals[BATCH_LIMIT:]
        if not self._arrivals:
            self._wakeup.clear()
        if self._paused and len(self._arrivals) < OUTSTANDING_LIMIT // 2:
            self._paused = False
            self._line.resume()
        return batch

    async def _decide_on(self, batch: Batch) -> None:
        self._metrics.backlog.set(len(self._arrivals))
        at = time.perf_counter()
        shadow = dict(self._shadow)  # taken before looking up: what is remembered meanwhile is found in one of both
        found = await self._insist(lambda: self._registry.find(batch.units), "looking up units")
        attached = {unit: (vehicle, _newer(memory, shadow.get(vehicle.vehicle_id))) for unit, (vehicle, memory) in found.items()}
        at = self._metrics.spend("look up", at)
        pieces = self._read(batch.arrivals, attached)
        at = self._metrics.spend("decode", at)
        self._decide(batch, attached, pieces)
        self._shadow.update(batch.memories)
        self._metrics.spend("translate", at)

    async def _remember(self, batches: Sequence[Batch]) -> None:
        """Write down what these batches, whose events are confirmed, leave to remember, and let their units know."""
        memories = {vehicle_id: memory for batch in batches for vehicle_id, memory in batch.memories.items()}
        told = (refusal for batch in batches for receipt in batch.all_receipts for refusal in receipt.refused)
        refused = [refusal for refusal in told if refusal.reason != "throttled"]  # the unit keeps those, and sends them again
        at = time.perf_counter()
        if memories or refused:
            await self._insist(lambda: self._registry.remember(memories, refused), "remembering states")
        for vehicle_id, memory in memories.items():
            if self._shadow.get(vehicle_id) is memory:
                del self._shadow[vehicle_id]
        at = self._metrics.spend("store", at)
        for batch in batches:
            self._metrics.count(batch.all_receipts, batch.events)
            self._live.tell(batch.events)
            self._replies.give(batch.receipts, batch.memories, self._now_ms())
            for arrival in batch.arrivals:
                if isinstance(arrival, Arrival):
                    arrival.acknowledge()
        self._metrics.spend("answer", at)

    def _decide(
        self,
        batch: Batch,
        attached: Mapping[UnitId, tuple[Vehicle, Memory]],
        pieces: Mapping[int, Sequence[Piece] | Heard | None],
    ) -> None:
        for at, arrival in enumerate(batch.arrivals):
            vehicle, memory = attached.get(arrival.unit, _NOBODY)
            if vehicle is not None:
                memory = batch.memories.get(vehicle.vehicle_id, memory)
            if isinstance(arrival, Turn):
                if vehicle is not None and not vehicle.archived:
                    self._take_turn(batch, vehicle, memory, arrival.online)
            elif vehicle is None or vehicle.archived:
                batch.strangers.append(unattached(arrival.telegram, "archived" if vehicle else "unknown_unit"))
            elif at not in pieces:
                batch.receipts.append((vehicle, unattached(arrival.telegram, "throttled", memory)))
            else:
                receipt = self._hear(arrival.telegram, vehicle, memory, pieces[at])
                batch.receipts.append((vehicle, receipt))
                if receipt.memory is not memory:
                    batch.memories[vehicle.vehicle_id] = receipt.memory

    def _take_turn(self, batch: Batch, vehicle: Vehicle, memory: Memory, online: bool) -> None:
        now = self._now_ms()
        if online:
            self._presence.heard(vehicle.unit, now, vehicle.brand.heartbeat_s)
        if memory.online is not online:
            batch.memories[vehicle.vehicle_id] = replace(memory, online=online, online_changed_at=now)

    def _read(
        self, arrivals: Sequence[Arrival | Turn], attached: Mapping[UnitId, tuple[Vehicle, Memory]]
    ) -> dict[int, Sequence[Piece] | Heard | None]:
        """The frames of what may be heard, by its place among the arrivals; what is throttled has none."""
        heard: dict[int, Said] = {}
        for at, arrival in enumerate(arrivals):
            vehicle, _ = attached.get(arrival.unit, (None, None))
            if isinstance(arrival, Arrival) and vehicle is not None and not vehicle.archived:
                telegram = arrival.telegram
                if self._throttle.allows(telegram.unit, telegram.at):
                    heard[at] = Said(telegram, vehicle)
        if len(heard) <= self.few and all(self._is_quick(each.vehicle) for each in heard.values()):
            self._metrics.decode(0, len(heard))
            return dict.fromkeys(heard)
        pieces = self.reader.read(list(heard.values()))
        self._metrics.decode(self.reader.vouched, self.reader.unvouched)
        return dict(zip(heard, pieces, strict=True))

    def _is_quick(self, vehicle: Vehicle) -> bool:
        return isinstance(self._protocols[vehicle.brand.protocol], QuickCloudBoxx)

    def _hear(self, telegram: Telegram, vehicle: Vehicle, memory: Memory, pieces: Sequence[Piece] | Heard | None) -> Receipt:
        protocol, keys = self._protocols[vehicle.brand.protocol], self.reader.keys(vehicle)
        receipt = receive(telegram, vehicle, memory, protocol, keys, self._commands.flow_of, pieces)
        if receipt.accepted:
            self._presence.heard(telegram.unit, telegram.at, vehicle.brand.heartbeat_s)
            if not receipt.memory.online:
                receipt.memory = replace(receipt.memory, online=True, online_changed_at=telegram.at)
        return receipt

    async def _flush(self) -> None:
        await self._insist(self._relay.flush, "emptying the outbox")

    async def _insist(self, work: Callable[[], Awaitable[T]], doing: str) -> T:
        """Do `work` with the store, again and again while the store fails: nothing is acknowledged meanwhile."""
        attempt = 0
        while True:
            try:
                done = await work()
            except (SQLAlchemyError, OSError) as error:
                self.storing = False
                log.error("the store fails; nothing is acknowledged", doing=doing, error=str(error))
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                self.storing = True
                return done

    def _turn(self, unit: UnitId, online: bool) -> None:
        self._arrivals.append(Turn(unit, online))
        self._wakeup.set()

    @property
    def publishing(self) -> bool:
        """Whether events are taken, as far as the last ones tell."""
        return self._flights.ok

    @property
    def _listening(self) -> bool:
        """Whether what units say now is heard now, and does not wait for a part that is down."""
        return self._hears() and self.publishing and self.storing and not self._paused

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.look()

    async def look(self) -> None:
        """Do what time alone makes due: say who is silent, send the Acks that waited. `run` looks all the time by itself."""
        now = self._now_ms()
        if self._listening:
            self._presence.listening(now)
        else:
            self._presence.deaf()
        for unit in self._presence.gone(now):
            self._turn(unit, False)
        due = self._replies.due(now)
        if due:
            attached = await self._insist(partial(self._registry.find, due), "looking up units")
            for vehicle, memory in attached.values():
                if not vehicle.archived:
                    self._replies.acknowledge(vehicle, memory, now)
