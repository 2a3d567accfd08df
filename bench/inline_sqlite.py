"""SQLite without a thread, behind SQLAlchemy's asynchronous dialect: under virtual time nothing may wait for one.

Store("sqlite://", connect_args=INLINE)
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self


class _Calls:
    """Stands for aiosqlite's queue of what its thread is to do: does it at once."""

    def put_nowait(self, asked: "tuple[asyncio.Future[Any], Callable[[], Any]]") -> None:
        future, work = asked
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)


class _Cursor:
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        return self._cursor.arraysize

    async def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Self:
        self._cursor.execute(sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Self:
        self._cursor.executemany(sql, parameters)
        return self

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchmany(self, size: int | None = None) -> Any:
        return self._cursor.fetchmany(self._cursor.arraysize if size is None else size)

    async def fetchall(self) -> Any:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


class _Connection:
    """As much of an aiosqlite connection as the dialect asks for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = self._conn = connection
        self._tx = _Calls()

    @property
    def isolation_level(self) -> str | None:
        return self._connection.isolation_level

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection.cursor())

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> _Cursor:
        return _Cursor(self._connection.execute(sql, parameters))

    async def create_function(self, *given: Any, **named: Any) -> None:
        self._connection.create_function(*given, **named)

    async def commit(self) -> None:
        self._connection.commit()

    async def rollback(self) -> None:
        self._connection.rollback()

    async def close(self) -> None:
        self._connection.close()

    def stop(self) -> None:
        self._connection.close()


async def _connect(*given: Any, **named: Any) -> _Connection:
    return _Connection(sqlite3.connect(*given, **named))


INLINE: Mapping[str, Any] = {"async_creator_fn": _connect}
"""`connect_args` for create_async_engine."""
