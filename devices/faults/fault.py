"""What a fault is: a name, a sentence, what is expected of the gateway; and an ailment, which is a fault at work on one unit."""

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from protocols.codec import UnitId

if TYPE_CHECKING:
    from devices.terminal import Terminal

Level = Literal["wire", "clock", "GNSS", "power", "vehicle", "line", "session", "configuration"]

Expected = Literal[
    "refused:bad_checksum",
    "refused:bad_sync",
    "refused:truncated",
    "refused:forged",
    "refused:identity_mismatch",
    "refused:unknown_unit",
    "refused:oversized",
    "quarantined",
    "repeated",
    "late",
    "held",
    "in_order",
    "no_false_change",
    "clock_bounded",
    "clock_set",
    "executed_once",
    "one_session",
    "contested",
    "others_true",
    "restarts",
    "offline",
    "unavoidable",
    "true",
]
"""What the gateway must do: one closed list."""

EXPECTATIONS: Mapping[Expected, str] = {
    "refused:bad_checksum": "refuses it as bad_checksum, counts it, and changes nothing",
    "refused:bad_sync": "refuses it as bad_sync, counts it, and changes nothing",
    "refused:truncated": "refuses it as truncated, counts it, and changes nothing",
    "refused:forged": "refuses it as forged, counts it, and changes nothing",
    "refused:identity_mismatch": "refuses it as identity_mismatch, counts it, and changes nothing",
    "refused:unknown_unit": "refuses it as unknown_unit, counts it, and changes nothing",
    "refused:oversized": "refuses it as oversized, counts it, and changes nothing",
    "quarantined": "keeps the refused bytes where they can be looked at",
    "repeated": "counts what comes again, acknowledges it again, and publishes nothing twice under another id",
    "late": "tells a late report as late, and turns nothing back",
    "held": "loses no frame: everything captured is told in the end, unless the unit itself forgot it",
    "in_order": "tells what is not late in the order in which it was captured",
    "no_false_change": "tells of no change to a value that the vehicle did not have",
    "clock_bounded": "believes no time further than ten minutes ahead, and takes newer reports as newer",
    "clock_set": "tells the time to a unit that says it does not know it",
    "executed_once": "has no command carried out twice",
    "one_session": "hears one unit under one identity: who logged in last has the session, and the other's connection is closed",
    "contested": "counts what somebody else has made under the unit's name and number, and says so",
    "others_true": "shows the truth of every other vehicle",
    "restarts": "follows a unit that starts anew",
    "offline": "says OFFLINE of a unit that is silent, and ONLINE when it is back",
    "unavoidable": "cannot know; the truth check must say what differs",
    "true": "shows the vehicle's truth in the end",
}

ACKNOWLEDGED = frozenset({"cloudboxx", "teltonika"})
"""Protocols whose units keep a frame until the gateway says that it holds it."""


def reasons(**why: str) -> Mapping[str, str]:
    """Protocol to the reason why its units cannot have a fault."""
    return MappingProxyType(why)


_NO_SEAL = "its frames carry no seal"
UNSEALED = reasons(autoapi=_NO_SEAL, gbt32960=_NO_SEAL, teltonika=_NO_SEAL)


class FaultUnsuited(ValueError):
    """This fault makes no sense for units of that protocol."""


class Stray(bytes):
    """A payload that goes to another unit's topic than its sender's."""

    unit: UnitId

    def __new__(cls, payload: bytes, unit: UnitId) -> "Stray":
        """`payload` for the topic of `unit`."""
        made = super().__new__(cls, payload)
        made.unit = unit
        return made


class Ailment:
    """A fault at work on one unit. Every call may do nothing; times are Unix milliseconds. `rng` is this ailment's own."""

    def __init__(self, fault: "Fault", terminal: "Terminal", rng: random.Random) -> None:
        self.fault, self.terminal, self.rng = fault, terminal, rng

    def begins(self, now_ms: int) -> None:
        """It sets in."""

    def ends(self, now_ms: int) -> None:
        """It is cured."""

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands; what goes out besides what the firmware says."""
        return []

    def up(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        """What goes out instead of these."""
        return payloads

    def down(self, payload: bytes, now_ms: int) -> list[bytes]:
        """What the firmware hears instead of this."""
        return [payload]

    def tick(self, now_ms: int) -> list[bytes]:
        """Time has passed; what goes out besides."""
        return []

    def next_ms(self, now_ms: int) -> int | None:
        """When `tick` will next have something to do; None: not by itself."""
        return None

    def dice(self) -> bool:
        """Whether it strikes this time, by the fault's rate."""
        return self.rng.random() < self.fault.rate


