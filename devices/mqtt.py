"""One unit's MQTT connection: its own client id, user name and secret, a persistent session, a Last Will.

It is written on `asyncio.Protocol` and not on a client library, because a fleet is thousands of these and little else: see
`docs/simulator-profile.md` for what one costs, `devices.wires` for what carries it. The fleet decides when to try again, and
frames that were on their way are in the unit's journal, so a line keeps nothing.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Protocol, cast
from urllib.parse import urlsplit

from devices import packets, wires
from devices.faults.fault import Stray
from devices.packets import MalformedPacket
from devices.wires import Wire
from protocols.codec import UnitId

KEEPALIVE_S = 18
"""It looks every half of one, says a ping where nothing was said or heard meanwhile, and gives up after two silent ones: a dead
line is noticed within 45 s."""

SILENT_BEATS = 4
CONNECT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 1.5
LOGIN_REFUSED = (4, 5)
"""CONNACK: bad user name or password, not authorised (MQTT 3.1.1 table 3.1)."""

SUBSCRIBE_FAILURE = 0x80
"""SUBACK return code (MQTT 3.1.1 section 3.9.3)."""

SUBSCRIPTION = 1
"""The packet identifier of the only SUBSCRIBE."""


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


class _Stage(Enum):
    """How far a line has come."""

    CALLING = auto()
    LOGGED_IN = auto()
    OPEN = auto()
    OVER = auto()


_OPEN, _OVER = _Stage.OPEN, _Stage.OVER
"""Asked with every packet."""


@cache
def _trusted() -> ssl.SSLContext:
    """The system's authorities, for all lines of a fleet."""
    return ssl.create_default_context()


