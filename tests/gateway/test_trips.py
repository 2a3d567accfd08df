"""Trips: begun and ended by what the fleet chose, measured, told once, and untouched by what comes late or again."""

import dataclasses
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.changes import Occasion
from gateway.events import derived_id, recorded_id
from gateway.memory import Memory, Recorded
from gateway.trips import distance_km, on_rental_status
from lab.units import NOW, VEHICLE, frame, hear

TRIPS = ("TripStarted", "TripEnded", "TripMetricsReady", "TripDiscarded")
MINUTE_MS = 60_000
HAMBURG, BREMEN = {"lat": 53.5511, "lon": 9.9937}, {"lat": 53.0793, "lon": 8.8017}
PARKED = {
    "driving_enabled": False,
    "ignition": "OFF",
    "mileage_in_kilometers": 1000.0,
    "state_of_charge_or_fuel_level_in_percent": 80.0,
    "position": HAMBURG,
}


class Drive:
    """A vehicle whose unit reports, each report one sequence number and `after_s` later than the last."""

    def __init__(self, vehicle=VEHICLE, **state):
        self.vehicle, self.memory, self.sequence, self.at = vehicle, Memory(), 0, NOW
        self.events = []
        self.report(0, **(PARKED | state))

    def report(self, after_s=0.0, **state):
        """The trip events of one more report."""
        self.at += round(after_s * 1000)
        self.sequence += 1
        return self.hear(frame(self.sequence, at=self.at, **state))

    def hear(self, payload):
        """The trip events of a payload, whatever it is."""
        receipt = hear(payload, self.memory, self.vehicle, at=self.at)
        self.memory = receipt.memory
        self.events += receipt.events
        return [event for event in receipt.events if event.type in TRIPS]


def types(events):
    return [event.type for event in events]


def choosing(trigger):
    return dataclasses.replace(VEHICLE, trip_trigger=trigger)


def test_a_trip_is_measured_from_start_to_end():
    drive = Drive()
    [started] = drive.report(10, driving_enabled=True)
    drive.report(600, speed_in_kilometers_per_hour=120.0, mileage_in_kilometers=1020.0)
    drive.report(600, speed_in_kilometers_per_hour=80.0, mileage_in_kilometers=1039.0)
    ended, measured = drive.report(
        600,
        driving_enabled=False,
        mileage_in_kilometers=1040.0,
        state_of_charge_or_fuel_level_in_percent=72.0,
        position=BREMEN,
        speed_in_kilometers_per_hour=0.0,
    )
    assert types([started, ended, measured]) == ["TripStarted", "TripEnded", "TripMetricsReady"]
    assert started.body["trip"]["start"]["timestamp"] == "2026-11-23T15:00:10Z"
    assert started.body["trip"]["start"]["position"] == pytest.approx(HAMBURG)
    assert ended.body["trip"]["end"]["timestamp"] == "2026-11-23T15:30:10Z"
    assert ended.body["trip"]["end"]["position"] == pytest.approx(BREMEN)
    assert {event.body["trip"]["id"] for event in (started, ended, measured)} == {started.body["trip"]["id"]}
    assert measured.body["metrics"] == {
        "distance_in_kilometers": 40.0,
        "distance_source": "MILEAGE",
        "duration_in_seconds": 1800.0,
        "energy_used_in_percent": 8.0,
        "average_speed_in_kilometers_per_hour": 80.0,
        "maximum_speed_in_kilometers_per_hour": 120.0,
    }
    assert drive.memory.trip is None


@pytest.mark.parametrize(("duration_ms", "last"), [(59_999, "TripDiscarded"), (60_000, "TripMetricsReady")])
def test_a_trip_under_one_minute_is_discarded(duration_ms, last):
    drive = Drive()
    drive.report(10, driving_enabled=True)
    assert types(drive.report(duration_ms / 1000, driving_enabled=False)) == ["TripEnded", last]