class Recurring(Ailment):
    """One that strikes by itself, `fault.rate` times an hour, at random moments."""

    def __init__(self, fault: "Fault", terminal: "Terminal", rng: random.Random) -> None:
        super().__init__(fault, terminal, rng)
        self._strikes_at: int | None = None

    def begins(self, now_ms: int) -> None:
        self._strikes_at = self._following(now_ms)

    def tick(self, now_ms: int) -> list[bytes]:
        said: list[bytes] = []
        while self._strikes_at is not None and now_ms >= self._strikes_at:
            self._strikes_at = self._following(now_ms)
            said += self.strike(now_ms)
        return said

    def next_ms(self, now_ms: int) -> int | None:
        return self._strikes_at

    def strike(self, now_ms: int) -> Iterable[bytes]:
        """What happens; what goes out with it."""
        return ()

    def _following(self, now_ms: int) -> int | None:
        if self.fault.rate <= 0:
            return None
        return now_ms + 1 + round(self.rng.expovariate(self.fault.rate / 3_600_000))


class Fault:
    """One way to go wrong. `rate` is a probability per "payload" or "command", times per "hour"; a "unit" simply has it.

    `protocols` are the ones for which it makes sense, None: all; `because` says of others why not. `expected` is what the
    gateway must do; `lacking` is what of it a protocol does not allow.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    level: ClassVar[Level]
    per: ClassVar[Literal["payload", "hour", "unit", "command"]] = "payload"
    usual_rate: ClassVar[float] = 0.1
    expected: ClassVar[tuple[Expected, ...]]
    protocols: ClassVar[frozenset[str] | None] = None
    because: ClassVar[Mapping[str, str]] = MappingProxyType({})
    lacking: ClassVar[Mapping[str, frozenset[Expected]]] = MappingProxyType({})
    ailment: ClassVar[type[Ailment]] = Ailment

    def __init__(self, rate: float | None = None) -> None:
        """Raises ValueError for a rate that cannot be."""
        self.rate = self.usual_rate if rate is None else rate
        most = 1.0 if self.per in ("payload", "command") else 3600.0
        if self.per == "unit" and rate not in (None, 1.0):
            raise ValueError(f"{self.name} has no rate: a unit has it or not")
        if not 0.0 <= self.rate <= most:
            raise ValueError(f"the rate of {self.name} is per {self.per}, 0 to {most:g}, not {self.rate:g}")

    def __repr__(self) -> str:
        return f"{self.name}:{self.rate:g}"

    def suits(self, protocol: str) -> bool:
        """Whether units that speak `protocol` can have it."""
        return self.protocols is None or protocol in self.protocols

    def unsuited(self, protocol: str) -> str:
        """Why units that speak `protocol` cannot have it."""
        why = self.because.get(protocol)
        return f"{self.name} is for {', '.join(sorted(self.protocols or ()))}, not for {protocol}" + (f": {why}" if why else "")

    def at_work(self, terminal: "Terminal", seed: int) -> Ailment:
        """This fault on one unit. Raises FaultUnsuited."""
        protocol = terminal.protocol
        if not self.suits(protocol):
            raise FaultUnsuited(self.unsuited(protocol))
        return self.ailment(self, terminal, random.Random(f"{seed}/{terminal.config.unit}/{self.name}"))

    def expects(self, protocol: str) -> tuple[Expected, ...]:
        """What is expected where units speak `protocol`: nobody keeps a frame for those that get no acknowledgement."""
        lacking = self.lacking.get(protocol, frozenset())
        kept = self.expected if protocol in ACKNOWLEDGED else tuple(each for each in self.expected if each != "held")
        return tuple(each for each in kept if each not in lacking)
