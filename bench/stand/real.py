"""A unit that is known only by its address. What cannot be done to it from here an operator does, or the test is skipped."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from bench.stand.simulated import Gap
from bench.stand.stage import Stage, sleep
from bench.stand.story import Story
from protocols.codec import UnitId

Operator = Callable[[str], None]
"""Has a person do something and returns when it is done; or skips the test, with the reason."""


class RealUnit:
    """The `unit` of a test, out there."""

    real = True

    def __init__(self, stage: Stage, story: Story, unit: UnitId, operator: Operator) -> None:
        self._stage, self._story, self._operator = stage, story, operator
        self.id = unit

    def missing(self) -> list[Any]:
        """What it has captured only it knows: as far as can be told from here, nothing is missing."""
        self._story.note(self._stage.now_ms(), "a real unit's journal cannot be read: what it captured is not compared")
        return []

    @contextmanager
    def without_coverage(self, *, minutes: float = 0.0, seconds: float = 0.0) -> Iterator[Gap]:
        """No network while the block runs, and for at least so long."""
        self.lose_coverage()
        gap = Gap(self._stage.now_ms())
        try:
            yield gap
        finally:
            sleep(self._stage, 60 * minutes + seconds - (self._stage.now_ms() - gap.began_ms) / 1000)
            gap.ended_ms = self._stage.now_ms()
            self.find_coverage()

    def lose_coverage(self) -> None:
        """No network from now on."""
        self.ask("take the unit out of coverage (pull its antenna, or close the shielded box)")

    def find_coverage(self) -> None:
        """The network is back."""
        self.ask("give the unit its coverage back")

    def ask(self, what: str) -> None:
        """A step that somebody has to do."""
        self._operator(what)
        self._story.note(self._stage.now_ms(), f"the operator: {what}")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a real unit has no {name!r} that could be reached from here")


class RealVehicle:
    """The `vehicle` of a test, around a real unit: its verbs are asked of the operator, its truth is not known here."""

    def __init__(self, unit: RealUnit, reported: Callable[[], Mapping[str, Any]]) -> None:
        self._unit, self._reported = unit, reported

    @property
    def state(self) -> Mapping[str, Any]:
        """What its own unit reports of it: nobody here sees more."""
        return self._reported()

    @property
    def locked(self) -> bool:
        """Whether its unit reports so; a warning says that nobody has looked."""
        warnings.warn(f"the lock of {self._unit.id} was not looked at: its unit's own report is believed", stacklevel=2)
        return self.state.get("central_lock") == "LOCKED"

    def drive(self, *, km: float = 0.0, minutes: float = 0.0, kmh: float = 50.0) -> None:
        """Driven by the operator."""
        how_far = f"{km:g} km" if km else f"{minutes:g} minutes"
        self._unit.ask(f"drive {how_far} at about {kmh:g} km/h")

    def stop(self) -> None:
        """Brake."""
        self._unit.ask("stop")

    def park(self) -> None:
        """Stop, brake on, ignition off, key out, get out, shut the door."""
        self._unit.ask("park: brake on, ignition off, key out, get out, shut the door")

    def open(self, door: str = "front_left") -> None:
        """Open a door."""
        self._unit.ask(f"open the door {door}")

    def close(self, door: str = "front_left") -> None:
        """Shut a door."""
        self._unit.ask(f"shut the door {door}")

    def ignite(self, on: bool = True) -> None:
        """Turn the key."""
        self._unit.ask(f"switch the ignition {'on' if on else 'off'}")

    def set(self, **truth: Any) -> None:
        """See to it that the vehicle is so."""
        self._unit.ask("see to it that " + ", ".join(f"{name} is {value}" for name, value in truth.items()))
