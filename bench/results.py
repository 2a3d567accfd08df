"""What came of a run: the document of `--json`, the larger one of the result file, and the numbers that objectives are about."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.latency import Percentiles
from bench.ledger import Counts, Missing
from bench.objectives import Verdict


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """In milliseconds, from the moment at which something was to happen: until a consumer had the event, until REST showed it,
    and from a command until its answer."""

    event: Percentiles
    command: Percentiles
    state: Percentiles


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Over the stages, without the draining at the end."""

    frames_per_s: float
    events_per_s: float


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """Supported properties of the vehicles that were compared, and how many of them the gateway shows otherwise."""

    compared: int
    different: int


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """The load's own cost, with the consumer's. `bottleneck`: what was measured is the generator's limit, not the gateway's."""

    cpu_percent: float
    rss_mib: float
    bottleneck: bool


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` says."""

    ledger: Counts
    latency_ms: Latencies
    rate: Rate
    truth: Truth
    generator: Generator
    objectives: list[Verdict]
    seed: int


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """A second of the run. `cpu` is percent of one core, by part."""

    at_s: float
    stage: int
    offered: float
    sent: int
    events: int
    reports: int
    online: int
    waiting: int
    event_p50: float | None
    event_p99: float | None
    lag_ms: float
    commands: int
    cpu: dict[str, float]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of the laboratory used: percent of one core, CPU microseconds an event, MiB."""

    cpu_percent: float
    cpu_us_per_event: float
    rss_mib: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All of it: the document, and what the report shows."""

    document: Document
    values: dict[str, float | None]
    plan: dict[str, object]
    stages: list[str]
    series: list[Second]
    missing: list[Missing]
    missing_by_cause: dict[str, int]
    refused_by_reason: dict[str, int]
    commands_by_status: dict[str, int]
    different: list[dict[str, object]]
    bottlenecks: list[str]
    parts: dict[str, Part]
    curves: dict[str, list[tuple[float, float]]]
    gateway_stages_s: dict[str, float]
    queues: dict[str, float] = {}
    event_bytes: int = 0
    notes: list[str]
    machine: dict[str, str | int]
    started_at: str
    duration_s: float


def values_of(
    counts: Counts,
    latencies: Latencies,
    rate: Rate,
    generator: Generator,
    more: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Each metric that an objective may be about, in its own unit."""
    values: dict[str, float | None] = {}
    for name, said in (("event", latencies.event), ("state", latencies.state), ("command", latencies.command)):
        values |= {f"{name}_{at}": getattr(said, at) for at in ("p50", "p95", "p99", "max")}
    values |= {name: float(count) for name, count in msgspec.to_builtins(counts).items()}
    values |= {"frames_per_s": rate.frames_per_s, "events_per_s": rate.events_per_s}
    values |= {"generator_cpu": generator.cpu_percent, "generator_rss": generator.rss_mib}
    return values | dict(more)


def reached(verdicts: Sequence[Verdict]) -> bool:
    """Whether every objective was."""
    return all(verdict.ok for verdict in verdicts)


class Measured(msgspec.Struct, kw_only=True):
    """One measurement as it is kept: what was done, and what came of it."""

    name: str
    what: str
    at: str
    machine: dict[str, str | int]
    load_average: float
    values: dict[str, Any]
