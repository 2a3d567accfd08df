"""Publishing channels: one that writes many messages at once, and aiormq's own for where that one does not work."""

import asyncio
import uuid
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from aiormq import spec
from aiormq.abc import AbstractConnection, ConfirmationFrameType
from aiormq.channel import Channel
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import DeliveryError, PublishError
from yarl import URL

from gateway.amqp.confirms import Batch, Confirms
from gateway.amqp.frames import Publishing
from gateway.amqp.tap import Settle, Tap
from gateway.amqp.topology import EXCHANGE
from gateway.events import FLOW, Event
from gateway.gulps import Gulps
from gateway.publisher import PublishFailed

STALL_S = 5.0
"""How long a publish waits without a single confirm before it fails."""

WINDOW = 1_000
"""Messages unconfirmed at a time. More buys no speed and costs memory on both sides while the broker stands still."""

CHUNK = 100
"""Messages encoded in one go: about a millisecond, after which others of the event loop get their turn."""

PUBLISHINGS_KEPT = 65_536
"""Types and vehicles whose messages' common parts are kept, some 700 bytes each."""

CONFIRMS_REST_S = 0.01
"""How long confirms that come in a trickle are left in the socket. No event waits for them, but the units' Acks do."""

UNSENT_LIMIT_BYTES = 1 << 20
FRAME_BUFFER = 10


class Stalled(PublishFailed):
    """The broker has confirmed nothing for STALL_S."""


class Refused(PublishFailed):
    """A queue did not take an event: it is full, or has no leader."""


class Unroutable(PublishFailed):
    """There is no queue for an event, not even the log."""


class ProbeFailed(Exception):
    """A channel does not do what a publisher needs of it."""


class Wire(TransportFactory):
    """A connection's transport, kept at hand: batches are written straight to it, and a dead one can be dropped at once."""

    def __init__(self, scheme: str) -> None:
        self._factory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()
        self._writer: StreamWriter | None = None
        self._tap: Tap | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[StreamReader, StreamWriter]:
        """Connect; aiormq calls this."""
        reader, self._writer = await self._factory.create(url, **kwargs)
        self._tap = Tap(reader, Gulps(self._writer.transport, CONFIRMS_REST_S))
        return cast(StreamReader, self._tap), self._writer

    def listen(self, channel: int, settle: Settle, stir: Callable[[], None]) -> None:
        """See `Tap.listen`."""
        if self._tap is not None:
            self._tap.listen(channel, settle, stir)

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self._writer.transport.get_write_buffer_size() if self._writer else 0

    def write(self, frames: bytes) -> None:
        """Send whole frames. They go between those that aiormq sends, which are whole, too."""
        if self._writer is not None:
            self._writer.write(frames)

    def abort(self) -> None:
        """Drop the connection with all that is unsent, without a word to the other side."""
        if self._writer is not None:
            self._writer.transport.abort()


class PublishingChannel(Protocol):
    """What the publisher needs of a channel with confirms."""

    @property
    def closing(self) -> "asyncio.Future[Any]":
        """Done when the channel is gone."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are confirmed. Raises PublishFailed, mostly one of the kinds above."""


