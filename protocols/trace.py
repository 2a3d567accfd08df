"""Where each value of a parse came from: one construct parse, watched leaf by leaf.

The declarations stay the only specification; what explains a frame and what decodes it fast are both read off such a trace.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import RLock
from typing import Any

import construct

LEAVES = (construct.FormatField, construct.BytesInteger, construct.Bytes, construct.GreedyBytes.__class__)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value read: its dotted path, the bytes it was read from, and the construct leaf that read it."""

    path: str
    offset: int
    size: int
    value: Any
    form: Any


@dataclass(frozen=True, slots=True)
class Trace:
    """One parse: the leaves in the order they were read, and what stopped it, if anything did.

    `stopped_at` is the offset behind the last leaf that could be read.
    """

    leaves: tuple[Leaf, ...]
    value: Any
    error: Exception | None
    stopped_at: int


class _Watch:
    def __init__(self) -> None:
        self.leaves: list[Leaf] = []


_watching: ContextVar["_Watch | None"] = ContextVar("watching", default=None)
_patching = RLock()


@contextmanager
def _watched_leaves() -> Iterator[None]:
    """construct has no hook for a leaf being read, so the leaf classes get one while a trace runs; only the tracing context
    sees it."""
    originals = {leaf: leaf._parse for leaf in LEAVES}

    def watched(original: Any) -> Any:
        def _parse(self: Any, stream: Any, context: Any, path: str) -> Any:
            watch = _watching.get()
            if watch is None:
                return original(self, stream, context, path)
            offset = stream.tell()
            value = original(self, stream, context, path)
            watch.leaves.append(Leaf(dotted(path), offset, stream.tell() - offset, value, self))
            return value

        return _parse

    with _patching:
        for leaf, original in originals.items():
            leaf._parse = watched(original)
        try:
            yield
        finally:
            for leaf, original in originals.items():
                leaf._parse = original


def dotted(path: str) -> str:
    """construct's `(parsing) -> body -> said` as `body.said`."""
    return ".".join(part.strip() for part in path.split("->")[1:])


def trace(declaration: Any, data: bytes) -> Trace:
    """Parse `data` and watch. Raises nothing: what construct raised is in the trace."""
    stream, watch, value, error = io.BytesIO(data), _Watch(), None, None
    token = _watching.set(watch)
    try:
        with _watched_leaves():
            value = declaration.parse_stream(stream)
    except Exception as caught:
        error = caught
    finally:
        _watching.reset(token)
    last = watch.leaves[-1] if watch.leaves else None
    return Trace(tuple(watch.leaves), value, error, last.offset + last.size if last else 0)
