"""`python -m bench.consumer`: a consumer of the events, in a process of its own, so that its clock is not the generator's.

stdin: one line of JSON, a `Wanted`. stdout: `ready` in a line, then a record of RECORD for each event as it comes in the hands of
the consumer. It ends, and deletes its queue, when stdin ends.
"""

import asyncio
import json
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bench.amqp_wire import PREFETCH, AmqpAddress, AmqpRefused, Reader

RECORD = np.dtype([("at", "<f8"), ("report", "u1"), ("vehicle", "S8"), ("id", "S36"), ("size", "<u4")])
"""When (seconds of the machine's monotonic clock), whether it is a VehicleStateRecorded, whose, its id, and its body's size."""

_ROW = struct.Struct("<dB8s36sI")
"""The same, one by one."""

LOOK_EVERY_S = 0.004
"""Between two looks at what came: a look costs as much as many messages do. What comes meanwhile counts from the look on."""

TELL_EVERY_S = 0.05
"""Between two acknowledgements, each of all that came, and two reports to whoever started it."""

READ_BYTES = 1 << 20

REPORT_TYPE = b"VehicleStateRecorded"
SHUT_TIMEOUT_S = 5.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where the events are: in RabbitMQ, or, where `amqp_url` is None, in the gateway's stream of Server-Sent Events."""

    amqp_url: str | None = None
    queue: str = "load"
    bindings: list[str] = []
    exchange: str = "events"
    url: str = ""
    token: str = ""


def main() -> int:
    """Exit code: 0 done, 1 the connection was lost or refused; the reason is on stderr."""
    wanted = msgspec.json.decode(sys.stdin.buffer.readline(), type=Wanted)
    try:
        if wanted.amqp_url is None:
            asyncio.run(_run(wanted))
        else:
            hands = _Hands(wanted.amqp_url, wanted)
            hands.run()
            hands.shut()
    except (OSError, AmqpRefused, ValueError, asyncio.IncompleteReadError) as error:
        print(f"the consumer's connection: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(wanted: Wanted) -> None:
    """The gateway's stream, until stdin ends."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: None if sys.stdin.buffer.read1(4096) else ended.set())  # type: ignore[union-attr]
    reading = asyncio.create_task(_events(wanted))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():
        reading.cancel()
    waiting.cancel()
    if reading.done() and not reading.cancelled() and (error := reading.exception()) is not None:
        raise error


def _say_ready() -> None:
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()


def _say(records: bytes) -> None:
    sys.stdout.buffer.write(records)
    sys.stdout.buffer.flush()


class _Hands:
    """A consumer of RabbitMQ's: looks, takes what is there, acknowledges all of it in one word now and then."""

    def __init__(self, amqp_url: str, wanted: Wanted) -> None:
        address = AmqpAddress.parse(amqp_url)
        self._line = socket.create_connection((address.host, address.port))
        if address.tls:
            self._line = ssl.create_default_context().wrap_socket(self._line, server_hostname=address.host)
        self._line.settimeout(SHUT_TIMEOUT_S)
        self._reader = Reader(address, wanted.queue, wanted.exchange, wanted.bindings)
        self._records: list[bytes] = []
        self._told_at = time.monotonic()
        self._ready = False
        self._poll = select.poll()
        self._poll.register(self._line, select.POLLIN)

    def run(self) -> None:
        """Until stdin ends."""
        stdin = sys.stdin.fileno()
        self._poll.register(stdin, select.POLLIN)
        while True:
            self._send()
            ready = self._poll.poll(1000 * TELL_EVERY_S if self._records else None)
            if any(place == stdin for place, _ in ready) and not sys.stdin.buffer.read1(4096):  # type: ignore[union-attr]
                self._poll.unregister(stdin)
                return
            if any(place != stdin for place, _ in ready):
                self._take()
                time.sleep(LOOK_EVERY_S)
            if time.monotonic() - self._told_at >= TELL_EVERY_S:
                self._tell()

    def shut(self) -> None:
        """Delete the queue and leave."""
        self._reader.delete()
        self._send()
        give_up = time.monotonic() + SHUT_TIMEOUT_S
        while not self._reader.deleted and time.monotonic() < give_up:
            if self._poll.poll(200):
                self._take()
        self._tell()
        self._line.close()

    def _take(self) -> None:
        data = self._line.recv(READ_BYTES)
        if not data:
            raise OSError("RabbitMQ closed it")
        while isinstance(self._line, ssl.SSLSocket) and self._line.pending():
            data += self._line.recv(READ_BYTES)
        now = time.monotonic()
        for routing_key, message_id, size in self._reader.take(data):
            _, kind, vehicle = routing_key.split(b".", 2)
            self._records.append(_ROW.pack(now, kind == REPORT_TYPE, vehicle, message_id, size))
        if self._reader.unacknowledged >= PREFETCH // 4:
            self._reader.acknowledge()
        if self._reader.consuming and not self._ready:
            self._ready = True
            _say_ready()

    def _tell(self) -> None:
        """What has come since the last time, to RabbitMQ and to whoever started us."""
        self._told_at = time.monotonic()
        self._reader.acknowledge()
        if self._records:
            _say(b"".join(self._records))
            self._records.clear()

    def _send(self) -> None:
        if self._reader.out:
            self._line.sendall(self._reader.out)
            self._reader.out = b""


async def _events(wanted: Wanted) -> None:
    """`GET /events`, read line by line."""
    parts = urlsplit(wanted.url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    host, port = parts.hostname or "127.0.0.1", parts.port or (443 if tls else 80)
    source, sink = await asyncio.open_connection(host, port, ssl=tls, limit=1 << 20)
    request = f"GET {parts.path.rstrip('/')}/events HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n"
    sink.write(f"{request}Authorization: Bearer {wanted.token}\r\n\r\n".encode())
    head = await source.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise OSError(f"the gateway's event stream answers {head.split(chr(13).encode(), 1)[0].decode(errors='replace')}")
    _say_ready()
    await _stream(source, lambda kind, event, size: _say(_event_record(kind, event, size).tobytes()))


async def _stream(source: asyncio.StreamReader, say: Callable[[bytes, dict[str, Any], int], None]) -> None:
    rest = b""
    while True:
        size = int((await source.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            raise OSError("the gateway ended the event stream")
        rest += (await source.readexactly(size + 2))[:-2]
        *blocks, rest = rest.replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            said = dict(line.partition(b":")[::2] for line in block.split(b"\n"))
            if b"data" in said:
                say(said.get(b"event", b"").strip(), json.loads(said[b"data"]), len(said[b"data"]))


def _event_record(kind: bytes, event: dict[str, Any], size: int) -> Any:
    metadata = event["metadata"]
    row = (time.monotonic(), kind == REPORT_TYPE, metadata["vehicle_id"].encode(), metadata["id"].encode(), size)
    return np.array([row], dtype=RECORD)


if __name__ == "__main__":
    sys.exit(main())
