"""One gateway with RabbitMQ, Mosquitto or nats as its embedded broker, and what its consumers see."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.consumer import Consumer
from lab.gateway import GatewayProcess, gateway

TWIN_BRAND = """kind = "AFTERMARKET"
like = "CLOUDBOXX"
"""


@pytest.fixture
def twin_brand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A second, minimal brand whose units speak as CloudBoxx units do."""
    brands = tmp_path / "more" / "brands"
    brands.mkdir(parents=True)
    (brands / "TWINBOXX.toml").write_text(TWIN_BRAND)
    monkeypatch.setenv("TELELOOP_MODELDB", str(brands.parent))
    return "TWINBOXX"


@pytest.fixture
def teleloop(tmp_path: Path, amqp_url: str) -> Iterator[GatewayProcess]:
    """A gateway that publishes to RabbitMQ."""
    with gateway(tmp_path / "gateway", {"TELELOOP_AMQP_URL": amqp_url}) as process:
        yield process


@pytest.fixture
def consumer(teleloop: GatewayProcess, amqp_url: str) -> Iterator[Consumer]:
    """A plain consumer with a queue of its own, bound to `events` with `#`."""
    with Consumer(amqp_url) as listening:
        yield listening


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with its local event log, for tests that only look at states."""
    with gateway(tmp_path_factory.mktemp("shared") / "gateway") as process:
        yield process
