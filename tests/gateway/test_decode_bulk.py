"""`teleloop decode --bulk`: what a capture holds is what Protocol.split and Protocol.decode find in it, whatever its form."""

import base64
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.corpus import CORPORA, KEY
from protocols.codec import ProtocolError
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.bulk import STREAM_STEP_BYTES, Batch, Capture
from protocols.hotpath.kernels import Path as Kernel
from protocols.hotpath.kernels import native
from protocols.recording import Record, block, header
from teleloop import app

FRAMES = {name: corpus.made(12) for name, corpus in CORPORA.items()}
CLOUDBOXX = CORPORA["cloudboxx"]


def broken(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def decoded(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["decode", "--bulk", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout) if done.exit_code != 2 else {}


def found(protocol: Any, payloads: list[bytes]) -> tuple[Counter[str], Counter[str]]:
    """Kinds of what is good, and reasons of the rest, frame by frame."""
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for payload in payloads:
        for cut in protocol.split(payload):
            try:
                if cut.error is not None:
                    raise cut.error
                kinds[protocol.decode(cut.data).kind] += 1
            except ProtocolError as error:
                reasons[error.reason] += 1
    return kinds, reasons


def recording(path: Path) -> Path:
    topic = "v1/CLOUDBOXX/0123456789ABCDEF"
    records = [Record(at, f"{topic}/up", frame) for at, frame in enumerate(FRAMES["cloudboxx"])]
    records.append(Record(99, f"{topic}/presence", b"online"))
    path.write_bytes(header({}) + block(records))
    return path


def json_lines(path: Path) -> Path:
    said = [(f"v1/{name.upper()}/X/up", frame) for name, frames in FRAMES.items() if name != "autoapi" for frame in frames]
    lines = [
        {"topic": topic, "payload": frame.hex() if at % 2 else base64.b64encode(frame).decode()}
        for at, (topic, frame) in enumerate(said)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"topic": "other/topic", "payload": "00"}]))
    return path


def test_a_recording_is_counted(tmp_path: Path):
    code, said = decoded(str(recording(tmp_path / "a.rec")))
    kinds, _ = found(CLOUDBOXX.binding.protocol, FRAMES["cloudboxx"])
    assert code == 0
    assert said["protocols"]["cloudboxx"]["kinds"] == kinds
    assert (said["frames"], said["refused"]) == (12, 0)


def test_json_lines_of_several_protocols_are_told_apart(tmp_path: Path):
    code, said = decoded(str(json_lines(tmp_path / "a.jsonl")))
    assert (code, said["passed_over"]) == (0, 1)
    assert {name: each["frames"] for name, each in said["protocols"].items()} == dict.fromkeys(set(FRAMES) - {"autoapi"}, 12)


def test_hex_lines_tell_what_is_wrong_and_where(tmp_path: Path):
    frames = FRAMES["cloudboxx"]
    (tmp_path / "a.hex").write_text("\n".join(frame.hex(" ") for frame in [*frames, broken(frames[0]), frames[0][:9]]))
    code, said = decoded(str(tmp_path / "a.hex"))
    refused = said["protocols"]["cloudboxx"]["refused"]
    assert code == 1
    assert refused["bad_checksum"] == {"count": 1, "first": {"payload": 12, "offset": len(frames[0]) - 2}}
    assert refused["truncated"] == {"count": 1, "first": {"payload": 13, "offset": 9}}


def test_a_seal_of_another_key_is_a_forgery(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"".join(FRAMES["cloudboxx"]))
    assert decoded(str(tmp_path / "a.bin"), "--key", KEY.hex())[0] == 0
    code, said = decoded(str(tmp_path / "a.bin"), "--key", bytes(32).hex())
    assert code == 1
    assert said["protocols"]["cloudboxx"]["refused"]["forged"]["count"] == 12


@pytest.mark.parametrize("name", ["cloudboxx", "teltonika", "gbt32960"])
def test_a_stream_is_decoded_alike_however_it_is_cut_up(name: str):
    """Frames back to back, over several steps, with a broken one in each; every byte is counted once."""
    binding, frames = BINDINGS[name], FRAMES[name]
    parts = frames * (2 * STREAM_STEP_BYTES // len(b"".join(frames)))
    for at in range(5, len(parts), 200):
        parts[at] = broken(parts[at])
    stream = b"".join(parts)
    kinds, _ = found(binding.protocol, [part for at, part in enumerate(parts) if at % 200 != 5])
    for step in (len(stream), 1000):
        capture = Capture(Decoder(binding, trusting=True))
        capture.take_stream(stream[at : at + step] for at in range(0, len(stream), step))
        assert capture.tally.size_bytes == len(stream)
        assert capture.tally.kinds == kinds
        assert sum(capture.tally.refused.values()) == len(range(5, len(parts), 200))


@pytest.mark.parametrize("path", ["c", "numpy"] if native else ["numpy"])
def test_kinds_are_right_where_few_layouts_are_kept_at_a_time(path: Kernel):
    """Plans come and go under the same numbers: what kind of frame each stands for goes with it."""
    binding, rng = BINDINGS["cloudboxx"], random.Random(1)
    frames = [rng.choice(FRAMES["cloudboxx"]) for _ in range(3000)]
    kinds, _ = found(binding.protocol, frames)
    capture = Capture(Decoder(binding, path=path, trusting=True, plans_limit=3))
    assert set(kinds) == {"state", "event"}
    for begin in range(0, len(frames), 10):
        capture.take_stream([b"".join(frames[begin : begin + 10])])
    assert capture.tally.kinds == kinds


def test_most_frames_of_a_long_stream_are_never_cut_out_of_it(monkeypatch: pytest.MonkeyPatch):
    binding, frames, cut = BINDINGS["cloudboxx"], FRAMES["cloudboxx"], list[int]()
    parts = frames * (40 * STREAM_STEP_BYTES // len(b"".join(frames)))
    taken = Batch.__init__

    def counted(self: Batch, decoder: Decoder, payloads: Sequence[bytes], *more: Any) -> None:
        taken(self, decoder, payloads, *more)
        cut.append(len(self.frames))

    monkeypatch.setattr(Batch, "__init__", counted)
    capture = Capture(Decoder(binding, trusting=True))
    capture.take_stream([b"".join(parts)])
    assert capture.tally.frames == len(parts)
    assert sum(cut) < len(parts) / 10


@pytest.mark.parametrize("content", [b"", b"no hex\n", b'{"topic": 1}\n', b'{"topic": "v1/A/B/up", "payload": "?"}\n'])
def test_what_is_no_capture_is_said_in_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "a").write_bytes(content)
    done = CliRunner().invoke(app, ["decode", "--bulk", str(tmp_path / "a")])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
