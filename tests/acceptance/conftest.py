"""A gateway of its own process with RabbitMQ and its embedded broker, and who stands around it."""

import threading
from collections.abc import Iterator

import pytest

from lab.consumer import Consumer
from lab.gateway import GatewayProcess, gateway
from lab.outsider import Client, Road
from lab.rabbitmq import RabbitMQNode


@pytest.fixture(scope="module")
def amqp_here(rabbitmq_node: RabbitMQNode) -> Iterator[str]:
    """A virtual host for a whole module."""
    with rabbitmq_node.vhost() as vhost:
        yield rabbitmq_node.url(vhost)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, rabbitmq_node: RabbitMQNode, amqp_here: str) -> Iterator[GatewayProcess]:
    """One gateway for a whole module."""
    settings = {
        "TELELOOP_AMQP_URL": amqp_here,
        "TELELOOP_AMQP_MANAGEMENT_URL": rabbitmq_node.management_url,
        "TELELOOP_TRUST_BROKER": "true",
    }
    with gateway(tmp_path_factory.mktemp("acceptance") / "gateway", settings) as running:
        yield running


@pytest.fixture(scope="module")
def everything(process: GatewayProcess, amqp_here: str) -> Iterator[Consumer]:
    """A plain consumer of all events, from the beginning."""
    with Consumer(amqp_here) as listening:
        yield listening


@pytest.fixture
def api(process: GatewayProcess) -> Client:
    """A client that may do everything."""
    return Client(process.url, process.token)


@pytest.fixture
def nobody(process: GatewayProcess) -> Client:
    """A client without a token."""
    return Client(process.url, None)


@pytest.fixture
def road(process: GatewayProcess) -> Iterator[Road]:
    """Where this test's units are online."""
    there = Road(process.units_broker)
    running = threading.Thread(target=there.loop.run_forever, daemon=True)
    running.start()
    try:
        yield there
        there.clear()
    finally:
        there.loop.call_soon_threadsafe(there.loop.stop)
        running.join(10)
        there.loop.close()
