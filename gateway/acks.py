"""When a unit gets its Ack: at most one a second, or one for every 16 frames. Pure; time is an argument in milliseconds."""

from dataclasses import dataclass

from protocols.codec import UnitId

INTERVAL_MS = 1000
FRAMES = 16


@dataclass(slots=True)
class _Pace:
    sent_at: int
    frames: int = 0


class AckPacer:
    """Counts the frames that no Ack has told of yet, unit by unit."""

    def __init__(self) -> None:
        self._paces: dict[UnitId, _Pace] = {}
        self._waiting: set[UnitId] = set()

    def counted(self, unit: UnitId, frames: int, now: int) -> bool:
        """Take in `frames` more of `unit`; True if its Ack goes out at once (and counts as sent)."""
        pace = self._paces.setdefault(unit, _Pace(now - INTERVAL_MS))
        pace.frames += frames
        if pace.frames >= FRAMES or now - pace.sent_at >= INTERVAL_MS:
            self._sent(unit, pace, now)
            return True
        self._waiting.add(unit)
        return False

    @property
    def waits(self) -> bool:
        """Whether any unit's Ack waits for its second to be over."""
        return bool(self._waiting)

    def due(self, now: int) -> list[UnitId]:
        """The units whose second is over; their Acks count as sent."""
        due = [unit for unit in self._waiting if now - self._paces[unit].sent_at >= INTERVAL_MS]
        for unit in due:
            self._sent(unit, self._paces[unit], now)
        return due

    def _sent(self, unit: UnitId, pace: _Pace, now: int) -> None:
        pace.sent_at, pace.frames = now, 0
        self._waiting.discard(unit)
