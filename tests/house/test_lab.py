"""The laboratory does what the tests rely on."""

import asyncio
from pathlib import Path

import aiomqtt
import pika
import pika.exceptions
import pytest

from lab.mosquitto import MosquittoBroker, mosquitto
from lab.process import listens
from lab.rabbitmq import RabbitMQNode


def declare_and_publish(url: str, queue: str, body: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def fetch(url: str, queue: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        _, _, body = connection.channel().basic_get(queue, auto_ack=True)
        return body


def test_two_virtual_hosts_do_not_see_each_other(rabbitmq_node: RabbitMQNode, amqp_url: str) -> None:
    declare_and_publish(amqp_url, "queue", b"mine")
    with rabbitmq_node.vhost() as other, pytest.raises(pika.exceptions.ChannelClosedByBroker):
        fetch(rabbitmq_node.url(other), "queue")
    assert fetch(amqp_url, "queue") == b"mine"


def test_a_killed_node_comes_back_with_what_was_confirmed(rabbitmq_node: RabbitMQNode, amqp_url: str) -> None:
    declare_and_publish(amqp_url, "queue", b"kept")
    rabbitmq_node.write_down()
    rabbitmq_node.kill()
    assert not listens(rabbitmq_node.port)
    rabbitmq_node.start()
    assert fetch(amqp_url, "queue") == b"kept"


def test_a_frozen_node_answers_after_the_thaw(rabbitmq_node: RabbitMQNode, amqp_url: str) -> None:
    rabbitmq_node.freeze()
    try:
        with pytest.raises(OSError, match="timed out"):
            rabbitmq_node.management("GET", "/overview", timeout_s=1.0)
    finally:
        rabbitmq_node.thaw()
    declare_and_publish(amqp_url, "queue", b"after")
    assert fetch(amqp_url, "queue") == b"after"


async def test_mosquitto_carries_a_message(mosquitto_broker: MosquittoBroker) -> None:
    async with aiomqtt.Client("127.0.0.1", mosquitto_broker.port) as client:
        await client.subscribe("lab/test", qos=1)
        await client.publish("lab/test", b"hello", qos=1)
        async with asyncio.timeout(5):
            assert (await anext(aiter(client.messages))).payload == b"hello"


def test_mosquitto_is_gone_afterwards(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        assert listens(broker.port)
    assert not listens(broker.port)
