"""The kernel under AddressSanitizer and UndefinedBehaviorSanitizer: frames, prefixes and mutants touch nothing but themselves."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KERNEL = ROOT / "protocols" / "hotpath" / "kernel.c"

WORK = """
import importlib.util, random, sys
spec = importlib.util.spec_from_file_location("protocols.hotpath._kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
sys.modules["protocols.hotpath._kernel"] = kernel
spec.loader.exec_module(kernel)
import numpy as np
import test_kernel
from bench.decode.frames import FRAMES
from lab.corpus import CORPORA, SPEAKER
from protocols.hotpath import Decoder, kernels
assert kernels.native is kernel
LEVELS = (1, 2, 3, 4, 0)

def taught(corpus, frames, **limits):
    decoder = Decoder(corpus.binding, path="c", trusting=True, **limits)
    for _ in range(2):
        decoder.decode(frames)
    return decoder

def walked(decoder, frames):
    offsets = np.cumsum([0, *map(len, frames)]).astype(np.uint32)
    decoder.walk([bytes(bytearray(each)) for each in frames])
    decoder.walk_buffer(np.frombuffer(b"".join(frames), np.uint8).copy(), offsets)
    decoder.table.hops(np.frombuffer(b"".join(frames), np.uint8).copy(), 0, offsets.copy())
    decoder.table.hops(np.frombuffer(b"".join(frames), np.uint8).copy(), 0, offsets[:5].copy())

for name, corpus in CORPORA.items():  # what is learnt does not depend on the level
    rng = random.Random(11)
    frames = corpus.made(60) + list(corpus.vectors)
    decoder = taught(corpus, frames, plans_limit=48)
    speakers = np.full(len(frames), decoder.keyring.add(SPEAKER), np.int32)
    broken = [frame[:size] for frame in frames[:10] for size in range(len(frame))]
    broken += [corpus.mutant(rng.choice(frames[:60]), rng) for _ in range(1500)]
    many = frames[:30] * 10 + (test_kernel.packets(7, 1, 300) if corpus.binding.framing.parts else [])
    rng.shuffle(many)
    crowds = [(taught(corpus, each), each) for each in (many, FRAMES[name](192, 12) if name in FRAMES else [])]
    singles = [(taught(corpus, [frame]), [frame] * 32) for frame in frames[:6]]  # whole tiles, up to the last byte
    for most in LEVELS:
        kernel.dispatch(most)
        rows = decoder.decode(frames)
        decoder.decode(frames, speakers)
        walked(decoder, broken)
        for _ in range(2):
            for crowd, mixed in crowds:
                walked(crowd, mixed)
        for single, alike in singles:
            walked(single, alike)
        for at in range(len(rows.plans)):
            known = decoder.known[rows.plans[at]] if rows.plans[at] >= 0 else None
            if known is not None and known is rows.known[rows.plans[at]] and known.complete:
                starts = None if rows.starts is None else np.array([0, 1], np.uint32)
                decoder.build(rows.data[at:at + 1].copy(), rows.plans[at:at + 1].copy(), starts)
import test_values
for most in (1, 0):
    kernel.dispatch(most)
    for brand in test_values.FRAMES:
        test_values.Pipeline("c", brand)
    test_values.test_one_call_gives_the_same_records()
print("done")
"""


@pytest.mark.timeout(600)  # everything takes four times as long
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_no_byte_outside_is_touched(tmp_path: Path):
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("needs libasan")
    kernel = tmp_path / f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_paths()["include"]
    flags = ["-O0", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, f"-I{include}", str(KERNEL), "-o", str(kernel)], check=True)
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",  # every object has a fence of its own
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(kernel)], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "done", done.stderr[-4000:]
