"""A unit's power, modem and sleep: it boots, loses coverage and supply, hangs, sleeps and wakes, and says what happened to it."""

import itertools
from typing import Any

import msgspec
import pytest

from devices.behaviour import Behaviour, behaviour_of, behaviours
from devices.config import Intervals
from devices.firmware import Firmware
from devices.power import DATA_PERIOD_MS, NEXT, Happening, Phase, PoweredUnit, ResetCause
from devices.route import Point, Way
from lab.firmware import BOOT_MS, Bench, kinds, state_of
from lab.thirdparty import CASES, PublicBench
from protocols.codec import Frame

HOUR_S = 3600


def bench(**behaviour: Any) -> Bench:
    return Bench(behaviour=Behaviour(**behaviour))


def park(of: Bench) -> None:
    of.vehicle.ignition, of.vehicle.locked = False, True


def causes(said: list[Frame]) -> list[int]:
    return [frame.reports[0].signals["cause"] for frame in said if frame.kind == "event"]


def test_the_table_of_phases_leads_everywhere_and_always_out_again() -> None:
    reached = {after for (before, _), after in NEXT.items() if before is not after}
    assert reached == set(Phase)
    assert {before for before, _ in NEXT} == set(Phase)
    for phase in Phase:
        assert NEXT[phase, Happening.SUPPLY_LOST] is Phase.OFF
        assert NEXT[phase, Happening.RESET] is Phase.BOOTING


def test_every_brands_behaviour_can_be_read() -> None:
    assert {"CLOUDBOXX", "TELTONIKA", "MERCEDES_BENZ", "GBT32960"} <= behaviours().keys()
    assert behaviour_of("NOBODY") == Behaviour()
    with pytest.raises(msgspec.ValidationError, match="boots"):
        msgspec.convert({"boots": 1}, Behaviour)


def test_a_unit_boots_then_registers_then_is_online() -> None:
    ours = bench(boot_s=2.0)
    seen = [ours.unit.phase]
    assert ours.tick() == []
    assert ours.unit.next_tick(ours.now) == ours.now + 2_000
    assert ours.unit.dial_ms(ours.now) is None
    ours.tick(2)
    seen.append(ours.unit.phase)
    assert ours.unit.dial_ms(ours.now) == ours.now
    ours.connect()
    seen.append(ours.unit.phase)
    assert seen == [Phase.BOOTING, Phase.REGISTERING, Phase.ONLINE]


def test_a_lost_line_is_dialled_again_later_each_time_and_no_two_units_at_once() -> None:
    waits = []
    for later_ms in (0, 1):
        ours = bench(backoff_s=(1.0, 60.0))
        ours.now += later_ms
        ours.connect()
        ours.unit.disconnected(ours.now)
        assert ours.unit.phase is Phase.REGISTERING
        waits.append([])
        for _ in range(8):
            ours.unit.dial_failed(ours.now)
            due = ours.unit.dial_ms(ours.now)
            assert due is not None
            waits[-1].append(due - ours.now)
            ours.now = due
    for wait in waits:
        assert all(later > sooner for later, sooner in zip(wait[1:6], wait, strict=False))
        assert all(30_000 <= each <= 60_000 for each in wait[-2:])
    assert waits[0] != waits[1]


def test_a_refused_login_waits_longer_than_a_lost_line() -> None:
    ours = bench()
    ours.tick()
    ours.unit.dial_failed(ours.now, refused=True)
    due = ours.unit.dial_ms(ours.now)
    assert due is not None
    assert 2_500 <= due - ours.now <= 5_000


def test_without_coverage_nothing_is_dialled_and_the_journal_fills_and_then_comes_oldest_first() -> None:
    ours = bench()
    ours.connect_and_ack()
    ours.unit.cover(False, ours.now)
    assert ours.unit.phase is Phase.NO_COVERAGE
    assert ours.unit.dial_ms(ours.now) is None
    assert not ours.unit.wants_line
    for _ in range(3):
        assert ours.tick(60) == []
    ours.unit.cover(True, ours.now)
    assert ours.unit.dial_ms(ours.now) == ours.now
    said = ours.connect()
    assert [frame.sequence for frame in said] == sorted(frame.sequence for frame in said if frame.sequence)
    assert kinds(said).count("state") == 3


