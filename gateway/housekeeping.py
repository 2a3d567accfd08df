"""What has been kept long enough goes, every hour: archived vehicles and the audit after 90 days, idempotency keys after one.

What bounds itself as it grows is left to itself: the quarantine, the local event log, RabbitMQ's queues.
"""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.registry import Registry

INTERVAL_S = 3600.0

log = structlog.get_logger(__name__)


class Housekeeping:
    """Purges a registry, whose own clock says what is old."""

    def __init__(self, registry: Registry, interval_s: float = INTERVAL_S) -> None:
        self._registry, self._interval_s = registry, interval_s

    async def run(self) -> None:
        """Purge at once and every hour, until cancelled."""
        while True:
            try:
                purged = await self._registry.purge()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the registry cannot be purged", error=str(error))
            else:
                if purged:
                    log.info("purged vehicles that were archived long ago", vehicles=purged)
            await asyncio.sleep(self._interval_s)
