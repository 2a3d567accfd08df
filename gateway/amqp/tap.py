"""What aiormq reads a connection through: the confirms of one channel are taken out on the way, by the chunk.

aiormq spends a task switch, a lock and a decoded object on each frame, and RabbitMQ confirms most messages by a frame each.
"""

import asyncio
import struct
import time
from collections.abc import Callable

from gateway.amqp.frames import FRAME_OVERHEAD_BYTES, METHOD
from gateway.gulps import Gulps

CHUNK_BYTES = 1 << 16
HEAD = struct.Struct("!BHI")
ACK = struct.Struct("!BHIIQBB")
"""A whole frame: type, channel, size; class 60 and method 80; delivery tag, `multiple`, frame end."""

ACK_SIZE = 13
BASIC_ACK = 60 << 16 | 80
FRAME_TYPES = b"\x01\x02\x03\x08"
SIGN_OF_LIFE_S = 0.5
"""aiormq must see a frame this often: RabbitMQ sends no heartbeats while it confirms."""

Settle = Callable[[int, bool], None]


class Tap:
    """Stands in for a StreamReader. Every frame that is no confirm of the listener's channel goes on to aiormq, in order.

    Where anything else comes on that channel (a message that comes back, a refusal, the channel's end), it and all after it go
    on to aiormq, until somebody listens again: what they mean depends on their order.
    """

    def __init__(self, source: asyncio.StreamReader, gulps: Gulps | None = None) -> None:
        """`gulps` rests the reading where confirms come in a trickle."""
        self._source, self._gulps = source, gulps
        self._passed = bytearray()
        self._rest = b""
        self._channel: int | None = None
        self._settle: Settle = lambda tag, multiple: None
        self._stir: Callable[[], None] = lambda: None
        self._passed_at = 0.0

    def listen(self, channel: int, settle: Settle, stir: Callable[[], None]) -> None:
        """Hand the positive confirms of `channel` to `settle` (tag, multiple), and call `stir` after each chunk of them."""
        self._channel, self._settle, self._stir = channel, settle, stir

    def at_eof(self) -> bool:
        """As a StreamReader has it."""
        return not self._passed and not self._rest and self._source.at_eof()

    async def read(self, limit: int = -1) -> bytes:
        """As a StreamReader has it."""
        said = bytes(self._passed) + self._rest
        self._passed.clear()
        self._rest = b""
        return said + await self._source.read(limit)

    async def readexactly(self, count: int) -> bytes:
        """As a StreamReader has it. Raises IncompleteReadError."""
        passed = self._passed
        while len(passed) < count:
            data = await self._source.read(CHUNK_BYTES)
            if not data:
                passed += self._rest
                self._rest = b""
                if len(passed) < count:
                    raise asyncio.IncompleteReadError(bytes(passed), count)
                break
            self._take(self._rest + data)
        said = bytes(passed[:count])
        del passed[:count]
        return said

    def _take(self, data: bytes) -> None:
        at, end, settled = 0, len(data), False
        while end - at >= FRAME_OVERHEAD_BYTES:
            kind, channel, size = HEAD.unpack_from(data, at)
            if kind not in FRAME_TYPES:  # no AMQP: aiormq says what is wrong with it
                self._passed += data[at:]
                at = end
                break
            after = at + FRAME_OVERHEAD_BYTES + size
            if after > end:
                break
            if channel != self._channel:
                self._passed += data[at:after]
            elif self._is_confirm(data, at, kind, size):
                settled = True
            else:
                self._channel = None
                self._passed += data[at:after]
            at = after
        self._rest = data[at:]
        if settled:
            self._stir()
            if self._gulps is not None:
                self._gulps.took()

    def _is_confirm(self, data: bytes, at: int, kind: int, size: int) -> bool:
        if kind != METHOD or size != ACK_SIZE:
            return False
        *_, method, tag, multiple, _ = ACK.unpack_from(data, at)
        if method != BASIC_ACK or tag == 0:
            return False
        self._settle(tag, bool(multiple & 1))
        now = time.monotonic()
        if now - self._passed_at >= SIGN_OF_LIFE_S:
            self._passed_at = now
            self._passed += data[at : at + FRAME_OVERHEAD_BYTES + size]  # settled twice does no harm
        return True
