"""Who may import whom, and which modules do no I/O."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE = ["protocols", "modeldb", *(f"gateway.{name}" for name in ("uplink", "downlink", "changes", "trips"))]
PURE += ["devices.unit", "devices.vehicle"]


def sources(module: str) -> Iterator[Path]:
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        yield from path.rglob("*.py")
    elif path.with_suffix(".py").exists():
        yield path.with_suffix(".py")


def test_the_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", PURE)
def test_every_pure_module_is_in_the_contract(module: str) -> None:
    pure = next(contract for contract in CONTRACTS if contract["id"] == "pure")
    assert module in pure["source_modules"] or not list(sources(module))


@pytest.mark.parametrize("module", PURE)
def test_no_pure_module_asks_for_the_time(module: str) -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(module)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("now", "utcnow", "today")
    ]
    assert not asked
