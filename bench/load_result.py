"""What a load run says at its end: the document, and all that its report shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from bench.aftermath import DIFFERENCES_SHOWN
from bench.ledger import by_cause
from bench.meters import Reading, machine
from bench.objectives import Objective
from bench.plan import Plan
from bench.probes import Commands, StateLooks
from bench.reckoning import Reckoning
from bench.results import Document, Generator, Latencies, Part, Rate, Result, Truth, values_of
from bench.truth import Truth as Found

LAG_LIMIT_MS = 100.0
BUSY_PERCENT = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that is over. `spent` is what each part used in its stages, which took `lasted_s`; `sent` frames were said and
    `events` came in them, `unsaid` were due and never said; `metrics` are the gateway's, before and after it."""

    plan: Plan
    objectives: Sequence[Objective]
    reckoning: Reckoning
    started_at: datetime
    lasted_s: float
    spent: Mapping[str, Reading]
    sent: int
    events: int
    unsaid: int
    commands: Commands
    looks: StateLooks
    found: Found
    refused: Counter[str]
    metrics: tuple[Mapping[str, float], Mapping[str, float]]
    queues: dict[str, float]
    connects_per_s: float | None
    notes: list[str]

    def result(self) -> Result:
        """All of it."""
        reckoning, lasted_s = self.reckoning, self.lasted_s
        reckoning.put_down()
        document, values = self._document()
        missing = reckoning.ledger.missing()
        return Result(
            document=document,
            values=values,
            plan=msgspec.to_builtins(self.plan),
            stages=[stage.text for stage in self.plan.stages],
            series=reckoning.series,
            missing=missing,
            missing_by_cause=by_cause(missing),
            refused_by_reason=dict(self.refused),
            commands_by_status={str(status): times for status, times in sorted(self.commands.by_status.items())},
            different=[msgspec.to_builtins(each) for each in self.found.differences[:DIFFERENCES_SHOWN]],
            bottlenecks=self._bottlenecks(),
            parts={name: _part(reading, lasted_s, self.events) for name, reading in self.spent.items()},
            curves={
                "event": reckoning.events.curve(),
                "state": self.looks.latencies.curve(),
                "command": self.commands.latencies.curve(),
                "schedule lag": reckoning.lag.curve(),
            },
            gateway_stages_s=self._stages_s(),
            queues=self.queues,
            event_bytes=round(reckoning.size_bytes / reckoning.all_events) if reckoning.all_events else 0,
            notes=self.notes,
            machine=machine(),
            started_at=self.started_at.isoformat(timespec="seconds"),
            duration_s=round(lasted_s, 2),
        )

    def _document(self) -> tuple[Document, dict[str, float | None]]:
        """What `--json` says, and the values that objectives may be about."""
        reckoning, commands, lasted_s = self.reckoning, self.commands, self.lasted_s
        generator = Generator(
            cpu_percent=round(100 * sum(self.spent[name].cpu_s for name in ("generator", "consumer")) / lasted_s, 1),
            rss_mib=round(self.spent["generator"].rss_mib + self.spent["consumer"].rss_mib, 1),
            bottleneck=bool(self._bottlenecks()),
        )
        counts = reckoning.ledger.counts()
        latencies = Latencies(
            event=reckoning.events.percentiles(),
            command=commands.latencies.percentiles(),
            state=self.looks.latencies.percentiles(),
        )
        rate = Rate(frames_per_s=round(self.sent / lasted_s, 1), events_per_s=round(self.events / lasted_s, 1))
        more = {
            "missing": float(len(reckoning.ledger.missing())),
            "refused": float(self.refused.total()),
            "different": float(self.found.different),
            "commands_failed": float(commands.failed),
            "commands_per_s": round(commands.by_status.total() / lasted_s, 1) if self.plan.commands_per_s else None,
            "connects_per_s": self.connects_per_s,
            "schedule_lag_p99": reckoning.lag.percentile(99),
            "schedule_lag_max": reckoning.lag.max_ms,
        }
        values = values_of(counts, latencies, rate, generator, more)
        document = Document(
            ledger=counts,
            latency_ms=latencies,
            rate=rate,
            truth=Truth(compared=self.found.compared, different=self.found.different),
            generator=generator,
            objectives=[objective.judge(values) for objective in self.objectives],
            seed=self.plan.seed,
        )
        return document, values

    def _bottlenecks(self) -> list[str]:
        """Why what was measured may be the generator's limit."""
        found = []
        for name in ("generator", "consumer"):
            percent = 100 * self.spent[name].cpu_s / self.lasted_s if self.lasted_s else 0.0
            if percent > BUSY_PERCENT:
                found.append(f"the {name} used {percent:.0f} % of a core")
        lag = self.reckoning.lag.percentile(99) or 0.0
        if lag > LAG_LIMIT_MS:
            found.append(f"1 % of the frames were said {lag:.0f} ms late or more")
        if self.unsaid:
            found.append(f"{self.unsaid} frames that were due were never said")
        return found

    def _stages_s(self) -> dict[str, float]:
        """What the gateway's stages took meanwhile."""
        before, after = self.metrics
        return {
            name.partition('stage="')[2].rstrip('"}'): value - before.get(name, 0.0)
            for name, value in after.items()
            if name.startswith("teleloop_stage_seconds_total")
        }


def _part(reading: Reading, lasted_s: float, events: int) -> Part:
    return Part(
        cpu_percent=round(100 * reading.cpu_s / lasted_s, 1),
        cpu_us_per_event=round(1e6 * reading.cpu_s / events, 1) if events else 0.0,
        rss_mib=round(reading.rss_mib, 1),
    )
