"""Halves of the cores: RabbitMQ has one, all that is measured beside it the other.

Where all share two cores, RabbitMQ waits a fifth of its time for those who have just been given their turn, with every event
behind it; apart, nobody waits for anybody else's work. It needs no privilege, and nothing happens where there is but one core,
or no Linux.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.meters import family

_ALL = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""Cores that this process may use, as it was started: inside a laboratory it is on its half already."""


@contextmanager
def on(cores: Collection[int] | None) -> Iterator[None]:
    """This thread meanwhile, and threads and programs that it starts for good, run on these cores; on any, where it is None."""
    if cores is None:
        yield
        return
    usual = os.sched_getaffinity(0)
    with suppress(OSError):  # a container may have been given others meanwhile
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, usual)


@contextmanager
def apart() -> Iterator[Collection[int] | None]:
    """Have the lower half meanwhile, as `on`; what is given is the upper half, for RabbitMQ. None where there is but one core."""
    half = len(_ALL) // 2
    with on(_ALL[:-half] if half else None):
        yield _ALL[-half:] if half else None


@contextmanager
def anywhere(pid: int) -> Iterator[None]:
    """Meanwhile this thread, and that process with its children, may use all cores, as if nobody had been set `apart`."""
    if len(_ALL) < 2:
        yield
        return
    tasks = [int(each.name) for child in family([pid])[pid] for each in Path(f"/proc/{child}/task").glob("[0-9]*")]
    usual = {}
    for task in tasks:
        with suppress(OSError):  # it has ended meanwhile
            usual[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, _ALL)
    try:
        with on(_ALL):
            yield
    finally:
        for task, cores in usual.items():
            with suppress(OSError):
                os.sched_setaffinity(task, cores)
