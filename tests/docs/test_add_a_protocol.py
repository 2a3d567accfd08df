"""docs/add-a-protocol.md is true: its files, put where it says, are a protocol that everything finds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-protocol.md"
BLOCK = re.compile(r"<!-- (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
TESTS = "tests/protocols/test_explain.py"


def blocks(kind: str) -> list[str]:
    """The code blocks behind the comment `<!-- kind -->`."""
    return [code for name, code in BLOCK.findall(PAGE.read_text()) if name == kind]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the page's files added, and nothing else changed."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("protocols", "modeldb"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "vectors", folder / "tests" / "vectors")
    for other in ("gateway", "devices", "teleloop.py"):
        (folder / other).symlink_to(ROOT / other)
    for name, code in BLOCK.findall(PAGE.read_text()):
        if "/" in name:
            assert not (folder / name).exists()
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(code)
    return folder


def ran(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TELELOOP_MODELDB": ""}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=110, check=False)


def squeezed(text: str) -> list[str]:
    """The lines without what only aligns their columns."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def test_it_decodes_encodes_explains_guesses_and_refuses_as_the_page_says(checkout: Path) -> None:
    (session,) = blocks("python")
    (checkout / "session.txt").write_text(session)
    result = ran(checkout, "-m", "doctest", "session.txt")
    assert (result.returncode, result.stdout) == (0, "")
    assert session.count(">>>") > 8


def test_the_page_adds_what_was_not_there(checkout: Path) -> None:
    question = (
        "from protocols import load; from modeldb import load as models; print('pulse' in load(), 'PULSE' in models().brands)"
    )
    assert ran(checkout, "-c", question).stdout.split() == ["True", "True"]
    assert ran(ROOT, "-c", question).stdout.split() == ["False", "False"]


@pytest.mark.parametrize("number", range(2))
def test_the_command_line_says_what_the_page_shows(checkout: Path, number: int) -> None:
    command, _, output = blocks("console")[number].partition("\n")
    result = ran(checkout, "-m", "teleloop", *command.removeprefix("$ teleloop ").split())
    assert result.stderr == ""
    assert squeezed(result.stdout) == squeezed(output)
    assert result.returncode == number  # the second frame is bad


def test_the_models_examples_hold(checkout: Path) -> None:
    result = ran(checkout, "-m", "teleloop", "models", "check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_inherits_the_tests_of_every_protocol(checkout: Path) -> None:
    (session,) = blocks("python")
    hexadecimal = re.search(r"^'((?:[0-9a-f]{2} ?)+)'$", session, re.MULTILINE)
    assert hexadecimal
    (checkout / "tests" / "vectors" / "pulse.json").write_text(f'[{{"name": "a report", "hex": "{hexadecimal[1]}"}}]')
    (checkout / "tests" / "protocols").mkdir(exist_ok=True)
    shutil.copy(ROOT / TESTS, checkout / TESTS)
    result = ran(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", TESTS, "-k", "pulse")
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(r"(\d+) passed", result.stdout)
    assert found
    assert int(found[1]) >= 8
