"""What came of a scenario: each expectation with what was seen, the ledger, the truth; for people and for machines."""

from dataclasses import dataclass
from typing import Any

import msgspec

from bench.ledger import Counts
from bench.scenario_check import Check
from bench.scenario_judge import Seen
from bench.truth import Truth
from devices.scenario import Scenario

BUSY_PERCENT = 90.0

__all__ = ["Check", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. `digest` is of every byte of every event, where the rig ran it; "" elsewhere."""

    scenario: Scenario
    seed: int
    checks: tuple[Check, ...]
    counts: Counts
    truth: Truth
    seen: Seen
    wall_s: float
    cpu_s: float
    rss_mib: float
    digest: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        """What was not."""
        return [check for check in self.checks if not check.ok]

    @property
    def text(self) -> str:
        """What was not as expected, for people."""
        return "\n".join(check.text for check in self.failed) or "as expected"

    def document(self) -> dict[str, Any]:
        """The document of `--json`."""
        wall = max(self.wall_s, 1e-6)
        return {
            "scenario": self.scenario.name,
            "title": self.scenario.title,
            "ok": self.ok,
            "ledger": msgspec.to_builtins(self.counts),
            "latency_ms": {"event": _spread(self.seen.latencies_ms()), "command": _spread(self.seen.command_ms)},
            "rate": {
                "frames_per_s": round(self.seen.counted.get("accepted", 0) / wall, 1),
                "events_per_s": round(len(self.seen.events) / wall, 1),
            },
            "truth": self.truth.document() | {"differences": [msgspec.to_builtins(each) for each in self.truth.differences]},
            "generator": {
                "cpu_percent": round(100 * self.cpu_s / wall, 1),
                "rss_mib": round(self.rss_mib, 1),
                "bottleneck": not self.digest and 100 * self.cpu_s / wall > BUSY_PERCENT,
            },
            "objectives": [check.document() for check in self.checks],
            "seed": self.seed,
            "digest": self.digest or None,
        }


def _spread(values: list[int]) -> dict[str, float | None]:
    """Percentiles by nearest rank; None where nothing was measured."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p95": None, "p99": None, "max": None}
    at = {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {**at, "max": ordered[-1]}
