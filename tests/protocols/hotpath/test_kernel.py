"""The kernel by itself: sums, seals, and that it reads and writes nothing but what it was given."""

import gc
import hmac
import random
import resource
import threading
from pathlib import Path
from typing import Any

import crcmod
import numpy as np
import pytest

from lab.corpus import CORPORA, KEY, SPEAKER
from protocols.codec import Peer
from protocols.hotpath import Decoder, Rows
from protocols.hotpath.kernels import native
from protocols.hotpath.keyring import Keyring, sealing_path
from protocols.teltonika_session import AVL_SIZES, avl, record

in_c = pytest.mark.skipif(native is None, reason="the kernel in C was not built")
CLOUDBOXX, TELTONIKA = CORPORA["cloudboxx"], CORPORA["teltonika"]
CRCS = [
    (8, 0x07, 0x00, False, 0x00),
    (8, 0x31, 0x00, True, 0x00),
    (16, 0x1021, 0xFFFF, False, 0),
    (16, 0x8005, 0, True, 0),
    (16, 0x1021, 0x89EC, True, 0),
    (24, 0x864CFB, 0xB704CE, False, 0),
    (32, 0x04C11DB7, 0xFFFFFFFF, True, 0xFFFFFFFF),
    (32, 0x04C11DB7, 0xFFFFFFFF, False, 0),
]


@pytest.fixture(params=[1, 2, 3, 4, 0], ids=["all", "ssse3", "avx2", "vpclmulqdq", "portable"])
def dispatched(request: pytest.FixtureRequest):
    """Once with all that the processor has, with less of it, and with plain C."""
    assert native is not None
    yield native.dispatch(request.param)
    native.dispatch(True)


@in_c
@pytest.mark.parametrize("crc", CRCS, ids=lambda crc: f"{crc[0]}-{crc[1]:x}")
def test_every_crc_at_every_length_is_crcmods(crc, dispatched):
    width, poly, init, reflected, xorout = crc
    register = int(f"{init:0{width}b}"[::-1], 2) if reflected else init
    theirs = crcmod.mkCrcFun((1 << width) | poly, initCrc=register ^ xorout, rev=reflected, xorOut=xorout)
    rng = random.Random(width)
    for size in [*range(300), 1000, 4099]:
        data = rng.randbytes(size)
        assert native.crc(data, width, poly, init, reflected, xorout) == theirs(data), size


@in_c
def test_a_crc_narrower_than_a_byte():
    assert native.crc(b"123456789", 5, 0x05, 0x1F, True, 0x1F) == 0x19  # CRC-5/USB in the RevEng catalogue
    assert native.crc(b"123456789", 3, 0x3, 0x0, False, 0x7) == 0x4  # CRC-3/GSM


@in_c
def test_plain_c_gives_the_same_rows(dispatched):
    for corpus in CORPORA.values():
        frames = corpus.made(60)
        decoder = Decoder(corpus.binding, path="c", trusting=True)
        decoder.decode(frames)
        rows = decoder.decode(frames)
        assert all(rows.outcome(at) == corpus.binding.protocol.decode(frame) for at, frame in enumerate(frames[:20]))
        twin = Decoder(corpus.binding, path="numpy", trusting=True)
        twin.decode(frames)
        assert np.array_equal(twin.decode(frames).data, rows.data)


@in_c
def test_whole_tiles_of_one_layout_give_the_same_rows(dispatched):
    rng = random.Random(3)
    for corpus in CORPORA.values():
        one = corpus.made(1)[0]
        frames = [one] * 70
        frames[40] = corpus.mutant(one, rng)
        decoder, twin = (Decoder(corpus.binding, path=path, trusting=True) for path in ("c", "numpy"))
        decoder.decode(frames)
        twin.decode(frames)
        for batch in (frames, frames[:32], frames[41:]):
            ours, theirs = decoder.decode(batch), twin.decode(batch)
            assert np.array_equal(ours.data, theirs.data)
            assert np.array_equal(ours.status, theirs.status)


