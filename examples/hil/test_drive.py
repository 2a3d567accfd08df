"""A drive of 3 km that loses coverage for two minutes: what happened meanwhile arrives late, whole and in order."""


def test_a_trip_with_a_gap_in_coverage_is_one_trip(vehicle, unit, gateway, command, expect_state):
    command("unlock-and-enable-driving")
    vehicle.drive(km=1)
    with unit.without_coverage(minutes=2) as gap:
        vehicle.drive(km=2)
    vehicle.park()
    command("lock-and-disable-driving")
    expect_state(central_lock="LOCKED")
    gateway.expect_late_and_in_order(gap)
    assert len(gateway.trips()) == 1
    assert vehicle.locked
