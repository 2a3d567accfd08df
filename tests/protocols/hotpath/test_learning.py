"""What teaches the hot path a layout, and what does not."""

import random

import numpy as np
import pytest

from lab.corpus import CORPORA, KEY, QNR, SPEAKER, Corpus
from protocols.codec import Peer
from protocols.hotpath import Decoder
from protocols.hotpath.decoder import FRAMES_PER_LESSON, LEARN_BURST
from protocols.hotpath.framing import Status

CLOUDBOXX = CORPORA["cloudboxx"]


def plans(decoder: Decoder) -> int:
    return sum(plan is not None for plan in decoder.known)


def speaking(decoder: Decoder, frames: list[bytes], peer: Peer = SPEAKER) -> np.ndarray:
    return np.full(len(frames), decoder.keyring.add(peer), np.int32)


def test_one_frame_teaches_its_layout(corpus: Corpus, path: str):
    frame = next(frame for frame in corpus.made(20) if Decoder(corpus.binding, path=path).learn(frame, None))
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    assert decoder.walk([frame]).status.tolist() == [Status.UNKNOWN]
    assert decoder.decode([frame]).status.tolist() == [Status.VOUCHED]


def test_a_wrong_checksum_teaches_nothing(corpus: Corpus, path: str):
    if corpus.binding.protocol.name == "autoapi":
        pytest.skip("there is no checksum")
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    for frame in corpus.made(20):
        broken = bytearray(frame)
        broken[-1] ^= 1
        decoder.decode([bytes(broken)])
    assert plans(decoder) == 0


def test_an_unsealed_frame_teaches_nothing(path: str):
    frames = CLOUDBOXX.made(20)
    decoder = Decoder(CLOUDBOXX.binding, path=path)
    forged = [
        CLOUDBOXX.repaired(bytearray(frame[:30] + bytes([frame[30] ^ 1]) + frame[31:])) for frame in frames if len(frame) > 60
    ]
    decoder.decode(forged, speaking(decoder, forged))
    decoder.decode(frames)
    assert plans(decoder) == 0


def test_another_units_frame_teaches_nothing(path: str):
    frames = CLOUDBOXX.made(20)
    decoder = Decoder(CLOUDBOXX.binding, path=path)
    rows = decoder.decode(frames, speaking(decoder, frames, Peer("FEDCBA9876543210", (KEY,))))
    assert plans(decoder) == 0
    assert {error.reason for error in rows.slow.values()} == {"identity_mismatch"}


def test_the_table_is_capped_and_the_least_used_goes_first(path: str):
    frames = CLOUDBOXX.made(200)
    decoder = Decoder(CLOUDBOXX.binding, path=path, trusting=True, plans_limit=32)
    favourite = next(frame for frame in frames if len(frame) > 60)
    decoder.decode([favourite])
    for frame in frames:
        decoder.decode([frame])
        decoder.decode([favourite])
        assert plans(decoder) <= 32
    assert not decoder.walk([favourite]).status.any()
    assert np.count_nonzero(decoder.walk(frames).status) > 100


def test_a_flood_of_layouts_is_decoded_but_not_learnt_for_ever(path: str):
    decoder = Decoder(CLOUDBOXX.binding, path=path, trusting=True)
    decoder.lessons = 10.0
    frames = list({frame[24:32]: frame for frame in CLOUDBOXX.made(60)}.values())
    rows = decoder.decode(frames)
    assert plans(decoder) <= 10
    assert all(rows.outcome(at) == CLOUDBOXX.binding.protocol.decode(frame) for at, frame in enumerate(frames))


def test_known_frames_earn_lessons(path: str):
    decoder = Decoder(CLOUDBOXX.binding, path=path, trusting=True)
    frame = next(frame for frame in CLOUDBOXX.made(5) if len(frame) > 60)
    decoder.decode([frame])
    decoder.lessons = 0.0
    decoder.decode([frame] * 2 * FRAMES_PER_LESSON)
    assert decoder.lessons == pytest.approx(2)
    decoder.decode([frame] * FRAMES_PER_LESSON * (LEARN_BURST + 10))
    assert decoder.lessons == LEARN_BURST


def test_a_plan_fits_nothing_but_its_layout(path: str):
    """Every byte of structure is checked: a frame that differs in one of them is not read by the plan."""
    rng = random.Random(5)
    frame = next(frame for frame in CLOUDBOXX.made(9) if len(frame) > 70)
    decoder = Decoder(CLOUDBOXX.binding, path=path, trusting=True)
    decoder.decode([frame])
    for at in (0, 1, 2, *range(22, 32)):
        other = bytearray(frame)
        other[at] ^= 1 << rng.randrange(8)
        assert decoder.walk([CLOUDBOXX.repaired(other)]).status.tolist() != [Status.VOUCHED]


def test_the_keyring_takes_new_keys_of_a_unit(path: str):
    frames = [frame for frame in CLOUDBOXX.made(9) if len(frame) > 60]
    decoder = Decoder(CLOUDBOXX.binding, path=path)
    decoder.decode(frames, speaking(decoder, frames))
    assert not decoder.decode(frames, speaking(decoder, frames, Peer(QNR, (bytes(32), KEY)))).status.any()
    rows = decoder.decode(frames, speaking(decoder, frames, Peer(QNR, (bytes(32),))))
    assert {error.reason for error in rows.slow.values()} == {"forged"}


def test_rows_outlive_their_plans(path: str):
    """What was decoded stays readable after its layout has made room for others."""
    frames = CLOUDBOXX.made(200)
    decoder = Decoder(CLOUDBOXX.binding, path=path, trusting=True, plans_limit=16)
    early = decoder.decode(frames[:8])
    for frame in frames:
        decoder.decode([frame])
    assert decoder.walk(frames[:8]).status.any()
    assert list(early.outcomes()) == [CLOUDBOXX.binding.protocol.decode(frame) for frame in frames[:8]]
