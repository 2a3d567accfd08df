"""Hypothesis strategies for what a model's units can say."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from modeldb.model import Translation
from modeldb.rule import Day, Linear, Lookup, Position, Scaling, Steps
from modeldb.vocabulary import PROPERTIES


def _numbers(scaling: Scaling, whole: bool = False) -> st.SearchStrategy[float]:
    ends = sorted((scaling.value(scaling.low), scaling.value(scaling.high)))
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
                state[rule.key] = (rule.epoch + timedelta(days=draw(st.integers(rule.low, rule.high)))).isoformat()
            case Lookup():
                raw = bits.setdefault(rule.signal, draw(st.integers(0, 255)))
                if (value := rule.read({rule.signal: raw})) is not None:
                    state[rule.key] = value
    return {key: value for key, value in state.items() if draw(st.integers(0, 7))}


def raw_signals(translation: Translation) -> st.SearchStrategy[dict[str, int]]:
    """Whatever a unit of the brand could send: any of its signals with any raw value."""
    signals = translation.brand.signals
    values = {name: st.integers(int(signal.low), int(signal.high)) | st.integers(0, 100) for name, signal in signals.items()}
    return st.fixed_dictionaries({}, optional=values)


def is_near(value: Any, truth: Any, resolution: float) -> bool:
    """Whether `value` is `truth` within `resolution`, or exactly where that is 0."""
    if isinstance(truth, dict):
        return all(abs(value[axis] - truth[axis]) <= resolution * (1 + 1e-9) for axis in truth)
    return abs(value - truth) <= resolution * (1 + 1e-9) if resolution else bool(value == truth)
