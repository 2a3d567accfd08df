"""SQLite in one step: a whole transaction in one call of a thread, for what runs hundreds of times a second.

Through SQLAlchemy and aiosqlite a transaction is a dozen turns between two threads, each of which may wait for the other.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Direct:
    """A connection of its own to the database file, used by one thread. Opened at first use."""

    def __init__(self, path: str, busy_timeout_ms: int) -> None:
        self._path, self._busy_timeout_s = path, busy_timeout_ms / 1000
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, once it is committed. Undone by an exception; raises OSError where the database fails."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})  # the caller lets go of the one writer's turn after this
            raise

    async def close(self) -> None:
        """Let go of the file, if it was opened; a later transaction opens it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, self._busy_timeout_s, isolation_level=None)
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._connection.execute("PRAGMA foreign_keys=ON")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                done = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return done
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
