"""What happens to the line and the sessions on it: slow, half open, gone for days, taken over, older than it should be."""

from collections import deque
from types import MappingProxyType

from devices.faults.fault import Ailment, Fault, FaultUnsuited, Recurring, reasons
from devices.line import LINES

NOTICED_AFTER_MS = 45_000
"""A dead connection is noticed when two keepalives went unanswered."""

DEAD_SPOT_S = 600.0
THREE_DAYS_MS = 3 * 24 * 3600 * 1000
KEPT_DOWN = 5


class _Slow(Ailment):
    def begins(self, now_ms: int) -> None:
        self._before = self.terminal.link.model
        self.terminal.link.model = LINES["slow"].with_gaps(self._before.holes, self._before.outages)

    def ends(self, now_ms: int) -> None:
        self.terminal.link.model = self._before


class SlowLine(Fault):
    """GPRS at the edge of a cell."""

    name = "slow_line"
    sentence = "the line has 700 ms each way and 1.5 kB/s, as GPRS at the edge of a cell"
    level = "line"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "no_false_change", "true")
    ailment = _Slow


class _DeadSpot(Recurring):
    def strike(self, now_ms: int) -> list[bytes]:
        self.terminal.link.cut(now_ms, DEAD_SPOT_S)
        self.terminal.lose_line(now_ms)
        return []

    def ends(self, now_ms: int) -> None:
        self.terminal.link.mend()


class DeadSpot(Fault):
    """No coverage where the vehicle is."""

    name = "dead_spot"
    sentence = f"the line is gone for {DEAD_SPOT_S / 60:g} minutes"
    level = "line"
    per = "hour"
    usual_rate = 2.0
    expected = ("offline", "in_order", "held", "no_false_change", "true")
    ailment = _DeadSpot


class _HalfOpen(Recurring):
    """Both sides believe that the connection stands, and nothing passes."""

    def begins(self, now_ms: int) -> None:
        super().begins(now_ms)
        self._noticed_at: int | None = None

    def strike(self, now_ms: int) -> list[bytes]:
        if self._noticed_at is None:
            self._noticed_at = now_ms + NOTICED_AFTER_MS
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        if self._noticed_at is not None and now_ms >= self._noticed_at:
            self._noticed_at = None
            self.terminal.lose_line(now_ms)
        return super().tick(now_ms)

    def next_ms(self, now_ms: int) -> int | None:
        moments = (super().next_ms(now_ms), self._noticed_at)
        return min((each for each in moments if each is not None), default=None)

    def connected(self, now_ms: int) -> list[bytes]:
        self._noticed_at = None
        return []

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        return payloads if self._noticed_at is None else []

    def down(self, payload: bytes, now_ms: int) -> list[bytes]:
        return [payload] if self._noticed_at is None else []


class HalfOpen(Fault):
    """The carrier's NAT has forgotten the connection."""

    name = "half_open"
    sentence = f"for {NOTICED_AFTER_MS // 1000} s nothing passes either way although the connection seems to stand"
    level = "line"
    per = "hour"
    usual_rate = 12.0
    expected = ("held", "no_false_change", "true")
    ailment = _HalfOpen


class _ThreeDays(Ailment):
    """The unit has lived for three days before it is heard of for the first time."""

    def begins(self, now_ms: int) -> None:
        if self.terminal.spoken:
            raise FaultUnsuited("backlog_3_days is for a unit that has not spoken yet")
        firmware, at = self.terminal.firmware, now_ms - THREE_DAYS_MS
        while at < now_ms:
            firmware.tick(at)
            at = max(at + 1, firmware.next_tick(at))


class Backlog3Days(Fault):
    """Three days in an underground car park."""

    name = "backlog_3_days"
    sentence = "the unit has had no line for three days, and then says all that its journal still holds"
    level = "line"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "in_order", "no_false_change", "true")
    protocols = frozenset({"cloudboxx", "teltonika", "gbt32960"})
    because = reasons(autoapi="it keeps nothing of what happens without a line")
    ailment = _ThreeDays


class _Stale(Ailment):
    """What came down in the last session comes again in the next one, oldest first."""

    def begins(self, now_ms: int) -> None:
        self._kept: deque[bytes] = deque(maxlen=KEPT_DOWN)
        self._again: list[bytes] = []
        self._lose_at: int | None = None

    def down(self, payload: bytes, now_ms: int) -> list[bytes]:
        self._kept.append(payload)
        if self._lose_at is None and self.dice():
            self._lose_at = now_ms + 1_000
        return [payload]

    def connected(self, now_ms: int) -> list[bytes]:
        return [said for payload in tuple(self._kept) for said in self.terminal.firmware.receive(payload, now_ms)]

    def tick(self, now_ms: int) -> list[bytes]:
        if self._lose_at is not None and now_ms >= self._lose_at:
            self._lose_at = None
            self.terminal.lose_line(now_ms)
        return []

    def next_ms(self, now_ms: int) -> int | None:
        return self._lose_at


class StaleSession(Fault):
    """The broker has kept more of the session than it should."""

    name = "stale_session"
    sentence = "the connection is lost, and the broker delivers all of the last session once more: old Acks, old commands"
    level = "session"
    expected = ("executed_once", "held", "no_false_change", "true")
    lacking = MappingProxyType({"teltonika": frozenset({"held"})})
    ailment = _Stale


class _Clone(Ailment):
    """A copy of the unit, secrets and all, in another vehicle: whoever drives the unit drives it too, on a line of its own."""

    def begins(self, now_ms: int) -> None:
        self.terminal.rival = self.terminal.copied()

    def ends(self, now_ms: int) -> None:
        self.terminal.rival = None


class ClonedUnit(Fault):
    """The same id and the same secrets, twice."""

    name = "cloned_unit"
    sentence = "a copy of the unit, secrets and all, is on the air in another vehicle: each takes the session from the other"
    level = "session"
    per = "unit"
    usual_rate = 1.0
    expected = ("one_session", "repeated", "contested", "others_true", "unavoidable")
    lacking = MappingProxyType(dict.fromkeys(("teltonika", "gbt32960", "autoapi"), frozenset({"repeated", "contested"})))
    ailment = _Clone


FAULTS: tuple[type[Fault], ...] = (SlowLine, DeadSpot, HalfOpen, Backlog3Days, StaleSession, ClonedUnit)
