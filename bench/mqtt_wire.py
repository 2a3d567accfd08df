"""The few words of MQTT 3.1.1 that a lean generator says: one asyncio.Protocol a unit, nothing that the load does not need."""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

from devices.packets import CONNACK, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, packet, text

QOS_1_RETAIN = 0x33
QOS_1 = 0x32
CLEAN_OFF_USER_PASSWORD_WILL = 0xEC
"""User name, password, will retained with QoS 1, and a persistent session."""


class ConnectRefused(OSError):
    """CONNACK said no; `code` is its return code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the broker refused the login (CONNACK {code})")
        self.code = code


class LeanLine(asyncio.Protocol):
    """A unit's connection. `on_down` hears its payloads; `on_lost` that the line is gone, unless we closed it.

    `published` and `acknowledged` count what was said and what the broker has confirmed.
    """

    def __init__(self, name: str, password: str, on_down: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        topic = "v1/" + name
        self._name, self._password = name, password
        self._up, self._presence, self._down = text(topic + "/up"), text(topic + "/presence"), topic + "/down"
        self._on_down, self._on_lost = on_down, on_lost
        self._rest = b""
        self._mid = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self.published = self.acknowledged = 0

    @property
    def up(self) -> bool:
        """Whether the broker has let it in and it is subscribed."""
        return self._ready.done() and not self._closing and self._transport is not None

    async def opened(self) -> None:
        """Until it may speak. Raises ConnectRefused or OSError."""
        await self._ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in."""
        self._transport = cast(asyncio.Transport, transport)
        head = text("MQTT") + bytes((4, CLEAN_OFF_USER_PASSWORD_WILL)) + struct.pack(">H", 120)
        will = self._presence + text(b"offline")
        self._transport.write(packet(CONNECT << 4, head + text(self._name) + will + text(self._name) + text(self._password)))

    def data_received(self, data: bytes) -> None:
        """Take what came, packet by packet."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        answers = b""
        while end - at >= 2:
            body, length, shift = at + 1, 0, 0
            while body < end:
                group = data[body]
                length |= (group & 0x7F) << shift
                body, shift = body + 1, shift + 7
                if not group & 0x80:
                    break
            else:
                break
            if end - body < length:
                break
            kind = data[at] >> 4
            if kind == PUBACK:
                self.acknowledged += 1
            elif kind == PUBLISH:
                answers += self._published(data[at], data[body : body + length])
            else:
                self._said(kind, data[body : body + length])
            at = body + length
        self._rest = data[at:]
        if answers and self._transport is not None:
            self._transport.write(answers)

    def _published(self, first: int, body: bytes) -> bytes:
        after = 2 + int.from_bytes(body[:2], "big")
        answer = b""
        if first & 0x06:
            answer = b"\x40\x02" + body[after : after + 2]
            after += 2
        self._on_down(body[after:])
        return answer

    def _said(self, kind: int, body: bytes) -> None:
        assert self._transport is not None
        if kind == CONNACK:
            if body[1]:
                self._fail(ConnectRefused(body[1]))
                self._transport.close()
            else:
                self._transport.write(packet(SUBSCRIBE << 4 | 2, b"\x00\x01" + text(self._down) + b"\x01"))
        elif kind == SUBACK:
            self._transport.write(packet(QOS_1_RETAIN, self._presence + self._next_mid() + b"online"))
            if not self._ready.done():
                self._ready.set_result(None)

    def publish(self, payload: bytes) -> None:
        """On `up`, QoS 1."""
        if self._transport is not None and not self._closing:
            self._transport.write(packet(QOS_1, self._up + self._next_mid() + payload))
            self.published += 1

    def ping(self) -> None:
        """Say that we are there: the broker wants to hear something every two minutes."""
        if self._transport is not None:
            self._transport.write(bytes((PINGREQ << 4, 0)))

    def close(self) -> None:
        """Say `offline` and leave in good order."""
        if self._transport is not None and not self._closing:
            self._transport.write(packet(QOS_1_RETAIN, self._presence + self._next_mid() + b"offline"))
            self._transport.write(bytes((DISCONNECT << 4, 0)))
            self._closing = True
            self._transport.close()

    def drop(self) -> None:
        """Let go without a word: the broker sends the will."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The line is gone."""
        self._transport = None
        if not self._ready.done():
            self._fail(OSError(str(error) if error else "the broker closed the connection"))
        elif not self._closing:
            self._on_lost()

    def _fail(self, error: OSError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)

    def _next_mid(self) -> bytes:
        self._mid = self._mid % 0xFFFF + 1
        return struct.pack(">H", self._mid)
