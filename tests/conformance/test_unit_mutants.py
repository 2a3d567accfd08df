"""The kit proves itself: our units keep to every requirement, and each unit that is wrong in one thing is caught by it."""

import pytest

from bench.conformance.captures import protocol_of
from bench.conformance.requirement import Judged, Requirement, requirements
from bench.conformance.run import judge
from bench.conformance.targets import UnitTarget, talk_with
from devices.switch import FirmwareFactory
from lab.unit_mutants import MUTANTS, Mutant, factory
from protocols.codec import UnitId

IDS = {"CLOUDBOXX": "0123456789ABCDEF", "TELTONIKA": "356307042441013", "GBT32960": "LGXCE6CD0MA123456"}
IDS |= {"MERCEDES_BENZ": "W1K2060461F123456"}
OF_THE_KIT = ("VTC-FORM-005", "VTC-FORM-008", "VTC-FORM-009")
SHORT = MUTANTS[::6]


def judged(brand: str, wanted: list[Requirement], make: FirmwareFactory | None = None) -> list[Judged]:
    target = UnitTarget(UnitId(brand, IDS[brand]), protocol_of(brand), simulated=True, make=make)
    return judge(wanted, talk_with(target, print))


def caught(mutant: Mutant, patch: pytest.MonkeyPatch) -> None:
    requirement = requirements()[mutant.caught_by]
    [good] = judged(mutant.brand, [requirement])
    assert good.verdict == "pass", f"without the fault: {good.reason}"
    [found] = judged(mutant.brand, [requirement], factory(mutant, patch))
    assert found.verdict == "fail", f"{mutant.caught_by} says {found.verdict}: {found.reason}"
    assert found.expected
    assert found.seen


@pytest.mark.parametrize("mutant", SHORT, ids=lambda mutant: mutant.name)
def test_a_broken_unit_is_caught_by_the_requirement_that_is_meant_to(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    caught(mutant, monkeypatch)


@pytest.mark.night
@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each not in SHORT], ids=lambda mutant: mutant.name)
def test_every_other_broken_unit_is_caught_too(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    caught(mutant, monkeypatch)


@pytest.mark.parametrize("brand", IDS)
def test_our_units_keep_to_every_requirement(brand: str):
    protocol = protocol_of(brand).name
    among = [each for each in requirements().values() if each.side in ("unit", "frame") and each.protocol in (protocol, "vtc")]
    wanted = [each for each in among if each.id not in OF_THE_KIT and "-LINK-" not in each.id]
    found = judged(brand, sorted(wanted, key=lambda each: each.side == "frame"))
    assert [f"{each.requirement.id}: {each.reason}" for each in found if each.verdict == "fail" or each.kit_failed] == []
    assert all(each.reason and each.todo for each in found if each.verdict == "not_executed")
    of_units = [each for each in found if each.requirement.side == "unit"]
    assert all(each.verdict == "pass" for each in of_units), [each.reason for each in of_units if each.verdict != "pass"]
