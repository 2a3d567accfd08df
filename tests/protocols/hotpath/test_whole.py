"""Frames that registers hold as a whole: of any size and sum the same as in plain C, and nothing beside them is read."""

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import crcmod
import numpy as np
import pytest

from bench.decode.frames import cloudboxx
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.framing import Framing, GuardKind, SumKind
from protocols.hotpath.kernels import native
from protocols.hotpath.plans import moves

pytestmark = pytest.mark.skipif(native is None, reason="the kernel in C was not built")
ROOT = Path(__file__).parents[3]
SIZES = (32, 47, 48, 63, 64, 65, 100, 127, 128, 129, 191, 192, 193, 255, 256, 300)
PRESENT_BYTES = 8
POLYNOMIALS = {1: 0x07, 2: 0x1021, 3: 0x864CFB, 4: 0x04C11DB7}


def framing(kind: SumKind, width: int, big: int, begin: int, reflected: int = 0) -> Framing:
    """Frames that say nothing but their sum, over all from `begin` on."""
    crc = (8 * width, POLYNOMIALS[width], 0x5A5A5A5A >> (32 - 8 * width), reflected, 0x33 if width > 1 else 0)
    summed = {"sum_from": begin, "sum_trail": width, "sum_at": width, "sum_width": width, "sum_big": big}
    return Framing(least_bytes=32, sum_kind=kind, crc=crc, **summed) if kind else Framing(least_bytes=32)


@cache
def crc_of(width: int, poly: int, init: int, reflected: int, out: int) -> Callable[[bytes], int]:
    """A CRC that is not ours."""
    return crcmod.mkCrcFun(1 << width | poly, initCrc=init ^ out, rev=bool(reflected), xorOut=out)


def summed(frame: bytearray, f: Framing) -> bytes:
    """The same with its sum."""
    if f.sum_kind == SumKind.NONE:
        return bytes(frame)
    covered = bytes(frame[f.sum_from : len(frame) - f.sum_trail])
    value = 0
    if f.sum_kind == SumKind.XOR:
        for byte in covered:
            value ^= byte
    else:
        value = crc_of(*f.crc)(covered)
    frame[len(frame) - f.sum_trail :] = value.to_bytes(f.sum_width, "big" if f.sum_big else "little")
    return bytes(frame)


FRAMINGS = [
    *(framing(SumKind.CRC, width, big, begin) for width in (1, 2, 3, 4) for big in (0, 1) for begin in (0, 2)),
    framing(SumKind.CRC, 2, 0, 0, reflected=1),
    framing(SumKind.XOR, 1, 0, 2),
    framing(SumKind.NONE, 1, 0, 0),
]


def walked(table, frames, row_size, levels=(0, 1)):
    """Rows, verdicts and plans by what each of these levels of `dispatch` uses: 0 is plain C, 1 all that the processor has."""
    found = []
    for most in levels:
        native.dispatch(most)
        rows = np.full((len(frames), row_size), 7, np.uint8)
        status, ids = np.empty(len(frames), np.uint8), np.empty(len(frames), np.int32)
        table.walk(frames, rows, status, ids, None)
        found.append((rows, status, ids))
    native.dispatch(True)
    return found


