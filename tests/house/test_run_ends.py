"""How `teleloop run` ends: with the truth check, and its word for programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import bench.truth_cli
import teleloop
from bench.account import AccountError
from bench.truth import Difference, Truth

DIFFERENT = Difference(unit="CLOUDBOXX/0123456789ABCDEF", key="central_lock", truth="LOCKED", gateway="UNLOCKED")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `teleloop run` without servers: it is stopped at once, and the truth check finds this."""

    @asynccontextmanager
    async def standing(*_: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(gateway=SimpleNamespace(settings=None), url="http://127.0.0.1:1")

    async def nothing(*_: Any) -> None:
        return None

    def end(found: Truth | Exception) -> Any:
        async def compare(*_: Any) -> tuple[Truth, int]:
            await asyncio.sleep(0)
            if isinstance(found, Exception):
                raise found
            return found, 3

        for name in ("serving", "_fleet"):
            monkeypatch.setattr(teleloop, name, standing)
        for name in ("_demo_units", "_show_events", "until_stopped"):
            monkeypatch.setattr(teleloop, name, nothing)
        monkeypatch.setattr(teleloop, "_say_where", lambda *_: None)
        monkeypatch.setattr(teleloop, "api_token", lambda _: "token")
        monkeypatch.setattr(bench.truth_cli, "compare", compare)
        return CliRunner().invoke(teleloop.app, ["run", "--vehicles", "3", "--data", str(tmp_path)])

    return end


def test_a_run_that_ends_with_a_difference_says_which_and_exits_with_1(ended: Any) -> None:
    result = ended(Truth(compared=60, differences=(DIFFERENT,)))
    assert result.exit_code == 1
    assert DIFFERENT.text in result.output
    assert "truth: 1 of 60 properties of 3 vehicles differ" in result.output


def test_a_run_that_ends_with_the_truth_exits_with_0(ended: Any) -> None:
    result = ended(Truth(compared=60))
    assert result.exit_code == 0
    assert "truth: 0 of 60 properties of 3 vehicles differ" in result.output


def test_a_run_that_cannot_be_compared_says_so(ended: Any) -> None:
    result = ended(AccountError("the gateway is gone"))
    assert result.exit_code == 0
    assert "not compared" in result.output
