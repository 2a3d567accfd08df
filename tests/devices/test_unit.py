"""The CloudBoxx firmware's reports: what is said when, kept until acknowledged, and what is believed of what comes down."""

from typing import Any

import pytest

from devices.config import Intervals
from devices.journal import WINDOW
from devices.life import moving
from devices.unit import PAYLOAD_BYTES
from lab.firmware import DEV_KIT, KEYS, MODELS, QNR, Bench, frames, kinds, state_of
from modeldb.model import VehicleModel
from modeldb.vocabulary import PROPERTIES
from protocols.cloudboxx import CLOCK_UNSYNCHRONISED, DRIVING, PROTOCOL
from protocols.codec import Frame
from protocols.keys import brand_key, unit_keys

OTHER_KEYS = unit_keys(brand_key(bytes(32), "OTHER"), 1, QNR)


def drive_off(bench: Bench) -> None:
    bench.vehicle.driving_enabled = bench.vehicle.ignition = True
    bench.vehicle.target_speed_kmh = 50.0


def test_a_unit_says_hello_and_its_state_when_it_connects() -> None:
    bench = Bench()
    hello, state = bench.connect()
    assert (hello.kind, state.kind) == ("hello", "state")
    assert hello.facts["oldest_sequence"] == hello.sequence == 1
    assert len(hello.facts["iccid"]) == 19
    assert state.facts["oldest_sequence"] == 1
    assert state_of(bench, state)["central_lock"] == "LOCKED"


@pytest.mark.parametrize(("driving", "interval_s"), [(True, 10), (False, 60)])
def test_states_come_every_ten_seconds_driving_and_every_minute_parked(driving: bool, interval_s: int) -> None:
    bench = Bench()
    bench.connect_and_ack()
    if driving:
        drive_off(bench)
        bench.tick()
    bench.ack(bench.unit.flash.sequence)
    due = bench.unit.next_tick(bench.now)
    assert due == bench.now + interval_s * 1000
    assert bench.tick(interval_s - 0.001) == []
    (state,) = bench.tick(0.001)
    assert state.kind == "state"
    assert bool(state.facts["flags"] & DRIVING) is driving


def test_a_heartbeat_comes_every_quarter_of_an_hour() -> None:
    bench = Bench(intervals=Intervals(parked_s=40_000))
    bench.connect_and_ack()
    assert bench.unit.next_tick(bench.now) == bench.now + 900_000
    (heartbeat,) = bench.tick(900)
    assert (heartbeat.kind, heartbeat.facts["uptime"]) == ("heartbeat", 900)


def test_intervals_can_be_set_over_the_air_and_survive_a_reboot() -> None:
    bench = Bench()
    bench.connect_and_ack()
    bench.told("config", {"driving_interval": 5, "parked_interval": 20, "heartbeat_interval": 100})
    assert bench.unit.next_tick(bench.now) == bench.now + 20_000
    bench.tick(20)
    bench.switch_on()
    assert bench.unit.intervals == Intervals(5, 20, 100)


def test_an_interval_of_nothing_is_refused() -> None:
    bench = Bench()
    bench.connect_and_ack()
    bench.told("config", {"driving_interval": 0, "parked_interval": 20, "heartbeat_interval": 100})
    assert bench.unit.intervals == Intervals()
    assert bench.unit.refused == {"malformed": 1}


def test_a_change_is_told_at_once_with_its_position_and_cause() -> None:
    bench = Bench()
    bench.connect_and_ack()
    bench.vehicle.doors_open.add("rear_right")
    (event,) = bench.tick(1)
    told = state_of(bench, event)
    assert event.kind == "event"
    assert told["doors_status"] == "OPEN"
    assert set(told["position"]) == {"lat", "lon"}
    assert "mileage_in_kilometers" not in told
    assert event.reports[0].signals["cause"] == 3
    assert bench.tick(1) == []


def test_the_vehicles_own_life_is_told_in_the_moment_it_happens() -> None:
    bench = Bench(life=moving, intervals=Intervals(parked_s=1_000))
    bench.connect_and_ack()
    said = []
    while not said:  # that it is reserved, nobody can see
        due = bench.unit.next_tick(bench.now)
        assert due == bench.vehicle.next_change_ms
        said = bench.tick((due - bench.now) / 1000)
    (event,) = said
    assert state_of(bench, event)["central_lock"] == "UNLOCKED"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.file)
