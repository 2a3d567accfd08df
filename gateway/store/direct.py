"""SQLite in one step: what runs hundreds of times a second, in few transactions and few turns between threads.

Through SQLAlchemy and aiosqlite a transaction is a dozen turns between two threads, each of which may wait for the other.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


class Direct:
    """A connection of its own to the database file, used by one thread. Opened at first use.

    What is asked for while a transaction runs goes together into the next one, each piece of work behind a savepoint of its own.
    `turn` is held meanwhile: that of the process's writers.
    """

    def __init__(self, path: str, busy_timeout_ms: int, turn: asyncio.Lock) -> None:
        self._path, self._busy_timeout_s, self._turn = path, busy_timeout_ms / 1000, turn
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Work, Callable[[], None] | None, asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None

    async def transaction(self, work: Callable[[sqlite3.Connection], T], begins: Callable[[], None] | None = None) -> T:
        """What `work` returns, once it is committed. Undone by an exception; raises OSError where the database fails.

        `begins` is called in the event loop right before the transaction begins. A caller that is cancelled leaves open whether
        it was done.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, begins, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="store transactions")
        return await done

    async def close(self) -> None:
        """Finish what was asked for and let go of the file, if it was opened; a later transaction opens it again."""
        if self._running is not None:
            await asyncio.wait({self._running})
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def _run(self) -> None:
        while self._waiting:
            async with self._turn:
                together, self._waiting = self._waiting, []
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
                for _, begins, _ in together:
                    if begins is not None:
                        begins()
                works = [work for work, _, _ in together]
                outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, works)
            for (_, _, done), outcome in zip(together, outcomes, strict=True):
                if done.cancelled():
                    continue
                if isinstance(outcome, BaseException):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)

    def _transact(self, works: Sequence[Work]) -> list[Any]:
        """What each piece of work returned or raised."""
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                alone = len(works) == 1  # then the transaction is all the savepoint there need be
                outcomes = [works[0](connection)] if alone else [self._worked(connection, work) for work in works]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            return [OSError(f"{self._path}: {error}")] * len(works)
        except BaseException as error:
            return [error] * len(works)
        return outcomes

    def _worked(self, connection: sqlite3.Connection, work: Work) -> Any:
        connection.execute("SAVEPOINT work")
        try:
            outcome = work(connection)
        except Exception as error:
            if not connection.in_transaction:  # the database has given up all of it, as it does where the disk is full
                raise
            connection.execute("ROLLBACK TO work")
            outcome = OSError(f"{self._path}: {error}") if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE work")
        return outcome

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, self._busy_timeout_s, isolation_level=None)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
