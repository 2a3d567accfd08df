"""What a test can ask of a gateway, wherever it is: in the same process under virtual time, or over HTTP and AMQP."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2

from devices.unitsfile import UnitRecord
from modeldb.model import VehicleModel
from protocols.codec import UnitId

OnEvent = Callable[[Mapping[str, Any]], None]
READ_AGAIN_S = 0.3


class StandError(Exception):
    """The stand cannot be set up as it was asked for; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command: the REST status, and for refusals the reason and detail."""

    status: int
    reason: str = ""
    detail: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the vehicle did it."""
        return self.status == 200


class GatewayUnderTest(Protocol):
    """A gateway. `events` are told to the function given to `open`; `name` is for people."""

    name: str

    async def open(self, on_event: OnEvent) -> None: ...
    async def close(self) -> None: ...
    async def add(self, unit: UnitId, model: VehicleModel) -> UnitRecord: ...
    async def find(self, unit: UnitId) -> str: ...
    async def state(self, unit: UnitId) -> dict[str, Any]: ...
    async def command(self, unit: UnitId, name: str, timeout_s: float) -> Answer: ...
    async def online(self, unit: UnitId) -> bool: ...
    async def archive(self, unit: UnitId) -> None: ...
    async def restore(self, unit: UnitId) -> None: ...


class RigGateway:
    """The gateway's core in this process, under the virtual clock."""

    name = "the gateway's core, virtual time"

    def __init__(self, clock: Any, seed: int) -> None:
        self._clock, self._seed = clock, seed
        self._stack = AsyncExitStack()
        self.rig: Any = None

    async def open(self, on_event: OnEvent) -> None:
        """Begin."""
        from bench.rig import rig

        self.rig = await self._stack.enter_async_context(rig(self._clock, seed=self._seed))
        self.rig.pen.listeners.append(lambda event: on_event(json.loads(event.json())))

    async def close(self) -> None:
        """End."""
        await self._stack.aclose()

    async def add(self, unit: UnitId, model: VehicleModel) -> UnitRecord:
        """Add a vehicle."""
        record: UnitRecord = await self.rig.add(unit, model, moving=False)
        return record

    async def find(self, unit: UnitId) -> str:
        """Its vehicle's id."""
        vehicle, _ = await self.rig.vehicle(unit)
        return str(vehicle.vehicle_id)

    async def state(self, unit: UnitId) -> dict[str, Any]:
        """Property to value."""
        return dict(await self.rig.state(unit))

    async def command(self, unit: UnitId, name: str, timeout_s: float) -> Answer:
        """Carry out."""
        said = await self.rig.command(unit, name, timeout_s=timeout_s)
        return Answer(said.status, said.reason or "", "", await self.state(unit))

    async def online(self, unit: UnitId) -> bool:
        """Whether it counts as online."""
        _, memory = await self.rig.vehicle(unit)
        return bool(memory.online)

    async def archive(self, unit: UnitId) -> None:
        """Take its vehicle out of operation."""
        await self.rig.archive(unit)

    async def restore(self, unit: UnitId) -> None:
        """Take it back."""
        await self.rig.restore(unit)


