"""Scenarios: who, where, when, what goes wrong and what must be true, as TOML. docs/scenarios.md is the manual.

    scenario = load(Path("tunnel.toml"))      # raises ScenarioError with the line of each thing that is wrong

This is the file and its check; `bench.scenario` runs it.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import modeldb
from devices.config import Intervals
from devices.faults import Fault, parse
from devices.line import LINES, Circle, Hole, LineModel, Outage, Polygon, Stretch, line_named
from devices.routefile import RouteFileError, read_ways
from devices.scenario_units import Problems, Reader, is_number, is_place, seconds
from devices.scenario_when import Trigger, read_trigger
from devices.toml_lines import lines_of
from modeldb.brand import Brand
from modeldb.model import VehicleModel
from modeldb.vocabulary import PROPERTIES
from protocols.envelope import COMMAND_CODES

LIVES: Final = ("still", "moving", "shared")
VERBS: Final = (
    "drive", "park", "command", "fob", "cut", "mend", "fault", "cure", "wait", "set", "open", "shut", "ignite", "archive",
    "restore", "restart", "broker_down",
)  # fmt: skip
STEP_KEYS: Final = (*VERBS, "at", "when", "who", "status", "reason", "kmh", "timeout", "meanwhile")
EXPECTATIONS: Final = (
    "trips", "gap", "state", "event", "order", "refused", "repeated", "contested", "late", "life", "executed", "lost",
    "different", "restarts",
)  # fmt: skip
EXPECT_KEYS: Final = (*EXPECTATIONS, "who", "count", "at_least", "at_most", "within", "to", "clock_bounded")
GAPS: Final = ("late and in order",)
LIFE: Final = ("ONLINE", "OFFLINE")
RESTARTS: Final = ("power", "watchdog", "brown_out")
REFUSALS: Final = (
    "unknown_unit", "archived", "identity_mismatch", "bad_credentials", "forbidden_topic", "oversized", "truncated", "bad_sync",
    "bad_checksum", "bad_length", "malformed", "unsupported", "forged", "expired", "throttled",
)  # fmt: skip


MOST_VEHICLES: Final = 10_000

USUAL_RHYTHM: Final = Intervals(driving_s=5, parked_s=60, heartbeat_s=300)


class ScenarioError(ValueError):
    """The file is no scenario: every problem on a line of its own, with the line of the file."""


@dataclass(frozen=True, slots=True)
class Group:
    """Vehicles that are alike. `life` is what they do by themselves; `route` a file with the way that `drive` follows."""

    name: str
    brand: Brand
    model: VehicleModel
    count: int = 1
    life: str = "still"
    route: Path | None = None
    start: tuple[float, float] | None = None
    line: LineModel | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: `verb` with `value`, to the vehicles of `who` (none: all that have no life of their own).

    `at_s` is its moment in seconds of the run, None: when the step before has ended, or has begun if this one is `meanwhile`;
    `when` is what it waits for from then on.
    """

    verb: str
    value: Any
    line: int
    at_s: float | None = None
    who: str | None = None
    status: int | None = None
    reason: str | None = None
    kmh: float = 50.0
    timeout_s: float = 30.0
    meanwhile: bool = False
    when: Trigger | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must be true at the end, or within `within_s` of it. `said` is as the file says it."""

    kind: str
    value: Any
    line: int
    said: Mapping[str, Any] = field(default_factory=dict)
    who: str | None = None
    at_least: int = 1
    at_most: int | None = None
    to: Any = None
    within_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole one. `settle_s` passes at the end, at most, until nothing waits any more.

    `real_time`: with a gateway in a process of its own, units live as fast as it does.
    """

    title: str
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]
    name: str = ""
    seed: int = 1
    line: LineModel = LINES["perfect"]
    intervals: Intervals = USUAL_RHYTHM
    settle_s: float = 300.0
    real_time: bool = False

    @property
    def commands(self) -> bool:
        """Whether it asks for a command."""
        return any(step.verb == "command" for step in self.steps)

    @property
    def about_s(self) -> float:
        """About how long its steps take, in seconds; what vehicles do on their own way is not known before."""
        at = 0.0
        for step in self.steps:
            at = max(at, step.at_s or 0.0)
            if not step.meanwhile:
                at += _about_s(step)
        return at


