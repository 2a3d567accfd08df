"""The broker that the gateway brings along: its port, its life, and what it tells."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiomqtt
import pytest
from aiomqtt.exceptions import MqttConnectError

from gateway.brokers import BrokerFailed, EmbeddedBroker, Mosquitto, embedded_broker
from gateway.brokers.child import end_orphan
from gateway.brokers.probe import ACCEPTED, try_login
from lab.mosquitto import mosquitto
from lab.process import free_port, wait_until
from protocols.codec import Reason, UnitId

UNIT = UnitId("CLOUDBOXX", "00A1B2C3D4E5F607")
OTHER = UnitId("CLOUDBOXX", "00A1B2C3D4E5F608")
SECRET = "9pMZxE1m0Zt5y0H1sQ3cXo0kq0rj5n2v8a7Lw4dUe6g"

Start = Callable[..., Awaitable[EmbeddedBroker]]
Kind = Literal["mosquitto", "nats"]
both_kinds = pytest.mark.parametrize("kind", ["mosquitto", "nats"])


def port_of(broker: EmbeddedBroker) -> int:
    port = urlsplit(broker.unit_url).port
    assert port is not None
    return port


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Start]:
    """`await started(port=..., kind=...)`: a running broker, stopped at the end."""
    brokers: list[EmbeddedBroker] = []

    async def start(**settings: Any) -> EmbeddedBroker:
        brokers.append(embedded_broker(tmp_path, **settings))
        await brokers[-1].start()
        return brokers[-1]

    yield start
    for broker in brokers:
        await broker.stop()


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.05)


async def gets_in(broker: EmbeddedBroker, unit: UnitId, secret: str) -> bool:
    return await try_login("127.0.0.1", port_of(broker), str(unit), secret) == ACCEPTED


@both_kinds
async def test_the_wanted_port_is_used_when_it_is_free(kind: Kind, started: Start) -> None:
    wanted = free_port()
    broker = await started(port=wanted, kind=kind)
    assert port_of(broker) == wanted


@both_kinds
async def test_a_taken_port_makes_way_for_a_free_one(kind: Kind, started: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = await started(port=taken.getsockname()[1], kind=kind)
        assert port_of(broker) != taken.getsockname()[1]
        await broker.put({UNIT: SECRET})
        assert await gets_in(broker, UNIT, SECRET)


@both_kinds
async def test_a_killed_broker_comes_back_with_its_logins(kind: Kind, started: Start) -> None:
    broker = await started(port=0, kind=kind)
    await broker.put({UNIT: SECRET})
    first = broker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    async def is_back() -> bool:
        return broker.pid not in (None, first) and await gets_in(broker, UNIT, SECRET)

    await until(is_back)
    await broker.put({OTHER: SECRET})
    assert await gets_in(broker, OTHER, SECRET)


@both_kinds
async def test_logins_put_while_the_broker_is_down_are_there_when_it_is_back(kind: Kind, started: Start) -> None:
    broker = await started(port=0, kind=kind)
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    await broker.put({UNIT: SECRET})
    assert await gets_in(broker, UNIT, SECRET)


GATEWAY_THAT_IS_KILLED = """
import asyncio, os, pathlib, signal, sys
from gateway.brokers import embedded_broker

async def main():
    await embedded_broker(pathlib.Path(sys.argv[1]), port=int(sys.argv[2]), kind=sys.argv[3]).start()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@both_kinds
