"""The few words of MQTT 3.1.1 that a lean generator says: a bare socket a unit, all of them looked at together now and then.

An event loop that wakes for each PUBACK costs more than all that is said. What comes down here waits in the sockets until the
next look, and what is to be answered goes with what is said next.
"""

import asyncio
import contextlib
import selectors
import socket
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from devices.packets import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK_BYTES,
    PUBACK_HEAD,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    MalformedPacket,
    acknowledge,
    next_packet,
    packet,
    published,
    text,
)
from devices.wires import put, take

QOS_1_RETAIN = 0x33
QOS_1 = 0x32
CLEAN_OFF_USER_PASSWORD_WILL = 0xEC
"""User name, password, will retained with QoS 1, and a persistent session."""

LOOK_EVERY_S = 0.25
"""Two frames of a unit that says eight a second are acknowledged in one read. Nobody waits for what comes down."""
LOOK_OPENING_S = 0.001
"""While lines are being opened, which goes in several steps."""

_MID = struct.Struct(">H")


class ConnectRefused(OSError):
    """CONNACK said no; `code` is its return code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the broker refused the login (CONNACK {code})")
        self.code = code


class Lines:
    """Lines to one broker. `look` has to be called again and again; `keep_looking` does."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._addresses: list[tuple[int, Any]] = []
        self.selector = selectors.DefaultSelector()
        self.opening = 0
        self.owing: list[LeanLine] = []

    def dial(self, name: str, password: str, on_down: Callable[[bytes], None], on_lost: Callable[[], None]) -> "LeanLine":
        """A new line; await its `opened`. Raises OSError."""
        if not self._addresses:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses = [(family, address) for family, _, _, _, address in found]
        family, address = self._addresses[0]
        line = LeanLine(self, socket.socket(family, socket.SOCK_STREAM), name, password, on_down, on_lost)
        line.call(address)
        return line

    def passed_over(self) -> None:
        """This address did not answer: the next one is next."""
        self._addresses.append(self._addresses.pop(0))

    def look(self) -> None:
        """Say what is owed, and take what came on all lines."""
        owing, self.owing = self.owing, []
        for line in owing:
            line.answer()
        for key, events in self.selector.select(0):
            line = key.data
            if events & selectors.EVENT_WRITE:
                line.writable()
            if events & selectors.EVENT_READ:
                line.readable()

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_OPENING_S if self.opening else LOOK_EVERY_S)

    async def emptied(self, within_s: float) -> None:
        """Until all that were closed are gone, and no longer than that."""
        steps = round(within_s / 0.02)
        while self.selector.get_map() and steps:
            self.look()
            steps -= 1
            await asyncio.sleep(0.02)


