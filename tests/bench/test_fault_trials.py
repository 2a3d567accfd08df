"""For each fault, the gateway's core does what the fault says that it must."""

import pytest

import modeldb
from bench.fault_trial import fault_on_trial, trial
from devices.faults import ALL

BRANDS = ("TELTONIKA", "GBT32960", "MERCEDES_BENZ")
OTHERS = [
    (name, brand) for name, kind in sorted(ALL.items()) for brand in BRANDS if kind().suits(modeldb.load().brands[brand].protocol)
]


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_gateway_does_about_a_fault_what_it_must(name: str):
    checks = trial(fault_on_trial(name, "CLOUDBOXX"))
    assert checks
    assert not [check.text for check in checks if not check.ok]


@pytest.mark.night
@pytest.mark.parametrize(("name", "brand"), OTHERS)
def test_the_gateway_does_so_for_units_of_other_protocols(name: str, brand: str):
    checks = trial(fault_on_trial(name, brand), brand)
    assert not [check.text for check in checks if not check.ok]
