"""Who is online: Last Wills, frames, and silence. Pure; time is an argument in milliseconds.

Brokers differ in whether they send the will when a unit's new session takes over its old one, so a will counts only if the
unit has not been heard of again within five seconds. A gateway that hears nobody judges nobody.
"""

from collections.abc import Iterable

from protocols.codec import UnitId

WILL_GRACE_MS = 5_000
RETAINED_GRACE_MS = 60_000
"""A will that the broker has kept may be older than the unit's session, if the broker lost what came after it: longer than units
need to come back after its restart."""

SILENT_HEARTBEATS = 3


class Presence:
    """Decides when a unit that was online no longer is.

    Tell it of each sign of life in the order in which they arrived: `back` at once, `heard` when the sign proved authentic.
    """

    def __init__(self) -> None:
        self._listening_since: int | None = None
        self._wills: dict[UnitId, tuple[int, int]] = {}
        self._heard: dict[int, dict[UnitId, int]] = {}
        self._silence_ms: dict[UnitId, int] = {}

    def listening(self, now: int) -> None:
        """From now on, if not already, units can be heard. What was due before is given its time again."""
        if self._listening_since is None:
            self._listening_since = now

    def deaf(self) -> None:
        """Units cannot be heard: the line is down, or what they say waits somewhere."""
        self._listening_since = None

    def back(self, unit: UnitId) -> None:
        """Something of the unit has arrived: a will that came before it does not count."""
        if self._wills:
            self._wills.pop(unit, None)

    def heard(self, unit: UnitId, now: int, heartbeat_s: int) -> None:
        """The unit gave a sign of life; its brand's heartbeat interval says how long silence may last."""
        silence_ms = SILENT_HEARTBEATS * heartbeat_s * 1000
        if self._silence_ms.get(unit) == silence_ms:
            units = self._heard[silence_ms]
            del units[unit]  # it goes to the end
        else:
            self._unhear(unit)
            self._silence_ms[unit] = silence_ms
            units = self._heard.setdefault(silence_ms, {})
        units[unit] = now

    def will(self, unit: UnitId, now: int, *, retained: bool = False) -> None:
        """The broker published the unit's Last Will, or had kept it."""
        self._wills.setdefault(unit, (now, RETAINED_GRACE_MS if retained else WILL_GRACE_MS))

    def gone(self, now: int) -> list[UnitId]:
        """The units that are offline from now on: each is named once, those whose will came first before the others."""
        since = self._listening_since
        if since is None:
            return []
        gone = {unit: None for unit, (at, grace) in self._wills.items() if now - max(at, since) >= grace}
        for silence_ms, units in self._heard.items():
            for unit, at in units.items():
                if now - max(at, since) <= silence_ms:
                    break  # those behind were heard later
                gone[unit] = None
        self.forget(gone)
        return list(gone)

    def forget(self, units: Iterable[UnitId]) -> None:
        """Watch these no more."""
        for unit in units:
            self._wills.pop(unit, None)
            self._unhear(unit)

    def _unhear(self, unit: UnitId) -> None:
        silence_ms = self._silence_ms.pop(unit, None)
        if silence_ms is not None:
            del self._heard[silence_ms][unit]
