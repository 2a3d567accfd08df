"""MQTT, the units' side of the gateway: payloads in, unacknowledged until the work on them is done, and payloads out.

gmqtt 0.8 hands each QoS 1 message to `_handle_qos_1_publish_packet(mid, payload, topic, properties)` and would acknowledge it
by itself; that one method is replaced, so that PUBACK goes out when the gateway says so, on the connection the message came by.
Once the subscriptions stand, such messages do not even go as far: `_Inlet` takes them from the bytes that came, because gmqtt's
way to that method costs several times what is needed.
"""

import asyncio
import random
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote, urlsplit

import gmqtt
import structlog
from gmqtt.mqtt.constants import MQTTCommands, MQTTv311
from gmqtt.mqtt.package import Package

from gateway.gulps import Gulps
from protocols.codec import UnitId

KEEPALIVE_S = 30
RECONNECT_LIMIT_S = 15.0
TOPIC_VERSION = "v1"
PUBLISH_QOS_1, DUP, RETAIN = 0x32, 0x08, 0x01
"""The first byte of a PUBLISH (MQTT 3.1.1, section 3.3.1), and its flags."""
PUBACK = b"\x40\x02"
"""All of a PUBACK but the packet identifier (section 3.4)."""
LENGTH_BYTES = 4
"""A packet's remaining length has no more (section 2.2.3)."""

log = structlog.get_logger(__name__)

Acknowledge = Callable[[], None]
OnPayload = Callable[[UnitId, bytes, Acknowledge], None]
OnPresence = Callable[[UnitId, bool, bool], None]


TOPICS_KEPT = 65_536
_topics: dict[bytes, tuple[UnitId, str] | None] = {}


def _parsed(topic: bytes) -> tuple[UnitId, str] | None:
    try:
        return _topics[topic]
    except KeyError:
        pass
    try:
        said = parse_topic(topic.decode())
    except UnicodeDecodeError:
        said = None
    if len(_topics) >= TOPICS_KEPT:
        _topics.clear()
    _topics[topic] = said
    return said


@lru_cache(maxsize=65536)
def parse_topic(topic: str) -> tuple[UnitId, str] | None:
    """`v1/{brand}/{telematics_unit_id}/{channel}` as (unit, channel); None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[0] != TOPIC_VERSION or not parts[1] or not parts[2]:
        return None
    return UnitId(parts[1], parts[2]), parts[3]


def down_topic(unit: UnitId) -> str:
    """Where a unit listens."""
    return f"{TOPIC_VERSION}/{unit.brand}/{unit.telematics_unit_id}/down"


@lru_cache(maxsize=65536)
def _down(unit: UnitId) -> bytes:
    """The topic as a PUBLISH begins with it."""
    topic = down_topic(unit).encode()
    return len(topic).to_bytes(2) + topic


def _length(size: int) -> bytes:
    """A packet's remaining length."""
    said = b""
    while size > 0x7F:
        said += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return said + bytes((size,))


class _Outlet:
    """What is said in one turn of the event loop, in one write: a batch's PUBACKs and Acks cost one call of the system.

    It stands in for gmqtt's own way to write, from `open` to `close`.
    """

    def __init__(self, connection: Any) -> None:
        self._protocol = connection._protocol
        self._write: Callable[[bytes], None] = self._protocol.write_data
        self._waiting: list[bytes] = []
        self._closed = False

    def open(self) -> None:
        """From now on."""
        self._protocol.write_data = self._add

    def close(self) -> None:
        """Write what waits, and everything else at once."""
        self._closed = True
        self._protocol.write_data = self._write
        self._flush()

    def acknowledge(self, mid: int) -> None:
        """Say PUBACK, if this connection is still the one that there is."""
        if not self._closed:
            self._add(PUBACK + mid.to_bytes(2))

    def _add(self, data: bytes) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(data)

    def _flush(self) -> None:
        if self._waiting:
            said, self._waiting = b"".join(self._waiting), []
            self._write(said)


class _Inlet:
    """What a connection receives, as it comes: QoS 1 messages go to `take` (mid, payload, topic, whether the broker had kept it),
    everything else to gmqtt. It stands in for gmqtt's own way to cut packets.
    """

    def __init__(self, connection: Any, take: Callable[[int, bytes, bytes, bool], None], gulps: Gulps) -> None:
        self._connection, self._take, self._gulps = connection, take, gulps

    def open(self) -> None:
        """From now on."""
        self._connection._protocol._read_packet = self.read

    def read(self, data: bytes) -> int:
        """Take the whole packets at the front of `data`; how many bytes they are, -1 where this is no MQTT."""
        connection, take, at, size = self._connection, self._take, 0, len(data)
        connection._last_data_in = time.monotonic()
        self._gulps.took()
        while size - at >= 2:
            first, length, begin = data[at], data[at + 1], at + 2
            if length & 0x80:
                length &= 0x7F
                while begin < size and data[begin - 1] & 0x80:
                    if begin - at > LENGTH_BYTES:
                        return -1
                    length |= (data[begin] & 0x7F) << 7 * (begin - at - 1)
                    begin += 1
                if data[begin - 1] & 0x80:
                    break
            end = begin + length
            if end > size:
                break
            topic_at = begin + 2
            topic_end = topic_at + (data[begin] << 8 | data[begin + 1]) if length >= 4 else end
            if first & ~(DUP | RETAIN) == PUBLISH_QOS_1 and topic_end + 2 <= end:
                mid = data[topic_end] << 8 | data[topic_end + 1]
                take(mid, data[topic_end + 2 : end], data[topic_at:topic_end], bool(first & RETAIN))
            else:
                connection.put_package(Package(first, data[begin:end]))
            at = end
        return at


