"""What an event costs on its way into RabbitMQ: our publisher beside stock aio-pika, same events, same queue, taking turns.

Needs a RabbitMQ that it may use (a virtual host of its own is best): `python -m bench.amqp_publish amqp://guest:guest@localhost/`
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated, Any

import aio_pika
import typer
import uvloop

from gateway.amqp import AmqpPublisher
from gateway.events import Event

QUEUE = "bench.amqp_publish"
AT_ONCE = 500
"""Publishes that stock aio-pika has under way; more makes it slower, since each cumulative confirm walks through all of them."""

Publish = Callable[[Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True)
class Round:
    """One publisher's turn."""

    events_per_s: float
    cpu_us_per_event: float


def sample(count: int) -> list[Event]:
    """Events of 54 properties, some 4 KB of JSON."""
    said = {"timestamp": "2026-01-30T13:22:05Z", "value": 12345.5}
    state = {f"property_number_{number}": said for number in range(54)}
    body = {"vehicle_state": state, "changed": {"property_number_1": said}}
    kind, fleet = "VehicleStateRecorded", "fleet1"
    return [
        Event(str(uuid.uuid4()), kind, f"flow-{number}", 1_769_779_325_000, 1_769_779_325_123, fleet, f"V{number % 97}", body)
        for number in range(count)
    ]


def by_aio_pika(exchange: aio_pika.abc.AbstractExchange) -> Publish:
    """The same promise by aio-pika's documented means."""

    async def one(event: Event) -> None:
        message = aio_pika.Message(
            event.json(),
            headers=dict(event.headers),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=event.id,
        )
        await exchange.publish(message, event.routing_key, mandatory=True)

    async def publish(events: Sequence[Event]) -> None:
        for start in range(0, len(events), AT_ONCE):
            await asyncio.gather(*(one(event) for event in events[start : start + AT_ONCE]))

    return publish


async def timed(publish: Publish, events: Sequence[Event]) -> Round:
    """Publish `events`, all confirmed."""
    cpu, wall = time.process_time(), time.perf_counter()
    await publish(events)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Round(len(events) / wall, cpu / len(events) * 1e6)


async def measured(url: str, count: int, rounds: int) -> dict[str, Any]:
    """Both publishers in turns, the medians and their ratios."""
    async with AsyncExitStack() as stack:
        ours = AmqpPublisher(url)
        await ours.start()
        stack.push_async_callback(ours.stop)
        connection = await stack.enter_async_context(await aio_pika.connect(url))
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange("events")
        arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-max-length": 20_000}
        queue = await channel.declare_queue(QUEUE, durable=True, arguments=arguments)
        stack.push_async_callback(queue.delete, if_unused=False, if_empty=False)
        await queue.bind(exchange, "#")
        publishers = {"teleloop": ours.publish, "aio-pika": by_aio_pika(exchange)}
        turns: dict[str, list[Round]] = {name: [] for name in publishers}
        for number in range(rounds + 1):
            for name, publish in publishers.items():
                turn = await timed(publish, sample(count))
                if number:  # the first turn warms up
                    turns[name].append(turn)
    return _summary(count, turns)


def _summary(count: int, turns: dict[str, list[Round]]) -> dict[str, Any]:
    rows = {
        name: Round(median(turn.events_per_s for turn in done), median(turn.cpu_us_per_event for turn in done))
        for name, done in turns.items()
    }
    ours, stock = rows["teleloop"], rows["aio-pika"]
    return {
        "events": count,
        "body_bytes": len(sample(1)[0].json()),
        "rounds": len(turns["teleloop"]),
        "rows": {name: asdict(row) for name, row in rows.items()},
        "ratios": {
            "events_per_s": ours.events_per_s / stock.events_per_s,
            "cpu": stock.cpu_us_per_event / ours.cpu_us_per_event,
        },
    }


def main(
    url: Annotated[str, typer.Argument(help="amqp://user:password@host:port/vhost")],
    events: Annotated[int, typer.Option(help="events a turn", min=1)] = 3_000,
    rounds: Annotated[int, typer.Option(help="turns of each publisher", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Publish confirmed events by our publisher and by stock aio-pika, and say how they compare."""
    try:
        found = uvloop.run(measured(url, events, rounds))
    except (OSError, ValueError, aio_pika.exceptions.AMQPError) as error:
        typer.echo(f"RabbitMQ cannot be used: {error}", err=True)
        sys.exit(2)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{events} events of {found['body_bytes']} bytes, median of {rounds} turns, every event confirmed")
    for name, row in found["rows"].items():
        typer.echo(f"{name:10} {row['events_per_s']:8.0f} events/s {row['cpu_us_per_event']:8.1f} us CPU an event")
    typer.echo(f"{'ratio':10} {found['ratios']['events_per_s']:8.1f} x        {found['ratios']['cpu']:8.1f} x")


if __name__ == "__main__":
    typer.run(main)