def test_what_the_gateway_understands_is_the_truth_within_each_signals_resolution(model: VehicleModel) -> None:
    bench = Bench(model, life=moving, seed=5)
    bench.connect_and_ack()
    compared = 0
    for _ in range(90):
        bench.now += 20_000
        for frame in frames(bench.unit.tick(bench.now)):
            if frame.kind == "state":
                truth, told = bench.vehicle.state(), state_of(bench, frame)
                assert told.keys() == truth.keys()
                for key, value in truth.items():
                    assert_same(told[key], value, bench.config.translation.resolution(key), key)
                compared += 1
        bench.ack(bench.unit.flash.sequence)
    assert compared > 30


def assert_same(told: Any, truth: Any, resolution: float, key: str) -> None:
    if isinstance(truth, dict):
        for axis in truth:
            assert abs(told[axis] - truth[axis]) <= resolution, key
    elif PROPERTIES[key].kind in ("number", "percent", "integer"):
        difference = abs(told - truth)
        if key == "heading_in_degrees":
            difference = min(difference, 360 - difference)
        assert difference <= resolution + 1e-9, key
    else:
        assert told == truth, key


def test_a_frame_is_sent_unchanged_until_it_is_acknowledged() -> None:
    bench = Bench(intervals=Intervals(parked_s=10_000, heartbeat_s=10_000))
    first = bench.unit.connected(bench.now)
    for wait_s in (10, 20, 40):
        assert bench.unit.tick(bench.now + wait_s * 1000 - 1) == []
        bench.now += wait_s * 1000
        assert bench.unit.tick(bench.now) == first
    bench.ack(2)
    assert bench.tick(80) == []
    assert len(bench.unit.journal) == 0


def test_a_backlog_comes_oldest_first_a_window_at_a_time() -> None:
    bench = Bench(intervals=Intervals(parked_s=1, heartbeat_s=60_000))
    for _ in range(100):
        bench.tick(1)
    said = [frame.sequence for frame in bench.connect() if frame.kind == "state"]
    assert said == list(range(2, WINDOW + 1))  # the first is the hello of its boot
    assert [frame.sequence for frame in bench.ack(20)] == list(range(WINDOW + 1, WINDOW + 21))


def test_payloads_hold_many_frames_but_stay_small() -> None:
    bench = Bench(intervals=Intervals(parked_s=1, heartbeat_s=60_000))
    for _ in range(WINDOW):
        bench.tick(1)
    payloads = bench.unit.connected(bench.now)
    assert len(payloads) < 3
    assert all(len(payload) <= PAYLOAD_BYTES for payload in payloads)


def test_without_a_line_nothing_is_sent_and_nothing_is_lost() -> None:
    bench = Bench()
    bench.connect_and_ack()
    bench.unit.disconnected(bench.now)
    for _ in range(5):
        assert bench.tick(60) == []
    assert [frame.kind for frame in bench.connect()] == [*["state"] * 5, "hello"]


def test_hello_is_not_said_again_while_it_is_unanswered() -> None:
    bench = Bench()
    bench.connect()
    for _ in range(10):
        bench.unit.disconnected(bench.now)
        bench.now += 1_000
        assert kinds(bench.connect()) == ["hello", "state"]
    assert len(bench.unit.journal) == 2


def test_a_full_journal_forgets_the_oldest_and_tells_what_is_gone() -> None:
    bench = Bench(journal_capacity=100, intervals=Intervals(parked_s=10, heartbeat_s=60_000))
    bench.connect()
    for _ in range(200):
        bench.tick(10)
    assert bench.unit.flash.forgotten == 102
    oldest = bench.unit.journal.oldest
    assert oldest == 103
    (heartbeat,) = (frame for frame in bench.ack(0) if frame.kind == "heartbeat")
    assert heartbeat.facts["oldest_sequence"] == bench.unit.journal.oldest == oldest + 1  # the heartbeat took a place itself
    states = [frame for frame in bench.tick(10) if frame.kind == "state"]
    assert bench.unit.flash.forgotten >= 103
    assert states


