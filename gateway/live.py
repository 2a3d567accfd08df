"""Confirmed events as they happen, for readers inside this process: each fleet's to its own, and nobody waits for a slow one."""

from asyncio import Event as Signal
from collections import deque
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from gateway.events import Event

QUEUE_LIMIT = 1_000
"""Events that wait for one reader: with some 2 KB each, a reader that stands still costs 2 MB and no more."""


class Subscription:
    """One reader's events: an asynchronous iterator, and a context manager that ends it.

    A reader that falls QUEUE_LIMIT events behind is cut off: it still gets what waits for it, then the iteration ends and
    `cut_off` is true. Nothing is missing before that end, so a reader resumes from the last event that it got.
    """

    def __init__(self, live: "Live", fleet_id: str, types: Collection[str] | None, limit: int) -> None:
        self.fleet_id, self.cut_off = fleet_id, False
        self._live, self._limit = live, limit
        self._types = None if types is None else frozenset(types)
        self._waiting: deque[Event] = deque()
        self._signal = Signal()
        self._ended = False

    def close(self) -> None:
        """End the iteration after what waits already. May be called again."""
        self._ended = True
        self._signal.set()
        self._live._forget(self)

    def _tell(self, event: Event) -> None:
        if self._types is not None and event.type not in self._types:
            return
        if len(self._waiting) >= self._limit:
            self.cut_off = True
            self.close()
            return
        self._waiting.append(event)
        self._signal.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._signal.clear()
            await self._signal.wait()
        return self._waiting.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Live:
    """The fan-out. Everything happens in one event loop; `tell` never waits."""

    def __init__(self, queue_limit: int = QUEUE_LIMIT) -> None:
        self._queue_limit = queue_limit
        self._readers: dict[str, set[Subscription]] = {}

    def tell(self, events: Sequence[Event]) -> None:
        """Hand confirmed events to those who read their fleets."""
        if not self._readers:
            return
        for event in events:
            for reader in tuple(self._readers.get(event.fleet_id, ())):
                reader._tell(event)

    def subscribe(self, fleet_id: str, types: Collection[str] | None = None) -> Subscription:
        """Everything told of `fleet_id` from this moment on; only events of `types`, if given."""
        subscription = Subscription(self, fleet_id, types, self._queue_limit)
        self._readers.setdefault(fleet_id, set()).add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription."""
        for readers in tuple(self._readers.values()):
            for reader in tuple(readers):
                reader.close()

    def _forget(self, subscription: Subscription) -> None:
        readers = self._readers.get(subscription.fleet_id, set())
        readers.discard(subscription)
        if not readers:
            self._readers.pop(subscription.fleet_id, None)
