"""What a step of a scenario waits for: an event, a distance driven, a state of its vehicles."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devices.scenario_units import Reader
from modeldb.vocabulary import PROPERTIES

KINDS: Final = ("event", "driven", "state")
KEYS: Final = (*KINDS, "to", "count", "within")
USUAL_LIMIT_S: Final = 3_600.0
_BOUND = re.compile(r"(<=|>=|<|>) *(-?\d+(?:\.\d+)?)")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a step happens: `kind` with `value`, within `within_s` of its turn.

    "event": that one (`to`) has come `count` times since the run began; "driven": each of the step's vehicles has driven so many
    metres since then; "state": each of them is so in truth (property to value, a number also as "> 50").
    """

    kind: str
    value: Any
    to: Any = None
    count: int = 1
    within_s: float = USUAL_LIMIT_S

    @property
    def text(self) -> str:
        """For people."""
        match self.kind:
            case "driven":
                return f"{self.value:g} m driven"
            case "state":
                return ", ".join(f"{key} {value}" for key, value in self.value.items())
            case _:
                return f"{self.value}" + ("" if self.to is None else f" to {self.to}")

    def holds(self, truth: Mapping[str, Any]) -> bool:
        """Whether a vehicle of this state is in the one that is waited for."""
        return all(key in truth and _fits(truth[key], wanted) for key, wanted in self.value.items())


def _fits(value: Any, wanted: Any) -> bool:
    bound = _BOUND.fullmatch(wanted) if isinstance(wanted, str) else None
    return bool(value == wanted) if bound is None else _HOLDS[bound[1]](float(value), float(bound[2]))


def read_trigger(
    said: Reader, distance: Callable[[Any], float], event: Callable[[Any], str], supported: Sequence[frozenset[str]]
) -> Trigger | None:
    """The `when` of a step, whose vehicles support these properties; mistakes are noted."""
    said.only(*KEYS)
    kinds = [kind for kind in KINDS if kind in said]
    if len(kinds) != 1:
        said.wrong(f"`when` names one of {', '.join(KINDS)}" + (f", not {' and '.join(kinds)}" if kinds else ""))
        return None
    kind = kinds[0]
    for key in ("to", "count"):
        if key in said and kind != "event":
            said.wrong(f"`{key}` belongs to an event", key)
            return None
    readers: Mapping[str, Callable[[Any], Any]] = {"event": event, "driven": distance, "state": _state}
    value: Any = said.take(kind, None, readers[kind])
    if value is None:
        return None
    if "to" in said and not str(value).endswith("Changed"):
        said.wrong(f"{value} has no `to`: only a ...Changed has", "to")
    if kind == "state":
        _check(said, value, supported)
    count, within_s = said.whole("count", 1, least=1), said.seconds("within", USUAL_LIMIT_S, least=0.001)
    return Trigger(kind, value, said.get("to"), count, within_s)


def _state(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict) or not said:
        raise ValueError('a state is a table: { ignition = "OFF" }, { speed_in_kilometers_per_hour = "> 50" }')
    return dict(said)


def _check(said: Reader, state: Mapping[str, Any], supported: Sequence[frozenset[str]]) -> None:
    for key, value in state.items():
        if key not in PROPERTIES:
            said.wrong(f"no property is called {key!r}", "state", key)
        elif not all(key in keys for keys in supported):
            said.wrong(f"not all of these vehicles have {key}: it never happens", "state", key)
        elif PROPERTIES[key].event is not None and not PROPERTIES[key].allows(value):
            said.wrong(f"{key} can never be {value!r}", "state", key)
        elif PROPERTIES[key].event is None and (isinstance(value, bool) or not _is_bound(value)):
            said.wrong(f'{key} is waited for as a number, or as "> 50", not {value!r}', "state", key)


def _is_bound(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and _BOUND.fullmatch(value) is not None)
