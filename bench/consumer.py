"""`python -m bench.consumer`: a consumer of the events, in a process of its own, so that its clock is not the generator's.

stdin: one line of JSON, a `Wanted`. stdout: `ready` in a line, then a record of RECORD for each event as it comes in the hands of
the consumer. It ends, and deletes its queue, when stdin ends.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bench.amqp_wire import AmqpAddress, AmqpRefused, Delivered, Reader

RECORD = np.dtype([("at", "<f8"), ("report", "u1"), ("vehicle", "S8"), ("id", "S36"), ("size", "<u4")])
"""When (seconds of the machine's monotonic clock), whether it is a VehicleStateRecorded, whose, its id, and its body's size."""

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
        asyncio.run(_run(wanted))
    except (OSError, AmqpRefused, ValueError, asyncio.IncompleteReadError) as error:
        print(f"the consumer's connection: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(wanted: Wanted) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: None if sys.stdin.buffer.read1(4096) else ended.set())  # type: ignore[union-attr]
    reading = asyncio.create_task(_amqp(wanted, ended) if wanted.amqp_url else _events(wanted))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if ended.is_set() and wanted.amqp_url:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, SHUT_TIMEOUT_S)
    elif not reading.done():
        reading.cancel()
    waiting.cancel()
    if reading.done() and not reading.cancelled() and (error := reading.exception()) is not None:
        raise error


def _say_ready() -> None:
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()


def _say(records: Any) -> None:
    sys.stdout.buffer.write(records.tobytes())
    sys.stdout.buffer.flush()


async def _amqp(wanted: Wanted, ended: asyncio.Event) -> None:
    assert wanted.amqp_url is not None
    address = AmqpAddress.parse(wanted.amqp_url)
    tls = ssl.create_default_context() if address.tls else None
    source, sink = await asyncio.open_connection(address.host, address.port, ssl=tls, limit=1 << 20)
    reader = Reader(address, wanted.queue, wanted.exchange, wanted.bindings)
    sink.write(reader.out)
    reader.out = b""
    ready = deleting = False
    try:
        while not reader.deleted:
            if ended.is_set() and not deleting:
                deleting = True
                reader.delete()
                sink.write(reader.out)
                reader.out = b""
            try:
                data = await asyncio.wait_for(source.read(1 << 18), 0.2)
            except TimeoutError:
                continue
            if not data:
                raise OSError("RabbitMQ closed it")
            now = time.monotonic()
            delivered = reader.take(data)
            if reader.out:
                sink.write(reader.out)
                reader.out = b""
            if reader.consuming and not ready:
                ready = True
                _say_ready()
            if delivered:
                _say(_records(delivered, now))
    finally:
        sink.close()


def _records(delivered: list[Delivered], now: float) -> Any:
    records = np.empty(len(delivered), dtype=RECORD)
    records["at"] = now
    for place, each in enumerate(delivered):
        _, kind, vehicle = each.routing_key.split(b".", 2)
        records[place] = (now, kind == REPORT_TYPE, vehicle, each.message_id, each.size)
    return records


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
    await _stream(source, lambda kind, event, size: _say(_event_record(kind, event, size)))


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