class Line:
    """The gateway's connection to the units' broker: persistent session, QoS 1, reconnecting for as long as it is open.

    `on_payload` is called for each uplink message with a function that acknowledges it; `on_presence` for each presence
    message, with whether it says online, and whether the broker had kept it (retained) for those who subscribe.
    `pause` and `resume` stop and start reading from the socket: pressure goes back to the broker.
    """

    def __init__(self, url: str, on_payload: OnPayload, on_presence: OnPresence, client_id: str = "teleloop-gateway") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError("the broker's address is wanted as mqtt://user:secret@host:port or mqtts://...")
        self._host, self._tls = parts.hostname, parts.scheme == "mqtts"
        self._port = parts.port or (8883 if self._tls else 1883)
        self._user, self._secret = unquote(parts.username or ""), unquote(parts.password or "")
        self._client_id = client_id
        self._on_payload, self._on_presence = on_payload, on_presence
        self._client: Any = None
        self._outlet: _Outlet | None = None
        self._gulps: Gulps | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._paused = False

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and the subscriptions stand."""
        return self._up.is_set()

    async def open(self, timeout_s: float = 10.0) -> bool:
        """Start connecting; True when connected within `timeout_s`. It goes on trying either way."""
        self._task = asyncio.create_task(self._stay_connected(), name="mqtt line")
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Disconnect; what is not acknowledged stays with the broker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()

    def send(self, unit: UnitId, payload: bytes) -> bool:
        """Publish to the unit, QoS 1. False: not connected, nothing was sent."""
        if not self.connected:
            return False
        client, topic = self._client, _down(unit)
        protocol = client._connection._protocol
        # As gmqtt's publish does, at a quarter of its cost: it keeps the packet until it is acknowledged, and sends it again.
        mid = protocol.id_generator.next_id()
        packet = b"%c%b%b%b%b" % (PUBLISH_QOS_1, _length(len(topic) + 2 + len(payload)), topic, mid.to_bytes(2), payload)
        protocol.write_data(packet)
        client._persistent_storage.push_message(mid, packet)
        return True

    def pause(self) -> None:
        """Stop reading from the broker."""
        self._hold(True)

    def resume(self) -> None:
        """Read on."""
        self._hold(False)

    def _hold(self, held: bool) -> None:
        self._paused = held
        if self._gulps is not None:
            self._gulps.hold(held)

    async def _stay_connected(self) -> None:
        delay_s = 0.2
        while True:
            try:
                await self._connect()
            except (OSError, gmqtt.mqtt.handler.MQTTConnectError, TimeoutError) as error:
                log.warning("the units' broker cannot be reached", host=self._host, port=self._port, error=str(error))
                await self._drop()
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, RECONNECT_LIMIT_S)
                continue
            delay_s = 0.2
            log.info("connected to the units' broker", host=self._host, port=self._port)
            await self._lost.wait()
            self._up.clear()
            log.warning("the connection to the units' broker is lost", host=self._host, port=self._port)
            await self._drop()

    async def _connect(self) -> None:
        self._lost.clear()
        client = gmqtt.Client(self._client_id, clean_session=False, optimistic_acknowledgement=False)
        client.set_config({"reconnect_retries": -2})  # gmqtt counts from 0: with 0 it comes back once, under our own client id
        client._package_handler._handle_qos_1_publish_packet = self._received
        client.on_disconnect = lambda *_: self._disconnected(client)
        client.set_auth_credentials(self._user, self._secret)
        self._client = client
        subscribed = asyncio.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        async with asyncio.timeout(10):
            await client.connect(self._host, self._port, ssl=self._tls, keepalive=KEEPALIVE_S, version=MQTTv311)
            for channel in ("up", "presence"):
                subscribed.clear()
                client.subscribe(f"{TOPIC_VERSION}/+/+/{channel}", qos=1)
                await subscribed.wait()
        self._outlet = _Outlet(client._connection)
        self._outlet.open()
        self._gulps = Gulps(client._connection._transport)
        _Inlet(client._connection, partial(self._take, self._outlet), self._gulps).open()
        if self._paused:
            self._hold(True)
        self._up.set()

    def _disconnected(self, client: Any) -> None:
        if client is self._client:
            self._up.clear()
            self._lost.set()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        outlet, self._outlet, self._gulps = self._outlet, None, None
        self._up.clear()
        if outlet is not None:
            outlet.close()
        if client is not None and client._connection is not None:
            try:
                async with asyncio.timeout(2):
                    await client.disconnect()
            except (OSError, TimeoutError):
                pass

    def _take(self, outlet: _Outlet, mid: int, payload: bytes, topic: bytes, retained: bool) -> None:
        """What came by the connection that `outlet` leads to."""
        acknowledge = partial(outlet.acknowledge, mid)
        try:
            self._hear(_parsed(topic), payload, retained, acknowledge)
        except Exception:  # as gmqtt does: one message that cannot be worked on leaves the connection to the others
            log.exception("a message cannot be taken", topic=topic)

    def _received(self, mid: int, payload: bytes, topic: str, properties: dict[str, Any]) -> None:
        """What came before the subscriptions stood."""
        connection = self._client._connection

        def acknowledge() -> None:
            if self._client is not None and self._client._connection is connection and not connection.is_closing():
                connection.send_command_with_mid(MQTTCommands.PUBACK, mid, False)

        self._hear(parse_topic(topic), payload, bool(properties["retain"]), acknowledge)

    def _hear(self, parsed: tuple[UnitId, str] | None, payload: bytes, retained: bool, acknowledge: Acknowledge) -> None:
        if parsed is not None:
            unit, channel = parsed
            if channel == "up":
                self._on_payload(unit, payload, acknowledge)
                return
            if channel == "presence":
                self._on_presence(unit, payload == b"online", retained)
        acknowledge()
