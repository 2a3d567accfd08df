"""A number is said by the quick way as by the rule, and what it may not be is refused as before."""

import math

import pytest

import modeldb
from modeldb.inverse import inverse
from modeldb.rule import Linear
from modeldb.vocabulary import PROPERTIES

MODELS = list(modeldb.load().models.values())
VALUES = (-1e9, -40.25, -1.0, -0.0, 0.0, 0.004, 0.5, 49.9999, 99.95, 100.0, 1234.567, 4e6, 1e9)


def test_every_number_of_every_model_is_said_as_its_rule_says_it() -> None:
    compared = 0
    for model in MODELS:
        for translation in model.units.values():
            for rule in translation.rules:
                if isinstance(rule, Linear):
                    write = inverse([rule], translation.signals)
                    for value in VALUES:
                        assert write({rule.key: value}) == rule.write(value)
                        compared += 1
    assert compared > 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "50", 100.5, -0.5])
def test_a_share_that_is_none_is_refused(value: object) -> None:
    key = "state_of_charge_or_fuel_level_in_percent"
    assert not PROPERTIES[key].allows(value)
    translation = next(each for model in MODELS for each in model.units.values() if key in each.state_keys)
    with pytest.raises(ValueError, match=key):
        translation.invert({key: value})
