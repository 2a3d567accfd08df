"""`python -m bench.decode`: one table, every decoder beside every other in one process, by thread CPU time."""

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.decode.chart import chart
from bench.decode.climit import CLimit
from bench.decode.frames import FRAMES, SPEAKER, UNITS_PER_FRAME
from bench.decode.page import rates, write
from bench.decode.pipelines import BRANDS, Staged, few_of, pipelines
from bench.decode.rivals import rivals
from bench.decode.timing import interleaved
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.kernels import native

BATCHES, LAYOUTS, MODELS = (1, 16, 256, 4096), (1, 8, 64), (1, 64)
SLOW = 48
"""Frames that decoders are given that take more than a microsecond each."""
PACKETS = 512
"""Teltonika's largest batch: packets, each of several records."""
NEAR = 256
"""Frames that fit with their rows into the second cache of any processor."""
LEAST_SHOWN_S = 1e-9


@dataclass(frozen=True)
class Row:
    """One decoder's rate; a Teltonika packet counts as its records."""

    decoder: str
    protocol: str
    batch: int
    layouts: int
    frames_per_s: float


@dataclass
class Report:
    """What was measured, and what follows from it."""

    machine: str
    measured_at: str = ""
    load: float = 0.0
    absent: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    ratios: dict[str, float | None] = field(default_factory=dict)

    def add(self, name: str, protocol: str, batch: int, layouts: int, seconds: float) -> None:
        self.rows.append(Row(name, protocol, batch, layouts, 1 / max(seconds, LEAST_SHOWN_S)))

    def rate(self, name: str, protocol: str, batch: int | None = None, layouts: int = 1) -> float | None:
        found = [
            row.frames_per_s
            for row in self.rows
            if (row.decoder, row.protocol, row.layouts) == (name, protocol, layouts) and batch in (None, row.batch)
        ]
        return found[0] if found else None


def absent() -> list[str]:
    """The rivals from PyPI that are not installed: `pip install -e '.[bench]'` installs them."""
    wanted = {"bitstruct": "bitstruct", "kaitai": "kaitaistruct", "codecs-protocol": "codecs_protocol", "rtm_con": "rtm_con"}
    return [name for name, module in wanted.items() if find_spec(module) is None]


def _decoders(binding: Any, frames: list[bytes]) -> dict[str, Decoder]:
    made = {"ours in numpy": Decoder(binding, path="numpy", trusting=True)}
    if native is not None:
        made["ours"] = Decoder(binding, path="c", trusting=True)
    for decoder in made.values():
        decoder.keyring.add(SPEAKER)
        for _ in range(4):
            decoder.decode(frames)
    return made


def _one_protocol(report: Report, name: str, rounds: int) -> None:
    binding, units = BINDINGS[name], UNITS_PER_FRAME.get(name, 1)
    for layouts in LAYOUTS:
        frames = FRAMES[name](PACKETS if name in UNITS_PER_FRAME else max(BATCHES), layouts)
        cases: dict[str, Any] = {}
        meant: dict[str, tuple[str, int, int]] = {}
        for which, decoder in _decoders(binding, frames).items():
            for batch in sorted({min(batch, len(frames)) for batch in BATCHES}):
                part = frames[:batch]
                variants = {which: lambda decoder=decoder, part=part: decoder.decode(part)}
                if binding.protocol.sealed:
                    who = np.zeros(batch, np.int32)
                    sealed = lambda decoder=decoder, part=part, who=who: decoder.decode(part, who)  # noqa: E731
                    variants = {f"{which}, seal left out": variants[which], f"{which}, sealed": sealed}
                for label, case in variants.items():
                    cases[f"{label} {batch}"], meant[f"{label} {batch}"] = case, (label, batch, batch)
            if which == "ours":
                kernel = kernel_walk(decoder, frames)
                cases["kernel"], meant["kernel"] = kernel, ("ours, kernel alone", len(frames), len(frames))
                rows = decoder.walk(frames)
                build = lambda decoder=decoder, rows=rows: decoder.build(rows.data, rows.plans, rows.starts)  # noqa: E731
                cases["build"], meant["build"] = build, ("ours, building, seal left out", len(frames), len(frames))
        few = frames[:SLOW]
        for label, decode in rivals(binding.protocol).items():
            cases[label], meant[label] = (lambda decode=decode, few=few: [decode(frame) for frame in few]), (label, 1, len(few))
        heard = [binding.protocol.decode(frame) for frame in few]
        building = lambda heard=heard: [binding.protocol.encode(frame) for frame in heard]  # noqa: E731
        cases["construct, building"], meant["construct, building"] = building, ("construct, building", 1, len(few))
        for label, seconds in interleaved(cases, rounds).items():
            decoder_name, batch, count = meant[label]
            report.add(decoder_name, name, batch, layouts, seconds / count / units)
        if layouts == 1 and CLimit.available() and native is not None:
            _limit(report, name, frames, units)
            _limit(report, name, frames[:NEAR], units, f"_{NEAR}")
    if native is not None:
        _many_layouts(report, name)


