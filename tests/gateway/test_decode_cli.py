"""`teleloop decode` as a person and as a script use it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import teleloop

LOCKED = "0d00200106000401000101"
UNLOCKED = "0d00200106000401000100"
LOGIN = "000f333536333037303432343431303133"
BROKEN = "000000000000002308010000019c0f11684802d61219ebec0ee62dfe5101670c0083ef0101ef010000000100006992"


def said(*arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
    return CliRunner().invoke(teleloop.app, ["decode", *arguments], input=stdin, env=environment)


def document(*arguments: str, stdin: bytes | None = None) -> Any:
    result = said(*arguments, "--json", stdin=stdin)
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "written",
    [
        LOCKED,
        LOCKED.upper(),
        f"0x{LOCKED}",
        "0d 00 20 01\n06 0004 01 0001 01\n",
        "0d:00:20:01:06:00:04:01:00:01:01",
        " 0x0d 0x00 " + LOCKED[4:],
        "{0x0d, 0x00, 0x20, 0x01, 0x06, 0x00, 0x04, 0x01, 0x00, 0x01, 0x01}",
        r'"\x0d\x00\x20\x01" "\x06\x00\x04\x01\x00\x01\x01"',
    ],
)
def test_hex_may_be_written_as_people_write_it(written: str) -> None:
    assert document(written) == document(LOCKED)


def test_a_file_is_hex_or_binary(tmp_path: Path) -> None:
    text, binary = tmp_path / "frame.txt", tmp_path / "frame.bin"
    text.write_text(f"{LOCKED}\n")
    binary.write_bytes(bytes.fromhex(LOCKED))
    assert document(str(text)) == document(str(binary)) == document(LOCKED)


def test_stdin_is_read_for_a_dash() -> None:
    assert document("-", stdin=LOCKED.encode()) == document("-", stdin=bytes.fromhex(LOCKED)) == document(LOCKED)


def test_a_payload_a_line_is_a_list_of_documents(tmp_path: Path) -> None:
    file = tmp_path / "frames.hex"
    file.write_text(f"{LOCKED}\n\n{LOGIN}\n{BROKEN}\n")
    assert [(each["protocol"], each["ok"]) for each in document(str(file))] == [
        ("autoapi", True),
        ("teltonika", True),
        ("teltonika", False),
    ]


def test_a_dump_that_was_wrapped_is_one_payload() -> None:
    good = BROKEN[:-1] + "1"
    assert document("-", stdin=f"{good[:60]}\n{good[60:]}\n".encode())["ok"]


def test_the_exit_code_tells_good_from_bad_from_nonsense(tmp_path: Path) -> None:
    assert said(LOCKED).exit_code == 0
    assert said(BROKEN).exit_code == 1
    empty = tmp_path / "empty"
    empty.touch()
    for wrong in (["zz"], ["0d0"], [""], [str(empty)], [LOCKED, "--brand", "NOBODY"], [LOCKED, "--protocol", "morse"],
                  [LOCKED, "--model", "Golf"], [LOCKED, "--key", "xy"], ["x" * 5000]):  # fmt: skip
        result = said(*wrong)
        assert (result.exit_code, result.stdout) == (2, ""), wrong
        assert result.stderr.strip(), wrong
        assert "Traceback" not in result.output


def test_people_see_offset_bytes_name_value_meaning_and_unit() -> None:
    lines = said(BROKEN[:-1] + "1").stdout.splitlines()
    line = next(line for line in lines if ".speed" in line)
    assert re.split(r"  +", line.strip()) == ["32", "00 83", "data.records.0.speed", "131", "from GNSS", "km/h"]


def test_of_a_bad_frame_the_first_lines_say_what_is_wrong() -> None:
    lines = said(BROKEN).stdout.splitlines()
    assert lines[1] == "bad_checksum at byte 43 (crc)"
    assert [line.partition(":")[0].strip() for line in lines[2:5]] == ["expected", "found", "best guess"]
    assert lines[5] == "CRC-16/ARC: expected 00006991, found 00006992"


def test_with_a_model_people_see_the_rule_behind_each_property() -> None:
    output = said(LOCKED, "--model", "EQA").stdout
    assert re.search(r"central_lock +LOCKED +doors\.locks_state=locked +doors\.locks_state: ", output)
    assert document(UNLOCKED, "--model", "EQA")["state"] == {"central_lock": "UNLOCKED"}


def test_a_pipe_gets_no_colour_and_a_terminal_does() -> None:
    assert "\x1b[" not in said(BROKEN).stdout
    assert "\x1b[" in said(BROKEN, FORCE_COLOR="1").stdout


def test_the_bytes_of_a_frame_are_never_taken_for_markup() -> None:
    text = b"[red]x[/bold]"
    frame = b"\x0d\x00\x14\x01\x03" + (len(text) + 3).to_bytes(2, "big") + b"\x01" + len(text).to_bytes(2, "big") + text
    assert text.decode() in said(frame.hex()).stdout
