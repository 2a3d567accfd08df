"""Which of several: the leaves of a parse under names like `records.1.speed`, where construct says `records.speed` for all.

A value with its size before it is two leaves of one path: the first goes by `.size`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import construct

from protocols.trace import Trace

Path = tuple[str, ...]

_REPEATING = (construct.Array, construct.GreedyRange, construct.RepeatUntil)
_DEPTH_LIMIT = 32
"""Declarations nested deeper, or in themselves, are not looked into further."""


class Names(NamedTuple):
    """Of one leaf, from the frame on: `name`, with the number from 0 of each list element, and `path`, without."""

    name: str
    path: str


def numbered(trace: Trace) -> list[Names]:
    """The names of each leaf of a parse, in order."""
    lists, sized = _declared(trace.declaration)
    paths = list(_sized([tuple(leaf.path.split(".")) if leaf.path else () for leaf in trace.leaves], sized))
    lists |= frozenset(_undeclared_lists(paths, lists))
    numbers: dict[Path, int] = {}
    seen: set[Path] = set()
    under = (trace.under,) if trace.under else ()
    return [Names(".".join((*under, *_name(path, lists, numbers, seen))), ".".join((*under, *path))) for path in paths]


def _sized(paths: Sequence[Path], sized: frozenset[Path]) -> Iterator[Path]:
    size_at = -1
    for at, path in enumerate(paths):
        is_size = path in sized and not (size_at == at - 1 >= 0 and paths[size_at] == path)
        size_at = at if is_size else size_at
        yield (*path, "size") if is_size else path


def _name(path: Path, lists: frozenset[Path], numbers: dict[Path, int], seen: set[Path]) -> Path:
    """A leaf that the innermost element has had before begins the next element."""
    name: Path = ()
    innermost, at = None, 0
    for depth, part in enumerate(path, 1):
        name += (part,)
        if path[:depth] in lists:
            innermost, at = name, depth
            name += (str(numbers.setdefault(name, 0)),)
    if innermost is None:
        return name
    if name in seen:
        numbers[innermost] += 1
        name = (*innermost, str(numbers[innermost]), *path[at:])
    seen.add(name)
    return name


@lru_cache(maxsize=1024)
def _declared(declaration: Any) -> tuple[frozenset[Path], frozenset[Path]]:
    """The paths of lists, and those of values with their size before them."""
    found = list(_walked(declaration, (), 0))
    lists = frozenset(path for form, path in found if isinstance(form, _REPEATING))
    return lists, frozenset(path for form, path in found if isinstance(form, construct.Prefixed))


def _walked(form: Any, path: Path, depth: int) -> Iterator[tuple[Any, Path]]:
    if depth > _DEPTH_LIMIT:
        return
    inside: Sequence[Any] = ()
    match form:
        case construct.Renamed():
            path, inside = (*path, form.name), (form.subcon,)
        case construct.Switch():
            inside = (*form.cases.values(), form.default)
        case construct.IfThenElse():
            inside = (form.thensubcon, form.elsesubcon)
        case _ if hasattr(form, "subcons"):
            inside = form.subcons
        case construct.Subconstruct():
            inside = (form.subcon,)
    yield form, path
    for each in inside:
        yield from _walked(each, path, depth + 1)


def _undeclared_lists(paths: Sequence[Path], lists: frozenset[Path]) -> Iterator[Path]:
    """What comes again although no list is declared around it: the work of a construct class of a protocol's own."""
    seen: set[Path] = set()
    for path in paths:
        if path in seen and not any(path[:depth] in lists for depth in range(1, len(path) + 1)):
            yield path[:-1] or path
        seen.add(path)