def packets(layouts: int, orders: int, count: int, seed: int = 6) -> list[bytes]:
    """Teltonika packets of 4 records each, of some layouts that mostly follow each other in the same order."""
    rng = random.Random(seed)
    sets = [rng.sample(sorted(AVL_SIZES), 3 + number % 5) for number in range(layouts)]

    def made(number: int, step: int) -> dict[str, Any]:
        signals: dict[str, Any] = {"latitude": rng.randrange(1 << 29), "longitude": rng.randrange(1 << 30)}
        signals |= {f"io_{each}": rng.randrange(1 << 8 * AVL_SIZES[each]) for each in sets[number * step % layouts]}
        return record(0x8E, 1_795_446_000_000 + number, signals)

    begins = [(rng.randrange(layouts), rng.randrange(1, 1 + orders)) for _ in range(count)]
    return [TELTONIKA.binding.protocol.encode(avl(0x8E, [made(at + k, step) for k in range(4)])) for at, step in begins]


@in_c
@pytest.mark.parametrize("harm", ["none", "sums", "structure", "orders", "values"])
def test_parts_of_many_layouts_give_the_rows_that_each_frame_gives_alone(harm, dispatched):
    frames = packets(7, 3 if harm == "orders" else 1, 300)
    decoder = Decoder(TELTONIKA.binding, path="c", trusting=True)
    decoder.decode(frames)
    for at in range(40, 300, 90):
        harmed = bytearray(frames[at])
        if harm == "sums":
            harmed[30] ^= 1
        elif harm == "structure":
            harmed[-7] ^= 1  # of the last record: how many elements of eight bytes, or of any size, it has
        elif harm == "values":
            harmed[10] = 0xFF  # a time after all calendars
        frames[at] = bytes(harmed) if harm == "sums" else TELTONIKA.repaired(harmed)
    alone = [decoder.walk([frame]) for frame in frames]
    offsets = np.cumsum([0, *map(len, frames)]).astype(np.uint32)
    for _ in range(3):
        for rows in (decoder.walk(frames), decoder.walk_buffer(b"".join(frames), offsets)):
            assert np.array_equal(rows.data, np.concatenate([each.data for each in alone]))
            assert np.array_equal(rows.plans, np.concatenate([each.plans for each in alone]))
            assert rows.status.tolist() == [each.status[0] for each in alone]
            assert rows.starts.tolist() == np.cumsum([0, *(len(each.data) for each in alone)]).tolist()
    assert rows.troubled == (0 if harm in ("none", "orders") else 3)


@in_c
def test_frames_of_many_layouts_give_the_rows_that_each_gives_alone(dispatched):
    rng = random.Random(4)
    for corpus in CORPORA.values():
        frames = corpus.made(60) * 6
        rng.shuffle(frames)
        frames[::17] = [corpus.mutant(frame, rng) for frame in frames[::17]]
        decoder = Decoder(corpus.binding, path="c", trusting=True)
        decoder.decode(frames)
        alone = [decoder.walk([frame]) for frame in frames]
        data = np.concatenate([rows.data for rows in alone])
        offsets = np.cumsum([0, *map(len, frames)]).astype(np.uint32)
        for _ in range(2):
            for rows in (decoder.walk(frames), decoder.walk_buffer(b"".join(frames), offsets)):
                assert np.array_equal(rows.data, data)
                assert np.array_equal(rows.plans, np.concatenate([each.plans for each in alone]))
                assert rows.status.tolist() == [each.status[0] for each in alone]
        with pytest.raises(TypeError, match="bytes"):
            decoder.walk([*frames, "no bytes"])


