"""`teleloop replay`: a recording said again to a broker, or read by two sets of rules."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx2
import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import modeldb
from bench.local import Local
from bench.record_cli import broker_login, console, known_here, run, stop_at_signals, stop_with
from bench.recorder import BrokerLogin, BrokerRefused
from bench.recording import Recording, RecordingError
from bench.replay import Contents, Outlets, Replay, contents, settled
from bench.replay_account import Account, Effort, Watch
from bench.rewrite import CannotRewrite, Rewriting, protocol_of
from bench.shadow_cli import shadow
from devices.unitsfile import UnitRecord, UnitsFileError, read_units
from protocols.codec import UnitId

FAILED = 1

app = typer.Typer()


@app.command(epilog="Example: teleloop replay morning.rec --speed 10 --fresh")
def replay(
    file: Annotated[Path, typer.Argument(help="A recording of `teleloop record`.", dir_okay=False)],
    broker: Annotated[
        str | None,
        typer.Option(
            help="mqtt://host:port: units speak by their own logins. mqtt://user:secret@host:port: that login, for all."
        ),
    ] = None,
    units: Annotated[
        Path | None, typer.Option(help="Units file with logins and keys. Without: units.json of the data folder.", dir_okay=False)
    ] = None,
    speed: Annotated[float, typer.Option(min=0, help="2: twice as fast; 0: as fast as possible.")] = 1.0,
    loops: Annotated[int, typer.Option(min=1, help="How many times.")] = 1,
    rewrite: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW, as BRAND/ID: what OLD said, NEW says. Several times.")
    ] = None,
    rewrite_ids: Annotated[bool, typer.Option(help="The units of the units file, in order, say what was recorded.")] = False,
    fresh: Annotated[bool, typer.Option(help="New sequence numbers and times: said now, not once more.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only what this unit said, as BRAND/ID. Several times.")] = None,
    old_rules: Annotated[Path | None, typer.Option(help="No broker: compare the states by these rules with those by ...")] = None,
    new_rules: Annotated[Path | None, typer.Option(help="... these. A folder with brands and models, or one model file.")] = None,
    model: Annotated[str | None, typer.Option(help="With rules: the model of all units, id or name.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder of the gateway.", file_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout at the end.")] = False,
) -> None:
    """Say again what was recorded, or compare what two sets of rules make of it.

    What comes again as it was is acknowledged by a gateway that knows it, and makes no event: another gateway, --fresh or another
    unit does. The events are counted where the gateway's API can be reached. Exit code 0: nothing was lost (with rules: no
    difference); 1: something was; 2: usage.
    """
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    here = known_here(data)
    try:
        recording = Recording(file)
        wanted = [unit_id(each) for each in only or ()]
        records = _records(units, here)
        if old_rules is not None or new_rules is not None:
            code = shadow(recording, old_rules, new_rules, records, model, wanted, as_json)
        else:
            found = contents(recording, wanted)
            rewriting = _rewriting(found, records, rewrite or [], rewrite_ids, fresh)
            plan = _Plan(recording, found, rewriting, broker or here.units_broker, speed, loops)
            code = run(_replay(plan, records, here, as_json))
    except (RecordingError, CannotRewrite, UnitsFileError, BrokerRefused, modeldb.ModelError, ValueError, OSError) as error:
        stop_with(str(error))
    except ExceptionGroup as group:
        stop_with(str(group.exceptions[0]))
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Plan:
    recording: Recording
    found: Contents
    rewriting: Rewriting
    broker_url: str | None
    speed: float
    loops: int

    @property
    def speakers(self) -> list[UnitId]:
        return list(dict.fromkeys(self.rewriting.speaker(unit) for unit in self.found.uplinks))

    @property
    def messages(self) -> int:
        return sum(self.found.uplinks.values()) * self.loops


def unit_id(text: str) -> UnitId:
    """`BRAND/ID`. Raises ValueError."""
    brand, slash, unit = text.partition("/")
    if not slash or not brand or not unit or "/" in unit:
        raise ValueError(f"a unit is wanted as BRAND/ID, not {text!r}")
    return UnitId(brand, unit)


def _records(units: Path | None, here: Local) -> dict[UnitId, UnitRecord]:
    path = units or here.units_file
    return {} if path is None else {each.unit: each for each in read_units(path)}


def _rewriting(
    found: Contents, records: Mapping[UnitId, UnitRecord], said: Sequence[str], all_ids: bool, fresh: bool
) -> Rewriting:
    pairs: dict[UnitId, UnitId] = {}
    for each in said:
        old, equals, new = each.partition("=")
        if not equals:
            raise ValueError(
                f"--rewrite is wanted as OLD=NEW, for example CLOUDBOXX/0123456789ABCDEF=CLOUDBOXX/..., not {each!r}"
            )
        pairs[unit_id(old)] = unit_id(new)
    silent = [unit for unit in pairs if unit not in found.uplinks]
    if silent:
        raise CannotRewrite(f"{silent[0]} says nothing in this recording; who does: {_some(list(found.uplinks))}")
    if all_ids:
        pairs |= _paired([unit for unit in found.uplinks if unit not in pairs], records, set(pairs.values()))
    speakers = [pairs.get(unit, unit) for unit in found.uplinks]
    if len(set(speakers)) < len(speakers):
        twice = next(unit for unit in speakers if speakers.count(unit) > 1)
        raise CannotRewrite(f"two units cannot both be {twice}")
    rewriting = Rewriting(pairs, records, protocol_of(modeldb.load().brands), fresh)
    rewriting.check(list(found.uplinks))
    return rewriting


def _paired(units: Sequence[UnitId], records: Mapping[UnitId, UnitRecord], taken: set[UnitId]) -> dict[UnitId, UnitId]:
    """Each recorded unit with the next of its brand in the units file that is none of those recorded."""
    free = {
        brand: [each for each in records if each.brand == brand and each not in units and each not in taken] for brand, _ in units
    }
    pairs = {}
    for unit in units:
        if not free[unit.brand]:
            raise CannotRewrite(f"the units file has no further unit of {unit.brand} to say what {unit} said")
        pairs[unit] = free[unit.brand].pop(0)
    return pairs


def _some(units: list[UnitId]) -> str:
    return ", ".join(map(str, units[:3])) + (f" and {len(units) - 3} more" if len(units) > 3 else "") if units else "nobody"


async def _replay(plan: _Plan, records: Mapping[UnitId, UnitRecord], here: Local, as_json: bool) -> int:
    if not plan.found.uplinks:
        raise ValueError("there is nothing to say: no unit said anything in this recording")
    broker = broker_login(plan.broker_url, here)
    account, effort, stopping = Account(), Effort(), stop_at_signals()
    outlets = Outlets(broker, account)
    watch = await _watch(here, account)
    saying = Replay(plan.recording, plan.found, plan.rewriting, outlets.of, account, speed=plan.speed, loops=plan.loops)
    try:
        await _introduce(plan, records, account, watch)
        with _progress() as progress:
            task = progress.add_task("connecting", total=len(plan.speakers))
            if broker.user:
                await outlets.open_shared()
            else:
                await outlets.open_each(_logins(plan.speakers, records, broker), lambda: progress.advance(task))
            progress.update(task, description="replaying", total=plan.messages, completed=0)
            showing = asyncio.create_task(_show(progress, task, saying))
            try:
                await saying.run(stopping)
                progress.update(task, description="waiting for what becomes of it", completed=saying.said.messages)
                await settled(account, watch is not None)
            finally:
                showing.cancel()
    finally:
        await outlets.close()
        if watch is not None:
            await watch.close()
    document = _document(account, effort, saying, watch is not None)
    _say(document, saying, plan)
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    return 0 if all(each["ok"] for each in document["objectives"]) else FAILED


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


async def _show(progress: Progress, task: Any, saying: Replay) -> None:
    while True:
        progress.update(task, completed=saying.said.messages)
        await asyncio.sleep(0.2)


def _logins(speakers: Sequence[UnitId], records: Mapping[UnitId, UnitRecord], broker: BrokerLogin) -> list[UnitRecord]:
    missing = [unit for unit in speakers if unit not in records]
    if missing:
        raise CannotRewrite(
            f"no login for {_some(missing)}: name a units file that has it (--units), say it as others (--rewrite-ids), "
            f"leave it out (--only), or give a login that may publish for all in {broker.address.replace('://', '://user:secret@')}"
        )
    return [records[unit] for unit in speakers]


async def _watch(here: Local, account: Account) -> Watch | None:
    if here.api_url is None or here.api_token is None:
        return None
    watch = Watch(here.api_url, here.api_token, account.event)
    try:
        await watch.listen()
    except TimeoutError:
        await watch.close()
        console.print(f"The API at {here.api_url} tells no events: what becomes of the reports is not counted.", style="yellow")
        return None
    return watch


async def _introduce(plan: _Plan, records: Mapping[UnitId, UnitRecord], account: Account, watch: Watch | None) -> None:
    vehicles = {unit: record.vehicle_id for unit, record in records.items() if record.vehicle_id}
    if watch is not None:
        with contextlib.suppress(httpx2.HTTPError):
            vehicles |= await watch.vehicles()
    brands = modeldb.load().brands
    for unit in plan.speakers:
        protocol = plan.rewriting.protocol_of(unit.brand)
        if protocol is not None:
            account.introduce(unit, vehicles.get(unit, str(unit)), protocol, brands[unit.brand].answers)


def _document(account: Account, effort: Effort, saying: Replay, watched: bool) -> dict[str, Any]:
    counts = account.ledger.counts()
    ledger: dict[str, int | None] = msgspec.to_builtins(counts)
    if not watched:
        ledger |= dict.fromkeys(("observed", "lost", "duplicated", "unexpected", "recovered"))
    elapsed_s = max(1e-6, time.monotonic() - effort.began)
    waiting = counts.attempted - counts.acknowledged
    unsayable = saying.said.unsayable.total()
    objectives = [
        {"text": "every report that was said is acknowledged", "ok": not waiting, "value": waiting},
        {"text": "every payload could be said", "ok": not unsayable, "value": unsayable},
    ]
    if watched:
        objectives.append({"text": "no report that was acknowledged is lost", "ok": not ledger["lost"], "value": ledger["lost"]})
    return {
        "ledger": ledger,
        "latency_ms": {"event": account.latency_ms(), "command": dict.fromkeys(("p50", "p95", "p99", "max"))},
        "rate": {
            "frames_per_s": round(account.frames / elapsed_s, 1),
            "events_per_s": round(account.events / elapsed_s, 1),
        },
        "truth": {"compared": 0, "different": 0},
        "generator": effort.document(saying.said.behind_s),
        "objectives": objectives,
        "seed": None,
    }


def _say(document: Mapping[str, Any], saying: Replay, plan: _Plan) -> None:
    ledger = document["ledger"]
    console.print(
        f"{saying.said.messages:,} payloads of {len(plan.speakers):,} units said in {saying.said.loops} of {plan.loops} loops"
    )
    for why, count in plan.found.skipped.items():
        console.print(f"  not said: {count:,} messages ({why})")
    for why, count in saying.said.unsayable.items():
        console.print(f"  could not be said: {count:,} payloads, {why}")
    for error in plan.recording.damage:
        console.print(f"  from byte {error.offset} of the recording: {error.found or error.reason}; it is left out")
    told = ", ".join(f"{name} {value:,}" for name, value in ledger.items() if value is not None)
    console.print(f"reports: {told}", soft_wrap=True)
    if ledger["observed"] is None:
        console.print("nobody watched the events: no API was found (TELELOOP_URL and TELELOOP_TOKEN, or --data)")
    if ledger["lost"] and not plan.rewriting.fresh:
        console.print(
            "A gateway that had these reports before acknowledges them again and makes no event: --fresh says them as new.",
            soft_wrap=True,
        )