class Line(asyncio.Protocol):
    """A unit's connection from one `open` to one loss. `on_payload` gets what comes down, `on_lost` is called once at most.

    `published` and `acknowledged` count what went out on `up` and what the broker has confirmed.
    """

    __slots__ = (
        "_beat", "_broker", "_down", "_gone", "_heard", "_identifier", "_on_lost", "_on_payload", "_opened", "_password",
        "_rest", "_said", "_silent", "_stage", "_transport", "_turn", "_unit", "_up", "acknowledged", "published",
    )  # fmt: skip

    def __init__(
        self, broker: BrokerAddress, unit: UnitId, password: str, on_payload: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self._broker, self._unit, self._password = broker, unit, password
        self._on_payload, self._on_lost = on_payload, on_lost
        self._up, self._down = packets.text(self._topic("up")), packets.text(self._topic("down"))
        self._identifier = SUBSCRIPTION
        self._rest = b""
        self._turn: list[bytes] | None = None
        self._stage = _Stage.CALLING
        self._heard = self._said = False
        self._silent = 0
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self.published = self.acknowledged = 0

    async def open(self) -> None:
        """Connect, subscribe to `down`, say `online`. Raises LoginRefusedError or LineError; then nothing is left open."""
        loop = asyncio.get_running_loop()
        self._opened = opened = loop.create_future()
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may fail before somebody waits for it
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if self._broker.tls:
                    await loop.create_connection(lambda: self, self._broker.host, self._broker.port, ssl=_trusted())
                else:
                    await wires.connect(self, self._broker.host, self._broker.port)
                await opened
            if self._stage is not _OPEN:
                raise LineError("the broker closed the connection")
        except (OSError, TimeoutError) as error:
            self.drop()
            raise LineError(str(error) or "no answer from the broker") from error
        except BaseException:
            self.drop()
            raise
        finally:
            self._opened = None

    @property
    def is_open(self) -> bool:
        """Whether the broker has let it in, and it listens."""
        return self._stage is _OPEN

    def publish(self, payload: bytes) -> None:
        """Send a payload on `up`, QoS 1. The gateway's Ack tells of its arrival, not PUBACK. On a lost line it is dropped."""
        if self._stage is _OPEN:
            topic = packets.text(_topic(payload.unit, "up")) if type(payload) is Stray else self._up
            self._identifier = identifier = self._identifier % 0xFFFF + 1
            self._say(packets.publish(topic, identifier, payload))
            self.published += 1

    def drop(self) -> None:
        """Let go without a word: the broker finds out by itself and sends the will. `on_lost` is not called."""
        self._stage = _OVER
        self._still()
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Say `offline` and disconnect: the broker keeps the session and does not send the will."""
        transport = self._transport
        if self._stage is not _OPEN or transport is None:
            self.drop()
            return
        self._say_presence(b"offline")
        self._say(packets.BYE)
        self._stage = _OVER
        self._still()
        self._gone = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._gone  # the broker closes: to close first may lose what it has not read yet
        except TimeoutError:
            pass
        finally:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in."""
        self._transport = cast(asyncio.Transport, transport)
        if self._stage is _OVER:
            self._transport.abort()
            return
        will = self._topic("presence")
        self._transport.write(packets.connect(str(self._unit), self._password, will, b"offline", KEEPALIVE_S))

    def data_received(self, data: bytes) -> None:
        """Take what came, packet by packet; what no broker may say ends the line. What is said in turn goes in one write."""
        self._heard = True
        data = self._rest + data if self._rest else data
        at = 0
        if self._stage is _OPEN:
            while data.startswith(packets.PUBACK_HEAD, at) and len(data) - at >= packets.PUBACK_BYTES:
                self.acknowledged += 1
                at += packets.PUBACK_BYTES
            if at == len(data):  # every second thing that comes
                self._rest = b""
                return
            if self._take_quickly(data, at):
                self._rest = b""
                return
        self._turn = []
        try:
            while self._stage is not _OVER and (found := packets.next_packet(data, at)) is not None:
                body, end = found
                self._take(data[at], data[body:end])
                at = end
        except MalformedPacket as error:
            self._fail(LineError(f"the broker does not speak MQTT: {error}"))
            self._lose()
            return
        finally:
            said, self._turn = self._turn, None
            if said and self._transport is not None:
                self._transport.write(b"".join(said))
        self._rest = b"" if self._stage is _OVER else data[at:]

    def _take_quickly(self, data: bytes, at: int) -> bool:
        """Take what is one short message for the unit, and nothing else: an Ack. False: it is something else."""
        first, end = data[at], len(data)
        if first & ~2 != packets.PUBLISH << 4 or end - at < 2 or data[at + 1] != end - at - 2 or data[at + 1] > 0x7F:
            return False
        down = self._down
        if not data.startswith(down, at + 2):
            return False
        begins = at + 2 + len(down)
        if first & 2:
            if begins + 2 > end:
                return False
            self._say_late(packets.acknowledge(data[begins : begins + 2]))
            begins += 2
        self._on_payload(data[begins:])
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The line is gone."""
        self._transport = None
        self._still()
        self._fail(LineError("the broker closed the connection"))
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._tell_lost()

    def _take(self, first: int, body: bytes) -> None:
        match first >> 4, self._stage:
            case packets.PUBACK, _Stage.OPEN if len(body) == 2:
                self.acknowledged += 1
            case packets.PUBLISH, _Stage.LOGGED_IN | _Stage.OPEN:
                self._receive(first, body)
            case packets.CONNACK, _Stage.CALLING if len(body) == 2:
                self._let_in(body[1])
            case packets.SUBACK, _Stage.LOGGED_IN if len(body) == 3:
                self._granted(body[2])
            case packets.PINGRESP, _Stage.OPEN if not body:
                pass
            case kind, _:
                raise MalformedPacket(f"a packet of type {kind} with {len(body)} bytes, here and now")

    def _let_in(self, code: int) -> None:
        if code:
            refused = LoginRefusedError if code in LOGIN_REFUSED else LineError
            self._fail(refused(f"the broker refused the login (CONNACK {code})"))
            self.drop()
        else:
            self._stage = _Stage.LOGGED_IN
            self._say(packets.subscribe(self._topic("down"), SUBSCRIPTION))

    def _granted(self, code: int) -> None:
        if code >= SUBSCRIBE_FAILURE:
            self._fail(LoginRefusedError(f"the broker does not let {self._unit} listen on {self._topic('down')}"))
            self.drop()
            return
        self._stage, self._password = _OPEN, ""
        self._say_presence(b"online")
        if isinstance(self._transport, Wire):
            self._transport.wait_for(packets.LEAST_BYTES + len(self._down))
        self._beat = asyncio.get_running_loop().call_later(KEEPALIVE_S / 2, self._look)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def _receive(self, first: int, body: bytes) -> None:
        """A session that was kept hands over what waited before it listens again: that counts too."""
        topic, identifier, payload = packets.published(first, body)
        if identifier:
            self._say_late(packets.acknowledge(identifier))
        if topic == self._down[2:]:
            self._on_payload(payload)

    def _look(self) -> None:
        """Half a keepalive is over."""
        if isinstance(self._transport, Wire):
            self._transport.look()
            if self._stage is not _OPEN:
                return
        self._silent = 0 if self._heard else self._silent + 1
        if self._silent >= SILENT_BEATS:
            self._lose()
            return
        if not (self._said and self._heard):
            self._say(packets.PING)
        self._said = self._heard = False
        self._beat = asyncio.get_running_loop().call_later(KEEPALIVE_S / 2, self._look)

    def _say_presence(self, word: bytes) -> None:
        self._say(packets.publish(packets.text(self._topic("presence")), self._next_identifier(), word, retain=True))

    def _say(self, said: bytes) -> None:
        self._said = True
        if self._turn is not None:
            self._turn.append(said)
        elif self._transport is not None:
            self._transport.write(said)

    def _say_late(self, said: bytes) -> None:
        """The same for what can wait: it goes with what is said next, if that is soon."""
        if isinstance(self._transport, Wire):
            self._said = True
            self._transport.write_late(said)
        else:
            self._say(said)

    def _lose(self) -> None:
        """Give the line up."""
        self._still()
        if self._transport is not None:
            self._transport.abort()
        self._tell_lost()

    def _tell_lost(self) -> None:
        stage, self._stage = self._stage, _OVER
        if stage is _OPEN and self._opened is None:
            self._on_lost()

    def _fail(self, error: LineError) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)

    def _still(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _next_identifier(self) -> int:
        self._identifier = self._identifier % 0xFFFF + 1
        return self._identifier

    def _topic(self, channel: str) -> str:
        return _topic(self._unit, channel)


def _topic(unit: UnitId, channel: str) -> str:
    return f"v1/{unit.brand}/{unit.telematics_unit_id}/{channel}"
