"""Logs go to what stderr is when they are written."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from gateway.logs import configure


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_stderr_that_is_closed_later_stops_nobody(monkeypatch: pytest.MonkeyPatch):
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger(__name__)
    monkeypatch.setattr(sys, "stderr", first)
    configure(logging.INFO)
    log.info("one")
    assert "one" in first.getvalue()
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    log.info("two")
    assert "two" in second.getvalue()
