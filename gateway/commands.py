"""Commands on their way: one at a time to a unit, sealed once, remembered under their Idempotency-Key, answered truthfully.

200 means executed, 422 and 503 that nothing was done, 504 that nobody knows yet; the same key again is always safe.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from gateway.changes import shown
from gateway.downlink import AskAgain, Declined, Done, answered, seal_request
from gateway.memory import Memory, Vehicle
from gateway.registry import Registry
from gateway.registry.command_writes import Begun, Seal
from gateway.registry.commands import StoredCommand
from protocols import load as load_protocols
from protocols.codec import UnitId
from protocols.envelope import NATIVE_COMMAND, Envelope
from protocols.hotpath.quick import QUICK
from protocols.keys import UnitKeys

WAITING_LIMIT = 3
"""Requests that may wait behind the one in flight for a unit."""

FLOWS_REMEMBERED = 10_000
ATTEMPTS_LIMIT = 2
"""The request itself, and once more after the unit has told its counter or its nonce."""

log = structlog.get_logger(__name__)


class Downlink(Protocol):
    """What takes payloads to a unit."""

    @property
    def connected(self) -> bool: ...

    def send(self, unit: UnitId, payload: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. `reason` is a word for the problem type, None where status is 200; `state` is what 200 shows."""

    status: int
    reason: str | None = None
    state: Mapping[str, Any] | None = None


@dataclass(slots=True)
class _Lane:
    """The commands of one unit, one after the other."""

    lock: asyncio.Lock
    waiting: int = 0


