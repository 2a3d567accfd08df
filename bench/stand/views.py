"""What a test sees of a gateway: states, events, trips and reports as they arrived, and expectations of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.stand.gateways import Answer, GatewayUnderTest
from bench.stand.simulated import Gap
from bench.stand.stage import Stage, wait_until
from bench.stand.story import Happened, Story
from protocols.codec import UnitId

WITHIN_S = 15.0
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Reported:
    """One VehicleStateRecorded: when the unit captured it, when it was seen, what the report carried."""

    captured_ms: int
    seen_ms: int
    changed: Mapping[str, Any]
    late: bool

    @property
    def position(self) -> Mapping[str, float] | None:
        """Where the vehicle was."""
        said: Mapping[str, float] | None = self.changed.get("position")
        return said


class GatewayView:
    """The `gateway` of a test."""

    def __init__(
        self,
        stage: Stage,
        story: Story,
        under_test: GatewayUnderTest,
        unit: UnitId,
        vehicle_id: str,
        missing: Callable[[], Sequence[Any]] = tuple,
    ) -> None:
        self._stage, self._story, self._under_test = stage, story, under_test
        self.unit, self.vehicle_id = unit, vehicle_id
        self._missing = missing
        self._taken: list[Happened] = []

    @property
    def name(self) -> str:
        """Where it is."""
        return self._under_test.name

    @property
    def state(self) -> Mapping[str, Any]:
        """The latest state of the vehicle: property to value."""
        return self._stage.run(self._under_test.state(self.unit))

    @property
    def online(self) -> bool:
        """Whether the vehicle's life status is ONLINE."""
        return self._stage.run(self._under_test.online(self.unit))

    @property
    def events(self) -> list[Happened]:
        """All events of this vehicle so far, in the order in which they were seen."""
        return list(self._story.events)

    def reports(self, during: Gap | None = None) -> list[Reported]:
        """Each report that became an event, in the order of their coming; `during` a gap: those captured in it."""
        found = [_reported(event) for event in self._story.events if event.type == "VehicleStateRecorded"]
        return [each for each in found if during is None or during.began_ms < each.captured_ms <= during.ended_ms]

    def positions(self, during: Gap | None = None) -> list[Reported]:
        """The reports that carry a position."""
        return [each for each in self.reports(during) if each.position is not None]

    def trips(self) -> list[Happened]:
        """The trips that have ended."""
        return [event for event in self._story.events if event.type == "TripEnded"]

    def command(self, name: str, timeout_s: float = 30.0) -> Answer:
        """Send a command and wait for what comes of it."""
        self._story.note(self._stage.now_ms(), f"command {name}")
        answer = self._stage.run(self._under_test.command(self.unit, name, timeout_s))
        said = f" {answer.reason}" if answer.reason else ""
        self._story.note(self._stage.now_ms(), f"command {name}: {answer.status}{said}")
        return answer

    def expect_state(self, within_s: float, expected: Mapping[str, Any]) -> Mapping[str, Any]:
        """Wait until the state is so; AssertionError with what was seen, the last frames and the log."""
        __tracebackhide__ = True
        seen: dict[str, Any] = {}

        async def holds() -> bool:
            seen.clear()
            seen.update(await self._under_test.state(self.unit))
            return all(matches(seen.get(key), value) for key, value in expected.items())

        if not wait_until(self._stage, holds, within_s):
            wrong = {key: value for key, value in expected.items() if not matches(seen.get(key), value)}
            wanted = ", ".join(f"{key} = {value!r}" for key, value in wrong.items())
            said = ", ".join(f"{key} = {seen.get(key)!r}" if key in seen else f"{key}: nothing" for key in wrong)
            raise AssertionError(self._story.told(f"{wanted} within {within_s:g} s", said))
        return dict(seen)

    def expect_event(self, within_s: float, event_type: str, expected: Mapping[str, Any]) -> Happened:
        """Wait for an event of this type with these fields, also among those that were seen; each is found once."""
        __tracebackhide__ = True
        found: list[Happened] = []

        def happened() -> bool:
            for event in self._story.events:
                if event.type == event_type and not self._is_taken(event) and _fits(event, expected):
                    found.append(event)
                    return True
            return False

        if not wait_until(self._stage, happened, within_s):
            wanted = event_type + "".join(f", {key} = {value!r}" for key, value in expected.items())
            alike = [event for event in self._story.events if event.type == event_type]
            said = "; ".join(_shown(event, expected) for event in alike[-3:]) or "no such event; there were: " + _types(
                self._story
            )
            raise AssertionError(self._story.told(f"event {wanted} within {within_s:g} s", said))
        self._taken.append(found[0])
        return found[0]

    def expect_late_and_in_order(self, gap: Gap, within_s: float = WITHIN_S) -> list[Reported]:
        """Every position that was captured in the gap arrived after it, in the order of capture, and nothing is missing."""
        __tracebackhide__ = True
        wait_until(self._stage, lambda: not self._missing(), within_s)
        found, missing = self.positions(gap), self._missing()
        captured = [each.captured_ms for each in found]
        early = [each for each in found if each.seen_ms < gap.ended_ms]
        wrong = (
            "no position was captured in the gap"
            if not found
            else f"{len(early)} of {len(found)} positions arrived before coverage was back"
            if early
            else f"{len(found)} positions in another order"
            if captured != sorted(captured)
            else f"{len(missing)} reports are missing, the first: {missing[0].text}"
            if missing
            else None
        )
        if wrong is not None:
            raise AssertionError(self._story.told("all positions of the gap, late and in order", wrong))
        return found

    def _is_taken(self, event: Happened) -> bool:
        return any(event is each for each in self._taken)


def matches(seen: Any, expected: Any) -> bool:
    """Whether a value is as expected: equal, close for numbers, each key of a mapping, or what a function says of it."""
    if callable(expected):
        return seen is not None and bool(expected(seen))
    if isinstance(expected, Mapping):
        return isinstance(seen, Mapping) and all(matches(seen.get(key), value) for key, value in expected.items())
    if isinstance(expected, float) and isinstance(seen, int | float) and not isinstance(seen, bool):
        return abs(seen - expected) <= max(ROUNDING, ROUNDING * abs(expected))
    return bool(seen == expected)


def _reported(event: Happened) -> Reported:
    changed = {key: said["value"] for key, said in event.body.get("changed", {}).items()}
    return Reported(event.captured_ms, event.at_ms, changed, bool(event.body.get("late")))


def _fits(event: Happened, expected: Mapping[str, Any]) -> bool:
    return all(matches(_field(event.body, key), value) for key, value in expected.items())


def _field(body: Mapping[str, Any], key: str) -> Any:
    """`to`, `from_` (Python's word is taken), or a property of a VehicleStateRecorded."""
    name = key.rstrip("_")
    if name in body:
        return body[name]
    state = body.get("vehicle_state", {}).get(name)
    return state["value"] if isinstance(state, Mapping) and "value" in state else None


def _shown(event: Happened, expected: Mapping[str, Any]) -> str:
    return f"{event.type}: " + ", ".join(f"{key} = {_field(event.body, key)!r}" for key in expected)


def _types(story: Story) -> str:
    return ", ".join(dict.fromkeys(event.type for event in story.events)) or "none at all"
