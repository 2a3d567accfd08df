"""A shadow run finds what a change of rules changes, and nothing else, on the bulk path as one by one."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bench.shadow
import modeldb
import teleloop
from bench.shadow import Models, Shadow, rules
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.vehicle import Vehicle
from lab import avl_records
from modeldb.model import VehicleModel
from protocols.codec import UnitId
from protocols.keys import brand_key, unit_keys
from protocols.recording import Record, block, header
from protocols.teltonika import PROTOCOL
from protocols.teltonika_session import avl

NOW = 1_795_446_000_000
REPORTS = 30
DATABASE = modeldb.load()


def model_of(brand: str, key: str = "central_lock") -> VehicleModel:
    """A model whose units can say this."""
    return next(each for each in DATABASE.available(brand) if key in each.units[brand].state_keys)


def recorded(path: Path, *units: tuple[UnitId, VehicleModel], **about: object) -> Path:
    """A recording of parked vehicles whose lock turns at every tenth report."""
    records = []
    for unit, model in units:
        keys = unit_keys(brand_key(bytes(32), unit.brand), 1, unit.telematics_unit_id)
        config = UnitConfig(unit, model.units[unit.brand], keys.seal, {1: keys.command}, intervals=Intervals(10, 10, 3600))
        vehicle = Vehicle.of(model, unit.brand, seed=5)
        firmware = switch_on(DATABASE.brands[unit.brand].protocol, config, Flash.factory(NOW), vehicle)
        for step in range(REPORTS):
            now = NOW + 10_000 * step
            if step % 10 == 9:
                vehicle.locked = not vehicle.locked
            payloads = firmware.tick(now) if step else firmware.connected(now)
            records += [Record(1000 * now, f"v1/{unit}/up", payload) for payload in payloads]
    path.write_bytes(header(about) + block(records))
    return path


def revised(path: Path, model: VehicleModel, old: str, new: str) -> Path:
    """The model's file with `old` in it replaced."""
    text = (Path(modeldb.__file__).parent / model.file).read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def ran(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `teleloop replay`."""
    said = CliRunner().invoke(teleloop.app, ["replay", *map(str, arguments)])
    return said.exit_code, said.stdout, said.stderr


UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
OTHER = UnitId("CLOUDBOXX", "FEDCBA9876543210")
GOLF = next(each for each in DATABASE.available("CLOUDBOXX") if each.file.endswith("golf-2020.toml"))
FIAT = next(each for each in DATABASE.available("CLOUDBOXX") if each.file.endswith("500-2015.toml"))
MODELS = {str(UNIT): GOLF.id, str(OTHER): FIAT.id}


def test_the_same_rules_make_no_difference(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.rec", (UNIT, GOLF), (OTHER, FIAT), models=MODELS)
    code, out, _ = ran(path, "--new-rules", Path(modeldb.__file__).parent)
    assert code == 0
    assert "2 models compared, 0 differ" in out


@pytest.mark.parametrize("bulk", [True, False])
def test_a_changed_rule_is_found_where_it_is_and_said_with_its_first_example(
    tmp_path: Path, bulk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not bulk:
        monkeypatch.setattr(bench.shadow, "BINDINGS", {})
    path = recorded(tmp_path / "a.rec", (UNIT, GOLF), (OTHER, FIAT), models=MODELS)
    changed = revised(tmp_path / "golf.toml", GOLF, '"odometer", scale = 0.1', '"odometer", scale = 0.2')
    code, out, _ = ran(path, "--new-rules", changed, "--json")
    document = json.loads(out)
    assert code == 1
    (difference,) = document["differences"]
    assert (difference["model"], difference["property"]) == ("Volkswagen Golf", "mileage_in_kilometers")
    assert difference["reports"] == document["compared"]["models"]["Volkswagen Golf"] == document["different"]
    first = difference["first"]
    assert (first["unit"], first["captured_at"]) == (str(UNIT), NOW)
    assert first["new"] == pytest.approx(2 * first["old"], abs=0.1)
    assert (difference["old_rule"], difference["new_rule"]) != ("", difference["old_rule"])
    code, out, _ = ran(path, "--old-rules", changed, "--new-rules", changed)
    assert code == 0


def test_a_rule_that_goes_and_one_that_says_other_words_are_told_apart(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.rec", (UNIT, GOLF), models=MODELS)
    text = (Path(modeldb.__file__).parent / GOLF.file).read_text()
    line = next(each for each in text.splitlines() if each.startswith("central_lock ="))
    folder = tmp_path / "rules"
    folder.mkdir()
    swapped = line.replace('"LOCKED"', '"?"').replace('"UNLOCKED"', '"LOCKED"').replace('"?"', '"UNLOCKED"')
    revised(folder / "golf.toml", GOLF, line, swapped)
    said = Shadow(rules(None), rules(folder), Models({UNIT: GOLF.id}, None, {}))
    list(said.run(_recording(path)))
    (found,) = (each for each in said.found.differences.values() if each.property == "central_lock")
    assert {found.old, found.new} == {"LOCKED", "UNLOCKED"}
    assert found.reports >= REPORTS
    revised(folder / "golf.toml", GOLF, line + "\n", "")
    said = Shadow(rules(None), rules(folder), Models({UNIT: GOLF.id}, None, {}))
    list(said.run(_recording(path)))
    (found,) = said.found.differences.values()
    assert (found.property, found.new, found.new_rule) == ("central_lock", None, "no rule")


def _recording(path: Path) -> "bench.shadow.Recording":
    return bench.shadow.Recording(path)


@pytest.mark.parametrize("brand", ["TELTONIKA", "GBT32960", "MERCEDES_BENZ"])
def test_units_of_every_brand_are_compared(tmp_path: Path, brand: str) -> None:
    ids = {"TELTONIKA": "352093081452251", "GBT32960": "LGXC14DF3P1234567", "MERCEDES_BENZ": "W1N2437011N123456"}
    unit, model = UnitId(brand, ids[brand]), DATABASE.available(brand)[0]
    path = recorded(tmp_path / "a.rec", (UNIT, GOLF), (unit, model), models=MODELS | {str(unit): model.id})
    said = Shadow(rules(None), rules(None), Models({UNIT: GOLF.id, unit: model.id}, None, {}))
    list(said.run(_recording(path)))
    assert said.found.reports[GOLF.id] >= REPORTS
    assert said.found.unreadable == 0
    assert not said.found.differences


def test_avl_records_are_compared_in_bulk_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit, model = UnitId("TELTONIKA", "352093081452251"), model_of("TELTONIKA")
    rng, path = random.Random(3), tmp_path / "a.rec"
    names = sorted({name for rule in model.units["TELTONIKA"].rules for name in rule.signals})
    records = []
    for layout in avl_records.layouts(names, REPORTS, rng) * 5:
        said = [avl_records.said(layout, NOW + len(records), rng) for _ in range(rng.randrange(1, 4))]
        records.append(Record(1000 * NOW, f"v1/{unit}/up", PROTOCOL.encode(avl(layout.codec, said))))
    path.write_bytes(header({}) + block(records))
    new = revised(tmp_path / "new.toml", model, 'map = { 0 = "UNLOCKED", 1 = "LOCKED" }', 'map = { 0 = "UNLOCKED" }')
    found = []
    for in_bulk in (True, False):
        if not in_bulk:
            monkeypatch.setattr(bench.shadow._Lanes, "of", classmethod(lambda *_: None))
        run = Shadow(rules(None), rules(new), Models({unit: model.id}, None, {}))
        list(run.run(_recording(path)))
        assert (run._lanes["TELTONIKA"] is not None) == in_bulk
        found.append(bench.shadow.as_document(run.found, DATABASE.models))
    assert found[0] == found[1]
    assert found[0]["different"] > 0


def test_a_model_is_known_by_option_or_left_out_aloud(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.rec", (UNIT, GOLF))
    code, _, err = ran(path, "--new-rules", Path(modeldb.__file__).parent, "--data", tmp_path)
    assert code == 2
    assert "say --model" in " ".join(err.split())
    code, out, _ = ran(path, "--new-rules", Path(modeldb.__file__).parent, "--data", tmp_path, "--model", GOLF.id)
    assert code == 0
    assert "of 1 models compared" in out
    code, _, err = ran(path, "--new-rules", tmp_path / "nowhere.toml", "--data", tmp_path)
    assert code == 2
    assert "nowhere.toml" in " ".join(err.split())