class BatchChannel(Channel):
    """A channel that writes messages by the hundred and counts their confirms itself.

    It stands in for two of aiormq's own methods, those that take Ack, Nack and Return, which keep a future and a lock turn for
    each message. `opened` proves that both are called.
    """

    def __init__(self, connection: AbstractConnection, number: int, wire: Wire) -> None:
        super().__init__(connection, number, frame_buffer=FRAME_BUFFER)
        self._wire = wire
        self._frame_limit_bytes = connection.connection_tune.frame_max
        self._confirms = Confirms()
        self._moved = connection.loop.create_future()
        self._one_sender = asyncio.Lock()
        self._waiting: list[tuple[Batch, asyncio.Future[None]]] = []
        self._publishings: dict[tuple[str, str, str, str], Publishing] = {}
        self.closing.add_done_callback(lambda _: self._stir())

    @classmethod
    async def opened(cls, connection: AbstractConnection, wire: Wire, number: int) -> "BatchChannel":
        """An open channel that has proved itself. Raises ProbeFailed, or what the connection raises."""
        channel = cls(connection, number, wire)
        connection.channels[number] = channel
        await channel.open()
        await channel._prove()
        return channel

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are confirmed. Raises PublishFailed, mostly one of the kinds above."""
        if not self._confirms.outstanding:  # so nothing of this channel is on its way through aiormq
            self._wire.listen(self.number, self._settle, self._stir)
        batch = self._confirms.open({event.id for event in events})
        try:
            async with self._one_sender:  # calls come one after the other also where they are long
                await self._send(batch, events)
            await self._settled(batch)
        finally:
            self._confirms.close(batch)
        if batch.returned is not None:
            raise Unroutable(f"an event came back: {batch.returned}")
        if batch.refused:
            raise Refused("a queue did not take an event")

    async def _send(self, batch: Batch, events: Sequence[Event]) -> None:
        position = 0
        while position < len(events) and not batch.failed:
            chunk = events[position : position + CHUNK]
            full = self._confirms.outstanding + len(chunk) > WINDOW or self._wire.unsent_bytes > UNSENT_LIMIT_BYTES
            if full and self._confirms.outstanding:
                await self._progress()
                continue
            self._write(batch, len(chunk), [piece for event in chunk for piece in self._frames(event)])
            position += len(chunk)
            if position < len(events):
                await asyncio.sleep(0)

    def _frames(self, event: Event) -> list[bytes]:
        kind = (event.type, event.fleet_id, event.vehicle_id, event.version)
        publishing = self._publishings.get(kind)
        if publishing is None:
            if len(self._publishings) >= PUBLISHINGS_KEPT:
                self._publishings.clear()
            headers = event.headers
            headers.pop(FLOW)
            publishing = Publishing(self.number, self._frame_limit_bytes, EXCHANGE, event.routing_key, FLOW, headers)
            self._publishings[kind] = publishing
        return publishing.frames(event.id, event.flow_id, event.pieces())

    def _write(self, batch: Batch, messages: int, pieces: Sequence[bytes]) -> None:
        if self.is_closed:
            raise PublishFailed("the connection is lost")
        self._confirms.send(batch, messages)
        self._wire.write(b"".join(pieces))

    async def _settled(self, batch: Batch) -> None:
        """Return when all messages of the batch are settled."""
        while (before := self._confirms.settled) < batch.last:
            if self.is_closed:
                raise PublishFailed("the connection is lost")
            waiting: tuple[Batch, asyncio.Future[None]] = batch, self.loop.create_future()
            self._waiting.append(waiting)
            timer = self.loop.call_later(STALL_S, _wake, waiting[1])
            try:
                await waiting[1]
            finally:
                timer.cancel()
                self._waiting.remove(waiting)
            if self._confirms.settled == before and not self.is_closed:
                raise self._stalled()

    async def _progress(self) -> None:
        """Wait for the next confirm, whosever it is."""
        if self.is_closed:
            raise PublishFailed("the connection is lost")
        if self._moved.done():
            self._moved = self.loop.create_future()
        done, _ = await asyncio.wait({self._moved}, timeout=STALL_S)
        if not done:
            raise self._stalled()

    def _stalled(self) -> Stalled:
        return Stalled(f"no confirm for {STALL_S:g} s, {self._confirms.outstanding} outstanding")

    def _stir(self) -> None:
        if not self._moved.done():
            self._moved.set_result(None)
        for batch, waiter in self._waiting:
            if not waiter.done() and (self._confirms.settled >= batch.last or self.is_closed):
                waiter.set_result(None)

    def _settle(self, tag: int, multiple: bool) -> None:
        self._confirms.settle(tag, multiple, taken=True)

    async def _on_confirm_frame(self, frame: ConfirmationFrameType) -> None:
        multiple = bool(getattr(frame, "multiple", False))
        self._confirms.settle(frame.delivery_tag or 0, multiple, taken=isinstance(frame, spec.Basic.Ack))
        self._stir()

    async def _on_return_frame(self, frame: spec.Basic.Return) -> None:
        header: Any = await self._get_frame()
        message = await self._read_content(frame, header)
        self._confirms.returned(message.header.properties.message_id, frame.reply_text or "no reason given")

    async def _prove(self) -> None:
        """Send a message that no queue can want: it must come back, and be confirmed, and leave nothing behind."""
        nowhere = f"teleloop.probe.{uuid.uuid4()}"
        probe = self._confirms.open({nowhere})
        try:
            message = Publishing(self.number, self._frame_limit_bytes, "", nowhere, "Probe", {}).frames(nowhere, "1", (b"{}",))
            self._write(probe, 1, message)
            await self._settled(probe)
        except PublishFailed as error:
            raise ProbeFailed(str(error)) from None
        finally:
            self._confirms.close(probe)
        if probe.returned is None:
            raise ProbeFailed("a mandatory message without a queue did not come back")


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class SingleChannel:
    """aiormq's own publishing on an open channel with confirms: some ten times slower, and nothing but its public calls."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._one_sender = asyncio.Lock()

    @property
    def closing(self) -> "asyncio.Future[Any]":
        """Done when the channel is gone."""
        closing: asyncio.Future[Any] = self._channel.closing
        return closing

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are confirmed. Raises PublishFailed, mostly one of the kinds above."""
        async with self._one_sender:
            for start in range(0, len(events), CHUNK):
                calls = [self._publish(event) for event in events[start : start + CHUNK]]
                for outcome in await asyncio.gather(*calls, return_exceptions=True):
                    if isinstance(outcome, PublishError):
                        raise Unroutable("an event came back")
                    if isinstance(outcome, DeliveryError):
                        raise Refused("a queue did not take an event")
                    if isinstance(outcome, TimeoutError):
                        raise Stalled(f"no confirm for {STALL_S:g} s")
                    if isinstance(outcome, BaseException):
                        raise PublishFailed("the connection is lost") from outcome

    async def _publish(self, event: Event) -> None:
        properties = spec.Basic.Properties(
            content_type="application/json", headers=dict(event.headers), delivery_mode=2, message_id=event.id
        )
        await self._channel.basic_publish(
            event.json(),
            exchange=EXCHANGE,
            routing_key=event.routing_key,
            properties=properties,
            mandatory=True,
            timeout=STALL_S,
        )
