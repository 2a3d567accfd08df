"""What happens to the unit's own clock."""

from datetime import UTC, datetime
from typing import ClassVar

from devices.faults.fault import Ailment, Fault, reasons


class _WrongClock(Ailment):
    """The clock shows another year from now on, and again after every restart."""

    def begins(self, now_ms: int) -> None:
        self._break(now_ms)
        self._restarts = self.terminal.restarts

    def connected(self, now_ms: int) -> list[bytes]:
        if self.terminal.restarts != self._restarts:
            self.begins(now_ms)
        return []

    def ends(self, now_ms: int) -> None:
        self.terminal.firmware.rtc.set(now_ms, now_ms)  # type: ignore[attr-defined]

    def _break(self, now_ms: int) -> None:
        fault = self.fault
        assert isinstance(fault, _DeadRtc)
        rtc = self.terminal.firmware.rtc  # type: ignore[attr-defined]
        rtc.set(fault.shows_ms, now_ms)
        rtc.synchronised = fault.believed


class _DeadRtc(Fault):
    level = "clock"
    per = "unit"
    usual_rate = 1.0
    ailment = _WrongClock
    shows_ms: ClassVar[int]
    believed: ClassVar[bool] = True


class DeadRtc1970(_DeadRtc):
    """The battery of the clock is empty, and the unit knows."""

    name = "dead_rtc_1970"
    sentence = "after every start the clock stands at 1970-01-01 and the unit says that it is not synchronised"
    expected = ("clock_set", "held", "in_order", "true")
    protocols = frozenset({"cloudboxx", "gbt32960"})
    because = reasons(autoapi="nobody can tell it the time", teltonika="nobody can tell it the time")
    shows_ms = 0
    believed = False


class DeadRtc2038(_DeadRtc):
    """A clock of 32 signed bits, one step before its end, and the unit believes it."""

    name = "dead_rtc_2038"
    sentence = "the clock stands at 2038-01-19T03:14:07Z, where signed seconds end, and the unit believes it"
    expected = ("clock_bounded", "held", "true")
    protocols = frozenset({"cloudboxx", "teltonika", "autoapi"})
    because = reasons(gbt32960="its times are written as dates, and know no such second")
    shows_ms = ((1 << 31) - 1) * 1000


class DeadRtc2080(_DeadRtc):
    """A clock that lost its year, and the unit believes it."""

    name = "dead_rtc_2080"
    sentence = "the clock stands in the year 2080, and the unit believes it"
    expected = ("clock_bounded", "held", "true")
    shows_ms = round(datetime(2080, 1, 6, tzinfo=UTC).timestamp()) * 1000


FAULTS: tuple[type[Fault], ...] = (DeadRtc1970, DeadRtc2038, DeadRtc2080)