@pytest.mark.parametrize(("trigger", "on", "off"), [("DRIVING_ENABLED", True, False), ("IGNITION", "ON", "OFF")])
def test_the_fleets_trigger_and_no_other_makes_trips(trigger, on, off):
    drive = Drive(choosing(trigger))
    key = trigger.lower()
    other, other_on = ("ignition", "ON") if trigger == "DRIVING_ENABLED" else ("driving_enabled", True)
    assert drive.report(10, **{other: other_on}) == []
    [started] = drive.report(10, **{key: on})
    assert (started.type, started.body["trip"]["trigger"]) == ("TripStarted", trigger)
    assert drive.report(10, **{key: on}) == []
    assert types(drive.report(90, **{key: off})) == ["TripEnded", "TripMetricsReady"]
    assert drive.report(10, **{key: off}) == []


def test_a_fleet_whose_rentals_are_trips_has_no_others():
    drive = Drive(choosing("RENTAL_STATUS"))
    assert drive.report(10, driving_enabled=True, ignition="ON") == []
    assert drive.report(90, driving_enabled=False, ignition="OFF") == []


def test_a_vehicle_first_heard_of_on_the_road_has_no_trip_until_the_next():
    drive = Drive(driving_enabled=True)
    assert drive.memory.trip is None
    assert drive.report(90, driving_enabled=False) == []
    assert types(drive.report(90, driving_enabled=True)) == ["TripStarted"]


def test_a_trip_ends_by_what_it_began_with():
    drive = Drive(choosing("IGNITION"))
    drive.report(10, ignition="ON")
    drive.vehicle = choosing("DRIVING_ENABLED")
    assert drive.report(10, driving_enabled=True) == []
    assert drive.report(10, driving_enabled=False) == []
    ended, _ = drive.report(90, ignition="OFF")
    assert (ended.type, ended.body["trip"]["trigger"]) == ("TripEnded", "IGNITION")


def test_a_late_report_makes_no_trip():
    drive = Drive()
    late_on, late_off = frame(2, at=NOW + 1000, driving_enabled=True), frame(3, at=NOW + 90_000, driving_enabled=False)
    drive.sequence = 3
    assert drive.report(100, driving_enabled=False) == []
    assert drive.hear(late_on) == drive.hear(late_off) == []
    assert types(drive.report(10, driving_enabled=True)) == ["TripStarted"]
    before = drive.memory.trip
    drive.sequence = 8
    drive.report(10, driving_enabled=True, speed_in_kilometers_per_hour=30.0)
    assert drive.hear(frame(7, at=drive.at - 1, driving_enabled=False, speed_in_kilometers_per_hour=99.0)) == []
    assert drive.memory.trip == msgspec.structs.replace(before, fastest_km_h=30.0)


def test_a_report_that_comes_again_makes_no_trip():
    drive = Drive()
    payload = frame(2, at=NOW + 10_000, driving_enabled=True)
    assert types(drive.hear(payload)) == ["TripStarted"]
    memory = drive.memory
    assert drive.hear(payload) == []
    assert drive.memory == memory


def test_a_gateway_that_forgot_the_last_batch_tells_the_same_trip():
    drive = Drive()
    before, at = drive.memory, drive.at
    first = drive.report(10, driving_enabled=True) + drive.report(90, driving_enabled=False)
    drive.memory, drive.at, drive.sequence = before, at, 1
    again = drive.report(10, driving_enabled=True) + drive.report(90, driving_enabled=False)
    assert [(event.id, event.body) for event in first] == [(event.id, event.body) for event in again]
    assert len({event.id for event in first}) == 3


def test_ids_follow_from_the_report():
    drive = Drive()
    told = len(drive.events)
    drive.report(10, driving_enabled=True)
    recorded, *changed, started = drive.events[told:]
    assert types([recorded, *changed, started]) == ["VehicleStateRecorded", "DrivingEnabledChanged", "TripStarted"]
    assert [event.id for event in (*changed, started)] == [
        str(derived_id(recorded.id, event.type)) for event in (*changed, started)
    ]
    assert started.flow_id == recorded.flow_id


