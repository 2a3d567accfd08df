"""A RabbitMQ that asks the gateway: units log in over MQTT, keep to their topics, and leave when they are archived."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import httpx2
import pika
import pytest
from aiomqtt.exceptions import MqttConnectError
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError

from gateway.server import Serving, serving
from gateway.settings import Settings
from lab.process import free_port
from lab.rabbitmq import SECRET, USER, RabbitMQNode, rabbitmq

DOCUMENT = Path(__file__).parents[3] / "docs" / "broker-logins.md"
BROKER_SECRET = "the-brokers-own-secret"
WAIT_S = 10.0


@dataclass(frozen=True)
class Site:
    """A RabbitMQ as docs/broker-logins.md sets it up, and where the gateway that it asks must serve."""

    node: RabbitMQNode
    mqtt_port: int
    http: str

    def settings(self, folder: Path) -> Settings:
        return Settings(
            data=folder,
            http=self.http,
            broker="http",
            mqtt_url=f"mqtt://{USER}:{SECRET}@127.0.0.1:{self.mqtt_port}",
            broker_auth_secret=BROKER_SECRET,
            broker_management_url=self.node.management_url,
        )


def documented_lines() -> list[str]:
    found = re.search(r"<!-- rabbitmq -->\n```ini\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    return found[1].splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    http, mqtt_port = f"127.0.0.1:{free_port()}", free_port()
    lines = [line.replace("127.0.0.1:8080", http).replace("SECRET", BROKER_SECRET) for line in documented_lines()]
    lines.append(f"mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt_port}")
    plugins = ("rabbitmq_management", "rabbitmq_mqtt", "rabbitmq_auth_backend_http")
    with rabbitmq(tmp_path_factory.mktemp("asking") / "node", plugins, lines) as node:
        yield Site(node, mqtt_port, http)


@pytest.fixture
async def under_way(site: Site, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(site.settings(tmp_path / "data")) as running:
        async with asyncio.timeout(WAIT_S):
            while not running.gateway.line.connected:
                await asyncio.sleep(0.02)
        yield running


@pytest.fixture
async def api(under_way: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    token = under_way.gateway.settings.token_path.read_text().strip()
    async with httpx2.AsyncClient(base_url=under_way.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        yield client


@dataclass(frozen=True)
class Unit:
    vehicle_id: str
    user: str
    password: str
    port: int

    def connect(self, **different: Any) -> aiomqtt.Client:
        login = {"identifier": self.user, "username": self.user, "password": self.password, "clean_session": False}
        return aiomqtt.Client("127.0.0.1", self.port, **(login | different))

    async def gets_in(self, **different: Any) -> bool:
        try:
            async with self.connect(**different):
                return True
        except MqttConnectError:
            return False


async def added(api: httpx2.AsyncClient, site: Site, number: int) -> Unit:
    wanted = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{number:016X}", "vehicle_model": "Golf", "year": 2021}
    answer = await api.post("/vehicles", json=wanted)
    assert answer.status_code == 201, answer.text
    said = answer.json()
    return Unit(said["id"], said["credentials"]["user_name"], said["credentials"]["password"], site.mqtt_port)


async def counted(api: httpx2.AsyncClient, reason: str) -> float:
    found = re.search(rf'^teleloop_refused_total{{reason="{reason}"}} (.*)$', (await api.get("/metrics")).text, re.MULTILINE)
    assert found
    return float(found[1])


async def heard(api: httpx2.AsyncClient, count: int) -> list[dict[str, Any]]:
    """The frames that the gateway refused, newest first, once there are `count`: that is how far they came."""
    async with asyncio.timeout(WAIT_S):
        while len(items := (await api.get("/quarantine")).json()["items"]) < count:
            await asyncio.sleep(0.05)
    return list(items)


async def test_a_unit_logs_in_and_its_payload_arrives(api: httpx2.AsyncClient, site: Site) -> None:
    unit = await added(api, site, 1)
    async with unit.connect() as client:
        await client.subscribe(f"v1/{unit.user}/down", qos=1)
        await client.publish(f"v1/{unit.user}/up", b"no frame", qos=1)
        [frame] = await heard(api, 1)
    assert (frame["telematics_unit"]["id"], frame["data"]) == ("0000000000000001", b"no frame".hex())


async def test_a_unit_hears_what_is_meant_for_it(api: httpx2.AsyncClient, site: Site, under_way: Serving) -> None:
    unit = await added(api, site, 1)
    vehicle = (await under_way.gateway.registry.vehicles.get("default", unit.vehicle_id)).unit
    async with unit.connect() as client:
        await client.subscribe(f"v1/{unit.user}/down", qos=1)
        assert under_way.gateway.line.send(vehicle, b"hello")
        async with asyncio.timeout(WAIT_S):
            message = await anext(aiter(client.messages))
    assert message.payload == b"hello"


async def is_cut_off(client: aiomqtt.Client, attempt: Coroutine[Any, Any, Any]) -> bool:
    """Whether the broker ends the connection over what is attempted, before any message comes."""
    trying = asyncio.create_task(attempt)
    try:
        async with asyncio.timeout(WAIT_S):
            await anext(aiter(client.messages))
    except (aiomqtt.MqttError, TimeoutError) as error:
        return isinstance(error, aiomqtt.MqttError)
    finally:
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
    return False


async def test_another_units_topics_are_refused(api: httpx2.AsyncClient, site: Site) -> None:
    unit, other = await added(api, site, 1), await added(api, site, 2)
    forbidden = [f"v1/{other.user}/up", f"v1/{other.user}/presence", f"v1/{unit.user}/down", f"v1/{unit.user}/up/more", "up"]
    for number, topic in enumerate(forbidden, 1):
        async with unit.connect() as client:
            assert await is_cut_off(client, client.publish(topic, b"forged", qos=1)), topic
        assert await counted(api, "forbidden_topic") >= number
    async with unit.connect() as client:
        await client.publish(f"v1/{unit.user}/up", b"own", qos=1)
        assert [frame["data"] for frame in await heard(api, 1)] == [b"own".hex()]


async def test_what_others_are_told_cannot_be_heard(api: httpx2.AsyncClient, site: Site, under_way: Serving) -> None:
    unit, other = await added(api, site, 1), await added(api, site, 2)
    for number, pattern in enumerate([f"v1/{other.user}/down", "v1/+/+/down", "v1/#", "#", f"v1/{unit.user}/up"], 1):
        async with unit.connect(clean_session=True) as client:
            assert await is_cut_off(client, client.subscribe(pattern, qos=1)), pattern
        assert await counted(api, "forbidden_topic") >= number


async def test_whoever_is_not_the_unit_stays_out_and_is_counted(api: httpx2.AsyncClient, site: Site) -> None:
    unit, other = await added(api, site, 1), await added(api, site, 2)
    assert await unit.gets_in()
    for reason, different in [
        ("bad_credentials", {"password": other.password}),
        ("bad_credentials", {"password": ""}),
        ("bad_credentials", {"identifier": other.user}),
        ("unknown_unit", {"username": unit.user.replace("CLOUDBOXX", "TELTONIKA")}),
        ("unknown_unit", {"username": "CLOUDBOXX/00000000000000FF"}),
        ("unknown_unit", {"username": "somebody"}),
    ]:
        before = await counted(api, reason)
        assert not await unit.gets_in(**different), different
        assert await counted(api, reason) > before, different


async def test_an_archived_units_session_ends_and_it_stays_out(api: httpx2.AsyncClient, site: Site) -> None:
    unit, other = await added(api, site, 1), await added(api, site, 2)
    async with other.connect() as untouched:
        async with unit.connect() as client:
            assert await is_cut_off(client, api.post(f"/vehicles/{unit.vehicle_id}/archive"))
        assert not await unit.gets_in()
        assert await counted(api, "archived") >= 1
        await untouched.publish(f"v1/{other.user}/up", b"still here", qos=1)
        await heard(api, 1)
        assert (await api.post(f"/vehicles/{unit.vehicle_id}/restore")).status_code == 200
        assert await unit.gets_in()


async def test_both_key_generations_get_in_while_a_unit_moves(api: httpx2.AsyncClient, site: Site) -> None:
    unit = await added(api, site, 1)
    newer = (await api.post(f"/vehicles/{unit.vehicle_id}/telematics-unit/credentials")).json()["password"]
    assert newer != unit.password
    assert await unit.gets_in(password=newer)
    assert await unit.gets_in()


async def test_a_units_login_is_good_for_mqtt_alone(api: httpx2.AsyncClient, site: Site) -> None:
    unit = await added(api, site, 1)

    def log_in() -> None:
        login = pika.PlainCredentials(unit.user, unit.password)
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", site.node.port, credentials=login)).close()

    with pytest.raises((ProbableAuthenticationError, ProbableAccessDeniedError)):
        await asyncio.to_thread(log_in)
