"""How the memory of a process of its own grows while it decodes: `python -m lab.memory PROTOCOL PATH FRAMES` says it in bytes."""

import resource
import sys
from pathlib import Path

import numpy as np

from lab.corpus import CORPORA, SPEAKER, Corpus
from protocols.hotpath import Decoder

BATCH = 4_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def grown(corpus: Corpus, path: str, frames: int) -> int:
    """By how many bytes the process grew after a tenth of so many frames, and after layouts came and went for the first time."""
    made = corpus.made(60)
    usual, others = made[:30], made[30:]
    decoder = Decoder(corpus.binding, path=path, trusting=True, plans_limit=100)
    batch = (usual * (BATCH // len(usual) + 1))[:BATCH]
    speakers = np.full(BATCH, decoder.keyring.add(SPEAKER), np.int32) if corpus.binding.protocol.sealed else None
    at_first = 0
    for number in range(0, frames, BATCH):
        if number // BATCH % 50 == 5:  # layouts come and go
            decoder.decode(others)
        rows = decoder.decode(batch, speakers if number % 3 else None)
        if speakers is not None and not rows.status.any():
            decoder.build(rows.data, rows.plans, rows.starts, speakers)
        if number <= max(frames // 10, 6 * BATCH):
            at_first = resident_bytes()
    return resident_bytes() - at_first


if __name__ == "__main__":
    print(grown(CORPORA[sys.argv[1]], sys.argv[2], int(sys.argv[3])))
