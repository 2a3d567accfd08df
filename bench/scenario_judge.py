"""What a scenario saw, and whether that is what it expects. Pure: the run is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bench.ledger import Ledger
from bench.scenario_check import Check
from bench.truth import Truth
from devices.scenario import Expectation, Scenario
from modeldb.vocabulary import PROPERTIES
from protocols.codec import UnitId

CLOCK_ALLOWANCE_MS = 10 * 60 * 1000
CLOSE = 0.01


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as a consumer got it; times are Unix milliseconds."""

    id: str
    type: str
    unit: UnitId
    occurred_ms: int
    recorded_ms: int
    seen_ms: int
    body: Mapping[str, Any]

    @classmethod
    def of(cls, event: Mapping[str, Any], seen_ms: int, unit: UnitId) -> "Heard":
        """An event's document."""
        said = event["metadata"]
        occurred, recorded = _ms(said["occurred_at"]), _ms(said["recorded_at"])
        return cls(said["id"], said["type"], unit, occurred, recorded, seen_ms, event)


def _ms(said: str) -> int:
    return round(datetime.fromisoformat(said.replace("Z", "+00:00")).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without a line, in the units' Unix milliseconds."""

    unit: UnitId
    began_ms: int
    ended_ms: int

    def until(self, now_ms: int) -> "Gap":
        """The same, ended by now."""
        return replace(self, ended_ms=min(self.ended_ms, now_ms))


@dataclass
class Seen:
    """All that was seen of a run.

    `had` are the values that vehicles have told of; `most_different` properties differed at once, and `most_lines` a unit had
    at once; `takeovers` of a session by a copy or from it; `sick` units had a fault.
    """

    units: dict[str, UnitId] = field(default_factory=dict)
    events: list[Heard] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    states: dict[UnitId, dict[str, Any]] = field(default_factory=dict)
    archived: set[UnitId] = field(default_factory=set)
    command_ms: list[int] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    had: set[tuple[UnitId, str, Any]] = field(default_factory=set)
    most_different: int = 0
    most_lines: int = 0
    takeovers: int = 0
    sick: set[UnitId] = field(default_factory=set)
    restarts: int = 0
    executed: int = 0
    began_ms: int = 0

    def latencies_ms(self) -> list[int]:
        """From capture to a consumer's hands, of reports that were not late."""
        told = (each for each in self.events if each.type == "VehicleStateRecorded" and not each.body.get("late"))
        return [max(0, each.seen_ms - each.occurred_ms) for each in told]


def judged(scenario: Scenario, seen: Seen, ledger: Ledger, truth: Truth, groups: Mapping[str, Sequence[UnitId]]) -> list[Check]:
    """Each expectation of the file, and the two that every scenario has: nothing lost, nothing different."""
    checks = [_judge(each, seen, ledger, truth, groups) for each in scenario.expectations]
    kinds = {each.kind for each in scenario.expectations}
    for kind in ("lost", "different"):
        if kind not in kinds:
            checks.append(_judge(Expectation(kind, 0, 0, at_least=0, at_most=0), seen, ledger, truth, groups))
    return checks


def _judge(each: Expectation, seen: Seen, ledger: Ledger, truth: Truth, groups: Mapping[str, Sequence[UnitId]]) -> Check:
    units = set(groups[each.who]) if each.who else {unit for many in groups.values() for unit in many}
    events = [event for event in seen.events if event.unit in units]
    match each.kind:
        case "trips":
            return _times("trips", each, [event for event in events if event.type == "TripEnded"], seen)
        case "event":
            found = [
                event for event in events if event.type == each.value and (each.to is None or event.body.get("to") == each.to)
            ]
            return _times(f"{each.value}" + (f" to {each.to}" if each.to is not None else ""), each, found, seen)
        case "late":
            found = [event for event in events if event.body.get("late")]
            return _times("late reports", each, found, seen)
        case "life":
            return _times(f"life status {each.value}", each, [event for event in events if _life(event) == each.value], seen)
        case "order":
            return _order(each, events)
        case "state":
            return _state(each, seen, units)
        case "gap":
            return _gap(each, seen, ledger, units)
        case "clock_bounded":
            ahead = [event for event in events if event.occurred_ms > event.recorded_ms + CLOCK_ALLOWANCE_MS]
            return Check("clock", not ahead, "no time further than ten minutes ahead", f"{len(ahead)} events beyond", each.line)
        case "different":
            first = f", the first: {truth.differences[0].text}" if truth.differences else ""
            return _number("truth", each, truth.different, f"{truth.different} of {truth.compared} properties differ{first}")
        case "lost":
            lost = ledger.counts().lost
            missing = ledger.missing()
            return _number(
                "ledger", each, lost, f"{lost} lost of {ledger.counts().acknowledged} acknowledged, {len(missing)} not seen"
            )
        case "executed":
            return _number("commands executed", each, seen.executed)
        case "restarts":
            return _number("restarts", each, seen.restarts)
        case "repeated" | "contested":
            return _number(f"{each.kind} frames", each, seen.counted.get(each.kind, 0))
        case kind:
            return _number(f"refused {each.value}", each, seen.counted.get(f"{kind}:{each.value}", 0))


def _life(event: Heard) -> str | None:
    if event.type != "VehicleChanged" or "LIFE_STATUS_CHANGED" not in event.body.get("reasons", ()):
        return None
    return str(event.body["vehicle"]["life_status"]["value"])


def _wanted(each: Expectation) -> str:
    if each.at_most is None:
        return f"{each.at_least} or more"
    return f"{each.at_least}" if each.at_least == each.at_most else f"{each.at_least} to {each.at_most}"


def _fits(each: Expectation, number: int) -> bool:
    return each.at_least <= number and (each.at_most is None or number <= each.at_most)


def _number(name: str, each: Expectation, number: int, seen: str | None = None) -> Check:
    return Check(name, _fits(each, number), _wanted(each), seen or str(number), each.line)


def _times(name: str, each: Expectation, found: Sequence[Heard], seen: Seen) -> Check:
    moments = ", ".join(f"{(event.occurred_ms - seen.began_ms) / 1000:.1f} s" for event in found[:5])
    at_s = (found[-1].occurred_ms - seen.began_ms) / 1000 if found else None
    return Check(
        name, _fits(each, len(found)), _wanted(each), f"{len(found)}" + (f" (at {moments})" if found else ""), each.line, at_s
    )


def _order(each: Expectation, events: Sequence[Heard]) -> Check:
    left = list(each.value)
    types = [event.type for event in events if event.type in left]
    for kind in types:
        if left and kind == left[0]:
            left.pop(0)
    return Check("order of events", not left, ", ".join(each.value), ", ".join(types[:12]) or "none of them", each.line)


def _state(each: Expectation, seen: Seen, units: set[UnitId]) -> Check:
    wrong = []
    for unit in sorted(units):
        state = seen.states.get(unit, {})
        for key, value in each.value.items():
            if not _same(state.get(key), value, key):
                wrong.append(f"{unit}: {key} = {state.get(key)!r}")
    wanted = ", ".join(f"{key} = {value!r}" for key, value in each.value.items())
    return Check("state", not wrong, wanted, "; ".join(wrong[:4]) or "so", each.line)


def _same(said: Any, wanted: Any, key: str) -> bool:
    if PROPERTIES[key].event is None and isinstance(said, int | float) and isinstance(wanted, int | float):
        return abs(said - wanted) <= max(1.0, CLOSE * abs(wanted))
    return bool(said == wanted)


def _gap(each: Expectation, seen: Seen, ledger: Ledger, units: set[UnitId]) -> Check:
    """Every position captured while there was no line came after it was back, in the order of capture, and none is missing."""
    name, wanted = "positions of the gap", "all, late and in order"
    missing = [entry for entry in ledger.missing() if entry.cause != "forgotten"]
    if missing:
        return Check(name, False, wanted, f"{len(missing)} reports are missing, the first: {missing[0].text}", each.line)
    told = 0
    for gap in (gap for gap in seen.gaps if gap.unit in units):
        found = [
            event
            for event in seen.events
            if event.unit == gap.unit
            and event.type == "VehicleStateRecorded"
            and gap.began_ms < event.occurred_ms < gap.ended_ms
            and "position" in event.body.get("changed", {})
        ]
        early = [event for event in found if event.seen_ms < gap.ended_ms]
        captured = [event.occurred_ms for event in found]
        if early:
            return Check(name, False, wanted, f"{len(early)} of {len(found)} arrived before the line was back", each.line)
        if captured != sorted(captured):
            return Check(name, False, wanted, f"{len(found)} in another order", each.line)
        told += len(found)
    return Check(name, told > 0, wanted, f"{told}, late and in order" if told else "no position was captured in it", each.line)
