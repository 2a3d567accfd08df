"""The unit's own clock, which may be wrong, and may know that it is."""

from dataclasses import dataclass


@dataclass(slots=True)
class Rtc:
    """A clock that differs from the world's by `error_ms`. Times are Unix milliseconds.

    `synchronised` says whether the unit believes it: after a cold start it does not, until satellites or the gateway say.
    """

    error_ms: int = 0
    synchronised: bool = True

    def read(self, now_ms: int) -> int:
        """What the clock shows when it is really `now_ms`; never before 1970."""
        return max(0, now_ms + self.error_ms)

    def set(self, shown_ms: int, now_ms: int) -> None:
        """Make it show `shown_ms` from now on, and believe it."""
        self.error_ms = shown_ms - now_ms
        self.synchronised = True
