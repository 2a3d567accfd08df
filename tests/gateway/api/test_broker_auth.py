"""What brokers are told when they ask: in a form's word or in JSON, behind a secret of their own."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.brokers import BrokerFailed
from gateway.brokers.http import AskedOverHttp, EmqxSessions, RabbitMQSessions, sessions_of
from gateway.server import Serving, serving
from gateway.settings import Settings
from lab.process import free_port
from protocols.codec import UnitId

UNIT, OTHER = UnitId("CLOUDBOXX", "0" * 16), UnitId("CLOUDBOXX", "F" * 16)
OWN_LOGIN = {"username": "gateway", "password": "its own"}
QUESTIONS = ("user", "vhost", "resource", "topic")


@pytest.fixture
async def under_way(tmp_path: Path) -> AsyncIterator[Serving]:
    """A gateway behind a broker that is not there: what it is asked needs none."""
    url = f"mqtt://gateway:its%20own@127.0.0.1:{free_port()}"
    async with serving(Settings(data=tmp_path / "data", http="127.0.0.1:0", broker="http", mqtt_url=url)) as running:
        yield running


@pytest.fixture
async def password(api: httpx2.AsyncClient) -> str:
    """The unit's, now that it is attached."""
    wanted = {"telematics_brand": UNIT.brand, "telematics_unit_id": UNIT.telematics_unit_id}
    answer = await api.post("/vehicles", json={**wanted, "vehicle_model": "Golf", "year": 2021})
    return str(answer.json()["credentials"]["password"])


@pytest.fixture
async def broker(under_way: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    secret = under_way.gateway.settings.broker_auth_secret_path.read_text().strip()
    async with httpx2.AsyncClient(base_url=f"{under_way.url}/broker/auth", params={"secret": secret}) as client:
        yield client


async def said(broker: httpx2.AsyncClient, question: str, **words: str) -> str:
    """The word that RabbitMQ reads."""
    answer = await broker.post(f"/{question}", data=words)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


async def told(broker: httpx2.AsyncClient, question: str, **words: Any) -> dict[str, Any]:
    """The document that EMQX reads."""
    answer = await broker.post(f"/{question}", json=words)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_whoever_lacks_the_brokers_secret_learns_nothing(under_way: Serving, password: str) -> None:
    secret = under_way.gateway.settings.broker_auth_secret_path.read_text().strip()
    token = under_way.gateway.settings.token_path.read_text().strip()
    basic = base64.b64encode(f"anybody:{secret}".encode()).decode()
    words = {"username": str(UNIT), "password": password, "client_id": str(UNIT)}
    wrong = [{}, {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {secret}x"}, {"Authorization": "Basic Og=="}]
    async with httpx2.AsyncClient(base_url=f"{under_way.url}/broker/auth") as client:
        for question in QUESTIONS:
            for headers in wrong:
                answer = await client.post(f"/{question}", data=words, headers=headers)
                assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")
            assert (await client.post(f"/{question}?secret=x", data=words)).status_code == 401
        for headers in ({"Authorization": f"Bearer {secret}"}, {"Authorization": f"Basic {basic}"}):
            assert (await client.post("/user", data=words, headers=headers)).text == "allow"
    assert under_way.gateway.settings.broker_auth_secret_path.stat().st_mode & 0o777 == 0o600


async def test_rabbitmq_is_told_a_word(broker: httpx2.AsyncClient, password: str) -> None:
    login = {"username": str(UNIT), "password": password, "client_id": str(UNIT), "vhost": "/"}
    assert await said(broker, "user", **login) == "allow"
    assert await said(broker, "user", **login | {"password": password[:-1]}) == "deny"
    assert await said(broker, "user", **login | {"client_id": str(OTHER)}) == "deny"
    del login["client_id"]
    assert await said(broker, "user", **login) == "deny"
    assert await said(broker, "vhost", username=str(UNIT), vhost="/") == "allow"
    assert await said(broker, "vhost", username=str(OTHER), vhost="/") == "deny"


@pytest.mark.parametrize(
    ("resource", "name", "expected"),
    [
        ("exchange", "amq.topic", "allow"),
        ("exchange", "events", "deny"),
        ("exchange", "amq.default", "deny"),
        ("queue", f"mqtt-subscription-{UNIT}qos1", "allow"),
        ("queue", f"mqtt-subscription-{OTHER}qos1", "deny"),
        ("queue", "events.log", "deny"),
        ("queue", "amq.topic", "deny"),
    ],
)
async def test_a_unit_uses_what_is_behind_its_own_session(
    broker: httpx2.AsyncClient, password: str, resource: str, name: str, expected: str
) -> None:
    for permission in ("configure", "write", "read"):
        question = {"username": str(UNIT), "vhost": "/", "resource": resource, "name": name, "permission": permission}
        assert await said(broker, "resource", **question) == expected


TOPICS = [
    (UNIT, "publish", f"v1/{UNIT}/up", True),
    (UNIT, "publish", f"v1/{UNIT}/presence", True),
    (UNIT, "subscribe", f"v1/{UNIT}/down", True),
    (UNIT, "publish", f"v1/{UNIT}/down", False),
    (UNIT, "subscribe", f"v1/{UNIT}/up", False),
    (UNIT, "publish", f"v1/{OTHER}/up", False),
    (UNIT, "subscribe", f"v1/{OTHER}/down", False),
    (UNIT, "subscribe", "v1/+/+/down", False),
    (UNIT, "subscribe", "#", False),
    (UNIT, "publish", f"v2/{UNIT}/up", False),
    (UNIT, "publish", f"v1/{UNIT}/up/more", False),
    (OTHER, "publish", f"v1/{OTHER}/up", False),
    ("gateway", "subscribe", "v1/+/+/up", True),
    ("gateway", "subscribe", "v1/+/+/presence", True),
    ("gateway", "publish", f"v1/{UNIT}/down", True),
    ("gateway", "subscribe", "#", False),
    ("gateway", "publish", f"v1/{UNIT}/up", False),
]


@pytest.mark.parametrize(("user", "action", "topic", "allowed"), TOPICS)
async def test_both_kinds_of_broker_hear_the_same_of_a_topic(
    broker: httpx2.AsyncClient, password: str, user: UnitId | str, action: str, topic: str, allowed: bool
) -> None:
    verdict = "allow" if allowed else "deny"
    permission = {"publish": "write", "subscribe": "read"}[action]
    routing_key = topic.replace("/", ".").replace("+", "*")
    asked = {"username": str(user), "resource": "topic", "name": "amq.topic", "permission": permission}
    assert await said(broker, "topic", **asked, routing_key=routing_key) == verdict
    assert (await told(broker, "topic", username=str(user), topic=topic, action=action))["result"] == verdict


async def test_emqx_is_told_all_topics_with_the_login(broker: httpx2.AsyncClient, password: str) -> None:
    assert await told(broker, "user", username=str(UNIT), password=password, clientid=str(UNIT)) == {
        "result": "allow",
        "is_superuser": False,
        "acl": [
            {"permission": "allow", "action": "publish", "topic": f"v1/{UNIT}/presence"},
            {"permission": "allow", "action": "publish", "topic": f"v1/{UNIT}/up"},
            {"permission": "allow", "action": "subscribe", "topic": f"v1/{UNIT}/down"},
            {"permission": "deny", "action": "all", "topic": "#"},
        ],
    }
    assert await told(broker, "user", username=str(UNIT), password="x", clientid=str(UNIT)) == {"result": "deny"}
    assert await told(broker, "user", username=str(OTHER), password=password, clientid=str(OTHER)) == {"result": "deny"}


async def test_the_gateways_own_login_is_let_in(broker: httpx2.AsyncClient) -> None:
    answer = await told(broker, "user", **OWN_LOGIN, clientid="teleloop-gateway")
    assert (answer["result"], answer["acl"][-2]) == (
        "allow",
        {"permission": "allow", "action": "publish", "topic": "v1/+/+/down"},
    )
    assert await said(broker, "user", **OWN_LOGIN | {"password": "another"}) == "deny"
    assert await said(broker, "user", username="", password="") == "deny"


async def test_each_refusal_is_counted_by_its_reason(
    api: httpx2.AsyncClient, broker: httpx2.AsyncClient, password: str, under_way: Serving
) -> None:
    login = {"username": str(UNIT), "password": password, "client_id": str(UNIT)}
    await said(broker, "user", **login | {"password": "wrong"})
    await said(broker, "user", **login | {"username": str(OTHER)})
    await said(broker, "topic", username=str(UNIT), permission="write", routing_key="v1.X.Y.up")
    [vehicle] = (await api.get("/vehicles")).json()["items"]
    await api.post(f"/vehicles/{vehicle['id']}/archive")
    assert await said(broker, "user", **login) == "deny"
    counters = (await api.get("/metrics")).text
    for reason in ("bad_credentials", "unknown_unit", "forbidden_topic", "archived"):
        assert f'teleloop_refused_total{{reason="{reason}"}} 1.0' in counters


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b"{"), ("application/json", b"[]"), ("application/x-www-form-urlencoded", b"a=\xff&username=%ff")],
)
async def test_a_question_that_is_none_is_refused(broker: httpx2.AsyncClient, content_type: str, body: bytes) -> None:
    answer = await broker.post("/user", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["reason"]) == (400, "validation")


