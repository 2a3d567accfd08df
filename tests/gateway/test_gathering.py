"""A batch waits for company where much is said, and for nobody where little is."""

from gateway.gathering import LIMIT_S, WANTED, Gathering


def _after(payloads_per_s: float, seconds: float = 2.0, batch: int = 4) -> tuple[Gathering, float]:
    gathering, now = Gathering(), 100.0
    for _ in range(round(seconds * payloads_per_s / batch)):
        now += batch / payloads_per_s
        gathering.took(now, batch)
    return gathering, now


def test_the_first_payload_is_worked_on_at_once():
    assert Gathering().hold_s(100.0, 1) == 0


def test_where_little_is_said_nobody_waits():
    gathering, now = _after(100)
    assert gathering.hold_s(now, 1) == 0


def test_where_much_is_said_a_batch_waits_for_as_much_as_makes_it_cheap_and_never_long():
    gathering, now = _after(4_000)
    assert 0.5 * WANTED / 4_000 < gathering.hold_s(now, 1) < 2 * WANTED / 4_000
    gathering, now = _after(600)
    assert 0.5 * LIMIT_S < gathering.hold_s(now, 1) <= LIMIT_S + 1e-9


def test_what_is_many_already_does_not_wait():
    gathering, now = _after(4_000)
    assert gathering.hold_s(now, WANTED) == 0


def test_the_wait_is_counted_from_the_batch_before():
    gathering, now = _after(4_000)
    assert gathering.hold_s(now + LIMIT_S, 1) == 0


def test_silence_is_forgotten_within_a_second():
    gathering, now = _after(4_000)
    gathering.took(now + 1.0, 1)
    assert gathering.hold_s(now + 1.0, 1) == 0


def test_a_single_burst_does_not_make_the_next_one_wait():
    gathering = Gathering()
    gathering.took(100.0, 500)
    assert gathering.hold_s(103.0, 1) == 0
