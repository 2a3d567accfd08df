"""Small writes that come by the hundred, done a transaction's worth at a time."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gateway.store.database import Store

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Work = Callable[[sqlite3.Connection, Sequence[Item]], Sequence[Outcome | Exception]]


class Together(Generic[Item, Outcome]):
    """What is asked for until the next transaction begins is one piece of work, in few statements. `work` gives what came of each
    item; all of them fail if it raises.
    """

    def __init__(self, store: Store, work: Work[Item, Outcome]) -> None:
        self._store, self._work = store, work
        self._open: tuple[list[Item], asyncio.Task[Sequence[Outcome | Exception]]] | None = None

    async def do(self, item: Item) -> Outcome:
        """What came of `item`, once it is committed. Raises what `work` says of it; OSError where the database fails."""
        if self._open is None:
            first: list[Item] = []
            task = asyncio.create_task(self._transact(first), name="writes that go together")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting any more
            self._open = first, task
        items, task = self._open
        place = len(items)
        items.append(item)
        outcome = (await asyncio.shield(task))[place]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _transact(self, items: list[Item]) -> Sequence[Outcome | Exception]:
        return await self._store.write_directly(lambda connection: self._work(connection, items), self._close)

    def _close(self) -> None:
        self._open = None
