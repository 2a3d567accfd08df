"""`python -m bench.decode.mingled` walks the frames that it says."""

import pytest

from bench.decode import mingled
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.kernels import native


def test_as_many_frames_are_wrong_as_the_case_says_and_no_others() -> None:
    for name, (lesson, frames) in mingled.cases(1024).items():
        decoder = Decoder(BINDINGS["cloudboxx"], trusting=True)
        for _ in range(2):
            decoder.decode(lesson)
        every = 500 if "1 of 500" in name else 100 if "1 of 100" in name else 1024 * 8
        assert len(decoder.walk(frames).status.nonzero()[0]) == len(range(7, 1024, every)) * ("wrong" in name), name
        assert len({*decoder.walk(lesson).plans.tolist()}) == int(name.split()[0]), name


@pytest.mark.skipif(native is None, reason="measures the kernel in C")
def test_every_case_is_measured() -> None:
    found = mingled.measured(128, 1)
    assert found.keys() == mingled.cases(128).keys()
    assert all(nanoseconds > 0 for nanoseconds in found.values())
