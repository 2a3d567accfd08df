"""The report of a load run as one self-contained HTML file."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import msgspec

from bench.charts import Line, bar_chart, line_chart
from bench.results import Result
from bench.view import shown

MISSING_SHOWN = 500
PAGE_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse}th,td{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top}
th{font-weight:600}.num{text-align:right;font-variant-numeric:tabular-nums}
.good{color:#2c9c5a}.bad{color:#d1434b}.note{border-left:4px solid #d9822b;padding:.3rem .8rem;margin:1rem 0}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts svg{max-width:100%;height:auto}
details{margin:1rem 0}code{font-size:.9em}
"""


def write_html(path: Path, result: Result) -> None:
    """The report of a run. Raises OSError."""
    path.write_text(html(result))


def html(result: Result) -> str:
    """The page: needs nothing but itself."""
    document = result.document
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>",
        f"<title>teleloop load, {escape(result.started_at)}</title><style>{PAGE_STYLE}</style>",
        f"<h1>Load run of {escape(result.started_at)}</h1>",
        _verdict(result),
        "".join(f"<p class='note'>{escape(note)}</p>" for note in result.notes),
        f"<div class='charts'>{''.join(_charts(result))}</div>",
        "<h2>Latency</h2>",
        _table(
            ("from the moment it was due", "p50", "p95", "p99", "max"),
            [
                (name, *(shown(getattr(said, at)) for at in ("p50", "p95", "p99", "max")))
                for name, said in (
                    ("capture to the event in a consumer's hands", document.latency_ms.event),
                    ("capture to the state over REST", document.latency_ms.state),
                    ("command there and back", document.latency_ms.command),
                )
            ],
        ),
        "<h2>Ledger</h2>",
        _table(tuple(msgspec.to_builtins(document.ledger)), [tuple(msgspec.to_builtins(document.ledger).values())]),
        _missing(result),
        "<h2>What it cost</h2>",
        _table(
            ("part", "CPU, % of a core", "CPU us an event", "MiB"),
            [(name, part.cpu_percent, part.cpu_us_per_event, part.rss_mib) for name, part in result.parts.items()],
        ),
        "<h2>How it was run</h2>",
        _table(("", ""), [(name, str(value)) for name, value in (result.machine | {"lasted_s": result.duration_s}).items()]),
        f"<details><summary>The plan; seed {document.seed} repeats the lives</summary>"
        f"<pre>{escape(msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode())}</pre></details>",
        "</html>",
    ]
    return "\n".join(parts)


def _verdict(result: Result) -> str:
    document = result.document
    said = [
        f"<p>{document.rate.frames_per_s:g} frames per second in, {document.rate.events_per_s:g} events per second out; "
        f"{document.ledger.lost} lost of {document.ledger.acknowledged} acknowledged.</p>"
    ]
    if result.bottlenecks:
        why = escape("; ".join(result.bottlenecks))
        said.append(f"<p class='note'>The generator was the bottleneck: {why}. What is shown is its limit.</p>")
    rows = [
        (
            verdict.text,
            "reached" if verdict.ok else "FAILED",
            "nothing measured" if verdict.value is None else f"{verdict.value:g}",
        )
        for verdict in document.objectives
    ]
    table = _table(("objective", "", "value"), rows)
    return "".join(said) + table.replace("<td>reached", "<td class='good'>reached").replace(
        "<td>FAILED", "<td class='bad'>FAILED"
    )


def _charts(result: Result) -> Iterable[str]:
    series = result.series
    if not series:
        return
    starts, at = [], 0.0
    for place, text in enumerate(result.stages):
        first = next((second.at_s for second in series if second.stage == place), None)
        if first is not None:
            starts.append((at if place == 0 else first, text))
        at = first or at
    yield line_chart(
        "Rate",
        [
            Line("frames offered", [(each.at_s, each.offered) for each in series]),
            Line("frames said", [(each.at_s, each.sent) for each in series]),
            Line("events consumed", [(each.at_s, each.events) for each in series]),
        ],
        x_label="s",
        y_label="per s",
        marks=starts,
    )
    yield line_chart(
        "Latency to the consumer",
        [
            Line("p99", [(each.at_s, each.event_p99) for each in series]),
            Line("p50", [(each.at_s, each.event_p50) for each in series]),
        ],
        x_label="s",
        y_label="ms",
        marks=starts,
    )
    curves = [Line(name, _by_nines(points)) for name, points in result.curves.items() if points]
    nines = [(0.0, "0"), (1.0, "90 %"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99")]
    yield line_chart("Latency by percentile", curves, y_label="ms", log_y=True, x_ticks=nines)
    parts = sorted({name for each in series for name in each.cpu})
    cpu = [Line(name, [(each.at_s, each.cpu.get(name)) for each in series]) for name in parts]
    yield line_chart("CPU", cpu, x_label="s", y_label="% core")
    yield line_chart(
        "Under way",
        [
            Line("units online", [(each.at_s, each.online) for each in series]),
            Line("frames without an Ack", [(each.at_s, each.waiting) for each in series]),
        ],
        x_label="s",
    )
    yield line_chart(
        "The generator behind its schedule",
        [Line("worst", [(each.at_s, each.lag_ms) for each in series])],
        x_label="s",
        y_label="ms",
    )
    if result.gateway_stages_s:
        bars = sorted(result.gateway_stages_s.items(), key=lambda each: -each[1])
        yield bar_chart("The gateway's time by stage", bars, unit="s")


def _by_nines(points: Sequence[tuple[float, float]]) -> list[tuple[float, float | None]]:
    """Percent to the number of nines, so that the tail has room."""
    return [
        (4.0 if percent >= 99.99 else -math.log10(1 - percent / 100), max(ms, 0.01)) for percent, ms in points if percent < 100
    ]


def _missing(result: Result) -> str:
    refused = "".join(
        f"<li>refused on the way, {times} x {escape(reason)}</li>" for reason, times in result.refused_by_reason.items()
    )
    if not result.missing:
        return f"<p class='good'>Every report that was captured has been seen by the consumer.</p><ul>{refused}</ul>"
    causes = "".join(f"<li>{times} x {escape(cause)}</li>" for cause, times in result.missing_by_cause.items())
    rows = [(each.unit, each.sequence, each.event_id, each.text) for each in result.missing[:MISSING_SHOWN]]
    more = len(result.missing) - len(rows)
    rest = f"<p>and {more} more, in the JSON file</p>" if more else ""
    table = _table(("unit", "frame", "event", "why"), rows)
    return (
        f"<p class='bad'>{len(result.missing)} reports have not been seen:</p><ul>{causes}{refused}</ul>"
        f"<details open><summary>each of them</summary>{table}{rest}</details>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(str(each))}</th>" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(_cell(each))}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
