"""Doors and locks that the unit reads on the vehicle's CAN bus: what is not said there is not known."""

import pytest

pytestmark = pytest.mark.stand(can="virtual")


def test_a_door_on_the_bus_is_a_door_in_the_state(vehicle, command, expect_state, expect_event):
    command("unlock-central-lock")
    vehicle.open("rear_left")
    expect_event("DoorsStatusChanged", to="OPEN")
    command("lock-central-lock", expect=422, reason="door_open")
    vehicle.close("rear_left")
    expect_state(doors_status="CLOSED", central_lock="UNLOCKED")


def test_a_lock_that_jams_is_told_as_the_bus_says_it(vehicle, command, expect_state):
    vehicle.set(stuck={"central_lock"})
    command("unlock-central-lock")
    expect_state(central_lock="LOCKED")
    assert vehicle.truth.commanded_lock is False


def test_a_silent_control_unit_changes_nothing(bench, vehicle, gateway, expect_state):
    expect_state(doors_status="CLOSED")
    bench.can.ecus.silence("Body")
    vehicle.open("front_left")
    bench.wait(90)
    assert gateway.state["doors_status"] == "CLOSED"
    bench.can.ecus.speak()
    expect_state(doors_status="OPEN")
