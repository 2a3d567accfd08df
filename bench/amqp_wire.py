"""The reading half of AMQP 0-9-1, sans-io and cheap: a consumer under load should cost its machine next to nothing.

aio-pika spends more on a delivery than the gateway does on the event; this spends about 5 us. It declares one queue, binds it,
consumes, and acknowledges what it has taken in one word when it is told to. (AMQP 0-9-1, sections 2.3 and 4.2.)
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
FRAME_LIMIT = 131_072
PREFETCH = 2_000
_HEAD = struct.Struct(">BHI")

START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK, CLOSE, CLOSE_OK = ((10, each) for each in (10, 11, 30, 31, 40, 41, 50, 51))
CHANNEL_OPEN, CHANNEL_OPEN_OK, CHANNEL_CLOSE = (20, 10), (20, 11), (20, 40)
DECLARE, DECLARE_OK, BIND, BIND_OK, DELETE, DELETE_OK = ((50, each) for each in (10, 11, 20, 21, 40, 41))
QOS, QOS_OK, CONSUME, CONSUME_OK, DELIVER, ACK, CANCEL = ((60, each) for each in (10, 11, 20, 21, 60, 80, 30))
_DELIVER = struct.pack(">HH", *DELIVER)
CONTENT_TYPE, CONTENT_ENCODING, HEADERS, CORRELATION_ID, REPLY_TO, EXPIRATION, MESSAGE_ID = (
    1 << bit for bit in (15, 14, 13, 10, 9, 8, 7)
)
"""Flags of a message's properties (AMQP 0-9-1, section 4.2.6.1)."""


class AmqpRefused(Exception):
    """RabbitMQ closed the connection or the channel; the message is its own."""


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """Of a RabbitMQ."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "AmqpAddress":
        """`amqp://user:password@host:port/vhost` or amqps://. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise ValueError("RabbitMQ is wanted as amqp://user:password@host:port/vhost")
        tls = parts.scheme == "amqps"
        vhost = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        return cls(parts.hostname, parts.port or (5671 if tls else 5672), user, password, vhost, tls)


Delivered = tuple[bytes, bytes, int]
"""One message: its routing key, its message_id, and the size of its body in bytes."""


class Publisher:
    """Publishes one body again and again with confirms, pre-encoded: how fast RabbitMQ itself is, and nothing else."""

    def __init__(self, address: AmqpAddress, exchange: str, routing_key: str, body: bytes) -> None:
        self._opening = Reader(address, "", exchange, [], declares=False)
        self.out, self._opening.out = self._opening.out, b""
        method = struct.pack(">HHH", 60, 40, 0) + _short(exchange) + _short(routing_key) + b"\x00"
        properties = struct.pack(">HHQH", 60, 0, len(body), 0x9000) + _short("application/json") + b"\x02"
        said = (METHOD, method), (HEADER, properties), (BODY, body)
        self._message = b"".join(_HEAD.pack(kind, 1, len(each)) + each + b"\xce" for kind, each in said)
        self.published = self.confirmed = 0
        self._loose: set[int] = set()
        self.ready = False
        self._rest = b""

    def publish(self, count: int) -> None:
        """Put so many messages out."""
        self.out += self._message * count
        self.published += count

    def take(self, data: bytes) -> None:
        """Take in confirms. Raises AmqpRefused."""
        if not self.ready:
            self._opening.take(data)
            self.out, self._opening.out = self.out + self._opening.out, b""
            if self._opening.opened:
                self.out += _method(1, (85, 10), b"\x00")
                self.ready = True
            return
        data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 8:
            kind, _, size = _HEAD.unpack_from(data, at)
            if end - at < size + 8:
                break
            if kind == METHOD and data[at + 7 : at + 11] == b"\x00\x3c\x00\x50":
                self._confirm(int.from_bytes(data[at + 11 : at + 19], "big"), bool(data[at + 19]))
            at += size + 8
        self._rest = data[at:]

    def _confirm(self, tag: int, multiple: bool) -> None:
        if multiple:
            self.confirmed = max(self.confirmed, tag)
            self._loose = {each for each in self._loose if each > tag}
        else:
            self._loose.add(tag)
        while self.confirmed + 1 in self._loose:
            self.confirmed += 1
            self._loose.discard(self.confirmed)


