"""Values that a plan does not vouch for, and frames that only look like those that it knows: the slow way has the say."""

import numpy as np
import pytest

from lab.corpus import CORPORA, Corpus, named, outcome
from protocols.hotpath import Decoder
from protocols.hotpath.framing import Status

CLOUDBOXX, GBT32960, TELTONIKA = (CORPORA[name] for name in ("cloudboxx", "gbt32960", "teltonika"))


def changed(frame: bytes, at: int, said: bytes) -> bytearray:
    return bytearray(frame[:at] + said + frame[at + len(said) :])


def assert_decided_as_construct_does(corpus: Corpus, path: str, parent: bytes, frames: list[bytes]) -> np.ndarray:
    decoder = Decoder(corpus.binding, path=path, trusting=True)
    assert decoder.learn(parent)
    rows = decoder.decode(frames)
    for at, frame in enumerate(frames):
        assert named(rows.outcome(at)) == outcome(corpus.binding, frame), frame.hex()
        assert (rows.status[at] == Status.VOUCHED) <= (not isinstance(outcome(corpus.binding, frame), tuple))
    return rows.status


@pytest.fixture(scope="module")
def report() -> bytes:
    return next(frame for frame in GBT32960.made(30) if Decoder(GBT32960.binding, path="numpy").learn(frame))


def test_every_day_of_the_calendar_and_those_that_it_does_not_have(path: str, report: bytes):
    years = (0, 23, 24, 99, 100, 255)
    dates = [bytes((year, month, day)) for year in years for month in (0, 1, 2, 4, 12, 13) for day in (0, 1, 28, 29, 30, 31, 32)]
    frames = [GBT32960.repaired(changed(report, 24, date)) for date in dates]
    status = assert_decided_as_construct_does(GBT32960, path, report, frames)
    holds = [not isinstance(outcome(GBT32960.binding, frame), tuple) for frame in frames]
    assert (status == Status.VOUCHED).tolist() == holds


def test_times_of_day_that_there_are_not(path: str, report: bytes):
    times = [bytes((23, 59, 59)), bytes((24, 0, 0)), bytes((0, 60, 0)), bytes((0, 0, 60))]
    frames = [GBT32960.repaired(changed(report, 27, time)) for time in times]
    assert assert_decided_as_construct_does(GBT32960, path, report, frames).astype(bool).tolist() == [False, True, True, True]


def test_ids_that_are_no_text(path: str, report: bytes):
    ids = [
        b"A" * 17,
        b"SHORT".ljust(17, b"\0"),
        bytes(17),
        b"A\0B".ljust(17, b"\0"),
        b"\x1f" + b"A" * 16,
        b"A" * 16 + b"\x7f",
        b"A" * 16 + b"\xff",
    ]
    frames = [GBT32960.repaired(changed(report, 4, identity)) for identity in ids]
    status = assert_decided_as_construct_does(GBT32960, path, report, frames).astype(bool).tolist()
    assert status == [False, False, False, True, True, True, True]


@pytest.mark.parametrize(("milliseconds", "status"), [(0, Status.VOUCHED), (999, Status.VOUCHED), (1000, Status.DOUBTFUL)])
def test_a_second_has_a_thousand_milliseconds(path: str, milliseconds: int, status: Status):
    parent = next(frame for frame in CLOUDBOXX.made(9) if len(frame) > 60)
    frame = CLOUDBOXX.repaired(changed(parent, 20, milliseconds.to_bytes(2, "little")))
    assert assert_decided_as_construct_does(CLOUDBOXX, path, parent, [frame]).tolist() == [status]


def test_a_count_that_is_not_that_of_the_records(path: str):
    for parent in TELTONIKA.made(40):
        if parent[9] > 1 and Decoder(TELTONIKA.binding, path=path).learn(parent):
            break
    frames = []
    for count in (0, 1, parent[9] - 1, parent[9] + 1, 255):
        other = changed(parent, 9, bytes([count]))
        other[-5] = count
        frames.append(TELTONIKA.repaired(other))
    second_differs = changed(parent, len(parent) - 5, bytes([parent[9] + 1]))
    frames.append(TELTONIKA.repaired(second_differs))
    assert assert_decided_as_construct_does(TELTONIKA, path, parent, frames).all()
