"""The goals of docs/performance.md, and whether the results reach them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.results import Measured


def values_of(results: Mapping[str, Measured], name: str) -> dict[str, Any]:
    """What a measurement found; nothing, where it is not there."""
    measured = results.get(name)
    return {} if measured is None else measured.values


def figures(results: Mapping[str, Measured]) -> Sequence[tuple[str, str, str, str, str]]:
    """Each goal: what, what must be reached, what is aimed at, what was measured, the verdict."""
    frames, stateful, ceiling = (values_of(results, name) for name in ("frames", "stateful", "ceiling"))
    peers, simulator, commands = (values_of(results, name) for name in ("peers", "simulator", "commands"))
    connects = values_of(results, "connects")
    if not _did_its_work(simulator):
        simulator = {}
    best, held = (frames.get("rate"), frames.get("held_per_s")) if frames.get("sustained") else (None, None)
    return [
        _figure(
            "frames in to confirmed events a consumer has, 60 s, lost 0, p99 <= 100 ms",
            "4,000/s",
            "7,500/s",
            best,
            4_000,
            7_500,
            "/s",
        ),
        _figure("p99 at that rate", "100 ms", "25 ms", frames.get("event_ms", {}).get("p99"), 100, 25, " ms", less=True),
        _figure(
            "the same with 2,000 stateful units, 60 s",
            "2,500/s",
            "4,000/s",
            stateful.get("rate") if stateful.get("sustained") else None,
            2_500,
            4_000,
            "/s",
        ),
        _figure(
            "share of RabbitMQ's own ceiling, both as fast as they go, lost 0",
            "0.6",
            "0.9",
            None if ceiling.get("missing") else ceiling.get("share"),
            0.6,
            0.9,
            "",
        ),
        _figure(
            "... of what comes within 100 ms for 60 s",
            "0.6",
            "0.9",
            _ratio(held, ceiling.get("confirmed_per_s")),
            0.6,
            0.9,
            "",
        ),
        _figure(
            "ratio to the stock gateway, both within 100 ms for 60 s",
            "2.5 x",
            "4 x",
            _ratio(held, peers.get("sustained_frames_per_s")),
            2.5,
            4,
            " x",
        ),
        _figure(
            "gateway CPU per event",
            "100 us",
            "50 us",
            frames.get("cpu_us_per_event", {}).get("gateway"),
            100,
            50,
            " us",
            less=True,
        ),
        _figure(
            "5,000 units at 1 frame/s: memory of the simulator",
            "350 MB",
            "249 MB",
            _mb(simulator.get("rss_mib")),
            350,
            249,
            " MB",
            less=True,
        ),
        _figure("... and its CPU", "0.8 core", "0.42 core", simulator.get("cores"), 0.8, 0.42, " core", less=True),
        _figure(
            "connects per second, 5,000 units, password checked",
            "500/s",
            "1,200/s",
            connects.get("connects_per_s"),
            500,
            1_200,
            "/s",
        ),
        _figure(
            "command there and back at 300/s, p99",
            "150 ms",
            "60 ms",
            commands.get("command_ms", {}).get("p99"),
            150,
            60,
            " ms",
            less=True,
        ),
        _figure(
            "cost per frame, 5,000 units against 10, at 150 frames/s",
            "1.4 x",
            "1.15 x",
            spread(results, "growth_units"),
            1.4,
            1.15,
            " x",
            less=True,
        ),
        _figure(
            "... 5,000 units against 100, at 800 frames/s",
            "1.4 x",
            "1.15 x",
            spread(results, "growth_units_busy"),
            1.4,
            1.15,
            " x",
            less=True,
        ),
        _figure(
            "cost per frame, 64 models against 1",
            "1.4 x",
            "1.15 x",
            spread(results, "growth_models"),
            1.4,
            1.15,
            " x",
            less=True,
        ),
    ]


def _did_its_work(simulator: Mapping[str, Any]) -> bool:
    """Whether all units were online and said what they should: what a part of them costs is no figure."""
    units = simulator.get("units", 0)
    return bool(units) and min(simulator.get("online", 0), simulator.get("frames_per_s", 0)) >= 0.95 * units


def _figure(
    what: str, must: str, aim: str, value: float | None, must_value: float, aim_value: float, unit: str, less: bool = False
) -> tuple[str, str, str, str, str]:
    if value is None:
        return what, must, aim, "not reached", ""
    reaches: Callable[[float], bool] = (lambda limit: value <= limit) if less else (lambda limit: value >= limit)
    verdict = "aim reached" if reaches(aim_value) else "reached" if reaches(must_value) else "**missed**"
    return what, must, aim, f"{number(value)}{unit}", verdict


def _ratio(value: float | None, of: float | None) -> float | None:
    return round(value / of, 2) if value and of else None


def _mb(mebibytes: float | None) -> float | None:
    return None if mebibytes is None else round(mebibytes * 1.048576, 0)


def cost(row: Mapping[str, Any]) -> float:
    """Microseconds of the gateway's CPU per frame."""
    return float(row["cpu_us_per_frame"].get("gateway", 0.0))


def spread(results: Mapping[str, Measured], name: str) -> float | None:
    """How many times the last row's cost is the first one's."""
    rows = values_of(results, name).get("rows", [])
    return _ratio(cost(rows[-1]), cost(rows[0])) if len(rows) > 1 else None


def number(value: float) -> str:
    """As the page shows it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:g}"
