"""A load run: vehicles added, units connected, frames by an open-loop schedule, every one of them followed to a consumer's hands.

    result = await LoadRun(plan, target).run(stopping)

Nothing waits for an answer before the next frame is due, and latencies are counted from the moment at which a frame was due.
"""

import asyncio
import contextlib
import gc
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from bench.account import Account, AccountError, Added, fleet_of
from bench.aftermath import refusals, truth_of
from bench.consumer import Wanted
from bench.lab.turns import long_turns
from bench.lean import LeanFleet
from bench.ledger import Ledger
from bench.load_result import Ended
from bench.meters import Meters, Reading, read
from bench.objectives import Objective
from bench.pacer import ClosedLoop, Pacer
from bench.plan import Plan, Target, too_loud
from bench.probes import Commands, StateLooks
from bench.reckoning import Reckoning, Watch
from bench.results import Result
from bench.source import Source
from bench.stages import Schedule
from bench.stateful import StatefulFleet
from bench.watcher import Watcher

LOOK_S = 0.03
"""Between two looks at what the consumer has: a second's worth at once would have frames wait for it."""

GC_THRESHOLDS = (20_000, 20, 100)
"""The collector of the generator looks through what is new, and seldom through what a run keeps until its end."""

QUIET_S = 10.0
"""A drain in which nothing moves for so long is over."""

NUDGE_S = 5.0
SETTLE_S = 15.0


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Meanwhile the garbage collector does not look through what is there, and seldom through what a run keeps."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class LoadRun:
    """One run: what it is about in `plan`, who is loaded in `target`; `schedule` says when each frame is due."""

    def __init__(
        self, plan: Plan, target: Target, objectives: tuple[Objective, ...] = (), watch: Watch = lambda phase, facts: None
    ) -> None:
        self.plan, self.target, self._objectives, self._watch = plan, target, objectives, watch
        self.schedule = Schedule(plan.stages, plan.units, plan.rate)
        self.ledger = Ledger()
        self.reckoning = Reckoning(self.ledger, self.schedule)
        self._notes = list(too_loud(plan, self.schedule.peak_rate))
        self._connects_per_s: float | None = None

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

    def _pacer(self, source: Source) -> Pacer | ClosedLoop:
        wall, window = self.reckoning.wall, self.plan.window
        if window is None:
            return Pacer(self.schedule, source, wall)
        return ClosedLoop(self.schedule, source, wall, window, lambda: self.reckoning.seen)

    async def with_vehicles(self, account: Account, added: list[Added], stopping: asyncio.Event) -> Result:
        """The run with vehicles that are there already. Raises AccountError or ValueError where it cannot begin."""
        with long_turns():
            return await self._run(account, added, stopping)

    async def _run(self, account: Account, added: list[Added], stopping: asyncio.Event) -> Result:
        self.reckoning.vehicles = {each.record.vehicle_id.encode() for each in added}
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
        plan, started_at, reckoning = self.plan, datetime.now(UTC), self.reckoning
        vehicle_ids = [each.record.vehicle_id for each in added]
        commands = Commands(account, vehicle_ids, plan.command_names, plan.commands_per_s)
        looks = StateLooks(account, plan.looks_per_s)
        meters = Meters(self.target.pids)
        before, metrics_before = self._read(meters, watcher), await account.metrics()
        beside = [asyncio.create_task(looks.run(reckoning.wall))]
        if plan.commands_per_s:
            beside.append(asyncio.create_task(commands.run(self.schedule.duration_s, time.monotonic)))
        beside.append(asyncio.create_task(self._count(source, watcher, commands, meters)))
        source.collect()
        said_before = len(self.ledger)
        try:
            with keeping():
                pacer = self._pacer(source)
                began = reckoning.began = reckoning.wall()
                await self._pace(pacer, source, watcher, looks, vehicle_ids, stopping)
                lasted_s = reckoning.wall() - began
                reckoning.gather(source, watcher)
                after = self._read(meters, watcher)
                queues = await self._look_at_queues(account, source, watcher)
                sent, events = len(self.ledger) - said_before, reckoning.all_events
                await commands.finish()
                await self._drain(source, watcher, stopping)
                if source.last_look():
                    await self._drain(source, watcher, stopping)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        reckoning.gather(source, watcher)
        await source.stop()
        spent = {name: Reading(after[name].cpu_s - before[name].cpu_s, after[name].rss_mib) for name in after if name in before}
        refused = await self._refused(account, added)
        return Ended(
            plan=plan,
            objectives=self._objectives,
            reckoning=reckoning,
            started_at=started_at,
            lasted_s=lasted_s,
            spent=spent,
            sent=sent,
            events=events,
            unsaid=pacer.unsaid,
            commands=commands,
            looks=looks,
            refused=refused,
            found=await truth_of(account, added, source),
            metrics=(metrics_before, await account.metrics()),
            queues=queues,
            connects_per_s=self._connects_per_s,
            notes=self._notes,
        ).result()

    async def _pace(
        self,
        pacer: Pacer | ClosedLoop,
        source: Source,
        watcher: Watcher,
        looks: StateLooks,
        vehicle_ids: Sequence[str],
        stopping: asyncio.Event,
    ) -> None:
        reckoning, look_at = self.reckoning, 0.0

        def told(due: Sequence[float], last: int) -> None:
            now = reckoning.wall()
            reckoning.said(due, now)
            looks.captured(vehicle_ids[last], reckoning.began + due[-1], now)

        def look() -> None:
            nonlocal look_at
            now = reckoning.wall()
            if now >= look_at:
                look_at = now + LOOK_S
                reckoning.gather(source, watcher)

        await pacer.run(reckoning.began, stopping, told, look)

    async def _count(self, source: Source, watcher: Watcher, commands: Commands, meters: Meters) -> None:
        """A line of the series each second."""
        began, last = time.monotonic(), self._read(meters, watcher)
        at = time.monotonic()
        while True:
            await asyncio.sleep(max(0.05, at + 1.0 - time.monotonic()))
            now, passed = time.monotonic(), time.monotonic() - at
            at = now
            self.reckoning.gather(source, watcher)
            readings = self._read(meters, watcher)
            cpu = {name: 100 * (readings[name].cpu_s - last[name].cpu_s) / passed for name in readings if name in last}
            last = readings
            second = self.reckoning.second(now - began, source, commands.by_status.total(), cpu)
            facts = {"second": second, "attempted": len(self.ledger), "seen": self.reckoning.seen}
            self._watch("draining" if now - began > self.schedule.duration_s else "load", facts)

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
            self.reckoning.gather(source, watcher)
            now = (self.reckoning.seen, source.waiting)
            if self.reckoning.seen >= len(self.ledger) and not source.waiting:
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
        queues = {"units": source.waiting, "gateway": backlog, "under way": len(self.ledger) - self.reckoning.seen}
        in_queue = await watcher.waiting()
        return queues if in_queue is None else {**queues, "rabbitmq": in_queue}

    async def _refused(self, account: Account, added: list[Added]) -> Counter[str]:
        try:
            return await refusals(account, added, self.ledger)
        except AccountError as error:
            self._notes.append(f"the gateway's quarantine cannot be read, so refusals have no reason: {error}")
            return Counter()
