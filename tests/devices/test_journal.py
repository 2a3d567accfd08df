"""The journal: a frame stays, unchanged, until it is acknowledged or the journal is full."""

from hypothesis import given
from hypothesis import strategies as st

from devices.flash import Flash
from devices.journal import RESEND_LIMIT_MS, SEQUENCE_MODULUS, WINDOW, Journal, ahead


def filled(count: int, first: int = 1, capacity: int = 1_000) -> Journal:
    journal = Journal(Flash(), capacity)
    for place in range(count):
        journal.append((first + place) % SEQUENCE_MODULUS, b"%d" % place)
    return journal


def sequences(journal: Journal, now: int = 0) -> list[int]:
    return [sequence for sequence, _ in journal.due(now)]


def test_full_journal_forgets_oldest_and_counts() -> None:
    flash = Flash()
    journal = Journal(flash, 1_000)
    for sequence in range(1, 1_051):
        journal.append(sequence, b"frame")
    assert (len(journal), journal.oldest, flash.forgotten) == (1_000, 51, 50)


def test_only_the_window_is_in_flight_and_oldest_first() -> None:
    journal = filled(100)
    assert sequences(journal) == list(range(1, WINDOW + 1))
    journal.sent(sequences(journal), 0)
    assert sequences(journal, 9_999) == []
    journal.acknowledge(10, 0)
    assert sequences(journal, 9_999) == list(range(WINDOW + 1, WINDOW + 11))


def test_urgent_frames_do_not_wait_for_the_window() -> None:
    journal = filled(100)
    journal.append(101, b"result", urgent=True)
    assert sequences(journal) == [*range(1, WINDOW + 1), 101]


def test_resends_wait_twice_as_long_each_time_up_to_five_minutes() -> None:
    journal, now, waits = filled(1), 0, []
    for _ in range(9):
        journal.sent(sequences(journal, now), now)
        due = journal.next_due_ms(now)
        assert due is not None
        assert sequences(journal, due - 1) == []
        waits.append(due - now)
        now = due
    assert waits == [10_000, 20_000, 40_000, 80_000, 160_000, *[RESEND_LIMIT_MS] * 4]


def test_after_a_lost_line_all_goes_out_again_at_once() -> None:
    journal = filled(5)
    journal.sent(sequences(journal), 0)
    assert sequences(journal, 1) == []
    journal.line_lost()
    assert sequences(journal, 1) == [1, 2, 3, 4, 5]


def test_an_ack_that_comes_late_or_twice_drops_nothing_more() -> None:
    journal = filled(10)
    assert journal.acknowledge(4, 0b10) == 5
    assert journal.acknowledge(4, 0b10) == 0
    assert journal.acknowledge(2, 0) == 0
    assert sequences(journal) == [5, 7, 8, 9, 10]


@given(
    first=st.integers(0, SEQUENCE_MODULUS - 1),
    count=st.integers(0, 60),
    offset=st.integers(-5, 65),
    bitmap=st.integers(0, 2**32 - 1),
)
def test_an_ack_drops_exactly_what_it_names_also_where_the_numbers_wrap(first: int, count: int, offset: int, bitmap: int) -> None:
    journal = filled(count, first)
    cumulative = (first + offset) % SEQUENCE_MODULUS
    named = {(cumulative + 1 + bit) % SEQUENCE_MODULUS for bit in range(32) if bitmap >> bit & 1}
    held = [(first + place) % SEQUENCE_MODULUS for place in range(count)]
    left = [each for each in held if ahead(each, cumulative) > 0 and each not in named]
    assert journal.acknowledge(cumulative, bitmap) == len(held) - len(left)
    assert [each for each in held if each in journal] == left


def test_flash_comes_back_as_it_was_dumped() -> None:
    flash = Flash(sequence=7, journal={6: b"a", 7: b"b"}, counter=1 << 63, request=b"q", response=b"r", intervals_s=(1, 2, 3))
    assert Flash.load(flash.dump()) == flash
    assert list(Flash.load(flash.dump()).journal) == [6, 7]
