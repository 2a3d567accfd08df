"""Event consumers help themselves: a user and queues in a real RabbitMQ, and nothing that belongs to somebody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from gateway.amqp.management import default_url
from gateway.server import Serving, serving
from gateway.settings import Settings
from lab.process import free_port
from lab.rabbitmq import RabbitMQNode

OTHERS_QUEUE = "consumer.0000000000000000.All"
ACCESS_REFUSED = 403
WAIT_S = 10.0

Call = Callable[[BlockingChannel, str], Any]


@pytest.fixture
def settings(tmp_path: Path, amqp_url: str, rabbitmq_node: RabbitMQNode) -> Settings:
    return Settings(
        data=tmp_path / "data",
        http="127.0.0.1:0",
        mqtt_port=0,
        amqp_url=amqp_url,
        amqp_management_url=rabbitmq_node.management_url,
    )


@pytest.fixture
async def under_way(settings: Settings) -> AsyncIterator[Serving]:
    async with serving(settings) as running:
        yield running


async def admitted(api: httpx2.AsyncClient, *topics: str) -> dict[str, Any]:
    answer = await api.post("/event-consumers", json={"topics": topics or ["All"]})
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def added_vehicle(api: httpx2.AsyncClient, number: int) -> str:
    wanted = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{number:016X}", "vehicle_model": "Golf", "year": 2021}
    answer = await api.post("/vehicles", json=wanted)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def received(url: str, queue: str, count: int) -> list[dict[str, Any]]:
    """The next events of a queue, acknowledged."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    events: list[dict[str, Any]] = []
    try:
        for method, _, body in connection.channel().consume(queue, auto_ack=True, inactivity_timeout=WAIT_S):
            if method is None:
                break
            events.append(json.loads(body))
            if len(events) == count:
                break
    finally:
        connection.close()
    return events


async def gets_in(url: str) -> bool:
    def log_in() -> bool:
        try:
            pika.BlockingConnection(pika.URLParameters(url)).close()
        except (ProbableAuthenticationError, ProbableAccessDeniedError):
            return False
        return True

    return await asyncio.to_thread(log_in)