def test_without_an_odometer_the_way_over_the_positions_counts():
    drive = Drive()
    del_mileage = {key: value for key, value in drive.memory.state.items() if key != "mileage_in_kilometers"}
    drive.memory = msgspec.structs.replace(drive.memory, state=del_mileage)
    drive.report(10, driving_enabled=True, position=HAMBURG)
    way = [{"lat": HAMBURG["lat"] + 0.01 * n, "lon": HAMBURG["lon"]} for n in range(11)]
    for position in way[1:]:
        drive.report(60, driving_enabled=True, position=position)
    _, measured = drive.report(60, driving_enabled=False, position=way[-1])
    expected = sum(distance_km(one, other) for one, other in pairwise(way))
    assert measured.body["metrics"]["distance_source"] == "POSITIONS"
    assert measured.body["metrics"]["distance_in_kilometers"] == pytest.approx(expected, rel=1e-3)


def test_an_odometer_that_went_back_or_was_not_read_again_is_not_believed():
    for last in ({"mileage_in_kilometers": 5.0}, {}):
        drive = Drive()
        drive.report(10, driving_enabled=True)
        _, measured = drive.report(1800, driving_enabled=False, position=BREMEN, **last)
        assert measured.body["metrics"]["distance_source"] == "POSITIONS"
        assert measured.body["metrics"]["distance_in_kilometers"] == pytest.approx(distance_km(HAMBURG, BREMEN), abs=0.01)


def test_noise_and_wild_jumps_of_the_receiver_are_no_way():
    drive = Drive()
    drive.report(10, driving_enabled=True)
    draw = random.Random(1)
    for _ in range(100):
        noisy = {axis: value + draw.uniform(-3e-5, 3e-5) for axis, value in HAMBURG.items()}
        drive.report(10, driving_enabled=True, position=noisy)
    drive.report(10, driving_enabled=True, position={"lat": 0.0, "lon": 0.0})
    _, measured = drive.report(10, driving_enabled=False, position=HAMBURG)
    assert measured.body["metrics"]["distance_in_kilometers"] < 0.1


def test_what_nobody_measured_is_null():
    drive = Drive()
    drive.memory = msgspec.structs.replace(drive.memory, state={"driving_enabled": Recorded(False, NOW, 1)})
    drive.report(10, driving_enabled=True)
    _, measured = drive.report(90, driving_enabled=False)
    assert measured.body["metrics"] == {
        "distance_in_kilometers": None,
        "distance_source": None,
        "duration_in_seconds": 90.0,
        "energy_used_in_percent": None,
        "average_speed_in_kilometers_per_hour": None,
        "maximum_speed_in_kilometers_per_hour": None,
    }
    assert measured.body["trip"]["start"]["position"] is None


def test_what_is_charged_on_the_way_counts_against_what_is_used():
    drive = Drive()
    drive.report(10, driving_enabled=True)
    _, measured = drive.report(90, driving_enabled=False, state_of_charge_or_fuel_level_in_percent=95.0)
    assert measured.body["metrics"]["energy_used_in_percent"] == pytest.approx(-15.0, abs=0.5)


@pytest.mark.parametrize(
    ("one", "other", "expected_km"),
    [
        (HAMBURG, HAMBURG, 0.0),
        ({"lat": 0.0, "lon": 0.0}, {"lat": 0.0, "lon": 180.0}, 20015.1),
        ({"lat": 0.0, "lon": 179.5}, {"lat": 0.0, "lon": -179.5}, 111.195),
        (HAMBURG, BREMEN, 95.0),
    ],
)
def test_distances_on_the_globe(one, other, expected_km):
    assert distance_km(one, other) == pytest.approx(expected_km, rel=0.01)
    assert distance_km(one, other) == distance_km(other, one)


