"""Fleet and gateway in one process under virtual time: repeatable to the byte, and judged by the truth."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from bench.scenario import run
from bench.week import live, week
from devices.clock import VirtualClock, running_on
from devices.scenario import parse_scenario


def rigs_in_processes(*each_its_arguments: tuple[str, str]) -> list[dict[str, object]]:
    """`python -m bench.rig`, once for each hash seed and seed, at once; all of their documents but how long they took."""
    processes = []
    for hash_seed, seed in each_its_arguments:
        command = [
            sys.executable,
            "-m",
            "bench.rig",
            "--json",
            "--vehicles",
            "3",
            "--together",
            "2",
            "--days",
            "0.1",
            "--seed",
            seed,
        ]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    documents = []
    for process in processes:
        said: dict[str, object] = json.loads(process.communicate()[0])
        said.pop("wall_s")
        documents.append(said)
    return documents


@pytest.mark.timeout(600)
def test_the_same_seed_gives_the_same_bytes_in_two_processes_and_another_seed_gives_others():
    one, again, other = rigs_in_processes(("1", "7"), ("2", "7"), ("1", "8"))
    assert one == again
    assert other["digest"] != one["digest"]
    assert one["different"] == other["different"] == one["waiting"] == 0
    assert one["archived"] == one["purged"] == 3
    assert int(str(one["events"])) > 20


@pytest.mark.night
def test_a_week_of_two_hundred_vehicles_is_true_in_the_end():
    lived = week(200, 7, 1)
    assert (lived.different, lived.waiting, lived.archived, lived.purged) == (0, 0, 200, 200)
    assert lived.trips > 2_000
    assert lived.frames > 100_000


@pytest.mark.timeout(600)
def test_a_day_of_twenty_vehicles_comes_out_the_same_twice():
    def day():
        clock = VirtualClock()
        with running_on(clock) as runner:
            lived = runner.run(live(clock, 20, 1, 3))
        assert clock.passed_s > 91 * 86_400
        return lived

    one = day()
    assert one.same_as(day())
    assert (one.different, one.waiting, one.archived, one.purged) == (0, 0, 20, 20)
    assert one.trips > 20
    assert one.frames > 1_000


STANDING = """
vehicle = { name = "car", brand = "CLOUDBOXX", model = "Golf" }
steps = [{ wait = "10s" }, { fob = "unlock" }, { drive = "500 m" }, { park = true }, { wait = "65s" }]
expect = [{ lost = 0 }]
"""


def test_the_truth_check_fails_where_the_gateway_has_it_otherwise():
    right = run(parse_scenario(STANDING))
    assert right.ok
    assert right.truth.compared > 20
    wrong = run(parse_scenario(STANDING.replace('model = "Golf"', 'model = "Golf", faults = ["frozen_gnss"]')))
    assert not wrong.ok
    assert "position" in [each.key for each in wrong.truth.differences]
    assert "position is {" in wrong.text


async def test_virtual_time_needs_its_own_loop_and_leaves_others_alone():
    began = asyncio.get_running_loop().time()
    outcome = await asyncio.to_thread(run, parse_scenario(STANDING))
    assert outcome.ok
    assert asyncio.get_running_loop().time() - began < 60
