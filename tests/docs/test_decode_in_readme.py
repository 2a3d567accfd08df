"""What the README shows of `teleloop decode` is what it says."""

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

import teleloop

README = Path(__file__).parents[2] / "README.md"


def squeezed(text: str) -> list[str]:
    """The lines without what only aligns their columns."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def test_the_frame_is_explained_as_shown() -> None:
    shown = re.search(r"<!-- decode -->\n```console\n\$ teleloop (.*?)\n(.*?)```", README.read_text(), re.DOTALL)
    assert shown
    result = CliRunner().invoke(teleloop.app, shlex.split(shown[1]))
    assert result.exit_code == 0
    assert squeezed(result.stdout) == squeezed(shown[2])
