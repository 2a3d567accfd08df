"""Units on plain TCP connections: the whole way from login to command, where the network is trusted and the broker is not."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from lab.gateway import Added, GatewayProcess, LineUnit, eventually, gateway, now_ms
from lab.thirdparty import IDS, model_of
from protocols import load
from protocols.codec import UnitId
from protocols.stream import Framer

BRANDS = ("TELTONIKA", "GBT32960")
PROTOCOLS = {"TELTONIKA": "teltonika", "GBT32960": "gbt32960"}


@pytest.fixture(scope="module")
def trusting_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with both listeners on free ports of the loopback."""
    settings = {"TELELOOP_TCP_TELTONIKA": "0", "TELELOOP_TCP_GBT32960": "127.0.0.1:0", "TELELOOP_TRUST_TCP": "true"}
    with gateway(tmp_path_factory.mktemp("tcp") / "gateway", settings) as process:
        yield process


def address(process: GatewayProcess, brand: str) -> tuple[str, int]:
    host, port = json.loads((process.data / "gateway.json").read_text())["units_tcp"][PROTOCOLS[brand]].rsplit(":", 1)
    assert host == "127.0.0.1"
    return host, int(port)


class SocketUnit:
    """A simulated unit on a TCP connection that cuts what it says at random places."""

    def __init__(self, process: GatewayProcess, added: Added) -> None:
        self.line = LineUnit(added, process.units_broker)
        self.firmware, self.vehicle, self.flash = self.line.unit, self.line.vehicle, self.line.flash
        self.where = address(process, added.unit.brand)
        self.brand, self.dice = added.unit.brand, random.Random(1)

    @asynccontextmanager
    async def online(self) -> AsyncIterator["SocketUnit"]:
        reader, self.writer = await asyncio.open_connection(*self.where)
        await self.say(self.firmware.connected(now_ms()))
        tasks = [asyncio.create_task(self._listen(reader)), asyncio.create_task(self._tick())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.firmware.disconnected(now_ms())
            self.writer.close()

    async def say(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            at = 0
            while at < len(payload):
                end = at + self.dice.randint(1, 60)
                self.writer.write(payload[at:end])
                await self.writer.drain()
                await asyncio.sleep(0.001)
                at = end

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        framer = Framer(load()[PROTOCOLS[self.brand]].framing)
        while chunk := await reader.read(4096):
            if self.brand == "TELTONIKA" and len(chunk) in (1, 4):  # answers have no frame around them
                await self.say(self.firmware.receive(chunk, now_ms()))
                continue
            for cut in framer.receive(chunk):
                await self.say(self.firmware.receive(cut.data, now_ms()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            await self.say(self.firmware.tick(now_ms()))


@pytest.mark.parametrize("brand", BRANDS)
async def test_a_unit_on_a_socket_reports_is_acknowledged_and_obeys(brand: str, trusting_tcp: GatewayProcess) -> None:
    added = trusting_tcp.add(UnitId(brand, IDS[brand]), model_of(brand).id)
    unit = SocketUnit(trusting_tcp, added)
    for second in range(20):  # a backlog
        unit.vehicle.doors_open ^= {"front_left"}
        unit.firmware.tick(now_ms() - 60_000 + 1000 * second)
    assert unit.flash.journal
    async with unit.online():
        await eventually(lambda: not unit.flash.journal, what="every report acknowledged")
        assert trusting_tcp.state(added["id"])["central_lock"] == "LOCKED"
        path = f"/vehicles/{added['id']}/commands/unlock-central-lock"
        answer = await asyncio.to_thread(trusting_tcp.call, "POST", path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["central_lock"]["value"] == "UNLOCKED"
        assert unit.vehicle.executed == {"unlock-central-lock": 1}
    await eventually(lambda: _life(trusting_tcp, added) == "OFFLINE", what="offline")
    answer = await asyncio.to_thread(trusting_tcp.call, "POST", path)
    assert answer.status_code == 503


def _life(process: GatewayProcess, added: Added) -> str:
    return str(process.call("GET", f"/vehicles/{added['id']}").json()["life_status"]["value"])


async def test_an_archived_unit_is_cut_off_and_rejected_when_it_comes_back(trusting_tcp: GatewayProcess) -> None:
    added = trusting_tcp.add(UnitId("TELTONIKA", "490154203237518"), model_of("TELTONIKA").id)
    host, port = address(trusting_tcp, "TELTONIKA")
    login = b"\x00\x0f490154203237518"
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(login)
    assert await reader.readexactly(1) == b"\x01"
    assert trusting_tcp.call("POST", f"/vehicles/{added['id']}/archive").status_code == 200
    assert await reader.read() == b""
    reader, again = await asyncio.open_connection(host, port)
    again.write(login)
    assert await reader.read() == b"\x00"
    assert trusting_tcp.counted("teleloop_refused_total", reason="archived") == 1
    writer.close()
    again.close()


async def test_a_broker_that_is_not_trusted_cannot_speak_for_a_unit_that_is_known_for_tcp(trusting_tcp: GatewayProcess) -> None:
    added = trusting_tcp.add(UnitId("TELTONIKA", "353918058012341"), model_of("TELTONIKA").id)
    unit = LineUnit(added, trusting_tcp.units_broker)
    before = trusting_tcp.counted("teleloop_refused_total", reason="forbidden_topic")
    async with unit.online():
        await eventually(lambda: trusting_tcp.counted("teleloop_refused_total", reason="forbidden_topic") > before)
    assert trusting_tcp.state(added["id"]) == {}


def test_autoapi_has_no_tcp_and_so_is_not_let_in_by_trusting_it(trusting_tcp: GatewayProcess) -> None:
    body = {
        "telematics_brand": "MERCEDES_BENZ",
        "telematics_unit_id": IDS["MERCEDES_BENZ"],
        "vehicle_model_id": model_of("MERCEDES_BENZ").id,
    }
    assert trusting_tcp.call("POST", "/vehicles", json=body).is_client_error
