"""The command line against a running gateway, as a person uses it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import teleloop
from lab.gateway import GatewayProcess, gateway

UNIT = "0123456789ABCDEF"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def said(process: GatewayProcess, *arguments: str, **environment: str) -> Result:
    """What `teleloop` says to these arguments beside the gateway's data folder."""
    return CliRunner().invoke(teleloop.app, arguments, env={"TELELOOP_DATA": str(process.data), "COLUMNS": "200", **environment})


def document(result: Result) -> Any:
    """The one JSON document on stdout."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_vehicle_is_added_listed_shown_archived_and_restored(process: GatewayProcess) -> None:
    added = said(process, "vehicles", "add", "--brand", "CLOUDBOXX", "--unit", UNIT, "--model", "Golf", "--year", "2021")
    assert added.exit_code == 0, added.output
    assert "password" in added.stdout
    [listed] = document(said(process, "vehicles", "list", "--json"))["items"]
    assert listed["telematics_unit"]["id"] == UNIT
    vehicle_id = listed["id"]
    assert vehicle_id in said(process, "vehicles", "list").stdout
    shown = document(said(process, "vehicles", "show", vehicle_id, "--json"))
    assert shown["latest_vehicle_state"] == {}
    assert said(process, "vehicles", "archive", vehicle_id).exit_code == 0
    assert document(said(process, "vehicles", "list", "--json"))["items"] == []
    assert document(said(process, "vehicles", "list", "--archived", "--json"))["items"][0]["status"] == "ARCHIVED"
    assert document(said(process, "vehicles", "restore", vehicle_id, "--json"))["status"] == "ACTIVE"


def test_a_command_to_a_unit_that_is_offline_fails_with_the_reason(process: GatewayProcess) -> None:
    added = document(
        said(
            process, "vehicles", "add", "--brand", "CLOUDBOXX", "--unit", "F" * 16, "--model", "Golf", "--year", "2018", "--json"
        )
    )
    result = said(process, "vehicles", "command", added["id"], "unlock-central-lock", "--timeout", "1")
    assert result.exit_code == 1
    assert "offline" in result.stderr
    assert result.stdout == ""


def test_what_the_gateway_refuses_is_said_in_words(process: GatewayProcess) -> None:
    ambiguous = said(process, "vehicles", "add", "--brand", "CLOUDBOXX", "--unit", "A" * 16, "--model", "Golf")
    assert ambiguous.exit_code == 1
    assert "2 vehicle models are called Golf" in ambiguous.stderr
    assert "2020-01-01" in ambiguous.stderr
    assert said(process, "vehicles", "show", "AAAAA").exit_code == 1
    assert said(process, "vehicles", "show", "AAAAA", TELELOOP_TOKEN="wrong", TELELOOP_URL=process.url).exit_code == 1


def test_no_gateway_is_one_clear_sentence(process: GatewayProcess, tmp_path: Path) -> None:
    nowhere = said(process, "vehicles", "list", TELELOOP_DATA=str(tmp_path))
    assert nowhere.exit_code == 2
    assert "No gateway runs here" in nowhere.stderr
    silent = said(process, "vehicles", "list", TELELOOP_URL="http://127.0.0.1:9", TELELOOP_TOKEN="t")
    assert silent.exit_code == 2
    assert "cannot be reached" in silent.stderr
    for result in (nowhere, silent):
        assert "Traceback" not in result.output


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "teleloop.sqlite").write_bytes(b"this is no database" * 1000)
    environment = {"TELELOOP_DATA": str(tmp_path), "TELELOOP_HTTP": "127.0.0.1:0", "TELELOOP_MQTT_PORT": "0"}
    damaged = CliRunner().invoke(teleloop.app, ["gateway"], env=environment)
    assert damaged.exit_code == 2
    assert "not a database" in damaged.stderr
    assert "Traceback" not in damaged.output
    wrong = CliRunner().invoke(teleloop.app, ["gateway", "--http", "8080"], env=environment)
    assert wrong.exit_code == 2
    assert "host:port is wanted" in wrong.stderr


@pytest.mark.parametrize("command", ["add", "list", "show", "archive", "restore", "command"])
def test_every_command_has_an_example(command: str) -> None:
    shown = CliRunner().invoke(teleloop.app, ["vehicles", command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: teleloop vehicles {command}" in " ".join(shown.stdout.split())


def test_a_client_is_added_listed_rotated_and_removed(process: GatewayProcess) -> None:
    added = document(said(process, "clients", "add", "shop", "--scope", "vehicles.ro", "--json"))
    assert added["scopes"] == ["vehicles.ro"]
    assert added["secret"]
    listed = document(said(process, "clients", "list", "--json"))["items"]
    assert [each["name"] for each in listed] == ["first admin", "shop"]
    assert added["secret"] not in json.dumps(listed)
    assert added["id"] in said(process, "clients", "list").stdout
    rotated = said(process, "clients", "rotate", added["id"])
    assert "secret" in rotated.stdout
    assert added["secret"] not in rotated.stdout
    assert said(process, "clients", "remove", added["id"]).exit_code == 0
    assert said(process, "clients", "remove", added["id"]).exit_code == 1


def test_the_first_admins_secret_is_shown_once(process: GatewayProcess) -> None:
    assert process.output.count("secret    ") == 1
    assert "not shown again" in process.output
