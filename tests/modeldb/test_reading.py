"""What reads with a rule's facts at hand reads what the rule reads, whatever a signal says."""

import math
import random
from typing import Any

import pytest

import modeldb
from modeldb.model import Translation
from modeldb.reading import reading
from modeldb.rule import Linear, Lookup, Scaling

TRANSLATIONS = {f"{brand} {model.file}": each for model in modeldb.load().models.values() for brand, each in model.units.items()}
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    "12",
    "",
    b"1",
    math.nan,
    math.inf,
    -math.inf,
    1 << 70,
    -1,
    0,
    1,
    0.5,
    2.5,
    -0.0,
    [],
    {},
)


@pytest.mark.parametrize("translation", TRANSLATIONS.values(), ids=TRANSLATIONS)
def test_every_rule_reads_the_same_either_way(translation: Translation) -> None:
    rng = random.Random(3)
    for rule in translation.rules:
        read = reading(rule)
        edges: list[Any] = []
        match rule:
            case Linear():
                scaling = rule.scaling
                ends = [end for end in (scaling.low, scaling.high, scaling.wrap, scaling.wrap // 2) if math.isfinite(end)]
                edges = [end + by for end in ends for by in (-1, -0.5, 0, 0.5, 1)]
                edges += [rng.randrange(int(max(scaling.low, -1e9)), int(min(scaling.high, 1e9)) + 1) for _ in range(20)]
            case Lookup():
                edges = [*range(300), *(rng.randrange(1 << 32) for _ in range(20)), *rule.words]
        for raw in (*ODD, *edges):
            signals = dict.fromkeys(rule.signals, raw)
            said = read(signals)
            assert (said, type(said)) == (rule.read(signals), type(rule.read(signals)))
        assert read({}) == rule.read({})


def test_what_arrives_as_twos_complement_is_read_as_what_it_is() -> None:
    rule = Linear("altitude_in_meters", "altitude", Scaling(-100, 100, 1.0, 0.0, 0, wrap=1 << 16))
    read = reading(rule)
    assert [read({"altitude": raw}) for raw in (65_535, 65_436, 65_435, 32_768, 100, 101)] == [-1, -100, None, None, 100, None]
    for raw in range(1 << 16):
        assert read({"altitude": raw}) == rule.read({"altitude": raw})
