"""docs/performance.md and its charts, made from the files of bench/results and from nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.charts import Line, bar_chart, line_chart
from bench.performance_goals import cost, figures, number, values_of
from bench.results import Measured

METHOD = """\
## Method

- RabbitMQ has half of the cores, everything else the other half: without that, each waits for the other's turns to end, and p99
  at 5,000 frames/s was 1.2 to 2.2 times as high ([load.md](load.md)). Its ceiling is measured on the same half.
- Everything runs on the one machine at the same time: Mosquitto (passwords and topic rules on), RabbitMQ (quorum queue,
  publisher confirms, `mandatory`, persistent messages), the gateway with SQLite, the units, and the consumer, which acknowledges.
- The load is an **open loop**: each frame is due at a moment that waits for nothing before it, and its latency counts from that
  moment until a consumer has the event in its hands. A generator that falls behind shows as latency and as
  "the generator was the bottleneck"; it cannot hide.
- **Lean** units say recorded frames, sealed, numbered and dated anew, each on its own connection with its own password; stateful
  units are those of `teleloop fleet`: firmware, journal, vehicle.
- A rate is **sustained** where every frame's event is seen, p99 is within 100 ms and the schedule was kept.
- The **ledger** follows every report: attempted, acknowledged, observed. `0 lost` of N acknowledged says with 95 % confidence
  that fewer than 3 in N are lost.
- The **simulator's cost** is that of one process with 5,000 stateful units, against a Mosquitto and a process that acknowledges
  every unit once a second (`python -m bench.simulator_cost`): two cores do not hold it and the gateway at 5,000 frames a second.
- CPU is each process's own with its children (`/proc`), per frame. Latencies are kept in an HDR histogram of three digits.
- The growth curves hold the rate and change one thing; what counts is the ratio between their ends, not the height.