async def test_the_broker_of_a_killed_gateway_makes_way_for_the_next(kind: Kind, started: Start, tmp_path: Path) -> None:
    port = free_port()
    killed = subprocess.run([sys.executable, "-c", GATEWAY_THAT_IS_KILLED, str(tmp_path), str(port), kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    orphan = int((tmp_path / "broker.pid").read_text())
    os.kill(orphan, 0)
    broker = await started(port=port, kind=kind)
    assert port_of(broker) == port
    assert broker.pid != orphan


def test_a_stranger_with_the_orphans_process_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "broker.pid").write_text(str(stranger.pid))
        end_orphan(tmp_path / "broker.pid", tmp_path / "mosquitto.conf")
        assert stranger.poll() is None
        stranger.kill()


@both_kinds
async def test_no_process_is_left_after_stop(kind: Kind, tmp_path: Path) -> None:
    broker = embedded_broker(tmp_path, port=0, kind=kind)
    await broker.start()
    pid = broker.pid
    assert pid is not None
    await broker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@both_kinds
async def test_a_refused_login_is_told_and_our_own_questions_are_not(kind: Kind, started: Start) -> None:
    told: list[Reason] = []
    broker = await started(port=0, kind=kind, on_refused=told.append)
    for number in range(5):
        await broker.put({UnitId("CLOUDBOXX", f"{number:016X}"): SECRET})
    assert not await gets_in(broker, UNIT, SECRET)

    async def heard() -> list[Reason]:
        return told

    await until(heard)
    assert told == ["bad_credentials"]


async def test_a_unit_cannot_take_over_the_session_of_another(started: Start) -> None:
    broker = await started(port=0, kind="mosquitto")
    await broker.put({UNIT: SECRET, OTHER: SECRET})
    topic = f"v1/{UNIT}/down"
    gateway = urlsplit(broker.url)
    async with aiomqtt.Client(
        "127.0.0.1", port_of(broker), identifier=str(UNIT), username=str(UNIT), password=SECRET, clean_session=False
    ) as unit:
        await unit.subscribe(topic, qos=1)
        async with (
            aiomqtt.Client("127.0.0.1", port_of(broker), identifier=str(UNIT), username=str(OTHER), password=SECRET),
            aiomqtt.Client(
                "127.0.0.1", gateway.port or 0, identifier="sender", username=gateway.username, password=gateway.password
            ) as sender,
        ):
            await sender.publish(topic, b"still mine", qos=1)
            async with asyncio.timeout(10):
                assert (await anext(aiter(unit.messages))).payload == b"still mine"


async def test_the_gateways_login_of_an_earlier_start_is_worth_nothing(started: Start) -> None:
    broker = await started(port=0, kind="mosquitto")
    earlier = urlsplit(broker.url)
    await broker.stop()
    await broker.start()
    now = urlsplit(broker.url)
    with pytest.raises(MqttConnectError):
        async with aiomqtt.Client(
            "127.0.0.1", now.port or 0, identifier="gw", username=earlier.username, password=earlier.password
        ):
            pass


async def test_a_broker_that_does_not_take_the_logins_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.brokers.login_file.RELOAD_TIMEOUT_S", 0.5)
    (tmp_path / "of-the-broker").touch()
    with mosquitto(tmp_path / "broker", password_file=tmp_path / "of-the-broker") as server:
        logins = Mosquitto(
            f"mqtt://gateway:secret@127.0.0.1:{server.port}", tmp_path / "another", tmp_path / "rules", pid=server.pid
        )
        with pytest.raises(BrokerFailed, match="did not take the logins"):
            await logins.start()


async def test_a_pid_file_names_the_broker(tmp_path: Path) -> None:
    for name in ("passwords", "rules"):
        (tmp_path / name).touch()
    with mosquitto(
        tmp_path / "broker",
        password_file=tmp_path / "passwords",
        acl_file=tmp_path / "rules",
        lines=[f"pid_file {tmp_path / 'mosquitto.pid'}"],
    ) as server:
        wait_until((tmp_path / "mosquitto.pid").exists, 5, "the pid file")
        url = f"mqtt://gateway:secret@127.0.0.1:{server.port}"
        logins = Mosquitto(url, tmp_path / "passwords", tmp_path / "rules", pid=tmp_path / "mosquitto.pid")
        await logins.start()
        await logins.put({UNIT: SECRET})
        assert await try_login("127.0.0.1", server.port, str(UNIT), SECRET) == ACCEPTED


def test_without_any_broker_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.brokers.embedded.find_mosquitto", lambda: None)
    monkeypatch.setattr("gateway.brokers.embedded.find_nats_server", lambda: None)
    with pytest.raises(BrokerFailed, match="please install mosquitto"):
        embedded_broker(tmp_path)
