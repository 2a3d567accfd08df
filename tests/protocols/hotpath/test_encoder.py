"""Single frames said fast: the bytes that construct builds, or the error that it raises."""

import random
from typing import Any

import pytest

from lab.corpus import CORPORA, KEY, QNR, STARTED_AT
from protocols.cloudboxx import PROTOCOL, SIGNALS
from protocols.codec import Frame, ProtocolError, Report
from protocols.hotpath.encoder import Encoder

CLOUDBOXX = CORPORA["cloudboxx"]


def said(frame: Frame, encode: Any) -> Any:
    try:
        return encode(frame, KEY)
    except ProtocolError as error:
        return error.reason, error.offset, error.field


def state(rng: random.Random, names: list[str], unit: str | None = QNR, **other: Any) -> Frame:
    sizes = {signal.name: (8 * signal.form.sizeof(), signal.form.fmtstr[-1].islower()) for signal in SIGNALS}
    signals = {name: rng.randrange(1 << sizes[name][0] - sizes[name][1]) for name in names} | other
    at = STARTED_AT + rng.randrange(10**9)
    return Frame("state", unit, rng.randrange(1 << 32), at, (Report(b"", at, signals),), {"flags": rng.randrange(8)})


def test_frames_of_learnt_layouts_are_what_construct_builds():
    rng, encoder = random.Random(1), Encoder()
    layouts = [rng.sample([signal.name for signal in SIGNALS], rng.randrange(len(SIGNALS))) for _ in range(20)]
    for _ in range(10):
        for names in layouts:
            frame = state(rng, names)
            assert encoder.encode(frame, KEY) == PROTOCOL.encode(frame, KEY)
    known = [layout for layout in encoder._layouts.values() if layout is not None]
    assert len(known) == len({tuple(names) for names in layouts}), "every one of them is learnt"


def test_every_frame_of_the_corpus_is_said_again():
    encoder = Encoder()
    frames = [*CLOUDBOXX.made(50), *(data for data in CLOUDBOXX.vectors if len(data) > 30)]
    for _ in range(2):
        for data in frames:
            try:
                frame = PROTOCOL.decode(data)
            except ProtocolError:
                continue
            assert said(frame, encoder.encode) == said(frame, PROTOCOL.encode)


def test_acks_are_what_the_protocol_says():
    rng, encoder = random.Random(2), Encoder()
    for _ in range(200):
        ack = (QNR, rng.randrange(1 << 32), rng.randrange(1 << 32), STARTED_AT + rng.randrange(10**12), rng.randbytes(32))
        assert encoder.acknowledge(*ack) == PROTOCOL.acknowledge(*ack)


WRONG = [
    {"latitude": 1 << 31},
    {"fuel_level": -1},
    {"fuel_level": None},
    {"fuel_level": 1.5},
    {"fuel_level": "1"},
    {"no_such_signal": 1},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_said_is_refused_as_construct_refuses_it(wrong: dict[str, Any]):
    rng, encoder = random.Random(3), Encoder()
    names = [*wrong, "odometer"] if next(iter(wrong)) != "no_such_signal" else ["odometer"]
    encoder.encode(state(rng, [name for name in names if name != "no_such_signal"]), KEY)
    frame = state(rng, ["odometer"] if "no_such_signal" in wrong else names, **wrong)
    assert said(frame, encoder.encode) == said(frame, PROTOCOL.encode)


@pytest.mark.parametrize("unit", [None, "", "0123", "Z" * 16, QNR.lower(), " 123456789ABCDEF", "01 23 45 67 89 AB CD EF"])
def test_ids_are_taken_as_the_protocol_takes_them(unit: str | None):
    rng, encoder = random.Random(4), Encoder()
    encoder.encode(state(rng, ["odometer"]), KEY)
    frame = state(rng, ["odometer"], unit)
    assert said(frame, encoder.encode) == said(frame, PROTOCOL.encode)
