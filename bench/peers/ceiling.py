"""RabbitMQ's own ceiling: one pre-encoded message, published with confirms and consumed, and nothing else on the machine."""

import asyncio
import time
import uuid

import msgspec

from bench.amqp_wire import AmqpAddress, Publisher
from bench.consumer import Wanted
from bench.meters import Meters
from bench.watcher import Watcher

WINDOW = 1_000
STEP = 100


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker confirmed and a consumer took, per second, for a body of so many bytes."""

    confirmed_per_s: float
    consumed_per_s: float
    body_bytes: int
    rabbitmq_cpu_us: float


async def ceiling(amqp_url: str, rabbitmq_pid: int, body_bytes: int, seconds: float) -> Ceiling:
    """Publish for so long into the same kind of queue as a load's: quorum, consumed meanwhile."""
    watcher = Watcher(Wanted(amqp_url=amqp_url, queue=f"load.{uuid.uuid4().hex[:12]}", bindings=["ceiling.#"]))
    await watcher.start()
    address = AmqpAddress.parse(amqp_url)
    source, sink = await asyncio.open_connection(address.host, address.port, limit=1 << 20)
    publisher = Publisher(address, "events", "ceiling.VehicleStateRecorded.A2B3C", b"x" * body_bytes)
    meters = Meters({"rabbitmq": rabbitmq_pid})
    try:
        began = before = None
        consumed = 0
        while began is None or time.monotonic() - began < seconds:
            if publisher.ready and began is None:
                began, before = time.monotonic(), meters.look()["rabbitmq"].cpu_s
            if publisher.ready and publisher.published - publisher.confirmed <= WINDOW - STEP:
                publisher.publish(STEP)
            if publisher.out:
                sink.write(publisher.out)
                publisher.out = b""
                await sink.drain()
            if not publisher.ready or publisher.published - publisher.confirmed > WINDOW - STEP:
                publisher.take(await source.read(1 << 16))
        lasted, confirmed = time.monotonic() - began, publisher.confirmed
        consumed = len(watcher.take())
        cpu_s = meters.look()["rabbitmq"].cpu_s - (before or 0.0)
        return Ceiling(
            confirmed_per_s=round(confirmed / lasted, 1),
            consumed_per_s=round(consumed / lasted, 1),
            body_bytes=body_bytes,
            rabbitmq_cpu_us=round(1e6 * cpu_s / max(1, confirmed), 1),
        )
    finally:
        sink.close()
        await watcher.stop()