@pytest.mark.parametrize("f", FRAMINGS, ids=lambda f: f"{f.sum_kind.name}-{f.sum_width}-{f.sum_big}-{f.sum_from}-{f.crc[3]}")
@pytest.mark.parametrize("row_size", [80, 96, 144, 256])
def test_frames_of_every_size_and_sum_give_what_plain_c_gives(f, row_size):
    assert native is not None
    rng = random.Random(row_size)
    table = native.Table(row_size, PRESENT_BYTES, 64, f.packed(), np.array([0, 0xFFFF, -1], np.int64).tobytes(), b"")
    frames = []
    for number, size in enumerate(SIZES * 2):
        structure = {0, 1, *(rng.randrange(size - f.sum_trail) for _ in range(12))}
        mask = bytes(255 * (at in structure) for at in range(size))
        part = bytearray(rng.randbytes(size))
        part[:2] = size.to_bytes(2, "big")
        free = [at for at in range(size) if at not in structure]
        to_row = {at: rng.choice(free) for at in range(PRESENT_BYTES, row_size) if rng.random() < 0.6}
        constant = rng.randbytes(PRESENT_BYTES) + bytes(row_size - PRESENT_BYTES)
        table.add(number, 0, summed(part, f), mask, moves(to_row, size, constant), constant, b"", b"")
        for _ in range(6):
            frame = bytearray(byte if kept else rng.randrange(256) for byte, kept in zip(part, mask, strict=True))
            frames.append(summed(frame, f))
    right = len(frames)
    for frame in frames[:: 2 * len(SIZES) // 3]:
        harmed = bytearray(frame)
        harmed[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        frames.append(bytes(harmed))
    rng.shuffle(frames)
    found = walked(table, frames, row_size, (0, 1, 4))
    plain = found[0]
    assert (plain[1] == 0).sum() >= right
    for other in found[1:]:
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(plain, other, strict=True))


SIDE_BY_SIDE = (64, 65, 67, 68, 77, 127, 128)
GUARDS = struct.pack("<10q", GuardKind.RANGE, 20, 2, 0, 65_400, GuardKind.RANGE, 40, 1, 2, 255)
BOUND = struct.pack(
    "<5q", GuardKind.RANGE, 20, 2, 0, 65_000
)  # on two bytes that stand beside each other in a frame's first 64, too


@pytest.mark.parametrize(
    "f", [FRAMINGS[at] for at in (0, 3, 5, 6, 9, 12, 15)], ids=lambda f: f"{f.sum_width}-{f.sum_big}-{f.sum_from}"
)
@pytest.mark.parametrize(
    ("row_size", "guards", "bound"),
    [(80, b"", 0), (96, GUARDS, 0), (144, GUARDS, 0), (208, b"", 0), (256, GUARDS, 0), (144, BOUND, 44), (80, BOUND, 45)],
    ids=["80", "96-guarded", "144-guarded", "208", "256-guarded", "144-bounded", "80-bounded-oddly"],
)
def test_frames_of_one_layout_side_by_side_give_what_plain_c_gives(f, row_size, guards, bound):
    assert native is not None
    rng = random.Random(row_size)
    for number, size in enumerate(SIDE_BY_SIDE):
        structure = {0, 1, *(rng.randrange(size - f.sum_trail) for _ in range(12))} - ({bound, bound + 1} if bound else set())
        mask = bytes(255 * (at in structure) for at in range(size))
        part = bytearray(rng.randbytes(size))
        free = [at for at in range(size) if at not in structure]
        pools = free, [at for at in free if at < 64], [at for at in free if at >= size - 64]
        to_row = {at: rng.choice(pools[(at // 64 + number) % 3]) for at in range(PRESENT_BYTES, row_size)}
        to_row |= {20: bound, 21: bound + 1} if bound else {}
        constant = rng.randbytes(PRESENT_BYTES) + bytes(row_size - PRESENT_BYTES)
        table = native.Table(row_size, PRESENT_BYTES, 64, f.packed(), np.array([0, 0xFFFF, -1], np.int64).tobytes(), guards)
        table.add(number, 0, summed(part, f), mask, moves(to_row, size, constant), constant, b"", b"")
        frames = [
            summed(bytearray(byte if kept else rng.randrange(256) for byte, kept in zip(part, mask, strict=True)), f)
            for _ in range(900)
        ]
        verdicts = walked(table, frames, row_size)[0][1]
        good = [frame for frame, verdict in zip(frames, verdicts, strict=True) if not verdict][:704]
        assert len(good) == 704
        doubtful = [frame for frame, verdict in zip(frames, verdicts, strict=True) if verdict][:2]
        assert len(doubtful) == 2 * bool(guards)
        other = [*doubtful, good[0][:-1], good[0] + b"\0"]
        for at in (0, size - 64, 63, size - f.sum_width, size - 1, *rng.sample(range(size), 12)):
            harmed = bytearray(good[1])
            harmed[at] ^= 1 << rng.randrange(8)
            other.append(bytes(harmed))
        for at in sorted(structure):  # the sum holds
            harmed = bytearray(good[2])
            harmed[at] ^= 1 << rng.randrange(8)
            other.append(summed(harmed, f))
        for one in (None, *other):  # more tiles follow than are passed over after a wrong one
            several = good if one is None else [*good[: (place := rng.randrange(96))], one, *good[place:]]
            plain, ours = walked(table, several, row_size)
            assert (plain[1] == 0).sum() == len(good)
            assert all(np.array_equal(a, b) for a, b in zip(plain, ours, strict=True)), (size, one)


TILE = 32  # frames
MINGLED = (64, 68, 69, 77, 77, 77, 90, 90, 96, 111, 123, 124, 125)
SHORT = (
    44,
    47,
    48,
    49,
    56,
    60,
    61,
    63,
    64,
    65,
    67,
    77,
    124,
)  # some end before their first 64 bytes do, or with their sum among them
BRIEF = (68, 68, 69, 77, 77, 77, 80, 81, 90, 90, 95, 96, 96)  # all they have behind their first 64 bytes is in their last 32


def layouts_beginning_alike(rng, f, row_size, sizes, told_in, only_heads, bound):
    """Parts, masks and moves of layouts whose structure is the same bytes at their beginning; they differ in `told_in`."""
    structure = {0, 1, 2, *range(20, 28), *range(36, 40)}
    for number, size in enumerate(sizes * 3):
        part = bytearray(rng.randbytes(size))
        part[:2], part[2], part[20:28], part[36:40] = b"ab", 99, bytes(8), bytes(4)
        for place in told_in:
            part[place] = 1 + number * 5
        taken = structure if row_size == 80 and sizes is MINGLED else {*structure, *range(4, 8)}
        heads = [at for at in range(min(64, size - f.sum_width)) if at not in taken]
        tails = [at for at in range(max(size - 60, 0), size) if at not in taken]
        either = heads if only_heads else [*heads, *tails]
        behind = 64 if row_size % 64 in (0, 16) else min(64, row_size - 64)  # from there on bytes are written as the last 64, too
        to_row = {
            at: rng.choice(either if at < behind else tails)
            for at in range(PRESENT_BYTES, row_size)
            if at in (*range(13), 20, 21, 40) or rng.random() < 0.7
        }
        to_row |= {at: at - 4 for at in range(8, 12)} | ({20: bound, 21: bound + 1} if bound else {})
        mask = bytes(255 * (at in structure) for at in range(size))
        yield summed(part, f), mask, to_row


@pytest.mark.parametrize(
    "f", [FRAMINGS[at] for at in (0, 3, 4, 5, 6, 7, 9, 13, 14)], ids=lambda f: f"{f.sum_width}-{f.sum_big}-{f.sum_from}"
)
@pytest.mark.parametrize(
    ("row_size", "sizes", "guards", "told_in", "only_heads", "bound"),
    [
        (80, MINGLED, b"", (20,), False, 0),
        (96, MINGLED, GUARDS, (27,), True, 0),
        (144, MINGLED, GUARDS, (24,), False, 0),
        (144, MINGLED, GUARDS, (24,), True, 0),
        (208, MINGLED, b"", (36,), False, 0),
        (256, MINGLED, GUARDS, (23, 36), False, 0),
        (80, BRIEF, b"", (20,), True, 0),
        (144, BRIEF, GUARDS, (23, 36), False, 0),
        (144, BRIEF, BOUND, (24,), True, 44),
        (112, MINGLED, BOUND, (24,), False, 44),
        (160, MINGLED, BOUND, (24,), True, 45),
        (128, BRIEF, b"", (20,), True, 0),
        (80, SHORT, b"", (20,), False, 0),
        (144, SHORT, GUARDS, (23, 36), True, 0),
        (144, SHORT[:-1], BOUND, (24,), True, 40),
        (208, SHORT[:4] * 3, b"", (36,), True, 0),
    ],
    ids=[
        *("80", "96-guarded", "144-guarded", "144-heads", "208", "256-guarded", "80-brief", "144-brief-guarded"),
        *("144-brief-bounded", "112-bounded", "160-bounded-oddly", "128"),
        *("80-short", "144-short-guarded", "144-short-brief-bounded", "208-shortest"),
    ],
)
def test_frames_of_layouts_that_begin_alike_give_what_plain_c_gives(f, row_size, sizes, guards, told_in, only_heads, bound):
    assert native is not None
    rng = random.Random(row_size)
    table = native.Table(row_size, PRESENT_BYTES, 64, f.packed(), struct.pack("<qQq", 20, 2**64 - 1, -1), guards)
    good, parts, doubtful = [], [], []
    for number, (part, mask, to_row) in enumerate(layouts_beginning_alike(rng, f, row_size, sizes, told_in, only_heads, bound)):
        constant = rng.randbytes(PRESENT_BYTES) + bytes(row_size - PRESENT_BYTES)
        table.add(number, 0, part, mask, moves(to_row, len(part), constant), constant, b"", b"")
        frames = [
            summed(bytearray(byte if kept else rng.randrange(256) for byte, kept in zip(part, mask, strict=True)), f)
            for _ in range(24)
        ]
        verdicts = walked(table, frames, row_size, (0,))[0][1]
        good += [frame for frame, verdict in zip(frames, verdicts, strict=True) if not verdict]
        doubtful += [frame for frame, verdict in zip(frames, verdicts, strict=True) if verdict][:1]
        parts.append((part, mask))
    assert bool(doubtful) == bool(guards)
    good = [frame for frame in good if len(frame) <= 124]
    rng.shuffle(good)
    good = good[:608]
    assert len(good) == 608
    other = [*doubtful[:3], parts[0][0], parts[-1][0], good[0][:-1], good[0] + b"\0", b"", b"short"]
    for frame in good[1:5]:
        other.append(frame[:64] + b"!" + frame[64:])  # its ends are as they should be
        for at in {0, 2, 24, min(63, len(frame) - 3), max(len(frame) - 64, 0), len(frame) - 1, *rng.sample(range(len(frame)), 4)}:
            harmed = bytearray(frame)
            harmed[at] ^= 1 << rng.randrange(8)
            other += [bytes(harmed), summed(harmed, f)]
    for one in (None, *other):
        several = good if one is None else [*good[: (place := rng.randrange(96))], one, *good[place:]]
        ours, plain = walked(table, several, row_size, (1, 0))
        assert (plain[1] == 0).sum() >= len(good)
        assert all(np.array_equal(a, b) for a, b in zip(plain, ours, strict=True)), one
    before = max(table.used())
    _, _, ids = walked(table, good, row_size, (1,))[0]
    assert min(table.used()[number] for number in set(ids.tolist())) > before
    taken = table.by_ends()
    walked(table, good, row_size, (1,))
    if "vbmi" in native.dispatch(True) and (row_size, sizes) != (80, MINGLED):
        assert table.by_ends() - taken == len(good), "otherwise all of this is about other ways"
        several = good.copy()
        for at in (200, 400):
            several[at] = good[at][:-1] + bytes([good[at][-1] ^ 1])
        taken = table.by_ends()
        walked(table, several, row_size, (1,))
        assert table.by_ends() - taken == len(good) - 2 * TILE, "a wrong frame costs its own tile only"
    joined, offsets = b"".join(good), np.cumsum([0, *map(len, good)]).astype(np.uint32)
    rows, status, again = np.empty((len(good), row_size), np.uint8), np.empty(len(good), np.uint8), np.empty(len(good), np.int32)
    table.walk_buffer(joined, offsets, rows, status, again, None)
    assert np.array_equal(rows, walked(table, good, row_size, (0,))[0][0])
    assert np.array_equal(again, ids)
    assert not status.any()


@pytest.mark.skipif(native is None or "vbmi" not in native.dispatch(True), reason="by their ends with AVX-512 only")
def test_many_layouts_go_the_short_way_again_soon_after_unknown_frames():
    decoder, frames = Decoder(BINDINGS["cloudboxx"], path="c", trusting=True), cloudboxx(1024, 40)
    for _ in range(3):
        decoder.decode(frames)
    unknown = [frame[:2] + b"\xee" + frame[3:] for frame in frames[:32]]
    taken = decoder.table.by_ends()
    decoder.walk(unknown + frames)
    for _ in range(3):
        decoder.walk(frames)
    assert decoder.table.by_ends() - taken >= len(frames)


EDGES = """
import ctypes, mmap
import numpy as np
from lab.corpus import CORPORA
from protocols.hotpath import Decoder
PAGE = mmap.PAGESIZE
memory = mmap.mmap(-1, 5 * PAGE)
room = np.frombuffer(memory, np.uint8)
protect = ctypes.CDLL(None, use_errno=True).mprotect
for page in (0, 4):
    assert protect(ctypes.c_void_p(room.ctypes.data + page * PAGE), PAGE, 0) == 0
room = room[PAGE : 4 * PAGE]
vouched = mingled = 0
for corpus in CORPORA.values():
    decoder = Decoder(corpus.binding, path="c", trusting=True)
    frames = corpus.made(60)
    for _ in range(3):
        decoder.decode(frames)
    alone = [frames[at : at + 1] * 5 for at in range(0, 60, 3)]
    brief = sorted((frame for frame in frames if len(frame) <= 124), key=len)[:40]
    for several in (*alone, frames[:8], frames[8:16], *([brief, brief[::-1]] if len(brief) == 40 else [])):
        data = np.frombuffer(b"".join(several), np.uint8)
        offsets = np.cumsum([0, *map(len, several)]).astype(np.uint32)
        for place in (room[: len(data)], room[len(room) - len(data) :]):
            place[:] = data
            vouched += int((decoder.walk_buffer(place, offsets).status == 0).sum())
    mingled += decoder.table.by_ends()
print("done", vouched > 100, mingled)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_frames_at_the_edges_of_memory_are_read_alone():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", EDGES], env=environment, capture_output=True, text=True)
    mingled = 4 * 32 if native is not None and "vbmi" in native.dispatch(True) else 0
    assert (done.returncode, done.stdout.strip()) == (0, f"done True {mingled}"), done.stderr[-2000:]
