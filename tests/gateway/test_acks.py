"""What an Ack says, and when it is sent."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.acks import AckPacer
from gateway.memory import SEQUENCE_MODULUS, WINDOW_BITS, Window, ahead
from gateway.throttle import BURST, RATE_PER_S, Throttle
from protocols.codec import UnitId

UNIT, OTHER = UnitId("CLOUDBOXX", "0123456789ABCDEF"), UnitId("CLOUDBOXX", "FEDCBA9876543210")


@given(start=st.integers(0, SEQUENCE_MODULUS - 1), arrivals=st.lists(st.integers(1, 100), max_size=150))
def test_the_window_knows_what_arrived_in_any_order_and_over_the_wrap(start, arrivals):
    window = Window(start)
    for distance in arrivals:
        window = window.with_arrived((start + distance) % SEQUENCE_MODULUS)
    arrived = set(arrivals)
    for distance in range(1, 110):
        assert window.holds((start + distance) % SEQUENCE_MODULUS) == (distance in arrived)
    complete = next(distance for distance in range(1, 200) if distance not in arrived) - 1
    assert window.cumulative == (start + complete) % SEQUENCE_MODULUS


@given(
    arrivals=st.lists(st.integers(1, 60), max_size=60),
    oldest=st.integers(1, 80),
)
def test_what_the_unit_has_forgotten_is_waited_for_no_longer(arrivals, oldest):
    window = Window()
    for sequence in arrivals:
        window = window.with_arrived(sequence)
    window = window.without_before(oldest)
    expected = set(arrivals) | set(range(1, oldest))
    assert all(window.holds(sequence) == (sequence in expected) for sequence in range(1, 100))


def test_a_frame_far_ahead_moves_the_window_on():
    window = Window().with_arrived(10 * WINDOW_BITS)
    assert window.holds(10 * WINDOW_BITS)
    assert not window.holds(10 * WINDOW_BITS - 1)
    assert window.holds(1)
    assert window.bitmap.bit_length() <= WINDOW_BITS


def test_ahead_counts_over_the_wrap():
    assert ahead(3, SEQUENCE_MODULUS - 2) == 5
    assert ahead(SEQUENCE_MODULUS - 2, 3) == -5


def test_an_ack_goes_out_for_sixteen_frames_or_after_a_second():
    pacer = AckPacer()
    assert pacer.counted(UNIT, 1, 10_000)
    assert not pacer.counted(UNIT, 15, 10_100)
    assert pacer.counted(UNIT, 1, 10_200)
    assert not pacer.counted(UNIT, 3, 10_300)
    assert pacer.due(11_100) == []
    assert pacer.due(11_200) == [UNIT]
    assert pacer.due(20_000) == []


def test_acks_of_one_unit_do_not_hold_up_anothers():
    pacer = AckPacer()
    assert pacer.counted(UNIT, 1, 0)
    assert pacer.counted(OTHER, 1, 1)


def test_a_loud_unit_is_throttled_and_a_quiet_one_is_not():
    throttle = Throttle()
    allowed = sum(throttle.allows(UNIT, 1000 + at) for at in range(1000))
    assert BURST + RATE_PER_S - 1 <= allowed <= BURST + RATE_PER_S + 1
    assert throttle.allows(OTHER, 1500)
    assert throttle.allows(UNIT, 10_000)