@settings(deadline=None, max_examples=200)
@given(
    enabled=st.lists(st.booleans(), min_size=1, max_size=16),
    seed=st.integers(0, 2**32),
    repeats=st.integers(1, 3),
    lateness=st.integers(0, 4),
)
def test_every_start_has_its_end_whatever_the_order(enabled, seed, repeats, lateness):
    draw = random.Random(seed)
    frames = [frame(n, oldest=1, at=NOW + n * 40_000, driving_enabled=on) for n, on in enumerate([False, *enabled, False], 1)]
    order = sorted(range(len(frames)), key=lambda n: n + draw.uniform(0, lateness))
    memory, told = Memory(), []
    for n in order:
        for _ in range(repeats):
            receipt = hear(frames[n], memory, at=NOW + 10**7)
            memory = receipt.memory
            told += [event for event in receipt.events if event.type in TRIPS]
    assert len({event.id for event in told}) == len(told)
    by_trip = [[event for event in told if event.body["trip"]["id"] == trip] for trip in {e.body["trip"]["id"] for e in told}]
    assert [types(trip)[:2] for trip in by_trip] == [["TripStarted", "TripEnded"]] * len(by_trip)
    assert all(types(trip)[2:] in (["TripMetricsReady"], ["TripDiscarded"]) for trip in by_trip)
    assert [event.type for event in told][::3] == ["TripStarted"] * len(by_trip)
    assert memory.trip is None
    if lateness == 0:
        changes = [*enabled, False]
        assert len(by_trip) == sum(on and not was for was, on in pairwise([False, *changes]))


def rental(at, number):
    parent = recorded_id(VEHICLE.vehicle_id, bytes([number]))
    return Occasion(parent, "flow-of-the-rental", at, at, VEHICLE.fleet_id, VEHICLE.vehicle_id)


def test_a_rental_is_a_trip_with_what_was_reported_meanwhile():
    drive = Drive(choosing("RENTAL_STATUS"))
    rental_trip, [started] = on_rental_status(drive.vehicle, drive.memory, True, rental(NOW + 1000, 1))
    assert (started.type, started.flow_id) == ("TripStarted", "flow-of-the-rental")
    drive.vehicle = dataclasses.replace(drive.vehicle, rental_trip=rental_trip)
    assert drive.report(60, speed_in_kilometers_per_hour=55.0, ignition="ON") == []
    assert drive.report(60, mileage_in_kilometers=1003.0, speed_in_kilometers_per_hour=20.0) == []
    after, [ended, measured] = on_rental_status(drive.vehicle, drive.memory, False, rental(NOW + 181_000, 2))
    assert (after, types([ended, measured])) == (None, ["TripEnded", "TripMetricsReady"])
    assert measured.body["trip"]["id"] == started.body["trip"]["id"]
    assert measured.body["metrics"]["distance_in_kilometers"] == 3.0
    assert measured.body["metrics"]["duration_in_seconds"] == 180.0
    assert measured.body["metrics"]["maximum_speed_in_kilometers_per_hour"] == 55.0
    drive.vehicle = dataclasses.replace(drive.vehicle, rental_trip=None)
    drive.report(10, ignition="OFF")
    assert drive.memory.trip is None


def test_the_next_rental_knows_nothing_of_the_last():
    drive = Drive(choosing("RENTAL_STATUS"))
    first, _ = on_rental_status(drive.vehicle, drive.memory, True, rental(NOW, 1))
    drive.vehicle = dataclasses.replace(drive.vehicle, rental_trip=first)
    drive.report(60, speed_in_kilometers_per_hour=150.0)
    second, _ = on_rental_status(
        dataclasses.replace(drive.vehicle, rental_trip=None), drive.memory, True, rental(NOW + 90_000, 2)
    )
    drive.vehicle = dataclasses.replace(drive.vehicle, rental_trip=second)
    _, [_, measured] = on_rental_status(drive.vehicle, drive.memory, False, rental(NOW + 190_000, 3))
    assert measured.body["metrics"]["maximum_speed_in_kilometers_per_hour"] is None


def test_a_rental_is_no_trip_where_the_fleet_chose_otherwise():
    assert on_rental_status(VEHICLE, Memory(), True, rental(NOW, 1)) == (None, ())
    assert on_rental_status(VEHICLE, Memory(), False, rental(NOW, 1)) == (None, ())


def test_a_rental_said_twice_changes_nothing():
    vehicle = choosing("RENTAL_STATUS")
    begun, _ = on_rental_status(vehicle, Memory(), True, rental(NOW, 1))
    vehicle = dataclasses.replace(vehicle, rental_trip=begun)
    assert on_rental_status(vehicle, Memory(), True, rental(NOW + 5, 2)) == (begun, ())
