"""Frames that the gateway has not acknowledged yet, unchanged, oldest first. Pure; time is an argument in milliseconds."""

from collections.abc import Iterable
from itertools import islice

from devices.flash import Flash

CAPACITY = 1_000
WINDOW = 32
"""Sequence numbers from the oldest on that may be in flight: what one Ack's bitmap reaches."""

RESEND_FIRST_MS = 10_000
RESEND_LIMIT_MS = 300_000
SEQUENCE_MODULUS = 1 << 32


def ahead(sequence: int, of: int) -> int:
    """How far `sequence` is ahead of `of`, negative if behind: serial number arithmetic (RFC 1982), 32 bits."""
    distance = (sequence - of) % SEQUENCE_MODULUS
    return distance - SEQUENCE_MODULUS if distance >= SEQUENCE_MODULUS // 2 else distance


_Sending = tuple[int, int]
"""How often a frame went out on this connection, and when it goes again."""


class Journal:
    """The unit's store of frames by sequence number, in its flash. Urgent frames do not wait for the window to reach them."""

    def __init__(self, flash: Flash, capacity: int = CAPACITY) -> None:
        self._flash, self._frames = flash, flash.journal
        self.capacity = capacity
        self._sendings: dict[int, _Sending] = {}
        self._urgent: set[int] = set()

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._frames

    @property
    def oldest(self) -> int | None:
        """The oldest sequence number still held."""
        return next(iter(self._frames), None)

    def make_room(self) -> None:
        """Forget the oldest frames until one more has room."""
        while len(self._frames) >= self.capacity:
            self._drop(next(iter(self._frames)))
            self._flash.forgotten += 1

    def append(self, sequence: int, data: bytes, *, urgent: bool = False) -> None:
        """Keep a frame until it is acknowledged; its sequence number is ahead of all others."""
        if len(self._frames) >= self.capacity:
            self.make_room()
        self._frames[sequence] = data
        if urgent:
            self._urgent.add(sequence)

    def acknowledge(self, cumulative: int, bitmap: int) -> int:
        """Drop all up to `cumulative`, and of those after it the ones set in `bitmap` (bit 0 first). How many were dropped."""
        frames, sendings, urgent = self._frames, self._sendings, self._urgent
        before = len(frames)
        if before == 1 and not (bitmap or urgent):  # as a rule
            (oldest,) = frames
            if (cumulative - oldest) % SEQUENCE_MODULUS > SEQUENCE_MODULUS // 2:
                return 0
            frames.popitem()
            sendings.pop(oldest, None)
            return 1
        while frames:
            oldest = next(iter(frames))
            if (cumulative - oldest) % SEQUENCE_MODULUS > SEQUENCE_MODULUS // 2:  # it is ahead of that
                break
            del frames[oldest]
            sendings.pop(oldest, None)
            if urgent:
                urgent.discard(oldest)
        while bitmap:
            bit = (bitmap & -bitmap).bit_length() - 1
            self._drop((cumulative + 1 + bit) % SEQUENCE_MODULUS)
            bitmap &= bitmap - 1
        return before - len(frames)

    def release(self, sequence: int) -> None:
        """Drop one frame, which need not be there any more."""
        self._drop(sequence)

    def oldest_frames(self, limit: int) -> dict[int, bytes]:
        """At most `limit` frames from the oldest on."""
        return {sequence: self._frames[sequence] for sequence in islice(self._frames, limit)}

    def line_lost(self) -> None:
        """What was on its way may not have arrived: on the next connection all goes out again, oldest first."""
        self._sendings.clear()

    def due(self, now_ms: int, *, only_urgent: bool = False) -> list[tuple[int, bytes]]:
        """The frames to send, oldest first: within the window or urgent, unless they may still be on their way."""
        if not self._frames:
            return []
        sendable = self._pressing() if only_urgent else self._sendable()
        sendings, frames = self._sendings, self._frames
        return [(each, frames[each]) for each in sendable if (sent := sendings.get(each)) is None or sent[1] <= now_ms]

    def next_due_ms(self, now_ms: int, *, only_urgent: bool = False) -> int | None:
        """When `due` will next have something; None: not before something else happens."""
        if not self._frames:
            return None
        sendable = self._pressing() if only_urgent else self._sendable()
        sendings, earliest = self._sendings, None
        for each in sendable:
            sent = sendings.get(each)
            if sent is None:
                return now_ms
            if earliest is None or sent[1] < earliest:
                earliest = sent[1]
        return earliest

    def go(self, now_ms: int) -> tuple[list[bytes], int | None]:
        """`due` and `sent` at once: the frames that go out, and what `next_due_ms` is then."""
        if not self._frames:
            return [], None
        sendings, frames, going, earliest = self._sendings, self._frames, list[bytes](), None
        if len(frames) == 1:  # as a rule
            (each,) = frames
            if each not in sendings:
                again_ms = now_ms + RESEND_FIRST_MS
                sendings[each] = (1, again_ms)
                return [frames[each]], again_ms
        for each in self._sendable():
            sent = sendings.get(each)
            if sent is None or sent[1] <= now_ms:
                going.append(frames[each])
                self.sent((each,), now_ms)
                sent = sendings[each]
            if earliest is None or sent[1] < earliest:
                earliest = sent[1]
        return going, earliest

    def _pressing(self) -> list[int]:
        oldest = self.oldest or 0
        return sorted(self._urgent, key=lambda each: ahead(each, oldest))

    def sent(self, sequences: Iterable[int], now_ms: int) -> None:
        """These went out; unless acknowledged they go again after 10 s, then 20 s, 40 s, ... 5 minutes."""
        for sequence in sequences:
            times, _ = self._sendings.get(sequence, (0, 0))
            wait_ms = min(RESEND_FIRST_MS << min(times, 10), RESEND_LIMIT_MS)
            self._sendings[sequence] = (times + 1, now_ms + wait_ms)

    def _sendable(self) -> list[int]:
        frames, urgent = self._frames, self._urgent
        if len(frames) == 1:
            return list(frames)
        oldest = next(iter(frames))
        found = []
        for sequence in frames:
            if (sequence - oldest) % SEQUENCE_MODULUS >= WINDOW:
                break
            found.append(sequence)
        if urgent:
            found += sorted([each for each in urgent if ahead(each, oldest) >= WINDOW], key=lambda each: ahead(each, oldest))
        return found

    def _drop(self, sequence: int) -> None:
        self._frames.pop(sequence, None)
        self._sendings.pop(sequence, None)
        self._urgent.discard(sequence)