@in_c
def test_hundreds_of_layouts_give_the_rows_that_each_gives_alone_while_plans_come_and_go():
    corpus, rng = CORPORA["cloudboxx"], random.Random(8)
    frames = corpus.made(400) * 6
    rng.shuffle(frames)
    decoder = Decoder(corpus.binding, path="c", trusting=True)
    decoder.decode(frames[:1200])

    def alike() -> int:
        alone = [decoder.walk([frame]) for frame in frames]
        for _ in range(2):
            rows = decoder.walk(frames)
            assert np.array_equal(rows.data, np.concatenate([each.data for each in alone]))
            assert rows.status.tolist() == [each.status[0] for each in alone]
        return rows.troubled

    before = alike()
    decoder.decode(frames)
    assert alike() < before, "more layouts are known"
    known = [number for number, plan in enumerate(decoder.known) if plan is not None]
    assert len(known) > 200
    for number in known[::3]:
        decoder.table.remove(number)
    assert alike() > before


def test_rows_that_somebody_has_stay_as_they_are(path: str):
    for corpus in CORPORA.values():
        frames = corpus.made(60)
        decoder = Decoder(corpus.binding, path=path, trusting=True)
        decoder.decode(frames)
        first = decoder.decode(frames)
        before = first.data.copy()
        lanes = decoder.decode(frames[::-1]).lanes
        decoder.decode(frames[1:])
        assert np.array_equal(first.data, before)
        assert np.array_equal(lanes.view(np.uint8).reshape(len(lanes), -1), decoder.walk(frames[::-1]).data)


@in_c
def test_seals_are_openssls_at_every_length():
    assert sealing_path("c") == "c", "OpenSSL's compression function was not found"
    keyring = Keyring("c", str.encode)
    rng = random.Random(1)
    keys = [rng.randbytes(size) for size in (1, 16, 32, 63, 64)]
    for number, key in enumerate(keys):
        keyring.add(Peer(f"unit {number}", (key,)))
    for size in range(300):
        data = rng.randbytes(size)
        frames = [data + hmac.digest(key, data, "sha256")[:8] + b"xy" for key in keys]
        assert keyring.check(frames, np.arange(len(keys), dtype=np.int32), 8, 2).all()
        wrong = [frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:] for frame in frames]
        assert not keyring.check(wrong, np.arange(len(keys), dtype=np.int32), 8, 2).any()


