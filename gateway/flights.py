"""Batches of events on their way to the publisher: several at a time, because each waits for a disk, and in order.

Where one is not confirmed, it and all that were begun after it are published again, one after the other: the last copy of
each event is in order, whatever arrived before.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.events import Event
from gateway.metrics import Metrics
from gateway.publisher import Publisher, PublishFailed

AT_ONCE = 3
"""Batches on their way: while RabbitMQ writes one to its disk, the next is written to its socket."""

RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Flight:
    events: Sequence[Event]
    publishing: "asyncio.Task[None] | None" = None


class Flights:
    """Takes batches to `publisher`, each behind what `flush` brings there before it. `ok` is whether the last was taken."""

    def __init__(self, publisher: Publisher, flush: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
        self._publisher, self._flush, self._metrics = publisher, flush, metrics
        self._flying: deque[_Flight] = deque()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._one_order = asyncio.Lock()
        self.ok = True

    async def begin(self, events: Sequence[Event]) -> None:
        """Send a batch off as soon as there is room for one more. Somebody calls `landed` once for each."""
        await self._room.acquire()
        async with self._one_order:
            flight = _Flight(events)
            if events:
                flight.publishing = asyncio.create_task(self._publish(events), name="a batch of events")
            self._flying.append(flight)

    async def landed(self) -> None:
        """Return when all events of the oldest batch are confirmed, however often it takes."""
        flight = self._flying[0]
        try:
            if flight.publishing is not None:
                await flight.publishing
        except PublishFailed as error:
            await self._publish_again(error)
        self.ok = True
        self._flying.popleft()
        self._room.release()

    async def stop(self) -> None:
        """Let go of what is on its way."""
        tasks = [flight.publishing for flight in self._flying if flight.publishing is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self, events: Sequence[Event]) -> None:
        await self._flush()
        await self._publisher.publish(events)

    async def _publish_again(self, error: PublishFailed | None) -> None:
        """All that fly, in order; none begins meanwhile."""
        async with self._one_order:
            tasks = [flight.publishing for flight in self._flying if flight.publishing is not None]
            await asyncio.gather(*tasks, return_exceptions=True)
            for flight in self._flying:
                if flight is not self._flying[0]:
                    error = await self._attempt(flight)
                attempt = 0
                while error is not None:
                    self.ok = False
                    self._metrics.publish_failures.inc()
                    size = len(flight.events)
                    log.warning("events are not confirmed; the units keep their frames", events=size, error=str(error))
                    await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                    attempt += 1
                    error = await self._attempt(flight)
                self.ok, flight.publishing = True, None

    async def _attempt(self, flight: _Flight) -> PublishFailed | None:
        try:
            if flight.events:
                await self._publish(flight.events)
        except PublishFailed as error:
            return error
        return None
