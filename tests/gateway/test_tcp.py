"""The TCP side: a scripted unit on a real socket logs in, is cut up by the network, gets its answers; strangers do not get in."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from gateway.lines import Lines
from gateway.memory import Memory, Vehicle
from gateway.tcp import IN_HAND_LIMIT, Ears, TcpListener
from lab.gateway import eventually
from lab.thirdparty import DATABASE, IDS, PublicBench, model_of
from protocols import load
from protocols.codec import UnitId

PROTOCOLS = {"TELTONIKA": "teltonika", "GBT32960": "gbt32960"}


@dataclass
class Heard:
    """What a listener passed on. `held` keeps the acknowledgements back while `holding`."""

    brand: str
    archived: bool = False
    payloads: list[tuple[UnitId, bytes]] = field(default_factory=list)
    presence: list[bool] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    holding: bool = False
    held: list = field(default_factory=list)

    @property
    def unit(self) -> UnitId:
        return UnitId(self.brand, IDS[self.brand])

    def take(self, unit: UnitId, payload: bytes, acknowledge) -> None:
        self.payloads.append((unit, payload))
        self.held.append(acknowledge) if self.holding else acknowledge()

    async def find(self, units: Collection[UnitId]) -> Mapping[UnitId, tuple[Vehicle, Memory]]:
        known = Vehicle("A2B3C", "fleet", self.unit, DATABASE.brands[self.brand], model_of(self.brand), archived=self.archived)
        return {unit: (known, Memory()) for unit in units if unit == self.unit}

    @property
    def bytes(self) -> bytes:
        return b"".join(payload for _, payload in self.payloads)


@asynccontextmanager
async def listening(heard: Heard, *, trusted: bool = True, **how) -> AsyncIterator[TcpListener]:
    ears = Ears(heard.take, lambda unit, online, retained: heard.presence.append(online), heard.refused.append, heard.find)
    listener = TcpListener(load()[PROTOCOLS[heard.brand]], [heard.brand], ears, trusted=trusted, **how)
    await listener.open("127.0.0.1", 0)
    try:
        yield listener
    finally:
        await listener.close()


async def connected(listener: TcpListener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = listener.address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


def login(brand: str) -> bytes:
    (payload,) = PublicBench(brand).unit.connected(PublicBench(brand).now)
    return payload


def talk(brand: str) -> bytes:
    """A login and some reports, as one stream."""
    bench = PublicBench(brand)
    payloads = bench.unit.connected(bench.now)
    heard = bench.protocol.answer(bench.frames(payloads)[0], 0)
    payloads += bench.unit.receive(heard or b"", bench.now)
    for _ in range(3):
        bench.now += 61_000
        payloads += bench.unit.tick(bench.now)
    return b"".join(payloads)


@pytest.mark.parametrize("brand", PROTOCOLS)
async def test_a_stream_cut_anywhere_arrives_as_the_same_frames(brand: str) -> None:
    heard, stream, dice = Heard(brand), talk(brand), random.Random(brand)
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        at = 0
        while at < len(stream):
            end = at + dice.randint(1, 40)
            writer.write(stream[at:end])
            await writer.drain()
            await asyncio.sleep(0)
            at = end
        await eventually(lambda: heard.bytes == stream, what="all of it")
        writer.close()
    assert {unit for unit, _ in heard.payloads} == {heard.unit}
    frames = [cut.data for cut in load()[PROTOCOLS[brand]].split(stream)]
    assert [payload for _, payload in heard.payloads] == frames
    assert heard.presence[0] is True


@pytest.mark.parametrize("brand", PROTOCOLS)
async def test_what_is_sent_to_a_unit_goes_to_its_connection_and_else_elsewhere(brand: str) -> None:
    heard, elsewhere = Heard(brand), Elsewhere()
    async with listening(heard) as listener:
        lines = Lines(listener, elsewhere)
        assert lines.send(heard.unit, b"before")
        reader, writer = await connected(listener)
        writer.write(login(brand))
        await eventually(lambda: listener.connected)
        assert lines.send(heard.unit, b"answer")
        assert await reader.readexactly(6) == b"answer"
        writer.close()
        await eventually(lambda: heard.presence == [True, False])
        assert lines.send(heard.unit, b"after")
    assert elsewhere.sent == [b"before", b"after"]


class Elsewhere:
    """Another path, that leads everywhere."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, unit: UnitId, payload: bytes) -> bool:
        self.sent.append(payload)
        return True

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@pytest.mark.parametrize(
    ("brand", "archived", "trusted", "stranger", "reason"),
    [
        ("TELTONIKA", False, True, True, "unknown_unit"),
        ("GBT32960", False, True, True, "unknown_unit"),
        ("TELTONIKA", True, True, False, "archived"),
        ("TELTONIKA", False, False, False, "bad_credentials"),
        ("GBT32960", False, False, False, "bad_credentials"),
    ],
)
async def test_who_may_not_speak_is_told_so_by_the_protocol_and_counted(
    brand: str, archived: bool, trusted: bool, stranger: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = login(brand)
    protocol = load()[PROTOCOLS[brand]]
    if stranger:
        monkeypatch.setitem(IDS, brand, "SOMEBODYELSE")
    heard = Heard(brand, archived)
    async with listening(heard, trusted=trusted) as listener:
        reader, writer = await connected(listener)
        writer.write(said)
        answer = await reader.read()
        writer.close()
    assert answer == protocol.reject(protocol.decode(said))
    assert answer == b"\x00" or protocol.decode(answer).facts["flag"] == 2
    assert (heard.refused, heard.payloads, heard.presence) == ([reason], [], [])


async def test_who_begins_with_anything_else_than_a_login_is_cut_off() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard) as listener:
        for said, reason in ((b"GET / HTTP/1.1\r\n\r\n", "bad_sync"), (talk("TELTONIKA")[17:], "bad_credentials")):
            reader, writer = await connected(listener)
            writer.write(said)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
            assert heard.refused.pop() == reason
    assert heard.payloads == []


