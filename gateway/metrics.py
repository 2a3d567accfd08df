"""What the gateway counts, for Prometheus. One registry a gateway, so that two in one process do not mix."""

import time
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from gateway.events import Event
from gateway.receipts import Receipt
from protocols.codec import Reason
from protocols.hotpath import path_in_use

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
OUTCOMES = ("accepted", "repeated", "late", "contested")
"""Fields of a Receipt. `contested`: repeated, and not by its unit; somebody else speaks under the same name."""

STAGES = ("look up", "decode", "translate", "publish", "store", "answer")
"""`publish` and `store` are waited for: RabbitMQ's confirms, the database's transaction."""


class Metrics:
    """The counters; `render` is what `/metrics` says."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.frames = Counter("teleloop_frames", "Frames by what became of them", ["outcome"], registry=self.registry)
        self.refused = Counter("teleloop_refused", "What was refused, by reason", ["reason"], registry=self.registry)
        self.events = Counter("teleloop_events", "Events confirmed, by type", ["type"], registry=self.registry)
        self.decoded = Counter(
            "teleloop_decoded", "Frames by how they were decoded: in bulk, or one by one", ["way"], registry=self.registry
        )
        self.path = Info("teleloop_hot_path", "What decodes in bulk: c, or numpy", registry=self.registry)
        self.commands = Counter("teleloop_commands", "Commands by how they were answered", ["status"], registry=self.registry)
        self.publish_failures = Counter("teleloop_publish_failures", "Batches of events not confirmed", registry=self.registry)
        self.batches = Histogram(
            "teleloop_batch_payloads", "Payloads worked on together", buckets=BATCH_BUCKETS, registry=self.registry
        )
        self.stages = Counter("teleloop_stage_seconds", "Where the loop's time goes, by stage", ["stage"], registry=self.registry)
        self.backlog = Gauge("teleloop_backlog_payloads", "Payloads that wait for the loop", registry=self.registry)
        self.units_online = Gauge("teleloop_units_online", "Units that are online", registry=self.registry)
        self._outcomes = [self.frames.labels(outcome) for outcome in OUTCOMES]
        self._spent = {stage: self.stages.labels(stage) for stage in STAGES}
        self._ways = (self.decoded.labels("bulk"), self.decoded.labels("one by one"))
        for reason in get_args(Reason):
            self.refused.labels(reason)
        self.path.info({"path": path_in_use})

    def count(self, receipts: Sequence[Receipt], events: Iterable[Event]) -> None:
        """Take in one batch: a label is touched once, not once a frame."""
        if receipts:
            self.batches.observe(len(receipts))
        outcomes = [(each.accepted, each.repeated, each.late, each.contested) for each in receipts]
        for counter, counts in zip(self._outcomes, zip(*outcomes, strict=True), strict=False):
            if times := sum(counts):
                counter.inc(times)
        for reason, times in Tally([refusal.reason for each in receipts if each.refused for refusal in each.refused]).items():
            self.refused.labels(reason).inc(times)
        for kind, times in Tally([event.type for event in events]).items():
            self.events.labels(kind).inc(times)

    def decode(self, fast: int, slow: int) -> None:
        """Count frames by how they were decoded."""
        for counter, frames in zip(self._ways, (fast, slow), strict=True):
            if frames:
                counter.inc(frames)

    def spend(self, stage: str, since: float) -> float:
        """Count the time since a moment of `time.perf_counter` for a stage; the moment now."""
        now = time.perf_counter()
        self._spent[stage].inc(now - since)
        return now

    def refuse(self, reason: Reason) -> None:
        """Count a refusal that was seen elsewhere than in a frame: at the broker, at a login."""
        self.refused.labels(reason).inc()

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
