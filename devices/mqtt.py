"""One unit's MQTT connection: its own client id, user name and secret, a persistent session, a Last Will.

gmqtt 0.8 reconnects by itself as long as `failed_connections <= reconnect_retries`, so that even 0 retries are one: a negative
number keeps it from it, and the fleet decides when to try again. A new client is made for each attempt: frames that the old one
still had in its queue are in the unit's journal anyway.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import gmqtt
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError

from devices.faults.fault import Stray
from protocols.codec import UnitId

KEEPALIVE_S = 18
"""gmqtt gives up after two silent keepalives and looks every half of one: a dead line is noticed within 45 s."""

CONNECT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 1.5
NEVER_RECONNECT = -2
LOGIN_REFUSED = (4, 5)
"""CONNACK: bad user name or password, not authorised (MQTT 3.1.1 table 3.1)."""

SUBSCRIBE_FAILURE = 0x80
"""SUBACK return code (MQTT 3.1.1 section 3.9.3)."""


class LineError(Exception):
    """The broker could not be reached, or closed the line before the unit was on it."""


class LoginRefusedError(LineError):
    """The broker does not accept the unit's name and secret."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where units connect to."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "BrokerAddress":
        """`mqtt://host:port` or `mqtts://host:port`; a login in it is not the units' and is passed over. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"the broker is wanted as mqtt://host:port or mqtts://host:port, not {url!r}")
        tls = parts.scheme == "mqtts"
        return cls(parts.hostname, parts.port or (8883 if tls else 1883), tls)


class Connection(Protocol):
    """A unit's connection to a broker, from one `open` to one loss."""

    async def open(self) -> None:
        """Connect, listen on `down`, say `online`. Raises LoginRefusedError or LineError; then nothing is left open."""

    def publish(self, payload: bytes) -> None:
        """Send a payload on `up`, or where a Stray goes; on a lost line it is dropped."""

    def drop(self) -> None:
        """Lose the line without a word, so that the broker sends the will. `on_lost` is not called."""

    async def close(self) -> None:
        """Say `offline` and disconnect."""


Dial = Callable[[BrokerAddress, UnitId, str, Callable[[bytes], None], Callable[[], None]], Connection]
"""Makes a connection: broker, unit, password, what is called with each payload that comes down, what is called on loss."""


class Line:
    """A unit's connection from one `open` to one loss. `on_payload` gets what comes down, `on_lost` is called once at most."""

    def __init__(
        self, broker: BrokerAddress, unit: UnitId, password: str, on_payload: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self._broker, self._unit = broker, unit
        self._on_payload, self._on_lost = on_payload, on_lost
        topic = f"v1/{unit.brand}/{unit.telematics_unit_id}"
        self._up, self._down, self._presence = f"{topic}/up", f"{topic}/down", f"{topic}/presence"
        self._lost = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._may_listen = False
        self._open = False
        will = gmqtt.Message(self._presence, b"offline", qos=1, retain=True)
        self._client: Any = gmqtt.Client(str(unit), clean_session=False, will_message=will)
        self._client.set_config({"reconnect_retries": NEVER_RECONNECT})
        self._client.set_auth_credentials(str(unit), password)
        self._client.on_message = self._received
        self._client.on_subscribe = self._granted
        self._client.on_disconnect = lambda *_: self._gone()

    async def open(self) -> None:
        """Connect, subscribe to `down`, say `online`. Raises LoginRefusedError or LineError; then nothing is left open."""
        connecting = asyncio.ensure_future(self._connect())
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.wait({connecting, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise LineError("the broker closed the connection")
            connecting.result()
        except MQTTConnectError as error:
            await self._shut()
            raise (LoginRefusedError if error._code in LOGIN_REFUSED else LineError)(str(error)) from error
        except (OSError, TimeoutError) as error:
            await self._shut()
            raise LineError(str(error) or "no answer from the broker") from error
        except BaseException:
            await self._shut()
            raise
        finally:
            for task in (connecting, losing):
                task.cancel()
            await asyncio.gather(connecting, losing, return_exceptions=True)
        self._open = True
        self._client.publish(self._presence, b"online", qos=1, retain=True)

    def publish(self, payload: bytes) -> None:
        """Send a payload on `up`, QoS 1. The gateway's Ack tells of its arrival, not PUBACK. On a lost line it is dropped."""
        if self._open:
            topic = f"v1/{payload.unit.brand}/{payload.unit.telematics_unit_id}/up" if isinstance(payload, Stray) else self._up
            self._client.publish(topic, payload, qos=1)

    def drop(self) -> None:
        """Let go without a word: the broker finds out by itself and sends the will. `on_lost` is not called."""
        self._open = False
        connection = self._client._connection
        if connection is not None:
            connection._transport.abort()

    async def close(self) -> None:
        """Say `offline` and disconnect: the broker keeps the session and does not send the will."""
        if self._open:
            self._client.publish(self._presence, b"offline", qos=1, retain=True)
        self._open = False
        await self._shut()

    async def _connect(self) -> None:
        broker = self._broker
        await self._client.connect(broker.host, broker.port, ssl=broker.tls, keepalive=KEEPALIVE_S, version=MQTTv311)
        self._client.subscribe(self._down, qos=1)
        await self._subscribed.wait()
        if not self._may_listen:
            raise LoginRefusedError(f"the broker does not let {self._unit} listen on {self._down}")

    async def _shut(self) -> None:
        if self._client._connection is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.disconnect()
        except (OSError, TimeoutError):
            pass

    def _granted(self, client: Any, mid: int, qos: Any, properties: Any) -> None:
        self._may_listen = all(granted < SUBSCRIBE_FAILURE for granted in qos)
        self._subscribed.set()

    def _received(self, client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        if topic == self._down:
            self._on_payload(bytes(payload))
        return 0

    def _gone(self) -> None:
        self._lost.set()
        if self._open:
            self._open = False
            self._on_lost()
