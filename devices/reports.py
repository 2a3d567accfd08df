"""When a unit reports, whatever its protocol: a clock for states, heartbeats and changes, and the vehicle behind it."""

from devices.behaviour import NEUTRAL, Behaviour
from devices.config import Intervals
from devices.motion import Motion
from devices.senses import Senses
from devices.vehicle import Vehicle


class Reports:
    """What is due to be said. Times are Unix milliseconds.

    `state_every_s` is the longest a state may be away where the protocol says so, driving or parked.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        senses: Senses,
        intervals: Intervals,
        behaviour: Behaviour = NEUTRAL,
        state_every_s: int | None = None,
    ) -> None:
        self._vehicle, self._senses = vehicle, senses
        limit_s = state_every_s or max(intervals.driving_s, intervals.parked_s)
        self._driving_ms = round(1000 * min(intervals.driving_s, limit_s))
        self._parked_ms = round(1000 * min(intervals.parked_s, limit_s))
        self._heartbeat_ms = round(1000 * intervals.heartbeat_s)
        self._asleep_ms = 1000 * behaviour.sleep_heartbeat_s or self._heartbeat_ms
        self._resting = False
        self._motion = Motion(vehicle, behaviour)
        self._state_at: int | None = None
        self._heartbeat_at: int | None = None

    def wake(self, now_ms: int, resting: bool = False) -> None:
        """It is now `now_ms`; a unit that is `resting`, or may not send, says no states but for a change."""
        self._resting = resting
        if self._heartbeat_at is None:
            self._heartbeat_at = now_ms

    def state_is_due(self, now_ms: int) -> bool:
        """Whether the interval is over, or something has changed that has a name."""
        if self._state_at is None or self._senses.has_news():
            return True
        return not self._resting and (now_ms >= self._state_due_ms or self._motion.is_due())

    def state_told(self, now_ms: int) -> None:
        """A state was captured."""
        self._state_at = now_ms
        self._motion.told()

    def heartbeat_is_due(self, now_ms: int) -> bool:
        """Whether it is time for a sign of life; the next one is then an interval away."""
        if self._heartbeat_at is not None and now_ms < self._heartbeat_at + self._beat_ms:
            return False
        self._heartbeat_at = now_ms
        return True

    def next_ms(self, now_ms: int) -> int:
        """When there will be something to say by itself: an interval over, or the vehicle changing by its own life."""
        if self._state_at is None or self._heartbeat_at is None:
            return now_ms
        moments: list[int | None] = [] if self._resting else [self._state_due_ms, self._motion.next_ms(now_ms)]
        beat_ms = self._heartbeat_at + self._beat_ms
        # One that is overdue now has no line to go by: it waits for that, and not for the clock.
        moments += (beat_ms if beat_ms > now_ms else now_ms + self._beat_ms, self._vehicle.next_change_ms)
        return min(moment for moment in moments if moment is not None)

    @property
    def _beat_ms(self) -> int:
        return self._asleep_ms if self._resting else self._heartbeat_ms

    @property
    def _state_due_ms(self) -> int:
        return (self._state_at or 0) + (self._driving_ms if self._vehicle.ignition else self._parked_ms)