async def test_keep_alives_may_stand_before_the_login() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        writer.write(b"\xff" + login("TELTONIKA"))
        await eventually(lambda: heard.payloads)
        writer.close()
    assert heard.bytes == login("TELTONIKA")


async def test_the_newest_connection_of_a_unit_wins() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard) as listener:
        old_reader, old = await connected(listener)
        old.write(login("TELTONIKA"))
        await eventually(lambda: listener.connected)
        reader, new = await connected(listener)
        new.write(login("TELTONIKA"))
        assert await old_reader.read() == b""
        assert listener.send(heard.unit, b"to the newest")
        assert await reader.readexactly(13) == b"to the newest"
        assert heard.presence == [True, True]
        old.close()
        new.close()


async def test_silence_and_a_login_that_does_not_come_end_the_connection() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard, idle_s=0.1, login_timeout_s=0.1) as listener:
        for said in (b"", login("TELTONIKA")):
            reader, writer = await connected(listener)
            writer.write(said)
            assert await reader.read() == b""
            writer.close()
        await eventually(lambda: heard.presence == [True, False])


async def test_more_connections_than_allowed_are_turned_away() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard, connections_limit=2) as listener:
        writers = []
        for _ in range(2):
            _, writer = await connected(listener)
            writers.append(writer)
        await eventually(lambda: len(listener._tasks) == 2)
        reader, writer = await connected(listener)
        assert await reader.read() == b""
        assert heard.refused == ["throttled"]
        for each in (*writers, writer):
            each.close()


async def test_what_the_gateway_has_not_done_with_waits_in_the_units_socket() -> None:
    heard = Heard("TELTONIKA", holding=True)
    stream = talk("TELTONIKA")
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        writer.write(stream * 20)
        await eventually(lambda: len(heard.payloads) == IN_HAND_LIMIT)
        await asyncio.sleep(0.1)
        assert len(heard.payloads) == IN_HAND_LIMIT
        heard.holding = False
        for acknowledge in heard.held:
            acknowledge()
        await eventually(lambda: heard.bytes == stream * 20)
        writer.close()


async def test_a_result_and_the_state_behind_it_stay_together_however_the_network_cuts_them() -> None:
    heard, bench = Heard("TELTONIKA"), PublicBench("TELTONIKA")
    bench.settle(bench.connect())
    (said,) = bench.unit.receive(bench.request("unlock-central-lock", 1), bench.now)
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        writer.write(login("TELTONIKA") + said[:60])
        await eventually(lambda: listener.connected)
        await writer.drain()
        writer.write(said[60:] + next(bench.protocol.split(said)).data)
        await eventually(lambda: len(heard.payloads) == 2)
        assert heard.payloads[1][1] == said
        writer.close()
        await eventually(lambda: len(heard.payloads) == 3)
    assert load()["teltonika"].decode(heard.payloads[2][1]).kind == "result"


async def test_a_unit_that_is_taken_out_of_operation_is_cut_off() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard) as listener:
        reader, writer = await connected(listener)
        writer.write(login("TELTONIKA"))
        await eventually(lambda: listener.connected)
        listener.end(heard.unit)
        assert await reader.read() == b""
        writer.close()


async def test_a_login_that_trickles_in_has_no_more_time_than_one_that_does_not_come() -> None:
    heard = Heard("TELTONIKA")
    async with listening(heard, login_timeout_s=0.3) as listener:
        reader, writer = await connected(listener)
        for byte in login("TELTONIKA")[:-1] * 20:
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    assert (heard.payloads, heard.presence) == ([], [])


@pytest.mark.parametrize("brand", PROTOCOLS)
async def test_lengths_that_are_lies_cost_no_memory_and_the_frames_behind_them_are_heard(brand: str) -> None:
    heard, stream = Heard(brand), talk(brand)
    first, second, *_ = (cut.data for cut in load()[PROTOCOLS[brand]].split(stream))
    lies = {
        "TELTONIKA": bytes(4) + b"\x7f\xff\xff\xff\x08\x01" + bytes(3000),
        "GBT32960": second[:22] + b"\xff\xff" + bytes(3000),
    }
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        writer.write(first + lies[brand] + second)
        await eventually(lambda: heard.payloads and heard.payloads[-1][1] == second, what="the frame behind it")
        writer.close()
    assert heard.payloads[0][1] == first
    assert heard.bytes == first + lies[brand] + second  # told apart, and refused where everything is


async def test_keep_alives_between_frames_are_frames_of_their_own() -> None:
    heard, stream = Heard("TELTONIKA"), talk("TELTONIKA")
    frames = [cut.data for cut in load()["teltonika"].split(stream)]
    async with listening(heard) as listener:
        _, writer = await connected(listener)
        writer.write(b"\xff\xff" + b"\xff".join(frames) + b"\xff")
        sent = b"\xff".join(frames) + b"\xff"
        await eventually(lambda: heard.bytes == sent, what="all of it")
        writer.close()
    assert [payload for _, payload in heard.payloads if payload.strip(b"\xff")] == [
        each for each in frames if each.strip(b"\xff")
    ]
