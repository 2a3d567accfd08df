"""A load run: vehicles added, units connected, frames by an open-loop schedule, every one of them followed to a consumer's hands.

    result = await LoadRun(plan, target).run(stopping)

Nothing waits for an answer before the next frame is due, and latencies are counted from the moment at which a frame was due.
"""

import asyncio
import contextlib
import gc
import math
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench import truth
from bench.account import Account, AccountError, Added, fleet_of
from bench.aftermath import DIFFERENCES_SHOWN, refusals, truth_of
from bench.consumer import Wanted
from bench.lab.turns import long_turns
from bench.latency import Histogram
from bench.lean import LeanFleet
from bench.ledger import Ledger, by_cause
from bench.meters import Meters, Reading, machine, read
from bench.objectives import Objective
from bench.probes import Commands, StateLooks
from bench.results import Document, Generator, Latencies, Part, Rate, Result, Second, Truth, values_of
from bench.source import Source
from bench.stages import Schedule, Stage
from bench.stateful import StatefulFleet
from bench.watcher import Watcher

STRETCH_S = 0.1
"""For how long ahead the moments of frames are worked out together."""

LOOK_S = 0.03
"""Between two looks at what the consumer has: a second's worth at once would have frames wait for it."""

FRAMES_A_TURN = 100
"""Frames said before the loop looks at its sockets again."""

LAG_LIMIT_MS = 100.0
BUSY_PERCENT = 90.0
GRACE_S, GRACE_SHARE = 2.0, 0.1
"""How long after the last stage a source that is late may go on; what it has not said by then is never said."""

GC_THRESHOLDS = (20_000, 20, 100)
"""The collector of the generator looks through what is new, and seldom through what a run keeps until its end."""

QUIET_S = 10.0
"""A drain in which nothing moves for so long is over."""

HEARD_PER_S = 20
"""Payloads that our gateway hears of one unit in a second; what is more than that its unit keeps and says again."""

