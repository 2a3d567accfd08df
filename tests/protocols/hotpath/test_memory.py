"""Decoding takes the memory that it takes at first, however many frames come."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.corpus import Corpus
from protocols.hotpath import Decoder

ROOT = Path(__file__).parents[3]
SLACK_BYTES = 8 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def grown(corpus: Corpus, path: str, frames: int) -> int:
    """By how many bytes a process that does nothing else grew: what other tests have left in this one's heap tells nothing."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "lab.memory", corpus.binding.protocol.name, path, str(frames)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_memory_is_flat(corpus: Corpus, path: str):
    assert grown(corpus, path, 60_000) < SLACK_BYTES


@pytest.mark.night
@pytest.mark.timeout(7200)
def test_memory_is_flat_over_ten_million_frames(corpus: Corpus):
    assert grown(corpus, Decoder(corpus.binding).path, 10_000_000) < SLACK_BYTES
