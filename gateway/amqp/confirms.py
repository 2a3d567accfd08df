"""Publisher confirms of one channel, as RabbitMQ gives them: single or cumulative, out of order, positive or not. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Batch:
    """The messages of one call, by their ids and by the delivery tags under which they were sent.

    `returned` is the broker's reason where it had no queue for one of them, `refused` tells that a queue did not take one.
    """

    ids: Collection[str]
    spans: list[tuple[int, int]] = field(default_factory=list)
    returned: str | None = None
    refused: bool = False

    @property
    def failed(self) -> bool:
        """Whether one of the messages is known not to be held."""
        return self.refused or self.returned is not None

    @property
    def last(self) -> int:
        """The highest delivery tag, 0 before the first message is sent."""
        return self.spans[-1][1] if self.spans else 0


class Confirms:
    """Which of the messages sent on a channel are settled. Tags count from 1; every tag up to `settled` is settled."""

    def __init__(self) -> None:
        self.sent = 0
        self.settled = 0
        self._ahead: set[int] = set()
        self._open: list[Batch] = []

    @property
    def outstanding(self) -> int:
        """Messages that the broker has not settled yet, those behind a gap included."""
        return self.sent - self.settled

    def open(self, ids: Collection[str]) -> Batch:
        """A batch whose refusals are wanted, until `close`."""
        batch = Batch(ids)
        self._open.append(batch)
        return batch

    def close(self, batch: Batch) -> None:
        """Nobody waits for `batch` any more."""
        self._open.remove(batch)

    def send(self, batch: Batch, count: int) -> None:
        """The next `count` messages on the channel are the batch's."""
        batch.spans.append((self.sent + 1, self.sent + count))
        self.sent += count

    def settle(self, tag: int, multiple: bool, taken: bool) -> None:
        """The broker's Basic.Ack (`taken`) or Basic.Nack. Tag 0 with `multiple` means all that are outstanding."""
        if tag == 0 and multiple:
            tag = self.sent
        if not taken:
            first = self.settled + 1 if multiple else tag
            self._refuse(first, tag)
        if multiple:
            self.settled = max(self.settled, tag)
            self._ahead = {other for other in self._ahead if other > self.settled}
        elif tag > self.settled:
            self._ahead.add(tag)
        while self.settled + 1 in self._ahead:
            self.settled += 1
            self._ahead.remove(self.settled)

    def returned(self, message_id: str | None, reason: str) -> None:
        """The broker's Basic.Return. It comes before the message's Ack, and names no tag."""
        for batch in self._open:
            if message_id is None or message_id in batch.ids:
                batch.returned = reason

    def _refuse(self, first: int, last: int) -> None:
        for batch in self._open:
            if any(first <= end and last >= start for start, end in batch.spans):
                batch.refused = True