`make bench-load` measures all of this anew in 25 minutes and writes this page; `teleloop load` and `teleloop capacity`
are the same instruments for a gateway and a machine of your own.
"""


GROWTH = (
    ("growth_units", "units", "Units"),
    ("growth_units_busy", "units", "Units"),
    ("growth_models", "models", "Vehicle models"),
)
"""Results, what grows in them, and its name."""

PARTS = {"gateway": "gateway", "broker": "Mosquitto", "rabbitmq": "RabbitMQ", "generator": "generator", "consumer": "consumer"}


def write_page(page: Path, results: Mapping[str, Measured], only_compare: bool = False) -> bool:
    """Write the page and its charts; with `only_compare`, say whether they are as they should be."""
    charts = {name: chart for name, chart in _charts(results).items() if chart}
    files = {page: _page(results, sorted(charts))} | {
        page.parent / "performance" / f"{name}.svg": each for name, each in charts.items()
    }
    if only_compare:
        return all(path.exists() and path.read_text() == text for path, text in files.items())
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return True


def _page(results: Mapping[str, Measured], charts: Sequence[str]) -> str:
    parts = [
        "# Performance",
        "<!-- Written by `python -m bench.report docs` from bench/results: edit those, not this. -->",
        _where(results),
        "## Goals, and what was measured",
        _table(("", "must", "aim", "measured", ""), list(figures(results))),
        "Where a figure is not reached it stands here all the same." + _limited_share(results),
        "## How many vehicles",
        _sizing(results),
        *[f"![{name.replace('-', ' ')}](performance/{name}.svg)" for name in charts if not name.startswith("growth")],
        _climb(results),
        _batched(results),
        "## As things grow",
        _growth(results),
        *[f"![{name.replace('-', ' ')}](performance/{name}.svg)" for name in charts if name.startswith("growth")],
        "## Beside others",
        _peers(results),
        METHOD,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _where(results: Mapping[str, Measured]) -> str:
    if not results:
        return "Nothing has been measured yet: `make bench-load`."
    measured = list(results.values())
    machine = measured[0].machine
    busiest = max(each.load_average for each in measured)
    said = (
        f"Measured between {min(each.at for each in measured)} and {max(each.at for each in measured)} "
        f"on {machine.get('cores')} cores ({machine.get('processor')}), {int(machine.get('memory_mib', 0)) // 1024} GiB, "
        f"{machine.get('system')}, "
        f"Python {machine.get('python')}."
    )
    cores = int(machine.get("cores", 1))
    if busiest > cores + 2:
        said += (
            f" The load average was up to {busiest:g} on {cores} cores: other work ran on the machine. Read rates and latencies "
            "as what was left over; CPU per frame and ratios within one run say more."
        )
    return said


def _limited_share(results: Mapping[str, Measured]) -> str:
    frames, ceiling = values_of(results, "frames"), values_of(results, "ceiling")
    turns = ceiling.get("turns", [])
    if not turns:
        return ""
    shares = [turn["share"] for turn in turns]
    said = (
        f" RabbitMQ's ceiling is {number(ceiling['confirmed_per_s'])} messages/s: one pre-encoded message by a raw publisher, "
        f"confirmed and consumed, however late. In turns with it {number(ceiling['through_per_s'])} frames/s came through the "
        f"gateway, however late, too; of {len(turns)} turns of {ceiling['turn_s']:g} s each the middle ones, shares from "
        f"{min(shares):.2f} to {max(shares):.2f}. Where nothing is kept to its half of the cores, RabbitMQ alone does "
        f"{number(ceiling['anywhere_per_s'])} messages/s."
    )
    if frames.get("sustained"):
        said += f" Beside it stands what came within 100 ms for a minute, {number(frames['held_per_s'])} frames/s."
    return said


def _sizing(results: Mapping[str, Measured]) -> str:
    frames = values_of(results, "frames")
    if not frames or not frames.get("sustained"):
        return "No rate was sustained for a minute in this run, so there is no table."
    rate = frames["rate"]
    rows = [
        (f"every {interval} s", f"{rate * interval:,.0f}", f"{rate * interval / 2:,.0f}", f"{86_400 / interval:,.0f}")
        for interval in (1, 10, 30, 60, 300)
    ]
    return (
        f"One gateway on this machine sustained {number(rate)} frames/s for a minute.\n\n"
        + _table(("each vehicle reports", "vehicles at that rate", "with half in reserve", "frames a vehicle and day"), rows)
        + "\n\nPlan with the reserve: after an outage all units send at once what they kept."
    )


def _climb(results: Mapping[str, Measured]) -> str:
    said = []
    for name, title in (("frames", "500 lean units"), ("stateful", "2,000 stateful units")):
        steps = values_of(results, name).get("climb", [])
        rows = [
            (
                f"{step['rate']:,}/s",
                f"{number(step.get('held_per_s', step['frames_per_s']))}/s",
                _ms(step["event_ms"]["p50"]),
                _ms(step["event_ms"]["p99"]),
                str(step["missing"]),
                *(f"{step['cpu_percent'].get(part, 0):.0f} %" for part in ("gateway", "broker", "rabbitmq", "generator")),
                f"{step.get('stolen_percent', 0):.0f} %",
                "; ".join(step["bottlenecks"]) or ("" if step["sustained"] else "not sustained"),
            )
            for step in steps
        ]
        head = ("offered", "frames", "p50", "p99", "missing", "gateway", "Mosquitto", "RabbitMQ", "generator", "stolen", "")
        said.append(
            f"{title}, climbed (CPU in % of a core; stolen: in % of both, by the host):\n\n{_table(head, rows)}" if rows else ""
        )
    return "\n\n".join(each for each in said if each)


def _growth(results: Mapping[str, Measured]) -> str:
    said = []
    for name, column, title in GROWTH:
        values = values_of(results, name)
        rows = values.get("rows", [])
        if rows:
            shown = [
                (
                    f"{row[column]:,}",
                    f"{cost(row):g} us",
                    _ms(row["event_ms"]["p50"]),
                    _ms(row["event_ms"]["p99"]),
                    str(row["missing"]),
                )
                for row in rows
            ]
            at_rate = f", {number(values['rate'])} frames/s" if "rate" in values else ""
            said.append(f"{title}{at_rate}:\n\n" + _table((column, "gateway CPU per frame", "p50", "p99", "missing"), shown))
    journal = values_of(results, "growth_journal").get("rows", [])
    if journal:
        shown_rows = [(f"{row['journal']:,}", f"{row['unit_us']:g} us") for row in journal]
        said.append("A unit's journal:\n\n" + _table(("frames waiting", "unit CPU per report"), shown_rows))
    return "\n\n".join(said)


def _batched(results: Mapping[str, Measured]) -> str:
    values = values_of(results, "batched")
    if not values:
        return ""
    rows = [
        (
            str(row["batch"]),
            f"{number(row['frames_per_s'])}/s",
            f"{number(row['events_per_s'])}/s",
            _ms(row["event_ms"]["p50"]),
            _ms(row["event_ms"]["p99"]),
            str(row["missing"]),
            *(f"{row['cpu_us_per_event'].get(part, 0):g} us" for part in PARTS),
        )
        for row in values["rows"]
    ]
    head = ("frames a payload", "frames", "events", "p50", "p99", "missing", *PARTS.values())
    return (
        f"Several frames in a payload, {number(values['rate'])} frames/s of 500 lean units (CPU per event).\n"
        "No goal is measured so: a frame waits in its unit until the payload is full, and that wait is in its latency.\n\n"
        + _table(head, rows)
    )


def _peers(results: Mapping[str, Measured]) -> str:
    peers, frames = values_of(results, "peers"), values_of(results, "frames")
    if not peers:
        return ""
    rows = [
        (
            f"stock aiomqtt + aio-pika{held}",
            f"{row['offered']:,}/s",
            f"{number(row['frames_per_s'])}/s",
            _ms(row["p99_ms"]),
            f"{row['cpu_us']:g} us",
        )
        for held, kind in (("", "rows"), (", 60 s", "holds"))
        for row in peers.get(kind, ())
    ]
    rows += [
        (
            f"teleloop{held}",
            f"{step['rate']:,}/s",
            f"{number(step.get('held_per_s', step['frames_per_s']))}/s",
            _ms(step["event_ms"]["p99"]),
            f"{_costs(step)} us",
        )
        for held, kind in (("", "climb"), (", 60 s", "holds"))
        for step in frames.get(kind, ())
    ]
    return (
        _table(("gateway", "offered", "frames", "p99", "its CPU per frame"), rows)
        + f"\n\nOf the stock gateway {number(peers['best_frames_per_s'])} frames/s came through at most, however late. "
        "It checks no seal, keeps no state, notices no repeat, and acknowledges before RabbitMQ has confirmed. More, with the "
        "ThingsBoard IoT gateway and Locust: [bench/peers](../bench/peers/README.md)."
    )


def _costs(step: Mapping[str, Any]) -> str:
    return f"{step['cpu_us_per_frame'].get('gateway', 0):g}"


def _charts(results: Mapping[str, Measured]) -> dict[str, str]:
    charts: dict[str, str] = {}
    frames = values_of(results, "frames")
    if frames.get("climb"):
        parts = ("gateway", "broker", "rabbitmq", "generator", "consumer")
        steps = frames["climb"]
        lines = [Line(part, [(step["rate"], step["cpu_percent"].get(part)) for step in steps]) for part in parts]
        charts["cpu-by-rate"] = line_chart("CPU by rate", lines, x_label="frames/s", y_label="% core")
        latency = [Line(at, [(step["rate"], step["event_ms"][at]) for step in steps]) for at in ("p50", "p99")]
        charts["latency-by-rate"] = line_chart(
            "Latency by rate", latency, x_label="frames/s", y_label="ms", log_y=True, limit=100.0
        )
    if frames.get("gateway_stages_s"):
        bars = sorted(frames["gateway_stages_s"].items(), key=lambda each: -each[1])
        charts["gateway-stages"] = bar_chart("Where the gateway's loop spends a minute", bars, unit="s")
    for name, column, _ in GROWTH:
        rows = values_of(results, name).get("rows", [])
        if rows:
            line = Line("gateway", [(row[column], cost(row)) for row in rows])
            charts[name.replace("_", "-")] = line_chart(
                f"Gateway CPU per frame by {column}", [line], x_label=column, y_label="us", log_x=True
            )
    journal = values_of(results, "growth_journal").get("rows", [])
    if journal:
        line = Line("unit", [(row["journal"], row["unit_us"]) for row in journal])
        charts["growth-journal"] = line_chart(
            "Unit CPU per report by frames waiting", [line], x_label="frames", y_label="us", log_x=True
        )
    return charts


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"
