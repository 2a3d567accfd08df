"""Settings: flag, then environment, then teleloop.toml, then default."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.app import owners_secret
from gateway.settings import Settings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_flag_wins_over_the_environment_over_the_file_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().http == "127.0.0.1:8080"
    Path("teleloop.toml").write_text('http = "127.0.0.1:1"\nmqtt_port = 7\n')
    assert (Settings().http, Settings().mqtt_port) == ("127.0.0.1:1", 7)
    monkeypatch.setenv("TELELOOP_HTTP", "127.0.0.1:2")
    assert (Settings().http, Settings().mqtt_port) == ("127.0.0.1:2", 7)
    assert Settings(http="127.0.0.1:3").http == "127.0.0.1:3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELELOOP_HTTP", "8080"),
        ("TELELOOP_HTTP", "host:port"),
        ("TELELOOP_MQTT_URL", "http://127.0.0.1"),
        ("TELELOOP_MQTT_PORT", "65536"),
        ("TELELOOP_BROKER", "carrier pigeon"),
        ("TELELOOP_BROKER", "mosquitto"),
        ("TELELOOP_TRUST_BROKER", "perhaps"),
        ("TELELOOP_EVENT_LOG", "some"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert name in str(refused.value) or name.removeprefix("TELELOOP_").lower() in str(refused.value)


def test_the_store_is_a_file_in_the_data_folder_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(data=Path("d")).store_url == "sqlite:///d/teleloop.sqlite"
    monkeypatch.setenv("TELELOOP_DATABASE_URL", "postgresql://host/name")
    assert Settings().store_url == "postgresql://host/name"


def test_the_data_folder_and_its_secrets_are_for_their_owner_alone() -> None:
    settings = Settings(data=Path("a/b"))
    settings.prepare()
    assert settings.data.stat().st_mode & 0o777 == 0o700
    made = owners_secret(settings.provisioning_key_path)
    assert settings.provisioning_key_path.stat().st_mode & 0o777 == 0o600
    assert owners_secret(settings.provisioning_key_path) == made
    settings.provisioning_key_path.write_text("abcd")
    with pytest.raises(ValueError, match="32 bytes"):
        owners_secret(settings.provisioning_key_path)


def test_the_token_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELELOOP_TOKEN", "very secret")
    assert Settings().token == "very secret"
    assert "very secret" not in repr(Settings())
