"""A PostgreSQL of its own folder and port, and a database for each who asks. It forgets at a power cut, and nothing else."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from gateway.store import Store
from lab.process import Server, free_port, wait_until

USER = "teleloop"
MIGRATED = "migrated"
"""A database with the newest schema, that others are copies of."""

SERVERS_USER = "postgres"
"""Who the server runs as where the tests run as root, whom it refuses."""

QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}


def programs() -> Path:
    """The folder of the newest PostgreSQL's programs: Debian keeps them off the PATH. Raises FileNotFoundError."""
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if debian:
        return max(debian, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError("PostgreSQL is not installed")
    return Path(found).resolve().parent


def _unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={SERVERS_USER}", f"--regid={SERVERS_USER}", "--clear-groups", "--"]


class PostgresqlServer(Server):
    """Listens on 127.0.0.1:`port`; user `teleloop`, no password."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.data = folder / "data"
        settings = QUICK | {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        said = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        super().__init__([*_unprivileged(), programs() / "postgres", "-D", self.data, *said], folder)
        self._numbers = count(1)

    def initialise(self) -> None:
        """Make the cluster's files."""
        command = [*_unprivileged(), programs() / "initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([*map(str, command), "--locale=C.UTF-8"], cwd=self.folder, check=True, capture_output=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        super().start()
        self.wait_for_port(self.port)
        wait_until(self._answers, 20, "PostgreSQL")

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it, without waiting for those who are connected."""
        if self.process is not None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(self.process.pid, signal.SIGINT)
                self.process.wait(timeout_s)
        super().stop(timeout_s)

    def execute(self, statement: str, database: str = "postgres") -> list[str]:
        """The rows of one statement, outside of any transaction; the columns of a row have | between them."""
        command = [programs() / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-XAtqc", statement]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    def url(self, database: str) -> str:
        """postgresql://teleloop@127.0.0.1:port/database"""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str = "template0") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"db{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def migrate(self) -> None:
        """Make the database with the newest schema."""

        async def migrated() -> None:
            store = Store(self.url(MIGRATED))
            await store.open()
            await store.close()

        self.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE template0")
        with ThreadPoolExecutor(1) as aside:  # who asks may have an event loop of their own
            aside.submit(asyncio.run, migrated()).result()


@contextmanager
def postgresql() -> Iterator[PostgresqlServer]:
    """A running PostgreSQL. Its folder is one that the server's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="teleloop-postgresql-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, SERVERS_USER, SERVERS_USER)
        server = PostgresqlServer(folder)
        server.initialise()
        server.start()
        try:
            server.migrate()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
