"""The GB/T 32960 terminal's session: login, time, reports every 30 s, storage without a line and reissue after it."""

from dataclasses import replace

import pytest

from lab.thirdparty import DATABASE, PublicBench, kinds, records
from protocols.codec import Frame
from protocols.gbt32960 import ERROR, REALTIME, REISSUE, time_fields


def terminal(stored: int = 0, **config: object) -> PublicBench:
    """A terminal that was without a line while it stored `stored` reports."""
    bench = PublicBench("GBT32960", **config)
    for _ in range(stored):
        bench.tick(30)
    return bench


def commands(said: list[Frame]) -> list[int]:
    return [frame.facts["command"] for frame in said if frame.kind == "state"]


def test_reports_are_stored_until_the_login_is_answered_and_then_reissued() -> None:
    bench = terminal(3)
    said = bench.connect()
    assert kinds(said) == ["hello"]
    assert commands(bench.tick(30)) == []
    heard = bench.answer(said)
    assert kinds(heard) == ["time_sync", *["state"] * 4]
    assert commands(heard) == [REISSUE] * 4
    bench.settle(heard)
    assert not bench.unit.flash.journal
    assert commands(bench.tick(30)) == [REALTIME]


def test_a_login_without_an_answer_is_tried_three_times_a_minute_apart_and_then_after_half_an_hour() -> None:
    bench = terminal()
    moments = []
    for second in range(0, 2100, 10):
        said = bench.connect() if second == 0 else bench.tick(10)
        moments += [second for frame in said if frame.kind == "hello"]
    assert moments == [0, 60, 120, 1920, 1980, 2040]


def test_a_refused_login_is_no_login() -> None:
    bench = terminal()
    (login,) = bench.connect()
    refused = Frame("answer", login.unit, facts={**login.facts, "flag": ERROR, "body": {"time": login.facts["body"]["time"]}})
    assert bench.hear(bench.protocol.encode(refused)) == []
    assert kinds(bench.tick(60)) == ["hello"]


def test_login_numbers_count_up_within_a_beijing_day_over_reboots_and_begin_again_the_next() -> None:
    bench = terminal()
    numbers = []
    for after_s in (0, 60, 60, 86_400):
        bench.now += after_s * 1000
        bench.switch_on()
        (login,) = (frame for frame in bench.connect() if frame.kind == "hello")
        numbers.append(login.facts["sequence"])
    assert numbers == [1, 2, 3, 1]


def test_a_report_comes_at_least_every_thirty_seconds() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    assert bench.unit.next_tick(bench.now) == bench.now + 30_000
    assert bench.tick(29.9) == []
    assert kinds(bench.tick(0.1)) == ["state"]


def test_a_report_without_an_answer_is_reissued_with_the_same_content() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    (report,) = bench.tick(30)
    again = [frame for frame in bench.tick(10) if frame.kind == "state"]
    assert commands(again) == [REISSUE]
    assert records(again) == records([report])
    bench.answer([report])
    assert not bench.unit.flash.journal


def test_an_answer_acknowledges_only_the_report_whose_time_it_names() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    (first,) = bench.tick(30)
    bench.vehicle.locked = False
    second = [frame for frame in bench.tick(3) if frame.kind == "state"]
    other = replace(first, facts={**first.facts, "body": {**first.facts["body"], "time": time_fields(bench.now + 60_000)}})
    bench.answer([other])
    assert len(bench.unit.flash.journal) == 2
    bench.answer(second)
    assert list(bench.unit.flash.journal.values()) == [bench.protocol.encode(first)]


def test_stored_reports_survive_a_reboot_and_go_out_as_reissues() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    reported = bench.tick(30)
    bench.unit.disconnected(bench.now)
    bench.now += 5_000
    bench.switch_on()
    said = bench.settle(bench.connect())
    again = [frame for frame in said if records([frame]) == records(reported)]
    assert commands(again) == [REISSUE]
    assert not bench.unit.flash.journal


def test_the_platforms_time_sets_a_clock_that_is_off_but_only_when_it_was_asked_for() -> None:
    bench = terminal(clock_error_ms=-3_600_000, synchronised=False)
    bench.hear(bench.protocol.synchronise(bench.unit_id, bench.now, b"") or b"")
    assert not bench.unit.rtc.synchronised
    bench.settle(bench.connect())
    assert bench.unit.rtc.synchronised
    assert abs(bench.unit.rtc.read(bench.now) - bench.now) < 1_000


def test_where_the_platform_does_not_answer_reports_what_went_out_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = terminal(2)
    monkeypatch.setattr(bench.unit, "_answered", False)
    (login,) = bench.connect()
    heard = bench.hear(bench.protocol.answer(login, 0) or b"")
    assert commands(heard) == [REISSUE] * 2
    assert not bench.unit.flash.journal