NUDGE_S = 5.0
SETTLE_S = 15.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered. `rate` is the fleet's frames per second where a stage says none."""

    units: int = 100
    rate: float = 100.0
    stages: tuple[Stage, ...] = (Stage(kind="hold", duration_s=60.0),)
    brands: dict[str, float] = msgspec.field(default_factory=lambda: {"CLOUDBOXX": 1.0})
    models: int | None = None
    model_names: tuple[str, ...] = ()
    lean: bool = False
    batch: int = 1
    commands_per_s: float = 0.0
    command_names: tuple[str, ...] = ("request-vehicle-state",)
    faults: tuple[str, ...] = ()
    looks_per_s: float = 2.0
    drain_s: float = 60.0
    seed: int = 0
    keep: bool = False
    parked: bool = False
    connects_per_s: float = 1_000.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded. `pids` are its processes, as far as they are on this machine. Secrets: no repr of it is printed."""

    url: str
    token: str
    broker: str
    amqp_url: str | None = None
    pids: dict[str, int] = {}
    about: str = ""


Watch = Callable[[str, Mapping[str, Any]], None]
"""Hears what is going on: a phase, and what is known in it."""


class LoadRun:
    """One run. `source` is there once the units are made."""

    def __init__(
        self, plan: Plan, target: Target, objectives: tuple[Objective, ...] = (), watch: Watch = lambda phase, facts: None
    ) -> None:
        self.plan, self.target, self._objectives, self._watch = plan, target, objectives, watch
        self.schedule = Schedule(plan.stages, plan.units, plan.rate)
        self.ledger = Ledger()
        self.series: list[Second] = []
        self.events = Histogram()
        self._recent, self._lag, self._lag_recent = Histogram(), Histogram(), Histogram()
        self._latencies, self._lags = list[float](), list[float]()
        self._offset = time.time() - time.monotonic()
        self._seen = self._all_events = self._bytes = 0
        self._began = float("inf")
        self._queues: dict[str, float] = {}
        self._unsaid = 0
        self._vehicles: dict[bytes, int] = {}
        self._notes = list(_too_loud(plan, self.schedule.peak_rate))
        self._connects_per_s: float | None = None

    def wall(self) -> float:
        """Unix seconds that never jump."""
        return time.monotonic() + self._offset

    async def run(self, stopping: asyncio.Event) -> Result:
        """All of it; once `stopping` is set, what was is reported. Raises AccountError or ValueError where it cannot begin."""
        account = Account(self.target.url, self.target.token)
        added: list[Added] = []
        try:
            added = await self._add(account)
            return await self.with_vehicles(account, added, stopping)
        finally:
            if added and not self.plan.keep:
                of = len(added)
                names = [each.record.vehicle_id for each in added]
                failed = await account.archive(names, lambda done: self._watch("archiving", {"done": done, "of": of}))
                if failed:
                    self._watch("note", {"text": f"{failed} vehicles could not be archived"})
            await account.close()

    async def _add(self, account: Account) -> list[Added]:
        plan = self.plan
        wanted = fleet_of(plan.units, plan.brands, plan.models, plan.model_names)
        self._watch("adding", {"done": 0, "of": plan.units})
        return await account.add(wanted, lambda done: self._watch("adding", {"done": done, "of": plan.units}), not plan.parked)

    def _source(self, added: list[Added]) -> Source:
        plan = self.plan
        if plan.lean:
            return LeanFleet(self.ledger, added, self.target.broker, batch=plan.batch, connects_per_s=plan.connects_per_s)
        return StatefulFleet(self.ledger, added, self.target.broker, seed=plan.seed, batch=plan.batch, faults=plan.faults)

    async def with_vehicles(self, account: Account, added: list[Added], stopping: asyncio.Event) -> Result:
        """The run with vehicles that are there already. Raises AccountError or ValueError where it cannot begin."""
        with long_turns():
            return await self._run(account, added, stopping)

    async def _run(self, account: Account, added: list[Added], stopping: asyncio.Event) -> Result:
        self._vehicles = {each.record.vehicle_id.encode(): place for place, each in enumerate(added)}
        fleet_id, queue = added[0].fleet_id, f"load.{uuid.uuid4().hex[:12]}"
        watcher = Watcher(
            Wanted(
                amqp_url=self.target.amqp_url,
                queue=queue,
                bindings=[f"{fleet_id}.#"],
                url=self.target.url,
                token=self.target.token,
            )
        )
        await watcher.start()
        source = self._source(added)
        try:
            await self._connect(source, stopping)
            return await self._drive(account, added, source, watcher, stopping)
        finally:
            await source.stop()
            await watcher.stop()

    async def _connect(self, source: Source, stopping: asyncio.Event) -> None:
        of = len(source.units)
        began = time.monotonic()

        starting = asyncio.create_task(source.start(lambda online: self._watch("connecting", {"done": online, "of": of})))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (starting, waiting):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if source.online < of and not stopping.is_set():
            raise AccountError(f"only {source.online} of {of} units could connect to {self.target.broker}")
        took_s = time.monotonic() - began
        self._connects_per_s = round(of / took_s, 1) if took_s else None
        give_up = time.monotonic() + SETTLE_S
        while source.waiting and time.monotonic() < give_up and not stopping.is_set():
            self._watch("settling", {"waiting": source.waiting})
            await asyncio.sleep(0.1)

    async def _drive(
        self, account: Account, added: list[Added], source: Source, watcher: Watcher, stopping: asyncio.Event
    ) -> Result:
        plan, started_at = self.plan, datetime.now(UTC)
        vehicle_ids = [each.record.vehicle_id for each in added]
        commands = Commands(account, vehicle_ids, plan.command_names, plan.commands_per_s)
        looks = StateLooks(account, plan.looks_per_s)
        meters = Meters(self.target.pids)
        before, metrics_before = self._read(meters, watcher), await account.metrics()
        beside = [asyncio.create_task(looks.run(self.wall))]
        if plan.commands_per_s:
            beside.append(asyncio.create_task(commands.run(self.schedule.duration_s, time.monotonic)))
        counting = asyncio.create_task(self._count(source, watcher, commands, meters))
        source.collect()
        said_before = len(self.ledger)
        gc.freeze()
        thresholds = gc.get_threshold()
        gc.set_threshold(*GC_THRESHOLDS)
        began = self._began = self.wall()
        try:
            await self._pace(source, watcher, looks, vehicle_ids, began, stopping)
            lasted_s = self.wall() - began
            self._gather(source, watcher)
            after = self._read(meters, watcher)
            self._queues = await self._look_at_queues(account, source, watcher)
            in_stages = (len(self.ledger) - said_before, self._all_events)
            await commands.finish()
            await self._drain(source, watcher, stopping)
            if source.last_look():
                await self._drain(source, watcher, stopping)
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            for task in (*beside, counting):
                task.cancel()
            await asyncio.gather(*beside, counting, return_exceptions=True)
        self._gather(source, watcher)
        await source.stop()
        spent = {name: Reading(after[name].cpu_s - before[name].cpu_s, after[name].rss_mib) for name in after if name in before}
        refused = await self._refused(account, added)
        found = await truth_of(account, added, source)
        metrics = await account.metrics()
        return self._result(started_at, lasted_s, spent, in_stages, commands, looks, found, refused, metrics_before, metrics)

    async def _pace(
        self, source: Source, watcher: Watcher, looks: StateLooks, vehicle_ids: list[str], began: float, stopping: asyncio.Event
    ) -> None:
        """Say each frame when it is due; what is late is said as fast as the source can, as of the time when it was due."""
        storms, duration = self.schedule.storms, self.schedule.duration_s
        give_up, taken, said, due_in_all = duration + max(GRACE_S, GRACE_SHARE * duration), 0.0, 0, 0
        when, who, place, look_at, turn_s = list[float](), list[int](), 0, 0.0, 0.0
        while not stopping.is_set() and (elapsed := self.wall() - began) < give_up:
            if storms and elapsed >= storms[0]:
                storms.pop(0)
                source.storm()
            if place == len(when) and taken <= elapsed:
                if taken >= duration:
                    break
                until = min(taken + STRETCH_S, duration)
                moments, units = self.schedule.take(until, taken)
                when, who = moments.tolist(), units.tolist()
                turn_s = source.expect(who, (until - taken))
                taken, place, due_in_all = until, 0, due_in_all + len(when)
            first, last = place, min(len(when), place + FRAMES_A_TURN)
            while place < last and when[place] <= elapsed:
                source.say(who[place], began + when[place])
                place += 1
            if place > first:
                now = self.wall()
                self._lags += [1000 * (now - began - due) for due in when[first:place]]
                looks.captured(vehicle_ids[who[place - 1]], began + when[place - 1], now)
            said += place - first
            if elapsed >= look_at:
                look_at = elapsed + LOOK_S
                self._gather(source, watcher)
            late = taken < min(elapsed, duration) or place == first + FRAMES_A_TURN
            await asyncio.sleep(0 if late else max(0.0, elapsed + turn_s - (self.wall() - began)))
        if not stopping.is_set():
            rest, _ = self.schedule.take(duration, taken)
            self._unsaid = due_in_all + len(rest) - said

    def _gather(self, source: Source, watcher: Watcher) -> int:
        """Take in what was captured and what the consumer has; the number of events that are ours."""
        source.collect()
        records = watcher.take()
        if not len(records):
            return 0
        ours = records[[vehicle in self._vehicles for vehicle in records["vehicle"].tolist()]]
        self._bytes += int(ours["size"].sum())
        self._all_events += len(ours)
        reports = ours[ours["report"] != 0]
        began, offset, observe = self._began - 0.001, self._offset, self.ledger.observe
        for at, event_id in zip(reports["at"].tolist(), reports["id"].tolist(), strict=True):
            if (entry := observe(event_id.decode(), at)) is not None:
                self._seen += 1
                due = entry.at_ms / 1000
                if began <= due < at + offset + 1:  # not what was said on connecting, nor by a clock gone wrong
                    self._latencies.append(1000 * (at + offset - due))
        return len(ours)

    def _put_down(self) -> None:
        """Count the latencies and lags that were noted."""
        self._recent.record(self._latencies)
        self._lag_recent.record(self._lags)
        self._latencies, self._lags = [], []

    async def _count(self, source: Source, watcher: Watcher, commands: Commands, meters: Meters) -> None:
        """A line of the series each second."""
        began, last = time.monotonic(), self._read(meters, watcher)
        sent = events = seen = 0
        at = time.monotonic()
        while True:
            await asyncio.sleep(max(0.05, at + 1.0 - time.monotonic()))
            now, passed = time.monotonic(), time.monotonic() - at
            at = now
            self._gather(source, watcher)
            readings = self._read(meters, watcher)
            cpu = {name: 100 * (readings[name].cpu_s - last[name].cpu_s) / passed for name in readings if name in last}
            last = readings
            self._put_down()
            recent, self._recent = self._recent, Histogram()
            self.events.add(recent)
            lag, self._lag_recent = self._lag_recent, Histogram()
            self._lag.add(lag)
            elapsed = now - began
            over = elapsed > self.schedule.duration_s
            second = Second(
                at_s=round(elapsed, 2),
                stage=self.schedule.stage_at(elapsed),
                offered=0.0 if over else round(self.schedule.rate_at(elapsed), 1),
                sent=source.sent - sent,
                events=self._all_events - events,
                reports=self._seen - seen,
                online=source.online,
                waiting=source.waiting,
                event_p50=recent.percentile(50),
                event_p99=recent.percentile(99),
                lag_ms=round(lag.max_ms, 2),
                commands=commands.by_status.total(),
                cpu={name: round(percent, 1) for name, percent in cpu.items()},
            )
            sent, events, seen = source.sent, self._all_events, self._seen
            self.series.append(second)
            facts = {"second": second, "attempted": len(self.ledger), "seen": self._seen}
            self._watch("draining" if over else "load", facts)

    def _read(self, meters: Meters, watcher: Watcher) -> dict[str, Reading]:
        own = time.process_time()
        mine = read([os.getpid()])
        return {
            **meters.look(),
            "generator": Reading(own, mine.rss_mib),
            "consumer": read([watcher.pid]),
        }

    async def _drain(self, source: Source, watcher: Watcher, stopping: asyncio.Event) -> None:
        """Until a consumer has had everything and the units wait for nothing, or nothing moves any more."""
        give_up, moved_at, nudge_at = (time.monotonic() + each for each in (self.plan.drain_s, 0.0, NUDGE_S))
        last = (-1, -1)
        while time.monotonic() < give_up and watcher.alive:
            self._gather(source, watcher)
            now = (self._seen, source.waiting)
            if self._seen >= len(self.ledger) and not source.waiting:
                return
            if now != last:
                last, moved_at = now, time.monotonic()
            if time.monotonic() - moved_at > QUIET_S or (stopping.is_set() and time.monotonic() - moved_at > 2.0):
                return
            if time.monotonic() >= nudge_at:
                nudge_at = time.monotonic() + NUDGE_S
                source.nudge()
            await asyncio.sleep(0.1)
        if not watcher.alive:
            self._notes.append("the consumer lost its connection: what came after that is not in the ledger")

    async def _look_at_queues(self, account: Account, source: Source, watcher: Watcher) -> dict[str, float]:
        """What waits where, at the end of the stages."""
        metrics = await account.metrics()
        backlog = metrics.get("teleloop_backlog_payloads", 0.0)
        queues = {"units": source.waiting, "gateway": backlog, "under way": len(self.ledger) - self._seen}
        in_queue = await watcher.waiting()
        return queues if in_queue is None else {**queues, "rabbitmq": in_queue}

    async def _refused(self, account: Account, added: list[Added]) -> Counter[str]:
        try:
            return await refusals(account, added, self.ledger)
        except AccountError as error:
            self._notes.append(f"the gateway's quarantine cannot be read, so refusals have no reason: {error}")
            return Counter()

    def _bottlenecks(self, spent: Mapping[str, Reading], lasted_s: float, sent: int) -> list[str]:
        """Why what was measured may be the generator's limit."""
        found = []
        for name in ("generator", "consumer"):
            percent = 100 * spent[name].cpu_s / lasted_s if lasted_s else 0.0
            if percent > BUSY_PERCENT:
                found.append(f"the {name} used {percent:.0f} % of a core")
        lag = self._lag.percentile(99) or 0.0
        if lag > LAG_LIMIT_MS:
            found.append(f"1 % of the frames were said {lag:.0f} ms late or more")
        if self._unsaid:
            found.append(f"{self._unsaid} frames that were due were never said")
        return found

    def _result(
        self,
        started_at: datetime,
        lasted_s: float,
        spent: Mapping[str, Reading],
        in_stages: tuple[int, int],
        commands: Commands,
        looks: StateLooks,
        found: truth.Truth,
        refused: Counter[str],
        metrics_before: Mapping[str, float],
        metrics: Mapping[str, float],
    ) -> Result:
        self._put_down()
        self.events.add(self._recent)
        self._lag.add(self._lag_recent)
        sent, events = in_stages
        counts, missing = self.ledger.counts(), self.ledger.missing()
        bottlenecks = self._bottlenecks(spent, lasted_s, sent)
        busy = sum(spent[name].cpu_s for name in ("generator", "consumer"))
        generator = Generator(
            cpu_percent=round(100 * busy / lasted_s, 1),
            rss_mib=round(spent["generator"].rss_mib + spent["consumer"].rss_mib, 1),
            bottleneck=bool(bottlenecks),
        )
        latencies = Latencies(
            event=self.events.percentiles(), command=commands.latencies.percentiles(), state=looks.latencies.percentiles()
        )
        rate = Rate(frames_per_s=round(sent / lasted_s, 1), events_per_s=round(events / lasted_s, 1))
        values = values_of(
            counts,
            latencies,
            rate,
            generator,
            {
                "missing": float(len(missing)),
                "refused": float(refused.total()),
                "different": float(found.different),
                "commands_failed": float(commands.failed),
                "commands_per_s": round(commands.by_status.total() / lasted_s, 1) if self.plan.commands_per_s else None,
                "connects_per_s": self._connects_per_s,
                "schedule_lag_p99": self._lag.percentile(99),
                "schedule_lag_max": self._lag.max_ms,
            },
        )
        document = Document(
            ledger=counts,
            latency_ms=latencies,
            rate=rate,
            truth=Truth(compared=found.compared, different=found.different),
            generator=generator,
            objectives=[objective.judge(values) for objective in self._objectives],
            seed=self.plan.seed,
        )
        stages_s = {
            name.partition('stage="')[2].rstrip('"}'): value - metrics_before.get(name, 0.0)
            for name, value in metrics.items()
            if name.startswith("teleloop_stage_seconds_total")
        }
        return Result(
            document=document,
            values=values,
            plan=msgspec.to_builtins(self.plan),
            stages=[stage.text for stage in self.plan.stages],
            series=self.series,
            missing=missing,
            missing_by_cause=by_cause(missing),
            refused_by_reason=dict(refused),
            commands_by_status={str(status): times for status, times in sorted(commands.by_status.items())},
            different=[msgspec.to_builtins(each) for each in found.differences[:DIFFERENCES_SHOWN]],
            bottlenecks=bottlenecks,
            parts={name: _part(reading, lasted_s, events) for name, reading in spent.items()},
            curves={
                "event": self.events.curve(),
                "state": looks.latencies.curve(),
                "command": commands.latencies.curve(),
                "schedule lag": self._lag.curve(),
            },
            gateway_stages_s=stages_s,
            queues=self._queues,
            event_bytes=round(self._bytes / self._all_events) if self._all_events else 0,
            notes=self._notes,
            machine=machine(),
            started_at=started_at.isoformat(timespec="seconds"),
            duration_s=round(lasted_s, 2),
        )


def _too_loud(plan: Plan, peak_rate: float) -> Iterator[str]:
    """A note where each unit says more than is heard of it: then that is measured, and not what the gateway can take."""
    of_each = peak_rate / plan.units / plan.batch
    if of_each > HEARD_PER_S:
        enough = math.ceil(peak_rate / plan.batch / HEARD_PER_S)
        yield (
            f"each unit says up to {of_each:.0f} payloads a second, and the gateway hears {HEARD_PER_S} of one unit: "
            f"the others are said again, later. With {enough} units or more all would be heard"
        )


def _part(reading: Reading, lasted_s: float, events: int) -> Part:
    return Part(
        cpu_percent=round(100 * reading.cpu_s / lasted_s, 1),
        cpu_us_per_event=round(1e6 * reading.cpu_s / events, 1) if events else 0.0,
        rss_mib=round(reading.rss_mib, 1),
    )
