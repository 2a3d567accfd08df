"""A grading of event consumers: a made fleet's events, with faults, into the consumer's queue; then its state is looked at.

Each fault has vehicles of its own, so that a wrong copy says which rule was broken. The fleet is made from a seed.
"""

# ruff: noqa: E501 - sentences for people stand on one line

import asyncio
import contextlib
import importlib
import json
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import httpx2

from bench.conformance.requirement import NotExecuted, Requirement

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
FLEET = "graded"
RESTART_TIMEOUT_S = 60.0
SPACE = uuid.UUID("2b1c6b8e-52a5-4a43-93a8-0f3b2b9a6a01")
Hook = Callable[[str], Mapping[str, Any] | None]
"""Vehicle id to the consumer's copy: `vehicle_state` (or the state itself), optionally `trips`; None: it has no such vehicle."""


class GradingError(ValueError):
    """The consumer cannot be graded; the message is for people."""


@dataclass
class GradedVehicle:
    """One vehicle as it truly is, and the events that told of it, in order. Times are steps of a second from `began`."""

    id: str
    rng: random.Random
    began: datetime
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    trips: int = 0
    there: bool = True
    _step: int = 0

    def event(self, type_: str, **body: Any) -> dict[str, Any]:
        """Tell something; it has an id of its own, the same for the same seed."""
        self._step += 1
        at = _stamp(self.began + timedelta(seconds=self._step))
        event_id = str(uuid.uuid5(SPACE, f"{self.id} {self._step} {type_}"))
        metadata = {
            "id": event_id, "type": type_, "version": "1", "flow_id": event_id, "occurred_at": at, "recorded_at": at,
            "fleet_id": FLEET, "vehicle_id": self.id,
        }  # fmt: skip
        said = {"metadata": metadata, **body}
        self.events.append(said)
        return said

    def create(self) -> None:
        """It is added."""
        self.there = True
        self.event(
            "VehicleCreated", vehicle={"id": self.id, "fleet_id": FLEET, "status": "ACTIVE", "tags": [], "custom_fields": {}}
        )

    def remove(self) -> None:
        """It is archived."""
        self.there, self.state = False, {}
        self.event("VehicleRemoved", vehicle={"id": self.id, "fleet_id": FLEET, "status": "ARCHIVED"})

    def report(self, *, late: bool = False, only: str | None = None, **values: Any) -> None:
        """A unit's report: of all properties, or of one; late: what it says is older than what is known."""
        at = _stamp(self.began + timedelta(seconds=self._step + 1 - (3600 if late else 0)))
        said = values or {
            "central_lock": self.rng.choice(("LOCKED", "UNLOCKED")),
            "mileage_in_kilometers": round(self.rng.uniform(1_000, 90_000), 1),
            "position": {"lat": round(self.rng.uniform(-60, 60), 6), "lon": round(self.rng.uniform(-170, 170), 6)},
        }
        changed = {key: {"timestamp": at, "value": value} for key, value in said.items() if only in (None, key)}
        if not late:
            self.state = {**self.state, **changed}
        self.event("VehicleStateRecorded", vehicle_state=dict(self.state), changed=changed, late=late)

    def trip(self) -> None:
        """A trip of some kilometres."""
        trip_id = str(uuid.uuid5(SPACE, f"{self.id} trip {self.trips}"))
        self.event("TripStarted", trip={"id": trip_id})
        self.event("TripEnded", trip={"id": trip_id})
        self.trips += 1


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Consumer:
    """A consumer to be graded: its queue, how its state is asked for, and how it is started anew."""

    amqp_url: str
    queue: str
    state_url: str | None = None
    callback: str | None = None
    restart_command: str | None = None
    seed: int = 1
    vehicles: int = 8
    events: int = 12
    timeout_s: float = 20.0