class RestGateway:
    """A gateway by its URL. With `amqp_url` events come from RabbitMQ, else from `GET /events`."""

    def __init__(self, url: str, token: str, amqp_url: str | None = None) -> None:
        self.name = url
        headers, timeout = {"Authorization": f"Bearer {token}"}, httpx2.Timeout(90, read=None)
        self._api = httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout)
        self._amqp_url = amqp_url
        self._vehicles: dict[UnitId, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def open(self, on_event: OnEvent) -> None:
        """Listen to its events. Raises StandError."""
        try:
            (await self._api.get("/healthz")).raise_for_status()
        except httpx2.HTTPError as error:
            raise StandError(f"the gateway at {self.name} does not answer: {error}") from error
        if self._amqp_url is not None:
            await self._listen_by_amqp(self._amqp_url, on_event)
            return
        listening = asyncio.Event()
        self._task = asyncio.create_task(self._listen_by_http(on_event, listening))
        waiting = asyncio.create_task(listening.wait())
        await asyncio.wait({waiting, self._task}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()
        if not listening.is_set():
            raise StandError(f"the gateway at {self.name} tells no events")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stack.aclose()
        await self._api.aclose()

    async def add(self, unit: UnitId, model: VehicleModel) -> UnitRecord:
        """Add a vehicle. Raises StandError."""
        body = {"telematics_brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_model_id": model.id}
        said = await self._call("POST", "/vehicles", json=body)
        self._vehicles[unit] = said["id"]
        keys = {name: said["credentials"][name] for name in ("password", "seal_key", "command_key", "generation")}
        return UnitRecord(
            vehicle_id=said["id"],
            brand=unit.brand,
            telematics_unit_id=unit.telematics_unit_id,
            vehicle_model_id=model.id,
            moving=False,
            **keys,
        )

    async def find(self, unit: UnitId) -> str:
        """Its vehicle's id. Raises StandError where it has none."""
        if unit not in self._vehicles:
            cursor: str | None = None
            while True:
                page = await self._call("GET", "/vehicles", params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
                for each in page["items"]:
                    self._vehicles[UnitId(each["telematics_unit"]["brand"], each["telematics_unit"]["id"])] = each["id"]
                if (cursor := page.get("next_cursor")) is None or unit in self._vehicles:
                    break
        if unit not in self._vehicles:
            raise StandError(
                f"the gateway at {self.name} has no vehicle with the unit {unit}: add it first (teleloop vehicles add)"
            )
        return self._vehicles[unit]

    async def find_or_add(self, unit: UnitId, model: VehicleModel) -> None:
        """Its vehicle, added if there is none."""
        try:
            await self.find(unit)
        except StandError:
            await self.add(unit, model)

    async def model_of(self, unit: UnitId) -> str:
        """The id of its vehicle's model."""
        said = await self._call("GET", f"/vehicles/{await self.find(unit)}")
        return str(said["model"]["id"])

    async def state(self, unit: UnitId) -> dict[str, Any]:
        """Property to value."""
        said = await self._call("GET", f"/vehicles/{await self.find(unit)}/latest-vehicle-state")
        return {key: each["value"] for key, each in said.items()}

    async def command(self, unit: UnitId, name: str, timeout_s: float) -> Answer:
        """Carry out."""
        path = f"/vehicles/{await self.find(unit)}/commands/{name}"
        said = await self._api.post(path, params={"timeout": round(timeout_s)})
        body = said.json() if said.content else {}
        if said.status_code == 200:
            return Answer(200, state={key: each["value"] for key, each in body.items()})
        return Answer(said.status_code, str(body.get("reason") or ""), str(body.get("detail") or ""))

    async def online(self, unit: UnitId) -> bool:
        """Whether it counts as online."""
        said = await self._call("GET", f"/vehicles/{await self.find(unit)}")
        return bool(said["life_status"]["value"] == "ONLINE")

    async def archive(self, unit: UnitId) -> None:
        """Take its vehicle out of operation."""
        await self._call("POST", f"/vehicles/{await self.find(unit)}/archive")

    async def restore(self, unit: UnitId) -> None:
        """Take it back."""
        await self._call("POST", f"/vehicles/{await self.find(unit)}/restore")

    async def counted(self) -> dict[str, int]:
        """Its counters of frames: `refused:REASON`, `accepted`, `repeated`, `late`, `contested`."""
        found: dict[str, int] = {}
        for line in (await self._api.get("/metrics")).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith('teleloop_refused_total{reason="'):
                found["refused:" + name.split('"')[1]] = int(float(value))
            elif name.startswith('teleloop_frames_total{outcome="'):
                found[name.split('"')[1]] = int(float(value))
        return found

    async def _call(self, method: str, path: str, **request: Any) -> Any:
        try:
            said = await self._api.request(method, path, **request)
        except httpx2.HTTPError as error:
            raise StandError(f"the gateway at {self.name} does not answer: {error}") from error
        if not said.is_success:
            raise StandError(f"the gateway at {self.name} refuses {method} {path}: {said.status_code} {said.text[:300]}")
        return said.json()

    async def _listen_by_http(self, on_event: OnEvent, listening: asyncio.Event) -> None:
        last: str | None = None
        while True:
            try:
                headers = {"Last-Event-ID": last} if last else {}
                async with self._api.stream("GET", "/events", headers=headers) as answer:
                    answer.raise_for_status()
                    async for line in answer.aiter_lines():
                        listening.set()
                        name, _, value = line.partition(":")
                        if name == "id":
                            last = value.strip()
                        elif name == "data":
                            on_event(json.loads(value))
            except httpx2.HTTPStatusError as error:
                raise StandError(f"the gateway at {self.name} tells no events: {error}") from error
            except httpx2.HTTPError:
                await asyncio.sleep(READ_AGAIN_S)

    async def _listen_by_amqp(self, url: str, on_event: OnEvent) -> None:
        import aio_pika

        try:  # without heartbeats: where the units' time passes faster, they would be late
            connection = await aio_pika.connect(f"{url}{'&' if '?' in url else '?'}heartbeat=0", timeout=3_600)
            self._stack.push_async_callback(connection.close)
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind("events", routing_key="#")
        except (TimeoutError, OSError, aio_pika.exceptions.AMQPError) as error:
            raise StandError(f"no events by AMQP: {error}") from error

        async def take(message: Any) -> None:
            on_event(json.loads(message.body))

        await queue.consume(take, no_ack=True)
