"""The units file: which units a fleet process simulates, with their secrets. JSON, `{"units": [...]}`."""

from pathlib import Path

import msgspec

from protocols.codec import UnitId


class UnitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One unit as the gateway's registry gave it out. Keys are hex, the password as it is said to the broker.

    `moving` false: its vehicle stands still, locked, and does only what it is told. `cards` are the RFID cards that open it.
    """

    vehicle_id: str = ""
    brand: str
    telematics_unit_id: str
    vehicle_model_id: str
    password: str
    seal_key: str
    command_key: str
    generation: int = 1
    latitude: float | None = None
    longitude: float | None = None
    moving: bool = True
    cards: list[str] = []

    def __repr__(self) -> str:
        return f"UnitRecord({self.unit})"

    @property
    def unit(self) -> UnitId:
        """Its brand and id."""
        return UnitId(self.brand, self.telematics_unit_id)


class _UnitsFile(msgspec.Struct):
    units: list[UnitRecord]


class UnitsFileError(Exception):
    """The file cannot be read, is not of this form, or names a unit twice."""


def read_units(path: Path) -> list[UnitRecord]:
    """The units of a file. Raises UnitsFileError."""
    try:
        records = msgspec.json.decode(path.read_bytes(), type=_UnitsFile).units
    except (OSError, msgspec.MsgspecError) as error:
        raise UnitsFileError(f"{path}: {error}") from error
    twice = len(records) - len({record.unit for record in records})
    if twice:
        raise UnitsFileError(f"{path}: {twice} units are named more than once")
    for record in records:
        for name in ("seal_key", "command_key"):
            _check_key(path, record, name)
    return records


def _check_key(path: Path, record: UnitRecord, name: str) -> None:
    try:
        size = len(bytes.fromhex(getattr(record, name)))
    except ValueError:
        size = 0
    if size != 32:
        raise UnitsFileError(f"{path}: {record.unit}: {name} is wanted as 64 hex digits")
