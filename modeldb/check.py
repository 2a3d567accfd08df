"""The data files' own tests: every example runs, and what a model can do must show in what it can say."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from modeldb.brand import Brand
from modeldb.model import Translation, VehicleModel
from modeldb.vocabulary import COMMANDS


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a model file that does not hold. `key` is a dotted path in `file`."""

    file: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.problem}"


def check(models: Iterable[VehicleModel], brands: Iterable[Brand]) -> list[Problem]:
    """What does not hold in `models`. Brands that are like another one are not checked twice."""
    own = [brand.name for brand in brands if brand.like is None]
    return [
        problem
        for model in models
        for name in own
        if name in model.units
        for problem in check_unit(model.units[name], model.file, name)
    ]


def check_unit(unit: Translation, file: str, key: str) -> Iterator[Problem]:
    """Examples that are missing or wrong, and commands whose effect no rule reports."""
    if not unit.examples:
        yield Problem(file, f"{key}.examples", "there is none")
    for at, example in enumerate(unit.examples):
        where = f"{key}.examples[{at}].state"
        state = unit.translate(example.signals)
        yield from _differences(state, example.state, file, where)
        again = unit.translate(unit.invert(state))
        for problem in _differences(again, state, file, where):
            yield Problem(file, problem.key, f"said by a unit and read again: {problem.problem}")
    for command in unit.commands:
        for effect in COMMANDS[command].effect:
            if effect not in unit.state_keys:
                yield Problem(file, f"{key}.commands.{command}", f"no rule reports {effect}, which it changes")


def _differences(found: Mapping[str, object], expected: Mapping[str, object], file: str, where: str) -> Iterator[Problem]:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            yield Problem(file, f"{where}.{name}", f"is {found.get(name, 'not said')}, not {expected.get(name, 'not said')}")
