"""What a reader has missed is read from RabbitMQ's stream: all of it, in order, and nothing of other fleets."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta

import aiormq
import pytest

from gateway.amqp import AmqpPublisher, history
from gateway.amqp.history import StreamHistory
from gateway.events import Event
from gateway.history import HistoryFailed
from lab.process import free_port
from lab.rabbitmq import RabbitMQNode

WAIT_S = 20.0


def event(fleet_id: str = "f", event_type: str = "VehicleCreated") -> Event:
    return Event(str(uuid.uuid4()), event_type, "flow", 0, 0, fleet_id, "AAAAA", {"padding": "x" * 200})


@pytest.fixture
async def publisher(amqp_url: str) -> AsyncIterator[AmqpPublisher]:
    publishing = AmqpPublisher(amqp_url, "all")
    await publishing.start()
    yield publishing
    await publishing.stop()


async def after(url: str, event_id: str, fleet_id: str = "f") -> list[str]:
    async with asyncio.timeout(WAIT_S), aclosing(StreamHistory(url).after(fleet_id, event_id)) as missed:
        return [each.event_id async for each in missed]


async def test_what_follows_an_event_is_read_in_order(publisher: AmqpPublisher, amqp_url: str) -> None:
    events = [event() for _ in range(3_000)]
    await publisher.publish(events)
    ids = [each.id for each in events]
    assert await after(amqp_url, ids[0]) == ids[1:]
    assert await after(amqp_url, ids[1_500]) == ids[1_501:]
    assert await after(amqp_url, ids[-1]) == []


async def test_the_whole_message_is_read(publisher: AmqpPublisher, amqp_url: str) -> None:
    first, second = event(), event(event_type="VehicleRemoved")
    await publisher.publish([first, second])
    async with asyncio.timeout(WAIT_S), aclosing(StreamHistory(amqp_url).after("f", first.id)) as missed:
        [read] = [each async for each in missed]
    assert (read.event_id, read.type, read.body) == (second.id, "VehicleRemoved", second.json())


async def test_an_unknown_event_means_from_the_oldest(publisher: AmqpPublisher, amqp_url: str) -> None:
    events = [event() for _ in range(700)]
    await publisher.publish(events)
    for _ in range(2):
        assert await after(amqp_url, "none that is held") == [each.id for each in events]


async def test_another_fleets_events_are_passed_over(publisher: AmqpPublisher, amqp_url: str) -> None:
    events = [event(fleet) for fleet in ("f", "ff", "g", "f", "F", "f")]
    await publisher.publish(events)
    assert await after(amqp_url, events[0].id) == [events[3].id, events[5].id]
    assert await after(amqp_url, events[0].id, "g") == [events[2].id]


async def test_an_empty_log_has_nothing(publisher: AmqpPublisher, amqp_url: str) -> None:
    assert await after(amqp_url, "anything") == []


async def test_events_older_than_the_look_back_are_found(
    publisher: AmqpPublisher, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = [event() for _ in range(400)]
    await publisher.publish(older)
    await asyncio.sleep(2.1)  # a stream is entered at whole seconds: half a second ago may mean one and a half
    newer = [event() for _ in range(400)]
    await publisher.publish(newer)
    monkeypatch.setattr(history, "LOOK_BACK_S", (0.0, 0.5, 3600.0))
    starts = []
    read = history._read

    def counted(connection: aiormq.abc.AbstractConnection, start: history.Start, mark: str):  # type: ignore[no-untyped-def]
        starts.append(start)
        return read(connection, start, mark)

    monkeypatch.setattr(history, "_read", counted)
    ids = [each.id for each in older + newer]
    assert await after(amqp_url, ids[10]) == ids[11:]
    dates = [each for each in starts if isinstance(each, datetime)]
    assert dates == sorted(dates, reverse=True)
    assert dates[0] - dates[-1] == timedelta(hours=1)
    assert "first" not in starts


async def test_what_is_confirmed_before_the_question_is_in_the_answer(publisher: AmqpPublisher, amqp_url: str) -> None:
    await publisher.publish([first := event()])
    for _ in range(10):
        await publisher.publish([latest := event()])
        assert (await after(amqp_url, first.id))[-1] == latest.id


async def test_a_reader_that_leaves_in_the_middle_hangs_up(
    publisher: AmqpPublisher, amqp_url: str, rabbitmq_node: RabbitMQNode
) -> None:
    await publisher.publish([event() for _ in range(2_000)])
    half_read = asyncio.Event()

    async def read_and_stand_still() -> None:
        async with aclosing(StreamHistory(amqp_url).after("f", "none")) as missed:
            async for _ in missed:
                half_read.set()
                await asyncio.sleep(3600)

    vhost = amqp_url.rpartition("/")[2]

    def readers() -> int:
        connections = rabbitmq_node.management("GET", f"/vhosts/{vhost}/connections")
        return sum("reader" in each.get("client_properties", {}).get("connection_name", "") for each in connections)

    async def become(count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while await asyncio.to_thread(readers) != count:
                await asyncio.sleep(0.1)

    reading = asyncio.create_task(read_and_stand_still())
    await asyncio.wait_for(half_read.wait(), WAIT_S)
    await become(1)
    reading.cancel()
    await asyncio.wait({reading})
    await become(0)


async def test_a_rabbitmq_that_is_away_is_told() -> None:
    with pytest.raises(HistoryFailed):
        await after(f"amqp://lab:lab@127.0.0.1:{free_port()}/", "anything")
