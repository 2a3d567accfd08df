"""The flash of a whole fleet in one SQLite file: its units go on where they were when the process ended, however it ended.

A write returns when the file would survive the process being killed (write-ahead log, synchronous NORMAL).
"""

import sqlite3
from pathlib import Path
from typing import Protocol

import msgspec

from devices.flash import Flash, Store, volatile
from protocols.codec import UnitId

_SCHEMA = """
CREATE TABLE IF NOT EXISTS unit (name TEXT PRIMARY KEY, flash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frame (
    place INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, sequence INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (unit, sequence)
);
"""


class FlashKeeper(Protocol):
    """Where a fleet's units have their flash: a file, or somebody who watches what is written."""

    def load(self, unit: UnitId) -> Flash | None:
        """The unit's flash as stored last, None for a unit that is new here."""

    def store_of(self, unit: UnitId) -> Store:
        """The store for this unit's firmware."""

    def store_of_copy(self, unit: UnitId) -> Store:
        """The store for a unit that a fault has copied from this one."""

    def close(self) -> None:
        """Nothing is written any more."""


class FlashFileError(OSError):
    """The file cannot be used or written: another fleet has it open, it is none of ours, the disk is full."""


class FlashFile:
    """Opens or makes `fleet.sqlite` in `folder`, for this process alone. Raises FlashFileError."""

    def __init__(self, folder: Path) -> None:
        path = folder / "fleet.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise FlashFileError(f"{path}: {error}") from error
        self._kept: dict[UnitId, set[int]] = {}

    def load(self, unit: UnitId) -> Flash | None:
        """The unit's flash as stored last, None for a unit that is new here."""
        row = self._database.execute("SELECT flash FROM unit WHERE name = ?", (str(unit),)).fetchone()
        if row is None:
            return None
        flash = Flash.load(row[0])
        frames = self._database.execute("SELECT sequence, data FROM frame WHERE unit = ? ORDER BY place", (str(unit),))
        flash.journal = dict(frames.fetchall())
        self._kept[unit] = set(flash.journal)
        return flash

    def store_of(self, unit: UnitId) -> Store:
        """The store for this unit's firmware."""
        kept = self._kept.setdefault(unit, set())

        def store(flash: Flash) -> None:
            self._write(str(unit), flash, kept)

        return store

    def store_of_copy(self, unit: UnitId) -> Store:
        """The copy is made anew in every run: nothing of it is kept."""
        return volatile

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _write(self, unit: str, flash: Flash, kept: set[int]) -> None:
        held = flash.journal.keys()
        gone, new = kept - held, [sequence for sequence in held if sequence not in kept]
        facts = msgspec.structs.replace(flash, journal={}).dump()
        run = self._database.execute
        try:
            run("BEGIN IMMEDIATE")
            run("INSERT INTO unit VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET flash = excluded.flash", (unit, facts))
            self._database.executemany(
                "DELETE FROM frame WHERE unit = ? AND sequence = ?", [(unit, sequence) for sequence in gone]
            )
            self._database.executemany(
                "INSERT INTO frame (unit, sequence, data) VALUES (?, ?, ?)",
                [(unit, sequence, flash.journal[sequence]) for sequence in new],
            )
            run("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                run("ROLLBACK")
            raise FlashFileError(f"{unit}: {error}") from error
        kept.clear()
        kept.update(held)
