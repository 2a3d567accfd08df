"""docs/conformance.md says what there is."""

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from bench.conformance.pages import page
from bench.conformance.requirement import requirements
from teleloop import app

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_tables_make():
    assert (DOCS / "conformance.md").read_text() == page(), "python -m bench.conformance.pages"


def test_every_requirement_is_on_it_and_checked():
    text = page()
    assert all(f"| {each} |" in text for each in requirements())
    assert "| no check |" not in text


def test_what_the_readme_shows_is_what_is_said():
    readme = (DOCS.parent / "README.md").read_text()
    found = re.search(r"<!-- conform -->\n```console\n(.*?)```", readme, re.DOTALL)
    assert found
    assert f"{len(requirements())} numbered requirements" in readme
    for each in re.split(r"^\$ ", found[1], flags=re.MULTILINE)[1:]:
        command, _, shown = each.partition("\n")
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0
        assert done.stdout.strip() == shown.strip()
