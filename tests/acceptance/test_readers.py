"""Who reads events, as the contract tells it: event consumers with their own queues, Server-Sent Events, the local log."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pika
import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker

from lab.gateway import GatewayProcess, gateway
from lab.outsider import MODELS, Client, fresh_unit, problem
from lab.rabbitmq import RabbitMQNode

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def admitted(api: Client) -> Iterator[Callable[..., dict[str, Any]]]:
    """Adds event consumers; they are gone at the end."""
    ids: list[str] = []

    def add(*topics: str) -> dict[str, Any]:
        answer = api.call("POST", "/event-consumers", json={"topics": list(topics)})
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        ids.append(document["id"])
        return document

    yield add
    for consumer_id in ids:
        api.call("DELETE", f"/event-consumers/{consumer_id}")


@contextmanager
def connected(consumer: dict[str, Any]) -> Iterator[Any]:
    """A channel of the event consumer's own user."""
    connection = pika.BlockingConnection(pika.URLParameters(consumer["credentials"]["url"]))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


class TestEventConsumers:
    def test_each_topic_has_a_queue_that_its_user_may_only_read(self, api: Client, admitted: Callable[..., dict[str, Any]]):
        consumer, other = admitted("VehicleCreated", "All"), admitted("All")
        names = {queue["topic"]: queue["name"] for queue in consumer["queues"]}
        assert names == {topic: f"consumer.{consumer['id']}.{topic}" for topic in ("VehicleCreated", "All")}
        added = api.add()
        with connected(consumer) as channel:
            for name in names.values():
                method, properties, body = next(channel.consume(name, inactivity_timeout=15))
                assert json.loads(body)["metadata"]["vehicle_id"] == added["id"]
                assert properties.headers["Message-Type"] == "VehicleCreated"
                channel.basic_ack(method.delivery_tag)
                channel.cancel()
        queue = f"consumer.{other['id']}.All"
        for forbidden in (
            lambda channel: channel.basic_get(queue),
            lambda channel: channel.queue_purge(queue),
            lambda channel: channel.queue_declare("mine"),
            lambda channel: channel.queue_delete(names["All"]),
        ):
            with connected(consumer) as channel, pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
                forbidden(channel)
        with connected(consumer) as channel:
            channel.confirm_delivery()
            with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
                channel.basic_publish("events", "a.b.c", b"{}")

    def test_the_queues_are_as_the_contract_says(
        self, admitted: Callable[..., dict[str, Any]], rabbitmq_node: RabbitMQNode, amqp_here: str
    ):
        name = f"consumer.{admitted('TripEnded')['id']}.TripEnded"
        queue = rabbitmq_node.management("GET", f"/queues/{amqp_here.rsplit('/', 1)[1]}/{name}")
        assert queue["durable"]
        assert queue["arguments"]["x-queue-type"] == "quorum"
        assert queue["arguments"]["x-expires"] == 3 * 86_400_000
        assert queue["arguments"]["x-message-ttl"] == 7 * 86_400_000

    def test_at_most_five_a_fleet_and_credentials_once(self, api: Client, admitted: Callable[..., dict[str, Any]]):
        consumers = [admitted("All") for _ in range(5)]
        problem(api.call("POST", "/event-consumers", json={"topics": ["All"]}), 409)
        listed = api.call("GET", "/event-consumers")
        assert {each["id"] for each in listed.json()["items"]} == {each["id"] for each in consumers}
        assert not any(each["credentials"]["password"] in listed.text for each in consumers)
        assert api.call("DELETE", f"/event-consumers/{consumers[0]['id']}").status_code == 204
        with pytest.raises(AMQPError), connected(consumers[0]):
            pass
        admitted("All")

    def test_nonsense_is_refused(self, api: Client):
        problem(api.call("POST", "/event-consumers", json={"topics": ["Nonsense"]}), 400)
        problem(api.call("POST", "/event-consumers", json={}), 400)
        problem(api.call("DELETE", "/event-consumers/nobody"), 404)


def streamed(url: str, listening: threading.Event, seen: list[dict[str, str]], count: int, **request: Any) -> None:
    """Take that many events of `GET /events`: their fields."""
    fields: dict[str, str] = {}
    with httpx2.stream("GET", f"{url}/events", timeout=30, **request) as stream:
        for line in stream.iter_lines():
            listening.set()
            name, colon, value = line.partition(": ")
            if colon and name:
                fields[name] = value
            elif not line and "data" in fields:
                seen.append(fields)
                fields = {}
                if len(seen) == count:
                    return


@contextmanager
def listener(url: str, count: int, **request: Any) -> Iterator[list[dict[str, str]]]:
    """Events that are told while the block runs, and `count` of them at the end."""
    listening, seen = threading.Event(), []
    thread = threading.Thread(target=streamed, args=(url, listening, seen, count), kwargs=request, daemon=True)
    thread.start()
    assert listening.wait(15)
    yield seen
    thread.join(20)
    assert len(seen) == count


class TestServerSentEvents:
    def test_a_ticket_lets_a_browser_listen_once(self, api: Client, nobody: Client):
        ticket = api.call("POST", "/events/tickets").json()["ticket"]
        with listener(api.url, 1, params={"ticket": ticket}) as seen:
            added = api.add()
        document = json.loads(seen[0]["data"])
        assert document["metadata"]["vehicle_id"] == added["id"]
        assert (seen[0]["id"], seen[0]["event"]) == (document["metadata"]["id"], "VehicleCreated")
        problem(nobody.call("GET", "/events", params={"ticket": ticket}), 401)
        problem(nobody.call("GET", "/events"), 401)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with its local event log, whose broker is not trusted."""
    with gateway(tmp_path_factory.mktemp("alone") / "gateway") as running:
        yield running


class TestWithoutRabbitMQ:
    def test_last_event_id_resumes_over_a_kill(self, alone: GatewayProcess):
        api = Client(alone.url, alone.token)
        headers = {"Authorization": f"Bearer {alone.token}"}
        with listener(api.url, 1, headers=headers) as first:
            api.add()
        missed = [api.add()["id"] for _ in range(3)]
        alone.kill()
        alone.start()
        api = Client(alone.url, alone.token)
        with listener(api.url, 4, headers=headers | {"Last-Event-ID": first[0]["id"]}) as rest:
            last = api.add()["id"]
        assert [json.loads(event["data"])["metadata"]["vehicle_id"] for event in rest] == [*missed, last]

    def test_event_consumers_are_503(self, alone: GatewayProcess):
        problem(Client(alone.url, alone.token).call("POST", "/event-consumers", json={"topics": ["All"]}), 503)

    @pytest.mark.parametrize("brand", ["TELTONIKA", "GBT32960", "MERCEDES_BENZ"])
    def test_a_brand_without_a_seal_needs_a_trusted_broker(self, alone: GatewayProcess, brand: str):
        body = {
            "telematics_brand": brand,
            "telematics_unit_id": fresh_unit(brand),
            "vehicle_model_id": MODELS.available(brand)[0].id,
        }
        problem(Client(alone.url, alone.token).call("POST", "/vehicles", json=body), 422)
