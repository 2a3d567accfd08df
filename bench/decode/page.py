"""docs/decode-speed.md and its chart, written from what a run left in bench/decode/results.json."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.decode.chart import chart

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "decode" / "results.json"
NIGHTS = ROOT / "bench" / "decode" / "nights.json"
PAGE = ROOT / "docs" / "decode-speed.md"
CHART = ROOT / "docs" / "decode-speed.svg"
MADE = "<!-- written by python -m bench.decode --write: edit bench/decode/page.py and page.head.md -->"
HEAD = Path(__file__).with_name("page.head.md")
COMMAND = "python -m bench.decode --write"


class Goal(NamedTuple):
    """A ratio, and what is wanted of it. `at_most`: less is better."""

    text: str
    key: str
    must: float
    aim: float
    at_most: bool = False

    def verdict(self, value: float | None) -> str:
        """What was reached, in a word."""
        if value is None:
            return "not measured"
        reached = [value <= wanted if self.at_most else value >= wanted for wanted in (self.aim, self.must)]
        return "aim reached" if reached[0] else "reached" if reached[1] else "**missed**"


OUT, IN = "CloudBoxx, seal left out", "CloudBoxx, sealed"
GOALS = (
    Goal(f"decoding with CRC against construct: {OUT}", "vs_construct_cloudboxx", 1000, 4000),
    Goal(f"decoding with CRC against construct: {IN}", "vs_construct_sealed", 1000, 4000),
    Goal("decoding with CRC against construct: Teltonika 8E", "vs_construct_teltonika", 1000, 4000),
    Goal("decoding with check character against construct: GB/T 32960", "vs_construct_gbt32960", 1000, 4000),
    Goal(f"against structs kept, into a dict: {OUT}", "vs_struct_cloudboxx", 80, 180),
    Goal(f"against structs kept, into a dict: {IN}", "vs_struct_sealed", 80, 180),
    Goal("against structs kept, into a dict: Teltonika 8E", "vs_struct_teltonika", 50, 100),
    Goal("against structs kept, into a dict: GB/T 32960", "vs_struct_gbt32960", 50, 100),
    Goal(f"kernel against the C limit, largest batch: {OUT}", "vs_c_limit_cloudboxx", 0.5, 0.85),
    Goal(f"kernel against the C limit, 256 frames: {OUT}", "vs_c_limit_cloudboxx_256", 0.5, 0.85),
    Goal("kernel against the C limit, largest batch: Teltonika 8E", "vs_c_limit_teltonika", 0.5, 0.85),
    Goal("kernel against the C limit, largest batch: GB/T 32960", "vs_c_limit_gbt32960", 0.5, 0.85),
    Goal(f"64 layouts, times slower than one: {OUT}", "layouts_64_vs_1_cloudboxx", 1.3, 1.1, True),
    Goal("64 layouts, times slower than one: Teltonika 8E", "layouts_64_vs_1_teltonika", 1.3, 1.1, True),
    Goal("64 layouts, times slower than one: GB/T 32960", "layouts_64_vs_1_gbt32960", 1.3, 1.1, True),
    Goal(f"frame to JSON of what changed, against construct: {OUT}", "json_vs_construct", 400, 900),
    Goal(f"frame to JSON of what changed, against construct: {IN}", "json_vs_construct_sealed", 400, 900),
    Goal(f"the same against the best in pure Python: {OUT}", "json_vs_best_python", 25, 60),
    Goal(f"the same against the best in pure Python: {IN}", "json_vs_best_python_sealed", 25, 60),
    Goal("frame to JSON of what changed, against construct: Teltonika 8E", "json_vs_construct_teltonika", 400, 900),
    Goal("the same against the best in pure Python: Teltonika 8E", "json_vs_best_python_teltonika", 25, 60),
    Goal(f"one frame to its change records, µs: {OUT}", "single_frame_us", 2, 0.5, True),
    Goal(f"numpy against structs kept, 4,096 frames: {OUT}", "numpy_vs_struct", 4, 8),
    Goal(f"building frames, against construct: {OUT}", "build_vs_construct_cloudboxx", 50, 50),
    Goal("building frames, against construct: Teltonika 8E", "build_vs_construct_teltonika", 50, 50),
    Goal("building frames, against construct: GB/T 32960", "build_vs_construct_gbt32960", 50, 50),
)


def rates(document: Mapping[str, Any]) -> dict[tuple[str, str, int, int], float]:
    """The rates of a run by decoder, protocol, batch and layouts."""
    return {(row["decoder"], row["protocol"], row["batch"], row["layouts"]): row["frames_per_s"] for row in document["rows"]}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _goals(ratios: Mapping[str, float | None]) -> Iterator[str]:
    yield "| ratio | must | aim | reached | |"
    yield "|---|---|---|---|---|"
    for goal in GOALS:
        value = ratios.get(goal.key)
        less = "<= " if goal.at_most else ""
        yield f"| {goal.text} | {less}{goal.must:,g} | {less}{goal.aim:,g} | {_number(value)} | {goal.verdict(value)} |"


def _rows(document: Mapping[str, Any]) -> Iterator[str]:
    """Every row of the run: a line for each decoder, batch and protocol, a column for each number of layouts."""
    found = rates(document)
    layouts = sorted({key[3] for key in found})
    yield "| protocol | decoder | batch | " + " | ".join(f"{each} layout{'s' if each > 1 else ''}" for each in layouts) + " |"
    yield "|---|---|---|" + "---|" * len(layouts)
    for name, protocol, batch in dict.fromkeys((key[1], key[0], key[2]) for key in found):
        said = (_number(found.get((protocol, name, batch, each))) for each in layouts)
        yield f"| {name} | {protocol} | {batch:,} | " + " | ".join(said) + " |"


def _nights(nights: list[Mapping[str, str]]) -> Iterator[str]:
    yield "| promise | command | result |"
    yield "|---|---|---|"
    for each in nights:
        yield f"| {each['promise']} | `{each['command']}` | {each['result']} |"


def page(document: Mapping[str, Any], nights: list[Mapping[str, str]]) -> str:
    """The whole page."""
    lines = [MADE, HEAD.read_text().rstrip(), "", "## Measured", "", "![Reports a second and core](decode-speed.svg)", ""]
    lines += [f"`{COMMAND}` measures anew and writes this page, the chart and `bench/decode/results.json`.", ""]
    lines += [f"This run: {document['machine']}, {document['measured_at']}, load average {document['load']} at its start.", ""]
    lines += ["### Goals", "", *_goals(document["ratios"]), ""]
    lines += ["### Reports a second and core", "", *_rows(document), ""]
    if document["absent"]:
        lines += [f"Not installed in this run, so without a row: {', '.join(document['absent'])}.", ""]
    lines += ["### Promises of the night", "", *_nights(nights), ""]
    return "\n".join(lines)


def written() -> dict[Path, str]:
    """The page and the chart that the kept results ask for."""
    document, nights = json.loads(RESULTS.read_text()), json.loads(NIGHTS.read_text())
    return {PAGE: page(document, nights), CHART: chart(rates(document))}


def write(document: Mapping[str, Any]) -> None:
    """Keep a run's results, and write what follows from them."""
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    for path, text in written().items():
        path.write_text(text)
