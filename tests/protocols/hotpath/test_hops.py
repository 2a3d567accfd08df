"""Frames back to back are cut by their length fields alike by the kernel, its numpy twin and the framing itself."""

import random

import numpy as np
import pytest

from lab.corpus import CORPORA
from protocols.hotpath import Decoder
from protocols.hotpath.framing import Framing
from protocols.hotpath.kernels import native

PATHS = ["numpy"] if native is None else ["numpy", "c"]


def hops(decoder: Decoder, data: bytes, at: int = 0, most: int = 1000) -> list[int]:
    offsets = np.full(most + 1, 7, np.uint32)
    count = decoder.table.hops(data, at, offsets)
    assert count <= most
    assert (offsets[count + 1 :] == 7).all(), "nothing is written behind the last offset"
    return offsets[: count + 1].tolist()


def said(framing: Framing, data: bytes) -> list[int]:
    return [0, *(end for _, end in framing._hops(data))]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", CORPORA)
def test_whole_frames_are_found_as_the_framing_finds_them(name: str, path: str) -> None:
    corpus, rng = CORPORA[name], random.Random(3)
    framing, decoder = corpus.binding.framing, Decoder(corpus.binding, path=path)  # type: ignore[arg-type]
    frames = corpus.made(20)
    joined = b"".join(frames)
    assert hops(decoder, joined) == said(framing, joined)
    for _ in range(300):
        mixed = b"".join(corpus.mutant(rng.choice(frames), rng) if rng.random() < 0.2 else rng.choice(frames) for _ in range(6))
        cut = mixed[: rng.randrange(len(mixed) + 1)]
        assert hops(decoder, cut) == said(framing, cut)


@pytest.mark.parametrize("path", PATHS)
def test_it_begins_where_it_is_told_and_ends_where_there_is_no_more_room(path: str) -> None:
    corpus = CORPORA["cloudboxx"]
    decoder, frames = Decoder(corpus.binding, path=path), corpus.made(9)  # type: ignore[arg-type]
    ends = np.cumsum([0, *map(len, frames)]).tolist()
    assert hops(decoder, b"".join(frames), ends[2], 4) == ends[2:7]
    assert hops(decoder, b"".join(frames), ends[9]) == [ends[9]]
    with pytest.raises(ValueError, match="behind the buffer"):
        hops(decoder, b"".join(frames), ends[9] + 1)
    with pytest.raises(ValueError, match="too small"):
        decoder.table.hops(b"", 0, np.empty(0, np.uint32))
