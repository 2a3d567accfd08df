"""What the gateway's MQTT line cuts out of the bytes that came: the packets that gmqtt cuts, however they come in pieces."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from gmqtt.mqtt.protocol import MQTTProtocol

from gateway.mqtt import DUP, PUBLISH_QOS_1, RETAIN, _Inlet

TOPICS = (b"v1/CLOUDBOXX/00112233/up", b"v1/CLOUDBOXX/00112233/presence", b"", b"\xff\xfe", b"x" * 300)


def length(size: int) -> bytes:
    """A remaining length (MQTT 3.1.1, section 2.2.3)."""
    said = bytearray()
    while True:
        size, low = divmod(size, 128)
        said.append(low | (0x80 if size else 0))
        if not size:
            return bytes(said)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + length(len(body)) + body


def spoken(rng: random.Random) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return packet(rng.choice((0x20, 0x40, 0x90, 0xD0)), rng.randbytes(rng.choice((0, 2, 3))))
    if kind == 1:
        return packet(0x30, b"\0\1t" + rng.randbytes(5))  # QoS 0
    if kind == 2:
        return packet(PUBLISH_QOS_1, rng.randbytes(rng.randrange(4)))  # too short for a topic and an identifier
    if kind == 3:
        return packet(PUBLISH_QOS_1, b"\xff\xff" + rng.randbytes(9))  # a topic longer than the packet
    topic, payload = rng.choice(TOPICS), rng.randbytes(rng.choice((0, 1, 77, 127, 128, 20_000)))
    flags = rng.choice((0, DUP, RETAIN, DUP | RETAIN))
    return packet(PUBLISH_QOS_1 | flags, len(topic).to_bytes(2) + topic + rng.randbytes(2) + payload)


class Taken(list[Any]):
    """What was cut out, as (first byte, body) of each packet, and what the short way made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Any] = []
        self.connection = SimpleNamespace(_last_data_in=0.0, put_package=lambda it: self.append((it.cmd, it.data)))

    def inlet(self) -> _Inlet:
        return _Inlet(self.connection, self.take, SimpleNamespace(took=lambda: None))

    def take(self, mid: int, payload: bytes, topic: bytes, retained: bool) -> None:
        self.messages.append((topic, payload, retained))
        self.append((retained, len(topic).to_bytes(2) + topic + mid.to_bytes(2) + payload))


def cut_by_gmqtt(stream: bytes) -> tuple[list[Any], int]:
    taken = Taken()
    return taken, MQTTProtocol._read_packet(SimpleNamespace(_connection=taken.connection), stream)  # type: ignore[arg-type]


def assert_alike(ours: list[Any], theirs: list[Any]) -> None:
    assert [body for _, body in ours] == [body for _, body in theirs]
    for (said, _), (first, _) in zip(ours, theirs, strict=True):
        assert said == (bool(first & RETAIN) if isinstance(said, bool) else first)


@pytest.mark.parametrize("seed", range(5))
def test_the_packets_are_those_that_gmqtt_cuts(seed: int):
    rng = random.Random(seed)
    stream = b"".join(spoken(rng) for _ in range(60)) + spoken(rng)[:-1]
    ours = Taken()
    assert ours.inlet().read(stream) == cut_by_gmqtt(stream)[1]
    assert_alike(ours, cut_by_gmqtt(stream)[0])
    assert ours.messages


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_where_the_bytes_come_in_pieces(seed: int):
    rng = random.Random(seed)
    stream = b"".join(spoken(rng) for _ in range(60))
    whole, pieces = Taken(), Taken()
    whole.inlet().read(stream)
    inlet, left, at = pieces.inlet(), b"", 0
    while at < len(stream):
        step = rng.choice((1, 2, 3, 5, 100, 3000))
        left += stream[at : at + step]
        left, at = left[inlet.read(left) :], at + step
    assert left == b""
    assert pieces == whole


def test_a_remaining_length_of_five_bytes_is_no_mqtt():
    taken = Taken()
    assert taken.inlet().read(b"\x32\xff\xff\xff\xff\x01" + bytes(64)) == -1
    assert taken == []
