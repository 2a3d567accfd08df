"""Logs: a line on stderr as it is now, and a line that cannot be written stops nobody's work."""

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog

from gateway.logs import configure


@pytest.fixture(autouse=True)
def _as_before():
    yield
    structlog.reset_defaults()


def test_a_line_goes_to_what_stderr_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    configure()
    before.close()
    monkeypatch.setattr(sys, "stderr", now)
    structlog.get_logger("anybody").warning("it rains", drops=3)
    said = json.loads(now.getvalue())
    assert (said["event"], said["drops"], said["level"]) == ("it rains", 3, "warning")


def test_a_stderr_that_is_closed_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    configure()
    closed.close()
    structlog.get_logger("anybody").warning("nobody reads this")


SPEAKER = f"""
import logging, structlog, sys
from {configure.__module__} import configure
configure()
sys.stdin.readline()
for _ in range(3):
    structlog.get_logger("anybody").warning("nobody reads this")
    logging.getLogger("a library").warning("nor this")
print("went on", flush=True)
"""


def test_a_reader_of_the_logs_that_has_gone_away_stops_nobody() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as speaker:
        assert speaker.stdin
        assert speaker.stdout
        assert speaker.stderr
        speaker.stderr.close()
        speaker.stdin.write("go\n")
        speaker.stdin.flush()
        assert speaker.stdout.read() == "went on\n"


def test_what_libraries_log_below_a_warning_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    configure()
    logging.getLogger("gmqtt").error("reconnecting")
    structlog.get_logger("anybody").debug("details")
    assert heard.getvalue() == ""
