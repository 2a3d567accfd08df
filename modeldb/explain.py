"""Which rule made which property of what: a translation, told to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modeldb.model import Translation
from modeldb.rule import Day, Linear, Lookup, Position, Rule, Scaling, Steps
from modeldb.vocabulary import PROPERTIES, Value


@dataclass(frozen=True, slots=True)
class Made:
    """One property: the raw signals its rule found, the rule in words, and the value, None where nothing was said and why."""

    key: str
    raw: Mapping[str, Any]
    rule: str
    value: Value | None
    unit: str
    silence: str = ""


def explain(translation: Translation, signals: Mapping[str, Any]) -> list[Made]:
    """What each rule made of `signals`; rules none of whose signals are there are passed over."""
    return [_made(rule, signals) for rule in translation.rules if any(name in signals for name in rule.signals)]


def unread(translation: Translation, signals: Mapping[str, Any]) -> list[str]:
    """The names in `signals` that no rule reads."""
    read = {name for rule in translation.rules for name in rule.signals}
    return [name for name in signals if name not in read]


def _made(rule: Rule, signals: Mapping[str, Any]) -> Made:
    raw = {name: signals[name] for name in rule.signals if name in signals}
    value = rule.read(signals)
    return Made(rule.key, raw, in_words(rule), value, PROPERTIES[rule.key].unit, _silence(rule, raw) if value is None else "")


def _silence(rule: Rule, raw: Mapping[str, Any]) -> str:
    missing = [name for name in rule.signals if name not in raw]
    if missing:
        return f"{', '.join(missing)} missing"
    return "no entry for it in the table" if isinstance(rule, Lookup) else "outside what is valid"


def in_words(rule: Rule) -> str:
    """`fuel_level x 0.5, valid 0 to 200`."""
    match rule:
        case Linear():
            return f"{rule.signal}{_arithmetic(rule.scaling)}"
        case Position():
            return f"{rule.latitude}{_arithmetic(rule.lat)}; {rule.longitude}{_arithmetic(rule.lon)}"
        case Steps():
            return f"how many of {', '.join(f'{each:g}' for each in rule.thresholds)} {rule.signal} has reached{_valid(rule)}"
        case Day():
            return f"{rule.signal} days after {rule.epoch.isoformat()}{_valid(rule)}"
        case Lookup():
            return _table_in_words(rule)
        case _:
            return ", ".join(rule.signals)


def _arithmetic(scaling: Scaling) -> str:
    scale, offset = scaling.factor / scaling.unit, scaling.bias / scaling.unit
    text = "" if scale == 1 else f" x {scale:.8g}"
    if offset:
        text += f" {'+' if offset > 0 else '-'} {abs(offset):.8g}"
    return text + _valid(scaling)


def _valid(rule: Scaling | Steps | Day) -> str:
    return f", valid {rule.low:.12g} to {rule.high:.12g}"


def _table_in_words(rule: Lookup) -> str:
    if len(rule.parts) > 1:
        return f"any of {rule.signal}: {', '.join(rule.parts)}"
    entries = [
        f"{place} {str(value).lower() if isinstance(value, bool) else value}"
        for place, value in enumerate(rule.table)
        if value is not None
    ]
    return f"{'.'.join((rule.signal, *rule.parts))}: {', '.join(entries)}"
