"""Who is online: Last Wills, frames, and silence. Pure; time is an argument in milliseconds.

Brokers differ in whether they send the will when a unit's new session takes over its old one, so a will counts only if the
unit has not been heard of again within five seconds.
"""

from collections.abc import Iterable

from protocols.codec import UnitId

WILL_GRACE_MS = 5_000
SILENT_HEARTBEATS = 3


class Presence:
    """Decides when a unit that was online no longer is."""

    def __init__(self) -> None:
        self._wills: dict[UnitId, int] = {}
        self._heard: dict[UnitId, tuple[int, int]] = {}

    def heard(self, unit: UnitId, now: int, heartbeat_s: int) -> None:
        """The unit gave a sign of life; its brand's heartbeat interval says how long silence may last."""
        self._wills.pop(unit, None)
        self._heard[unit] = (now, SILENT_HEARTBEATS * heartbeat_s * 1000)

    def will(self, unit: UnitId, now: int) -> None:
        """The broker published the unit's Last Will."""
        self._wills.setdefault(unit, now)

    def gone(self, now: int) -> list[UnitId]:
        """The units that are offline from now on: each is named once."""
        gone = {unit for unit, at in self._wills.items() if now - at >= WILL_GRACE_MS}
        gone |= {unit for unit, (at, silence) in self._heard.items() if now - at > silence}
        self.forget(gone)
        return list(gone)

    def forget(self, units: Iterable[UnitId]) -> None:
        """Watch these no more."""
        for unit in units:
            self._wills.pop(unit, None)
            self._heard.pop(unit, None)