class Grading:
    """One consumer being graded; phases feed it, checks look at what became of them."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer, self.log = consumer, list[str]()
        self.rng = random.Random(consumer.seed)
        self.fed = 0
        self._began = datetime(2026, 1, 30, 13, 0, tzinfo=UTC)
        self._connection: Any = None
        self._phases: dict[str, Any] = {}
        self._vehicles: dict[str, list[GradedVehicle]] = {}
        self._http = httpx2.Client(timeout=10)
        self.hook = self._hook()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def _hook(self) -> Hook:
        if self.consumer.callback is not None:
            module, colon, name = self.consumer.callback.partition(":")
            try:
                if not colon:
                    raise ImportError("module:function is wanted")
                if "" not in sys.path:
                    sys.path.insert(0, "")
                found: Hook = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                raise GradingError(f"--callback {self.consumer.callback}: {error}") from error
            return found
        if self.consumer.state_url is None or "{vehicle_id}" not in self.consumer.state_url:
            raise GradingError("--state-url http://host:port/...{vehicle_id} or --callback module:function is wanted")
        return self._ask

    def _ask(self, vehicle_id: str) -> Mapping[str, Any] | None:
        assert self.consumer.state_url is not None
        answer = self._http.get(self.consumer.state_url.format(vehicle_id=vehicle_id))
        if answer.status_code == 404:
            return None
        said = answer.raise_for_status().json()
        return said if isinstance(said, Mapping) else None

    def open(self) -> None:
        """Look whether the queue is there. Raises GradingError."""
        try:
            self._do(self._open())
        except Exception as error:
            raise GradingError(f"queue {self.consumer.queue}: {type(error).__name__}: {error}") from error

    async def _open(self) -> None:
        self._connection = await aio_pika.connect(self.consumer.amqp_url)
        self._channel = await self._connection.channel()
        queue = await self._channel.get_queue(self.consumer.queue, ensure=True)
        self.note(
            f"queue {queue.name}: {queue.declaration_result.consumer_count} consumers, {queue.declaration_result.message_count} messages"
        )

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def note(self, line: str) -> int:
        """A line in the log; its number."""
        self.log.append(f"{time.time():.3f} {line}")
        return len(self.log) - 1

    def feed(self, events: Sequence[Mapping[str, Any]], pause_s: float = 0.0) -> None:
        """Put events into the queue as the gateway does."""
        self._do(self._publish(events, pause_s))
        self.fed += len(events)

    async def _publish(self, events: Sequence[Mapping[str, Any]], pause_s: float) -> None:
        for event in events:
            said = event["metadata"]
            headers = {"Flow-ID": said["flow_id"], "Message-Type": said["type"], "Message-Version": said["version"]}
            message = aio_pika.Message(
                json.dumps(event).encode(),
                headers=headers,
                content_type="application/json",
                message_id=said["id"],
                delivery_mode=2,
            )
            self.note(f"event {said['type']} of {said['vehicle_id']} {said['id']}")
            await self._channel.default_exchange.publish(message, routing_key=self.consumer.queue)
            if pause_s:
                await asyncio.sleep(pause_s)

    def waiting(self) -> int:
        """Messages in the queue that nobody has taken."""

        async def look() -> int:
            channel = await self._connection.channel()
            try:
                queue = await channel.declare_queue(self.consumer.queue, passive=True)
                return queue.declaration_result.message_count or 0
            finally:
                await channel.close()

        found: int = self._do(look())
        return found

    def until(self, condition: Callable[[], Any], seconds: float | None = None) -> Any:
        """Poll until something true, at most so long; what it was in the end."""
        give_up = time.monotonic() + (self.consumer.timeout_s if seconds is None else seconds)
        while not (found := condition()) and time.monotonic() < give_up:
            time.sleep(0.1)
        return found

    # The fleet -----------------------------------------------------------------------------------------------------------

    def vehicles(self, group: str, count: int | None = None) -> list[GradedVehicle]:
        """Fresh vehicles of a group, created."""
        made = []
        for _ in range(count or max(2, self.consumer.vehicles // 4)):
            self._began += timedelta(hours=1)
            vehicle = GradedVehicle(
                "".join(self.rng.choice(ALPHABET) for _ in range(5)), random.Random(self.rng.random()), self._began
            )
            vehicle.create()
            made.append(vehicle)
        self._vehicles.setdefault(group, []).extend(made)
        return made

    def lives(self, vehicle: GradedVehicle) -> None:
        """Some reports and trips."""
        for number in range(self.consumer.events):
            vehicle.report()
            if number % 4 == 3:
                vehicle.trip()

    def merged(
        self, vehicles: Sequence[GradedVehicle], lists: Sequence[Sequence[Mapping[str, Any]]] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """The events of several vehicles, mixed, each vehicle's own in order."""
        left = [list(each) for each in (lists or [vehicle.events for vehicle in vehicles])]
        while any(left):
            chosen = self.rng.choice([each for each in left if each])
            yield chosen.pop(0)

    # Looking -------------------------------------------------------------------------------------------------------------

    def copy(self, vehicle: GradedVehicle) -> Mapping[str, Any] | None:
        """The consumer's copy. Raises NotExecuted where its hook fails."""
        try:
            return self.hook(vehicle.id)
        except Exception as error:
            raise NotExecuted(f"the hook fails: {type(error).__name__}: {error}", "see --state-url and --callback") from error

    def wrong(self, vehicle: GradedVehicle) -> str:
        """How the consumer's copy of a vehicle's state differs from the truth; nothing if it does not."""
        copy = self.copy(vehicle)
        if not vehicle.there:
            return "" if not copy else f"{vehicle.id} is still there: {copy}"
        if copy is None:
            return f"{vehicle.id} is not there"
        said = copy.get("vehicle_state", copy)
        shown = {key: each["value"] if isinstance(each, Mapping) and "value" in each else each for key, each in said.items()}
        for key, each in vehicle.state.items():
            if shown.get(key) != each["value"]:
                return f"{vehicle.id}: {key} is {shown.get(key)!r}, not {each['value']!r}"
        return ""

    def settled(self, vehicles: Sequence[GradedVehicle], seconds: float | None = None) -> str:
        """Wait until the consumer's copies are right; what is wrong in the end."""

        def right() -> bool:
            return not any(map(self.wrong, vehicles))

        self.until(right, seconds)
        if not right():
            return next(filter(None, map(self.wrong, vehicles)), "")
        self.until(lambda: self.waiting() == 0, 5)
        time.sleep(0.3)  # what comes behind the last event may still spoil it
        return next(filter(None, map(self.wrong, vehicles)), "")

    def miscounted(self, vehicles: Sequence[GradedVehicle]) -> str:
        """How the consumer's count of trips differs. Raises NotExecuted where it does not say it."""

        def wrong() -> str:
            for vehicle in vehicles:
                copy = self.copy(vehicle)
                if copy is None:
                    return f"{vehicle.id}: the consumer has no such vehicle"
                if "trips" not in copy:
                    raise NotExecuted("the hook does not say how many trips it has counted", "say `trips` beside `vehicle_state`")
                if copy["trips"] != vehicle.trips:
                    return f"{vehicle.id}: {copy['trips']} trips, not {vehicle.trips}"
            return ""

        self.until(lambda: not wrong(), 5)
        return wrong()

    def restart(self) -> None:
        """Have the consumer end and start again. Raises NotExecuted where the kit cannot."""
        if self.consumer.restart_command is None:
            raise NotExecuted("the kit cannot restart the consumer", "give --restart-command")
        self.note(f"restart: {self.consumer.restart_command}")
        done = subprocess.run(
            self.consumer.restart_command, shell=True, capture_output=True, text=True, timeout=RESTART_TIMEOUT_S
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-200:]
            raise NotExecuted(
                f"--restart-command ended with {done.returncode}: {said}", "give a command that ends and starts the consumer"
            )

    def phase(self, name: str, play: Callable[[], Any]) -> Any:
        """What `play` gives, or raises NotExecuted: played once."""
        if name not in self._phases:
            self.note(f"--- {name}")
            try:
                self._phases[name] = play()
            except NotExecuted as error:
                self._phases[name] = error
        found = self._phases[name]
        if isinstance(found, NotExecuted):
            raise NotExecuted(found.reason, found.todo)
        return found

    def of(self, requirement: Requirement) -> "Grading":
        """Itself, for every requirement."""
        return self

    def about(self) -> dict[str, str]:
        """What a reader of the report has to know."""
        return {"queue": self.consumer.queue, "seed": str(self.consumer.seed), "events fed": str(self.fed)}

    def close(self) -> None:
        """Let go of RabbitMQ."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._do(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
