"""The seconds around a serious alarm, as GB/T 32960 wants them: those before it are kept ready, those after it all reported."""

from collections import deque
from collections.abc import Mapping
from typing import Any

WINDOW_S = 30
"""How long before and after an alarm of level 3 reports are no more than a second apart."""

SECOND_MS = 1000

BATTERY_TEMPERATURE, INSULATION, BRAKE_SYSTEM = 1 << 1, 1 << 11, 1 << 13
LEVEL_3_FLAGS = BATTERY_TEMPERATURE | INSULATION | BRAKE_SYSTEM
"""Which of table 18's alarms are level 3, a danger to those in the vehicle; the standard leaves it to the maker."""


def graded(signals: Mapping[str, Any]) -> dict[str, Any]:
    """The same signals with `alarm_level`, where the unit says `alarm_flags`: 0 none, 3 serious, 1 any other."""
    flags = signals.get("alarm_flags")
    if flags is None:
        return dict(signals)
    return {**signals, "alarm_level": 3 if flags & LEVEL_3_FLAGS else int(flags != 0)}


class AlarmWatch:
    """One unit's last seconds, and whether there is an alarm. Times are Unix milliseconds; none are kept where power is lost."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, bytes]] = deque(maxlen=WINDOW_S)
        self._alarm = False
        self._until_ms = 0
        self.sampled_ms = 0

    def sample_is_due(self, now_ms: int) -> bool:
        """Whether the last second that is kept is more than a second ago."""
        return now_ms >= self.sampled_ms + SECOND_MS

    def keep(self, now_ms: int, said_ms: int, report: bytes) -> None:
        """A second that nothing was reported of. `said_ms` is the report's own time."""
        self.sampled_ms = now_ms
        self._seconds.append((said_ms, report))

    def reported(self, now_ms: int, said_ms: int, level: int) -> list[bytes]:
        """A report of `level` goes out: with an alarm that begins, the seconds before it are to go out too, oldest first."""
        begins = level == 3 and not self._alarm
        self._alarm, self.sampled_ms = level == 3, now_ms
        if not begins:
            self._seconds = deque((each for each in self._seconds if each[0] != said_ms), WINDOW_S)
            return []
        self._until_ms = now_ms + WINDOW_S * SECOND_MS
        before = [report for at, report in self._seconds if said_ms - WINDOW_S * SECOND_MS <= at < said_ms]
        self._seconds.clear()
        return before

    def is_close(self, now_ms: int) -> bool:
        """Whether an alarm began in the last 30 s."""
        return now_ms <= self._until_ms