class Reader:
    """Feeds on what the server sends. `out` is what to send next; `take` gives what was delivered.

    The queue is a quorum queue of its own, bound to `exchange` by `bindings`, and goes with the reader if `delete` is asked for.
    """

    def __init__(
        self,
        address: AmqpAddress,
        queue: str,
        exchange: str,
        bindings: Sequence[str],
        prefetch: int = PREFETCH,
        declares: bool = True,
    ) -> None:
        """Without `declares` it only opens a channel."""
        self._declares, self.opened = declares, False
        self._address, self._queue, self._exchange = address, queue, exchange
        self._bindings, self._prefetch = list(bindings), prefetch
        self._data = b""
        self.out = PROTOCOL_HEADER
        self.consuming = self.deleted = False
        self._tag = self._acked = 0
        self._routing_key: bytes | None = None
        self._message_id, self._size, self._left = b"", 0, 0

    def delete(self) -> None:
        """Ask the server to delete the queue."""
        self.out += _method(1, DELETE, struct.pack(">H", 0) + _short(self._queue) + b"\x00")

    def take(self, data: bytes) -> list[Delivered]:
        """What these bytes deliver. Raises AmqpRefused."""
        data = self._data + data if self._data else data
        at, end, found, head = 0, len(data), list[Delivered](), _HEAD.unpack_from
        while end - at >= 8:
            kind, _, size = head(data, at)
            after = at + size + 8
            if after > end:
                break
            body = at + 7
            if kind == METHOD:
                if data[body : body + 4] == _DELIVER:
                    self._pending(data, body + 5 + data[body + 4])
                else:
                    self._answer(struct.unpack_from(">HH", data, body), data[body + 4 : body + size])
            elif self._routing_key is not None and kind == BODY:
                self._left -= size
                if self._left <= 0:
                    found.append((self._routing_key, self._message_id, self._size))
                    self._routing_key = None
            elif self._routing_key is not None and kind == HEADER:
                self._size = self._left = int.from_bytes(data[body + 4 : body + 12], "big")
                self._message_id = _message_id(data, body + 12)
                if not self._left:
                    found.append((self._routing_key, self._message_id, 0))
                    self._routing_key = None
            elif kind == HEARTBEAT:
                self.out += _HEAD.pack(HEARTBEAT, 0, 0) + b"\xce"
            at = after
        self._data = data[at:]
        return found

    @property
    def unacknowledged(self) -> int:
        """Messages that were taken since the last `acknowledge`."""
        return self._tag - self._acked

    def acknowledge(self) -> None:
        """All that was taken, in one word."""
        if self._tag > self._acked:
            self._acked = self._tag
            self.out += _method(1, ACK, struct.pack(">QB", self._tag, 1))

    def _pending(self, data: bytes, place: int) -> None:
        self._tag = int.from_bytes(data[place : place + 8], "big")
        exchange = place + 9
        key = exchange + 1 + data[exchange]
        self._routing_key = data[key + 1 : key + 1 + data[key]]

    def _answer(self, method: tuple[int, ...], said: bytes) -> None:
        """Walk through the opening, one word after the other."""
        match method:
            case (10, 10):
                login = f"\0{self._address.user}\0{self._address.password}".encode()
                client = _table({"product": "teleloop bench", "capabilities": {"consumer_cancel_notify": True}})
                body = client + _short("PLAIN") + struct.pack(">I", len(login)) + login + _short("en_US")
                self.out += _method(0, START_OK, body)
            case (10, 30):
                limit = struct.unpack_from(">HIH", said)[1] or FRAME_LIMIT
                self.out += _method(0, TUNE_OK, struct.pack(">HIH", 16, limit, 0))
                self.out += _method(0, OPEN, _short(self._address.vhost) + b"\x00\x00")
            case (10, 41):
                self.out += _method(1, CHANNEL_OPEN, b"\x00")
            case (20, 11) if not self._declares:
                self.opened = True
            case (20, 11):
                arguments = {"x-queue-type": "quorum", "x-expires": 3_600_000}
                body = struct.pack(">H", 0) + _short(self._queue) + b"\x02" + _table(arguments)
                self.out += _method(1, DECLARE, body)
            case (50, 11):
                for binding in self._bindings:
                    body = _short(self._queue) + _short(self._exchange) + _short(binding) + b"\x00" + _table({})
                    self.out += _method(1, BIND, struct.pack(">H", 0) + body)
                self.out += _method(1, QOS, struct.pack(">IHB", 0, self._prefetch, 0))
            case (60, 11):
                body = struct.pack(">H", 0) + _short(self._queue) + _short("") + b"\x00" + _table({})
                self.out += _method(1, CONSUME, body)
            case (60, 21):
                self.consuming = True
            case (50, 41):
                self.deleted = True
            case (10, 50) | (20, 40):
                code = struct.unpack_from(">H", said)[0]
                raise AmqpRefused(f"{code} {said[3 : 3 + said[2]].decode(errors='replace')}")
            case (60, 30):
                raise AmqpRefused("the queue was deleted by somebody else")


def _message_id(data: bytes, at: int) -> bytes:
    """The message_id among the properties at `at`; those before it are passed over (AMQP 0-9-1, section 4.2.6.1)."""
    flags = data[at] << 8 | data[at + 1]
    at += 2
    if flags & CONTENT_TYPE:
        at += 1 + data[at]
    if flags & CONTENT_ENCODING:
        at += 1 + data[at]
    if flags & HEADERS:
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    at += (flags >> 12 & 1) + (flags >> 11 & 1)  # delivery mode, priority
    if flags & (CORRELATION_ID | REPLY_TO | EXPIRATION):
        for bit in (CORRELATION_ID, REPLY_TO, EXPIRATION):
            if flags & bit:
                at += 1 + data[at]
    return data[at + 1 : at + 1 + data[at]] if flags & MESSAGE_ID else b""


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def _table(said: Mapping[str, Any]) -> bytes:
    inside = b"".join(_short(name) + _value(value) for name, value in said.items())
    return struct.pack(">I", len(inside)) + inside


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return b"t" + bytes((value,))
        case int():
            return b"I" + struct.pack(">i", value)
        case str():
            raw = value.encode()
            return b"S" + struct.pack(">I", len(raw)) + raw
        case _:
            return b"F" + _table(value)


def _method(channel: int, method: tuple[int, int], arguments: bytes) -> bytes:
    payload = struct.pack(">HH", *method) + arguments
    return _HEAD.pack(METHOD, channel, len(payload)) + payload + b"\xce"
