"""Every way down to a unit: its own TCP connection if it has one, else the broker."""

from collections.abc import Sequence
from typing import Protocol

from protocols.codec import UnitId


class Path(Protocol):
    """One way to units: the line to the broker, or a listener for TCP connections."""

    @property
    def connected(self) -> bool: ...

    def send(self, unit: UnitId, payload: bytes) -> bool: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Lines:
    """The paths of a gateway as one. `send` takes the first that leads to the unit: those that know their units come first."""

    def __init__(self, *paths: Path) -> None:
        self._paths: Sequence[Path] = paths

    @property
    def connected(self) -> bool:
        """Whether any of them leads anywhere."""
        return any(path.connected for path in self._paths)

    def send(self, unit: UnitId, payload: bytes) -> bool:
        """Hand a payload over for the unit. False: there is no way to it, nothing was sent."""
        return any(path.send(unit, payload) for path in self._paths)

    def pause(self) -> None:
        """Take nothing more from units."""
        for path in self._paths:
            path.pause()

    def resume(self) -> None:
        """Take from units again."""
        for path in self._paths:
            path.resume()
