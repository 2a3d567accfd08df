"""Life status, with a real Mosquitto, a real SQLite and real sessions: told once, and never of a unit that is back."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from sqlalchemy import insert

from gateway.app import Gateway
from gateway.presence import RETAINED_GRACE_MS, WILL_GRACE_MS
from gateway.registry.labels import labels_of
from gateway.registry.record import record, selected
from gateway.service import TICK_S
from gateway.store.tables import units, vehicle_labels, vehicles
from lab.inside import FLEET, SAYS_ALL, Clock, confirmed, gateway_inside, logged, report, until
from lab.mosquitto import MosquittoBroker, mosquitto
from protocols.codec import UnitId

MANY, BACK = 5_000, 500
AT_A_TIME = 100
"""Messages of the MQTT client that are under way: its time for each grows with their number."""


def _vehicle(unit: UnitId, vehicle_id: str, number: int) -> dict[str, Any]:
    words = {"search": "", "operation_status": "OPERATING", "rental_status": "NOT_IN_RENTAL", "vehicle_model_id": SAYS_ALL.id}
    nothing = {"master_data": {}, "custom_fields": {}, "tags": [], "created_at": 0, "modified_at": 0}
    of_unit = {"brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id}
    return of_unit | {"vehicle_id": vehicle_id} | words | nothing | {"fleet_id": FLEET, "number": number}


def _unit(unit: UnitId, vehicle_id: str) -> dict[str, Any]:
    return {"brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_id": vehicle_id, "generation": 1}


class Fleet:
    """A gateway in this process whose units are presence messages: the broker is open, so anybody speaks for any unit."""

    def __init__(self, gateway: Gateway, clock: Clock, broker: MosquittoBroker) -> None:
        self.gateway, self.clock, self.broker = gateway, clock, broker
        self.vehicles: dict[UnitId, str] = {}

    async def add(self, count: int) -> list[UnitId]:
        """Vehicles, all in one transaction: five thousand one after the other take minutes."""
        added = {UnitId("CLOUDBOXX", f"{number:016X}"): f"{number:05d}" for number in range(1, count + 1)}
        async with self.gateway.store.writing() as connection:
            await connection.execute(insert(vehicles), [_vehicle(unit, each, int(each)) for unit, each in added.items()])
            await connection.execute(insert(units), [_unit(unit, each) for unit, each in added.items()])
            found = [record(row) for row in await connection.execute(selected())]
            named = [{"fleet_id": FLEET, "archived": False, "number": each.number} for each in found]
            rows = [row | {"label": label} for row, each in zip(named, found, strict=True) for label in labels_of(each)]
            await connection.execute(insert(vehicle_labels), rows)
        self.vehicles |= added
        return list(added)

    @asynccontextmanager
    async def session(self, unit: UnitId, *, clean: bool = False) -> AsyncIterator[aiomqtt.Client]:
        """The unit's session: its client id, its will, and `online` said. At a clean one's takeover Mosquitto sends the will."""
        topic = f"v1/{unit}/presence"
        will = aiomqtt.Will(topic, b"offline", qos=1, retain=True)
        port = self.broker.port
        async with aiomqtt.Client("127.0.0.1", port, identifier=str(unit), clean_session=clean, will=will) as client:
            await client.publish(topic, b"online", qos=1, retain=True)
            yield client

    async def said(self, wanted: list[UnitId], word: bytes) -> None:
        """Presence messages as units and brokers publish them."""
        async with aiomqtt.Client("127.0.0.1", self.broker.port, max_inflight_messages=AT_A_TIME) as anybody:
            anybody.pending_calls_threshold = AT_A_TIME
            for start in range(0, len(wanted), AT_A_TIME):
                some = wanted[start : start + AT_A_TIME]
                await asyncio.gather(*(anybody.publish(f"v1/{unit}/presence", word, qos=1, timeout=60) for unit in some))

    async def told(self) -> list[tuple[str, str]]:
        """Which vehicle was told to have which life status, in order."""
        events = [event for event in await logged(self.gateway) if event["metadata"]["type"] == "VehicleChanged"]
        assert all(event["reasons"] == ["LIFE_STATUS_CHANGED"] for event in events)
        return [(event["vehicle"]["id"], event["vehicle"]["life_status"]["value"]) for event in events]

    async def until_told(self, count: int) -> list[tuple[str, str]]:
        """What was told, once this gateway has told that much."""
        await until(lambda: confirmed(self.gateway, "VehicleChanged") >= count)
        return await self.told()

    async def let_pass(self, ms: int) -> None:
        """Time passes, and the gateway has looked at the clock since."""
        self.clock.ahead_ms += ms
        await asyncio.sleep(3 * TICK_S)


@asynccontextmanager
async def opened(data: Path, broker: MosquittoBroker, clock: Clock) -> AsyncIterator[Fleet]:
    async with gateway_inside(data, broker, clock) as gateway:
        yield Fleet(gateway, clock, broker)


@pytest.fixture
def broker(tmp_path: Path):
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def fleet(tmp_path: Path, broker: MosquittoBroker) -> AsyncIterator[Fleet]:
    async with opened(tmp_path / "data", broker, Clock()) as fleet:
        yield fleet


async def test_a_mass_disconnect_is_told_once_for_each_unit_and_not_for_those_that_are_back(fleet: Fleet):
    fleet.clock.stop()
    many = await fleet.add(MANY)
    await fleet.said(many, b"online")
    assert Counter(await fleet.until_told(MANY)) == {(each, "ONLINE"): 1 for each in fleet.vehicles.values()}
    assert await fleet.gateway.registry.vehicles.online() == MANY
    await fleet.said(many, b"offline")
    await fleet.said(many[:BACK], b"online")
    gone = [fleet.vehicles[unit] for unit in many[BACK:]]
    await fleet.let_pass(WILL_GRACE_MS)
    told = (await fleet.until_told(MANY + len(gone)))[MANY:]
    assert Counter(told) == {(each, "OFFLINE"): 1 for each in gone}
    assert await fleet.gateway.registry.vehicles.online() == BACK
    await fleet.said(many, b"offline")
    await fleet.let_pass(10 * WILL_GRACE_MS)
    assert len(await fleet.until_told(MANY + MANY)) == 2 * MANY


@pytest.mark.parametrize("clean", [True, False])
async def test_a_session_taken_over_by_the_units_own_reconnect_tells_nothing(fleet: Fleet, clean: bool):
    [unit] = await fleet.add(1)
    said: list[bytes] = []
    async with aiomqtt.Client("127.0.0.1", fleet.broker.port) as witness:
        await witness.subscribe(f"v1/{unit}/presence", qos=1)
        for _ in range(5):
            async with fleet.session(unit, clean=clean) as first, fleet.session(unit, clean=clean):
                await until(lambda: first._disconnected.done())
                assert isinstance(first._disconnected.exception(), aiomqtt.MqttError)
                said += await so_far(witness)
                await fleet.let_pass(WILL_GRACE_MS)
    assert (b"offline" in said) == clean, "without a will on a takeover this would prove nothing"
    assert await fleet.told() == [(fleet.vehicles[unit], "ONLINE")]


async def so_far(client: aiomqtt.Client) -> list[bytes]:
    """What has come by now, at least one message."""
    messages = [await anext(client.messages)]
    while len(client.messages):
        messages.append(await anext(client.messages))
    return [bytes(message.payload) for message in messages]


async def test_a_unit_whose_connection_breaks_is_offline_after_its_will(fleet: Fleet):
    [unit] = await fleet.add(1)
    online, offline = (fleet.vehicles[unit], "ONLINE"), (fleet.vehicles[unit], "OFFLINE")
    async with aiomqtt.Client("127.0.0.1", fleet.broker.port) as witness:
        async with fleet.session(unit) as client:
            await fleet.until_told(1)
            await witness.subscribe(f"v1/{unit}/presence", qos=1)
            assert await so_far(witness) == [b"online"]
            client._client.socket().shutdown(socket.SHUT_RDWR)
            assert await so_far(witness) == [b"offline"]
        await fleet.let_pass(0)
        assert await fleet.told() == [online]
        await fleet.let_pass(WILL_GRACE_MS)
        assert await fleet.until_told(2) == [online, offline]


async def test_a_frame_after_the_will_is_a_sign_of_life_and_one_before_it_is_none(fleet: Fleet):
    back, gone = await fleet.add(2)
    gateway = fleet.gateway
    for unit in (back, gone):
        gateway.service.arrived(unit, report(gateway, unit, 1, central_lock="LOCKED"), lambda: None)
    gateway.service.presence(gone, False)  # before the frame above is worked on
    await fleet.until_told(2)
    await fleet.let_pass(0)
    await fleet.said([back], b"offline")
    await fleet.let_pass(0)
    async with aiomqtt.Client("127.0.0.1", fleet.broker.port) as anybody:
        await anybody.publish(f"v1/{back}/up", report(gateway, back, 2, central_lock="LOCKED"), qos=1)
    await until(lambda: confirmed(gateway, "VehicleStateRecorded") == 3)
    await fleet.let_pass(WILL_GRACE_MS)
    assert (await fleet.until_told(3))[2:] == [(fleet.vehicles[gone], "OFFLINE")]


async def test_a_gateway_that_was_away_judges_by_what_the_broker_kept(tmp_path: Path, broker: MosquittoBroker):
    clock = Clock()
    async with opened(tmp_path / "data", broker, clock) as fleet:
        gone, alive, silent, never = await fleet.add(4)
        await fleet.said([gone, alive, silent], b"online")
        await fleet.until_told(3)
    known = fleet.vehicles
    await _keep(broker, {gone: b"offline", alive: b"offline", silent: b"online", never: b"online"})
    await _forget_session(broker)
    clock.ahead_ms += 24 * 3600 * 1000
    async with opened(tmp_path / "data", broker, clock) as fleet:
        await fleet.let_pass(0)
        await fleet.let_pass(WILL_GRACE_MS)
        await fleet.said([alive], b"online")
        await fleet.let_pass(0)
        assert await fleet.gateway.registry.vehicles.online() == 3
        await fleet.let_pass(RETAINED_GRACE_MS)
        assert (await fleet.until_told(1))[3:] == [(known[gone], "OFFLINE")]


async def _keep(broker: MosquittoBroker, words: dict[UnitId, bytes]) -> None:
    """Retained presence messages."""
    async with aiomqtt.Client("127.0.0.1", broker.port) as anybody:
        for unit, word in words.items():
            await anybody.publish(f"v1/{unit}/presence", word, qos=1, retain=True)


async def _forget_session(broker: MosquittoBroker) -> None:
    """What waited for the gateway is lost, as when the broker starts anew without its data."""
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="teleloop-gateway", clean_session=True):
        pass


async def test_a_broker_that_is_away_makes_nobody_offline(fleet: Fleet):
    [unit] = await fleet.add(1)
    await fleet.said([unit], b"online")
    await fleet.until_told(1)
    await fleet.let_pass(0)
    fleet.broker.kill()
    await until(lambda: not fleet.gateway.line.connected)
    await fleet.let_pass(24 * 3600 * 1000)
    fleet.broker.start()
    await until(lambda: fleet.gateway.line.connected)
    await fleet.let_pass(0)
    assert await fleet.told() == [(fleet.vehicles[unit], "ONLINE")]
    await fleet.let_pass(24 * 3600 * 1000)
    assert (await fleet.until_told(2))[1:] == [(fleet.vehicles[unit], "OFFLINE")]
