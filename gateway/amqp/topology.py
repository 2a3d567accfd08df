"""What must stand in RabbitMQ: the `events` exchange, the event log behind it, and the consumers' queues."""

import re
from typing import Any, Literal

from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelPreconditionFailed

EventLog = Literal["unrouted", "all"]
"""What the event log holds: the events that no consumer's queue wants, or every event."""

EXCHANGE = "events"
UNROUTED = "events.unrouted"
LOG = "events.log"
LOG_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "stream",
    "x-max-age": "3D",
    "x-max-length-bytes": 2_000_000_000,
    # RabbitMQ drops whole segments only; its own 500 MB would hold a small fleet's events for months.
    "x-stream-max-segment-size-bytes": 50_000_000,
}

DAY_MS = 24 * 60 * 60 * 1000
CONSUMER_QUEUE_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-expires": 3 * DAY_MS,
    "x-message-ttl": 7 * DAY_MS,
}
ALL_TOPICS = "All"
WORD = re.compile(r"[A-Za-z0-9_-]+")
"""One word of a routing key: nothing that separates words or stands for others."""


class TopologyConflict(Exception):
    """RabbitMQ holds an exchange or a queue of our name that was declared otherwise. Only its owner can solve that."""


async def declare(connection: AbstractConnection, event_log: EventLog) -> None:
    """Declare the exchange and its log; what stands there already stays. Raises TopologyConflict."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.queue_declare(LOG, durable=True, arguments=LOG_ARGUMENTS)
        await channel.exchange_declare(UNROUTED, exchange_type="fanout", durable=True)
        await channel.queue_bind(LOG, UNROUTED)
        await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True, arguments={"alternate-exchange": UNROUTED})
        if event_log == "all":
            await channel.queue_bind(LOG, EXCHANGE, "#")
        else:
            await channel.queue_unbind(LOG, EXCHANGE, "#")
    except ChannelPreconditionFailed as error:
        raise _conflict(error) from None
    await channel.close()


async def declare_consumer_queue(connection: AbstractConnection, consumer_id: str, topic: str, fleet_id: str) -> str:
    """Declare and bind the queue of one event consumer and topic (an event type, or `All`), and give its name.

    Raises ValueError for a name that is no single word of a routing key, and TopologyConflict.
    """
    for name in (consumer_id, topic, fleet_id):
        if not WORD.fullmatch(name):
            raise ValueError(f"{name!r} is no word of letters, digits, _ and -")
    queue = f"consumer.{consumer_id}.{topic}"
    wanted = f"{fleet_id}.#" if topic == ALL_TOPICS else f"{fleet_id}.{topic}.*"
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.queue_declare(queue, durable=True, arguments=CONSUMER_QUEUE_ARGUMENTS)
        await channel.queue_bind(queue, EXCHANGE, wanted)
    except ChannelPreconditionFailed as error:
        raise _conflict(error) from None
    await channel.close()
    return queue


def _conflict(error: Exception) -> TopologyConflict:
    return TopologyConflict(
        f"RabbitMQ has it otherwise ({error}): delete the exchange or queue it names, or give teleloop a virtual host of its own"
    )