@in_c
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="nobody says what the processor has")
def test_as_many_seals_are_checked_at_once_as_the_processor_can(dispatched):
    flags = {word for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags") for word in line.split()}
    many = 16 if "avx512" in dispatched else 2 if "sha_ni" in flags and dispatched != "portable" else 1
    assert native.seals_at_once() == many


@in_c
def test_seals_of_any_lengths_beside_each_other_are_openssls(dispatched):
    rng = random.Random(5)
    keyring, keys = Keyring("c", str.encode), [rng.randbytes(32) for _ in range(7)]
    for number, key in enumerate(keys):
        keyring.add(Peer(f"unit {number}", (key,)))
    for count in (0, 1, 2, 3, 8, 9, 15, 16, 17, 64, 501):
        speakers = np.array([rng.randrange(-1, len(keys)) for _ in range(count)], np.int32)
        frames, right = [], []
        for speaker in speakers.tolist():
            data = rng.randbytes(rng.randrange(400))
            tag = hmac.digest(keys[speaker], data, "sha256")[:8]
            right.append(speaker >= 0 and rng.random() < 0.8)
            frames.append(data + (tag if right[-1] else bytes([tag[0] ^ 1 << rng.randrange(8)]) + tag[1:]) + b"xy")
        assert keyring.check(frames, speakers, 8, 2).astype(bool).tolist() == right
        offsets, holds = np.cumsum([0, *map(len, frames)]).astype(np.uint32), np.zeros(count, np.uint8)
        which = np.where(speakers < 0, -1, keyring.first_keys(speakers)).astype(np.int32)
        native.check_seals_buffer(b"".join(frames), offsets, keyring.schedules, which, 8, 2, holds)
        assert holds.astype(bool).tolist() == right


def test_nobodys_seal_does_not_hold(path):
    keyring = Keyring(path, bytes.fromhex)
    keyring.add(Peer("0123456789ABCDEF", ()))
    frames = CLOUDBOXX.made(2)
    assert not keyring.check(frames, np.array([0, -1], np.int32), 8, 2).any()


def test_either_generation_of_keys_seals(path):
    frames = CLOUDBOXX.made(5)
    keyring = Keyring(path, bytes.fromhex)
    keyring.add(Peer(SPEAKER.unit, (bytes(32), KEY)))
    assert keyring.check(frames, np.zeros(len(frames), np.int32), 8, 2).all()


def test_what_is_no_frame_at_all(path):
    for corpus in CORPORA.values():
        decoder = Decoder(corpus.binding, path=path, trusting=True)
        frames = corpus.made(20)
        decoder.decode(frames)
        rng = random.Random(2)
        noise = [
            b"",
            b"\0",
            *(rng.randbytes(size) for size in range(120)),
            *(frame[: rng.randrange(len(frame))] for frame in frames),
        ]
        assert decoder.walk(noise).status.all()


@in_c
def test_wrong_arguments_are_refused_not_followed():
    decoder = Decoder(CLOUDBOXX.binding, path="c", trusting=True)
    frames = CLOUDBOXX.made(4)
    decoder.decode(frames)
    table, size = decoder.table, CLOUDBOXX.binding.form.size_bytes
    rows, status, ids = np.empty((4, size), np.uint8), np.empty(4, np.uint8), np.empty(4, np.int32)
    with pytest.raises(ValueError, match="too small"):
        table.walk(frames, rows[:3], status, ids, None)
    with pytest.raises(ValueError, match="too small"):
        table.walk(frames, rows, status[:3], ids, None)
    with pytest.raises(TypeError):
        table.walk([*frames[:3], "no bytes"], rows, status, ids, None)
    with pytest.raises(TypeError):
        table.walk(tuple(frames), rows, status, ids, None)
    with pytest.raises(ValueError, match="offsets"):
        table.walk_buffer(b"abc", np.array([0, 4], np.uint32), rows, status, ids, None)
    with pytest.raises(ValueError, match="offsets"):
        table.walk_buffer(b"abc", np.array([2, 1], np.uint32), rows, status, ids, None)
    with pytest.raises(ValueError, match="cannot be built"):
        table.build(rows, np.full(4, 4000, np.int32), None, None, None)
    with pytest.raises(KeyError):
        table.remove(4000)
    plan = next(plan for plan in decoder.known if plan is not None)
    outside = (500).to_bytes(2, "little") + plan.moves[2:]
    with pytest.raises(ValueError, match="reaches out"):
        table.add(0, 0, plan.part, plan.mask, outside, plan.constant, plan.lays, b"")


@in_c
def test_threads_share_the_work_on_buffers():
    frames = CLOUDBOXX.made(500)
    decoder = Decoder(CLOUDBOXX.binding, path="c", trusting=True)
    for _ in range(3):
        decoder.decode(frames)
    offsets, buffer = np.cumsum([0, *map(len, frames)]).astype(np.uint32), b"".join(frames)
    expected, found = decoder.walk(frames), list[Rows]()

    def work() -> None:
        for _ in range(50):
            found.append(decoder.walk_buffer(buffer, offsets))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(rows.data, expected.data) for rows in found)


def _kept_after(rounds: int) -> int:
    frames = CLOUDBOXX.made(1000)
    decoder = Decoder(CLOUDBOXX.binding, trusting=True, plans_limit=64)
    speakers = np.full(len(frames), decoder.keyring.add(SPEAKER), np.int32)
    for number in range(rounds + 20):
        if number == 20:
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = decoder.walk(frames)
        decoder.keyring.check(frames, speakers, 8, 2)
        decoder.learn(frames[number % len(frames)])
        if not number % 100:
            decoder.build(rows.data[:0], rows.plans[:0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def test_a_million_frames_leave_nothing_behind():
    assert _kept_after(1_000) < 4_096, "KiB more than at the start"


@pytest.mark.night
def test_ten_million_frames_leave_nothing_behind():
    assert _kept_after(10_000) < 4_096, "KiB more than at the start"
