"""What a reader of events that was away has missed, wherever the events are kept."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it was published: its id, its type, and the whole message."""

    event_id: str
    type: str
    body: bytes


class HistoryFailed(Exception):
    """The log cannot be read at this moment. What was read so far is right, and not all."""


class History(Protocol):
    """A log of all events."""

    def after(self, fleet_id: str, event_id: str) -> AsyncGenerator[LoggedEvent, None]:
        """The fleet's events after this one, oldest first, up to those confirmed before the call.

        From the oldest that is held, if the event is not held: then some may be missing before it. Raises HistoryFailed.
        """
