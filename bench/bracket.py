"""The largest number that passes: doubled until it fails, bisected, and tried again at the edge. Pure of what is tried."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

PRECISION = 0.1
"""The edge is found when what fails is within a tenth of what passes."""

STEP_BACK = 0.9


@dataclass
class Edge:
    """`best` passed, also when tried again where `repeated`; `failed` did not (None: the limit was reached first)."""

    best: int = 0
    failed: int | None = None
    repeated: bool = False
    tried: list[tuple[int, bool]] = field(default_factory=list)


async def largest(
    passes: Callable[[int, bool], Awaitable[bool]],
    start: int,
    limit: int,
    has_time: Callable[[], bool],
    precision: float = PRECISION,
) -> Edge:
    """`passes(number, again)` tries one. Ends when `has_time` does not hold any more, with what is known by then."""
    edge = Edge()

    async def attempt(number: int, again: bool = False) -> bool:
        ok = await passes(number, again)
        edge.tried.append((number, ok))
        if ok and not again:
            edge.best = max(edge.best, number)
        elif not ok:
            edge.failed = number if edge.failed is None else min(edge.failed, number)
        return ok

    number = min(start, limit)
    while has_time() and await attempt(number):
        if number >= limit:
            break
        number = min(2 * number, limit)
    while edge.best == 0 and number > 1 and has_time():
        number //= 2
        await attempt(number)
    while edge.failed is not None and edge.failed - edge.best > max(1, precision * edge.best) and edge.best and has_time():
        await attempt((edge.best + edge.failed) // 2)
    while edge.best and has_time():
        if await attempt(edge.best, again=True):
            edge.repeated = True
            break
        below = [tried for tried, ok in edge.tried if ok and tried < edge.best]
        edge.best = max([*below, int(edge.best * STEP_BACK)])
    return edge
