"""docs/conformance.md says what there is."""

from pathlib import Path

from bench.conformance.pages import page
from bench.conformance.requirement import requirements

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_tables_make():
    assert (DOCS / "conformance.md").read_text() == page(), "python -m bench.conformance.pages"


def test_every_requirement_is_on_it_and_checked():
    text = page()
    assert all(f"| {each} |" in text for each in requirements())
    assert "no check" not in text
