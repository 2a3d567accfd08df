"""The local event log: where events go while no RabbitMQ is there, and where readers resume. A table of the store."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import Select

from gateway.events import Event
from gateway.history import HistoryFailed, LoggedEvent
from gateway.publisher import PublishFailed
from gateway.store import Store
from gateway.store.tables import event_log

RETENTION_MS = 3 * 24 * 60 * 60 * 1000
SIZE_LIMIT_BYTES = 2_000_000_000
"""Of message bodies; the table itself takes about a tenth more."""

PRUNE_INTERVAL_S = 600.0
PAGE = 500
"""Events read at a time."""

SLICE = 2_000
"""Events removed in one transaction: publishing waits for the store's one writer, so pruning lets go of it often."""

log = structlog.get_logger(__name__)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalEventLog:
    """A Publisher into the store's `event_log`. An event of an id that is held already is confirmed and not held twice."""

    def __init__(
        self, store: Store, now_ms: Callable[[], int] = _wall_clock_ms, size_limit_bytes: int = SIZE_LIMIT_BYTES
    ) -> None:
        self._store, self._now_ms, self._size_limit_bytes = store, now_ms, size_limit_bytes
        self._pruning: asyncio.Task[None] | None = None
        self._one_pruning = asyncio.Lock()
        self._held_bytes: int | None = None
        self._writable = True

    @property
    def ready(self) -> bool:
        """Whether it is started and the last write was a success."""
        return self._pruning is not None and self._writable

    async def start(self) -> None:
        """Begin to remove what is too old or too much, at once and every ten minutes."""
        self._pruning = asyncio.create_task(self._prune_for_ever(), name="event log pruning")

    async def stop(self) -> None:
        """End. What is published stays."""
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.wait({self._pruning})
            self._pruning = None

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all `events` are committed. Raises PublishFailed; then none of them is."""
        if not events:
            return
        if self._pruning is None:
            raise PublishFailed("the event log is stopped")
        try:
            rows = [_row(event) for event in events]
            await self._insert(rows)
        except Exception as error:
            self._writable = not isinstance(error, SQLAlchemyError | OSError)
            raise PublishFailed(f"the event log: {error}") from error
        self._writable = True
        if self._held_bytes is not None:
            self._held_bytes += sum(len(row["body"]) for row in rows)

    async def since(self, fleet_id: str, last_event_id: str | None, limit: int = 500) -> list[LoggedEvent]:
        """The fleet's next events after `last_event_id`, oldest first.

        From the oldest that is held, if `last_event_id` is None or not held: then some may be missing before it.
        """
        wanted = select(event_log.c.event_id, event_log.c.type, event_log.c.body).where(event_log.c.fleet_id == fleet_id)
        async with self._store.reading() as connection:
            if last_event_id is not None:
                last = await connection.scalar(
                    select(event_log.c.seq).where(event_log.c.event_id == last_event_id, event_log.c.fleet_id == fleet_id)
                )
                wanted = wanted.where(event_log.c.seq > (last or 0))
            rows = await connection.execute(wanted.order_by(event_log.c.seq).limit(limit))
            return [LoggedEvent(row.event_id, row.type, row.body) for row in rows]

    async def after(self, fleet_id: str, event_id: str) -> AsyncGenerator[LoggedEvent, None]:
        """See `History.after`."""
        last = event_id
        try:
            while page := await self.since(fleet_id, last, PAGE):
                for event in page:
                    yield event
                last = page[-1].event_id
        except (SQLAlchemyError, OSError) as error:
            raise HistoryFailed(str(error)) from error

    async def prune(self, now_ms: int) -> int:
        """Remove events over three days old, then the oldest until the rest fits the size limit. How many went."""
        async with self._one_pruning:
            removed = await self._remove_while(
                select(event_log.c.seq).where(event_log.c.recorded_at < now_ms - RETENTION_MS), lambda: True
            )
            # Repeated events count twice on the way, and a scan of the whole table is dear: it is done where it matters.
            if self._held_bytes is None or self._held_bytes > self._size_limit_bytes:
                self._held_bytes = await self._size_bytes()
            return removed + await self._remove_while(select(event_log.c.seq), self._is_too_much)

    def _is_too_much(self) -> bool:
        return self._held_bytes is not None and self._held_bytes > self._size_limit_bytes

    async def _remove_while(self, candidates: Select[Any], wanted: Callable[[], bool]) -> int:
        removed = 0
        while wanted() and (gone := await self._remove(candidates)):
            removed += gone
        return removed

    async def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        async with self._store.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(postgresql.insert(event_log).on_conflict_do_nothing(), rows)
            else:
                await connection.execute(sqlite.insert(event_log).on_conflict_do_nothing(), rows)

    async def _remove(self, candidates: Select[Any]) -> int:
        """Remove the oldest SLICE of `candidates`."""
        async with self._store.writing() as connection:
            chosen = candidates.order_by(event_log.c.seq).limit(SLICE)
            found = (await connection.execute(chosen.with_only_columns(event_log.c.seq, func.length(event_log.c.body)))).all()
            if found:
                await connection.execute(delete(event_log).where(event_log.c.seq.in_([seq for seq, _ in found])))
        if self._held_bytes is not None:
            self._held_bytes -= sum(size for _, size in found)
        return len(found)

    async def _size_bytes(self) -> int:
        async with self._store.reading() as connection:
            return int(await connection.scalar(select(func.coalesce(func.sum(func.length(event_log.c.body)), 0))) or 0)

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                await self.prune(self._now_ms())
            except (SQLAlchemyError, OSError) as error:
                log.warning("the event log cannot be pruned", error=str(error))
            await asyncio.sleep(PRUNE_INTERVAL_S)


def _row(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "fleet_id": event.fleet_id,
        "type": event.type,
        "vehicle_id": event.vehicle_id,
        "routing_key": event.routing_key,
        "body": event.json(),
        "recorded_at": event.recorded_at,
    }
