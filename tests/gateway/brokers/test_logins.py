"""What each broker promises about logins, asked by a client that is not ours."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from protocols.codec import PAYLOAD_LIMIT_BYTES, UnitId

ONE = UnitId("CLOUDBOXX", "00A1B2C3D4E5F607")
OTHER = UnitId("CLOUDBOXX", "00A1B2C3D4E5F608")
SECRET = "9pMZxE1m0Zt5y0H1sQ3cXo0kq0rj5n2v8a7Lw4dUe6g"
ANOTHER_SECRET = "Qm7cJr2Yx5Hf8Ls0Dv3Nb6Tk9Wp1Za4Eg7Ui0Oq3Rt6"

BAD_CREDENTIALS = ReasonCode(PacketTypes.CONNACK, identifier=134)
NOT_AUTHORISED = ReasonCode(PacketTypes.CONNACK, identifier=135)

Site = Any
Connect = Callable[..., Any]


async def receive(client: aiomqtt.Client) -> tuple[str, bytes]:
    """The next message, as (topic, payload). What NATS sent too early for a reader comes again after its `ack_wait`, of 5 s."""
    async with asyncio.timeout(40):
        message = await anext(aiter(client.messages))
    assert isinstance(message.payload, bytes)
    return message.topic.value, message.payload


async def is_refused(connection: Any) -> bool:
    """Whether the broker answers CONNECT with bad credentials or no authorisation."""
    try:
        async with connection:
            return False
    except MqttConnectError as error:
        return error.rc in (BAD_CREDENTIALS, NOT_AUTHORISED)


async def test_the_right_secret_gets_in(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    async with as_gateway() as gateway, as_unit(ONE, SECRET) as unit:
        await unit.publish(f"v1/{ONE}/up", b"frame", qos=1)
        assert await receive(gateway) == (f"v1/{ONE}/up", b"frame")


@pytest.mark.parametrize(
    ("unit", "secret"),
    [
        pytest.param(ONE, ANOTHER_SECRET, id="wrong secret"),
        pytest.param(ONE, None, id="no secret"),
        pytest.param(UnitId("TELTONIKA", ONE.telematics_unit_id), SECRET, id="right id, wrong brand"),
        pytest.param(OTHER, SECRET, id="unknown unit"),
    ],
)
async def test_whoever_is_not_the_unit_stays_out(site: Site, as_unit: Connect, unit: UnitId, secret: str | None) -> None:
    await site.logins.put({ONE: SECRET})
    assert await is_refused(as_unit(unit, secret))


async def test_a_publish_in_another_units_name_does_not_arrive(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET, OTHER: ANOTHER_SECRET})
    async with as_gateway() as gateway:
        for topic in (f"v1/{OTHER}/up", f"v1/{OTHER}/presence", f"v1/{ONE}/down", f"v1/{ONE}/up/more"):
            with contextlib.suppress(aiomqtt.MqttError):
                async with as_unit(ONE, SECRET) as unit:
                    await unit.publish(topic, b"forged", qos=1, timeout=2)
        async with as_unit(ONE, SECRET) as unit:
            await unit.publish(f"v1/{ONE}/up", b"own", qos=1)
            assert await receive(gateway) == (f"v1/{ONE}/up", b"own")


async def test_another_units_downlink_cannot_be_heard(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET, OTHER: ANOTHER_SECRET})
    async with as_gateway() as gateway, as_unit(ONE, SECRET) as unit:
        for pattern in (f"v1/{OTHER}/down", "v1/+/+/down", "v1/#", "#", f"v1/{ONE}/down"):
            with contextlib.suppress(aiomqtt.MqttError):
                await unit.subscribe(pattern, qos=1)
        await gateway.publish(f"v1/{OTHER}/down", b"not for you", qos=1)
        await gateway.publish(f"v1/{ONE}/down", b"for you", qos=1)
        assert await receive(unit) == (f"v1/{ONE}/down", b"for you")


async def test_a_login_put_again_has_the_new_secret_only(site: Site, as_unit: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    await site.logins.put({ONE: ANOTHER_SECRET})
    assert await is_refused(as_unit(ONE, SECRET))
    assert not await is_refused(as_unit(ONE, ANOTHER_SECRET))


async def test_a_revoked_units_live_session_ends_and_no_other(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET, OTHER: ANOTHER_SECRET})
    async with as_gateway() as gateway, as_unit(OTHER, ANOTHER_SECRET) as other:
        with contextlib.suppress(aiomqtt.MqttError):
            async with as_unit(ONE, SECRET) as unit:
                await site.logins.revoke(ONE)
                with pytest.raises(aiomqtt.MqttError):
                    await receive(unit)
        assert await is_refused(as_unit(ONE, SECRET))
        await other.publish(f"v1/{OTHER}/up", b"still here", qos=1)
        assert await receive(gateway) == (f"v1/{OTHER}/up", b"still here")


async def test_replacing_all_keeps_exactly_these(site: Site, as_unit: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    await site.logins.replace_all({OTHER: ANOTHER_SECRET})
    assert await is_refused(as_unit(ONE, SECRET))
    assert not await is_refused(as_unit(OTHER, ANOTHER_SECRET))


async def test_a_thousand_logins_are_one_change(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    many = {UnitId("CLOUDBOXX", f"{number:016X}"): SECRET for number in range(1000)}
    await site.logins.put({ONE: ANOTHER_SECRET})
    async with as_gateway() as gateway, as_unit(ONE, ANOTHER_SECRET) as online:
        await site.logins.put(many)
        for unit in (next(iter(many)), list(many)[-1]):
            assert not await is_refused(as_unit(unit, SECRET))
        await online.publish(f"v1/{ONE}/up", b"undisturbed", qos=1)
        assert await receive(gateway) == (f"v1/{ONE}/up", b"undisturbed")


async def test_the_longest_payload_arrives_and_a_longer_one_does_not(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    async with as_gateway() as gateway:
        for size in (2 * PAYLOAD_LIMIT_BYTES, PAYLOAD_LIMIT_BYTES):
            with contextlib.suppress(aiomqtt.MqttError):
                async with as_unit(ONE, SECRET) as unit:
                    await unit.publish(f"v1/{ONE}/up", bytes(size), qos=1, timeout=2)
        _, payload = await receive(gateway)
        assert len(payload) == PAYLOAD_LIMIT_BYTES


async def test_logins_and_queued_downlink_survive_the_brokers_restart(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    async with as_unit(ONE, SECRET) as unit:
        await unit.subscribe(f"v1/{ONE}/down", qos=1)
    async with as_gateway() as gateway:
        await gateway.publish(f"v1/{ONE}/down", b"command", qos=1)
    await site.restart()
    async with as_unit(ONE, SECRET) as unit:
        assert await receive(unit) == (f"v1/{ONE}/down", b"command")


async def test_a_lost_unit_is_reported_by_its_will(site: Site, as_unit: Connect, as_gateway: Connect) -> None:
    await site.logins.put({ONE: SECRET})
    presence = f"v1/{ONE}/presence"
    async with as_gateway() as gateway:
        with contextlib.suppress(aiomqtt.MqttError):
            async with as_unit(ONE, SECRET, will=aiomqtt.Will(presence, b"offline", qos=1, retain=True)) as unit:
                await unit.publish(presence, b"online", qos=1, retain=True)
                assert await receive(gateway) == (presence, b"online")
                unit._client._sock_close()
        assert await receive(gateway) == (presence, b"offline")


async def test_no_secret_is_on_the_disk(site: Site, tmp_path: Path) -> None:
    await site.logins.put({ONE: SECRET})
    written = []
    for path in tmp_path.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a broker at work throws files away
            written.append(path.read_bytes())
    assert any(str(ONE).encode() in each for each in written)
    assert not any(SECRET.encode() in each for each in written)


@pytest.mark.parametrize("bad", ["A+", "#", "A/B", "A.B", "A B", "A\nB", "A:B", ""])
async def test_an_id_that_bends_topics_or_files_is_not_taken(site: Site, bad: str) -> None:
    with pytest.raises(ValueError, match="brand and unit id"):
        await site.logins.put({UnitId("CLOUDBOXX", bad): SECRET})
