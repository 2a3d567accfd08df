"""Who lost what: what was captured, what was acknowledged, what a consumer has seen. The words are Jepsen's."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.events import recorded_id
from protocols.cloudboxx import PROTOCOL


@dataclass(frozen=True, slots=True)
class Ledger:
    """Event ids of reports. `observed` counts deliveries."""

    attempted: frozenset[str]
    acknowledged: frozenset[str]
    observed: Mapping[str, int]

    @property
    def lost(self) -> set[str]:
        """Acknowledged, and never observed."""
        return set(self.acknowledged - self.observed.keys())

    @property
    def unexpected(self) -> set[str]:
        """Observed, and never attempted."""
        return set(self.observed.keys() - self.attempted)

    @property
    def duplicated(self) -> int:
        """Deliveries beyond the first of each id."""
        return sum(self.observed.values()) - len(self.observed)


def report_ids(vehicle_id: str, frames: Iterable[bytes]) -> frozenset[str]:
    """The ids of the events that these frames' reports become."""
    decoded = (PROTOCOL.decode(frame) for frame in frames)
    return frozenset(str(recorded_id(vehicle_id, report.record)) for frame in decoded for report in frame.reports)


def tally(ids: Iterable[str]) -> Counter[str]:
    """Deliveries by id."""
    return Counter(ids)
