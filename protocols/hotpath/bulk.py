"""Payloads by the thousand through the hot path: cut, decoded, checked. What captures, replays and gateways share.

What comes out is what Protocol.split and Protocol.decode say, payload by payload.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from protocols.codec import PAYLOAD_LIMIT_BYTES, Cut, Frame, Peer, Protocol, ProtocolError, Reason
from protocols.hotpath.decoder import Decoder, Outcome, Rows
from protocols.hotpath.plans import Plan
from protocols.hotpath.rows import Ints

FRAMES_AT_ONCE = 4096
STREAM_STEP_BYTES = PAYLOAD_LIMIT_BYTES


class Batch:
    """Some payloads of one protocol, cut by their length fields and decoded at once.

    `frames` are all of them in order, with the payload that each is `of` and the byte where it `begins` there. `speakers` are the
    payloads' units by their numbers in the decoder's keyring; without them nobody's identity or seal is checked.
    """

    def __init__(self, decoder: Decoder, payloads: Sequence[bytes], speakers: Sequence[int] | None = None) -> None:
        self.decoder, self.payloads = decoder, payloads
        self.frames: list[bytes] = []
        self.begins: list[int] = []
        self.of: list[int] = []
        if decoder.binding.framing.single(payloads):
            self.frames, self.begins, self.of = list(payloads), [0] * len(payloads), list(range(len(payloads)))
        else:
            self._hop()
        self.speakers: Ints | None = None if speakers is None else np.array([speakers[at] for at in self.of], np.int32)
        self.rows: Rows = decoder.decode(self.frames, self.speakers)
        self.vouched = len(self.frames) - int(np.count_nonzero(self.rows.status))

    def _hop(self) -> None:
        hops = self.decoder.binding.framing.hops
        for at, payload in enumerate(self.payloads):
            for begin, end in hops(payload):
                self.frames.append(payload[begin:end])
                self.begins.append(begin)
                self.of.append(at)

    @property
    def doubtful(self) -> set[int]:
        """The payloads in which a frame is not vouched for: their cuts are what the protocol says."""
        return {self.of[number] for number in np.flatnonzero(self.rows.status).tolist()}

    def cuts(self) -> list[list[tuple[Cut, int | None]]]:
        """Each payload's cuts, with their numbers among the frames; None for what is none of those, or no frame at all."""
        found: list[list[tuple[Cut, int | None]]] = [[] for _ in self.payloads]
        for number, (at, begin, data) in enumerate(zip(self.of, self.begins, self.frames, strict=True)):
            found[at].append((Cut(begin, data), number))
        for at in self.doubtful:
            known = {(cut.offset, len(cut.data)): number for cut, number in found[at]}
            cuts = self.decoder.binding.protocol.split(self.payloads[at])
            found[at] = [(cut, None if cut.error else known.get((cut.offset, len(cut.data)))) for cut in cuts]
        return found

    def outcomes(self) -> Iterator[list[tuple[Cut, Outcome]]]:
        """For each payload its cuts and what they are: a Frame, or what is wrong, counted from the payload's start."""
        for cuts in self.cuts():
            yield [(cut, self._outcome(cut, number)) for cut, number in cuts]

    def _outcome(self, cut: Cut, number: int | None) -> Outcome:
        if cut.error is not None:
            return cut.error
        if number is not None:
            said = self.rows.outcome(number)
        else:
            try:
                said = self.decoder.binding.protocol.decode(cut.data)
            except ProtocolError as error:
                said = error
        return said.moved(cut.offset) if isinstance(said, ProtocolError) else said


@dataclass(slots=True)
class Tally:
    """What a capture holds. `kinds` counts good frames; `refused` the rest by reason, `first` where each reason was first seen:
    the payload's number, and the byte of it. `offset` of a stream is the byte of all of it."""

    frames: int = 0
    payloads: int = 0
    size_bytes: int = 0
    vouched: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    first: dict[Reason, tuple[int, int]] = field(default_factory=dict)

    def refuse(self, error: ProtocolError, payload: int, offset: int) -> None:
        """Count what is wrong."""
        self.refused[error.reason] += 1
        self.first.setdefault(error.reason, (payload, offset))


