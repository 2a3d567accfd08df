"""The connection to the database: opened, brought to the newest schema, written to by one transaction at a time."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.store.direct import Direct

T = TypeVar("T")
MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}
BUSY_TIMEOUT_MS = 5_000
"""How long SQLite waits for another process (a backup, a look with the sqlite3 program) to let go of the file."""


class StoreDamaged(Exception):
    """The database cannot be used as it is: it is no database, it is damaged, or its schema is newer than this program."""


class Store:
    """One database. `engine` is for reading, and for what brings its own transaction; the gateway writes by `writing`."""

    def __init__(self, url: str, **engine: Any) -> None:
        """`engine` are further arguments of SQLAlchemy's create_engine.

        Raises ValueError for what is no SQLite and no PostgreSQL, or lacks its driver.
        """
        try:
            self.url = make_url(_asynchronous(url))
        except ArgumentError as error:
            raise ValueError("the store is wanted as sqlite:///file or postgresql://user:secret@host/name") from error
        driver = DRIVERS.get(self.url.get_backend_name())
        if driver is None:
            raise ValueError(f"the store is SQLite or PostgreSQL, not {self.url.get_backend_name()}")
        if find_spec(driver) is None:
            raise ValueError(f"{driver} is not installed: pip install 'teleloop[postgres]'")
        self.engine: AsyncEngine = create_async_engine(self.url, **engine)
        self._writer = self.engine.execution_options(teleloop_writes=True)
        self._writing = asyncio.Lock()
        path = self.url.database if self.url.get_backend_name() == "sqlite" and not engine and not self.url.query else None
        self._direct = Direct(path, BUSY_TIMEOUT_MS, self._writing) if path and path != ":memory:" else None
        if self.url.get_backend_name() == "sqlite":
            _prepare_sqlite(self.engine)

    @classmethod
    def in_file(cls, path: Path) -> "Store":
        """The SQLite database at `path`, made if it is not there."""
        return cls(f"sqlite+aiosqlite:///{path}")

    async def open(self) -> None:
        """Bring the schema up to date. Raises StoreDamaged, or OSError if it is not there; then nothing was written."""
        try:
            async with self.engine.connect() as connection:
                await connection.run_sync(_check)
            async with self.writing() as connection:
                await connection.run_sync(_upgrade)
        except DBAPIError as error:
            raise StoreDamaged(f"{self.url.render_as_string()}: {error.orig}") from error
        except OSError as error:
            raise OSError(error.errno, f"{self.url.render_as_string()}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Let go of the database."""
        if self._direct is not None:
            await self._direct.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, undone by an exception.

        Writers of this process queue here, in order, instead of polling the database's lock.
        """
        async with self._writing, self._writer.begin() as connection:
            yield connection

    @property
    def is_direct(self) -> bool:
        """Whether `write_directly` works here: in a SQLite file of ours."""
        return self._direct is not None

    async def write_directly(self, work: Callable[[sqlite3.Connection], T], begins: Callable[[], None] | None = None) -> T:
        """See `Direct.transaction`; in turn with the other writers of this process."""
        assert self._direct is not None
        return await self._direct.transaction(work, begins)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database."""
        async with self.engine.connect() as connection:
            yield connection


def _asynchronous(url: str) -> str:
    """`sqlite:///x` and `postgresql://x` are written without a driver; ours are the asynchronous ones."""
    for plain, driver in (("sqlite://", "sqlite+aiosqlite://"), ("postgresql://", "postgresql+asyncpg://")):
        if url.startswith(plain):
            return driver + url.removeprefix(plain)
    return url


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that reads before it writes fails at once where another writer was quicker.
        immediate = connection.get_execution_options().get("teleloop_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _check(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if verdict != "ok":
            raise StoreDamaged(f"{connection.engine.url.render_as_string()}: {verdict}")
    known = {revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= known:
        raise StoreDamaged(f"{connection.engine.url.render_as_string()}: its schema is newer than this program")


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")
