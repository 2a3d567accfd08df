"""Reading a busy connection in gulps: what comes in a trickle is left in the socket for some milliseconds, and then read at once.

Each time that something comes the process is woken, and a process that has slept finds its caches full of what others did: where
much comes, that costs more than the work itself.
"""

import asyncio
from typing import Any

BUSY_S = 0.003
"""A connection from which something comes this soon after the last time is busy: some 300 times a second."""

REST_S = 0.008
"""How long a busy connection is not read: little beside the way through a cellular network."""


class Gulps:
    """Rests the reading of one transport. Tell it of everything that was read; `hold` stops reading for as long as it is held."""

    def __init__(self, transport: Any, rest_s: float = REST_S) -> None:
        """`transport` is an asyncio.ReadTransport."""
        self._transport, self._rest_s = transport, rest_s
        self._loop = asyncio.get_running_loop()
        self._read_at = 0.0
        self._resting = self._held = False

    def took(self) -> None:
        """Something was read just now."""
        now = self._loop.time()
        if now - self._read_at < BUSY_S and not self._resting:
            self._resting = True
            self._loop.call_later(self._rest_s, self._rested)
            self._set()
        self._read_at = now

    def hold(self, held: bool) -> None:
        """Whether nothing is to be read until further notice."""
        self._held = held
        self._set()

    def _rested(self) -> None:
        self._resting = False
        self._set()

    def _set(self) -> None:
        if not self._transport.is_closing():
            (self._transport.pause_reading if self._held or self._resting else self._transport.resume_reading)()
