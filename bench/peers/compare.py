"""Ours and a stock gateway under the same load: same broker, same queue, same frames, same consumer, one after the other."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.account import Account, Added, fleet_of, made_up_id
from bench.lab import LabError, Server, free_port, laboratory, mosquitto, rabbitmq, wait_until
from bench.lab.halves import apart
from bench.lab.whole import BROKER_LINES
from bench.load import LoadRun
from bench.peers.ceiling import Ceiling, ceiling
from bench.plan import Plan, Target
from bench.results import Result
from bench.stages import Stage
from devices.unitsfile import UnitRecord

UNITS = 200
OPEN_BROKER_LINES = tuple(line for line in BROKER_LINES if not line.startswith("use_username"))
"""A stock client logs in without a name."""

KEPT_UP = 0.95
P99_LIMIT_MS = 1_000.0
"""A subject keeps up where it publishes what is offered, and the last percent is no older than a second."""

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A subject at a rate. `cpu_us` is its own process's, per frame."""

    subject: str
    offered: int
    frames_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    missing: int
    cpu_us: float
    broker_cpu_us: float
    rabbitmq_cpu_us: float
    kept_up: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, the largest rate that each subject kept up with, and RabbitMQ's own ceiling in the same run."""

    rows: list[Row]
    largest: dict[str, int]
    ratio_to_stock: float | None
    ceiling: Ceiling
    share_of_ceiling: float | None
    event_bytes: int


class Hold(NamedTuple):
    """What was climbed within a p99 of `p99_ms` is tried for longer, the highest rate first, so many `times` at most."""

    seconds: float
    p99_ms: float
    times: int

    def passes(self, row: Row) -> bool:
        """Whether it kept up within that."""
        return row.kept_up and row.p99_ms is not None and row.p99_ms <= self.p99_ms


class Nobody(Account):
    """Where no gateway of ours is: there are no metrics, no states, no quarantine."""

    async def metrics(self) -> dict[str, float]:
        return {}

    async def pages(self, path: str, limit: int = 0) -> AsyncIterator[Any]:
        return
        yield  # an iterator, of nothing


def strangers(count: int) -> list[Added]:
    """Units that no gateway has added: keys of their own."""
    return [
        Added(
            UnitRecord(
                vehicle_id=f"P{place:04X}",
                brand=brand,
                telematics_unit_id=made_up_id(brand),
                vehicle_model_id=model.id,
                password="-",
                seal_key=secrets.token_hex(32),
                command_key=secrets.token_hex(32),
            ),
            "default",
        )
        for place, (brand, model) in enumerate(fleet_of(count, {"CLOUDBOXX": 1.0}, None, ()))
    ]


def _plan(rate: int, seconds: float) -> Plan:
    stages = (
        Stage(kind="ramp", duration_s=2.0, rate_from=rate / 4, rate_to=rate),
        Stage(kind="hold", duration_s=seconds, rate_from=rate, rate_to=rate),
    )
    return Plan(units=UNITS, rate=float(rate), stages=stages, lean=True, drain_s=4.0, looks_per_s=0.0)


def held_per_s(result: Result, rate: float) -> float:
    """Frames per second while `rate` was offered, without the ramp before."""
    held = [each for each in result.series if each.at_s > 3.0 and each.offered >= rate]
    return sum(each.reports for each in held) / max(1, len(held))


def _row(subject: str, rate: int, result: Result) -> Row:
    frames = held_per_s(result, rate)
    said = max(1.0, result.document.rate.frames_per_s * result.duration_s)

    def cost(part: str) -> float:
        return round(1e4 * result.parts[part].cpu_percent * result.duration_s / said, 1) if part in result.parts else 0.0

    event = result.document.latency_ms.event
    kept_up = frames >= KEPT_UP * rate and not result.missing and (event.p99 or P99_LIMIT_MS) < P99_LIMIT_MS
    return Row(
        subject=subject, offered=rate, frames_per_s=round(frames, 1), p50_ms=event.p50, p99_ms=event.p99,
        missing=len(result.missing), cpu_us=cost("gateway"), broker_cpu_us=cost("broker"), rabbitmq_cpu_us=cost("rabbitmq"),
        kept_up=kept_up,
    )  # fmt: skip


