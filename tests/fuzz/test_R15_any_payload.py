"""R15, R16: any payload is frames or one ProtocolError each, and costs no more than its size is worth, for every protocol."""

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import fuzzing
from protocols import load
from protocols.codec import Frame, Protocol, ProtocolError

RUN = Path(__file__).with_name("run.py")
AT_ONCE = max(2, os.cpu_count() or 2)
SMOKE_S, NIGHT_S = 30, 600


def fuzzed(protocol: str, seconds: float) -> dict[str, Any]:
    """What a process of its own tried in that time."""
    command = [sys.executable, str(RUN), protocol, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 80, check=False)
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(lines[-1])
    return said


def hold(seconds: float) -> None:
    """Fuzz every protocol, as many at a time as there are processors, and look at what was found."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda protocol: fuzzed(protocol, seconds), load()))
    for said in found:
        print(json.dumps(said))
        assert said["broken"] == ""
        assert said["frames"] > 20, "nothing got past the checksum"
        assert said["tried"] > 100
        assert said["largest_bytes"] <= fuzzing.MEMORY_LIMIT_BYTES
        assert {"truncated", "bad_length"} <= set(said["reasons"])


def test_any_payload_is_frames_or_one_error_thirty_seconds_a_protocol() -> None:
    hold(SMOKE_S)


@pytest.mark.night
def test_any_payload_is_frames_or_one_error_ten_minutes_a_protocol() -> None:
    hold(NIGHT_S)


@pytest.mark.parametrize("protocol", load())
def test_every_seed_passes_the_examination(protocol: str) -> None:
    examiner = fuzzing.of(protocol)
    for frame in fuzzing.seeds(protocol)[:30]:
        examiner.examine(frame)
    assert examiner.frames > 5


class Leaky(Protocol):
    """A protocol with a bug behind its checksum."""

    def __init__(self, real: Protocol, raises: type[Exception]) -> None:
        self.name, self.real, self.raises = real.name, real, raises  # type: ignore[misc]

    def split(self, payload: bytes) -> Any:
        return self.real.split(payload)

    def decode(self, data: bytes, peer: Any = None) -> Frame:
        frame = self.real.decode(data, peer)
        if data[24:25] > b"\x40":
            raise self.raises("too much")  # type: ignore[call-arg]
        return frame

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        return self.real.encode(frame, key)


@pytest.mark.parametrize("raises", [KeyError, ValueError, RecursionError])
def test_a_bug_behind_the_checksum_is_found(raises: type[Exception]) -> None:
    real, dice = load()["gbt32960"], random.Random(5)
    examiner, frames = fuzzing.Examiner(Leaky(real, raises)), fuzzing.seeds("gbt32960")

    def fuzz() -> None:
        for _ in range(400):
            examiner.examine(fuzzing.mended("gbt32960", fuzzing.mutant(dice.choice(frames), dice, frames), dice))

    with pytest.raises(fuzzing.Broken, match=raises.__name__):
        fuzz()


def test_the_mutants_checksums_are_right() -> None:
    for name in fuzzing.MENDED:
        protocol = load()[name]
        dice, frames, refused = random.Random(7), fuzzing.seeds(name), 0
        for _ in range(200):
            try:
                protocol.decode(fuzzing.mended(name, fuzzing.mutant(dice.choice(frames), dice, frames), dice))
            except ProtocolError as error:
                refused += error.reason in ("bad_checksum", "bad_sync")
        assert refused < 120, name
