"""`python tests/fuzz/run.py PROTOCOL SECONDS [SEED]`: fuzz one protocol; one JSON line says what was tried. Exit code 1: broken.

Guided by coverage where atheris is installed, else by chance alone.
"""

import contextlib
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

ATHERIS: Any = None
with contextlib.suppress(ImportError):
    import atheris as ATHERIS  # noqa: N812

with ATHERIS.instrument_imports(include=["protocols"]) if ATHERIS else contextlib.nullcontext():
    from lab import fuzzing


def main(protocol: str, seconds: float, seed: int) -> None:
    examiner, frames = fuzzing.of(protocol), fuzzing.seeds(protocol)
    deadline = time.monotonic() + seconds
    (_guided if ATHERIS else _by_chance)(examiner, frames, deadline, seed)


def _end(examiner: fuzzing.Examiner, broken: str = "") -> None:
    print(json.dumps({**examiner.said(), "guided": ATHERIS is not None, "broken": broken}), flush=True)
    sys.stdout.flush()
    os._exit(1 if broken else 0)  # libFuzzer's own end would print a page


def _examined(examiner: fuzzing.Examiner, payload: bytes, deadline: float) -> None:
    try:
        examiner.examine(payload)
    except fuzzing.Broken as error:
        _end(examiner, str(error))
    if time.monotonic() > deadline:
        _end(examiner)


def _by_chance(examiner: fuzzing.Examiner, frames: list[bytes], deadline: float, seed: int) -> None:
    dice = random.Random(seed)
    while True:
        payload = fuzzing.mended(examiner.protocol.name, fuzzing.mutant(dice.choice(frames), dice, frames), dice)
        _examined(examiner, payload, deadline)


def _guided(examiner: fuzzing.Examiner, frames: list[bytes], deadline: float, seed: int) -> None:
    def mutate(data: bytes, limit: int, number: int) -> bytes:
        dice = random.Random(number)
        match dice.randrange(4):
            case 0:
                data = ATHERIS.Mutate(data, limit)
            case 1:
                data = dice.choice(frames)
        changed = fuzzing.mutant(data, dice, frames)
        return fuzzing.mended(examiner.protocol.name, changed, dice)[:limit]

    corpus = Path(tempfile.mkdtemp(prefix="teleloop-fuzz-"))
    for number, frame in enumerate(frames):
        (corpus / str(number)).write_bytes(frame)
    arguments = [sys.argv[0], str(corpus), f"-seed={seed}", f"-max_len={fuzzing.SIZE_LIMIT_BYTES}", "-timeout=60", "-verbosity=0"]
    ATHERIS.Setup(arguments, lambda data: _examined(examiner, data, deadline), custom_mutator=mutate)
    ATHERIS.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
