"""One connection to RabbitMQ from the handshake to its end: topology, the publishing channel, alarms."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import aiormq
import structlog
from aiormq.abc import AbstractConnection
from yarl import URL

from gateway.amqp.channels import BatchChannel, ProbeFailed, PublishingChannel, SingleChannel, Wire
from gateway.amqp.topology import EventLog, declare

CHANNEL = 1
GOODBYE_S = 2.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def finished(work: Coroutine[Any, Any, T], limit_s: float) -> T:
    """What `work` with aiormq returns or raises; TimeoutError after `limit_s`.

    Where a connection dies aiormq throws CancelledError into those who wait for it. Nobody has cancelled our task, so here that
    is a ConnectionError.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            raise TimeoutError(f"no answer for {limit_s:g} s")
    finally:
        task.cancel()
    if task.cancelled():
        raise ConnectionError("the connection is lost")
    return task.result()


class Link:
    """A connection that publishes. Made by `open`, once; `lost` ends when it is of no more use."""

    def __init__(self, url: URL, event_log: EventLog) -> None:
        self._wire = Wire(url.scheme)
        self._event_log = event_log
        self._connection = aiormq.Connection(
            url, transport_factory=self._wire, client_properties={"connection_name": "teleloop gateway"}
        )
        self.channel: PublishingChannel

    @property
    def connection(self) -> AbstractConnection:
        """For declaring things beside the publishing."""
        return self._connection

    @property
    def blocked(self) -> bool:
        """Whether RabbitMQ has raised an alarm (memory, disk) and takes nothing until that is over."""
        waiting = self._connection.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    async def unblocked(self) -> None:
        """Wait for the end of an alarm."""
        await self._connection.ready()

    async def open(self, in_batches: bool = True) -> None:
        """Connect, declare the topology, open the channel. Raises TopologyConflict, ProbeFailed and what aiormq raises."""
        await self._connection.connect()
        await declare(self._connection, self._event_log)
        if in_batches:
            try:
                self.channel = await BatchChannel.opened(self._connection, self._wire, CHANNEL)
            except (AttributeError, TypeError) as error:
                raise ProbeFailed(repr(error)) from error
        else:
            self.channel = SingleChannel(await self._connection.channel(publisher_confirms=True))

    async def lost(self) -> str:
        """Wait until the connection or its channel is gone, and say why."""
        ends: set[asyncio.Future[Any]] = {self._connection.closing, self.channel.closing}
        done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in waiting:
            end.cancel()
        for end in done:
            if not end.cancelled() and (error := end.exception()) is not None and str(error):
                return str(error)
        return "closed"

    async def close(self) -> None:
        """Say goodbye, and hang up on a broker that does not answer. Raises nothing; cancelled, it hangs up at once."""
        goodbye = asyncio.create_task(_closed(self._connection))
        try:
            await asyncio.wait({goodbye}, timeout=GOODBYE_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Hang up: what is unsent is dropped, and `lost` ends."""
        self._wire.abort()


async def _closed(connection: AbstractConnection) -> None:
    try:
        await connection.close()
    except (Exception, asyncio.CancelledError) as error:
        log.debug("RabbitMQ connection closed with an error", error=repr(error))
