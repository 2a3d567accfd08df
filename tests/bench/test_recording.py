"""What a recording file promises to who writes it, is killed, and comes again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.recording import Recording, RecordingError, RecordingWriter
from protocols.recording import Record, block, header

AT = 1_795_446_000_000_000


def records(count: int, start: int = 0) -> list[Record]:
    """Some traffic."""
    return [Record(AT + place, "v1/CLOUDBOXX/0123456789ABCDEF/up", b"%d" % place) for place in range(start, start + count)]


def written(path: Path, said: list[Record]) -> RecordingWriter:
    """A file with these records in it."""
    with RecordingWriter(path, {"topics": ["v1/#"]}) as writer:
        for record in said:
            writer.append(record)
    return writer


def test_a_recording_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    assert written(path, records(10)).cut_bytes == 0
    assert written(path, records(10, 10)).cut_bytes == 0
    recording = Recording(path)
    assert recording.about == {"topics": ["v1/#"]}
    assert list(recording) == list(recording) == records(20)
    assert recording.damage == []


def test_half_a_block_is_cut_off_before_the_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    written(path, records(10))
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(block(records(10, 10))[:-3])
    torn = Recording(path)
    assert list(torn) == records(10)
    assert [(error.reason, error.offset) for error in torn.damage] == [("truncated", whole)]
    assert written(path, records(5, 10)).cut_bytes == len(block(records(10, 10))) - 3
    assert list(Recording(path)) == records(15)


def test_a_killed_writer_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    program = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from bench.recording import RecordingWriter; from protocols.recording import Record\n"
        "writer = RecordingWriter(Path(sys.argv[1]), {})\n"
        f"for place in range(10): writer.append(Record({AT} + place, 'v1/CLOUDBOXX/0123456789ABCDEF/up', b'%d' % place))\n"
        "writer.flush(); writer.append(Record(0, 'lost', b'')); print('flushed', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path), *sys.path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"flushed\n"
    with pytest.raises(RecordingError, match="another process"):
        RecordingWriter(path, {})
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recording = Recording(path)
    assert list(recording) == records(10)
    assert recording.damage == []


def test_a_full_disk_leaves_whole_blocks_and_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traffic.rec"
    with RecordingWriter(path, {}) as writer:
        for record in records(10):
            writer.append(record)
        writer.flush()
        writer.append(records(1, 10)[0])

        def full(data: bytes) -> None:
            os.write(writer._file.fileno(), data[:9])
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(writer, "_write", full)
            with pytest.raises(OSError, match="No space"):
                writer.flush()
        recording = Recording(path)
        assert list(recording) == records(10)
        assert recording.damage == []
    assert list(Recording(path)) == records(11)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"hello, world, this is no recording", "is no recording"),
        (b"", "ends within its header"),
        (header({})[:8] + b"\x07" + header({})[9:], "a recording of version 7, this teleloop reads version 1"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_and_left_alone(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=sentence):
        Recording(path)
    if data:
        with pytest.raises(RecordingError, match=sentence):
            RecordingWriter(path, {})
        assert path.read_bytes() == data


def test_a_file_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        RecordingWriter(tmp_path / "nowhere" / "file", {})
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "file")
