"""A laboratory is a broker, a RabbitMQ and a gateway that work together, and nothing of it is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from bench import lab
from bench.lab import LabError, free_port, laboratory, listens, process, programs
from bench.lab.turns import long_turns

ROOT = Path(__file__).parents[2]


def test_an_embedded_laboratory_is_ready_and_gone_afterwards(tmp_path: Path) -> None:
    usual = os.sched_getscheduler(0) if sys.platform == "linux" else None
    with laboratory(tmp_path / "lab", "embedded") as whole:
        assert httpx2.get(whole.url + "/healthz").status_code == 200
        assert whole.amqp_url is None
        port = int(whole.units_broker.rsplit(":", 1)[1])
        assert listens(port)
        if sys.platform == "linux":  # nobody here breaks in on the others whenever something arrives
            assert os.sched_getscheduler(whole.gateway.pid) == os.SCHED_BATCH
            assert os.sched_getscheduler(0) == usual
    assert not listens(port)


def test_a_free_port_is_none_that_a_connection_may_take_before_the_server_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = tmp_path / "range"
    said.write_text("20000\t60999\n")
    monkeypatch.setattr(process, "PORT_RANGE", said)
    assert all(process.LOWEST_PORT <= free_port() < 20_000 for _ in range(50))


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_BATCH is Linux's")
def test_who_takes_long_turns_hands_that_on_to_programs_it_starts_and_takes_usual_ones_afterwards() -> None:
    work = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"]
    usual = os.sched_getscheduler(0)
    with long_turns():
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
        assert subprocess.check_output(work, text=True).strip() == "True"
    assert os.sched_getscheduler(0) == usual


def test_sigterm_leaves_nothing_behind_either(tmp_path: Path) -> None:
    work = f"""
import time
from pathlib import Path
from bench.lab import laboratory
with laboratory(Path({str(tmp_path / "lab")!r}), "embedded") as whole:
    print(whole.gateway.pid, flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", work], cwd=ROOT, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        pid = int(bench.stdout.readline())
        os.kill(pid, 0)
        bench.terminate()
        assert bench.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_not_installed_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: "/nowhere")
    with pytest.raises(LabError, match="mosquitto is not installed: please install mosquitto"), lab.mosquitto(tmp_path / "m"):
        pass
    with pytest.raises(LabError, match="please install rabbitmq-server"), lab.rabbitmq(tmp_path / "r"):
        pass


def test_an_unknown_laboratory_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"mosquitto\+rabbitmq"), laboratory(tmp_path / "lab", "kafka"):
        pass
