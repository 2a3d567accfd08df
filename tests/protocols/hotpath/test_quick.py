"""The quick way of single frames says what the declarations say, in every word and every refusal."""

import random

import pytest

from lab.corpus import CORPORA, KEY, QNR, SPEAKER, named
from protocols.cloudboxx import CODES, PROTOCOL
from protocols.codec import Frame, Peer, ProtocolError, Report
from protocols.hotpath.quick import QUICK

AT = 1_795_446_000_123
OTHERS = [
    Frame("heartbeat", QNR, 7, AT, facts={"uptime": 5, "supply_voltage": 12_000, "oldest_sequence": 3, "flags": 4}),
    Frame("ack", QNR, None, AT, facts={"cumulative": 9, "bitmap": 0x80000001}),
    Frame("time", QNR, None, AT, facts={"seconds": 1, "milliseconds": 2}),
    Frame("command", QNR, None, AT, facts={"envelope": b"any bytes"}),
    Frame("result", QNR, 1 << 31, AT, facts={"envelope": b"", "flags": 255}),
    Frame("config", QNR, None, AT, facts={"driving_interval": 1, "parked_interval": 2, "heartbeat_interval": 3}),
]


def outcome(protocol, data, peer=SPEAKER):
    try:
        return protocol.decode(data, peer)
    except ProtocolError as error:
        return named(error)


def said(protocol, frame):
    try:
        return protocol.encode(frame, KEY)
    except ProtocolError as error:
        return named(error)


def frames():
    return [*CORPORA["cloudboxx"].made(150), *(PROTOCOL.encode(frame, KEY) for frame in OTHERS)]


def test_every_frame_is_read_as_declared_and_said_again():
    for data in frames():
        frame = PROTOCOL.decode(data, SPEAKER)
        assert QUICK.decode(data, SPEAKER) == QUICK.decode(data) == frame
        assert QUICK.encode(frame, KEY) == PROTOCOL.encode(frame, KEY) == data


@pytest.mark.parametrize("unit", [QNR, QNR.lower(), "no hex", "FF"])
@pytest.mark.parametrize(
    ("cumulative", "bitmap", "now"), [(0, 0, AT), (9, 0x80000001, 0), (1 << 32, 0, AT), (1, -1, AT), (1, 1, 1 << 60)]
)
def test_an_ack_is_said_or_refused_as_declared(unit, cumulative, bitmap, now):
    def acknowledged(protocol):
        try:
            return protocol.acknowledge(unit, cumulative, bitmap, now, KEY)
        except ProtocolError as error:
            return named(error)

    assert acknowledged(QUICK) == acknowledged(PROTOCOL)


def test_what_is_wrong_is_refused_in_the_same_words():
    rng = random.Random(5)
    for data in frames():
        for _ in range(6):
            broken = bytearray(data)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            assert outcome(QUICK, bytes(broken)) == outcome(PROTOCOL, bytes(broken))
        cut = data[: rng.randrange(len(data))]
        assert outcome(QUICK, cut) == outcome(PROTOCOL, cut)
        assert outcome(QUICK, data + b"x") == outcome(PROTOCOL, data + b"x")
        stranger = Peer("F" * 16, (KEY,))
        assert outcome(QUICK, data, stranger) == outcome(PROTOCOL, data, stranger)
        forger = Peer(QNR, (bytes(32),))
        assert outcome(QUICK, data, forger) == outcome(PROTOCOL, data, forger)


@pytest.mark.parametrize(
    "frame",
    [
        Frame("state", QNR, 1, AT, (Report(b"", AT, {"latitude": 1 << 40}),)),
        Frame("state", QNR, 1, AT, (Report(b"", AT, {"no_such": 1}),)),
        Frame("state", QNR, 1, AT, (Report(b"", AT, {"latitude": None, "heading": 5}),)),
        Frame("state", QNR, 1, AT),
        Frame("state", QNR, 1 << 32, AT),
        Frame("state", "no hex", 1, AT),
        Frame("ack", QNR, facts={"cumulative": 1}),
        Frame("ack", QNR, facts={"cumulative": "1", "bitmap": 0}),
        Frame("result", QNR, 1, AT, facts={"envelope": bytes(2000)}),
        Frame("nothing", QNR, 1, AT),
        Frame("heartbeat", QNR, 1, AT, facts={"uptime": 5.5, "supply_voltage": 1, "oldest_sequence": 1}),
    ],
)
def test_what_is_odd_is_said_or_refused_as_declared(frame):
    assert said(QUICK, frame) == said(PROTOCOL, frame)


def test_every_kind_of_frame_is_among_those_above():
    assert {each.kind for each in OTHERS} | {"state", "event", "hello"} == set(CODES)
