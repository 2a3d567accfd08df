"""The AutoAPI unit: states with their time and VIN at intervals, nothing kept."""

from lab.thirdparty import PublicBench, kinds
from protocols import envelope
from protocols.envelope import NATIVE_COMMAND, Envelope, Result, Type


def test_a_state_says_when_and_of_which_vehicle() -> None:
    bench = PublicBench("MERCEDES_BENZ")
    (state,) = bench.connect()
    assert (state.kind, state.unit) == ("state", bench.unit_id)
    assert state.reports[0].captured_at == bench.now


def test_states_come_every_ten_seconds_driving_and_every_minute_parked() -> None:
    bench = PublicBench("MERCEDES_BENZ")
    bench.connect()
    assert bench.unit.next_tick(bench.now) == bench.now + 60_000
    bench.vehicle.ignition = True
    assert kinds(bench.tick(1)) == ["state"]
    assert bench.tick(9.9) == []
    assert kinds(bench.tick(0.1)) == ["state"]


def test_without_a_line_nothing_is_kept() -> None:
    bench = PublicBench("MERCEDES_BENZ")
    bench.connect()
    bench.unit.disconnected(bench.now)
    assert bench.tick(120) == []
    assert not bench.unit.flash.journal
    assert kinds(bench.connect()) == ["state"]


def test_a_native_message_that_is_no_command_is_answered_as_unknown() -> None:
    bench = PublicBench("MERCEDES_BENZ")
    bench.connect()
    asked = Envelope(Type.REQUEST, 1, 1, bench.now // 1000 + 30, NATIVE_COMMAND, b"\x0d\x00")
    (response,) = bench.results(bench.hear(envelope.close(asked, bench.unit_id, bench.keys.command)))
    assert response.result is Result.UNKNOWN
    assert not bench.vehicle.executed