def test_a_brown_out_ends_everything_and_the_restart_tells_why() -> None:
    ours = bench(boot_s=1.0, brown_out_volts=8.0, restart_volts=9.5)
    ours.tick()
    ours.tick(1)
    ours.connect_and_ack()
    ours.vehicle.forced_supply_volts = 7.0
    assert ours.tick(1) == []
    assert ours.unit.phase is Phase.OFF
    assert not ours.unit.has_line
    ours.vehicle.forced_supply_volts = 9.0
    assert ours.tick(60) == []
    assert ours.unit.phase is Phase.OFF
    ours.vehicle.forced_supply_volts = 12.4
    ours.tick(60)
    assert ours.unit.phase is Phase.BOOTING
    ours.tick(1)
    hello, state, *_ = ours.connect()
    assert hello.facts["reset_cause"] == ResetCause.BROWN_OUT
    assert state.reports[0].signals["reset_cause"] == ResetCause.BROWN_OUT
    assert state.reports[0].signals["uptime"] == 0


def test_a_drained_battery_browns_the_unit_out_and_the_alternator_brings_it_back() -> None:
    ours = bench(boot_s=1.0)
    ours.tick()
    ours.vehicle.headlights = True
    for _ in range(9):
        ours.tick(HOUR_S)
    assert ours.unit.phase is Phase.OFF
    ours.vehicle.ignition = True
    ours.tick(60)
    ours.tick(1)
    assert ours.unit.reset_cause is ResetCause.BROWN_OUT
    assert ours.unit.phase is Phase.REGISTERING


def test_a_low_supply_is_told_once_until_it_has_recovered() -> None:
    ours = bench(low_volts=11.3)
    ours.connect_and_ack()
    told = []
    for volts in (11.0, 11.2, 11.4, 11.0, 12.0, 11.0):
        ours.vehicle.forced_supply_volts = volts
        told += causes(ours.tick(1))
        ours.ack(ours.unit.flash.sequence)
    assert told == [6, 6, 6]  # low, recovered, low again


def test_a_hung_program_is_reset_by_the_watchdog_and_says_so() -> None:
    ours = bench(watchdog_s=30.0)
    ours.connect_and_ack()
    ours.unit.hang(ours.now)
    assert ours.tick(29) == []
    assert ours.command("draw-attention") == []
    assert ours.unit.next_tick(ours.now) == ours.now + 1_000
    ours.tick(1)
    assert ours.unit.resets == 1
    assert ours.connect()[0].facts["reset_cause"] == ResetCause.WATCHDOG


def test_what_is_journalled_survives_a_reset_and_what_is_in_ram_does_not() -> None:
    ours = bench()
    ours.connect()
    held, was = dict(ours.unit.flash.journal), ours.unit.flash.sequence
    ours.unit.reset(ResetCause.UPDATE, ours.now)
    assert ours.unit.flash.journal == held
    said = ours.connect()
    assert kinds(said) == ["hello", "state", "hello", "state"]
    assert said[-1].sequence == was + 2


def test_a_parked_unit_falls_asleep_says_heartbeats_only_and_wakes_for_a_change_or_a_command() -> None:
    ours = bench(sleep_after_s=600, sleep_heartbeat_s=7200)
    park(ours)
    ours.connect_and_ack()
    said: list[Frame] = []
    ticks = 0
    for _ in range(1000):
        due = ours.unit.next_tick(ours.now)
        if due > BOOT_MS + 4 * HOUR_S * 1000:
            break
        said += ours.tick((due - ours.now) / 1000)
        ours.ack(ours.unit.flash.sequence)
        ticks += 1
    assert ours.unit.phase is Phase.SLEEPING
    assert kinds(said).count("state") == 9  # one a minute for ten minutes, the tenth asleep
    assert kinds(said).count("heartbeat") <= 3
    assert ticks < 20
    ours.vehicle.doors_open.add("front_left")
    ours.vehicle.locked = False
    (state,) = ours.tick(1)
    assert state_of(ours, state)["doors_status"] == "OPEN"
    assert ours.unit.phase is Phase.ONLINE
    ours.vehicle.doors_open.clear()
    ours.vehicle.locked = True
    ours.tick(1)
    ours.ack(ours.unit.flash.sequence)
    ours.tick(601)
    assert ours.unit.phase is Phase.SLEEPING
    ours.ack(ours.unit.flash.sequence)
    assert "result" in kinds(ours.command("draw-attention"))
    assert ours.unit.phase is Phase.ONLINE


def test_reports_come_by_distance_and_by_turn() -> None:
    corner = Way([Point(50.0, 7.0), Point(50.02, 7.0), Point(50.02, 7.03)], limits_kmh=[50.0, 50.0])
    ours = Bench(intervals=Intervals(10_000, 10_000, 60_000), behaviour=Behaviour(report_distance_m=500, report_turn_degrees=60))
    ours.vehicle.route = corner.begun_at(ours.vehicle.distance_m)
    ours.vehicle.driving_enabled = ours.vehicle.ignition = True
    ours.vehicle.target_speed_kmh = 50.0
    ours.connect_and_ack()
    places: list[tuple[float, float]] = []
    while not ours.vehicle.arrived:
        due = ours.unit.next_tick(ours.now)
        for frame in ours.tick((due - ours.now) / 1000):
            if frame.kind == "state":
                places.append((ours.vehicle.distance_m, ours.vehicle.here.heading))
        ours.ack(ours.unit.flash.sequence)
    driven = [after[0] - before[0] for before, after in itertools.pairwise(places)]
    assert all(each <= 560 for each in driven)
    assert any(round(before[1]) == 0 and round(after[1]) == 90 for before, after in itertools.pairwise(places))
    assert len(places) == pytest.approx(corner.length_m / 500, abs=2)