async def _climb(
    subject: str, rates: Sequence[int], seconds: float, say: Say, run: Callable[[Plan], Awaitable[Result]]
) -> tuple[list[Row], int]:
    """Higher and higher until it does not keep up."""
    rows, event_bytes = [], 0
    for rate in rates:
        result = await run(_plan(rate, seconds))
        row = _row(subject, rate, result)
        rows.append(row)
        event_bytes = result.event_bytes or event_bytes
        say(f"{subject} at {rate}/s: {row.frames_per_s:g}/s, p99 {row.p99_ms or 0:.0f} ms, {row.cpu_us:g} us a frame")
        if not row.kept_up:
            break
    return rows, event_bytes


async def compare(folder: Path, rates: Sequence[int], seconds: float, say: Say) -> Comparison:
    """Both gateways and the broker alone. Raises LabError where Mosquitto or RabbitMQ is missing."""
    rows: list[Row] = []
    with laboratory(folder / "ours", "mosquitto+rabbitmq") as lab:
        assert lab.amqp_url is not None
        target = Target(url=lab.url, token=lab.token, broker=lab.units_broker, amqp_url=lab.amqp_url, pids=lab.pids)
        account = Account(lab.url, lab.token)
        added = await account.add(fleet_of(UNITS, {"CLOUDBOXX": 1.0}, None, ()), lambda done: None, True)
        ours, event_bytes = await _climb(
            "teleloop", rates, seconds, say, lambda plan: LoadRun(plan, target).with_vehicles(account, added, asyncio.Event())
        )
        rows += ours
        await account.close()
        assert lab.rabbitmq is not None
        alone = await ceiling(lab.amqp_url, lab.rabbitmq.pid, event_bytes or 2_000, seconds)
        say(f"RabbitMQ alone: {alone.confirmed_per_s:g}/s of {alone.body_bytes} bytes")
    climbed, _ = await stock(folder / "stock", rates, seconds, say)
    rows += climbed
    largest = {
        subject: max((row.offered for row in rows if row.subject == subject and row.kept_up), default=0)
        for subject in ("teleloop", "stock")
    }
    best = max((row.frames_per_s for row in rows if row.subject == "teleloop"), default=0.0)
    stock_best = max((row.frames_per_s for row in rows if row.subject == "stock"), default=0.0)
    return Comparison(
        rows=rows,
        largest=largest,
        ratio_to_stock=round(best / stock_best, 2) if stock_best else None,
        ceiling=alone,
        share_of_ceiling=round(best / alone.confirmed_per_s, 2) if alone.confirmed_per_s else None,
        event_bytes=event_bytes,
    )


async def stock(
    folder: Path, rates: Sequence[int], seconds: float, say: Say, hold: Hold | None = None
) -> tuple[list[Row], list[Row]]:
    """The stock gateway alone, with a Mosquitto and a RabbitMQ of its own: as it climbed, and as it held."""
    folder.mkdir(parents=True)
    added = strangers(UNITS)
    names = folder / "vehicles.json"
    names.write_text(json.dumps({str(each.record.unit): each.record.vehicle_id for each in added}))
    with ExitStack() as stack:
        port, cores = free_port(), stack.enter_context(apart())
        broker = stack.enter_context(mosquitto(folder / "mosquitto", port=port, lines=OPEN_BROKER_LINES, log_type="error"))
        node = stack.enter_context(rabbitmq(folder / "rabbitmq", cores=cores))
        (folder / "gateway").mkdir()
        gateway = Server([sys.executable, "-m", "bench.peers.stock", str(port), node.url(), str(names)], folder / "gateway")
        stack.callback(gateway.stop)
        gateway.start()
        wait_until(lambda: _is_ready(gateway), 30, "the stock gateway")
        pids = {"gateway": gateway.pid, "broker": broker.pid, "rabbitmq": node.pid}
        target = Target(url="http://127.0.0.1:9", token="-", broker=broker.url, amqp_url=node.url(), pids=pids)
        account = Nobody(target.url, target.token)

        async def run(plan: Plan) -> Result:
            return await LoadRun(plan, target).with_vehicles(account, added, asyncio.Event())

        rows, _ = await _climb("stock", rates, seconds, say, run)
        held: list[Row] = []
        if hold is not None:
            passed = [row.offered for row in rows if hold.passes(row)]
            for rate in reversed(passed[-hold.times :]):
                held += (await _climb("stock", [rate], hold.seconds, say, run))[0]
                if hold.passes(held[-1]):
                    break
        return rows, held


def _is_ready(gateway: Server) -> bool:
    if not gateway.running:
        raise LabError(f"the stock gateway ended: {gateway.output[-500:]}; it needs the extra `peers`")
    return "ready" in gateway.output
