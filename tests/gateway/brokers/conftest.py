"""Each kind of broker whose logins are ours, and units and a gateway that connect to it with another client's code."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

import aiomqtt
import pytest

from gateway.brokers import BrokerLogins, EmbeddedBroker, Mosquitto, embedded_broker
from lab.mosquitto import MosquittoBroker
from lab.process import free_port
from protocols.codec import PAYLOAD_LIMIT_BYTES, UnitId

Connection = AbstractAsyncContextManager[aiomqtt.Client]


class Site(Protocol):
    """A broker with its logins; `restart` ends the broker in order and starts it again with the same files."""

    @property
    def logins(self) -> BrokerLogins: ...

    async def restart(self) -> None: ...


class EmbeddedSite:
    def __init__(self, folder: Path, kind: Literal["mosquitto", "nats"]) -> None:
        self.port = free_port()
        self._make: Callable[[], EmbeddedBroker] = lambda: embedded_broker(folder, port=self.port, kind=kind)
        self.logins = self._make()

    async def restart(self) -> None:
        await self.logins.stop()
        self.logins = self._make()
        await self.logins.start()


class ManagedSite:
    """A Mosquitto that somebody else started, with the settings that gateway.brokers.mosquitto asks for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        passwords, rules = folder / "passwords", folder / "rules"
        passwords.touch()
        rules.touch()
        lines = ["use_username_as_clientid true", f"message_size_limit {PAYLOAD_LIMIT_BYTES}"]
        self.server = MosquittoBroker(folder / "broker", password_file=passwords, acl_file=rules, lines=lines)
        self._files = passwords, rules

    async def start(self) -> None:
        self.server.start()
        url = f"mqtt://gateway:the-gateways-own@127.0.0.1:{self.server.port}"
        self.logins = Mosquitto(url, *self._files, pid=self.server.pid)
        await self.logins.start()

    async def restart(self) -> None:
        self.server.stop()
        await self.start()


@pytest.fixture(params=["mosquitto", "nats", "managed"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    if request.param == "managed":
        managed = ManagedSite(tmp_path / "site")
        await managed.start()
        yield managed
        managed.server.stop()
        return
    embedded = EmbeddedSite(tmp_path / "site", request.param)
    await embedded.logins.start()
    yield embedded
    await embedded.logins.stop()


@pytest.fixture
def as_unit(site: Site) -> Callable[..., Connection]:
    """`as_unit(unit, secret)`: a connection with the unit's persistent session."""

    def connect(
        unit: UnitId, secret: str | None, *, client_id: str | None = None, will: aiomqtt.Will | None = None
    ) -> Connection:
        broker = urlsplit(site.logins.unit_url)
        return aiomqtt.Client(
            str(broker.hostname),
            broker.port or 0,
            identifier=str(unit),
            username=str(unit),
            password=secret,
            clean_session=False,
            will=will,
        )

    return connect


@pytest.fixture
def as_gateway(site: Site) -> Callable[[], Connection]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[aiomqtt.Client]:
        broker = urlsplit(site.logins.url)
        async with aiomqtt.Client(
            str(broker.hostname), broker.port or 0, identifier="observer", username=broker.username, password=broker.password
        ) as client:
            await client.subscribe("v1/+/+/up", qos=1)
            await client.subscribe("v1/+/+/presence", qos=1)
            yield client

    return connect
