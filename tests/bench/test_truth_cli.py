"""`teleloop truth`: a fleet process beside a gateway process, some of its vehicles on CAN buses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from typer.testing import CliRunner

import modeldb
import teleloop
from bench.lab import GatewayProcess, fleet, gateway
from bench.lab.process import wait_until
from devices.can import models
from devices.unitsfile import UnitRecord

BRANDS = {"CLOUDBOXX": "0123456789ABCDE{}", "TELTONIKA": "352093081452251", "GBT32960": "LGXC16DF4A000000{}"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway(tmp_path_factory.mktemp("truth"), {"TELELOOP_TRUST_BROKER": "true"}) as process:
        yield process


def added(process: GatewayProcess) -> list[UnitRecord]:
    """A vehicle of every protocol with an acknowledgement, and one of every model that has a DBC."""
    database, wanted = modeldb.load(), list[tuple[str, str, str]]()
    for brand, form in BRANDS.items():
        model = next(each for each in database.available(brand) if "central_lock" in each.units[brand].state_keys)
        wanted.append((brand, form.format(0), model.id))
    on_bus = [each for each in database.available("CLOUDBOXX") if each.file.removeprefix("models/")[:-5] in models()]
    wanted += [("CLOUDBOXX", f"0123456789ABCDE{place}", model.id) for place, model in enumerate(on_bus, 1)]
    names = ("telematics_brand", "telematics_unit_id", "vehicle_model_id")
    bodies = [dict(zip(names, each, strict=True)) for each in wanted]
    records = []
    answers = process.call("POST", "/vehicles", json=bodies).json()["items"]
    for place, (body, item) in enumerate(zip(bodies, answers, strict=True)):
        made = item["vehicle"]
        keys = {name: made["credentials"][name] for name in ("password", "seal_key", "command_key", "generation")}
        who = {"brand": body["telematics_brand"], "telematics_unit_id": body["telematics_unit_id"]}
        model = body["vehicle_model_id"]
        records.append(UnitRecord(vehicle_id=made["id"], vehicle_model_id=model, moving=place > 0, **who, **keys))
    return records


@pytest.fixture(scope="module")
def records(lab: GatewayProcess) -> list[UnitRecord]:
    return added(lab)


def truth(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "teleloop", "truth", "--json", *arguments],
        capture_output=True, text=True, timeout=90, check=False, cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("TELELOOP_")},
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_the_truth_of_a_fleet_in_another_process_is_compared_and_a_lie_is_found(
    lab: GatewayProcess, records: list[UnitRecord], tmp_path: Path
) -> None:
    who = ["--url", lab.url, "--token", lab.token]
    arguments = ["--control", "127.0.0.1:0", "--can", "virtual", "--driving-interval", "2"]
    with fleet(tmp_path / "fleet", records, lab.units_broker, arguments) as process:
        wait_until(lambda: "control API" in process.output, 60, "its control API")
        url = re.search(r"control API +(http://127\.0\.0\.1:\d+)", process.output)[1]  # type: ignore[index]
        assert re.search(rf"CAN +[4-7] of {len(records)} units read", process.output)
        code, said, error = truth("--fleet", url, *who, "--within", "40")
        assert (code, said["truth"]["different"], said["vehicles"]) == (0, 0, len(records)), error
        assert said["truth"]["compared"] > 8 * len(records)
        unit = records[0].unit  # which stands still
        path = f"{url}/units/{unit.brand}/{unit.telematics_unit_id}"
        httpx2.post(path + "/coverage", json={"covered": False}).raise_for_status()
        httpx2.patch(path + "/truth", json={"locked": False}).raise_for_status()
        code, said, error = truth("--fleet", url, *who, "--within", "1")
        assert code == 1, error
        lies = [each for each in said["truth"]["differences"] if each["unit"] == str(unit)]
        assert [(each["property"], each["truth"], each["gateway"]) for each in lies] == [("central_lock", "UNLOCKED", "LOCKED")]
    assert re.search(r"CAN: [1-9][\d,]* messages believed, 0 not", process.output)


def test_who_cannot_be_asked_is_named(lab: GatewayProcess) -> None:
    code, _, error = truth("--fleet", "http://127.0.0.1:1", "--url", lab.url, "--token", lab.token)
    assert (code, "control API at http://127.0.0.1:1 cannot be reached" in error) == (2, True)
    code, _, error = truth("--fleet", lab.url, "--url", lab.url, "--token", lab.token)
    assert (code, "is no control API of a fleet" in error) == (2, True)


def fleet_run(folder: Path, records: list[UnitRecord], lab: GatewayProcess, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """`teleloop fleet` for some seconds, with the truth check at its end: exit code, report, what was said to people."""
    folder.mkdir()
    fields = [{name: getattr(record, name) for name in record.__struct_fields__} for record in records]
    (folder / "units.json").write_text(json.dumps({"units": fields}))
    where = ["--units", str(folder / "units.json"), "--broker", lab.units_broker, "--url", lab.url, "--token", lab.token]
    done = CliRunner().invoke(teleloop.app, ["fleet", *where, "--report", "json", *arguments])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr.replace("\n", " ")


def test_a_fleet_ends_with_a_truth_check_whose_differences_are_exit_code_1(
    lab: GatewayProcess, records: list[UnitRecord], tmp_path: Path
) -> None:
    records = [msgspec.structs.replace(each, moving=False, vehicle_id="") for each in records]
    code, said, error = fleet_run(tmp_path / "right", records, lab, "--for", "3s")
    assert (code, said["truth"]["differences"]) == (0, []), error
    assert said["truth"]["compared"] > 8 * len(records)
    assert f"properties of {len(records)} vehicles differ" in error
    code, said, error = fleet_run(tmp_path / "wrong", records, lab, "--for", "3s", "--within", "1", "--fault", "wrong_model")
    assert code == 1, error
    assert said["truth"]["differences"]
    stranger = msgspec.structs.replace(records[0], telematics_unit_id="FEDCBA9876543210", brand="CLOUDBOXX")
    code, said, error = fleet_run(tmp_path / "stranger", [stranger], lab, "--for", "3s")
    assert (code, said) == (2, {})
    assert "has no vehicle with CLOUDBOXX/FEDCBA9876543210" in error
