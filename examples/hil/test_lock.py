"""Lock and unlock: the gateway says what the vehicle is, the vehicle does what the gateway says."""


def test_a_vehicle_is_unlocked_and_locked(vehicle, command, expect_state, expect_event):
    command("unlock-central-lock")
    expect_state(central_lock="UNLOCKED")
    command("lock-central-lock")
    expect_event("CentralLockChanged", from_="UNLOCKED", to="LOCKED")
    expect_state(central_lock="LOCKED")
    assert vehicle.locked


def test_a_vehicle_with_its_ignition_on_refuses_to_be_locked(vehicle, command, expect_state):
    command("unlock-and-enable-driving")
    vehicle.ignite()
    expect_state(ignition="ON")
    command("lock-central-lock", expect=422, reason="ignition_on")
    expect_state(central_lock="UNLOCKED")
    vehicle.ignite(False)
    command("lock-and-disable-driving")
    expect_state(central_lock="LOCKED", driving_enabled=False)
