"""A connection that says what it is given, as one unit or as a login that may speak for all, and hears what is answered."""

import asyncio
from collections.abc import Callable
from typing import Any

import gmqtt
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError

from bench.recorder import BrokerLogin, BrokerRefused
from protocols.codec import UnitId

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 15.0
UNACKNOWLEDGED = 100
"""Messages that may be on their way to the broker at a time: what goes beyond that waits, and with it whoever says it."""

ANSWER_TIMEOUT_S = 15.0


class Outlet:
    """`on_down` hears what comes on `down` topics: the topic and the payload. One message after the other, QoS 1."""

    def __init__(self, broker: BrokerLogin, client_id: str, on_down: Callable[[str, bytes], None]) -> None:
        self._broker, self._on_down = broker, on_down
        self._lost = asyncio.Event()
        self._client: Any = gmqtt.Client(client_id, clean_session=True)
        self._client.set_config({"reconnect_retries": -2})  # gmqtt counts from 0: with 0 it comes back once by itself
        if broker.user:
            self._client.set_auth_credentials(broker.user, broker.secret)
        self._client.on_message = self._received
        self._client.on_disconnect = lambda *_: self._lost.set()

    async def open(self, listen: str) -> None:
        """Connect and listen on a topic, as far as the broker lets us. Raises BrokerRefused."""
        broker, heard = self._broker, asyncio.Event()
        self._client.on_subscribe = lambda *_: heard.set()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._client.connect(broker.host, broker.port, ssl=broker.tls, keepalive=KEEPALIVE_S, version=MQTTv311)
                self._client.subscribe(listen, qos=1)
                await heard.wait()
        except MQTTConnectError as error:
            raise BrokerRefused(f"{broker.address} does not let {broker.user or 'us'} in: {error}") from error
        except TimeoutError as error:
            raise BrokerRefused(f"{broker.address} does not answer {broker.user or 'us'}, or closed the connection") from error
        except OSError as error:
            raise BrokerRefused(f"{broker.address} cannot be reached: {error}") from error

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Say it; returns once there is room for the next. Raises BrokerRefused when the connection is gone."""
        if self._lost.is_set() or not self._client.is_connected:
            raise BrokerRefused(f"{self._broker.address} closed the connection")
        self._client.publish(topic, payload, qos=1, retain=retain)
        if self.waiting >= UNACKNOWLEDGED:
            await self.drained()

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged."""
        return len(self._client._persistent_storage.get_all())

    async def drained(self) -> None:
        """Until the broker has acknowledged everything. Raises BrokerRefused where it does not."""
        waiting = asyncio.ensure_future(self._client._persistent_storage.wait_empty())
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({waiting, losing}, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise BrokerRefused(f"{self._broker.address} closed the connection, or acknowledges nothing")
        finally:
            for task in (waiting, losing):
                task.cancel()
            await asyncio.gather(waiting, losing, return_exceptions=True)

    async def close(self) -> None:
        """Disconnect."""
        self._client.on_disconnect = lambda *_: None
        if self._client._connection is None:
            return
        try:
            async with asyncio.timeout(2):
                await self._client.disconnect()
        except (OSError, TimeoutError):
            pass

    def _received(self, client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        self._on_down(topic, bytes(payload))
        return 0


def topic_of(unit: UnitId, channel: str) -> str:
    """`v1/{brand}/{id}/{channel}`."""
    return f"v1/{unit.brand}/{unit.telematics_unit_id}/{channel}"
