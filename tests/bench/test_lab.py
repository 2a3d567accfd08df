"""A laboratory is a broker, a RabbitMQ and a gateway that work together, and nothing of it is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from bench import lab
from bench.lab import LabError, free_port, halves, laboratory, listens, process, programs
from bench.lab.halves import anywhere, apart, on
from bench.lab.turns import long_turns
from bench.meters import family

ROOT = Path(__file__).parents[2]
TWO_CORES = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 if sys.platform == "linux" else True, reason="halves need two cores"
)


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


@TWO_CORES
def test_halves_have_no_core_in_common_and_are_handed_on_to_programs_and_all_is_as_before_afterwards() -> None:
    work = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    usual = os.sched_getaffinity(0)
    with apart() as theirs:
        assert theirs is not None
        ours = os.sched_getaffinity(0)
        assert subprocess.check_output(work, text=True).strip() == str(sorted(ours))
        with on(theirs), apart() as again:  # a laboratory within one, or on its half
            assert again == theirs
        with on(theirs):
            assert subprocess.check_output(work, text=True).strip() == str(sorted(theirs))
        assert os.sched_getaffinity(0) == ours
    assert ours | set(theirs) == usual == os.sched_getaffinity(0)
    assert not ours & set(theirs)


@TWO_CORES
def test_a_program_on_its_half_may_be_let_go_anywhere_for_a_while() -> None:
    work = [sys.executable, "-c", "import threading, time; threading.Timer(60, print).start(); print(flush=True); time.sleep(60)"]
    usual = os.sched_getaffinity(0)
    with apart() as theirs, on(theirs), subprocess.Popen(work, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            tasks = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
            assert len(tasks) == 2
            with anywhere(process.pid):
                assert [os.sched_getaffinity(each) for each in (0, *tasks)] == [usual] * 3
            assert [os.sched_getaffinity(each) for each in (0, *tasks)] == [set(theirs or ())] * 3
        finally:
            process.kill()


@TWO_CORES
def test_in_a_laboratory_rabbitmq_has_cores_that_nobody_else_is_on(tmp_path: Path) -> None:
    usual = os.sched_getaffinity(0)
    with laboratory(tmp_path / "lab", "mosquitto+rabbitmq") as whole:
        on_which = {name: [os.sched_getaffinity(each) for each in family([pid])[pid]] for name, pid in whole.pids.items()}
        theirs = on_which.pop("rabbitmq")
        assert len(theirs) > 1
        assert all(each == theirs[0] for each in theirs)
        ours = [os.sched_getaffinity(0), *(each for several in on_which.values() for each in several)]
        assert all(each == usual - theirs[0] for each in ours)
    assert os.sched_getaffinity(0) == usual


def test_one_core_is_not_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_ALL", [0])
    with apart() as theirs:
        assert theirs is None


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
