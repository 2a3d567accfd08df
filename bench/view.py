"""The live view of a run, on stderr: a table that moves on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.results import Result, Second
from bench.stages import Schedule

PLAIN_EVERY_S = 5.0
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


class View:
    """Hears what a run tells (`watch`)."""

    def __init__(self, console: Console, schedule: Schedule | None = None) -> None:
        self._console, self.schedule = console, schedule
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
        self._rates: list[float] = []
        self._p99s: list[float] = []
        self._said_at, self._phase = 0.0, ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, phase: str, facts: Mapping[str, Any]) -> None:
        """Show what is going on."""
        if phase == "note":
            self._console.print(facts["text"])
        elif "second" in facts:
            self._second(phase, facts["second"], facts)
        else:
            self._progress(phase, facts)

    def _progress(self, phase: str, facts: Mapping[str, Any]) -> None:
        done, of = facts.get("done"), facts.get("of")
        said = f"{phase} {done} of {of}" if of else f"{phase} {facts.get('waiting', '')}".strip()
        if self._live is not None:
            bar = ProgressBar(total=of or 1, completed=done or 0, width=WIDTH)
            self._live.update(Group(Text(said), bar) if of else Text(said))
        elif phase != self._phase or time.monotonic() - self._said_at > PLAIN_EVERY_S:
            self._plain(said)
        self._phase = phase

    def _second(self, phase: str, second: Second, facts: Mapping[str, Any]) -> None:
        self._rates.append(second.reports)
        self._p99s.append(second.event_p99 or 0.0)
        if self._live is not None:
            self._live.update(self._table(phase, second, facts))
        elif phase != self._phase or time.monotonic() - self._said_at > PLAIN_EVERY_S:
            self._plain(f"{phase}: {line_of(second, facts)}")
        self._phase = phase

    def _plain(self, said: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(said, highlight=False, soft_wrap=True)

    def _table(self, phase: str, second: Second, facts: Mapping[str, Any]) -> Group:
        table = Table.grid(padding=(0, 3))
        stage = self.schedule.stages[second.stage].text if self.schedule and phase == "load" else phase
        of = f" of {self.schedule.duration_s:.0f} s" if self.schedule else " s"
        table.add_row("stage", Text(stage, style="bold"), f"{second.at_s:.0f}{of}")
        offered = f" of {second.offered:.0f}/s offered" if second.offered else ""
        table.add_row("frames", f"{second.sent}/s{offered}", f"{second.online} units online")
        table.add_row("events", f"{second.events}/s, reports {second.reports}/s", sparkline(self._rates))
        table.add_row("latency", f"p50 {shown(second.event_p50)}, p99 {shown(second.event_p99)}", sparkline(self._p99s))
        table.add_row("under way", f"{facts['attempted'] - facts['seen']} not yet seen", f"{second.waiting} without an Ack")
        if second.commands:
            table.add_row("commands", f"{second.commands} answered", "")
        table.add_row(
            "generator", f"{second.cpu.get('generator', 0):.0f} % of a core", f"{second.lag_ms:.1f} ms behind its schedule"
        )
        others = {name: percent for name, percent in second.cpu.items() if name not in ("generator", "consumer")}
        if others:
            table.add_row("CPU", ", ".join(f"{name} {percent:.0f} %" for name, percent in others.items()), "")
        return Group(table)


def line_of(second: Second, facts: Mapping[str, Any]) -> str:
    """A second in one line."""
    return (
        f"{second.at_s:.0f} s, {second.sent}/s sent of {second.offered:.0f}/s, {second.events} events/s, "
        f"p99 {shown(second.event_p99)}, {facts['attempted'] - facts['seen']} under way, {second.online} online"
    )


def shown(milliseconds: float | None) -> str:
    """A latency for people."""
    if milliseconds is None:
        return "-"
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


def sparkline(values: list[float]) -> str:
    """The last values as bars."""
    last = values[-WIDTH // 2 :]
    top = max(last, default=0.0)
    return "".join(BARS[min(len(BARS) - 1, int(value / top * (len(BARS) - 1)))] if top else BARS[0] for value in last)


def summary(result: Result, console: Console) -> None:
    """What came of a run, for people."""
    document = result.document
    ledger, table = document.ledger, Table.grid(padding=(0, 2))
    table.add_row("rate", f"{document.rate.frames_per_s:g} frames/s in, {document.rate.events_per_s:g} events/s out")
    for name, said in (
        ("event latency", document.latency_ms.event),
        ("state over REST", document.latency_ms.state),
        ("command", document.latency_ms.command),
    ):
        if said.p50 is not None:
            text = ", ".join(f"{at} {shown(getattr(said, at))}" for at in ("p50", "p95", "p99", "max"))
            table.add_row(name, text)
    if result.commands_by_status:
        table.add_row("commands", ", ".join(f"{times} x {status}" for status, times in result.commands_by_status.items()))
    table.add_row("ledger", f"{ledger.attempted} attempted, {ledger.acknowledged} acknowledged, {ledger.observed} observed")
    colour = "green" if not ledger.lost and not ledger.unexpected else "red"
    rest = f"{ledger.lost} lost, {ledger.duplicated} duplicated, {ledger.unexpected} unexpected, {ledger.recovered} recovered"
    table.add_row("", Text(rest, style=colour))
    for cause, times in result.missing_by_cause.items():
        table.add_row("missing", f"{times} x {cause}")
    for reason, times in result.refused_by_reason.items():
        table.add_row("refused", f"{times} x {reason}")
    table.add_row("truth", f"{document.truth.compared} values compared, {document.truth.different} different")
    for name, part in result.parts.items():
        cost = f"{part.cpu_percent:g} % of a core, {part.cpu_us_per_event:g} us an event, {part.rss_mib:g} MiB"
        table.add_row(name, cost)
    console.print(table)
    for each in result.different[:10]:
        console.print(f"  {each['unit']}: {each['property']} is {each['truth']!r}, and the gateway says {each['gateway']!r}")
    if len(result.different) > 10:
        console.print(f"  and {len(result.different) - 10} more, all in the JSON file")
    for missing in result.missing[:10]:
        console.print(f"  {missing.unit} frame {missing.sequence}: {missing.text}")
    if len(result.missing) > 10:
        console.print(f"  and {len(result.missing) - 10} more, all in the JSON file")
    if result.bottlenecks:
        console.print(f"the generator was the bottleneck: {'; '.join(result.bottlenecks)}", style="yellow")
    for note in result.notes:
        console.print(note, style="yellow")
    for verdict in document.objectives:
        value = "nothing measured" if verdict.value is None else f"{verdict.value:g}"
        said = f"{'reached' if verdict.ok else 'FAILED '}  {verdict.text}  ({value})"
        console.print(said, style="green" if verdict.ok else "red")
