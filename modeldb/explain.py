"""Which rule made which property of what: a translation, told to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from modeldb.model import Translation
from modeldb.rule import AnyOf, Day, Linear, Lookup, Position, Rule, Scaling, Steps
from modeldb.vocabulary import PROPERTIES, Value

NO_NAMES: Mapping[str, str] = MappingProxyType({})


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
    names = translation.table.names
    return [_made(rule, signals, names) for rule in translation.rules if any(name in signals for name in rule.signals)]


def unread(translation: Translation, signals: Mapping[str, Any]) -> list[str]:
    """The names in `signals` that no rule reads."""
    read = {name for rule in translation.rules for name in rule.signals}
    return [name for name in signals if name not in read]


def _made(rule: Rule, signals: Mapping[str, Any], names: Mapping[str, str]) -> Made:
    raw = {name: signals[name] for name in rule.signals if name in signals}
    value = rule.read(signals)
    silence = _silence(rule, raw) if value is None else ""
    return Made(rule.key, raw, in_words(rule, names), value, PROPERTIES[rule.key].unit, silence)


def _silence(rule: Rule, raw: Mapping[str, Any]) -> str:
    missing = [name for name in rule.signals if name not in raw]
    if missing:
        return f"{', '.join(missing)} missing"
    return "no entry for it in the table" if isinstance(rule, Lookup | AnyOf) else "outside what is valid"


def in_words(rule: Rule, names: Mapping[str, str] = NO_NAMES) -> str:
    """`fuel_level x 0.5, valid 0 to 200`; a signal that has a name in `names` goes by that."""
    said = [names.get(raw, raw) for raw in rule.signals]
    match rule:
        case Linear():
            return f"{said[0]}{_arithmetic(rule.scaling)}"
        case Position():
            return f"{said[0]}{_arithmetic(rule.lat)}; {said[1]}{_arithmetic(rule.lon)}"
        case Steps():
            return f"how many of {', '.join(f'{each:g}' for each in rule.thresholds)} {said[0]} has reached{_valid(rule)}"
        case Day():
            per_day = f" / {rule.per_day}" if rule.per_day > 1 else ""
            return f"{said[0]}{per_day} days after {rule.epoch.isoformat()}{_valid(rule)}"
        case Lookup():
            return _table_in_words(rule, said[0])
        case AnyOf():
            entries = (f"{raw} {_shown(value)}" for raw, value in rule.means.items())
            return f"any of {', '.join(said)}: {', '.join(entries)}; {_shown(rule.order[0])} if all"
        case _:
            return ", ".join(said)


def _arithmetic(scaling: Scaling) -> str:
    scale, offset = scaling.factor / scaling.unit, scaling.bias / scaling.unit
    text = "" if scale == 1 else f" x {scale:.8g}"
    if offset:
        text += f" {'+' if offset > 0 else '-'} {abs(offset):.8g}"
    return text + _valid(scaling)


def _valid(rule: Scaling | Steps | Day) -> str:
    return f", valid {rule.low:.12g} to {rule.high:.12g}"


def _table_in_words(rule: Lookup, signal: str) -> str:
    if len(rule.parts) > 1:
        return f"any of {signal}: {', '.join(rule.parts)}"
    entries = [
        f"{rule.words[place] if rule.words else place} {_shown(value)}"
        for place, value in enumerate(rule.table)
        if value is not None
    ]
    return f"{'.'.join((signal, *rule.parts))}: {', '.join(entries)}"


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