def test_the_gateway_is_told_of_a_gap_not_more_than_every_ten_seconds() -> None:
    bench = Bench(journal_capacity=50, intervals=Intervals(parked_s=10, heartbeat_s=60_000))
    for _ in range(200):
        bench.tick(10)
    bench.connect()
    captured = [bench.unit.flash.sequence]
    for wait_s in (0, 0, 10, 0):
        bench.now += wait_s * 1_000
        bench.ack(0)
        captured.append(bench.unit.flash.sequence - captured[0])
    assert captured[1:] == [1, 1, 2, 2]


def test_sequence_numbers_go_on_over_a_reboot_and_the_backlog_is_kept() -> None:
    bench = Bench()
    bench.connect()
    bench.tick(60)
    bench.switch_on()
    said = bench.connect()
    assert [frame.sequence for frame in said] == [1, 2, 3, 4, 5]
    assert kinds(said) == ["hello", "state", "state", "hello", "state"]


def test_what_was_sent_had_been_stored_before() -> None:
    bench = Bench()
    stored: list[int] = []
    bench.on_store = lambda flash: stored.append(max(flash.journal, default=0))
    assert max(frame.sequence or 0 for frame in bench.connect()) <= stored[-1]


def test_an_unsynchronised_clock_is_flagged_until_the_gateway_tells_the_time() -> None:
    bench = Bench(synchronised=False, clock_error_ms=-3_600_000)
    hello = bench.connect()[0]
    assert hello.facts["flags"] & CLOCK_UNSYNCHRONISED
    assert hello.captured_at == bench.now - 3_600_000
    bench.synchronise()
    state = bench.tick(60)[-1]
    assert not state.facts["flags"] & CLOCK_UNSYNCHRONISED
    assert state.captured_at == bench.now


def test_a_recorded_time_frame_cannot_turn_the_clock_back() -> None:
    bench = Bench()
    bench.connect_and_ack()
    bench.synchronise()
    bench.tick(3_600)
    bench.switch_on()
    assert bench.told("time", {"seconds": 1_000, "milliseconds": 0}, at=1_000_000) == []
    assert bench.unit.rtc.read(bench.now) == bench.now
    assert bench.unit.refused == {"expired": 1}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (PROTOCOL.acknowledge(QNR, 2, 0, 0, OTHER_KEYS.seal), "forged"),
        (PROTOCOL.acknowledge("FFFFFFFFFFFFFFFF", 2, 0, 0, KEYS.seal), "identity_mismatch"),
        (PROTOCOL.acknowledge(QNR, 2, 0, 0, KEYS.seal)[:-1] + b"\0", "bad_checksum"),
        (PROTOCOL.acknowledge(QNR, 2, 0, 0, KEYS.seal)[:20], "truncated"),
        (PROTOCOL.acknowledge(QNR, 999, 0, 0, KEYS.seal), "malformed"),
        (
            PROTOCOL.encode(
                Frame("heartbeat", QNR, 1, facts=dict.fromkeys(("uptime", "supply_voltage", "oldest_sequence"), 0)), KEYS.seal
            ),
            "forged",
        ),
        (b"noise", "bad_sync"),
        (bytes(64 * 1024 + 1), "oversized"),
    ],
)
def test_what_may_not_come_down_is_dropped_and_counted(payload: bytes, reason: str) -> None:
    bench = Bench()
    bench.connect()
    assert bench.hear(payload) == []
    assert bench.unit.refused == {reason: 1}
    assert len(bench.unit.journal) == 2


def test_a_good_frame_behind_noise_is_still_heard() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(b"noise" + PROTOCOL.acknowledge(QNR, 2, 0, bench.now, KEYS.seal))
    assert len(bench.unit.journal) == 0


def test_raw_facts_of_the_unit_are_in_every_state() -> None:
    bench = Bench(DEV_KIT)
    signals = bench.connect()[-1].reports[0].signals
    own = {"oldest_sequence", "journal_depth", "forgotten_frames", "rssi", "cell_id", "network", "supply_voltage"}
    own |= {"backup_voltage", "uptime", "reset_cause", "commanded_locks", "unit_temperature", "gnss_fix", "gnss_hdop"}
    assert own <= signals.keys()
    assert len(signals) >= 40
