"""The same decoders as pytest-benchmark suites: `pytest bench/decode --benchmark-timer=time.thread_time`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.decode.frames import FRAMES, SPEAKER
from bench.decode.rivals import rivals
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.kernels import native

BATCH, FEW = 256, 16
PATHS = ("numpy",) if native is None else ("c", "numpy")


def cases() -> Iterator[Any]:
    """Each protocol with each decoder that there is for it."""
    for name in FRAMES:
        for path in PATHS:
            yield pytest.param(name, path, id=f"{name}-ours-{path}")
            if BINDINGS[name].protocol.sealed:
                yield pytest.param(name, f"{path}, sealed", id=f"{name}-ours-{path}-sealed")
        for label in rivals(BINDINGS[name].protocol):
            yield pytest.param(name, label, id=f"{name}-{label}")


def case(name: str, label: str) -> tuple[Any, int]:
    """What is to be timed, and of how many frames."""
    path, _, sealed = label.partition(", ")
    if path not in PATHS:
        frames, decode = FRAMES[name](FEW, 1), rivals(BINDINGS[name].protocol)[label]
        return (lambda: [decode(frame) for frame in frames]), FEW
    frames, decoder = FRAMES[name](BATCH, 1), Decoder(BINDINGS[name], path=path, trusting=True)  # type: ignore[arg-type]
    decoder.decode(frames)
    speakers = np.full(BATCH, decoder.keyring.add(SPEAKER), np.int32) if sealed == "sealed" else None
    return (lambda: decoder.decode(frames, speakers)), BATCH


@pytest.mark.parametrize(("name", "label"), cases())
def test_decoding(benchmark: Any, name: str, label: str) -> None:
    benchmark.group = name
    decode, frames = case(name, label)
    benchmark.extra_info["frames"] = frames
    assert benchmark(decode) is not None
