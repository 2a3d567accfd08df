"""Where each value of a frame came from: construct parses, watched leaf by leaf.

The declarations stay the only specification; what explains a frame and what decodes it fast are both read off such traces.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, ClassVar

import construct

LEAVES: tuple[Any, ...] = (
    construct.FormatField,
    construct.BytesInteger,
    construct.Bytes,
    type(construct.GreedyBytes),
)


WORDS: tuple[Any, ...] = (construct.Enum, construct.StringEncoded)
"""What makes a word or a text of the leaf in it: that is the leaf's value."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value read: its dotted path, the bytes it was read from, and the construct leaf that read it."""

    path: str
    offset: int
    size: int
    value: Any
    form: Any


@dataclass(slots=True)
class Trace:
    """One parse: what was parsed by which declaration, the leaves in the order they were read, what came of it.

    `at` is where the parsed bytes stand in the frame; the leaves' offsets count from the frame's start. `under` is the dotted
    path of what was parsed, where it is a part of a frame; the leaves' paths are those of the declaration.
    """

    declaration: Any
    at: int = 0
    leaves: list[Leaf] = field(default_factory=list)
    value: Any = None
    error: Exception | None = None
    under: str = ""

    @property
    def stopped_at(self) -> int:
        """The offset behind the last leaf that could be read."""
        return self.leaves[-1].offset + self.leaves[-1].size if self.leaves else self.at


_watching: ContextVar[list[Trace] | None] = ContextVar("watching", default=None)


class _Hooks:
    """The watched classes' own `_parse`, put aside while anybody watches."""

    lock = Lock()
    watchers = 0
    originals: ClassVar[dict[Any, Any]] = {}


def _hook() -> None:
    with _Hooks.lock:
        _Hooks.watchers += 1
        if _Hooks.watchers == 1:
            for form, watched in (*((leaf, _watched) for leaf in LEAVES), *((name, _worded) for name in WORDS)):
                _Hooks.originals[form] = form._parse
                form._parse = watched(form._parse)


def _unhook() -> None:
    with _Hooks.lock:
        _Hooks.watchers -= 1
        if not _Hooks.watchers:
            for leaf, original in _Hooks.originals.items():
                leaf._parse = original


def _watched(original: Any) -> Any:
    def _parse(self: Any, stream: Any, context: Any, path: str) -> Any:
        traces = _watching.get()
        if not traces:
            return original(self, stream, context, path)
        offset = stream.tell()
        value = original(self, stream, context, path)
        trace = traces[-1]
        trace.leaves.append(Leaf(dotted(path), trace.at + offset, stream.tell() - offset, value, self))
        return value

    return _parse


def _worded(original: Any) -> Any:
    def _parse(self: Any, stream: Any, context: Any, path: str) -> Any:
        value = original(self, stream, context, path)
        traces = _watching.get()
        if traces and traces[-1].leaves and isinstance(value, str):
            leaves = traces[-1].leaves
            leaves[-1] = replace(leaves[-1], value=str(value))
        return value

    return _parse


@contextmanager
def watch() -> Iterator[list[Trace]]:
    """Watch every parse (protocols.codec.parse) of this context; the list grows by one Trace each.

    construct has no hook for a leaf being read, so the leaf classes get one meanwhile; other contexts do not see it.
    """
    traces: list[Trace] = []
    token = _watching.set(traces)
    _hook()
    try:
        yield traces
    finally:
        _unhook()
        _watching.reset(token)


@contextmanager
def parsing(declaration: Any, at: int, under: str = "") -> Iterator[Trace | None]:
    """A parse that begins: its Trace where somebody watches, else None."""
    traces = _watching.get()
    if traces is None:
        yield None
        return
    trace = Trace(declaration, at, under=under)
    traces.append(trace)
    try:
        yield trace
    except Exception as error:
        trace.error = error
        raise


def dotted(path: str) -> str:
    """construct's `(parsing) -> body -> said` as `body.said`."""
    return ".".join(part.strip() for part in path.split("->")[1:])


class _Last(list[Leaf]):
    """Leaves of which only the last is kept."""

    def append(self, leaf: Leaf) -> None:
        self[:] = [leaf]


def stopped_at(declaration: Any, data: bytes) -> int:
    """The offset behind the last leaf of `data` that can be read; however many there are, one is held at a time."""
    watched = Trace(declaration, leaves=_Last())
    token = _watching.set([watched])
    _hook()
    try:
        declaration.parse(data)
    except Exception:  # that it raises is why it is asked
        pass
    finally:
        _unhook()
        _watching.reset(token)
    return watched.stopped_at
