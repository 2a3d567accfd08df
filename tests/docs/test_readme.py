"""The README tells the truth: its session runs against `teleloop run`, its consumer reads events, its files exist."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import Server, wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STOP_LIMIT_S = 5.0
EVENTS_LIMIT_S = 60.0


def block(name: str) -> str:
    """The code block that follows the comment `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block {name}"
    return found[1]


@pytest.fixture
def demonstration(tmp_path: Path, amqp_url: str) -> Iterator[Server]:
    """`teleloop run`, with RabbitMQ, in an empty folder."""
    settings = {"TELELOOP_AMQP_URL": amqp_url, "TELELOOP_HTTP": "127.0.0.1:0", "TELELOOP_MQTT_PORT": "0"}
    server = Server([sys.executable, "-m", "teleloop", "run"], tmp_path, settings | {"PYTHONUNBUFFERED": "1"})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def shell(command: str, folder: Path) -> str:
    """What a README command says, run as `python -m teleloop ...` in the demonstration's folder."""
    words = shlex.split(command)
    assert words[0] == "teleloop"
    done = subprocess.run([sys.executable, "-m", "teleloop", *words[1:]], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_the_two_minutes_of_a_newcomer(demonstration: Server, tmp_path: Path):
    wait_until(lambda: "VehicleStateRecorded" in demonstration.output, EVENTS_LIMIT_S, "the first event")
    assert re.search(r"API docs +http://127\.0\.0\.1:\d+/docs", demonstration.output)
    line = next(line for line in demonstration.output.splitlines() if "VehicleStateRecorded" in line)
    assert re.match(r"\d\d:\d\d:\d\d  [A-Z2-9]{5}  ", line)
    _session(tmp_path)
    _consumer(demonstration, tmp_path)
    _oneapi_client(demonstration, tmp_path)
    began = time.monotonic()
    assert demonstration.process is not None
    os.kill(demonstration.pid, signal.SIGINT)
    assert demonstration.process.wait(STOP_LIMIT_S * 2) == 0
    assert time.monotonic() - began < STOP_LIMIT_S, "Ctrl-C is to end everything within 5 s"
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == "", f"still running: {left}"


def _session(folder: Path) -> None:
    commands = [line.removeprefix("$ ") for line in block("session").splitlines() if line.startswith("$ teleloop")]
    assert [command.split()[2] for command in commands] == ["add", "list", "command"]
    vehicles = json.loads(shell("teleloop vehicles list --json", folder))["items"]
    assert len(vehicles) == 25
    assert len({vehicle["model"]["id"] for vehicle in vehicles}) >= 12
    able = [
        each
        for each in vehicles
        if each["life_status"]["value"] == "ONLINE" and "unlock-central-lock" in each["capabilities"]["commands"]
    ]
    assert re.search(r"added vehicle [A-Z2-9]{5}: Volkswagen Golf", shell(commands[0], folder))
    assert able[0]["id"] in shell(commands[1], folder)
    assert "done: unlock-central-lock" in _first_that_does(commands[2], [each["id"] for each in able], folder)


def _first_that_does(command: str, vehicle_ids: list[str], folder: Path) -> str:
    """What the command says at the first vehicle that does it: those that drive at this moment refuse."""
    for vehicle_id in vehicle_ids:
        said = subprocess.run(
            [sys.executable, "-m", *shlex.split(re.sub(r"command \w+", f"command {vehicle_id}", command))],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if said.returncode == 0:
            assert re.search(r"central_lock +UNLOCKED", said.stdout)
            return said.stdout
        assert "422" in said.stderr
        assert "ignition_on" in said.stderr or "in_motion" in said.stderr
    return ""


def _consumer(demonstration: Server, folder: Path) -> None:
    program = block("consumer").replace(
        "for method, properties, body in channel.consume", "seen = 0\nfor method, properties, body in channel.consume"
    )
    program += "    seen += 1\n    if seen == 5:\n        break\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=demonstration.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\w+ [0-9a-f-]{36} [A-Z2-9]{5}$", done.stdout, re.MULTILINE)) == 5


def _oneapi_client(demonstration: Server, folder: Path) -> None:
    """The shell session, as it stands but for the address; what it says is what the README shows, but for ids and times."""
    lines = block("oneapi").splitlines()
    found = re.search(r"http://127\.0\.0\.1:\d+", demonstration.output)
    assert found
    commands = [line.removeprefix("$ ").replace("http://127.0.0.1:8080", found[0]) for line in lines if line.startswith("$ ")]
    program = f'teleloop() {{ {shlex.quote(sys.executable)} -m teleloop "$@"; }}\n' + "\n".join(commands)
    done = subprocess.run(
        ["bash", "-eu", "-c", program], cwd=folder, env=demonstration.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown, said = [line for line in lines if not line.startswith("$ ")], done.stdout.splitlines()
    assert len(said) == len(shown)
    for expected, line in zip(shown, said, strict=True):
        assert _shape(line) == _shape(expected)


def _shape(line: str) -> str:
    """A line without what is another each time: vehicle ids, times, positions, and which event came first."""
    line = re.sub(r"'[A-Z2-9]{5}'", "ID", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    return re.sub(r"-?\d+\.\d+", "DEGREES", re.sub(r'"type":"\w+"', "EVENT", line))


def test_every_file_and_test_that_the_readme_names_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for named in re.findall(r"`(test_\w+)`", README):
        assert f"def {named}(" in code, named
    for path in re.findall(r"`((?:tests|gateway|protocols|modeldb|devices|bench)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path
