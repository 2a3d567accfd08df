"""The publisher over a real RabbitMQ; what arrives is read by pika, which shares no code with it."""

import asyncio
import itertools
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pika
import pika.exceptions
import pytest
from structlog.testing import capture_logs
from yarl import URL

from gateway.amqp import AmqpPublisher, EventLog, TopologyConflict, channels
from gateway.amqp.channels import WINDOW, BatchChannel, SingleChannel
from gateway.amqp.link import finished
from gateway.amqp.topology import LOG, LOG_ARGUMENTS
from gateway.events import Event
from gateway.publisher import PublishFailed
from lab.rabbitmq import RabbitMQNode

serial = itertools.count(1)


def event(vehicle: str = "AB3CD", kind: str = "VehicleStateRecorded", fleet: str = "fleet1", **body: Any) -> Event:
    return Event(str(uuid.uuid4()), kind, f"flow-{next(serial)}", 1769779325000, 1769779325123, fleet, vehicle, body)


@asynccontextmanager
async def publishing(url: str, event_log: EventLog = "unrouted") -> AsyncIterator[AmqpPublisher]:
    publisher = AmqpPublisher(url, event_log)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


@contextmanager
def reader(url: str) -> Iterator[Any]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def bound_queue(channel: Any, key: str = "#", **arguments: Any) -> str:
    name = f"test.{uuid.uuid4().hex[:8]}"
    channel.queue_declare(name, durable=True, arguments={key.replace("_", "-"): value for key, value in arguments.items()})
    channel.queue_bind(name, "events", key)
    return name


def taken(channel: Any, queue: str) -> list[tuple[Any, Any, bytes]]:
    """All that is in the queue at this moment."""
    messages = []
    while (message := channel.basic_get(queue, auto_ack=True))[0] is not None:
        messages.append(message)
    return messages


def ids(messages: list[tuple[Any, Any, bytes]]) -> list[str]:
    return [properties.message_id for _, properties, _ in messages]


def logged(channel: Any, count: int, wait_s: float = 15.0) -> list[str]:
    """The ids of the first `count` events of the log stream, or fewer if no more come in time."""
    channel.basic_qos(prefetch_count=100)
    found: list[str] = []
    for method, properties, _ in channel.consume(
        LOG, arguments={"x-stream-offset": "first"}, inactivity_timeout=wait_s if count else 1.0
    ):
        if method is None:
            break
        found.append(properties.message_id)
        channel.basic_ack(method.delivery_tag)
        if len(found) == count:
            break
    channel.cancel()
    return found


async def until(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


async def insistently(publisher: AmqpPublisher, events: list[Event], limit_s: float = 60.0) -> int:
    """Publish as the service does, until it is confirmed; how often it failed."""
    async with asyncio.timeout(limit_s):
        for failures in itertools.count():
            try:
                await publisher.publish(events)
            except PublishFailed:
                await asyncio.sleep(0.1)
            else:
                return failures
    raise AssertionError


def begun(publisher: AmqpPublisher, count: int) -> asyncio.Task[None]:
    return asyncio.create_task(publisher.publish([event() for _ in range(count)]))


async def opened_by_another_aiormq(*_: object) -> BatchChannel:
    raise AttributeError("'Channel' has no such method")


class Relay:
    """A line to the broker that a test can cut, slow down (`pause_s` after every 64 KiB) or make `mute`: no answer passes."""

    def __init__(self, url: str) -> None:
        self._target = URL(url)
        self._server: asyncio.Server | None = None
        self._lines: list[asyncio.StreamWriter] = []
        self.pause_s = 0.0
        self.mute = False
        self.sent_bytes = 0

    async def open(self, port: int = 0) -> str:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", port)
        return str(self._target.with_port(self._server.sockets[0].getsockname()[1]))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(self._target.host, self._target.port)
        self._lines += (writer, forth)
        await asyncio.gather(self._copy(reader, forth, up=True), self._copy(back, writer, up=False))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, up: bool) -> None:
        try:
            while data := await source.read(65536):
                if self.mute and not up:
                    continue
                self.sent_bytes += len(data) if up else 0
                sink.write(data)
                await sink.drain()
                await asyncio.sleep(self.pause_s)
        except OSError:
            pass
        finally:
            sink.close()

    def cut(self) -> None:
        """Reset every connection there is; the next ones pass."""
        for line in self._lines:
            line.transport.abort()
        self._lines.clear()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()


@pytest.fixture
async def relay(amqp_url: str) -> AsyncIterator[Relay]:
    relay = Relay(amqp_url)
    yield relay
    relay.close()


async def test_what_is_confirmed_is_in_the_queue(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel)
            events = [event() for _ in range(250)]
            await publisher.publish(events)
            assert ids(taken(channel, queue)) == [sent.id for sent in events]


