"""A bench that ran in this process leaves a log that others can still write to."""

import io
import logging
import sys

import pytest
import structlog

from bench.logs import only_from


@pytest.fixture(autouse=True)
def _as_before():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_what_is_logged_goes_to_the_stderr_of_that_moment(monkeypatch: pytest.MonkeyPatch):
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger()
    monkeypatch.setattr(sys, "stderr", first)
    only_from(logging.WARNING)
    log.warning("one")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    log.info("too little")
    log.error("two")
    assert "two" in second.getvalue()
    assert "too little" not in second.getvalue()
