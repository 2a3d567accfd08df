"""What the units of all public protocols have in common: the truth of their reports, and commands that are done once."""

import pytest

from devices.life import moving
from lab.sayable import is_near
from lab.thirdparty import CASES, IDS, PublicBench, kinds
from modeldb.model import VehicleModel
from protocols.envelope import Result

BRANDS = list(IDS)


@pytest.mark.parametrize(("brand", "model"), CASES, ids=lambda each: getattr(each, "file", each))
def test_what_the_gateway_reads_is_the_vehicles_truth(brand: str, model: VehicleModel) -> None:
    bench = PublicBench(brand, model, life=moving)
    translation = model.units[brand]
    bench.settle(bench.connect())
    compared = 0
    for _ in range(120):
        for frame in bench.settle(bench.tick(10)):
            if frame.kind != "state":
                continue
            told, truth = bench.state_of(frame), bench.vehicle.state()
            assert set(told) == set(truth)
            compared += 1
            for key, value in told.items():
                assert is_near(value, truth[key], translation.resolution(key)), key
    assert compared >= 20


@pytest.mark.parametrize("brand", BRANDS)
def test_a_command_is_answered_with_the_new_state_in_the_same_payload(brand: str) -> None:
    bench = PublicBench(brand)
    bench.settle(bench.connect())
    payloads = bench.unit.receive(bench.request("unlock-central-lock", 1), bench.now)
    said = bench.frames(payloads[:1])
    assert kinds(said) == ["result", "state"]
    (response,) = bench.results(said)
    assert (response.result, response.counter) == (Result.OK, 1)
    assert bench.state_of(said[1])["central_lock"] == "UNLOCKED"
    assert not bench.vehicle.locked


@pytest.mark.parametrize("brand", BRANDS)
def test_a_command_that_comes_again_is_answered_again_and_done_once_also_after_a_reboot(brand: str) -> None:
    bench = PublicBench(brand)
    bench.settle(bench.connect())
    request = bench.request("unlock-central-lock", 1)
    bench.settle(bench.hear(request))
    again = bench.settle(bench.hear(request))
    bench.switch_on()
    bench.settle(bench.connect())
    rebooted = bench.settle(bench.hear(request))
    assert [each.result for each in bench.results(again + rebooted)] == [Result.OK, Result.OK]
    assert bench.vehicle.executed == {"unlock-central-lock": 1}


@pytest.mark.parametrize("brand", BRANDS)
def test_a_refused_command_names_the_reason(brand: str) -> None:
    bench = PublicBench(brand)
    bench.settle(bench.connect())
    bench.vehicle.ignition = True
    (response,) = bench.results(bench.hear(bench.request("unlock-central-lock", 1)))
    assert response.parameters == bytes([Result.PRECONDITION]) + b"ignition_on"
    assert bench.vehicle.locked


@pytest.mark.parametrize("brand", BRANDS)
def test_a_forged_command_meets_silence(brand: str) -> None:
    bench = PublicBench(brand)
    bench.settle(bench.connect())
    assert bench.hear(bench.request("unlock-central-lock", 1, key=bytes(32))) == []
    assert bench.vehicle.locked
    assert bench.unit.gate.refused == {"forged": 1}


@pytest.mark.parametrize("brand", BRANDS)
def test_a_unit_without_the_time_wants_its_nonce_back(brand: str) -> None:
    bench = PublicBench(brand, synchronised=False)
    bench.unit.connected(bench.now)
    (clock,) = bench.results(bench.hear(bench.request("unlock-central-lock", 1)))
    assert clock.result is Result.CLOCK
    (response,) = bench.results(bench.hear(bench.request("unlock-central-lock", 2, nonce=clock.parameters[1:])))
    assert response.result is Result.OK
    assert not bench.vehicle.locked


@pytest.mark.parametrize("brand", BRANDS)
def test_noise_and_reflections_change_nothing(brand: str) -> None:
    bench = PublicBench(brand)
    said = bench.unit.connected(bench.now)
    bench.settle(bench.frames(said))
    stored = bench.stored
    for payload in (b"", b"nonsense", bytes(70_000), *said):
        assert bench.hear(payload) == []
    assert bench.stored == stored
    assert bench.unit.refused.total() >= 2


@pytest.mark.parametrize("brand", BRANDS)
def test_a_change_is_told_at_once(brand: str) -> None:
    bench = PublicBench(brand)
    bench.settle(bench.connect())
    bench.vehicle.doors_open.add("front_left")
    (told,) = bench.tick(2)
    assert bench.state_of(told)["doors_status"] == "OPEN"
