"""How rules read signals, their facts at hand: what `rule.read` says, for whoever asks a dozen of them for every report. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from modeldb.rule import Linear, Lookup, Rule
from modeldb.vocabulary import Value

Read = Callable[[Mapping[str, Any]], Value | None]


def reading(rule: Rule) -> Read:
    """What reads as the rule does."""
    match rule:
        case Linear():
            return _scaled(rule)
        case Lookup() if not rule.words:
            return _looked_up(rule)
        case _:
            return rule.read


def _scaled(rule: Linear) -> Read:
    signal, scaling = rule.signal, rule.scaling
    low, high, factor, bias, wrap = scaling.low, scaling.high, scaling.factor, scaling.bias, scaling.wrap
    unit, fractions, half = scaling.unit, scaling.decimals > 0, scaling.wrap // 2

    def read(signals: Mapping[str, Any]) -> Value | None:
        raw = signals.get(signal)
        if type(raw) is not int and type(raw) is not float:
            return None
        if wrap and half <= raw < wrap:
            raw -= wrap
        if not low <= raw <= high:
            return None
        steps = round(raw * factor + bias)
        return steps / unit if fractions else steps

    return read


def _looked_up(rule: Lookup) -> Read:
    signal, mask, shift, table, size = rule.signal, rule.mask, rule.shift, rule.table, len(rule.table)

    def read(signals: Mapping[str, Any]) -> Value | None:
        raw = signals.get(signal)
        if type(raw) is not int or raw < 0:
            return None
        place = (raw & mask) >> shift
        return table[place] if place < size else None

    return read
