"""Record a gateway's traffic and say it again: by the command line, on real brokers, as a user would."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import modeldb
import teleloop
from bench.lab import GatewayProcess, fleet, gateway, wait_until, write_units
from bench.recording import Recording
from devices.unitsfile import UnitRecord
from protocols.codec import UnitId

MODEL = next(each for each in modeldb.load().available("CLOUDBOXX") if each.file.endswith("golf-2020.toml"))
OLD = [UnitId("CLOUDBOXX", f"00000000000000{place:02X}") for place in range(3)]
NEW = [UnitId("CLOUDBOXX", f"FF000000000000{place:02X}") for place in range(3)]


def added(process: GatewayProcess, unit: UnitId) -> UnitRecord:
    """A vehicle with this unit."""
    body = {"telematics_brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_model_id": MODEL.id}
    said = process.call("POST", "/vehicles", json=body).json()
    keys = {name: said["credentials"][name] for name in ("password", "seal_key", "command_key", "generation")}
    return UnitRecord(
        vehicle_id=said["id"], brand=unit.brand, telematics_unit_id=unit.telematics_unit_id, vehicle_model_id=MODEL.id, **keys
    )


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `teleloop` with these."""
    said = CliRunner(env={"COLUMNS": "1000"}).invoke(teleloop.app, list(map(str, arguments)))
    return said.exit_code, said.stdout, said.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway(tmp_path_factory.mktemp("replay"), {"TELELOOP_TRUST_BROKER": "true"}) as process:
        yield process


@pytest.fixture(scope="module")
def recorded(lab: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of three units' traffic, recorded by a recorder that was killed in the end."""
    folder = tmp_path_factory.mktemp("recorded")
    units, path = [added(lab, unit) for unit in OLD], folder / "traffic.rec"
    write_units(lab.data / "units.json", units)
    command = [sys.executable, "-m", "teleloop", "record", str(path), "--data", str(lab.data)]
    with (folder / "recorder.log").open("wb") as log:
        recorder = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        wait_until(lambda: "recording" in (folder / "recorder.log").read_text(), 30, "the recorder")
        arguments = ["--driving-interval", "1", "--parked-interval", "1"]
        with fleet(folder / "fleet", units, lab.units_broker, arguments):
            wait_until(lambda: path.exists() and len(list(Recording(path))) > 50, 60, "50 messages")
    finally:
        recorder.send_signal(signal.SIGKILL)
        recorder.wait()
    return path


def document(said: tuple[int, str, str]) -> dict[str, Any]:
    """The JSON that it says."""
    assert said[0] in (0, 1), said
    found: dict[str, Any] = json.loads(said[1])
    return found


def test_a_killed_recorder_leaves_a_recording_of_all_channels(recorded: Path) -> None:
    recording = Recording(recorded)
    channels = {record.channel for record in recording}
    assert channels == {"up", "down", "presence"}
    assert {record.unit for record in recording} == set(OLD)
    assert recording.about["models"] == {str(unit): MODEL.id for unit in OLD}
    assert not any(secret in recorded.read_bytes() for secret in (b"teleloop-gateway", b"seal_key", b"password"))
    times = [record.at_us for record in recording]
    assert times == sorted(times)
    assert abs(times[-1] / 1e6 - time.time()) < 120


def test_what_was_recorded_can_be_said_by_other_units(lab: GatewayProcess, recorded: Path, tmp_path: Path) -> None:
    others = [added(lab, unit) for unit in NEW]
    write_units(tmp_path / "others.json", others)
    flags = ("--units", tmp_path / "others.json", "--rewrite-ids", "--speed", 0, "--data", lab.data, "--json")
    said = document(run("replay", recorded, *flags))
    ledger = said["ledger"]
    assert ledger["attempted"] == ledger["acknowledged"] == ledger["observed"] > 20
    assert (ledger["lost"], ledger["unexpected"], ledger["recovered"]) == (0, 0, 0)
    assert all(each["ok"] for each in said["objectives"])
    assert list(said) == ["ledger", "latency_ms", "rate", "truth", "generator", "objectives", "seed"]
    with lab.client() as api:
        states = [api.get(f"/vehicles/{each.vehicle_id}/latest-vehicle-state").json() for each in others]
    assert all(state["position"]["value"] for state in states)

    again = document(run("replay", recorded, *flags))
    assert again["ledger"]["acknowledged"] == ledger["attempted"]
    assert again["ledger"]["observed"] == 0

    fresh = document(run("replay", recorded, *flags, "--fresh", "--loops", 2))
    assert fresh["ledger"]["observed"] == fresh["ledger"]["attempted"] == 2 * ledger["attempted"]
    assert fresh["ledger"]["lost"] == fresh["ledger"]["duplicated"] == 0


def test_speed_is_kept(lab: GatewayProcess, recorded: Path, tmp_path: Path) -> None:
    ups = [record.at_us for record in Recording(recorded) if record.channel == "up"]
    took_s = (ups[-1] - ups[0]) / 1e6
    units = json.loads((lab.data / "units.json").read_text())
    began = time.monotonic()
    code, _, err = run("replay", recorded, "--speed", 4, "--fresh", "--data", lab.data, "--units", lab.data / "units.json")
    assert code == 0, err
    assert time.monotonic() - began >= took_s / 4
    assert len(units["units"]) == 3


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--rewrite", "CLOUDBOXX/0000000000000000=CLOUDBOXX/AAAAAAAAAAAAAAAA"], "seal_key of CLOUDBOXX/AAAAAAAAAAAAAAAA"),
        (["--rewrite", "CLOUDBOXX/0000000000000000"], "wanted as OLD=NEW"),
        (["--rewrite", "CLOUDBOXX/1234=CLOUDBOXX/0000000000000000"], "CLOUDBOXX/1234 says nothing in this recording"),
        (["--rewrite-ids"], "no further unit of CLOUDBOXX"),
        (["--only", "CLOUDBOXX"], "wanted as BRAND/ID"),
        (["--only", "CLOUDBOXX/1234"], "there is nothing to say"),
        (["--broker", "http://127.0.0.1"], "mqtt://user:secret@host:port"),
        (["--broker", "mqtt://127.0.0.1:1"], "cannot be reached"),
        (["--broker", "mqtt://nobody:wrong@{broker}"], "does not let nobody in"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(lab: GatewayProcess, recorded: Path, flags: list[str], sentence: str) -> None:
    given = [each.replace("{broker}", lab.units_broker.removeprefix("mqtt://")) for each in flags]
    code, out, err = run("replay", recorded, "--data", lab.data, *given)
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())


def test_a_unit_without_a_login_is_named(lab: GatewayProcess, recorded: Path, tmp_path: Path) -> None:
    write_units(tmp_path / "none.json", [])
    code, _, err = run("replay", recorded, "--units", tmp_path / "none.json", "--data", lab.data)
    assert code == 2
    assert f"no login for {OLD[0]}" in " ".join(err.split())
