"""Real servers, started when the first test asks for one; and whether Hypothesis looks where it has not looked before."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from lab.mosquitto import MosquittoBroker, mosquitto
from lab.postgresql import MIGRATED, PostgresqlServer, postgresql
from lab.rabbitmq import RabbitMQNode, rabbitmq

settings.register_profile("day", derandomize=True)
settings.register_profile("night", print_blob=True)
# By day the same examples each time: what fails was broken by a change. `make test-night` looks for new ones.
settings.load_profile("day")


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """One node for the whole run: it takes ten seconds to start. A test that kills or freezes it brings it back."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq") / "node") as node:
        yield node


@pytest.fixture
def amqp_url(rabbitmq_node: RabbitMQNode) -> Iterator[str]:
    """A virtual host for this test alone."""
    with rabbitmq_node.vhost() as vhost:
        yield rabbitmq_node.url(vhost)


@pytest.fixture(scope="session")
def mosquitto_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoBroker]:
    """An open Mosquitto for the whole run: everybody may do everything. Use client ids and topics of your own."""
    with mosquitto(tmp_path_factory.mktemp("mosquitto") / "broker") as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """One PostgreSQL for the whole run."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: PostgresqlServer) -> str:
    """A database with the newest schema; what is in it is of tests before."""
    return postgresql_server.url(postgresql_server.database(MIGRATED))
