"""Where load comes from. Both kinds of source are told when each frame is due, and whose it is; neither waits for answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bench.ledger import Ledger
from bench.truth import Truth
from protocols.codec import UnitId


class Source(Protocol):
    """Units on real connections. `units` are their ids by place; `sent` counts the frames that `say` was called for."""

    units: list[UnitId]
    sent: int

    @property
    def connects(self) -> int:
        """Lines that came up so far."""

    @property
    def connect_failures(self) -> int:
        """Tries for a line that failed."""

    @property
    def online(self) -> int:
        """Units with a line."""

    @property
    def waiting(self) -> int:
        """Frames that no Ack has come for."""

    async def start(self, progress: Callable[[int], None]) -> None:
        """Connect all units; returns when they are, or when it makes no sense to wait any longer."""

    def expect(self, places: Sequence[int], within_s: float) -> float:
        """These will be told to say a frame, evenly within so many seconds from now. How often to look who is due, in s."""

    def say(self, place: int, at_s: float) -> None:
        """The unit's next frame, captured at `at_s` (Unix seconds), which may lie in the past: then the source is late."""

    def storm(self) -> None:
        """Every unit loses its line, and comes back."""

    def collect(self) -> None:
        """Bring the ledger up to date with what was captured."""

    def nudge(self) -> None:
        """Let units that still wait for an Ack send again."""

    async def stop(self) -> None:
        """Leave, and bring the ledger up to date with what is acknowledged."""

    def last_frames(self) -> Mapping[int, bytes]:
        """The newest frame with a report of each unit, by place."""

    def last_look(self) -> int:
        """Have the units tell what has changed since they were asked last; how many had something to tell."""

    def truth(self, shown: Mapping[str, Mapping[str, Any]]) -> Truth | None:
        """Every vehicle beside what the gateway shows of it, by vehicle_id; None: there are no vehicles behind the units."""


MakeSource = Callable[[Ledger], Source]
