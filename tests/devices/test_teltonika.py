"""The Teltonika tracker's session: records are kept, unchanged, until their count is acknowledged."""

from devices.teltonika import BATCH_RECORDS
from lab.thirdparty import PublicBench, kinds, records
from protocols.teltonika import LOGIN_ACCEPTED, LOGIN_REJECTED


def tracker(recorded: int = 0) -> PublicBench:
    """A tracker that was without a line while it made `recorded` records."""
    bench = PublicBench("TELTONIKA")
    for _ in range(recorded):
        bench.tick(60)
    return bench


def test_nothing_is_said_before_the_login_is_accepted() -> None:
    bench = tracker(3)
    assert kinds(bench.connect()) == ["hello"]
    assert bench.tick(5) == []
    (batch,) = bench.hear(LOGIN_ACCEPTED)
    assert len(batch.reports) == 3
    assert [report.captured_at for report in batch.reports] == sorted(report.captured_at or 0 for report in batch.reports)


def test_a_rejected_unit_asks_again_only_after_a_while() -> None:
    bench = tracker()
    bench.connect()
    assert bench.hear(LOGIN_REJECTED) == []
    assert bench.tick(200) == []
    assert kinds(bench.tick(100)) == ["hello"]


def test_one_batch_at_a_time_oldest_first() -> None:
    bench = tracker(2 * BATCH_RECORDS + 1)
    said = bench.settle(bench.connect())
    assert [len(frame.reports) for frame in said if frame.kind == "state"] == [BATCH_RECORDS, BATCH_RECORDS, 1]
    assert not bench.unit.flash.journal
    times = [report.captured_at or 0 for frame in said for report in frame.reports]
    assert times == sorted(times)


def test_a_count_that_is_not_theirs_makes_the_unit_send_the_same_batch_again() -> None:
    bench = tracker(3)
    (batch,) = bench.answer(bench.connect())
    bench.hear((2).to_bytes(4, "big"))
    assert len(bench.unit.flash.journal) == 3
    bench.vehicle.locked = False
    (again,) = bench.tick(40)
    assert records([again]) == records([batch])


def test_a_lost_ack_brings_the_same_batch_after_a_new_login() -> None:
    bench = tracker(3)
    (batch,) = bench.answer(bench.connect())
    (relogin,) = bench.tick(40)
    assert relogin.kind == "hello"
    (again,) = bench.answer([relogin])
    assert records([again]) == records([batch])
    bench.settle([again])
    assert not bench.unit.flash.journal


def test_an_answer_from_before_the_last_login_acknowledges_nothing() -> None:
    bench = tracker(3)
    bench.answer(bench.connect())
    bench.tick(40)
    bench.hear((3).to_bytes(4, "big"))
    assert len(bench.unit.flash.journal) == 3
    (again,) = bench.hear(LOGIN_ACCEPTED)
    assert len(again.reports) == 3


def test_the_record_after_a_command_does_not_take_the_ack_of_the_batch_before_it() -> None:
    bench = tracker(3)
    (batch,) = bench.answer(bench.connect())
    _, state = bench.hear(bench.request("unlock-central-lock", 1))
    assert len(bench.unit.flash.journal) == 4
    bench.answer([batch])
    assert list(bench.unit.flash.journal.values()) == [bench.protocol.encode(state)]
    bench.answer([state])
    assert not bench.unit.flash.journal


def test_records_survive_a_reboot_and_a_lost_line() -> None:
    bench = tracker(2)
    (batch,) = bench.answer(bench.connect())
    bench.unit.disconnected(bench.now)
    bench.switch_on()
    said = bench.settle(bench.connect())
    assert records(said)[:2] == records([batch])


def test_a_full_journal_forgets_the_oldest() -> None:
    bench = PublicBench("TELTONIKA", journal_capacity=5)
    for _ in range(8):
        bench.tick(60)
    assert bench.unit.flash.forgotten == 3
    assert len(records(bench.settle(bench.connect()))) == 5


def test_a_keep_alive_comes_every_quarter_of_an_hour() -> None:
    bench = tracker()
    bench.settle(bench.connect())
    beats = [frame for _ in range(31) for frame in bench.settle(bench.tick(60)) if frame.kind == "heartbeat"]
    assert len(beats) == 2
