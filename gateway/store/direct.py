"""SQLite in one step: what runs hundreds of times a second, in few transactions and in the event loop's own thread.

Through SQLAlchemy and aiosqlite a transaction is a dozen turns between two threads, each of which may wait for the other. Even
one costs more than the transaction itself, which ends with a write to the system's page cache: only checkpoints
wait for the disk.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

CHECKPOINT_ROWS = 1_000
"""Rows written between two checkpoints: about as many pages, after which SQLite would begin one by itself."""

CACHE_KIB = 16_384
"""Pages at hand, eight times what SQLite has by itself: the memories of thousands of vehicles, a kilobyte or two each."""


class Direct:
    """A connection of its own to the database file for the event loop, and one for a thread, which does what may take long: it
    waits for other processes that write, and brings what is in the log into the file. Opened at first use.

    What is asked for while a transaction waits goes together into it, each piece of work behind a savepoint of its own.
    `turn` is held meanwhile: that of the process's writers. Foreign keys are not looked after: who writes a row that refers to
    another has read that one in the same transaction.
    """

    def __init__(self, path: str, busy_timeout_ms: int, turn: asyncio.Lock) -> None:
        self._path, self._busy_timeout_s, self._turn = path, busy_timeout_ms / 1000, turn
        self._near: sqlite3.Connection | None = None
        self._far: sqlite3.Connection | None = None
        self._checkpointed = 0
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
        near, self._near, self._checkpointed = self._near, None, 0
        if near is not None:
            near.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def _run(self) -> None:
        while self._waiting:
            async with self._turn:
                together, self._waiting = self._waiting, []
                for _, begins, _ in together:
                    if begins is not None:
                        begins()
                works = [work for work, _, _ in together]
                outcomes = self._transact_here(works)
                if outcomes is None:
                    outcomes = await self._elsewhere(self._transact_there, works)
                for (_, _, done), outcome in zip(together, outcomes, strict=True):
                    if done.cancelled():
                        continue
                    if isinstance(outcome, BaseException):
                        done.set_exception(outcome)
                    else:
                        done.set_result(outcome)
                if self._near is not None and self._near.total_changes - self._checkpointed >= CHECKPOINT_ROWS:
                    self._checkpointed = self._near.total_changes
                    # Nobody writes meanwhile: a log that still grows would never be used anew from its beginning.
                    await self._elsewhere(self._checkpoint)

    async def _elsewhere(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _transact_here(self, works: Sequence[Work]) -> list[Any] | None:
        """What each piece of work returned or raised; None, and nothing was done, where another process writes."""
        try:
            if self._near is None:
                self._near = self._opened(0.0)
                self._near.execute("PRAGMA wal_autocheckpoint=0")
            self._near.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if _is_busy(error):
                return None
            return self._failed(error, works)
        return self._transact(self._near, works)

    def _transact_there(self, works: Sequence[Work]) -> list[Any]:
        try:
            connection = self._there()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return self._failed(error, works)
        return self._transact(connection, works)

    def _transact(self, connection: sqlite3.Connection, works: Sequence[Work]) -> list[Any]:
        """What each piece of work returned or raised, in a transaction that has begun and ends here."""
        try:
            try:
                alone = len(works) == 1  # then the transaction is all the savepoint there need be
                outcomes = [works[0](connection)] if alone else [self._worked(connection, work) for work in works]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            return self._failed(error, works)
        except BaseException as error:
            return [error] * len(works)
        return outcomes

    def _failed(self, error: sqlite3.Error, works: Sequence[Work]) -> list[Any]:
        return [OSError(f"{self._path}: {error}")] * len(works)

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

    def _checkpoint(self) -> None:
        try:
            self._there().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:  # the log goes on; whoever writes next hears of a disk that is full or broken
            log.warning("the store's log cannot be brought into its file", error=str(error))

    def _there(self) -> sqlite3.Connection:
        if self._far is None:
            self._far = self._opened(self._busy_timeout_s)
        return self._far

    def _opened(self, busy_timeout_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, busy_timeout_s, isolation_level=None)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=OFF")  # an upsert looks each up again, and that is a third of its cost
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    def _close(self) -> None:
        if self._far is not None:
            self._far.close()
            self._far = None


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