def kernel_walk(decoder: Decoder, frames: list[bytes]) -> Any:
    """The kernel's walk over a list with its arrays at hand: what the C limit is to be compared with."""
    form, table = decoder.binding.form, decoder.table
    room = table.room(frames)
    rows, ids, status = form.empty(room), np.empty(room, np.int32), np.empty(len(frames), np.uint8)
    starts = np.empty(len(frames) + 1, np.uint32) if decoder.binding.framing.parts else None
    return lambda: table.walk(frames, rows, status, ids, starts)


def _limit(report: Report, name: str, frames: list[bytes], units: int, suffix: str = "") -> None:
    """The limit and our kernel in turns: what else the machine does hits both. Few frames stay in the caches, many do not."""
    decoder = Decoder(BINDINGS[name], path="c", trusting=True)
    decoder.decode(frames)
    plan = decoder.known[int(decoder.walk(frames).plans[0])]
    assert plan is not None
    limit, kernel, shares, times = CLimit(BINDINGS[name], plan, frames, units), kernel_walk(decoder, frames), [], []
    for _ in range(7):
        at_best = limit.seconds()
        shares.append(at_best / interleaved({"kernel": kernel}, 5)["kernel"])
        times.append(at_best)
    report.add("C limit", name, len(frames), 1, median(times) / len(frames) / units)
    report.ratios[f"vs_c_limit_{name}{suffix}"] = median(shares)


def _many_layouts(report: Report, name: str) -> None:
    """The walk over frames of one layout and of 64, in turns: slow moments of the machine last longer than a case."""
    size = PACKETS if name in UNITS_PER_FRAME else max(BATCHES)
    walks, ratios = {}, []
    for layouts in (1, max(LAYOUTS)):
        decoder, frames = Decoder(BINDINGS[name], path="c", trusting=True), FRAMES[name](size, layouts)
        for _ in range(4):
            decoder.decode(frames)
        walks[str(layouts)] = (decoder, frames)
    for _ in range(9):
        # With room of its own each time: where that lies in the caches is worth up to a tenth.
        one, many = interleaved({layouts: kernel_walk(*walk) for layouts, walk in walks.items()}, 5).values()
        ratios.append(many / one)
    report.ratios[f"layouts_64_vs_1_{name}"] = median(ratios)


def _two(protocol: str, size: int) -> list[list[bytes]]:
    """Two sets of so many frames of one layout."""
    frames = FRAMES[protocol](2 * size, 1)
    return [frames[:size], frames[size:]]


