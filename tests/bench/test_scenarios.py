"""Scenarios run: what is shipped holds, what is not as expected says so, on the command line and from Python."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.lab import laboratory
from bench.scenario import ScenarioUnable, Servers, fastest, run
from bench.scenario_cli import app, servers_of
from devices.scenario import load, parse_scenario, shipped

LONG = {"rental-day", "reconnect-storm", "three-days-backlog"}


@pytest.mark.parametrize("name", sorted(set(shipped()) - LONG))
def test_every_shipped_scenario_holds_in_virtual_time(name: str):
    outcome = run(load(shipped()[name]))
    assert outcome.ok, outcome.text
    assert outcome.counts.attempted > 0


@pytest.mark.night
@pytest.mark.parametrize("name", sorted(LONG))
def test_every_long_scenario_holds_in_virtual_time(name: str):
    outcome = run(load(shipped()[name]))
    assert outcome.ok, outcome.text


def test_a_scenario_comes_out_the_same_twice_and_otherwise_with_another_seed():
    gap = load(shipped()["gap"])
    one, again, other = run(gap), run(gap), run(gap, seed=5)
    assert one.digest == again.digest != other.digest
    assert one.checks == again.checks


def test_what_is_not_as_expected_says_what_was_seen_and_when(tmp_path: Path):
    file = tmp_path / "wrong.toml"
    text = shipped()["ignition-on-lock"].read_text()
    file.write_text(
        text.replace('reason = "ignition_on"', 'reason = "door_open"').replace("{ executed = 3 }", "{ executed = 4 }")
    )
    done = CliRunner().invoke(app, [str(file), "--json"])
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    failed = [each for each in document["objectives"] if not each["ok"]]
    assert [(each["line"], each["value"]) for each in failed] == [(7, "422 ignition_on"), (14, "3")]
    assert failed[0]["at_s"] is not None
    assert set(document) >= {"ledger", "latency_ms", "rate", "truth", "generator", "objectives", "seed"}
    assert "line 7: command lock-central-lock at" in done.stderr


def test_what_never_happens_is_waited_for_no_longer_than_said_and_is_not_as_expected():
    text = shipped()["triggers"].read_text().replace('driven = "1 km"', 'driven = "9 km", within = "5m"')
    outcome = run(parse_scenario(text))
    assert next((each.line, each.seen) for each in outcome.checks if not each.ok) == (5, "not within 300 s")


def test_a_file_that_is_wrong_is_a_setup_error_with_its_line(tmp_path: Path):
    file = tmp_path / "bad.toml"
    file.write_text('vehicle = { model = "Golf" }\nsteps = [{ fly = true }]\nexpect = [{ trips = 0 }]\n')
    done = CliRunner().invoke(app, [str(file)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "bad.toml:2: nothing is called 'fly'" in done.stderr.replace("\n", "")
    assert CliRunner().invoke(app, ["gap", "--time", "fast"]).exit_code == 2
    assert CliRunner().invoke(app, ["gap", "--lab", "embedded", "--time", "virtual"]).exit_code == 2
    assert CliRunner().invoke(app, ["no-such-file"]).exit_code == 2


def test_the_shipped_ones_are_listed():
    done = CliRunner().invoke(app, ["--list", "--json"])
    assert {each["name"] for each in json.loads(done.stdout)} == set(shipped())


SPOILT = """
title = "a spoilt line, for real"
vehicle = { model = "Golf", faults = ["bad_crc:1", "noise:1"] }
settle = "60s"
steps = [
  { fob = "unlock" }, { wait = 2 }, { cure = "bad_crc" }, { cure = "noise" }, { wait = 10 },
  { fault = "duplicate:1" }, { fob = "lock" }, { wait = 2 },
  { fault = "noise:0.5" }, { fault = "duplicate:0.5" },
  { fob = "unlock" }, { wait = 2 }, { command = "request-vehicle-state", timeout = 25 }, { fob = "lock" }, { wait = 2 },
  { cut = 5 }, { wait = 1 }, { fob = "unlock" }, { wait = 5 }, { fob = "lock" },
]
expect = [
  { refused = "bad_checksum" }, { refused = "bad_sync" }, { repeated = true },
  { state = { central_lock = "LOCKED" } }, { gap = "late and in order" },
]
"""


@pytest.mark.timeout(300)
def test_faults_and_a_gap_are_dealt_with_by_a_real_broker_and_gateway_too(tmp_path: Path):
    with laboratory(tmp_path / "lab", "mosquitto") as lab:
        outcome = run(parse_scenario(SPOILT), against=servers_of(lab), pace="real")
    assert outcome.ok, outcome.text


@pytest.mark.night
@pytest.mark.timeout(5_400)
def test_every_shipped_scenario_holds_against_mosquitto_and_rabbitmq_as_fast_as_it_can_be(tmp_path: Path):
    not_so = {}
    with laboratory(tmp_path / "lab", "mosquitto+rabbitmq") as lab:
        for name, path in shipped().items():
            scenario = load(path)
            outcome = run(scenario, against=servers_of(lab), pace=fastest(scenario))
            if not outcome.ok:
                not_so[name] = outcome.text
    assert not not_so


def test_a_scenario_says_how_fast_it_can_be_with_real_servers_and_is_not_run_faster():
    paces = {name: fastest(load(path)) for name, path in shipped().items()}
    assert (paces["gap"], paces["dead-rtc"], paces["three-days-backlog"]) == ("x5.00", "real", "x5")
    nowhere = Servers("http://127.0.0.1:9", "token", "mqtt://127.0.0.1:9")
    for name, pace in (("dead-rtc", "x2"), ("cloned-unit", "x5")):
        with pytest.raises(ScenarioUnable, match="real"):
            run(load(shipped()[name]), against=nowhere, pace=pace)


def test_what_a_unit_without_a_journal_said_was_attempted_and_is_not_unexpected():
    text = shipped()["triggers"].read_text().replace('model = "Golf"', 'brand = "MERCEDES_BENZ"')
    outcome = run(parse_scenario(text.replace('{ gap = "late and in order" },', "")))
    assert outcome.counts.unexpected == 0
    assert outcome.counts.recovered == outcome.counts.observed > 10
