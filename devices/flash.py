"""What a unit knows after it has lost power: counted numbers, the last command and its answer, frames not acknowledged."""

from collections.abc import Callable

import msgspec


class Flash(msgspec.Struct, kw_only=True):
    """The unit's non-volatile memory, plain and serialisable.

    `sequence` is the last sequence number given to a frame; `journal` the unacknowledged frames by sequence number, `forgotten`
    how many a full journal dropped. `counter` and `request` are those of the last authentic command, stored before it is acted
    on, `response` the envelope that answered it (empty: the unit lost power in between). `settled_ms` is the gateway's time in
    the newest time or config frame taken, `intervals_s` what a config frame set. `login_day` (days since 1970 where the unit is)
    and `login_number` are those of the last login of a protocol that counts them daily; `captured_ms` is the time of the last
    report of a protocol that tells reports apart by it. `data_bytes` went over the air in the `data_period`-th 30 days since
    1970.
    """

    sequence: int = 0
    journal: dict[int, bytes] = {}
    forgotten: int = 0
    counter: int = 0
    request: bytes = b""
    response: bytes = b""
    settled_ms: int = 0
    intervals_s: tuple[int, int, int] | None = None
    login_day: int = 0
    login_number: int = 0
    captured_ms: int = 0
    data_period: int = 0
    data_bytes: int = 0

    def dump(self) -> bytes:
        """All of it as bytes."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def load(data: bytes) -> "Flash":
        """What `dump` gave. Raises msgspec.DecodeError for anything else."""
        return msgspec.msgpack.decode(data, type=Flash)

    @classmethod
    def factory(cls, now_ms: int) -> "Flash":
        """That of a unit which has never been switched on.

        Its sequence numbers start at the Unix time: a unit counts up slower than once a second, so a unit whose flash was
        replaced goes on above all that the gateway has had of it.
        """
        return cls(sequence=now_ms // 1000 % (1 << 32))


Store = Callable[[Flash], None]
"""Writes the flash so that it survives; returns when it does."""


def volatile(flash: Flash) -> None:
    """A store for units that need not survive their process."""
