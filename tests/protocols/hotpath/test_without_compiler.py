"""Where no compiler is, `pip install` gives a teleloop that works, and says which path it takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORK = """
from lab.corpus import CORPORA, outcome
from protocols.hotpath import Decoder, decoding_path, kernels, path_in_use
assert kernels.native is None
corpus = CORPORA["cloudboxx"]
frames = corpus.made(20)
rows = Decoder(corpus.binding, trusting=True).decode(frames)
assert [rows.outcome(at) for at in range(20)] == [outcome(corpus.binding, frame) for frame in frames]
print(path_in_use, decoding_path())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, installed with a compiler that always fails."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("protocols", "modeldb", "devices", "gateway", "bench"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "teleloop.py"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(command, env=os.environ | {"CC": "false"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return target


@pytest.mark.timeout(400)
def test_it_installs_and_decodes_in_numpy(installed: Path, tmp_path: Path):
    assert not list(installed.glob("protocols/hotpath/_kernel*.so"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "numpy in numpy (the kernel in C was not built)", done.stderr[-2000:]
