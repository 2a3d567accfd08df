"""Properties with few values are written apart from numbers, and remembered: the signals must be those of all rules at once."""

import random

import pytest

import modeldb
from modeldb.inverse import inverse
from modeldb.model import Translation
from modeldb.vocabulary import PROPERTIES

UNITS = [
    pytest.param(translation, id=f"{model.file}-{brand}")
    for model in modeldb.load().models.values()
    for brand, translation in model.units.items()
]
SAMPLES = {"bool": (True, False), "lamp": ("ON", "OFF", "SENSOR_FAILURE"), "date": ("2027-01-31", "2030-06-01")}


def some(key: str, rng: random.Random) -> object:
    known = PROPERTIES[key]
    if known.kind == "enum":
        return rng.choice(tuple(known.values))
    if known.kind == "position":
        return {"lat": rng.uniform(-90, 90), "lon": rng.uniform(-180, 180)}
    if known.kind in SAMPLES:
        return rng.choice(SAMPLES[known.kind])
    low, high = max(known.low, -1000), min(known.high, 100_000)
    return rng.randint(int(low), int(high)) if known.kind == "integer" else rng.uniform(low, high)


@pytest.mark.parametrize("translation", UNITS)
def test_the_signals_are_those_of_all_rules_at_once(translation: Translation) -> None:
    rng, whole = random.Random(5), inverse(translation.rules, translation.signals)
    for _ in range(12):
        keys = [key for key in translation.state_keys if rng.random() < rng.choice((0.5, 1.0))]
        state = {key: some(key, rng) for key in keys}
        for _ in range(2):  # the second time it is remembered
            assert translation.invert(state) == whole(state)


@pytest.mark.parametrize("wrong", [1, 0, None, [], "maybe"])
def test_what_is_no_value_is_refused_even_if_its_like_is_remembered(wrong: object) -> None:
    translation = next(each.values[0] for each in UNITS if "driving_enabled" in each.values[0].state_keys)  # type: ignore[union-attr]
    for value in (True, False):
        translation.invert({"driving_enabled": value})
    with pytest.raises(ValueError, match="driving_enabled"):
        translation.invert({"driving_enabled": wrong})