async def test_numbers_and_nulls_are_no_words(broker: httpx2.AsyncClient, password: str) -> None:
    assert (await told(broker, "user", username=str(UNIT), password=None, clientid=7))["result"] == "deny"


async def test_emqx_is_asked_to_end_the_session_of_a_revoked_unit() -> None:
    asked: list[tuple[str, str]] = []
    answers = [b"204 No Content", b"404 Not Found", b"500 Internal Server Error"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        login = next(line for line in head.splitlines() if line.lower().startswith("authorization: basic "))
        asked.append((head.splitlines()[0], base64.b64decode(login.split()[-1]).decode()))
        writer.write(b"HTTP/1.1 " + answers.pop(0) + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        logins = AskedOverHttp("mqtt://broker", sessions_of(f"http://key:secret@127.0.0.1:{port}/api/v5"))
        await logins.revoke(UNIT)
        await logins.revoke(UNIT)
        with pytest.raises(BrokerFailed, match="answered 500"):
            await logins.revoke(UNIT)
        await logins.stop()
    assert asked == [("DELETE /api/v5/clients/CLOUDBOXX%2F0000000000000000 HTTP/1.1", "key:secret")] * 3


async def test_a_broker_whose_management_is_away_is_a_failure() -> None:
    for path in ("", "/api/v5"):
        logins = AskedOverHttp("mqtt://broker", sessions_of(f"http://u:p@127.0.0.1:{free_port()}{path}"))
        with pytest.raises(BrokerFailed, match="cannot be reached"):
            await logins.revoke(UNIT)
        await logins.stop()


def test_the_address_tells_whose_management_it_is() -> None:
    assert isinstance(sessions_of("http://key:secret@emqx:18083/api/v5/"), EmqxSessions)
    assert isinstance(sessions_of("http://user:secret@rabbit:15672"), RabbitMQSessions)


def test_the_documented_configuration_of_emqx_asks_for_what_is_answered() -> None:
    document = (Path(__file__).parents[3] / "docs" / "broker-logins.md").read_text()
    for word in ("username", "password", "clientid", "topic", "action"):
        assert f'{word} = "${{{word}}}"' in document
