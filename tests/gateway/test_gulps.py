"""A busy connection is read in gulps, an idle one at once, and nothing of either is lost."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from gateway.gulps import Gulps

SAID = 100


class Reader(asyncio.Protocol):
    def __init__(self, rest_s: float | None) -> None:
        self.rest_s = rest_s
        self.reads, self.size_bytes = 0, 0
        self.gulps: Gulps | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.gulps = None if self.rest_s is None else Gulps(transport, self.rest_s)

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        self.size_bytes += len(data)
        if self.gulps is not None:
            self.gulps.took()


@asynccontextmanager
async def connected(rest_s: float | None) -> AsyncIterator[tuple[Reader, socket.socket]]:
    near, far = socket.socketpair()
    transport, reader = await asyncio.get_running_loop().create_connection(lambda: Reader(rest_s), sock=near)
    try:
        yield reader, far
    finally:
        transport.close()
        far.close()


async def has(reader: Reader, size_bytes: int) -> bool:
    for _ in range(500):
        if reader.size_bytes >= size_bytes:
            return True
        await asyncio.sleep(0.01)
    return False


async def trickle(rest_s: float | None) -> int:
    """How often it was read until all of a trickle was there."""
    async with connected(rest_s) as (reader, far):
        for _ in range(SAID):
            far.send(b"x")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await has(reader, SAID)
        assert reader.size_bytes == SAID
        return reader.reads


def test_a_trickle_is_read_in_gulps():
    for loop in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=loop) as runner:
            assert runner.run(trickle(0.05)) < runner.run(trickle(None)) / 4


async def test_what_comes_alone_is_read_at_once():
    async with connected(rest_s=60.0) as (reader, far):
        for number in range(1, 4):
            far.send(b"x")
            assert await has(reader, number)
            await asyncio.sleep(0.05)


async def test_nothing_is_read_while_it_is_held_and_all_of_it_afterwards():
    async with connected(rest_s=0.001) as (reader, far):
        assert reader.gulps is not None
        reader.gulps.hold(True)
        for _ in range(SAID):
            far.send(b"x")
        await asyncio.sleep(0.1)
        assert reader.size_bytes == 0
        reader.gulps.hold(False)
        assert await has(reader, SAID)


async def test_the_end_of_a_rest_does_not_end_a_hold():
    async with connected(rest_s=0.02) as (reader, far):
        assert reader.gulps is not None
        far.send(b"x")
        assert await has(reader, 1)
        reader.gulps.took()
        reader.gulps.hold(True)
        await asyncio.sleep(0.1)
        far.send(b"x")
        await asyncio.sleep(0.1)
        assert reader.size_bytes == 1
        reader.gulps.hold(False)
        assert await has(reader, 2)