class Capture:
    """Decodes a capture of one protocol, batch by batch, and counts. With `key`, every frame's seal is held against it, as that
    of the unit which the frame names."""

    def __init__(self, decoder: Decoder, key: bytes | None = None) -> None:
        self.decoder, self.tally = decoder, Tally()
        self._key = key if decoder.binding.protocol.sealed else None
        self._offsets = np.empty(FRAMES_AT_ONCE + 1, np.uint32)
        self._kinds: dict[int, tuple[Plan | None, str]] = {}

    @property
    def protocol(self) -> Protocol:
        """Whose frames are looked for."""
        return self.decoder.binding.protocol

    def take(self, payloads: Iterable[bytes]) -> None:
        """Count what these payloads hold."""
        batch: list[bytes] = []
        size = 0
        for payload in payloads:
            batch.append(payload)
            size += len(payload)
            if len(batch) >= FRAMES_AT_ONCE or size >= FRAMES_AT_ONCE * 64:
                self._count(batch)
                batch, size = [], 0
        if batch:
            self._count(batch)

    def take_stream(self, chunks: Iterable[bytes]) -> None:
        """Count what stands back to back in a stream of bytes, however it comes in pieces."""
        left, begin, number = b"", 0, self.tally.payloads
        for chunk in chunks:
            left += chunk
            at = 0
            while len(left) - at >= 2 * STREAM_STEP_BYTES:
                step = left[at : at + STREAM_STEP_BYTES]
                at += self._walked(left, at) or self._step(step, begin + at, number, last=False)
            left, begin = left[at:], begin + at
        while left:
            last = len(left) <= STREAM_STEP_BYTES
            taken = self._walked(left, 0) or self._step(left[:STREAM_STEP_BYTES], begin, number, last=last)
            left, begin = left[taken:], begin + taken
        self.tally.payloads = number + 1

    def _walked(self, data: bytes, at: int) -> int:
        """Count the frames that stand back to back from there on, as they stand, where all of them are vouched for and of kinds
        that were seen before: how many bytes that are, else 0."""
        count = 0 if self._key is not None else self.decoder.table.hops(data, at, self._offsets)
        if not count:
            return 0
        rows = self.decoder.walk_buffer(data, self._offsets[: count + 1], alone=True)
        kinds = None if rows.troubled else self._kinds_of(rows)
        if kinds is None:
            return 0
        taken = int(self._offsets[count]) - at
        self.tally.kinds.update(kinds)
        self.tally.frames += count
        self.tally.vouched += count
        self.tally.size_bytes += taken
        return taken

    def _step(self, data: bytes, begin: int, number: int, *, last: bool) -> int:
        """Count what stands in a piece of a stream; how much of it that is. What breaks off at its end is left for the next."""
        whole = self.decoder.binding.framing.whole(data)
        if whole and (whole == len(data) or not last):
            batch = Batch(self.decoder, [data[:whole]])
            if batch.vouched == len(batch.frames):
                self._count_batch(batch, number, begin)
                return whole
        cuts = list(self.protocol.split(data))
        if not last and len(cuts) > 1:
            cuts = cuts[:-1]
        end = cuts[-1].offset + len(cuts[-1].data)
        self._count_batch(Batch(self.decoder, [data[:end]]), number, begin)
        return end

    def _count(self, payloads: list[bytes]) -> None:
        self._count_batch(Batch(self.decoder, payloads), self.tally.payloads, 0)
        self.tally.payloads += len(payloads)

    def _count_batch(self, batch: Batch, payload: int, begin: int) -> None:
        tally = self.tally
        tally.size_bytes += sum(map(len, batch.payloads))
        tally.vouched += batch.vouched
        wrong = self._forged(batch) if self._key is not None else {}
        if batch.vouched == len(batch.frames) and not wrong:
            kinds = self._kinds_of(batch.rows)
            if kinds is not None:
                tally.frames += len(batch.frames)
                tally.kinds.update(kinds)
                return
        for at, found in enumerate(batch.cuts()):
            for cut, number in found:
                tally.frames += 1
                vouched = number is not None and not batch.rows.status[number]
                if vouched and number not in wrong:
                    tally.kinds[self._kind(batch.rows, number or 0)] += 1
                    continue
                said: Outcome = wrong[number].moved(cut.offset) if number in wrong else batch._outcome(cut, number)
                if isinstance(said, Frame):
                    tally.kinds[said.kind] += 1
                else:
                    tally.refuse(said, payload + at, begin + said.offset)

    def _kinds_of(self, rows: Rows) -> Counter[str] | None:
        """All frames are vouched for: what kind each is, their first plans say. None: a plan is new, and no frame is there."""
        first = rows.plans if rows.starts is None else rows.plans[rows.starts[:-1]]
        counts = np.bincount(first)
        kinds: Counter[str] = Counter()
        for plan in np.flatnonzero(counts).tolist():
            kind = self._known_kind(rows, plan)
            if kind is None:
                if not rows.frames:
                    return None
                kind = self._kind(rows, int(np.argmax(first == plan)))
            kinds[kind] += int(counts[plan])
        return kinds

    def _known_kind(self, rows: Rows, plan: int) -> str | None:
        of, kind = self._kinds.get(plan, (None, ""))
        return kind if of is not None and of is rows.known[plan] else None

    def _kind(self, rows: Rows, number: int) -> str:
        """The kind of a frame that is vouched for."""
        plan = int(rows.plans[number if rows.starts is None else rows.starts[number]])
        kind = self._known_kind(rows, plan)
        if kind is None:
            kind = self.decoder.frame(rows, number).kind
            self._kinds[plan] = (rows.known[plan], kind)
        return kind

    def _forged(self, batch: Batch) -> dict[int | None, ProtocolError]:
        """Which frames, good ones otherwise, are not sealed with the key."""
        assert self._key is not None
        rows, binding, keyring = batch.rows, self.decoder.binding, self.decoder.keyring
        at, size = binding.form.offsets[binding.unit_lane], binding.form.by_name[binding.unit_lane].size_bytes
        speakers = np.full(len(batch.frames), -1, np.int32)
        good = np.flatnonzero(rows.status == 0)
        if len(good):
            ids, first, which = np.unique(rows.data[good, at : at + size], axis=0, return_index=True, return_inverse=True)
            units = [self.decoder.frame(rows, int(good[each])).unit or "" for each in first]
            numbers = keyring.numbers(Peer(unit, (self._key,)) for unit in units)
            speakers[good] = numbers[which.reshape(-1)]
            assert len(ids) == len(units)
        holds = keyring.check(batch.frames, speakers, binding.framing.tag_size, binding.framing.tag_trail)
        slow = (number for number, said in rows.slow.items() if isinstance(said, Frame))
        wrong: dict[int | None, ProtocolError] = {}
        for number in [*np.flatnonzero((rows.status == 0) & (holds == 0)).tolist(), *slow]:
            try:
                frame = batch.rows.outcome(number)
                self.protocol.decode(batch.frames[number], Peer(getattr(frame, "unit", None) or "", (self._key,)))
            except ProtocolError as error:
                wrong[number] = error
        return wrong
