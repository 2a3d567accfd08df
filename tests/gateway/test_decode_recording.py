"""`teleloop decode FILE` of a recording: message by message, with who said it and when."""

import json
from pathlib import Path

from typer.testing import CliRunner

import teleloop
from lab.units import MODEL, UNIT, frame
from protocols.recording import Record, block, header

UP = f"v1/{UNIT}/up"
AT_US = 1_795_446_000_250_000


def decoded(path: Path, data: bytes, *flags: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    path.write_bytes(data)
    said = CliRunner().invoke(teleloop.app, ["decode", str(path), *flags])
    return said.exit_code, said.stdout, said.stderr


def recording(*records: Record, **about: object) -> bytes:
    """A recording of these."""
    return header(about) + block(records)


def test_every_frame_comes_with_its_time_topic_and_state(tmp_path: Path) -> None:
    payload = frame(1, central_lock="LOCKED") + frame(2, central_lock="UNLOCKED")
    said = recording(
        Record(AT_US, f"v1/{UNIT}/presence", b"online"), Record(AT_US + 1000, UP, payload), models={str(UNIT): MODEL.id}
    )
    code, out, _ = decoded(tmp_path / "a.rec", said, "--json")
    documents = json.loads(out)
    assert code == 0
    assert [each["state"]["central_lock"] for each in documents] == ["LOCKED", "UNLOCKED"]
    assert {each["topic"] for each in documents} == {UP}
    assert documents[0]["received_at"] == "2026-11-23T15:00:00.251Z"
    code, out, _ = decoded(tmp_path / "a.rec", said)
    assert code == 0
    assert f"2026-11-23T15:00:00.250Z  v1/{UNIT}/presence  online" in out
    assert out.count("cloudboxx: state of") == 2


def test_a_bad_frame_is_exit_code_1_and_the_rest_is_shown(tmp_path: Path) -> None:
    bad = bytearray(frame(1))
    bad[30] ^= 1
    code, out, _ = decoded(tmp_path / "a.rec", recording(Record(AT_US, UP, bytes(bad)), Record(AT_US, UP, frame(2))), "--json")
    assert code == 1
    assert [each["ok"] for each in json.loads(out)] == [False, True]


def test_a_model_of_one_brand_does_not_stop_the_frames_of_another(tmp_path: Path) -> None:
    teltonika = Record(AT_US, "v1/TELTONIKA/352093081452251/up", b"\x00\x0f352093081452251")
    said = recording(teltonika, Record(AT_US, UP, frame(1, central_lock="LOCKED")))
    code, out, _ = decoded(tmp_path / "a.rec", said, "--model", MODEL.id, "--json")
    assert code == 0
    assert [each["protocol"] for each in json.loads(out)] == ["teltonika", "cloudboxx"]
    assert json.loads(out)[1]["state"] == {"central_lock": "LOCKED"}


def test_a_torn_end_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    said = recording(Record(AT_US, UP, frame(1)))
    code, out, err = decoded(tmp_path / "a.rec", said + block([Record(AT_US, UP, frame(2))])[:-1], "--json")
    assert code == 0
    assert len(json.loads(out)) == 1
    assert f"from byte {len(said)} of the recording" in err


def test_a_recording_without_frames_is_an_empty_list(tmp_path: Path) -> None:
    assert decoded(tmp_path / "a.rec", recording(), "--json")[:2] == (0, "[]\n")


def test_a_recording_of_a_later_version_is_one_sentence(tmp_path: Path) -> None:
    said = bytearray(recording())
    said[8] = 9
    code, out, err = decoded(tmp_path / "a.rec", bytes(said))
    assert (code, out) == (2, "")
    assert "unsupported" in err
