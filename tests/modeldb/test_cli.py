"""`teleloop models`, as a user sees it: text, JSON and exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeldb.cli import app
from modeldb.database import FOLDER

GOLF_2020 = (FOLDER / "models" / "volkswagen" / "golf-2020.toml").read_text()
OTHER_ID = "01KFZZZZZZZZZZZZZZZZZZZZZZ"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def own_model(folder: Path, text: str) -> str:
    path = folder / "models" / "acme" / "rover.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("01KDY02100WWF65J1P3T457K26", OTHER_ID).replace('"Golf"', '"Rover"'))
    return str(folder)


def test_list_shows_every_model() -> None:
    result = run("list", "--brand", "CLOUDBOXX")
    assert result.exit_code == 0
    assert "Volkswagen Golf" in result.output
    assert "01KDY02100WWF65J1P3T457K26" in result.output
    models = json.loads(run("list", "--json").stdout)
    assert len(models) >= 14
    golf = next(model for model in models if model["id"] == "01KDVDNA00NYTZGB2ZZB679GJX")
    assert (golf["start_of_production"], golf["end_of_production"]) == ("2017-01-01", "2019-12-31")
    assert "CENTRAL_LOCK" in golf["telematics_brands"]["CLOUDBOXX"]["vehicle_state"]


def test_list_of_an_unknown_brand_is_a_usage_error() -> None:
    result = run("list", "--brand", "NOBODY")
    assert result.exit_code == 2
    assert "CLOUDBOXX" in result.stderr


def test_check_runs_every_example(tmp_path: Path) -> None:
    assert run("check").exit_code == 0
    answer = json.loads(run("check", own_model(tmp_path, GOLF_2020), "--json").stdout)
    assert answer["ok"] is True
    assert answer["problems"] == []
    assert answer["examples"] >= 2 * answer["models"] > 2 * 14


def test_check_tells_which_example_does_not_hold(tmp_path: Path) -> None:
    folder = own_model(tmp_path, GOLF_2020.replace("range_in_kilometers = 412.5", "range_in_kilometers = 412"))
    result = run("check", folder)
    assert result.exit_code == 1
    where = "models/acme/rover.toml: CLOUDBOXX.examples[0].state.remaining_range_in_kilometers"
    assert f"{where}: is 412.5, not 412" in result.stdout


def test_check_tells_of_a_command_whose_effect_nobody_sees(tmp_path: Path) -> None:
    lines = [line for line in GOLF_2020.splitlines(keepends=True) if not line.startswith("central_lock")]
    result = run("check", own_model(tmp_path, "".join(lines).replace('central_lock = "LOCKED", ', "")))
    assert result.exit_code == 1
    assert "unlock-central-lock: no rule reports central_lock" in result.stdout


def test_check_tells_where_a_file_is_wrong(tmp_path: Path) -> None:
    folder = own_model(tmp_path, GOLF_2020.replace('signal = "fuel_level", scale = 0.5', 'signal = "fuel_level", scale = 0'))
    result = run("check", folder, "--json")
    assert result.exit_code == 1
    [problem] = json.loads(result.stdout)["problems"]
    assert problem["file"] == "models/acme/rover.toml"
    assert problem["key"] == "CLOUDBOXX.state.state_of_charge_or_fuel_level_in_percent.scale"


def test_check_of_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    assert run("check", str(tmp_path / "nowhere")).exit_code == 2


def test_explain_tells_which_rule_made_what() -> None:
    signals = '{"fuel_level": 100, "can_locks": 1, "latitude": 3, "fuel_volume": 7}'
    result = run("explain", "Golf", "--year", "2020", "--signals", signals)
    assert result.exit_code == 0
    assert "fuel_level x 0.5" in result.stdout
    assert "longitude missing" in result.stdout
    assert "No rule reads fuel_volume" in result.stdout
    answer = json.loads(run("explain", "Golf", "--year", "2020", "--signals", signals, "--json").stdout)
    assert answer["state"] == {"state_of_charge_or_fuel_level_in_percent": 50.0, "central_lock": "LOCKED"}
    assert answer["unread"] == ["fuel_volume"]
    [lock] = [rule for rule in answer["rules"] if rule["property"] == "central_lock"]
    assert lock["rule"] == "can_locks.central_lock: 0 UNLOCKED, 1 LOCKED"


def test_explain_takes_an_id() -> None:
    answer = json.loads(run("explain", "01KDVDNA00NYTZGB2ZZB679GJX", "--signals", '{"fuel_volume": 250}', "--json").stdout)
    assert answer["state"] == {"state_of_charge_or_fuel_level_in_percent": 50.0}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("Golf", "--signals", "{}"), "give --year"),
        (("Trabant", "--signals", "{}"), "no model called"),
        (("unu Scooter", "--signals", "[]"), "must be a JSON object"),
        (("unu Scooter", "--signals", "{"), "is no JSON"),
        (("unu Scooter", "--brand", "NOBODY", "--signals", "{}"), "no brand"),
    ],
)
def test_explain_says_what_it_misses(arguments: tuple[str, ...], sentence: str) -> None:
    result = run("explain", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_help_has_an_example() -> None:
    for command in ("list", "check", "explain"):
        assert "Example: teleloop models" in " ".join(run(command, "--help").output.split())
