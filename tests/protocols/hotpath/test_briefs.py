"""What is said of frames in short, without building them, is what the declarations say of each."""

import random
from typing import Any

from lab.corpus import Corpus
from protocols.codec import Frame
from protocols.hotpath import Decoder
from protocols.hotpath.binding import Brief

MUTANTS = 1_000


def in_short(corpus: Corpus, frame: Frame, brief: Brief) -> tuple[Any, ...]:
    """The Frame as a brief says it; signals only where the brief has them."""
    facts, protocol = frame.facts, corpus.binding.protocol
    answers = protocol.acknowledgement == "frame"
    return (
        frame.kind,
        frame.sequence,
        facts.get("oldest_sequence"),
        bool(facts.get("clock_unsynchronised")),
        [(report.record, report.captured_at) for report in frame.reports],
        protocol.answer(frame, len(frame.reports)) if answers else None,
        None if brief.signals is None else [list(report.signals.items()) for report in frame.reports],
    )


def said(brief: Brief) -> tuple[Any, ...]:
    signals = None if brief.signals is None else [list(each.items()) for each in brief.signals]
    first = brief.kind, brief.sequence, brief.oldest_sequence, brief.clock_unsynchronised
    return *first, list(brief.records), brief.answer, signals


def test_a_brief_says_what_the_frame_says(corpus: Corpus, path: str):
    rng = random.Random(5)
    frames = corpus.made(80) + list(corpus.vectors)
    decoder = Decoder(corpus.binding, path=path, trusting=True)  # type: ignore[arg-type]
    for _ in range(2):
        decoder.lessons = 512.0
        decoder.decode(frames)
    frames += [corpus.mutant(rng.choice(frames[:80]), rng) for _ in range(MUTANTS)]
    rows = decoder.decode(frames)
    briefs, compared = rows.briefs(), 0
    assert briefs is not None
    for frame, status, brief in zip(frames, rows.status.tolist(), briefs, strict=True):
        if not status and brief is not None:
            decoded = corpus.binding.protocol.decode(frame)
            assert repr(said(brief)) == repr(in_short(corpus, decoded, brief)), frame.hex()
            compared += 1
    assert compared > 60, "hardly a frame was said in short"