class LeanLine:
    """A unit's connection. `on_down` hears its payloads; `on_lost` that the line is gone, unless we closed it.

    `published` and `acknowledged` count what was said and what the broker has confirmed.
    """

    __slots__ = (
        "_answers", "_called", "_closing", "_down", "_lines", "_mid", "_name", "_on_down", "_on_lost", "_opening",
        "_password", "_presence", "_ready", "_rest", "_socket", "_unsent", "_up", "acknowledged", "published", "up",
    )  # fmt: skip

    def __init__(
        self,
        lines: Lines,
        made: socket.socket,
        name: str,
        password: str,
        on_down: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        topic = "v1/" + name
        self._lines, self._name, self._password = lines, name, password
        self._up, self._presence, self._down = text(topic + "/up"), text(topic + "/presence"), topic + "/down"
        self._on_down, self._on_lost = on_down, on_lost
        self._rest = self._answers = self._unsent = b""
        self._mid = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting for it any more
        self._socket: socket.socket | None = made
        self._called = self._closing = self._opening = False
        self.up = False
        """Whether the broker has let it in and it is subscribed."""
        self.published = self.acknowledged = 0

    def call(self, address: Any) -> None:
        """Begin to connect. Raises OSError."""
        assert self._socket is not None
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(BlockingIOError):
                self._socket.connect(address)
        except OSError:
            self._socket.close()
            self._lines.passed_over()
            raise
        self._lines.selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        self._opening = True
        self._lines.opening += 1

    async def opened(self) -> None:
        """Until it may speak. Raises ConnectRefused or OSError."""
        try:
            await self._ready
        except asyncio.CancelledError:
            self.drop()
            raise

    def writable(self) -> None:
        """There is room in the socket: at the first time, because the call was answered."""
        if self._socket is None:
            return
        if not self._called:
            if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._lines.passed_over()
                self._gone(OSError(code, "no connection to the broker"))
                return
            self._called = True
            head = text("MQTT") + bytes((4, CLEAN_OFF_USER_PASSWORD_WILL)) + struct.pack(">H", 120)
            will = self._presence + text(b"offline")
            self._unsent += packet(CONNECT << 4, head + text(self._name) + will + text(self._name) + text(self._password))
        unsent, self._unsent = self._unsent, b""
        self._lines.selector.modify(self._socket, selectors.EVENT_READ, self)
        self._write(unsent)

    def readable(self) -> None:
        """Take what came, packet by packet."""
        if self._socket is None:
            return
        try:
            data = take(self._socket)
            self._take(self._rest + data if self._rest else data)
        except (OSError, MalformedPacket) as error:
            self._gone(error if isinstance(error, OSError) else OSError(f"the broker does not speak MQTT: {error}"))

    def _take(self, data: bytes) -> None:
        """Raises MalformedPacket."""
        at, end, owed = 0, len(data), self._answers
        while at < end:
            if data.startswith(PUBACK_HEAD, at) and end - at >= PUBACK_BYTES:  # most of what comes
                self.acknowledged += 1
                at += PUBACK_BYTES
            elif (found := next_packet(data, at)) is not None:
                kind, (body, end_of_it) = data[at] >> 4, found
                if kind == PUBLISH:
                    self._published(data[at], data[body:end_of_it])
                else:
                    self._said(kind, data[body:end_of_it])
                at = end_of_it
            else:
                break
        self._rest = data[at:]
        if self._answers and not owed:
            self._lines.owing.append(self)

    def _published(self, first: int, body: bytes) -> None:
        _, identifier, payload = published(first, body)
        if identifier:
            self._answers += acknowledge(identifier)
        self._on_down(payload)

    def _said(self, kind: int, body: bytes) -> None:
        if kind == CONNACK:
            if body[1]:
                self._gone(ConnectRefused(body[1]))
            else:
                self._write(packet(SUBSCRIBE << 4 | 2, b"\x00\x01" + text(self._down) + b"\x01"))
        elif kind == SUBACK and not self._ready.done():
            self._write(packet(QOS_1_RETAIN, self._presence + self._next_mid() + b"online"))
            self._decided()
            self.up = True
            self._ready.set_result(None)

    def publish(self, payload: bytes) -> None:
        """On `up`, QoS 1."""
        if self.up:
            answers, self._answers = self._answers, b""
            head = _publish_head(len(self._up) + 2 + len(payload))
            self._write(b"".join((answers, head, self._up, self._next_mid(), payload)))
            self.published += 1

    def answer(self) -> None:
        """Say what is owed to the broker, if it has not gone with something else."""
        if self._answers and self._socket is not None:
            answers, self._answers = self._answers, b""
            self._write(answers)

    def ping(self) -> None:
        """Say that we are there: the broker wants to hear something every two minutes."""
        if self.up:
            self._write(bytes((PINGREQ << 4, 0)))

    def close(self) -> None:
        """Say `offline` and leave in good order: the broker closes, then we do."""
        if self.up:
            self._write(packet(QOS_1_RETAIN, self._presence + self._next_mid() + b"offline") + bytes((DISCONNECT << 4, 0)))
            self.up, self._closing = False, True

    def drop(self) -> None:
        """Let go without a word: the broker sends the will."""
        self._closing = True
        self._gone(OSError("dropped"))

    def _write(self, data: bytes) -> None:
        if self._socket is None:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = put(self._socket, data)
        except OSError as error:
            self._gone(error)
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._lines.selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def _gone(self, error: OSError) -> None:
        """The line is gone."""
        if self._socket is None:
            return
        self._lines.selector.unregister(self._socket)
        self._socket.close()
        self._socket = None
        self.up = False
        self._decided()
        if not self._ready.done():
            self._ready.set_exception(error)
        elif not self._closing and not self._ready.cancelled():
            self._on_lost()

    def _decided(self) -> None:
        self._lines.opening -= self._opening
        self._opening = False

    def _next_mid(self) -> bytes:
        self._mid = self._mid % 0xFFFF + 1
        return _MID.pack(self._mid)


@cache
def _publish_head(length: int) -> bytes:
    """The first bytes of a PUBLISH with QoS 1 of such a remaining length."""
    return packet(QOS_1, bytes(length))[: -length or None]