def _about_s(step: Step) -> float:
    match step.verb:
        case "wait" | "broker_down":
            return float(step.value)
        case "drive":
            return float(step.value) / (step.kmh / 3.6) + 5.0
        case "park":
            return 10.0
        case _:
            return 0.0


def shipped() -> dict[str, Path]:
    """The scenarios that come with the package, by name."""
    folder = Path(str(resources.files("devices").joinpath("scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(path: Path) -> Scenario:
    """The scenario of a file, or a shipped one by its name. Raises ScenarioError."""
    path = path if path.exists() else shipped().get(str(path), path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}; shipped are {', '.join(shipped())}") from error
    return parse_scenario(text, path.stem, path.parent, str(path))


def parse_scenario(text: str, name: str = "", folder: Path = Path(), where: str = "scenario") -> Scenario:
    """The scenario that `text` says. Raises ScenarioError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else len(text.splitlines())
        raise ScenarioError(f"{where}:{line}: no TOML: {error}") from error
    problems = Problems(where, lines_of(text))
    scenario = _scenario(Reader(document, (), problems), name, folder)
    if problems.found:
        raise ScenarioError("\n".join(problems.found))
    return scenario


def _scenario(said: Reader, name: str, folder: Path) -> Scenario:
    said.only(
        "title", "seed", "real_time", "line", "holes", "outages", "vehicle", "vehicles", "intervals", "settle", "steps", "expect"
    )
    title = said.text("title", name)
    line = said.take("line", LINES["perfect"], _line)
    line = line.with_gaps(said.each("holes", _hole), said.each("outages", _outage))
    groups = tuple(said.each("vehicles", lambda each: _group(each, folder)))
    if "vehicle" in said:
        groups += (_group(said.table("vehicle"), folder),)
    if not groups and not said.get("vehicles"):
        said.wrong("a scenario has a `vehicle`, or `vehicles`")
    names = [group.name for group in groups]
    for place, each in enumerate(names):
        if each in names[:place]:
            said.wrong(f"two groups of vehicles are called {each!r}; give them a `name`", "vehicles", place)
    steps = tuple(said.each("steps", lambda each: _step(each, groups)))
    _check_steps(said, groups, steps)
    expectations = tuple(one for many in said.each("expect", lambda each: _expectations(each, groups)) for one in many)
    if not said.get("steps") and groups and all(group.life == "still" for group in groups):
        said.wrong("nothing happens: there are no `steps`, and no vehicle has a `life`")
    if not said.get("expect"):
        said.wrong("nothing is expected: `expect` says what must be true")
    _check_gaps(said, steps, expectations)
    rhythm = said.table("intervals") if "intervals" in said else Reader({}, (), said.problems)
    rhythm.only("driving", "parked", "heartbeat")
    intervals = Intervals(
        *(round(rhythm.seconds(key, usual, least=1)) for key, usual in (("driving", 5), ("parked", 60), ("heartbeat", 300)))
    )
    seed = said.whole("seed", 1, least=None)
    settle_s, real_time = said.seconds("settle", 300.0), said.flag("real_time", False)
    return Scenario(title, groups, steps, expectations, name, seed, line, intervals, settle_s, real_time)


def _line(said: Any) -> LineModel:
    return line_named(str(said))


def _hole(said: Reader) -> Hole:
    if "from_m" in said:
        said.only("from_m", "to_m")
        hole = Stretch(said.number("from_m", 0.0), said.number("to_m", 0.0))
        if hole.to_m <= hole.from_m:
            said.wrong("a hole goes from `from_m` to a `to_m` beyond it")
        return hole
    if "polygon" in said:
        said.only("polygon")
        points = said["polygon"]
        if not isinstance(points, list) or len(points) < 3 or not all(map(is_place, points)):
            said.wrong("a polygon is three or more [latitude, longitude]", "polygon")
            return Polygon(())
        return Polygon(tuple((float(each[0]), float(each[1])) for each in points))
    said.only("latitude", "longitude", "radius_m")
    if missing := [key for key in ("latitude", "longitude", "radius_m") if key not in said]:
        kinds = "`from_m` and `to_m`, a `polygon`, or `latitude`, `longitude` and `radius_m`"
        said.wrong(f"a hole is {kinds}; there is no {', no '.join(missing)}")
    return Circle(said.number("latitude", 0.0), said.number("longitude", 0.0), said.number("radius_m", 0.0))


def _outage(said: Reader) -> Outage:
    said.only("from", "to")
    outage = Outage(said.seconds("from", 0.0), said.seconds("to", 0.0))
    if outage.to_s <= outage.from_s:
        said.wrong("an outage ends after it began")
    return outage


def _group(said: Reader, folder: Path) -> Group:
    said.only("name", "brand", "model", "count", "life", "route", "start", "line", "faults")
    database = modeldb.load()
    brand = database.brands.get(said.text("brand", "CLOUDBOXX"))
    if brand is None:
        said.wrong(f"no brand is called {said['brand']!r}; there are {', '.join(database.brands)}", "brand")
        brand = database.brands["CLOUDBOXX"]
    model = _model(said, brand)
    life = said.text("life", "still")
    if life not in LIVES:
        said.wrong(f"a life is {', '.join(LIVES)}, not {life!r}", "life")
    start = said.get("start")
    if start is not None and not is_place(start):
        said.wrong("a start is [latitude, longitude], -90 to 90 and -180 to 180", "start")
        start = None
    line = said.take("line", None, _line)
    faults = tuple(fault for fault in (said.item("faults", place, parse) for place in range(said.length("faults"))) if fault)
    for place, fault in enumerate(faults):
        if not fault.suits(brand.protocol):
            said.wrong(fault.unsuited(brand.protocol), "faults", place)
    count = said.whole("count", 1, least=1)
    if count > MOST_VEHICLES:
        said.wrong(f"count is at most {MOST_VEHICLES}, not {count}: `teleloop load` is for more", "count")
        count = 1
    name = said.text("name", model.name if model else "vehicle")
    return Group(name, brand, model, count, life, _route(said, folder), tuple(start) if start else None, line, faults)


def _route(said: Reader, folder: Path) -> Path | None:
    if "route" not in said:
        return None
    path = folder / said.text("route", "")
    try:
        read_ways(path)
    except (OSError, RouteFileError) as error:
        said.wrong(f"the route {path}: {error}", "route")
    return path


def _model(said: Reader, brand: Brand) -> VehicleModel:
    known = modeldb.load().available(brand.name)
    wanted = said.text("model", "")
    found = [model for model in known if model.is_called(wanted) or model.id == wanted]
    if wanted and not found:
        close = ", ".join(sorted(model.name for model in known)[:12])
        said.wrong(f"{brand.name} has no model {wanted!r}; there are {close}, ...", "model")
    locks = [model for model in known if "lock-and-disable-driving" in model.units[brand.name].commands]
    return (found or locks or known)[-1] if found else (locks or known)[0]


def _step(said: Reader, groups: Sequence[Group]) -> Step:
    said.only(*STEP_KEYS)
    verbs = [verb for verb in VERBS if verb in said]
    if len(verbs) != 1:
        said.wrong(
            f"a step does one thing, one of {', '.join(VERBS)}" + (f"; this one does {' and '.join(verbs)}" if verbs else "")
        )
        return Step("wait", 0.0, said.line)
    verb = verbs[0]
    value = said.take(verb, None, _READ[verb])
    who = _who(said, [group.name for group in groups])
    for key, only in (("status", "command"), ("reason", "command"), ("timeout", "command"), ("kmh", "drive")):
        if key in said and verb != only:
            said.wrong(f"`{key}` belongs to a {only}", key)
    status = said.whole("status", 200, least=100) if "status" in said else 0
    if status and status not in (200, 400, 404, 409, 422, 429, 503, 504):
        said.wrong(f"a command never ends with {status}", "status")
    return Step(
        verb,
        value,
        said.line,
        said.seconds("at", 0.0) if "at" in said else None,
        who,
        (status or None) if "status" in said else (200 if verb == "command" and "reason" not in said else None),
        said.text("reason", "") or None,
        said.number("kmh", 50.0, least=1.0),
        said.seconds("timeout", 30.0, least=1),
        said.flag("meanwhile", False),
        _when(said, who, groups),
    )


def _when(said: Reader, who: str | None, groups: Sequence[Group]) -> Trigger | None:
    if "when" not in said:
        return None
    if not isinstance(said["when"], dict):
        said.wrong('`when` is a table: { driven = "1 km" }, { event = "TripStarted" }, { state = { ignition = "OFF" } }', "when")
        return None
    meant = [group for group in groups if who == group.name or (who is None and group.life == "still")]
    keys = [frozenset(group.model.units[group.brand.name].state_keys) for group in meant]
    return read_trigger(said.table("when"), _distance_m, _event, keys)


def _who(said: Reader, names: Sequence[str]) -> str | None:
    if "who" not in said:
        return None
    who = said.text("who", names[0] if names else "")
    if who not in names:
        said.wrong(f"nobody is called {who!r}; there are {', '.join(names)}", "who")
    return who


def _distance_m(said: Any) -> float:
    number, _, unit = str(said).strip().partition(" ")
    scale = {"km": 1000.0, "m": 1.0}.get(unit)
    try:
        metres = float(number) * (scale or 0)
    except ValueError:
        scale = None
    if scale is None or not 0 < metres < 1e7:
        raise ValueError(f"a distance is `3 km` or `500 m`, not {said!r}")
    return metres


def _command(said: Any) -> str:
    if not isinstance(said, str) or said not in COMMAND_CODES:
        raise ValueError(f"no command is called {said!r}; there are {', '.join(sorted(COMMAND_CODES))}")
    return str(said)


def _one_of(words: Sequence[str]) -> Callable[[Any], str]:
    def read(said: Any) -> str:
        if said not in words:
            raise ValueError(f"one of {', '.join(words)} is wanted, not {said!r}")
        return str(said)

    return read


def _true(said: Any) -> bool:
    if said is not True:
        raise ValueError(f"only `true` says anything here, not {said!r}")
    return True


def _flag(said: Any) -> bool:
    if not isinstance(said, bool):
        raise ValueError(f"true or false is wanted, not {said!r}")
    return said


def _truth(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict) or not said:
        raise ValueError("what is set is a table: { energy_percent = 8 }")
    unknown = sorted(set(said) - set(SETTABLE))
    if unknown:
        raise ValueError(f"a vehicle has no {', '.join(unknown)} to set; there are {', '.join(sorted(SETTABLE))}")
    for name, value in said.items():
        bounds = SETTABLE[name]
        if bounds is None:
            if not isinstance(value, bool):
                raise ValueError(f"{name} is true or false, not {value!r}")
        elif not is_number(value) or not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{name} is a number from {bounds[0]:g} to {bounds[1]:g}, not {value!r}")
    return dict(said)


SETTABLE: Final[Mapping[str, tuple[float, float] | None]] = {
    **dict.fromkeys((
        "locked", "driving_enabled", "ignition", "key_inserted", "fob_in_holder", "parking_brake", "headlights", "plugged",
        "charging", "top_case_locked", "top_case_open", "center_stand_down", "battery_compartment_open",
    )),
    "energy_percent": (0, 100), "adblue_percent": (0, 100), "low_battery_charge": (0, 1),
}  # fmt: skip
"""What a step may set: the least and the most of a number, None: true or false."""

_READ: Mapping[str, Callable[[Any], Any]] = {
    "drive": _distance_m,
    "park": _true,
    "command": _command,
    "fob": _one_of(("lock", "unlock")),
    "cut": seconds,
    "mend": _true,
    "fault": lambda said: parse(str(said)),
    "cure": lambda said: parse(str(said)).name,
    "wait": seconds,
    "set": _truth,
    "open": _one_of(("front_left", "front_right", "rear_left", "rear_right")),
    "shut": _one_of(("front_left", "front_right", "rear_left", "rear_right")),
    "ignite": _flag,
    "archive": _true,
    "restore": _true,
    "restart": _one_of(RESTARTS),
    "broker_down": seconds,
}


def _check_steps(said: Reader, groups: Sequence[Group], steps: Sequence[Step]) -> None:
    last = 0.0
    for place, step in enumerate(steps):
        if step.at_s is not None:
            if step.at_s < last:
                said.wrong(f"{step.at_s:g} s is before the step before it, at {last:g} s", "steps", place, "at")
            last = step.at_s
        for group in groups:
            if step.who not in (None, group.name) or (step.who is None and group.life != "still"):
                continue
            if step.verb == "command" and step.value not in group.model.units[group.brand.name].commands and step.status != 409:
                said.wrong(f"a {group.model.title} cannot be told to {step.value}", "steps", place, "command")
            if step.verb == "fault" and step.value is not None and not step.value.suits(group.brand.protocol):
                said.wrong(step.value.unsuited(group.brand.protocol), "steps", place, "fault")


def _check_gaps(said: Reader, steps: Sequence[Step], expectations: Sequence[Expectation]) -> None:
    for each in expectations:
        if each.kind == "gap" and not any(step.verb == "cut" for step in steps):
            said.problems.add(each.line, "a gap is expected, and no step cuts the line: it never happens")


def _expectations(said: Reader, groups: Sequence[Group]) -> list[Expectation]:
    said.only(*EXPECT_KEYS)
    kinds = [kind for kind in (*EXPECTATIONS, "clock_bounded") if kind in said]
    if not kinds:
        said.wrong(f"an expectation names one of {', '.join(EXPECTATIONS)}")
    return [one for one in (_expectation(said, kind, groups) for kind in kinds) if one is not None]


def _expectation(said: Reader, kind: str, groups: Sequence[Group]) -> Expectation | None:
    who = _who(said, [group.name for group in groups])
    value = said.take(kind, None, _EXPECTED[kind])
    if value is None:
        return None
    least, most = said.whole("at_least", 1, least=0), said.get("at_most")
    if "count" in said:
        least = most = said.whole("count", 1, least=0)
        if "at_least" in said or "at_most" in said:
            said.wrong("either `count`, or `at_least` and `at_most`", "count")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < least):
        said.wrong(f"`at_most` is a number not below `at_least`, {least}", "at_most")
        most = None
    if kind in ("trips", "executed", "lost", "different"):
        least, most = {"some": (1, None), "any": (0, None)}.get(value, (value, value))
    if kind == "restarts":
        least = value
    if kind == "state":
        _check_state(said, value, [group for group in groups if who in (None, group.name)])
    if kind == "event" and "to" in said and not str(value).endswith("Changed"):
        said.wrong(f"{value} has no `to`: only a ...Changed has", "to")
    elif kind == "event" and "to" in said:
        known = next((each for each in PROPERTIES.values() if each.event == value), None)
        if known is not None and not known.allows(said.get("to")):
            said.wrong(f"{value} never says that it is {said.get('to')!r}", "to")
    whole = said.line_of(kind)
    return Expectation(kind, value, whole, dict(said.table_), who, least, most, said.get("to"), said.seconds("within", 30.0))


def _check_state(said: Reader, state: Mapping[str, Any], groups: Sequence[Group]) -> None:
    for key, value in state.items():
        if key not in PROPERTIES:
            said.wrong(f"no property is called {key!r}", "state", key)
        elif not any(key in group.model.units[group.brand.name].state_keys for group in groups):
            said.wrong(f"none of these vehicles has {key}: it never happens", "state", key)
        elif not PROPERTIES[key].allows(value):
            said.wrong(f"{key} can never be {value!r}", "state", key)


def _event(said: Any) -> str:
    if said not in EVENTS:
        raise ValueError(f"no event is called {said!r}; there are {', '.join(EVENTS)}")
    return str(said)


def _events(said: Any) -> list[str]:
    if not isinstance(said, list) or len(said) < 2:
        raise ValueError("an order is a list of two events or more")
    return [_event(each) for each in said]


def _count(said: Any) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        raise ValueError(f"a number of times is wanted, not {said!r}")
    return said


def _some(said: Any) -> int | str:
    """How often, or `some` (once or more), or `any` (no matter)."""
    return said if said in ("some", "any") else _count(said)


def _state(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict) or not said:
        raise ValueError('a state is a table: { central_lock = "LOCKED" }')
    return dict(said)


EVENTS: Final = (
    "VehicleStateRecorded",
    *sorted(known.event for known in PROPERTIES.values() if known.event is not None),
    "VehicleCreated", "VehicleChanged", "VehicleRemoved", "TripStarted", "TripEnded", "TripMetricsReady", "TripDiscarded",
)  # fmt: skip

_EXPECTED: Mapping[str, Callable[[Any], Any]] = {
    "trips": _count,
    "gap": _one_of(GAPS),
    "state": _state,
    "event": _event,
    "order": _events,
    "refused": _one_of(REFUSALS),
    "repeated": _true,
    "contested": _true,
    "late": _true,
    "life": _one_of(LIFE),
    "executed": _count,
    "lost": _some,
    "different": _some,
    "restarts": _count,
    "clock_bounded": _true,
}
