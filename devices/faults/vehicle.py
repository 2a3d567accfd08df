"""What happens at the vehicle itself: locks that chatter, actuators that only say so."""

from devices.faults.fault import Ailment, Fault, Recurring

FLAPS = 10
FLAP_EVERY_MS = 1_500


class _Flapping(Recurring):
    """The lock goes to and fro, and ends as it was."""

    def begins(self, now_ms: int) -> None:
        super().begins(now_ms)
        self._left, self._next_at = 0, 0

    def strike(self, now_ms: int) -> list[bytes]:
        if not self._left:
            self._left, self._next_at = FLAPS, now_ms
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        said = super().tick(now_ms)
        if self._left and now_ms >= self._next_at:
            self._left -= 1
            self._next_at = now_ms + FLAP_EVERY_MS
            self.terminal.vehicle.locked = not self.terminal.vehicle.locked
            said = said + self.terminal.firmware.tick(now_ms)
        return said

    def next_ms(self, now_ms: int) -> int | None:
        moments = (super().next_ms(now_ms), self._next_at if self._left else None)
        return min((each for each in moments if each is not None), default=None)

    def ends(self, now_ms: int) -> None:
        if self._left % 2:
            self.terminal.vehicle.locked = not self.terminal.vehicle.locked
        self._left = 0


class FlappingKeyFob(Fault):
    """A fob whose button sticks."""

    name = "flapping_key_fob"
    sentence = f"a key fob locks and unlocks the vehicle in turn, {FLAPS} times, every {FLAP_EVERY_MS / 1000:g} s"
    level = "vehicle"
    per = "hour"
    usual_rate = 6.0
    expected = ("held", "in_order", "no_false_change", "true")
    ailment = _Flapping


class _OnlySaysSo(Ailment):
    def begins(self, now_ms: int) -> None:
        self.terminal.seen.acts = lambda command: not self.dice()

    def ends(self, now_ms: int) -> None:
        self.terminal.seen.acts = None


class AckButNotDone(Fault):
    """A relay that no longer pulls: the command is answered with OK, and nothing has moved."""

    name = "ack_but_not_done"
    sentence = "a command is answered with OK although nothing has moved"
    level = "vehicle"
    per = "command"
    usual_rate = 1.0
    expected = ("held", "no_false_change", "true")
    ailment = _OnlySaysSo


class _LooksAway(Ailment):
    def begins(self, now_ms: int) -> None:
        self.terminal.vehicle.checks_ignition = False

    def ends(self, now_ms: int) -> None:
        self.terminal.vehicle.checks_ignition = True


class SaysLocked(Fault):
    """The known field fault: the locks do not follow while the ignition is on, and the unit does not look."""

    name = "says_locked"
    sentence = "a lock command is answered with OK while the ignition is on, although the vehicle stays open"
    level = "vehicle"
    per = "unit"
    usual_rate = 1.0
    expected = ("held", "no_false_change", "true")
    ailment = _LooksAway


FAULTS: tuple[type[Fault], ...] = (FlappingKeyFob, AckButNotDone, SaysLocked)
