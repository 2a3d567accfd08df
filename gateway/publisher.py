"""Where events go: the promise that every publisher keeps, whatever stands behind it."""

from collections.abc import Sequence
from typing import Protocol

from gateway.events import Event


class PublishFailed(Exception):
    """Not all events of a call are confirmed. Which of them arrived is unknown: publish all of them again, in the same order."""


class Publisher(Protocol):
    """Takes events to where consumers get them: at least once, in the order given."""

    @property
    def ready(self) -> bool:
        """Whether events can be published at this moment, as far as one can know without trying."""

    async def start(self) -> None:
        """Begin. What stands behind may be away: the publisher goes on trying until it is stopped."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all `events` are held durably. Raises PublishFailed and nothing else."""

    async def stop(self) -> None:
        """End; calls of `publish` that have not returned fail."""