def test_it_logs_out_with_the_number_of_its_login() -> None:
    bench = terminal()
    assert bench.unit.leaving(bench.now) == []
    bench.settle(bench.connect())
    (logout,) = bench.frames(bench.unit.leaving(bench.now))
    assert (logout.kind, logout.facts["body"]["sequence"]) == ("logout", 1)


def test_an_answer_for_another_vehicle_is_dropped() -> None:
    bench = terminal()
    (login,) = bench.connect()
    other = replace(login, unit="LGXCE6CD0MA654321")
    assert bench.hear(bench.protocol.answer(other, 0) or b"") == []
    assert bench.unit.refused == {"identity_mismatch": 1}


# Whole seconds, and the seconds around an alarm --------------------------------------------------------------------------


def moments(said: list[Frame]) -> list[int]:
    return [frame.captured_at or 0 for frame in said if frame.kind == "state"]


def test_no_two_reports_say_the_same_second_however_soon_commands_follow() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    said = []
    for counter, name in enumerate(("enable-driving", "disable-driving", "enable-driving"), 1):
        bench.now += 20
        said += bench.hear(bench.request(name, counter))
    assert moments(said) == [bench.now // 1000 * 1000 + 1000 * after for after in (1, 2, 3)]
    assert len({frame.reports[0].record for frame in said if frame.reports}) == 3


def test_what_changes_in_a_second_that_has_its_report_is_said_in_the_next() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    (first,) = bench.tick(30)
    bench.vehicle.locked = False
    assert bench.tick(0.4) == []
    assert bench.unit.next_tick(bench.now) == bench.now + 600
    (second,) = (frame for frame in bench.tick(0.6) if frame.kind == "state")
    assert moments([first, second]) == [bench.now - 1000, bench.now]


def test_a_clock_that_was_set_back_says_its_own_time_and_a_reboot_repeats_no_second() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    bench.unit.rtc.set(bench.now - 3_600_000, bench.now)
    (report,) = bench.tick(30)
    assert moments([report]) == [bench.now - 3_600_000]
    bench.unit.disconnected(bench.now)
    bench.switch_on()
    bench.unit.rtc.set(bench.now - 3_600_000, bench.now)
    assert bench.unit.next_tick(bench.now) <= bench.now
    said = bench.settle(bench.connect()) + bench.settle(bench.tick(1))
    assert len(set(moments(said))) == len({frame.reports[0].record for frame in said if frame.reports})


def driving(bench: PublicBench, seconds: int) -> list[Frame]:
    """So many seconds, each looked at when the unit asked to be."""
    said, until = [], bench.now + 1000 * seconds
    while (next_ms := bench.unit.next_tick(bench.now)) <= until:
        assert next_ms > bench.now or bench.now == until - 1000 * seconds
        said += bench.settle(bench.tick(max((next_ms - bench.now) / 1000, 0.001)))
    bench.now = until
    return said


def test_around_an_alarm_of_level_3_every_second_is_reported_and_those_before_it_are_reissued() -> None:
    bench = terminal()
    bench.settle(bench.connect())
    bench.vehicle.driving_enabled = bench.vehicle.ignition = True
    bench.settle(bench.tick(2))
    quiet = [frame for frame in driving(bench, 65) if frame.kind == "state"]
    assert commands(quiet) == [REALTIME] * len(quiet)
    bench.vehicle.warnings.add("brake_warning_indicator")
    began = bench.now
    said = [frame for frame in driving(bench, 40) if frame.kind == "state"]
    alarm = next(frame for frame in said if frame.facts["command"] == REALTIME)
    before = [frame for frame in said if frame.facts["command"] == REISSUE]
    levels = {frame.captured_at: frame.reports[0].signals["alarm_level"] for frame in (*quiet, *said)}
    assert levels[alarm.captured_at] == 3
    assert (alarm.captured_at or 0) - began <= 1000
    assert all(levels[at] == 0 for at in levels if at < (alarm.captured_at or 0))
    seconds = {(at - (alarm.captured_at or 0)) // 1000 for at in levels}
    assert set(range(-29, 31)) <= seconds
    assert 20 <= len(before) <= 30
    assert moments(before) == sorted(set(moments(before)))
    assert max(moments(before)) < (alarm.captured_at or 0)
    after = [at for at in moments(said) if at > (alarm.captured_at or 0) + 30_000]
    assert len(after) <= 3  # the alarm lasts, and reports are as usual again
    assert not bench.unit.flash.journal


def test_a_vehicle_that_cannot_say_alarms_keeps_no_seconds() -> None:
    benches = (PublicBench("GBT32960", model) for model in DATABASE.available("GBT32960"))
    bench = next(bench for bench in benches if "brake_warning_indicator" not in bench.vehicle.properties)
    bench.settle(bench.connect())
    bench.vehicle.ignition = True
    bench.settle(bench.tick(1))
    assert bench.unit.next_tick(bench.now) >= bench.now + 9_000
