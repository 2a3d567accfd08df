"""What users name, files say and servers answer is shown as it is: no console takes it for markup or an emoji."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "teleloop.py"]
SOURCES += [
    each for name in ("protocols", "modeldb", "devices", "gateway", "bench") for each in sorted((ROOT / name).rglob("*.py"))
]


def consoles(path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Console"]


def test_there_are_consoles_to_look_at() -> None:
    assert sum(bool(consoles(path)) for path in SOURCES) > 10


@pytest.mark.parametrize("path", [path for path in SOURCES if consoles(path)], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_console_reads_markup_or_emoji_in_what_it_shows(path: Path) -> None:
    for call in consoles(path):
        off = {each.arg for each in call.keywords if isinstance(each.value, ast.Constant) and each.value.value is False}
        assert {"markup", "emoji"} <= off, f"line {call.lineno}"
