"""Frames out of a byte stream, whatever way the network cut it up. No socket: bytes in, cuts out.

What a protocol must say for that is a `Framing`: how long a frame is, seen from its first bytes, and whether its checksum
holds. What is no frame is skipped up to where one may begin again; a frame whose checksum fails is searched inside, because
it may be the torn front of one frame with whole frames behind it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from protocols.codec import PAYLOAD_LIMIT_BYTES, Cut, ProtocolError

HEADER_WINDOW_BYTES = 64
"""How many bytes of a frame `measure` is shown at most: longer than any fixed header of ours."""

RESYNC_LIMIT_BYTES = 512 * 1024
"""How much is checked for a next frame in one call: bytes made of nothing but false starts cost no more."""

RESYNC_STEP_BYTES = 1024
"""What one check counts at least: 512 small false starts are looked at, or 8 of the longest."""


def _unchecked(frame: bytes) -> None:
    """For a protocol without a checksum."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the frames of one protocol begin and end, before anything is decoded.

    `measure` gets the first bytes (at most HEADER_WINDOW_BYTES) from where a frame is to begin: the size in bytes of that
    frame, whether or not it is all there yet; None if more bytes are needed to tell; ProtocolError if no frame begins so.
    `check` gets a whole frame; ProtocolError if its checksum does not hold. `starts` matches, without taking a byte, where a
    frame may begin; without it every byte is tried. `torn` matches a front of that, as far as it has come, at the very end.
    """

    measure: Callable[[bytes], int | None]
    check: Callable[[bytes], None] = _unchecked
    starts: re.Pattern[bytes] | None = None
    torn: re.Pattern[bytes] | None = None


class Framer:
    """One connection's bytes, put together again: `receive` chunks, get the frames that are complete with them.

    Holds less than `limit_bytes` between two calls; a frame that says it is longer is an `oversized` cut. The frames are the
    same however the stream is cut into chunks. Offsets count from the start of the stream.
    """

    def __init__(self, framing: Framing, limit_bytes: int = PAYLOAD_LIMIT_BYTES) -> None:
        self._framing = framing
        self._limit_bytes = max(limit_bytes, HEADER_WINDOW_BYTES)
        self._held = bytearray()
        self._wanted_bytes = 1
        self.offset = 0
        """How many bytes of the stream have come out as cuts."""

    @property
    def held_bytes(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._held)

    def receive(self, chunk: bytes) -> list[Cut]:
        """What is complete with `chunk`: frames, and stretches that are none (with their error). Raises nothing."""
        self._held += chunk
        if len(self._held) < self._wanted_bytes:
            return []
        return self._take(final=False)

    def close(self) -> list[Cut]:
        """The stream has ended: what is left, as cuts that say what is missing."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> list[Cut]:
        data = bytes(self._held)
        found = [self._placed(cut) for cut in cuts(data, self._framing, self._limit_bytes, final=final)]
        taken = sum(len(cut.data) for cut in found)
        del self._held[:taken]
        self.offset += taken
        self._wanted_bytes = self._front_size(data[taken : taken + HEADER_WINDOW_BYTES])
        return found

    def _front_size(self, head: bytes) -> int:
        if not head:
            return 1
        try:
            return self._framing.measure(head) or len(head) + 1
        except ProtocolError:
            return 1

    def _placed(self, cut: Cut) -> Cut:
        error = cut.error and cut.error.moved(self.offset)
        return Cut(self.offset + cut.offset, cut.data, error)


def cuts(data: bytes, framing: Framing, limit_bytes: int = PAYLOAD_LIMIT_BYTES, *, final: bool = True) -> Iterator[Cut]:
    """The frames in `data` in order, each byte in one cut; error offsets count from the start of `data`.

    Unless `final`, it stops before bytes that may be a frame whose end is still to come.
    """
    search = _Search(data, framing, limit_bytes, final)
    at = 0
    while at < len(data):
        size, error = search.look(at)
        if error is not None:
            end = search.resume(at, size)
            yield Cut(at, data[at:end], error)
            at = end
        elif size is not None:
            yield Cut(at, data[at : at + size])
            at += size
        else:
            return


class _Search:
    """The walk over one buffer; counts what it has tried, so that the work stays bounded."""

    def __init__(self, data: bytes, framing: Framing, limit_bytes: int, final: bool) -> None:
        self.data = data
        self.framing = framing
        self.limit_bytes = limit_bytes
        self.final = final
        self.budget_bytes = RESYNC_LIMIT_BYTES

    def look(self, at: int) -> tuple[int | None, ProtocolError | None]:
        """The size of the frame at `at` and what is wrong with it; (None, None): more bytes are needed to tell."""
        size: int | None = None
        try:
            size = self._measure(at)
            left = len(self.data) - at
            if size is None or size > left:
                if not self.final:
                    return None, None
                expected = f"{size} bytes" if size else "a whole header"
                raise ProtocolError("truncated", left, expected=expected, found=f"{left} bytes")
            self.framing.check(self.data[at : at + size])
        except ProtocolError as error:
            if size is not None and size <= len(self.data) - at and self._is_unclear(at + 1, at + size):
                return None, None
            return size, error.moved(at)
        return size, None

    def _is_unclear(self, first: int, end: int) -> bool:
        """Whether a frame may begin in there that `starts` cannot see yet: it looks further than the bytes that have come."""
        if self.final or self.framing.torn is None:
            return False
        for start in range(max(first, len(self.data) - HEADER_WINDOW_BYTES), end):
            if self.framing.torn.match(self.data, start):
                try:
                    self._measure(start)
                except ProtocolError:
                    continue
                return True
        return False

    def resume(self, at: int, size: int | None) -> int:
        """Where the stretch that went wrong at `at` ends: at the next place that may be a frame, or where it said it would."""
        end = len(self.data) if size is None else min(at + size, len(self.data))
        for start in self._starts(at + 1, end):
            if self._promising(start, end, whole=size is not None):
                return start
            if self.budget_bytes <= 0:
                return len(self.data)
        if size is None and not self.final:
            return self._partial_start(at + 1)
        return end

    def _measure(self, at: int) -> int | None:
        size = self.framing.measure(self.data[at : at + HEADER_WINDOW_BYTES])
        if size is not None and size > self.limit_bytes:
            raise ProtocolError("oversized", expected=f"at most {self.limit_bytes} bytes", found=f"{size} bytes")
        return size

    def _starts(self, first: int, end: int) -> Iterator[int]:
        if self.framing.starts is None:
            yield from range(first, end)
            return
        for match in self.framing.starts.finditer(self.data, first):
            if match.start() >= end:
                return
            yield match.start()

    def _promising(self, start: int, end: int, whole: bool) -> bool:
        """Whether to go on at `start`. In a stream this may depend on no byte after `end`, or chunks would change the answer:
        what reaches further, and all that follows bytes of unknown extent, is gone on with, and judged when it is whole."""
        try:
            size = self._measure(start)
            if not self.final and (size is None or not whole or start + size > end):
                return True
            if size is None or start + size > len(self.data):
                return False
            self.budget_bytes -= max(size, RESYNC_STEP_BYTES)
            self.framing.check(self.data[start : start + size])
        except ProtocolError:
            return False
        return True

    def _partial_start(self, first: int) -> int:
        """Where in the last bytes a frame may begin of which too little is here to be found by `starts`."""
        for start in range(max(first, len(self.data) - HEADER_WINDOW_BYTES), len(self.data)):
            try:
                size = self._measure(start)
            except ProtocolError:
                continue
            if size is None or start + size > len(self.data):
                return start
        return len(self.data)
