"""The publisher over RabbitMQ: keeps a link up, and says of every call of `publish` whether all of it is confirmed."""

import asyncio
import random
from collections.abc import Sequence

import structlog
from aiormq.exceptions import AMQPError
from yarl import URL

from gateway.amqp.channels import STALL_S, ProbeFailed, Stalled, Unroutable
from gateway.amqp.link import Link, finished
from gateway.amqp.topology import EventLog, TopologyConflict, declare_consumer_queue
from gateway.events import Event
from gateway.publisher import PublishFailed

HEARTBEAT_S = 5
OPEN_LIMIT_S = 10.0
BACKOFF_FIRST_S, BACKOFF_LIMIT_S = 0.1, 2.0

log = structlog.get_logger(__name__)


class AmqpPublisher:
    """Publishes to the `events` exchange of the RabbitMQ at `url` (`amqp://user:password@host:port/vhost`, or `amqps`).

    The user needs all permissions in the virtual host. Events of one call, and of calls one after the other, arrive in order;
    a call that fails may have delivered any of its events, so the whole of it is to be repeated: then each event's last copy
    is in order. Raises ValueError for a URL of another form, which it does not quote: it holds the password.
    """

    def __init__(self, url: str, event_log: EventLog = "unrouted") -> None:
        self._url = _parsed(url)
        self._event_log = event_log
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._attempted = asyncio.Event()
        self._starting = False
        self._keeper: asyncio.Task[None] | None = None
        self.address = f"{self._url.host}:{self._url.port or 'default'}{self._url.path}"
        self.fault: str | None = "not started"

    @property
    def ready(self) -> bool:
        """Whether a connection stands and no alarm blocks it; `fault` says what is wrong."""
        return self._link is not None and not self._link.blocked

    async def start(self) -> None:
        """Begin to connect, and give it a moment to succeed. Raises TopologyConflict; a broker that is away is no error."""
        self._starting = True
        self._keeper = asyncio.create_task(self._keep(), name=f"RabbitMQ {self.address}")
        try:
            async with asyncio.timeout(STALL_S):
                await self._attempted.wait()
        except TimeoutError:
            pass
        finally:
            self._starting = False
        if self._keeper.done():
            await self._keeper

    async def stop(self) -> None:
        """Close the connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self.fault = "stopped"

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when RabbitMQ has confirmed all of them. Raises PublishFailed, after 5 s without progress at the latest."""
        if not events:
            return
        try:
            await self._publish(await self._usable(), events)
        except PublishFailed:
            raise
        except Exception as error:
            raise PublishFailed(f"{type(error).__name__}: {error}") from error

    async def declare_consumer_queue(self, consumer_id: str, topic: str, fleet_id: str) -> str:
        """Declare the queue of one event consumer and topic (an event type, or `All`) and give its name.

        Raises ValueError for a name that is no word of letters, digits, `_` and `-`; TopologyConflict; ConnectionError.
        """
        try:
            link = await self._usable()
            declaring = declare_consumer_queue(link.connection, consumer_id, topic, fleet_id)
            return await finished(declaring, STALL_S)
        except (PublishFailed, AMQPError, TimeoutError) as error:
            raise ConnectionError(str(error)) from None

    async def _publish(self, link: Link, events: Sequence[Event]) -> None:
        try:
            await link.channel.publish(events)
        except Stalled:
            if link.blocked:
                raise PublishFailed("RabbitMQ has raised an alarm (memory or disk)") from None
            link.abort()
            raise
        except Unroutable:
            # Connecting anew declares the topology anew: a log that somebody has deleted stands again.
            link.abort()
            raise

    async def _usable(self) -> Link:
        if self._link is not None and not self._link.blocked:
            return self._link
        try:
            async with asyncio.timeout(STALL_S):
                await self._linked.wait()
                link = self._link
                if link is None:
                    raise PublishFailed("the connection is lost")
                await link.unblocked()
        except TimeoutError:
            raise PublishFailed(self.fault or "RabbitMQ has raised an alarm (memory or disk)") from None
        return link

    async def _keep(self) -> None:
        """Connect, again and again. Ends only where `start` still waits and the topology cannot be ours."""
        failures, in_batches = 0, True
        while True:
            link = Link(self._url, self._event_log)
            error = await self._opened(link, in_batches)
            in_batches = not isinstance(error, ProbeFailed)
            if isinstance(error, TopologyConflict) and self._starting:
                self._attempted.set()
                raise error
            if error is None:
                failures = 0
                await self._serve(link)
            else:
                self._note(error)
            self._attempted.set()
            failures += 1
            limit = min(BACKOFF_LIMIT_S, BACKOFF_FIRST_S * 2**failures)
            await asyncio.sleep(random.uniform(limit / 2, limit))

    async def _opened(self, link: Link, in_batches: bool) -> Exception | None:
        try:
            await finished(link.open(in_batches), OPEN_LIMIT_S)
        except asyncio.CancelledError:
            await link.close()
            raise
        except Exception as error:
            link.abort()
            await link.close()
            return error
        return None

    async def _serve(self, link: Link) -> None:
        log.info("connected to RabbitMQ", address=self.address)
        self._link, self.fault = link, None
        self._linked.set()
        self._attempted.set()
        try:
            reason = await link.lost()
        finally:
            self._link, self.fault = None, "the connection is lost"
            self._linked.clear()
            await link.close()
        log.warning("the connection to RabbitMQ is lost", address=self.address, reason=reason)

    def _note(self, error: Exception) -> None:
        fault = str(error) or type(error).__name__
        if isinstance(error, ProbeFailed):
            log.warning("publishing in batches does not work; the next connection publishes one by one", error=fault)
        elif fault != self.fault:
            log.warning("RabbitMQ cannot be used; trying on", address=self.address, error=fault)
        self.fault = fault


def _parsed(url: str) -> URL:
    try:
        parsed = URL(url)
        usable = parsed.scheme in ("amqp", "amqps") and bool(parsed.host)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("the RabbitMQ URL must read amqp://user:password@host:port/vhost, or amqps://")
    return parsed if "heartbeat" in parsed.query else parsed.update_query(heartbeat=HEARTBEAT_S)
