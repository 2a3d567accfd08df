"""Long turns on busy cores: programs that do not break in on each other whenever something arrives for one of them.

Where a broker, RabbitMQ, a gateway and a generator share two cores, each is woken thousands of times a second, and the system
lets who is woken go first; who is interrupted finds its caches full of what the other did. Under Linux's SCHED_BATCH (sched(7))
it may finish first. It asks for no privilege, and it is no priority: each gets the same share.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def long_turns() -> Iterator[None]:
    """For this thread meanwhile, and for good for threads and programs that it starts.

    It does nothing elsewhere than on Linux.
    """
    usual, batch = (getattr(os, name, None) for name in ("SCHED_OTHER", "SCHED_BATCH"))
    if usual is None or batch is None or os.sched_getscheduler(0) != usual:
        yield
        return
    with suppress(OSError):
        os.sched_setscheduler(0, batch, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, usual, os.sched_param(0))
