"""Confirms are taken out of what RabbitMQ says; everything else reaches aiormq as it came."""

import asyncio
import struct

import pytest

from gateway.amqp.tap import Tap

CHANNEL = 1


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack("!BHI", kind, channel, len(payload)) + payload + b"\xce"


def ack(tag: int, multiple: bool = False, channel: int = CHANNEL) -> bytes:
    return frame(1, channel, struct.pack("!HHQB", 60, 80, tag, multiple))


OTHER = frame(1, 2, struct.pack("!HHQB", 60, 80, 7, 0))
HEARTBEAT = frame(8, 0, b"")
RETURN = frame(1, CHANNEL, struct.pack("!HHH", 60, 50, 312) + b"\x08NO_ROUTE" + b"\x00\x01k")


async def heard(pieces: list[bytes], *, listening: bool = True) -> tuple[list[tuple[int, bool]], bytes]:
    """What was settled, and what went on to aiormq."""
    source = asyncio.StreamReader()
    tap = Tap(source)
    tap._passed_at = float("inf")  # aiormq needs no sign of life here
    settled: list[tuple[int, bool]] = []
    if listening:
        tap.listen(CHANNEL, lambda tag, multiple: settled.append((tag, multiple)), lambda: None)
    for piece in pieces:
        source.feed_data(piece)
    source.feed_eof()
    passed = b""
    while True:
        try:
            passed += await tap.readexactly(1)
        except asyncio.IncompleteReadError:
            return settled, passed


@pytest.mark.parametrize("cut", range(1, 40))
async def test_confirms_are_settled_and_the_rest_goes_on_however_the_bytes_come(cut: int) -> None:
    said = ack(1) + HEARTBEAT + ack(4, multiple=True) + OTHER + ack(5)
    settled, passed = await heard([said[at : at + cut] for at in range(0, len(said), cut)])
    assert settled == [(1, False), (4, True), (5, False)]
    assert passed == HEARTBEAT + OTHER


async def test_after_a_message_that_comes_back_aiormq_hears_everything_in_order() -> None:
    settled, passed = await heard([ack(1) + RETURN + ack(2) + ack(3)])
    assert settled == [(1, False)]
    assert passed == RETURN + ack(2) + ack(3)


async def test_a_refusal_is_no_confirm() -> None:
    nack = frame(1, CHANNEL, struct.pack("!HHQB", 60, 120, 2, 0))
    assert await heard([ack(1) + nack + ack(3)]) == ([(1, False)], nack + ack(3))


async def test_without_a_listener_everything_goes_on() -> None:
    assert await heard([ack(1) + HEARTBEAT], listening=False) == ([], ack(1) + HEARTBEAT)


async def test_what_is_no_amqp_goes_on_whole() -> None:
    assert await heard([b"AMQP\x00\x00\x09\x01"]) == ([], b"AMQP\x00\x00\x09\x01")


async def test_aiormq_sees_a_confirm_now_and_then_so_that_it_knows_the_line_to_be_alive() -> None:
    source = asyncio.StreamReader()
    tap = Tap(source)
    settled: list[int] = []
    tap.listen(CHANNEL, lambda tag, multiple: settled.append(tag), lambda: None)
    source.feed_data(ack(1) + ack(2))
    assert await tap.readexactly(len(ack(1))) == ack(1)
    assert settled == [1, 2]