def test_a_used_up_sim_says_only_what_is_urgent_until_the_next_period() -> None:
    ours = Bench(behaviour=Behaviour(data_budget_bytes=2_000), intervals=Intervals(10, 10, 60_000))
    ours.connect_and_ack()
    said: list[Frame] = []
    for _ in range(100):
        said += ours.tick(10)
        ours.ack(ours.unit.flash.sequence)
    assert kinds(said).count("state") < 12
    assert ours.unit.over_budget(ours.now)
    ours.vehicle.locked = False
    assert kinds(ours.tick(10)) == ["event"]
    assert "result" in kinds(ours.command("draw-attention"))
    ours.ack(ours.unit.flash.sequence)
    ours.now = (ours.now // DATA_PERIOD_MS + 1) * DATA_PERIOD_MS
    assert "state" in kinds(ours.tick())


def test_the_fob_and_a_known_card_open_and_close_the_vehicle_and_are_told_as_such() -> None:
    ours = Bench(cards=frozenset({"04A1B2"}))
    ours.connect_and_ack()
    told = causes(ours_frames(ours, ours.unit.press_fob(False, ours.now)))
    assert not ours.vehicle.locked
    assert ours.vehicle.commanded_lock is None
    told += causes(ours_frames(ours, ours.unit.press_fob(True, ours.now)))
    assert told == [8, 8]
    (event,) = ours_frames(ours, ours.unit.show_card("04A1B2", ours.now))
    assert causes([event]) == [8]
    assert state_of(ours, event)["central_lock"] == "UNLOCKED"
    assert ours.vehicle.driving_enabled
    ours.unit.show_card("04A1B2", ours.now)
    assert ours.vehicle.locked
    ours.unit.show_card("FFFFFF", ours.now)
    assert ours.vehicle.locked
    assert ours.unit.cards_shown == {"opened": 1, "closed": 1, "unknown": 1}


def ours_frames(of: Bench, payloads: list[bytes]) -> list[Frame]:
    from lab.firmware import frames

    said = frames(payloads)
    of.ack(of.unit.flash.sequence)
    return said


def test_it_says_locked_and_is_not_since_the_ignition_is_on() -> None:
    ours = bench()
    ours.vehicle.locked, ours.vehicle.driving_enabled, ours.vehicle.ignition = False, True, True
    ours.vehicle.checks_ignition = False
    ours.connect_and_ack()
    result, state = ours.command("lock-central-lock")[-2:]
    assert result.kind == "result"
    assert state_of(ours, state)["central_lock"] == "UNLOCKED"
    assert state.reports[0].signals["commanded_locks"] & 3 == 1
    assert ours.vehicle.commanded_lock is True
    assert not ours.vehicle.locked


@pytest.mark.parametrize("brand", sorted({brand for brand, _ in CASES}))
def test_units_of_every_protocol_share_the_phases(brand: str) -> None:
    ours = PublicBench(brand, behaviour=Behaviour(boot_s=1.0, sleep_after_s=600, sleep_heartbeat_s=3600))
    unit: Firmware = ours.unit
    assert isinstance(unit, PoweredUnit)
    seen = [unit.phase]
    now = ours.now
    unit.tick(now)
    unit.tick(now + 1_000)
    seen.append(unit.phase)
    unit.connected(now + 1_000)
    seen.append(unit.phase)
    unit.cover(False, now + 2_000)
    seen.append(unit.phase)
    unit.cover(True, now + 3_000)
    unit.connected(now + 3_000)
    unit.tick(now + 700_000)
    seen.append(unit.phase)
    ours.vehicle.forced_supply_volts = 1.0
    unit.tick(now + 701_000)
    seen.append(unit.phase)
    assert seen == [
        Phase.BOOTING, Phase.REGISTERING, Phase.ONLINE, Phase.NO_COVERAGE, Phase.SLEEPING, Phase.OFF,
    ]  # fmt: skip
    ours.vehicle.forced_supply_volts = None
    unit.tick(now + 702_000)
    assert (unit.phase, unit.reset_cause) == (Phase.BOOTING, ResetCause.BROWN_OUT)
    assert unit.connected(now + 703_000)