async def test_a_message_carries_what_the_contract_says(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel)
            sent = event(vehicle_state={"central_lock": {"value": "LOCKED"}}, changed={})
            await publisher.publish([sent])
            [(method, properties, body)] = taken(channel, queue)
    document = json.loads(body)
    metadata = document["metadata"]
    assert (method.exchange, method.routing_key) == ("events", "fleet1.VehicleStateRecorded.AB3CD")
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert properties.message_id == metadata["id"] == sent.id
    assert properties.headers == {
        "Flow-ID": metadata["flow_id"],
        "Message-Type": metadata["type"],
        "Message-Version": metadata["version"],
    }
    assert document["vehicle_state"] == {"central_lock": {"value": "LOCKED"}}


async def test_a_body_of_many_frames_arrives_whole(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel)
            sent = event(text="ü" * 300_000)
            await publisher.publish([sent, event()])
            assert taken(channel, queue)[0][2] == sent.json()


async def test_each_vehicles_events_arrive_in_the_order_given(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel, x_queue_type="quorum")
            events = [event(f"VEH{number % 7}", number=number) for number in range(3 * WINDOW)]
            await asyncio.gather(publisher.publish(events), publisher.publish([event("OTHER") for _ in range(50)]))
            numbers: dict[str, list[int]] = {}
            for method, _, body in taken(channel, queue):
                numbers.setdefault(method.routing_key, []).append(json.loads(body).get("number", -1))
    assert sum(map(len, numbers.values())) == 3 * WINDOW + 50
    assert all(found == sorted(found) for found in numbers.values())


