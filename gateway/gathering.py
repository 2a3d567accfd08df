"""How long a batch waits for company: not at all where little is said, some milliseconds where much is. Pure; time in seconds.

A batch costs a millisecond or two of its own (turns of the event loop, a transaction, a flush of each socket), as much as ten
payloads.
"""

WANTED = 64
"""Payloads in a batch that make its own cost small."""

LIMIT_S = 0.025
"""The longest wait: little beside the way through a cellular network, and nothing that a client would see."""

BUSY_PER_S = 300
"""Payloads a second from which batches wait: below, each is worked on when it comes."""

MEMORY_S = 0.25
"""Over how long the rate is taken."""


class Gathering:
    """Knows how fast payloads come in, by the batches that were taken."""

    def __init__(self) -> None:
        self._taken_at, self._rate = 0.0, 0.0

    def hold_s(self, now: float, waiting: int) -> float:
        """How long the next batch waits, with so many payloads that wait already."""
        if self._rate < BUSY_PER_S or waiting >= WANTED:
            return 0.0
        return max(0.0, self._taken_at + min(LIMIT_S, WANTED / self._rate) - now)

    def took(self, now: float, count: int) -> None:
        """A batch of `count` payloads begins."""
        passed = max(now - self._taken_at, 1e-6)
        weight = min(1.0, passed / MEMORY_S)
        self._rate += weight * (count / passed - self._rate)
        self._taken_at = now
