"""Which kernel does the work: the one in C where it was built, else its numpy twin."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from protocols.hotpath import numpy_twin
from protocols.hotpath.rows import Bytes, Ints

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.uint32]
Path = Literal["c", "numpy"]

native: ModuleType | None
try:
    from protocols.hotpath import _kernel as native
except ImportError:  # built without a compiler
    native = None

path_in_use: Path = "numpy" if native is None else "c"
"""Which path a Decoder takes unless it is told otherwise."""


def decoding_path() -> str:
    """Which path is in use, in words, and on what."""
    if native is None:
        return "in numpy (the kernel in C was not built)"
    return f"by the kernel in C ({native.dispatch(True)})"


class Table(Protocol):
    """Plans by their structural bytes, and the walk over frames: the same in both kernels."""

    def add(
        self, id: int, context: int, part: bytes, mask: bytes, moves: bytes, constant: bytes, lays: bytes, head: bytes, /
    ) -> None:
        """Keep a plan under `id`, instead of what was there."""

    def remove(self, id: int, /) -> None:
        """Forget a plan. Raises KeyError."""

    def used(self) -> list[int]:
        """In which walk each plan was used last; -1 where there is none."""

    def room(self, frames: list[bytes], /) -> int:
        """How many rows these frames may need at most."""

    def walk(self, frames: list[bytes], rows: Bytes, status: Bytes, ids: Ints, starts: Offsets | None, /) -> tuple[int, int]:
        """Frames to rows: how many rows were written, and how many frames are not vouched for."""

    def walk_buffer(
        self, buffer: Buffer, offsets: Offsets, rows: Bytes, status: Bytes, ids: Ints, starts: Offsets | None, /
    ) -> tuple[int, int]:
        """The same for frames that stand between the offsets of one buffer."""

    def hops(self, buffer: Buffer, at: int, offsets: Offsets, /) -> int:
        """Where frames that stand back to back from `at` on begin and end, by their length fields alone: how many are whole, at
        most one fewer than `offsets` has room for. Raises ValueError for a place behind the buffer."""

    def build(self, rows: Bytes, ids: Ints, starts: Offsets | None, keys: Bytes | None, which: Ints | None, /) -> list[bytes]:
        """Rows to frames. Raises ValueError for rows that are no frame."""


def kernel(path: Path) -> Any:
    """The module that does the work on this path. Raises ImportError if there is no kernel in C."""
    if path == "numpy":
        return numpy_twin
    if native is None:
        raise ImportError("the kernel in C was not built")
    return native


def table(
    path: Path, row_size: int, present_size: int, capacity: int, framing: bytes, windows: Sequence[bytes], guards: Sequence[bytes]
) -> Table:
    """An empty table."""
    made: Table = kernel(path).Table(row_size, present_size, capacity, framing, b"".join(windows), b"".join(guards))
    return made