def _pipelines(report: Report, rounds: int) -> None:
    said = (
        ("cloudboxx", "", "ours to JSON lines, seal left out"),
        ("cloudboxx", "_sealed", "ours to JSON lines, sealed"),
        ("teltonika", "_teltonika", "ours to JSON lines"),
    )
    for protocol, models in product(BRANDS, MODELS):
        units = UNITS_PER_FRAME.get(protocol, 1)
        size, few = PACKETS if units > 1 else max(BATCHES), few_of(protocol)
        timed = interleaved(pipelines(protocol, _two(protocol, size), models), rounds)
        for label, seconds in timed.items():
            count = size if label.startswith("ours") else few
            named = f"{label}, {models} model{'s' if models > 1 else ''}"
            report.add(named, protocol, size if count > few else 1, 1, seconds / count / units)
        for suffix, label in ((suffix, label) for of, suffix, label in said if of == protocol and models == 1):
            ours = timed[label] / size
            report.ratios[f"json_vs_construct{suffix}"] = timed["construct, rules, json"] / few / ours
            report.ratios[f"json_vs_best_python{suffix}"] = timed["struct, rules, json"] / few / ours
    one = Staged("cloudboxx", _two("cloudboxx", 1), 1)
    report.ratios["single_frame_us"] = interleaved({"one": one.one_call}, rounds)["one"] * 1e6


def _ratios(report: Report) -> None:
    def over(name: str, other: str, protocol: str, batch: int, layouts: int = 1) -> float | None:
        ours, theirs = report.rate(name, protocol, batch, layouts), report.rate(other, protocol)
        return ours / theirs if ours and theirs else None

    for protocol in FRAMES:
        batch = PACKETS if protocol in UNITS_PER_FRAME else 4096
        label = "ours, seal left out" if BINDINGS[protocol].protocol.sealed else "ours"
        for rival, key in (("construct", "vs_construct"), ("struct dict", "vs_struct")):
            report.ratios[f"{key}_{protocol}"] = over(label, rival, protocol, batch)
        report.ratios[f"build_vs_construct_{protocol}"] = over(
            "ours, building, seal left out", "construct, building", protocol, batch
        )
    report.ratios["vs_construct_sealed"] = over("ours, sealed", "construct", "cloudboxx", 4096)
    report.ratios["vs_struct_sealed"] = over("ours, sealed", "struct dict", "cloudboxx", 4096)
    numpy_label = "ours in numpy, seal left out"
    report.ratios["numpy_vs_struct"] = over(numpy_label, "struct dict", "cloudboxx", 4096)
    for key in ("vs_construct", "vs_struct", "vs_c_limit", "layouts_64_vs_1"):
        report.ratios[key] = report.ratios.get(f"{key}_cloudboxx")


def _shown(report: Report, console: Console) -> None:
    table = Table("decoder", "protocol", "batch", "layouts", "reports/s", title=report.machine)
    for row in report.rows:
        table.add_row(row.decoder, row.protocol, str(row.batch), str(row.layouts), f"{row.frames_per_s:,.0f}")
    console.print(table)
    for name, value in report.ratios.items():
        console.print(f"{name:32} {'-' if value is None else f'{value:,.2f}'}")


def main(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each case takes its turn.")] = 5,
    writes: Annotated[bool, typer.Option("--write", help="Write docs/decode-speed.md, its chart and the results file.")] = False,
    svg: Annotated[Path | None, typer.Option("--chart", help="Write a chart (SVG) here.")] = None,
) -> None:
    """Measure all decoders. Example: python -m bench.decode --write"""
    report = Report(
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}",
        datetime.now(UTC).strftime("%Y-%m-%d"),
        round(os.getloadavg()[0], 1),
        absent(),
    )
    for name in FRAMES:
        print(f"measuring {name} ...", file=sys.stderr)
        _one_protocol(report, name, rounds)
    print("measuring frame to JSON ...", file=sys.stderr)
    _pipelines(report, rounds)
    _ratios(report)
    if svg is not None:
        svg.write_text(chart(rates(asdict(report))))
    if writes:
        write(asdict(report))
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        _shown(report, Console(markup=False, emoji=False))


if __name__ == "__main__":
    typer.run(main)
