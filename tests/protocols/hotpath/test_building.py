"""The other way: rows become the bytes that construct builds."""

import numpy as np
import pytest

from lab.corpus import CORPORA, KEY, SPEAKER, Corpus
from protocols.hotpath import Decoder


def test_a_row_becomes_its_frame_again(corpus: Corpus, path: str):
    frames = corpus.made(80)
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    decoder.decode(frames)
    rows = decoder.decode(frames)
    speakers = np.full(1, decoder.keyring.add(SPEAKER), np.int32) if corpus.binding.protocol.sealed else None
    built = 0
    for at, frame in enumerate(frames):
        begin, end = (at, at + 1) if rows.starts is None else rows.starts[at : at + 2].tolist()
        if rows.status[at] or not all(decoder.known[plan].complete for plan in rows.plans[begin:end].tolist()):
            continue
        starts = None if rows.starts is None else np.array([0, end - begin], np.uint32)
        assert decoder.build(rows.data[begin:end], rows.plans[begin:end], starts, speakers) == [frame]
        assert corpus.binding.protocol.encode(corpus.binding.protocol.decode(frame), KEY) == frame
        built += 1
    assert built > 20


def test_other_values_in_a_learnt_layout_are_what_construct_builds(path: str):
    corpus = CORPORA["cloudboxx"]
    protocol = corpus.binding.protocol
    frame = next(frame for frame in corpus.made(20) if len(frame) > 80)
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    decoder.decode([frame])
    row = decoder.decode([frame] * 50)
    row.lanes["sequence"] = np.arange(50)
    row.lanes["captured.milliseconds"] = np.arange(50)
    built = decoder.build(row.data, row.plans, None, np.full(50, decoder.keyring.add(SPEAKER), np.int32))
    for number, data in enumerate(built):
        said = protocol.decode(data, SPEAKER)
        assert (said.sequence, said.captured_at % 1000) == (number, number)
        assert protocol.encode(said, KEY) == data


def test_rows_of_several_records_make_one_packet(path: str):
    corpus = CORPORA["teltonika"]
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    frames = [frame for frame in corpus.made(40) if frame[8] == 0x8E]
    decoder.decode(frames)
    rows = decoder.decode(frames)
    complete = [at for at, plan in enumerate(rows.plans.tolist()) if decoder.known[plan].complete][:5]
    (packet,) = decoder.build(rows.data[complete], rows.plans[complete], np.array([0, len(complete)], np.uint32))
    said = corpus.binding.protocol.decode(packet)
    assert len(said.reports) == len(complete)
    assert corpus.binding.protocol.encode(said) == packet


def test_a_row_that_cannot_be_a_frame_is_refused(corpus: Corpus, path: str):
    decoder = Decoder(corpus.binding, path=path)
    with pytest.raises(ValueError, match="cannot be built"):
        decoder.build(corpus.binding.form.empty(1), np.array([5], np.int32), np.array([0, 1], np.uint32))