async def test_an_event_that_no_queue_wants_is_held_by_the_log(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            bound_queue(channel, "fleet1.CentralLockChanged.*")
            wanted, unwanted = event(kind="CentralLockChanged"), event(kind="IgnitionChanged")
            await publisher.publish([wanted, unwanted])
            assert logged(channel, 1) == [unwanted.id]


async def test_the_log_holds_every_event_once_where_that_is_set_and_can_go_back(amqp_url: str) -> None:
    everything = [event(kind="CentralLockChanged"), event(kind="IgnitionChanged")]
    async with publishing(amqp_url, "all") as publisher:
        with reader(amqp_url) as channel:
            bound_queue(channel, "fleet1.CentralLockChanged.*")
            await publisher.publish(everything)
            assert logged(channel, 2) == [sent.id for sent in everything]
    async with publishing(amqp_url, "unrouted") as publisher:
        with reader(amqp_url) as channel:
            unwanted = event(kind="IgnitionChanged")
            await publisher.publish([event(kind="CentralLockChanged"), unwanted])
            assert logged(channel, 3) == [*(sent.id for sent in everything), unwanted.id]


async def test_an_event_without_any_home_is_not_confirmed_and_the_log_is_built_again(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            channel.queue_delete(LOG)
        sent = event()
        with pytest.raises(PublishFailed, match="NO_ROUTE"):
            await publisher.publish([event(), sent])
        await insistently(publisher, [sent])
        with reader(amqp_url) as channel:
            assert logged(channel, 1) == [sent.id]


async def test_an_exchange_that_disappears_is_built_again(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            channel.exchange_delete("events")
        with pytest.raises(PublishFailed):
            await publisher.publish([event()])
        await insistently(publisher, [event()])


async def test_an_event_that_a_full_queue_refuses_is_not_confirmed(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel, x_max_length=5, x_overflow="reject-publish")
            events = [event() for _ in range(20)]
            with pytest.raises(PublishFailed):
                await publisher.publish(events)
            assert publisher.ready
            taken(channel, queue)
            await publisher.publish(events[:5])
            assert ids(taken(channel, queue)) == [sent.id for sent in events[:5]]


async def test_a_memory_alarm_fails_the_publish_and_its_end_is_noticed(amqp_url: str, rabbitmq_node: RabbitMQNode) -> None:
    async with publishing(amqp_url) as publisher:
        await publisher.publish([event()])
        await asyncio.to_thread(rabbitmq_node.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            with pytest.raises(PublishFailed, match="alarm"):
                await publisher.publish([event()])
            assert not publisher.ready
        finally:
            await asyncio.to_thread(rabbitmq_node.ctl, "set_vm_memory_high_watermark", "absolute", "2GB")
        await until(lambda: publisher.ready)
        await publisher.publish([event()])


async def test_a_frozen_broker_fails_the_publish_in_time_and_serves_again_after(
    amqp_url: str, rabbitmq_node: RabbitMQNode
) -> None:
    async with publishing(amqp_url) as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel)
            rabbitmq_node.freeze()
            try:
                frozen = [event() for _ in range(3)]
                async with asyncio.timeout(2 * channels.STALL_S):
                    with pytest.raises(PublishFailed):
                        await publisher.publish(frozen)
            finally:
                rabbitmq_node.thaw()
            await insistently(publisher, frozen)
            assert set(ids(taken(channel, queue))) == {sent.id for sent in frozen}


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed(amqp_url: str, rabbitmq_node: RabbitMQNode) -> None:
    confirmed: list[str] = []
    failures = 0

    async def stream(publisher: AmqpPublisher) -> None:
        nonlocal failures
        while True:
            events = [event(f"VEH{number}") for number in range(30)]
            failures += await insistently(publisher, events)
            confirmed.extend(sent.id for sent in events)

    async with publishing(amqp_url, "all") as publisher:
        with reader(amqp_url) as channel:
            queue = bound_queue(channel, x_queue_type="quorum")
        await asyncio.to_thread(rabbitmq_node.write_down)
        streaming = asyncio.create_task(stream(publisher))
        await until(lambda: len(confirmed) > 300)
        await asyncio.to_thread(rabbitmq_node.kill)
        await until(lambda: not publisher.ready)
        before = len(confirmed)
        await asyncio.to_thread(rabbitmq_node.start)
        await until(lambda: streaming.done() or len(confirmed) > before + 300, 60)
        streaming.cancel()
    assert failures
    with reader(amqp_url) as channel:
        found = ids(taken(channel, queue))
        in_log = logged(channel, 2 * len(found), wait_s=2.0)
    lost = [number for number, event_id in enumerate(confirmed) if event_id not in set(found)]
    lost_from_log = [number for number, event_id in enumerate(confirmed) if event_id not in set(in_log)]
    assert (lost, lost_from_log) == ([], []), f"of {len(confirmed)}, {before} of them confirmed before the kill"


@pytest.mark.parametrize("in_batches", [True, False])
async def test_a_line_that_is_cut_fails_the_publish_and_nothing_else(
    relay: Relay, in_batches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_batches:
        monkeypatch.setattr(BatchChannel, "opened", opened_by_another_aiormq)
    async with publishing(await relay.open()) as publisher:
        await until(lambda: publisher.ready)
        for _ in range(5):
            calls = [begun(publisher, 2 * WINDOW) for _ in range(3)]
            await asyncio.sleep(0.01)
            relay.cut()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert all(outcome is None or isinstance(outcome, PublishFailed) for outcome in outcomes)
            assert any(isinstance(outcome, PublishFailed) for outcome in outcomes)
            await insistently(publisher, [event()])


async def test_what_is_unconfirmed_at_a_time_is_bounded(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STALL_S", 0.5)
    async with publishing(await relay.open()) as publisher:
        events = [event() for _ in range(5 * WINDOW)]
        before, relay.mute = relay.sent_bytes, True
        with pytest.raises(PublishFailed, match="no confirm"):
            await publisher.publish(events)
        assert relay.sent_bytes - before < 2 * WINDOW * len(events[0].json())


async def test_a_line_that_is_cut_while_a_queue_is_declared_is_a_connection_error(relay: Relay) -> None:
    async with publishing(await relay.open()) as publisher:
        relay.mute = True
        declaring = asyncio.create_task(publisher.declare_consumer_queue("c1", "All", "fleet1"))
        await asyncio.sleep(0.1)
        relay.cut()
        with pytest.raises(ConnectionError):
            await declaring


async def test_aiormqs_cancellation_is_a_connection_error_and_ours_passes() -> None:
    async def cancelled_by_aiormq() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionError):
        await finished(cancelled_by_aiormq(), 10.0)
    with pytest.raises(TimeoutError):
        await finished(asyncio.sleep(60), 0.01)
    ours = asyncio.create_task(finished(asyncio.sleep(60), 60.0))
    await asyncio.sleep(0)
    ours.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ours


async def test_the_callers_own_cancellation_passes(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        call = begun(publisher, 5 * WINDOW)
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await publisher.publish([event()])


async def test_a_broker_that_comes_later_is_found(relay: Relay) -> None:
    url = await relay.open()
    relay.close()
    async with publishing(url) as publisher:
        assert not publisher.ready
        with pytest.raises(PublishFailed):
            await publisher.publish([event()])
        await relay.open(URL(url).port or 0)
        await insistently(publisher, [event()])
        assert publisher.ready


async def test_stopping_fails_what_is_not_confirmed(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        call = begun(publisher, 10 * WINDOW)
        await asyncio.sleep(0.01)
        await publisher.stop()
        with pytest.raises(PublishFailed):
            await call
        assert not publisher.ready


async def test_an_exchange_of_another_kind_is_one_clear_error(amqp_url: str) -> None:
    with reader(amqp_url) as channel:
        channel.exchange_declare("events", "topic", durable=True)
    publisher = AmqpPublisher(amqp_url)
    with pytest.raises(TopologyConflict, match=r"'events'.*delete the exchange"):
        await publisher.start()
    await publisher.stop()


async def test_publishing_goes_on_one_by_one_where_aiormq_has_changed(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unheard(self: BatchChannel, frame: object) -> None:
        return None

    monkeypatch.setattr(channels, "STALL_S", 0.5)
    monkeypatch.setattr(BatchChannel, "_on_confirm_frame", unheard)
    async with publishing(amqp_url) as publisher:
        await until(lambda: publisher.ready)
        assert publisher._link is not None
        assert isinstance(publisher._link.channel, SingleChannel)
        with reader(amqp_url) as channel:
            queue = bound_queue(channel)
            events = [event() for _ in range(250)]
            await publisher.publish(events)
            assert ids(taken(channel, queue)) == [sent.id for sent in events]
            channel.queue_delete(queue)
            channel.queue_delete(LOG)
        with pytest.raises(PublishFailed, match="came back"):
            await publisher.publish([event()])


async def test_the_password_is_never_said(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = str(URL(amqp_url).with_password("hush-hush"))
    with capture_logs() as said:
        async with publishing(url) as publisher:
            with pytest.raises(PublishFailed) as failed:
                await publisher.publish([event()])
            assert publisher.fault
    shown = [str(failed.value), repr(failed.value.__cause__), publisher.fault, publisher.address, repr(said), caplog.text]
    assert any("ACCESS_REFUSED" in text for text in shown)
    assert not any("hush" in text for text in shown)


@pytest.mark.parametrize("url", ["http://u:hush@h/", "amqp:///", "u:hush@h:port", "amqp://u:hush@h:notaport/"])
def test_a_url_of_another_form_is_refused_without_being_said(url: str) -> None:
    with pytest.raises(ValueError, match="amqp://user") as refused:
        AmqpPublisher(url)
    assert "hush" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


async def test_a_consumers_queue_gets_its_fleets_events_of_its_topic_only(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        locks = await publisher.declare_consumer_queue("c1", "CentralLockChanged", "fleet1")
        everything = await publisher.declare_consumer_queue("c1", "All", "fleet1")
        assert (locks, everything) == ("consumer.c1.CentralLockChanged", "consumer.c1.All")
        assert await publisher.declare_consumer_queue("c1", "All", "fleet1") == everything
        lock, ignition, foreign = event(kind="CentralLockChanged"), event(kind="IgnitionChanged"), event(fleet="fleet2")
        await publisher.publish([lock, ignition, foreign])
        with reader(amqp_url) as channel:
            assert ids(taken(channel, locks)) == [lock.id]
            assert ids(taken(channel, everything)) == [lock.id, ignition.id]


async def test_a_consumers_queue_lives_three_days_unread_and_its_messages_seven(amqp_url: str) -> None:
    day = 24 * 3600 * 1000
    async with publishing(amqp_url) as publisher:
        queue = await publisher.declare_consumer_queue("c1", "All", "fleet1")
    arguments = {"x-queue-type": "quorum", "x-expires": 3 * day, "x-message-ttl": 7 * day}
    with reader(amqp_url) as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.queue_declare(LOG, durable=True, arguments=LOG_ARGUMENTS)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare(queue, durable=True, arguments=arguments | {"x-message-ttl": day})


@pytest.mark.parametrize("name", ["", "#", "*", "a.b", "fleet1.#", "a b", "ä"])
async def test_a_consumers_names_cannot_be_patterns(amqp_url: str, name: str) -> None:
    async with publishing(amqp_url) as publisher:
        for names in ((name, "All", "fleet1"), ("c1", name, "fleet1"), ("c1", "All", name)):
            with pytest.raises(ValueError, match="no word"):
                await publisher.declare_consumer_queue(*names)


async def test_an_event_that_cannot_be_encoded_fails_its_own_call_only(amqp_url: str) -> None:
    async with publishing(amqp_url) as publisher:
        with pytest.raises(PublishFailed, match="255"):
            await publisher.publish([event("V" * 300)])
        await publisher.publish([event()])


async def test_a_slow_line_is_waited_for_as_long_as_it_confirms(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STALL_S", 1.0)
    async with publishing(await relay.open()) as publisher:
        relay.pause_s = 0.05
        begun_at = asyncio.get_running_loop().time()
        await publisher.publish([event(text="x" * 2000) for _ in range(2 * WINDOW)])
        assert asyncio.get_running_loop().time() - begun_at > channels.STALL_S
