"""Recordings as files: a killed process loses at most what it gathered since the last flush, and a file can be continued."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from protocols.codec import ProtocolError
from protocols.recording import BLOCK_BYTES, Reader, Record, block, header

READ_BYTES = 1 << 20


class RecordingError(Exception):
    """The file cannot be read or written, or is no recording."""


class Recording:
    """A recording to read from the start, as often as wanted: `for record in Recording(path)`.

    `about` is what its header says. `damage` lists what could not be read, after a reading that went to the end. Raises
    RecordingError where it is made, or read, from a file that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[ProtocolError] = []
        self.about: Mapping[str, Any] = self._about()

    def __iter__(self) -> Iterator[Record]:
        reader = Reader()
        try:
            with self.path.open("rb") as file:
                while data := file.read(READ_BYTES):
                    yield from reader.feed(data)
            reader.finish()
        except ProtocolError as error:
            raise _no_recording(self.path, error) from error
        except OSError as error:
            raise RecordingError(str(error)) from error
        self.damage = reader.damage

    def _about(self) -> Mapping[str, Any]:
        reader = Reader()
        try:
            with self.path.open("rb") as file:
                while reader.about is None and (data := file.read(4096)):
                    for _ in reader.feed(data):
                        pass
            if reader.about is None:
                reader.finish()
        except ProtocolError as error:
            raise _no_recording(self.path, error) from error
        except OSError as error:
            raise RecordingError(str(error)) from error
        assert reader.about is not None
        return reader.about


def _no_recording(path: Path, error: ProtocolError) -> RecordingError:
    said = {"bad_sync": "is no recording", "truncated": "is no recording: it ends within its header"}
    if error.reason == "unsupported":
        return RecordingError(f"{path} is a recording of version {error.found}, this teleloop reads version {error.expected}")
    return RecordingError(f"{path} {said.get(error.reason, f'is a damaged recording: {error}')}")


class RecordingWriter:
    """Appends to a recording, which is made if it is not there. `flush` hands everything to the system: from then on only its
    own end, not this process's, can lose it.

    A file that a killed process left with half a block is cut back to its last whole one; `cut_bytes` says by how much. Raises
    RecordingError for a file that is no recording, and OSError where writing fails; what was flushed before stays readable.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.cut_bytes = self.records = self.bytes_written = 0
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._file = self._opened(about)

    def append(self, record: Record) -> None:
        """Take one more record; a full block is written at once."""
        self._waiting.append(record)
        self._waiting_bytes += len(record.payload) + 32
        self.records += 1
        if self._waiting_bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting. Where that fails nothing is forgotten: the next flush tries again, from the last whole block."""
        if not self._waiting:
            return
        data, start = block(self._waiting), self._file.tell()
        try:
            self._write(data)
        except OSError:
            os.truncate(self._file.fileno(), start)
            self._file.seek(start)
            raise
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Flush, have the disk hold it, and close."""
        try:
            self.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, about: Mapping[str, Any]) -> BinaryIO:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RecordingError(str(error)) from error
        file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            _lock(file.fileno(), self.path)
            self._go_to_end(file, header(about))
        except BaseException:
            file.close()
            raise
        return file

    def _go_to_end(self, file: Any, head: bytes) -> None:
        size = os.fstat(file.fileno()).st_size
        if not size:
            self._file = file
            self._write(head)
            return
        reader = Reader()
        try:
            while data := file.read(READ_BYTES):
                for _ in reader.feed(data):
                    pass
            reader.finish()
        except ProtocolError as error:
            raise _no_recording(self.path, error) from error
        if reader.damage and reader.damage[-1].offset >= reader.whole:
            self.cut_bytes = size - reader.whole
            file.truncate(reader.whole)
        file.seek(0, os.SEEK_END)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self.bytes_written += written
            view = view[written:]


def _lock(descriptor: int, path: Path) -> None:
    """Two that append to one file would tear each other's blocks."""
    with contextlib.suppress(ImportError):  # Windows
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecordingError(f"{path} is being written by another process") from error
