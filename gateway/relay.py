"""The outbox's way out: what was born in the registry goes to the publisher, oldest first, before anything that follows it."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.live import Live
from gateway.metrics import Metrics
from gateway.publisher import Publisher, PublishFailed
from gateway.registry.outbox import Outbox

BATCH = 500
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Relay:
    """Empties an outbox. An event leaves it when it is confirmed: a crash in between sends it again, with the same id."""

    def __init__(self, outbox: Outbox, publisher: Publisher, live: Live, metrics: Metrics) -> None:
        self._outbox, self._publisher, self._live, self._metrics = outbox, publisher, live, metrics
        self._one_sender = asyncio.Lock()

    async def run(self) -> None:
        """Send whatever comes, until cancelled."""
        while True:
            await self._outbox.waiting.wait()
            try:
                await self.flush()
            except (PublishFailed, SQLAlchemyError, OSError) as error:
                log.warning("events of the registry wait in the outbox", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Return when all events that were in the outbox are confirmed. Raises PublishFailed, SQLAlchemyError, OSError.

        Events published after it are behind those: a vehicle is created before it reports.
        """
        if not self._outbox.waiting.is_set() and not self._one_sender.locked():
            return
        async with self._one_sender:
            if self._outbox.waiting.is_set():
                self._outbox.waiting.clear()
                try:
                    while await self._send_oldest() == BATCH:
                        pass
                except BaseException:
                    self._outbox.waiting.set()
                    raise

    async def _send_oldest(self) -> int:
        rows = await self._outbox.oldest(BATCH)
        events = [event for _, event in rows]
        await self._publisher.publish(events)
        await self._outbox.sent([row_id for row_id, _ in rows])
        self._metrics.count([], events)
        self._live.tell(events)
        return len(rows)
