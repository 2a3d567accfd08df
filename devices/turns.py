"""How the units of a fleet have their turns: one does one thing, what comes of it goes out, and when it ticks next is noted."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from devices.brief import BriefUnit
from devices.columns import Columns
from devices.member import Member, Tally
from devices.together import Outcome, Together

FLASH_RETRY_MS = 1_000

log = structlog.get_logger(__name__)


class Turns:
    """`devices.fleet.Fleet` as far as its units' work goes; it says itself where lines come from, and who ticks when."""

    def __init__(self, columns: Columns, now_ms: Callable[[], int]) -> None:
        self.columns, self._now_ms = columns, now_ms
        self.tally = Tally()
        self._together = Together(columns)

    def _schedule(self, member: Member, due_ms: int) -> None:
        """It ticks next then."""
        raise NotImplementedError

    def _see_to_line(self, member: Member) -> None:
        """It may want a line, or none any more."""
        raise NotImplementedError

    def _see_to_rival(self, member: Member) -> None:
        """It may have a copy, or none any more."""
        raise NotImplementedError

    def _received(self, member: Member, payload: bytes) -> None:
        self.tally.payloads_received += 1
        member.at_ms = now_ms = max(member.at_ms, self._now_ms())
        try:
            done = member.firmware.took_ack(payload, now_ms)
        except OSError as error:
            self._flash_failed(member, error)
            self._schedule(member, now_ms + FLASH_RETRY_MS)
            return
        if not done:
            self.let(member, member.firmware.receive, payload, at_ms=now_ms)

    def take_turns(self, due: Sequence[tuple[Member, int]]) -> None:
        """Let these units tick, each at its moment: those that have a short way now together, the others one by one."""
        short: list[int] = []
        units: list[BriefUnit] = []
        moments: list[int] = []
        for place, (member, at_ms) in enumerate(due):
            if member.line is not None and member.rival is None and (unit := member.firmware.briefly) is not None:
                short.append(place)
                units.append(unit)
                moments.append(max(member.at_ms, at_ms))
        outcomes: list[Outcome] = [None] * len(due)
        for place, outcome in zip(short, self._together.brief(units, moments), strict=True):
            outcomes[place] = outcome
        for (member, at_ms), outcome in zip(due, outcomes, strict=True):
            if outcome is None:
                self.take_turn(member, at_ms)
            else:
                self._took(member, max(member.at_ms, at_ms), outcome)

    def take_turn(self, member: Member, at_ms: int) -> None:
        """Let the unit tick, a short way if it has one now."""
        at_ms = max(member.at_ms, at_ms)
        brief: Outcome = None
        if member.line is not None and member.rival is None and member.firmware.rival is None:
            try:
                brief = member.firmware.brief(at_ms)
            except OSError as error:
                brief = error
        if brief is None:
            self.let(member, member.firmware.tick, at_ms=at_ms)
        else:
            self._took(member, at_ms, brief)

    def _took(self, member: Member, at_ms: int, outcome: tuple[list[bytes], int] | OSError) -> None:
        """A short way is behind it."""
        if isinstance(outcome, OSError):
            self._flash_failed(member, outcome)
            self._schedule(member, at_ms + FLASH_RETRY_MS)
            return
        member.at_ms = at_ms
        payloads, due_ms = outcome
        self._publish(member, payloads)
        self._schedule(member, due_ms)

    def let(self, member: Member, act: Callable[..., Iterable[bytes]], *given: Any, at_ms: int | None = None) -> None:
        """Let the unit do one thing, and send what comes of it. If its flash cannot be written, nothing goes out."""
        now_ms = self._now_ms() if at_ms is None else at_ms
        if now_ms < member.at_ms:
            now_ms = member.at_ms
        else:
            member.at_ms = now_ms
        earliest_ms = now_ms
        try:
            payloads = act(*given, now_ms)
        except OSError as error:
            self._flash_failed(member, error)
            payloads, earliest_ms = (), now_ms + FLASH_RETRY_MS
        self._publish(member, payloads)
        if member.line is None or not member.firmware.wants_line:
            self._see_to_line(member)
        if member.firmware.rival is not None or member.rival is not None:
            self._see_to_rival(member)
        due_ms = member.firmware.next_tick(now_ms)
        self._schedule(member, due_ms if due_ms > earliest_ms else earliest_ms)

    def _publish(self, member: Member, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            if member.line is not None:
                member.line.publish(payload)
                self.tally.payloads_sent += 1
                self.tally.bytes_sent += len(payload)

    def _flash_failed(self, member: Member, error: OSError) -> None:
        self.tally.flash_failures += 1
        log.error("a unit's flash cannot be written", unit=str(member.record.unit), error=str(error))
