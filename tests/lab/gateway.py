"""The gateway as its users have it: a process of its own, reached over HTTP; and units on real MQTT connections."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiomqtt

from bench.lab.gateway import GatewayProcess as LabGateway
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.vehicle import Vehicle
from modeldb import load
from protocols.codec import UnitId

T = TypeVar("T")


class GatewayProcess(LabGateway):
    """The laboratory's gateway, with what tests ask of it."""

    def add(self, unit: UnitId, model_id: str) -> "Added":
        """Add a vehicle with this unit; 201 is expected."""
        body = {"telematics_brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_model_id": model_id}
        answer = self.call("POST", "/vehicles", json=body)
        assert answer.status_code == 201, answer.text
        return Added(answer.json())

    def state(self, vehicle_id: str) -> dict[str, Any]:
        """The vehicle's latest state: property to value."""
        answer = self.call("GET", f"/vehicles/{vehicle_id}/latest-vehicle-state")
        assert answer.status_code == 200, answer.text
        return {key: said["value"] for key, said in answer.json().items()}


class Added(dict[str, Any]):
    """What adding a vehicle answered."""

    @property
    def unit(self) -> UnitId:
        """Its unit."""
        said = self["telematics_unit"]
        return UnitId(said["brand"], said["id"])

    @property
    def seal_key(self) -> bytes:
        """K_seal."""
        return bytes.fromhex(self["credentials"]["seal_key"])


@contextmanager
def gateway(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[GatewayProcess]:
    """A running gateway, stopped at the end."""
    process = GatewayProcess(folder, environment)
    process.start()
    try:
        yield process
    finally:
        process.stop()


class LineUnit:
    """A simulated unit on a real connection of an independent MQTT client, paced by the test.

    `down` are the payloads that came for it, `attempted` its frames by sequence number, from the moment they were captured.
    """

    def __init__(
        self, added: Added, broker_url: str, *, vehicle: Vehicle | None = None, intervals: Intervals | None = None
    ) -> None:

        model = load().models[added["model"]["id"]]
        translation = model.units[added.unit.brand]
        credentials = added["credentials"]
        self.id = added.unit
        self.vehicle = vehicle or Vehicle.of(model, added.unit.brand)
        self.config = UnitConfig(
            added.unit,
            translation,
            bytes.fromhex(credentials["seal_key"]),
            {credentials["generation"]: bytes.fromhex(credentials["command_key"])},
            intervals=intervals or Intervals(),
        )
        self.password = credentials["password"]
        self.flash = Flash.factory(now_ms())
        self.attempted: dict[int, bytes] = {}
        protocol = load().brands[added.unit.brand].protocol
        self.unit = switch_on(protocol, self.config, self.flash, self.vehicle, lambda flash: self.attempted.update(flash.journal))
        self.broker = urlsplit(broker_url)
        self.down: list[bytes] = []
        self._client: aiomqtt.Client

    @asynccontextmanager
    async def online(self, firmware: bool = True) -> AsyncIterator["LineUnit"]:
        """Connected; with its firmware on it reports and obeys meanwhile, without it says only what the test says."""
        topic = f"v1/{self.id.brand}/{self.id.telematics_unit_id}"
        will = aiomqtt.Will(f"{topic}/presence", b"offline", qos=1, retain=True)
        async with aiomqtt.Client(
            self.broker.hostname or "",
            self.broker.port or 1883,
            username=str(self.id),
            password=self.password,
            identifier=str(self.id),
            clean_session=False,
            will=will,
        ) as self._client:
            await self._client.subscribe(f"{topic}/down", qos=1)
            await self._client.publish(f"{topic}/presence", b"online", qos=1, retain=True)
            tasks = self._tasks = [asyncio.create_task(self._listen(firmware))]
            if firmware:
                await self.say(self.unit.connected(now_ms()))
                tasks.append(asyncio.create_task(self._tick()))
            try:
                yield self
            finally:
                await _ended(tasks)
                self.unit.disconnected(now_ms())

    async def say(self, payloads: list[bytes]) -> None:
        """Publish on the unit's own `up`."""
        for payload in payloads:
            await self._client.publish(f"v1/{self.id.brand}/{self.id.telematics_unit_id}/up", payload, qos=1)

    @property
    def acknowledged(self) -> dict[int, bytes]:
        """The frames that the gateway has said it holds."""
        return {sequence: frame for sequence, frame in self.attempted.items() if sequence not in self.flash.journal}

    async def stay_online(self, stopped: asyncio.Event) -> None:
        """Connect, again whenever the connection is lost, until `stopped`."""
        while not stopped.is_set():
            try:
                async with self.online():
                    while not stopped.is_set() and not self._lost():
                        await asyncio.sleep(0.1)
            except aiomqtt.MqttError:
                await asyncio.sleep(random.uniform(0.2, 1.0))

    def _lost(self) -> bool:
        return any(task.done() for task in self._tasks)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish anywhere, as this unit."""
        await self._client.publish(topic, payload, qos=1)

    async def report(self) -> None:
        """Look at the vehicle now and say what is due."""
        await self.say(self.unit.tick(now_ms()))

    async def _listen(self, firmware: bool) -> None:
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            self.down.append(message.payload)
            if firmware:
                await self.say(self.unit.receive(message.payload, now_ms()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.say(self.unit.tick(now_ms()))


async def _ended(tasks: list["asyncio.Task[None]"]) -> None:
    """Cancel until they have ended: in Python 3.11 wait_for may swallow a cancellation that comes together with its result."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def eventually(condition: Callable[[], T | Awaitable[T]], timeout_s: float = 15.0, what: str = "it") -> T:
    """Poll until the condition gives something true, and give that; TimeoutError names what was waited for."""
    give_up = time.monotonic() + timeout_s
    while True:
        said = condition()
        value = await said if isinstance(said, Awaitable) else said
        if value:
            return value
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(0.05)
