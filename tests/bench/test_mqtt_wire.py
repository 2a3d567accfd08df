"""The lean generator's lines: what they say, what they hear, and that a line that fails says so and leaves nothing behind."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.lab.mosquitto import MosquittoBroker
from bench.mqtt_wire import ConnectRefused, LeanLine, Lines

WAIT_S = 20.0
CONNACK, REFUSED, SUBACK = b"\x20\x02\x00\x00", b"\x20\x02\x00\x05", b"\x90\x03\x00\x01\x01"


@asynccontextmanager
async def looked_at(port: int) -> AsyncIterator[Lines]:
    lines = Lines("127.0.0.1", port)
    looking = asyncio.create_task(lines.keep_looking())
    try:
        yield lines
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def until(true: object) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_what_is_published_arrives_and_what_comes_down_is_heard_and_acknowledged(mosquitto_broker: MosquittoBroker) -> None:
    name, heard, came = f"LEAN/{os.urandom(6).hex()}", list[bytes](), list[bytes]()
    async with looked_at(mosquitto_broker.port) as lines:
        unit = lines.dial(name, "-", heard.append, lambda: None)
        await unit.opened()
        other = lines.dial(f"LEAN/{os.urandom(6).hex()}", "-", came.append, lambda: None)
        other._down = f"v1/{name}/up"
        await other.opened()
        said = [os.urandom(size) for size in (1, 60, 120, 200, 20_000)] * 10
        for payload in said:
            unit.publish(payload)
        await until(lambda: len(came) == len(said))
        assert came == said
        await until(lambda: unit.acknowledged == unit.published + 1)  # and `online`
        other._up = other._up[:2] + f"v1/{name}/down".encode()
        other._up = (len(other._up) - 2).to_bytes(2, "big") + other._up[2:]
        for payload in said:  # more than Mosquitto sends to who does not acknowledge: 20
            other.publish(payload)
        await until(lambda: len(heard) == len(said))
        assert heard == said
        unit.close()
        other.close()
        await lines.emptied(WAIT_S)
        assert not lines.selector.get_map()


async def test_a_line_that_fails_says_why_and_leaves_nothing_open() -> None:
    async def refuse(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await source.read(1 << 16)
        sink.write(REFUSED)

    async def hang_up(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await source.read(1 << 16)
        sink.close()

    async def say_nothing(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await source.read(1 << 16)

    for behaviour, error in ((refuse, ConnectRefused), (hang_up, OSError), (say_nothing, TimeoutError)):
        server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
        async with server, looked_at(server.sockets[0].getsockname()[1]) as lines:
            with pytest.raises(error):
                async with asyncio.timeout(0.3 if error is TimeoutError else WAIT_S):
                    await lines.dial("LEAN/1", "-", lambda data: None, lambda: None).opened()
            assert (lines.opening, len(lines.selector.get_map() or {})) == (0, 0)
    async with looked_at(1) as lines:
        with pytest.raises(ConnectionRefusedError):
            await lines.dial("LEAN/1", "-", lambda data: None, lambda: None).opened()
        assert lines.opening == 0


async def test_a_broker_that_reads_slowly_gets_everything_and_one_that_goes_is_noticed() -> None:
    took, go_on, lost = bytearray(), asyncio.Event(), list[LeanLine]()

    async def slow(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        await source.read(1 << 16)
        sink.write(CONNACK)
        await source.read(1 << 16)
        sink.write(SUBACK)
        await go_on.wait()
        while not took.endswith(b"<end>"):
            took.extend(await source.read(1 << 20))
        sink.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0, limit=1 << 16)
    async with server, looked_at(server.sockets[0].getsockname()[1]) as lines:
        line = lines.dial("LEAN/1", "-", lambda data: None, lambda: lost.append(line))
        await line.opened()
        said = [b"<%04d>" % place * 2_000 for place in range(600)]
        for payload in said:
            line.publish(payload)
        line.publish(b"<end>")
        go_on.set()
        await until(lambda: lost)
        assert lost == [line]
        assert not line.up
        at = 0
        for payload in said:
            at = took.index(payload, at) + len(payload)
        line.publish(b"is dropped")
        assert line.published == len(said) + 1
