"""What became of the frames of a load run, while it goes on: captured, seen by the consumer, how long after they were due."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from bench.latency import Histogram
from bench.ledger import Ledger
from bench.results import Second
from bench.source import Source
from bench.stages import Schedule

Watch = Callable[[str, Mapping[str, Any]], None]
"""Hears what is going on: a phase, and what is known in it."""


class Hands(Protocol):
    """A consumer's, as `bench.watcher.Watcher`."""

    def take(self) -> Any:
        """What has come since the last time, an array of `bench.consumer.RECORD`."""


class Reckoning:
    """Of one run, on one clock. `vehicles` are the ids of those that are its own; `began` is set when frames begin, Unix seconds.

    `seen` reports and `all_events` of these vehicles came so far, of `size_bytes`; `events` are the latencies of reports and
    `lag` how late frames were said, both as far as they were put down. `series` is a line for each second.
    """

    def __init__(self, ledger: Ledger, schedule: Schedule) -> None:
        self.ledger, self._schedule = ledger, schedule
        self.vehicles: Collection[bytes] = ()
        self.began = float("inf")
        self.seen = self.all_events = self.size_bytes = 0
        self.events, self.lag = Histogram(), Histogram()
        self.series: list[Second] = []
        self._latencies, self._lags = list[float](), list[float]()
        self._offset = time.time() - time.monotonic()
        self._sent = self._events_told = self._seen_told = 0

    def wall(self) -> float:
        """Unix seconds that never jump."""
        return time.monotonic() + self._offset

    def said(self, due: Sequence[float], now: float) -> None:
        """Frames that were due then, in seconds since it began, are said now, Unix seconds."""
        since = now - self.began
        self._lags += [1000 * (since - each) for each in due]

    def gather(self, source: Source, hands: Hands) -> int:
        """Take in what was captured and what the consumer has; the number of events that are ours."""
        source.collect()
        records = hands.take()
        if not len(records):
            return 0
        ours = records[[vehicle in self.vehicles for vehicle in records["vehicle"].tolist()]]
        self.size_bytes += int(ours["size"].sum())
        self.all_events += len(ours)
        reports = ours[ours["report"] != 0]
        began, offset, observe = self.began - 0.001, self._offset, self.ledger.observe
        for at, event_id in zip(reports["at"].tolist(), reports["id"].tolist(), strict=True):
            if (entry := observe(event_id.decode(), at)) is not None:
                self.seen += 1
                due = entry.at_ms / 1000
                if began <= due < at + offset + 1:  # not what was said on connecting, nor by a clock gone wrong
                    self._latencies.append(1000 * (at + offset - due))
        return len(ours)

    def put_down(self) -> tuple[Histogram, Histogram]:
        """Count the latencies and lags that were noted since the last time; these alone."""
        recent, lag = Histogram(), Histogram()
        recent.record(self._latencies)
        lag.record(self._lags)
        self._latencies, self._lags = [], []
        self.events.add(recent)
        self.lag.add(lag)
        return recent, lag

    def second(self, elapsed: float, source: Source, commands: int, cpu: Mapping[str, float]) -> Second:
        """One more line of `series`."""
        recent, lag = self.put_down()
        second = Second(
            at_s=round(elapsed, 2),
            stage=self._schedule.stage_at(elapsed),
            offered=0.0 if elapsed > self._schedule.duration_s else round(self._schedule.rate_at(elapsed), 1),
            sent=source.sent - self._sent,
            events=self.all_events - self._events_told,
            reports=self.seen - self._seen_told,
            online=source.online,
            waiting=source.waiting,
            event_p50=recent.percentile(50),
            event_p99=recent.percentile(99),
            lag_ms=round(lag.max_ms, 2),
            commands=commands,
            cpu={name: round(percent, 1) for name, percent in cpu.items()},
        )
        self._sent, self._events_told, self._seen_told = source.sent, self.all_events, self.seen
        self.series.append(second)
        return second
