"""A consumer as a customer writes it: pika, a durable queue of its own bound to `events`, every delivery acknowledged."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pika


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message, as it came."""

    routing_key: str
    headers: dict[str, Any]
    message_id: str
    content_type: str
    delivery_mode: int
    body: dict[str, Any]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.body["metadata"]["type"])

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.body["metadata"]["id"])

    @property
    def vehicle_id(self) -> str:
        """Whose event it is."""
        return str(self.body["metadata"]["vehicle_id"])


class Consumer:
    """Everything that was delivered so far is in `seen`, in order."""

    def __init__(self, url: str, binding: str = "#", queue: str = "a-customers-queue") -> None:
        self._url, self._binding, self._queue = url, binding, queue
        self.seen: list[Delivery] = []

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def connect(self) -> None:
        """Open the connection and the queue, again after RabbitMQ was away."""
        parameters = pika.URLParameters(self._url)
        parameters.heartbeat = 0  # a test may look elsewhere for longer than any heartbeat
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.queue_declare(self._queue, durable=True)
        self._channel.queue_bind(self._queue, "events", self._binding)
        self._channel.basic_consume(self._queue, self._take)

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.seen.append(
            Delivery(
                method.routing_key,
                properties.headers,
                properties.message_id,
                properties.content_type,
                properties.delivery_mode,
                json.loads(body),
            )
        )
        channel.basic_ack(method.delivery_tag)

    def pump(self, seconds: float = 0.05) -> None:
        """Take what comes within `seconds`."""
        self._connection.process_data_events(time_limit=seconds)

    def wait_for(self, wanted: Callable[[Delivery], bool], timeout_s: float = 15.0) -> Delivery:
        """The first delivery, seen or to come, that is wanted."""
        give_up = time.monotonic() + timeout_s
        looked_at = 0
        while True:
            for delivery in self.seen[looked_at:]:
                if wanted(delivery):
                    return delivery
            looked_at = len(self.seen)
            if time.monotonic() > give_up:
                raise TimeoutError(f"not within {timeout_s:g} s; seen: {[delivery.type for delivery in self.seen]}")
            self.pump()

    def of(self, vehicle_id: str, *types: str) -> list[Delivery]:
        """The deliveries about a vehicle, of these types if any are named."""
        return [each for each in self.seen if each.vehicle_id == vehicle_id and (not types or each.type in types)]
