"""How commands are written into SQLite: those of a moment together, in as few statements as there can be."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec

Seal = Callable[[int], bytes]
"""The bytes of a request with a counter. Called by any thread."""

ASKED = (
    "vehicle_id", "fleet_id", "name", "client", "flow_id", "idempotency_key", "counter", "payload", "asked_at", "finished_at",
    "status", "reason",
)  # fmt: skip
ROWS_AT_ONCE = 32
"""Rows in one statement: a statement has 999 values at most where SQLite is old."""

_COUNTERS = "SELECT json_group_object(vehicle_id, counter) FROM units WHERE vehicle_id IN (SELECT value FROM json_each(?))"
_COUNT = (
    "UPDATE units SET counter = said.value FROM (SELECT key, value FROM json_each(?)) AS said WHERE units.vehicle_id = said.key"
)
_FINISH = (
    "UPDATE commands SET status = json_extract(said.value, '$[1]'), reason = json_extract(said.value, '$[2]'), "
    "state = json_extract(said.value, '$[3]'), finished_at = json_extract(said.value, '$[4]') "
    "FROM json_each(?) AS said WHERE commands.id = json_extract(said.value, '$[0]')"
)


class Begun(NamedTuple):
    """A request that is written down and may be sent."""

    id: int
    counter: int
    payload: bytes


class Beginning(NamedTuple):
    """A request that is to be written down. `row` is all of it but counter and payload."""

    vehicle_id: str
    at_least: int
    seal: Seal
    row: Mapping[str, Any]


class Finished(NamedTuple):
    """What came of a request; `state` is JSON."""

    id: int
    status: int
    reason: str | None
    state: str
    finished_at: int


def begin(connection: sqlite3.Connection, asked: Sequence[Beginning]) -> list[Begun | Exception]:
    """Write requests down, each with a counter that its vehicle's unit never had; LookupError for a vehicle without a unit."""
    outcomes: list[Begun | Exception] = [LookupError(f"vehicle {each.vehicle_id} has no unit") for each in asked]
    for places in _rounds(asked):
        wanted = msgspec.json.encode([asked[at].vehicle_id for at in places]).decode()
        last: dict[str, int] = msgspec.json.decode(connection.execute(_COUNTERS, (wanted,)).fetchone()[0])
        sealed: list[tuple[int, int, bytes]] = []
        counters = {}
        for at in places:
            each = asked[at]
            if each.vehicle_id not in last:
                continue
            counter = max(last[each.vehicle_id] + 1, each.at_least)
            try:
                sealed.append((at, counter, each.seal(counter)))
            except Exception as error:  # this one's own: the others go on
                outcomes[at] = error
            else:
                counters[each.vehicle_id] = counter
        if not sealed:
            continue
        connection.execute(_COUNT, (msgspec.json.encode(counters).decode(),))
        for first in range(0, len(sealed), ROWS_AT_ONCE):
            some = sealed[first : first + ROWS_AT_ONCE]
            rows = [{**asked[at].row, "counter": counter, "payload": payload} for at, counter, payload in some]
            written = connection.execute(_ask(len(rows)), list(chain.from_iterable(map(_values, rows))))
            first_id = int(written.lastrowid or 0) - len(some) + 1  # the only writer's rows are numbered one after the other
            for number, (at, counter, payload) in enumerate(some):
                outcomes[at] = Begun(first_id + number, counter, payload)
    return outcomes


def finish(connection: sqlite3.Connection, said: Sequence[Finished]) -> list[None]:
    """Write down what came of requests."""
    connection.execute(_FINISH, (msgspec.json.encode(said).decode(),))
    return [None] * len(said)


def refuse(connection: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    """Write down a request that was never sent."""
    connection.execute(_ask(1), _values(row))


def _values(row: Mapping[str, Any]) -> list[Any]:
    return [row[name] for name in ASKED]


def _rounds(asked: Sequence[Beginning]) -> Iterator[list[int]]:
    """The places of all, in portions that have each vehicle once, in order."""
    left = list(range(len(asked)))
    while left:
        seen: set[str] = set()
        now, later = list[int](), list[int]()
        for at in left:
            vehicle_id = asked[at].vehicle_id
            (later if vehicle_id in seen else now).append(at)
            seen.add(vehicle_id)
        yield now
        left = later


@cache
def _ask(count: int) -> str:
    row = f"({', '.join('?' * len(ASKED))})"
    return f"INSERT INTO commands ({', '.join(ASKED)}) VALUES {', '.join([row] * count)}"
