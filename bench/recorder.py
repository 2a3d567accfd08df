"""All that a broker hands out, into a recording: a client that only listens."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import gmqtt
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError

from bench.recording import RecordingWriter
from protocols.recording import Record

TOPICS = ("v1/+/+/up", "v1/+/+/down", "v1/+/+/presence")
"""All that units and gateway say to each other, topic by topic: a broker may grant one and refuse another."""

FLUSH_S = 0.5
KEEPALIVE_S = 20
CONNECT_TIMEOUT_S = 10.0
RECONNECT_LIMIT_S = 5.0
SUBSCRIBE_FAILURE = 0x80


class BrokerRefused(Exception):
    """The broker cannot be reached, does not take the login, or lets it hear nothing of what is wanted."""


@dataclass(frozen=True, slots=True, repr=False)
class BrokerLogin:
    """Where a broker is and who we are there. Has no repr: secrets do not belong in logs."""

    host: str
    port: int
    tls: bool
    user: str
    secret: str

    @classmethod
    def parse(cls, url: str) -> "BrokerLogin":
        """`mqtt://user:secret@host:port` or `mqtts://...`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("the broker is wanted as mqtt://user:secret@host:port or mqtts://...")
        tls = parts.scheme == "mqtts"
        port = parts.port or (8883 if tls else 1883)
        return cls(parts.hostname, port, tls, unquote(parts.username or ""), unquote(parts.password or ""))

    @property
    def address(self) -> str:
        """Without the login."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


@dataclass(slots=True)
class Heard:
    """What a recorder has heard so far. `units` are user names of units, `refused` the topic filters that may not be heard."""

    messages: int = 0
    payload_bytes: int = 0
    interruptions: int = 0
    units: set[str] = field(default_factory=set)
    channels: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


class Recorder:
    """Writes what the broker hands out on `topics`, in the order and at the time it arrives, until `stop` is set.

    A broken connection is made again: what was said meanwhile is not in the recording, and `heard.interruptions` counts it.
    """

    def __init__(
        self,
        broker: BrokerLogin,
        writer: RecordingWriter,
        topics: Sequence[str] = TOPICS,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.broker, self.writer, self.topics, self.heard = broker, writer, topics, Heard()
        self._now_us = now_us
        self._client: Any = None
        self._client_id = f"teleloop-recorder-{secrets.token_hex(4)}"
        self._lost = asyncio.Event()

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Record. Raises BrokerRefused where the first connection fails, OSError where the file cannot be written."""
        await self._connect()
        started()
        flushing = asyncio.create_task(self._keep_flushing())
        staying = asyncio.create_task(self._stay_connected())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({flushing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if flushing.done():
                flushing.result()
        finally:
            for task in (flushing, staying, stopping):
                task.cancel()
            await asyncio.gather(flushing, staying, stopping, return_exceptions=True)
            await self._drop()
            self.writer.flush()

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.writer.flush()

    async def _stay_connected(self) -> None:
        while True:
            await self._lost.wait()
            self.heard.interruptions += 1
            await self._drop()
            delay_s = 0.2
            while True:
                try:
                    await self._connect()
                    break
                except BrokerRefused:
                    await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                    delay_s = min(2 * delay_s, RECONNECT_LIMIT_S)

    async def _connect(self) -> None:
        self._lost.clear()
        client = self._client = gmqtt.Client(self._client_id, clean_session=True)
        client.set_config({"reconnect_retries": -2})  # gmqtt counts from 0: with 0 it comes back once by itself
        if self.broker.user:
            client.set_auth_credentials(self.broker.user, self.broker.secret)
        granted: asyncio.Queue[bool] = asyncio.Queue()
        client.on_subscribe = lambda _client, _mid, qos, _properties: granted.put_nowait(
            all(each < SUBSCRIBE_FAILURE for each in qos)
        )
        client.on_message = self._received
        client.on_disconnect = lambda *_: self._lost.set()
        broker, refused = self.broker, []
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(broker.host, broker.port, ssl=broker.tls, keepalive=KEEPALIVE_S, version=MQTTv311)
                for topic in self.topics:
                    client.subscribe(topic, qos=1)
                    if not await granted.get():
                        refused.append(topic)
        except MQTTConnectError as error:
            await self._drop()
            raise BrokerRefused(f"{broker.address} does not let this login in: {error}") from error
        except TimeoutError as error:
            await self._drop()
            raise BrokerRefused(f"{broker.address} does not answer, or closed the connection") from error
        except OSError as error:
            await self._drop()
            raise BrokerRefused(f"{broker.address} cannot be reached: {error}") from error
        self.heard.refused = refused
        if len(refused) == len(self.topics):
            await self._drop()
            raise BrokerRefused(f"{broker.address} lets this login hear none of {', '.join(self.topics)}")

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None and client._connection is not None:
            client.on_disconnect = lambda *_: None
            try:
                async with asyncio.timeout(2):
                    await client.disconnect()
            except (OSError, TimeoutError):
                pass

    def _received(self, client: Any, topic: str | bytes, payload: bytes, qos: int, properties: Any) -> int:
        if isinstance(topic, bytes):  # no UTF-8: against MQTT, and kept as it is
            topic = topic.decode("utf-8", "surrogateescape")
        record = Record(self._now_us(), topic, bytes(payload), qos, bool(properties.get("retain")))
        self.writer.append(record)
        self.heard.messages += 1
        self.heard.payload_bytes += len(payload)
        if record.unit is not None:
            self.heard.units.add(str(record.unit))
        self.heard.channels[record.channel or "other"] += 1
        return 0
