"""What is known of a teleloop that runs on this machine: by environment, by teleloop.toml, by what it left in its data folder."""

import json
import os
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS_FILE = "teleloop.toml"
BROKER_FILE = "broker-url"
"""In the data folder, readable by its owner: the gateway's own login at the units' broker."""

ADDRESS_FILE = "gateway.json"
UNITS_FILE = "units.json"
TOKEN_FILE = "api-token"


class SettingsError(Exception):
    """teleloop.toml cannot be read."""


@dataclass(frozen=True, slots=True, repr=False)
class Local:
    """What could be found out; None where nothing was. Has no repr: logins do not belong in logs."""

    data: Path
    broker_url: str | None
    units_broker: str | None
    api_url: str | None
    api_token: str | None
    units_file: Path | None


def local(data: Path | None = None) -> Local:
    """What is known here. `data` is a flag, which goes before everything. Raises SettingsError."""
    said = _file()
    folder = data or Path(os.environ.get("TELELOOP_DATA") or said.get("data") or ".teleloop")
    addresses: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        addresses = json.loads((folder / ADDRESS_FILE).read_text())
    units = folder / UNITS_FILE
    return Local(
        folder,
        os.environ.get("TELELOOP_MQTT_URL") or said.get("mqtt_url") or _text(folder / BROKER_FILE),
        addresses.get("units_broker"),
        os.environ.get("TELELOOP_URL") or addresses.get("url"),
        os.environ.get("TELELOOP_TOKEN") or said.get("token") or _text(folder / TOKEN_FILE),
        units if units.is_file() else None,
    )


def _file() -> dict[str, Any]:
    try:
        return tomllib.loads(Path(SETTINGS_FILE).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{SETTINGS_FILE}: {error}") from error


def _text(path: Path) -> str | None:
    with suppress(OSError, ValueError):
        return path.read_text().strip() or None
    return None
