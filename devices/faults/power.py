"""What happens to the unit's supply."""

from devices.faults.fault import Fault, Recurring
from devices.power import ResetCause

LOOP_TIMES = 5
LOOP_EVERY_MS = 8_000


class _Restarts(Recurring):
    """The unit starts anew, `times` over."""

    times = 1
    cause = ResetCause.WATCHDOG

    def begins(self, now_ms: int) -> None:
        super().begins(now_ms)
        self._left, self._next_at = 0, 0

    def strike(self, now_ms: int) -> list[bytes]:
        if not self._left:
            self._left, self._next_at = self.times, now_ms
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        said = super().tick(now_ms)
        if self._left and now_ms >= self._next_at:
            self._left -= 1
            self._next_at = now_ms + LOOP_EVERY_MS
            self.terminal.reboot(now_ms, self.cause)
        return said

    def next_ms(self, now_ms: int) -> int | None:
        moments = (super().next_ms(now_ms), self._next_at if self._left else None)
        return min((each for each in moments if each is not None), default=None)


class _Loop(_Restarts):
    times = LOOP_TIMES
    cause = ResetCause.BROWN_OUT


class BrownOutLoop(Fault):
    """The starter pulls the supply down, and the modem does it again."""

    name = "brown_out_loop"
    sentence = f"the unit loses power and starts again, {LOOP_TIMES} times within {LOOP_TIMES * LOOP_EVERY_MS // 1000} s"
    level = "power"
    per = "hour"
    usual_rate = 6.0
    expected = ("restarts", "held", "no_false_change", "true")
    ailment = _Loop


class WatchdogReset(Fault):
    """The firmware hangs and is started anew."""

    name = "watchdog_reset"
    sentence = "the firmware is started anew by its watchdog"
    level = "power"
    per = "hour"
    usual_rate = 12.0
    expected = ("restarts", "held", "no_false_change", "true")
    ailment = _Restarts


FAULTS: tuple[type[Fault], ...] = (BrownOutLoop, WatchdogReset)
