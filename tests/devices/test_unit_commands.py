"""Commands at the unit: executed once or not at all, never late, never for a stranger, and answered truthfully."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.flash import Flash
from devices.gate import ANSWERS_BURST
from lab.firmware import KEYS, QNR, Bench, frames, kinds, request, results, state_of
from protocols import envelope
from protocols.envelope import Envelope, Result, Type
from protocols.keys import brand_key, unit_keys

UNLOCK = "unlock-central-lock"


def ready(**config: object) -> Bench:
    bench = Bench(**config)  # type: ignore[arg-type]
    bench.connect_and_ack()
    return bench


def test_a_command_is_executed_and_answered_with_the_new_state_in_one_payload() -> None:
    bench = ready()
    payloads = bench.unit.receive(bench.carried(request(UNLOCK, 1, bench.now)), bench.now)
    assert len(payloads) == 1
    said = frames(payloads)
    assert kinds(said) == ["result", "state"]
    assert (results(said)[0].result, results(said)[0].counter) == (Result.OK, 1)
    assert state_of(bench, said[1])["central_lock"] == "UNLOCKED"
    assert bench.vehicle.executed == {UNLOCK: 1}
    assert bench.tick(1) == []  # the state has told the change: no event besides


def test_command_that_comes_again_is_not_executed_again() -> None:
    bench = ready()
    payload = bench.carried(request(UNLOCK, 1, bench.now))
    first = results(bench.hear(payload))[0]
    bench.vehicle.set_lock(True)
    bench.now += 1_000
    again = bench.hear(payload)
    assert results(again) == [first]
    assert state_of(bench, again[-1])["central_lock"] == "LOCKED"
    assert bench.vehicle.executed == {UNLOCK: 1}


def test_counter_survives_reboot() -> None:
    bench = ready()
    payload = bench.carried(request(UNLOCK, 9, bench.now))
    first = results(bench.hear(payload))
    bench.switch_on()
    bench.connect_and_ack()
    assert results(bench.hear(payload)) == first
    assert results(bench.command(UNLOCK, 8))[0].result is Result.REPLAY
    assert bench.vehicle.executed == {UNLOCK: 1}


def test_an_older_counter_is_told_the_last_one_so_that_the_gateway_comes_back_in_step() -> None:
    bench = ready()
    bench.command("request-vehicle-state", 1 << 40)
    (replay,) = results(bench.command(UNLOCK, 5))
    assert replay.parameters == bytes([Result.REPLAY]) + (1 << 40).to_bytes(8, "big")
    assert results(bench.command(UNLOCK, (1 << 40) + 1))[0].result is Result.OK


def test_the_same_counter_with_other_bytes_is_a_replay() -> None:
    bench = ready()
    bench.command("request-vehicle-state", 1)
    assert results(bench.command(UNLOCK, 1))[0].result is Result.REPLAY
    assert bench.vehicle.locked


def test_late_commands_die() -> None:
    bench = ready()
    payload = bench.carried(request(UNLOCK, 1, bench.now, lifetime_s=30))
    bench.now += 31_000
    assert results(bench.hear(payload))[0].result is Result.EXPIRED
    assert not bench.vehicle.executed


def test_an_expired_command_stays_dead_when_the_clock_is_set_back() -> None:
    bench = ready(clock_error_ms=120_000)
    payload = bench.carried(request(UNLOCK, 1, bench.now, lifetime_s=60))
    assert results(bench.hear(payload))[0].result is Result.EXPIRED
    bench.synchronise()
    assert results(bench.hear(payload))[0].result is Result.EXPIRED
    assert not bench.vehicle.executed


def test_a_command_that_would_live_too_long_is_refused() -> None:
    bench = ready()
    assert results(bench.command(UNLOCK, 1, lifetime_s=302))[0].result is Result.EXPIRED


@pytest.mark.parametrize("ignition", [True, False])
def test_a_precondition_is_named_and_the_request_is_used_up(ignition: bool) -> None:
    bench = ready()
    bench.vehicle.ignition = True
    payload = bench.carried(request(UNLOCK, 1, bench.now))
    refused = results(bench.hear(payload))
    assert refused[0].parameters == bytes([Result.PRECONDITION]) + b"ignition_on"
    bench.vehicle.ignition = ignition
    assert results(bench.hear(payload)) == refused
    assert bench.vehicle.locked
    assert not bench.vehicle.executed


def test_the_counter_is_stored_before_anything_moves() -> None:
    bench = ready()
    seen: list[tuple[int, int]] = []
    bench.on_store = lambda flash: seen.append((flash.counter, bench.vehicle.executed.total()))
    bench.command(UNLOCK, 7)
    assert seen[0] == (7, 0)


def test_a_unit_that_lost_power_in_the_act_neither_acts_again_nor_claims_anything() -> None:
    bench = ready()

    def power_cut(flash: Flash) -> None:
        if flash.counter == 7:
            raise KeyboardInterrupt

    bench.on_store = power_cut
    payload = bench.carried(request(UNLOCK, 7, bench.now))
    with pytest.raises(KeyboardInterrupt):
        bench.hear(payload)
    bench.on_store = lambda flash: None
    bench.switch_on()
    bench.connect_and_ack()
    assert bench.hear(payload) == []
    assert not bench.vehicle.executed


def test_a_unit_without_a_clock_wants_its_nonce_back() -> None:
    bench = ready(synchronised=False)
    (clock,) = results(bench.command(UNLOCK, 1))
    assert clock.result is Result.CLOCK
    nonce = clock.parameters[1:]
    assert len(nonce) == 8
    assert results(bench.command(UNLOCK, 2, nonce=nonce))[0].result is Result.OK
    assert results(bench.command(UNLOCK, 3, nonce=nonce))[0].result is Result.CLOCK
    assert bench.vehicle.executed == {UNLOCK: 1}


def test_a_nonce_does_not_keep() -> None:
    bench = ready(synchronised=False)
    nonce = results(bench.command(UNLOCK, 1))[0].parameters[1:]
    bench.now += 11_000
    assert results(bench.command(UNLOCK, 2, nonce=nonce))[0].result is Result.CLOCK
    assert not bench.vehicle.executed


def test_a_request_answered_with_a_nonce_is_not_executed_once_the_clock_is_set() -> None:
    bench = ready(synchronised=False)
    payload = bench.carried(request(UNLOCK, 1, bench.now))
    first = results(bench.hear(payload))
    bench.synchronise()
    assert results(bench.hear(payload)) == first
    assert not bench.vehicle.executed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (request(UNLOCK, 1, 1_795_446_000_000, key=bytes(32)), "forged"),
        (request(UNLOCK, 1, 1_795_446_000_000, unit="FFFFFFFFFFFFFFFF"), "forged"),
        (envelope.close(Envelope(Type.RESPONSE, 1, 1, 1_795_446_030, 0x101), QNR, KEYS.command), "forged"),
        (envelope.close(Envelope(Type.REQUEST, 2, 1, 1_795_446_030, 0x101), QNR, KEYS.command), "forged"),
        (request(UNLOCK, 1, 1_795_446_000_000)[:-1], "truncated"),
        (request(UNLOCK, 1, 1_795_446_000_000) + b"\0", "bad_length"),
        (b"", "truncated"),
    ],
)
def test_a_command_that_is_not_ours_is_met_with_silence_and_counted(data: bytes, reason: str) -> None:
    bench = ready()
    assert bench.hear(bench.carried(data)) == []
    assert bench.unit.gate.refused == {reason: 1}
    assert bench.unit.flash.counter == 0
    assert not bench.vehicle.executed


def test_one_flipped_bit_anywhere_and_nothing_happens() -> None:
    bench = ready()
    payload = bench.carried(request(UNLOCK, 1, bench.now))
    for bit in range(len(payload) * 8):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        bench.hear(bytes(flipped))
    assert bench.vehicle.locked
    assert not bench.vehicle.executed
    assert bench.unit.flash.counter == 0


def test_another_units_command_is_not_executed() -> None:
    other = unit_keys(brand_key(bytes(32), "CLOUDBOXX"), 1, "FFFFFFFFFFFFFFFF")
    bench = ready()
    data = request(UNLOCK, 1, bench.now, key=other.command, unit="FFFFFFFFFFFFFFFF")
    assert bench.hear(bench.carried(data)) == []
    assert not bench.vehicle.executed


def test_an_unknown_command_is_answered_as_unknown() -> None:
    bench = ready()
    data = envelope.close(Envelope(Type.REQUEST, 1, 1, bench.now // 1000 + 30, 0x0777), QNR, KEYS.command)
    assert results(bench.hear(bench.carried(data)))[0].result is Result.UNKNOWN


def test_recorded_commands_cannot_fill_the_journal() -> None:
    bench = ready()
    bench.command(UNLOCK, 10)
    old = bench.carried(request(UNLOCK, 1, bench.now))
    answers = sum(len(results(bench.hear(old))) for _ in range(1_000))
    assert answers == ANSWERS_BURST
    assert bench.vehicle.executed == {UNLOCK: 1}


def test_the_answer_does_not_wait_behind_a_backlog() -> None:
    bench = Bench()
    for _ in range(200):
        bench.tick(60)
    bench.connect()
    assert kinds(bench.command(UNLOCK, 1)) == ["result", "state"]


def test_a_result_and_the_state_behind_it_stay_together_in_small_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.connect()
    for counter in range(1, 6):
        bench.command("draw-attention", counter)
    for size in range(300, 900, 50):
        monkeypatch.setattr("devices.unit.PAYLOAD_BYTES", size)
        bench.unit.disconnected(bench.now)
        said = [kinds(frames([payload])) for payload in bench.unit.connected(bench.now)]
        assert [kind for payload in said for kind in payload].count("result") == 5
        assert all(payload[0] != "state" or "result" not in before for before, payload in pairwise(said))


def test_the_log_tells_which_request_was_carried_out() -> None:
    bench = ready()
    bench.command(UNLOCK, 4)
    bench.command("draw-attention", 6)
    assert [(line.counter, line.command) for line in bench.unit.gate.log] == [(4, 0x0101), (6, 0x0109)]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["send", "reboot", "wait", "sync"])), max_size=40))
def test_whatever_comes_in_whatever_order_no_request_is_executed_twice(steps: list[tuple[int, str]]) -> None:
    bench = ready(synchronised=False)
    sent = {counter: request("draw-attention", counter, bench.now, lifetime_s=200) for counter in range(1, 7)}
    executed: list[int] = []
    for counter, step in steps:
        match step:
            case "send":
                before = bench.vehicle.executed.total()
                bench.hear(bench.carried(sent[counter]))
                executed += [counter] * (bench.vehicle.executed.total() - before)
            case "reboot":
                bench.switch_on()
                bench.connect_and_ack()
            case "wait":
                bench.now += counter * 10_000
            case "sync":
                bench.synchronise()
    assert len(executed) == len(set(executed))
    assert executed == sorted(executed)
