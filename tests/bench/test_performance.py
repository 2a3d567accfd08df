"""docs/performance.md says what the result files say, also where a figure was missed."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import modeldb
from bench.meters import Meters, read
from bench.meters import stolen as stolen_ticks
from bench.more_models import more_models
from bench.peers.compare import Hold, Row, held_per_s
from bench.performance import PAGE, known
from bench.performance_page import write_page
from bench.results import Measured


def measured(name: str, **values: Any) -> Measured:
    machine: dict[str, str | int] = {
        "processor": "a processor",
        "cores": 2,
        "memory_mib": 4096,
        "system": "Linux",
        "python": "3.11",
    }
    return Measured(name=name, what="", at="2026-01-01T00:00:00+00:00", machine=machine, load_average=0.5, values=values)


def run(rate: float, p99: float, gateway_us: float) -> dict[str, Any]:
    return {
        "rate": rate, "sustained": p99 <= 100, "frames_per_s": rate, "events_per_s": rate, "event_ms": {"p50": 1.0, "p99": p99},
        "missing": 0, "cpu_percent": {"gateway": 50.0}, "cpu_us_per_frame": {"gateway": gateway_us}, "bottlenecks": [],
        "cpu_us_per_event": {"gateway": gateway_us},
    }  # fmt: skip


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    assert write_page(PAGE, known(), only_compare=True), "run `python -m bench.report docs`"


def test_reached_and_missed_figures_are_said_as_they_are(tmp_path: Path) -> None:
    results = {
        "frames": measured(
            "frames",
            held_per_s=4_000.0,
            climb=[run(4_000, 20.0, 40.0), run(8_000, 900.0, 60.0) | {"stolen_percent": 7.1}],
            **run(4_000, 20.0, 120.0),
        ),
        "ceiling": measured(
            "ceiling",
            confirmed_per_s=10_000.0,
            through_per_s=7_000.0,
            anywhere_per_s=11_000.0,
            share=0.7,
            missing=0,
            turn_s=6.0,
            turns=[{"share": share} for share in (0.62, 0.7, 0.81)],
        ),
        "growth_units_busy": measured(
            "growth_units_busy", rows=[{"units": 100, **run(1, 1.0, 100.0)}, {"units": 5_000, **run(1, 1.0, 150.0)}]
        ),
        "growth_units": measured(
            "growth_units", rows=[{"units": 10, **run(1, 1.0, 100.0)}, {"units": 5_000, **run(1, 1.0, 130.0)}]
        ),
    }
    page = tmp_path / "page.md"
    write_page(page, results)
    rows = {line.split(" | ")[0].strip("| "): line for line in page.read_text().splitlines() if line.startswith("|")}
    assert "| 20 ms | aim reached |" in rows["p99 at that rate"]
    assert "| 4,000/s | reached |" in rows["frames in to confirmed events a consumer has, 60 s, lost 0, p99 <= 100 ms"]
    assert "| 7 % |" in next(line for line in page.read_text().splitlines() if line.startswith("| 8,000/s"))
    assert "| 120 us | **missed** |" in rows["gateway CPU per event"]
    assert "| 1.3 x | reached |" in rows["cost per frame, 5,000 units against 10, at 150 frames/s"]
    assert "| 1.5 x | **missed** |" in rows["... 5,000 units against 100, at 800 frames/s"]
    assert "| 0.7 | reached |" in rows["share of RabbitMQ's own ceiling, both as fast as they go, lost 0"]
    assert "| 0.4 | **missed** |" in rows["... of what comes within 100 ms for 60 s"]
    assert "3 turns of 6 s each the middle ones, shares from 0.62 to 0.81" in page.read_text()
    assert "RabbitMQ alone does 11,000 messages/s" in page.read_text()
    assert "not reached" in rows["ratio to the stock gateway, both within 100 ms for 60 s"]
    assert write_page(page, results, only_compare=True)
    page.write_text(page.read_text().replace("120 us", "12 us"))
    assert not write_page(page, results, only_compare=True)
    results["ceiling"].values["missing"] = 1
    write_page(page, results)
    assert "both as fast as they go, lost 0 | 0.6 | 0.9 | not reached" in page.read_text()
    for chart in (tmp_path / "performance").glob("*.svg"):
        ElementTree.parse(chart)


def test_meters_see_a_process_and_its_children() -> None:
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with subprocess.Popen([sys.executable, "-c", work], start_new_session=True) as process:
        try:
            meters = Meters({"busy": process.pid})
            cpu_s = 0.0
            for _ in range(100):
                meters.find()
                cpu_s = meters.look()["busy"].cpu_s
                if cpu_s > read([process.pid]).cpu_s + 0.1:
                    break
                process.poll()
                subprocess.run(["sleep", "0.1"], check=True)
            assert cpu_s > read([process.pid]).cpu_s + 0.1
        finally:
            import os
            import signal

            os.killpg(process.pid, signal.SIGKILL)


def test_there_are_as_many_models_as_are_wanted_and_each_translates(tmp_path: Path) -> None:
    before = modeldb.load().available("CLOUDBOXX")
    with more_models(tmp_path, "CLOUDBOXX", 64):
        models = modeldb.load().available("CLOUDBOXX")
        assert len(models) == len({model.id for model in models}) == 64
        assert {model.id for model in before} < {model.id for model in models}
        assert all(model.units["CLOUDBOXX"].rules for model in models)
    assert modeldb.load().available("CLOUDBOXX") == before


def test_only_the_seconds_in_which_the_rate_was_offered_count_as_held() -> None:
    seconds = [(1.0, 500.0, 480), (2.5, 1_000.0, 700), (4.0, 1_000.0, 990), (5.0, 1_000.0, 1_020), (6.0, 0.0, 300)]
    result: Any = SimpleNamespace(series=[SimpleNamespace(at_s=at, offered=of, reports=n) for at, of, n in seconds])
    assert held_per_s(result, 1_000.0) == 1_005.0


def test_a_stock_gateway_passes_a_hold_within_the_limit_and_only_if_it_kept_up() -> None:
    hold = Hold(60.0, 100.0, 3)

    def row(p99_ms: float | None, kept_up: bool) -> Row:
        costs = {"cpu_us": 1.0, "broker_cpu_us": 1.0, "rabbitmq_cpu_us": 1.0, "missing": 0, "p50_ms": 1.0}
        return Row(subject="stock", offered=1_000, frames_per_s=1_000.0, p99_ms=p99_ms, kept_up=kept_up, **costs)  # type: ignore[arg-type]

    assert [hold.passes(row(*said)) for said in ((100.0, True), (100.1, True), (50.0, False), (None, True))] == [True] + 3 * [
        False
    ]


def test_time_that_the_host_takes_is_a_part_of_all_time() -> None:
    (stolen, ticks), (later_stolen, later_ticks) = stolen_ticks(), stolen_ticks()
    assert 0 <= stolen <= later_stolen <= later_ticks
    assert 0 < ticks <= later_ticks


def test_what_a_part_of_the_units_costs_is_no_figure(tmp_path: Path):
    all_of_them = {"units": 5_000, "online": 5_000.0, "rss_mib": 200.0, "cores": 0.5, "frames_per_s": 4_990.0}
    for cost, shown in ((all_of_them, "0.5 core"), (all_of_them | {"online": 2_400.0}, "not reached")):
        page = tmp_path / "performance.md"
        write_page(page, {"simulator": measured("simulator", **cost)})
        (line,) = (line for line in page.read_text().splitlines() if "and its CPU" in line)
        assert line.split("|")[4].strip() == shown
