"""construct == numpy == C: the same values, the same verdicts, the same reasons, whatever arrives."""

import os
import random

import numpy as np
import pytest

from lab.corpus import PATHS, SPEAKER, Corpus, named, outcome
from protocols.hotpath import Decoder, Rows
from protocols.hotpath.framing import Status

MUTANTS_BY_DAY, MUTANTS_BY_NIGHT = int(os.environ.get("TELELOOP_TEST_MUTANTS", 100_000)), 1_000_000
COMPARED = {"autoapi": 20}
"""Of so many mutants that were vouched for, one is decoded by the declarations, too: without a checksum most of them are, and
construct takes milliseconds for each. The rows of all are compared."""
BATCH = 2_500


def learnt(corpus: Corpus, path: str, frames: list[bytes]) -> Decoder:
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    while frames and decoder.lessons:
        before = sum(plan is not None for plan in decoder.known)
        decoder.decode(frames)
        if sum(plan is not None for plan in decoder.known) == before:
            break
        decoder.lessons = 512.0
    return decoder


def assert_says_what_construct_says(rows: Rows, corpus: Corpus) -> None:
    for at, frame in enumerate(rows.frames):
        assert named(rows.outcome(at)) == outcome(corpus.binding, frame), frame.hex()


def assert_same_rows(these: Rows, those: Rows) -> None:
    assert these.status.tolist() == those.status.tolist()
    assert np.array_equal(these.data, those.data)
    if these.starts is not None:
        assert np.array_equal(these.starts, those.starts)


def test_vectors_of_our_own_and_of_outsiders(corpus: Corpus, path: str):
    frames = list(corpus.vectors)
    rows = learnt(corpus, path, frames).decode(frames)
    assert (rows.status == Status.VOUCHED).any(), "nothing went the fast way"
    assert_says_what_construct_says(rows, corpus)


def test_frames_of_many_layouts(corpus: Corpus, path: str):
    frames = corpus.made(300)
    rows = learnt(corpus, path, frames).decode(frames)
    assert np.count_nonzero(rows.status == Status.VOUCHED) > 200
    assert_says_what_construct_says(rows, corpus)


def test_a_row_says_the_values_that_construct_reads(corpus: Corpus, path: str):
    frames = corpus.made(100)
    decoder = learnt(corpus, path, frames)
    rows = decoder.decode(frames)
    for row, owner in zip(rows.data, rows.owners.tolist(), strict=True):
        if rows.status[owner]:
            continue
        said = corpus.binding.form.values(row)
        reports = [report.signals for report in corpus.binding.protocol.decode(frames[owner]).reports]
        shared = [{name: signals[name] for name in said if name in signals} for signals in reports]
        assert any(all(said[name] == value for name, value in signals.items()) and signals for signals in shared) or not any(
            shared
        )


def test_rows_are_captured_when_their_reports_are(corpus: Corpus, path: str):
    frames = corpus.made(100)
    rows = learnt(corpus, path, frames).decode(frames)
    expected = [
        report.captured_at
        for at, frame in enumerate(frames)
        if not rows.status[at]
        for report in corpus.binding.protocol.decode(frame).reports
    ]
    times = rows.times if rows.starts is not None else rows.times[rows.status == Status.VOUCHED]
    assert times.tolist() == expected


def test_every_prefix_is_refused_as_construct_refuses_it(corpus: Corpus, path: str):
    frames = corpus.made(6)
    prefixes = [frame[:size] for frame in frames for size in range(len(frame))]
    rows = learnt(corpus, path, frames).decode(prefixes)
    if corpus.binding.protocol.name != "autoapi":  # whose messages end where their last property does
        assert rows.status.all()
    assert_says_what_construct_says(rows, corpus)


def _assert_mutants_agree(corpus: Corpus, count: int) -> None:
    """What is not vouched for is decoded by the declarations themselves: only what is must be compared."""
    rng = random.Random(count)
    parents = corpus.made(200, seed=7) + [frame for frame in corpus.vectors if len(frame) > 40]
    decoders = [learnt(corpus, path, parents) for path in PATHS]
    vouched = 0
    for _ in range(count // BATCH):
        mutants = [corpus.mutant(rng.choice(parents), rng) for _ in range(BATCH)]
        rows = [decoder.walk(mutants) for decoder in decoders]
        for other in rows[1:]:
            assert_same_rows(rows[0], other)
        for at in np.flatnonzero(rows[0].status == Status.VOUCHED).tolist():
            vouched += 1
            if vouched % COMPARED.get(corpus.binding.protocol.name, 1) == 0:
                assert named(decoders[0].frame(rows[0], at)) == outcome(corpus.binding, mutants[at]), mutants[at].hex()
    assert vouched > count // 50, "hardly a mutant came as far as the values"


@pytest.mark.timeout(300)
def test_100_000_mutants(corpus: Corpus):
    _assert_mutants_agree(corpus, MUTANTS_BY_DAY)


@pytest.mark.night
@pytest.mark.timeout(3600)
def test_1_000_000_mutants(corpus: Corpus):
    _assert_mutants_agree(corpus, MUTANTS_BY_NIGHT)


def test_mutants_are_refused_for_the_same_reasons(corpus: Corpus, path: str):
    rng = random.Random(3)
    parents = corpus.made(40)
    mutants = [corpus.mutant(rng.choice(parents), rng) for _ in range(400)]
    assert_says_what_construct_says(learnt(corpus, path, parents).decode(mutants), corpus)


def test_a_buffer_of_frames_gives_the_same_rows(corpus: Corpus, path: str):
    frames = [*corpus.made(50), b"", b"\0" * 40, *corpus.vectors]
    decoder = learnt(corpus, path, frames)
    offsets = np.cumsum([0, *map(len, frames)]).astype(np.uint32)
    assert_same_rows(decoder.walk(frames), decoder.walk_buffer(b"".join(frames), offsets))


def test_the_gateways_own_view_with_a_speaker(corpus: Corpus, path: str):
    frames = corpus.made(30) + list(corpus.vectors[:20])
    decoder = Decoder(corpus.binding, path=path)
    for _ in range(2):
        rows = decoder.decode(frames, np.full(len(frames), decoder.keyring.add(SPEAKER), np.int32))
    for at, frame in enumerate(frames):
        assert named(rows.outcome(at)) == outcome(corpus.binding, frame, SPEAKER)
