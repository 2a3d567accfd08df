"""The bookkeeping of publisher confirms, against everything that a broker may answer."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.amqp.confirms import Batch, Confirms


def sent(count: int) -> tuple[Confirms, Batch]:
    confirms = Confirms()
    batch = confirms.open([str(number) for number in range(count)])
    confirms.send(batch, count)
    return confirms, batch


def test_a_cumulative_ack_settles_all_before_it() -> None:
    confirms, batch = sent(10)
    confirms.settle(7, multiple=True, taken=True)
    assert (confirms.settled, confirms.outstanding, batch.failed) == (7, 3, False)


def test_a_single_ack_ahead_waits_for_the_gap() -> None:
    confirms, _ = sent(3)
    confirms.settle(3, multiple=False, taken=True)
    confirms.settle(2, multiple=False, taken=True)
    assert confirms.settled == 0
    confirms.settle(1, multiple=False, taken=True)
    assert confirms.settled == 3


def test_tag_zero_means_all() -> None:
    confirms, batch = sent(5)
    confirms.settle(0, multiple=True, taken=True)
    assert confirms.settled == batch.last == 5


def test_a_nack_fails_the_batch_it_belongs_to_and_no_other() -> None:
    confirms, first = sent(5)
    second = confirms.open(["x"])
    confirms.send(second, 1)
    confirms.send(first, 2)
    confirms.settle(6, multiple=False, taken=False)
    assert (first.refused, second.refused) == (False, True)
    confirms.settle(5, multiple=True, taken=True)
    assert confirms.settled == 6


def test_a_cumulative_nack_fails_every_batch_that_is_not_settled_yet() -> None:
    confirms, first = sent(2)
    confirms.settle(2, multiple=True, taken=True)
    second, third = confirms.open(["x"]), confirms.open(["y"])
    confirms.send(second, 1)
    confirms.send(third, 1)
    confirms.settle(4, multiple=True, taken=False)
    assert (first.refused, second.refused, third.refused) == (False, True, True)
    assert confirms.settled == 4


def test_a_returned_message_fails_its_batch_although_it_is_confirmed() -> None:
    confirms, first = sent(2)
    second = confirms.open(["x"])
    confirms.send(second, 1)
    confirms.returned("x", "NO_ROUTE")
    confirms.settle(3, multiple=True, taken=True)
    assert (first.failed, second.failed, second.returned) == (False, True, "NO_ROUTE")


@given(st.data(), st.integers(1, 60))
def test_answers_in_any_order_and_form_settle_everything_once_all_have_come(data: st.DataObject, count: int) -> None:
    confirms, batch = sent(count)
    open_tags, nacked = set(range(1, count + 1)), False
    while open_tags:
        assert confirms.settled == min(open_tags) - 1
        tag = data.draw(st.sampled_from(sorted(open_tags)))
        multiple, taken = data.draw(st.booleans()), data.draw(st.booleans())
        confirms.settle(tag, multiple, taken)
        nacked = nacked or not taken
        open_tags -= {other for other in open_tags if other <= tag} if multiple else {tag}
    assert (confirms.settled, confirms.outstanding, batch.refused) == (count, 0, nacked)
