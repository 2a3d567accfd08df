"""The rules backwards for states that always have the same properties in the same order: what a fleet asks for all day.

As `Translation.invert`, but for values that are known to be of the vocabulary, as those of a simulated vehicle are; and without
a mapping in between. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from modeldb.inverse import Writer
from modeldb.rule import Linear, Position, Raw, Rule, Scaling, Steps

Number = tuple[float, float, float, float, float, int]
"""What makes a value raw: `unit`, `bias`, `factor`, `low`, `high`, `wrap`."""


class Saying(NamedTuple):
    """How one model's units say one list of properties.

    `numbers` gives the raw values of `number_names` from the properties' values. `named` gives of those values the part that has
    few, by which `write` finds everything else: a signal may be missing there, or be another one for each combination.
    `scaled` and `stepped` are what `numbers` does, for whoever does it for many at once: the property's place, and which part of
    it is scaled, or the raw values of its steps.
    """

    number_names: tuple[str, ...]
    scaled: tuple[tuple[int, str | None, Number], ...]
    stepped: tuple[tuple[int, tuple[Raw, ...]], ...]
    numbers: Callable[[Sequence[Any]], list[Raw]]
    named: Callable[[Sequence[Any]], tuple[Any, ...]]
    write: Callable[[tuple[Any, ...]], Mapping[str, Raw]]


def saying(rules: Sequence[Rule], keys: Sequence[str], write_named: Writer, named_keys: Sequence[str]) -> Saying | None:
    """For properties `keys` of a model; None where a rule for one of them is of no kind that can be said like this.

    `write_named` says the properties `named_keys`, and no other rule any signal of theirs.
    """
    places = {key: at for at, key in enumerate(keys)}
    chosen = [rule for rule in rules if rule.key in places and rule.key not in named_keys]
    chosen.reverse()  # the first of several rules for a signal writes last
    made: dict[str, tuple[int, str | None, Number]] = {}
    stepped: dict[str, tuple[int, list[Raw]]] = {}
    for rule in chosen:
        match rule:
            case Linear() if rule.scaling.whole:
                made[rule.signal] = (places[rule.key], None, _number(rule.scaling))
            case Position() if rule.lat.whole and rule.lon.whole:
                made[rule.latitude] = (places[rule.key], "lat", _number(rule.lat))
                made[rule.longitude] = (places[rule.key], "lon", _number(rule.lon))
            case Steps():
                steps: list[Raw] = [rule.write(step)[rule.signal] for step in range(len(rule.thresholds) + 1)]
                stepped[rule.signal] = (places[rule.key], steps)
            case _:
                return None
    if made.keys() & stepped.keys():
        return None
    asked = [key for key in named_keys if key in places]
    at = [places[key] for key in asked]

    def write(wanted: tuple[Any, ...]) -> Mapping[str, Raw]:
        return write_named(dict(zip(asked, wanted, strict=True)))

    made = dict(sorted(made.items(), key=lambda each: _is_odd(each[1])))
    numbers = _numbers(list(made.values()), list(stepped.values()))
    steps_of = tuple((place, tuple(steps)) for place, steps in stepped.values())
    return Saying((*made, *stepped), tuple(made.values()), steps_of, numbers, _picking(at), write)


def _picking(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple([values[each] for each in places])


def _is_odd(number: tuple[int, str | None, Number]) -> bool:
    """Whether it is a part of a value, or counts round and round."""
    _, part, (*_, wrap) = number
    return part is not None or bool(wrap)


def _number(scaling: Scaling) -> Number:
    return scaling.unit, scaling.bias, scaling.factor, scaling.low, scaling.high, scaling.wrap


def _numbers(
    plan: Sequence[tuple[int, str | None, Number]], stepped: Sequence[tuple[int, Sequence[Raw]]]
) -> Callable[[Sequence[Any]], list[Raw]]:
    flat = [(at, *number[:-1]) for at, part, number in plan if not _is_odd((at, part, number))]
    odd = [(at, part, *number) for at, part, number in plan if _is_odd((at, part, number))]

    def raws(values: Sequence[Any]) -> list[Raw]:
        said: list[Raw] = [
            round(low if (raw := (values[at] * unit - bias) / factor) < low else high if raw > high else raw)
            for at, unit, bias, factor, low, high in flat
        ]
        for at, part, unit, bias, factor, low, high, wrap in odd:
            value = values[at]
            raw = ((value if part is None else value[part]) * unit - bias) / factor
            whole = round(low if raw < low else high if raw > high else raw)
            said.append(whole % wrap if wrap else whole)
        for at, steps in stepped:
            said.append(steps[min(int(values[at]), len(steps) - 1)])
        return said

    return raws
