"""Hypothesis strategies for what a model's units can say."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from modeldb.model import Translation
from modeldb.rule import AnyOf, Day, Linear, Lookup, Position, Raw, Scaling, Steps
from modeldb.signals import Signal
from modeldb.vocabulary import PROPERTIES

FEW = 60
"""A brand with fewer signals says all of them in a test, read or not."""


def _numbers(scaling: Scaling, whole: bool = False) -> st.SearchStrategy[float]:
    ends = sorted(scaling.steps(raw) / scaling.unit for raw in (scaling.low, scaling.high))
    ends = [round(end) for end in ends] if whole else ends
    between = st.integers(*ends) if whole else st.floats(*map(float, ends))
    return between | st.sampled_from(ends)


@st.composite
def sayable(draw: st.DrawFn, translation: Translation) -> dict[str, Any]:
    """A true state that the model's signals can express, any part of it unknown."""
    state: dict[str, Any] = {}
    bits = {}
    for rule in translation.rules:
        match rule:
            case Linear():
                state[rule.key] = draw(_numbers(rule.scaling, PROPERTIES[rule.key].kind == "integer"))
            case Position():
                state[rule.key] = {"lat": draw(_numbers(rule.lat)), "lon": draw(_numbers(rule.lon))}
            case Steps():
                state[rule.key] = draw(st.integers(0, len(rule.thresholds)))
            case Day():
                state[rule.key] = (
                    rule.epoch + timedelta(days=draw(st.integers(rule.low, rule.high)) // rule.per_day)
                ).isoformat()
            case Lookup():
                raw = bits.setdefault(rule.signal, draw(raw_values(translation.signals[rule.signal])))
                if (value := rule.read({rule.signal: raw})) is not None:
                    state[rule.key] = value
            case AnyOf():
                state[rule.key] = draw(st.sampled_from(rule.order))
    return {key: value for key, value in state.items() if draw(st.integers(0, 7))}


def raw_signals(translation: Translation) -> st.SearchStrategy[dict[str, Raw]]:
    """Whatever a unit could send: any of its signals with any raw value, those that rules read more often than not."""
    read = {name for rule in translation.rules for name in rule.signals}
    chosen = [name for name in translation.signals if name in read or len(translation.signals) < FEW]
    return st.fixed_dictionaries({}, optional={name: raw_values(translation.signals[name]) for name in chosen})


def raw_values(signal: Signal) -> st.SearchStrategy[Raw]:
    """Whatever the signal can say, small numbers more often than not."""
    if signal.type == "enum":
        return st.sampled_from([*signal.codes, "no such word"])
    if signal.fractional:
        return st.floats() | st.floats(0, 100) | st.floats(0, 1)
    low, high = int(signal.low), int(signal.high)
    if signal.complement:
        low, high = 0, (1 << signal.bits) - 1
    small = st.integers(0, 255).map(lambda raw: min(raw, high))
    return st.integers(low, high) | small


def is_near(value: Any, truth: Any, resolution: float) -> bool:
    """Whether `value` is `truth` within `resolution`, or exactly where that is 0."""
    if isinstance(truth, dict):
        return all(abs(value[axis] - truth[axis]) <= resolution * (1 + 1e-9) for axis in truth)
    return abs(value - truth) <= resolution * (1 + 1e-9) if resolution else bool(value == truth)