def reason(answer: httpx2.Response) -> tuple[int, str]:
    """Status and reason of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["reason"]


async def test_each_topic_has_a_queue_with_its_events(api: httpx2.AsyncClient) -> None:
    said = await admitted(api, "VehicleRemoved", "All")
    vehicle_id = await added_vehicle(api, 1)
    await api.post(f"/vehicles/{vehicle_id}/archive")
    queues = {queue["topic"]: queue["name"] for queue in said["queues"]}
    url = said["credentials"]["url"]
    everything = await asyncio.to_thread(received, url, queues["All"], 2)
    removed = await asyncio.to_thread(received, url, queues["VehicleRemoved"], 1)
    assert [event["metadata"]["type"] for event in everything] == ["VehicleCreated", "VehicleRemoved"]
    assert removed == everything[1:]


ATTEMPTS: dict[str, Call] = {
    "publish an event": lambda channel, _: channel.basic_publish("events", "default.VehicleCreated.AAAAA", b"{}"),
    "publish into its queue": lambda channel, own: channel.basic_publish("", own, b"{}"),
    "declare a queue": lambda channel, _: channel.queue_declare("mine"),
    "declare a queue without a name": lambda channel, _: channel.queue_declare(""),
    "declare an exchange": lambda channel, _: channel.exchange_declare("mine", "topic"),
    "bind its queue": lambda channel, own: channel.queue_bind(own, "events", "#"),
    "delete its queue": lambda channel, own: channel.queue_delete(own),
    "delete another's queue": lambda channel, _: channel.queue_delete(OTHERS_QUEUE),
    "purge another's queue": lambda channel, _: channel.queue_purge(OTHERS_QUEUE),
    "read another's queue": lambda channel, _: channel.basic_get(OTHERS_QUEUE),
    "consume another's queue": lambda channel, _: channel.basic_consume(OTHERS_QUEUE, lambda *_: None),
    "read the log": lambda channel, _: channel.basic_consume("events.log", lambda *_: None),
}


async def test_its_user_can_read_its_queues_and_do_nothing_else(
    api: httpx2.AsyncClient, under_way: Serving, rabbitmq_node: RabbitMQNode, amqp_url: str
) -> None:
    said = await admitted(api)
    vhost, own = said["credentials"]["virtual_host"], said["queues"][0]["name"]
    rabbitmq_node.management("PUT", f"/queues/{vhost}/{OTHERS_QUEUE}", {"durable": True})

    def answers() -> dict[str, int]:
        connection = pika.BlockingConnection(pika.URLParameters(said["credentials"]["url"]))
        codes = dict.fromkeys(ATTEMPTS, 0)
        for name, attempt in ATTEMPTS.items():
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                attempt(channel, own)
            except ChannelClosedByBroker as error:
                codes[name] = error.reply_code
        assert connection.channel().basic_get(own) == (None, None, None)
        connection.close()
        return codes

    assert await asyncio.to_thread(answers) == dict.fromkeys(ATTEMPTS, ACCESS_REFUSED)
    queues = {queue["name"] for queue in rabbitmq_node.management("GET", f"/queues/{vhost}")}
    assert queues == {own, OTHERS_QUEUE, "events.log"}


async def test_the_queues_are_as_promised(api: httpx2.AsyncClient, rabbitmq_node: RabbitMQNode) -> None:
    said = await admitted(api, "VehicleCreated")
    queue = rabbitmq_node.management("GET", f"/queues/{said['credentials']['virtual_host']}/{said['queues'][0]['name']}")
    assert said["queues"] == [{"topic": "VehicleCreated", "name": f"consumer.{said['id']}.VehicleCreated"}]
    assert queue["durable"] is True
    assert queue["arguments"] == {"x-queue-type": "quorum", "x-expires": 259_200_000, "x-message-ttl": 604_800_000}


async def test_a_fleet_has_at_most_five(api: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.post("/event-consumers", json={"topics": ["TripEnded"]}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 3
    assert {reason(answer) for answer in answers if answer.status_code == 409} == {(409, "too_many_event_consumers")}
    known = (await api.get("/event-consumers")).json()["items"]
    assert len(known) == 5
    assert (await api.delete(f"/event-consumers/{known[0]['id']}")).status_code == 204
    await admitted(api)


async def test_the_credentials_are_shown_once_and_kept_nowhere(api: httpx2.AsyncClient, settings: Settings) -> None:
    said = await admitted(api)
    password = said.pop("credentials")["password"]
    assert (await api.get(f"/event-consumers/{said['id']}")).json() == said
    assert (await api.get("/event-consumers")).json()["items"] == [said]
    files = [path for path in settings.data.rglob("*") if path.is_file()]
    assert any(said["id"].encode() in path.read_bytes() for path in files)
    assert not [path for path in files if password.encode() in path.read_bytes()]


async def test_another_fleets_consumer_is_not_there(api: httpx2.AsyncClient, under_way: Serving) -> None:
    gateway = under_way.gateway
    other, password = await gateway.consumers.add(await gateway.registry.fleets.ensure("other"), "theirs", ["All"])
    path = f"/event-consumers/{other.consumer_id}"
    for answer in (await api.get(path), await api.delete(path), await api.post(f"{path}/rotate")):
        assert reason(answer) == (404, "not_found")
    assert (await api.get("/event-consumers")).json()["items"] == []
    assert await gets_in(gateway.consumers.address.url(f"consumer-{other.consumer_id}", password))


async def test_a_fleets_consumer_hears_nothing_of_another_fleet(api: httpx2.AsyncClient, under_way: Serving) -> None:
    gateway = under_way.gateway
    other, password = await gateway.consumers.add(await gateway.registry.fleets.ensure("other"), "theirs", ["All"])
    said = await admitted(api)
    await added_vehicle(api, 1)
    assert len(await asyncio.to_thread(received, said["credentials"]["url"], said["queues"][0]["name"], 1)) == 1
    url = gateway.consumers.address.url(f"consumer-{other.consumer_id}", password)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    assert connection.channel().basic_get(f"consumer.{other.consumer_id}.All") == (None, None, None)
    connection.close()


async def test_new_credentials_end_the_older_and_lose_nothing(api: httpx2.AsyncClient) -> None:
    said = await admitted(api)
    older, queue = said["credentials"]["url"], said["queues"][0]["name"]
    connection = pika.BlockingConnection(pika.URLParameters(older))
    await added_vehicle(api, 1)
    answer = await api.post(f"/event-consumers/{said['id']}/rotate")
    assert answer.status_code == 200, answer.text
    await ends(connection)
    assert not await gets_in(older)
    assert len(await asyncio.to_thread(received, answer.json()["credentials"]["url"], queue, 1)) == 1


async def test_a_removed_consumer_leaves_nothing_behind(api: httpx2.AsyncClient, rabbitmq_node: RabbitMQNode) -> None:
    said = await admitted(api, "All", "VehicleCreated")
    connection = pika.BlockingConnection(pika.URLParameters(said["credentials"]["url"]))
    answer = await api.delete(f"/event-consumers/{said['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    await ends(connection)
    assert not await gets_in(said["credentials"]["url"])
    vhost = said["credentials"]["virtual_host"]
    assert {queue["name"] for queue in rabbitmq_node.management("GET", f"/queues/{vhost}")} == {"events.log"}
    assert reason(await api.delete(f"/event-consumers/{said['id']}")) == (404, "not_found")


async def ends(connection: pika.BlockingConnection) -> None:
    """RabbitMQ closes the connection."""

    with pytest.raises(ConnectionClosedByBroker):
        await asyncio.to_thread(connection.process_data_events, time_limit=WAIT_S)


async def test_what_rabbitmq_has_lost_is_made_anew(settings: Settings, rabbitmq_node: RabbitMQNode) -> None:
    async with serving(settings) as running, client_of(running) as api:
        said, untouched = await admitted(api), await admitted(api)
        await added_vehicle(api, 1)
    credentials, queue = said["credentials"], said["queues"][0]["name"]
    rabbitmq_node.management("DELETE", f"/users/{credentials['user_name']}")
    rabbitmq_node.management("DELETE", f"/queues/{credentials['virtual_host']}/{queue}")
    async with serving(settings) as running, client_of(running) as api:
        async with asyncio.timeout(WAIT_S):
            while not await gets_in(credentials["url"]):
                await asyncio.sleep(0.05)
        vehicle_id = await added_vehicle(api, 2)
        [event] = await asyncio.to_thread(received, credentials["url"], queue, 1)
        assert event["metadata"]["vehicle_id"] == vehicle_id
        kept = await asyncio.to_thread(received, untouched["credentials"]["url"], untouched["queues"][0]["name"], 2)
        assert len(kept) == 2


def client_of(running: Serving) -> httpx2.AsyncClient:
    token = running.gateway.settings.token_path.read_text().strip()
    return httpx2.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)


async def test_where_the_management_api_is_away_nothing_is_added(settings: Settings) -> None:
    away = settings.model_copy(update={"amqp_management_url": f"http://lab:lab@127.0.0.1:{free_port()}"})
    async with serving(away) as running, client_of(running) as api:
        answer = await api.post("/event-consumers", json={"topics": ["All"]})
        assert reason(answer) == (503, "event_consumers_unavailable")
        assert "management API" in answer.json()["detail"]
        assert "lab:lab" not in answer.text
        assert (await api.get("/event-consumers")).json()["items"] == []


async def test_without_rabbitmq_there_are_no_consumers(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"amqp_url": None})) as running, client_of(running) as api:
        answer = await api.post("/event-consumers", json={"topics": ["All"]})
        assert reason(answer) == (503, "event_consumers_unavailable")
        assert "TELELOOP_AMQP_URL" in answer.json()["detail"]
        assert (await api.get("/event-consumers")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("topics", [[], ["Everything"], ["default.#"], [7], "All"])
async def test_a_topic_is_an_event_type_or_all(api: httpx2.AsyncClient, topics: Any) -> None:
    assert reason(await api.post("/event-consumers", json={"topics": topics})) == (400, "validation")


@pytest.mark.parametrize(
    ("amqp_url", "expected"),
    [
        ("amqp://guest:guest@127.0.0.1:5672/", "http://guest:guest@127.0.0.1:15672"),
        ("amqp://u%40x:p%2F@rabbit/vhost", "http://u%40x:p%2F@rabbit:15672"),
        ("amqps://u:p@[::1]:5671/", "https://u:p@[::1]:15671"),
        ("amqp://rabbit", "http://rabbit:15672"),
    ],
)
def test_the_management_api_is_looked_for_beside_rabbitmq(amqp_url: str, expected: str) -> None:
    assert default_url(amqp_url) == expected