class Commands:
    """Carries out commands; `settle` is told what the units answered, once their new state is remembered."""

    def __init__(self, registry: Registry, downlink: Downlink, now_ms: Callable[[], int], available: Callable[[], bool]) -> None:
        self._registry, self._downlink, self._now_ms, self._available = registry, downlink, now_ms, available
        self._lanes: dict[str, _Lane] = {}
        self._pending: dict[tuple[str, int], asyncio.Future[tuple[Envelope, Memory]]] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        self._flows: OrderedDict[tuple[str, int], str] = OrderedDict()

    def flow_of(self, vehicle_id: str, counter: int) -> str | None:
        """The flow id of the request that had this counter."""
        return self._flows.get((vehicle_id, counter))

    def remember_flows(self, flows: Iterable[tuple[str, int, str]]) -> None:
        """Take in (vehicle_id, counter, flow_id) of commands that an earlier run of the gateway sent."""
        for vehicle_id, counter, flow_id in flows:
            self._remember_flow(vehicle_id, counter, flow_id)

    def settle(self, vehicle_id: str, result: Envelope, memory: Memory) -> None:
        """Take a unit's authentic response, and what is remembered of its vehicle after it."""
        future = self._pending.get((vehicle_id, result.counter))
        if future is not None and not future.done():
            future.set_result((result, memory))
        elif future is None:
            task = asyncio.create_task(self._finish_late(vehicle_id, result, memory))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def _finish_late(self, vehicle_id: str, result: Envelope, memory: Memory) -> None:
        """The caller has had its 504; whoever repeats the request shall have the truth."""
        known = await self._registry.command_by_counter(vehicle_id, result.counter)
        answer = answered(result)
        if known is not None and known.status is None and not isinstance(answer, AskAgain):
            outcome = _outcome(answer, memory)
            await self._registry.finish_command(known.id, outcome.status, outcome.reason, outcome.state, now_ms=self._now_ms())

    async def carry_out(
        self,
        vehicle: Vehicle,
        name: str,
        *,
        flow_id: str,
        timeout_s: float,
        idempotency_key: str | None = None,
        client: str = "",
    ) -> Outcome:
        """Do `name` at the vehicle and say what came of it, within `timeout_s` seconds. Each request is in the audit."""

        async def refused(outcome: Outcome) -> Outcome:
            await self._registry.commands.refused(
                vehicle.vehicle_id,
                vehicle.fleet_id,
                name,
                status=outcome.status,
                reason=outcome.reason,
                flow_id=flow_id,
                client=client,
            )
            return outcome

        lane = self._lanes.setdefault(vehicle.vehicle_id, _Lane(asyncio.Lock()))
        if lane.lock.locked() and lane.waiting >= WAITING_LIMIT:
            return await refused(Outcome(429, "too_many_commands"))
        lane.waiting += 1
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await lane.lock.acquire()
        except TimeoutError:
            return await refused(Outcome(503, "busy"))
        finally:
            lane.waiting -= 1
        try:
            known = await self._registry.command_by_key(vehicle.vehicle_id, idempotency_key) if idempotency_key else None
            if known is not None and known.name == name and known.status is not None:
                return Outcome(known.status, known.reason, known.state)
            ready = await self._ready(vehicle, name, known)
            if isinstance(ready, Outcome):
                return await refused(ready)
            turn = _Turn(*ready, name, flow_id, deadline)
            return await self._send(turn, await self._begun(turn, known, idempotency_key, client))
        finally:
            lane.lock.release()

    async def _ready(self, vehicle: Vehicle, name: str, known: StoredCommand | None) -> tuple[Vehicle, Memory] | Outcome:
        """The vehicle as it is now; an Outcome if it cannot be asked. `known` is the earlier request with this key."""
        if known is not None and known.name != name:
            return Outcome(400, "idempotency_key_reused")
        attached = (await self._registry.find([vehicle.unit])).get(vehicle.unit)
        if attached is None or not self._available() or not self._downlink.connected:
            return Outcome(503, "gateway_unavailable")
        return attached if attached[1].online else Outcome(503, "unit_offline")

    async def _begun(self, turn: "_Turn", known: StoredCommand | None, key: str | None, client: str) -> Begun:
        """What is to be sent: the same bytes as before, if this is a repeat."""
        if known is not None:
            self._remember_flow(turn.vehicle.vehicle_id, known.counter, known.flow_id)
            return Begun(known.id, known.counter, known.payload)
        at_least, seal = self._sealing(turn, AskAgain())
        sent = await self._registry.commands.begin(
            turn.vehicle,
            turn.name,
            at_least=at_least,
            seal=seal,
            flow_id=turn.flow_id,
            key=key,
            client=client,
            now_ms=self._now_ms(),
        )
        self._remember_flow(turn.vehicle.vehicle_id, sent.counter, turn.flow_id)
        return sent

    def _sealing(self, turn: "_Turn", ask: AskAgain) -> tuple[int, Seal]:
        """The least counter for a request, and what makes its bytes."""
        vehicle, now = turn.vehicle, self._now_ms()
        rendered = vehicle.model.units[vehicle.unit.brand].render(turn.name)
        keys, left_s = self.keys_of(vehicle, turn.memory), turn.deadline - asyncio.get_running_loop().time()
        native, parameters = NATIVE_COMMAND if rendered.native else None, ask.nonce + rendered.parameters

        def seal(counter: int) -> bytes:
            unit = vehicle.unit.telematics_unit_id
            return seal_request(unit, keys, turn.name, counter, now, left_s, parameters, native)

        return max(now, ask.counter + 1), seal

    async def _send(self, turn: "_Turn", sent: Begun) -> Outcome:
        for attempt in range(1, ATTEMPTS_LIMIT + 1):
            result = await self._exchange(turn, sent)
            if result is None:
                return Outcome(504, "no_answer")
            if isinstance(result, Outcome):
                await self._registry.forget_command(sent.id)
                return result
            response, after = result
            answer = answered(response)
            if isinstance(answer, AskAgain) and attempt < ATTEMPTS_LIMIT:
                at_least, seal = self._sealing(turn, answer)
                asked, vehicle_id = self._registry.commands, turn.vehicle.vehicle_id
                sent = await asked.again(sent.id, vehicle_id, at_least=at_least, seal=seal)
                self._remember_flow(vehicle_id, sent.counter, turn.flow_id)
                continue
            outcome = _outcome(answer, after)
            await self._registry.finish_command(sent.id, outcome.status, outcome.reason, outcome.state, now_ms=self._now_ms())
            return outcome
        raise AssertionError("the last attempt always returns")

    async def _exchange(self, turn: "_Turn", sent: Begun) -> tuple[Envelope, Memory] | Outcome | None:
        """The unit's response; an Outcome if the request could not be sent; None if no answer came in time."""
        future: asyncio.Future[tuple[Envelope, Memory]] = asyncio.get_running_loop().create_future()
        vehicle = turn.vehicle
        self._pending[vehicle.vehicle_id, sent.counter] = future
        try:
            keys = self.keys_of(vehicle, turn.memory)
            protocol = QUICK if vehicle.brand.protocol == QUICK.name else load_protocols()[vehicle.brand.protocol]
            frame = protocol.carry(vehicle.unit.telematics_unit_id, sent.payload, self._now_ms(), keys.seal)
            if not self._downlink.send(vehicle.unit, frame):
                return Outcome(503, "gateway_unavailable")
            async with asyncio.timeout_at(turn.deadline):
                return await future
        except TimeoutError:
            return None
        finally:
            self._pending.pop((vehicle.vehicle_id, sent.counter), None)

    def keys_of(self, vehicle: Vehicle, memory: Memory) -> UnitKeys:
        """The keys of the generation that the unit last spoke with."""
        secrets = self._registry.secrets(vehicle)
        return next((keys for keys in secrets if keys.generation == memory.generation), secrets[-1])

    def _remember_flow(self, vehicle_id: str, counter: int, flow_id: str) -> None:
        self._flows[vehicle_id, counter] = flow_id
        while len(self._flows) > FLOWS_REMEMBERED:
            self._flows.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request whose turn it is. `deadline` is in the event loop's time."""

    vehicle: Vehicle
    memory: Memory
    name: str
    flow_id: str
    deadline: float


def _outcome(answer: Done | Declined | AskAgain, memory: Memory) -> Outcome:
    match answer:
        case Done():
            return Outcome(200, None, shown(memory.state))
        case Declined(reason):
            return Outcome(422, reason)
        case AskAgain():
            return Outcome(422, "out_of_step")
