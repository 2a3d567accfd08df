"""Reading the event log in RabbitMQ, a stream (RabbitMQ, "Streams"; `x-stream-offset` and prefetch over AMQP 0-9-1)."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiormq
from aiormq import spec
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError
from yarl import URL

from gateway.amqp.channels import STALL_S, Wire
from gateway.amqp.link import finished
from gateway.amqp.topology import LOG
from gateway.history import HistoryFailed, LoggedEvent

Start = int | str | datetime
"""Where reading begins: at an offset, at `first`, or with the chunk of a moment."""

LOOK_BACK_S = (60.0, 900.0, 3 * 3600.0)
"""How far back an event is looked for before all of the log is read: most readers come back within seconds."""

PREFETCH = 500
SEARCHES = 2
"""Searches at a time; others wait. One reads some ten thousand messages a second, and takes the processor for that."""

OFFSET = "x-stream-offset"
TYPE = "Message-Type"


class StreamHistory:
    """A History over the stream `events.log` of the RabbitMQ at `url`, which must hold all events (TELELOOP_EVENT_LOG=all)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._searches = asyncio.Semaphore(SEARCHES)

    async def after(self, fleet_id: str, event_id: str) -> AsyncGenerator[LoggedEvent, None]:
        """See `History.after`."""
        try:
            async with _connected(self._url) as connection:
                mark = await _marked(connection)
                async with self._searches:
                    found = await _offset_of(connection, event_id, mark)
                async with aclosing(_read(connection, "first" if found is None else found + 1, mark)) as messages:
                    async for _, message in messages:
                        event = _event(message, fleet_id)
                        if event is not None:
                            yield event
        except (AMQPError, OSError) as error:
            raise HistoryFailed(f"{type(error).__name__}: {error}") from error


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A connection for reading alone: a reader that is slow holds up nothing else."""
    wire = Wire(URL(url).scheme)
    connection = aiormq.Connection(
        url, transport_factory=wire, client_properties={"connection_name": "teleloop event log reader"}
    )
    try:
        await finished(connection.connect(), STALL_S)
        yield connection
        await finished(connection.close(), STALL_S)
    finally:
        # Whoever is cancelled may not wait: a reader that goes in the middle hangs up.
        wire.abort()


async def _marked(connection: AbstractConnection) -> str:
    """Write a mark at the end of the stream, which knows no end of its own. The mark's message id.

    Every event that was confirmed before is before it. A mark has no Message-Type: it is no event.
    """
    mark = f"teleloop.mark.{uuid.uuid4()}"
    channel = await finished(connection.channel(publisher_confirms=True), STALL_S)
    properties = spec.Basic.Properties(message_id=mark, delivery_mode=2)
    await finished(channel.basic_publish(b"", exchange="", routing_key=LOG, properties=properties, mandatory=True), STALL_S)
    return mark


async def _offset_of(connection: AbstractConnection, event_id: str, mark: str) -> int | None:
    """Where the event stands; looked for in the last minute, then further and further back."""
    now = time.time()
    starts: list[Start] = [*(datetime.fromtimestamp(now - age_s, UTC) for age_s in LOOK_BACK_S), "first"]
    seen_from: int | None = None
    for start in starts:
        first: int | None = None
        async with aclosing(_read(connection, start, mark)) as messages:
            async for offset, message in messages:
                first = offset if first is None else first
                if message.header.properties.message_id == event_id:
                    return offset
                if seen_from is not None and offset >= seen_from:
                    break
        seen_from = first if first is not None else seen_from
    return None


async def _read(connection: AbstractConnection, start: Start, mark: str) -> AsyncGenerator[tuple[int, DeliveredMessage], None]:
    """The stream's messages with their offsets, from `start` up to the mark."""
    channel = await finished(connection.channel(publisher_confirms=False), STALL_S)
    waiting: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
    try:
        await finished(channel.basic_qos(prefetch_count=PREFETCH), STALL_S)
        await finished(channel.basic_consume(LOG, waiting.put, arguments={OFFSET: start}), STALL_S)
        taken = 0
        while True:
            message = await finished(waiting.get(), STALL_S) if waiting.empty() else waiting.get_nowait()
            properties: Any = message.header.properties
            if properties.message_id == mark:
                return
            yield int(properties.headers[OFFSET]), message
            taken += 1
            if taken % (PREFETCH // 2) == 0:
                await channel.basic_ack(message.delivery_tag or 0, multiple=True)
    finally:
        await finished(channel.close(), STALL_S)


def _event(message: DeliveredMessage, fleet_id: str) -> LoggedEvent | None:
    properties: Any = message.header.properties
    kind = (properties.headers or {}).get(TYPE)
    if kind is None or not (message.routing_key or "").startswith(f"{fleet_id}."):
        return None
    return LoggedEvent(str(properties.message_id), str(kind), bytes(message.body))
