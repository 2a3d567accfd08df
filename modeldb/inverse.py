"""The rules backwards: a vehicle's true state to the raw signals that a unit would say of it.

Several lookups may share one signal: four doors in a byte, or one byte that holds ignition, key and release in the maker's own
code. Lookups whose bits overlap form a cluster; of all that its bits can be, the one is taken that says what is wanted (what an
earlier rule wants first), little else, and that most naturally.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modeldb.rule import BYTE_VALUES, AnyOf, Day, Linear, Lookup, Position, Raw, Rule, Steps
from modeldb.signals import Part, Signal
from modeldb.vocabulary import Value


class _Cluster:
    """Lookups of one signal whose bits overlap, and what its bits were found to be for what was wanted."""

    def __init__(self, lookups: Sequence[Lookup], mask: int) -> None:
        self.lookups, self.mask = lookups, mask
        self._found: dict[tuple[Value | None, ...], int] = {}

    def bits(self, state: Mapping[str, Any]) -> int | None:
        """The cluster's bits for `state`, None if `state` has none of its properties."""
        if not any(lookup.key in state for lookup in self.lookups):
            return None
        wanted = tuple(_sayable(lookup, state.get(lookup.key)) for lookup in self.lookups)
        if wanted not in self._found:
            self._found[wanted] = min(self._candidates(), key=lambda bits: self._cost(bits, wanted))
        return self._found[wanted]

    def _candidates(self) -> Iterator[int]:
        if self.mask < 0:
            words = self.lookups[0].words
            yield from (code for code in range(len(words) or BYTE_VALUES) if not words or words[code])
            return
        bits = self.mask
        while bits:
            yield bits
            bits = (bits - 1) & self.mask
        yield 0

    def _cost(self, bits: int, wanted: tuple[Value | None, ...]) -> tuple[list[bool], int, int, int]:
        """What is wanted and not said (by rule), how much is said that nobody knows, how odd it is: less is better."""
        unsaid, chatter, rank = [], 0, 0
        for lookup, value in zip(self.lookups, wanted, strict=True):
            place = lookup.place(bits)
            said = lookup.table[place] if place < len(lookup.table) else None
            unsaid.append(value is not None and said != value)
            chatter += value is None and said is not None
            rank += lookup.ranks[place] if place < len(lookup.table) else 0
        return unsaid, chatter, rank, bits


def _sayable(lookup: Lookup, value: Any) -> Value | None:
    return value if value in lookup.sayable else None


class _Bits:
    """A signal that is read by lookups: its clusters, and what the bits that no rule reads say."""

    def __init__(self, signal: Signal, lookups: Sequence[Lookup]) -> None:
        self.clusters = [_Cluster(group, mask) for mask, group in clusters(lookups).items()]
        self.parts: tuple[Part, ...] = tuple(signal.parts.values())
        self.words = signal.values

    def raw(self, state: Mapping[str, Any]) -> int | str | None:
        """The whole signal for `state`, None if `state` has none of its properties."""
        said = [(cluster.mask, bits) for cluster in self.clusters if (bits := cluster.bits(state)) is not None]
        if not said:
            return None
        raw = taken = 0
        for mask, bits in said:
            raw, taken = raw | bits, taken | mask
        for part in self.parts:
            if not taken & part.mask:
                raw |= part.unknown << part.shift
        return self.words[raw] if self.words else raw


def clusters(lookups: Sequence[Lookup]) -> dict[int, list[Lookup]]:
    """The lookups of one signal by the bits that they share, directly or through others."""
    found: dict[int, list[Lookup]] = {}
    for lookup in lookups:
        mask, group = lookup.mask, [lookup]
        for other in [other for other in found if other & mask]:
            group = found.pop(other) + group
            mask |= other
        found[mask] = group
    return found


Writer = Callable[[Mapping[str, Any]], Mapping[str, Raw]]


def inverse(rules: Sequence[Rule], signals: Mapping[str, Signal]) -> Writer:
    """The function from a state to the raw signals that say it. Where rules share a signal, a number goes before a lookup."""
    lookups: dict[str, list[Lookup]] = {}
    numbers: list[Linear | Position | Steps | Day | AnyOf] = []
    for rule in rules:
        match rule:
            case Lookup():
                lookups.setdefault(rule.signal, []).append(rule)
            case Linear() | Position() | Steps() | Day() | AnyOf():
                numbers.append(rule)
    bits = {name: _Bits(signals[name], group) for name, group in lookups.items()}
    numbers.reverse()  # the first of several rules for a signal writes last
    writers = [(rule.key, _scaled(rule) if isinstance(rule, Linear) else rule.write) for rule in numbers]

    def write(state: Mapping[str, Any]) -> dict[str, Raw]:
        said: dict[str, Raw] = {}
        for name, signal in bits.items():
            if (raw := signal.raw(state)) is not None:
                said[name] = raw
        for key, say in writers:
            if key in state:
                said.update(say(state[key]))
        return said

    return write


def _scaled(rule: Linear) -> Callable[[Any], Mapping[str, Raw]]:
    """`rule.write`, its numbers at hand: a fleet asks a dozen of these for every report."""
    signal, scaling = rule.signal, rule.scaling
    unit, bias, factor, wrap = scaling.unit, scaling.bias, scaling.factor, scaling.wrap
    low, high, whole = scaling.low, scaling.high, scaling.whole

    def say(value: Any) -> Mapping[str, Raw]:
        raw = (value * unit - bias) / factor
        if raw < low:
            raw = low
        elif raw > high:
            raw = high
        if whole:
            raw = round(raw)
        return {signal: raw % wrap if wrap else raw}

    return say
