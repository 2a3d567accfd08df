"""A model file: `models/<maker>/<model>[-<year>].toml` to a VehicleModel, or one ModelError."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from modeldb.brand import Brand
from modeldb.document import ModelError, convert, read
from modeldb.family import Family
from modeldb.model import Example, RenderedCommand, Translation, VehicleModel
from modeldb.rule import Rule
from modeldb.rulefile import make_rule
from modeldb.signals import SignalTable
from modeldb.vocabulary import COMMANDS, PROPERTIES, VehicleType

PARAMETERS_LIMIT_BYTES = 200
"""A command envelope holds 256 bytes of parameters, and an answer to a lost clock puts a nonce before them."""

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_REGION = re.compile(r"[A-Z]{2,8}")


NO_FAMILIES: Mapping[str, Family] = MappingProxyType({})


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model file says of the vehicle itself."""

    id: str
    make: str
    name: str
    type: VehicleType
    start_of_production: date
    regions: tuple[str, ...]
    version: int
    end_of_production: date | None = None


class UnitFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it says of one telematics brand's units in that vehicle. `family` names a file of `families/`."""

    state: dict[str, Any]
    commands: dict[str, Any] = {}
    examples: list[dict[str, Any]] = []
    family: str | None = None


class CommandFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the unit is told with a command: `parameters` or a whole `native` message, in hexadecimal."""

    parameters: str | None = None
    native: str | None = None


def load_model(path: Path, file: str, brands: Mapping[str, Brand], families: Mapping[str, Family] = NO_FAMILIES) -> VehicleModel:
    """The model of `path`. Raises ModelError."""
    document = read(path, file)
    said = {key: value for key, value in document.items() if key in Header.__struct_fields__}
    header = convert(said, Header, file)
    _check_header(header, file)
    units: dict[str, Translation] = {}
    for name, table in document.items():
        if name in said:
            continue
        if name not in brands:
            raise ModelError(file, name, "is no brand, and nothing that a model says")
        units[name] = _translation(convert(table, UnitFile, file, name), brands[name], families, header.type, file)
    if not units:
        raise ModelError(file, "", "no brand of telematics units is described")
    for brand in brands.values():
        if brand.like in units and brand.name not in units:
            units[brand.name] = units[brand.like].on(brand)
    return VehicleModel(
        header.id,
        header.make,
        header.name,
        header.type,
        header.start_of_production,
        header.end_of_production,
        header.regions,
        header.version,
        units,
        file,
    )


def _check_header(header: Header, file: str) -> None:
    if not _ULID.fullmatch(header.id):
        raise ModelError(file, "id", "is no ULID: 26 digits and upper-case letters without I, L, O, U")
    for key in ("make", "name"):
        text = getattr(header, key)
        if not text or text != " ".join(text.split()):
            raise ModelError(file, key, "must be words with single spaces")
    if header.end_of_production is not None and header.end_of_production < header.start_of_production:
        raise ModelError(file, "end_of_production", "is before start_of_production")
    if not header.regions or len(set(header.regions)) != len(header.regions):
        raise ModelError(file, "regions", "must be one or more, each once")
    for region in header.regions:
        if not _REGION.fullmatch(region):
            raise ModelError(file, "regions", f"{region!r} is no region: upper-case letters")
    if header.version < 1:
        raise ModelError(file, "version", "counts from 1")


def _translation(
    said: UnitFile, brand: Brand, families: Mapping[str, Family], vehicle_type: VehicleType, file: str
) -> Translation:
    table = _table(said.family, brand, families, file)
    owner = said.family or brand.name
    rules: list[Rule] = [
        make_rule(key, rule, table, owner, file, f"{brand.name}.state.{key}") for key, rule in said.state.items()
    ]
    if not rules:
        raise ModelError(file, f"{brand.name}.state", "says nothing")
    commands = {name: _command(name, what, brand, vehicle_type, file) for name, what in said.commands.items()}
    examples = tuple(_example(each, table, owner, file, f"{brand.name}.examples[{at}]") for at, each in enumerate(said.examples))
    return Translation(brand, tuple(rules), commands, examples, table=table, family=said.family or "")


def _table(family: str | None, brand: Brand, families: Mapping[str, Family], file: str) -> SignalTable:
    if family is None:
        return brand.table
    if family not in families or families[family].brand.name != brand.name:
        raise ModelError(file, f"{brand.name}.family", f"{brand.name} has no family {family!r}")
    return families[family].table


def _command(name: str, said: Any, brand: Brand, vehicle_type: VehicleType, file: str) -> RenderedCommand:
    key = f"{brand.name}.commands.{name}"
    if name not in COMMANDS:
        raise ModelError(file, key, "is no command of the vocabulary")
    if name not in brand.commands:
        raise ModelError(file, key, f"{brand.name} units cannot do that")
    if vehicle_type not in COMMANDS[name].types:
        raise ModelError(file, key, f"is not for a {vehicle_type}")
    what = convert(said, CommandFile, file, key)
    if what.parameters is not None and what.native is not None:
        raise ModelError(file, key, "either parameters or native")
    return RenderedCommand(_hex(what.native or what.parameters or "", file, key), what.native is not None)


def _hex(text: str, file: str, key: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise ModelError(file, key, f"{text!r} is not hexadecimal") from None
    if len(data) > PARAMETERS_LIMIT_BYTES:
        raise ModelError(file, key, f"is longer than {PARAMETERS_LIMIT_BYTES} bytes")
    return data


class _ExampleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signals: dict[str, int | float | str]
    state: dict[str, Any]


def _example(said: Any, table: SignalTable, owner: str, file: str, key: str) -> Example:
    example = convert(said, _ExampleFile, file, key)
    signals = {}
    for name, raw in example.signals.items():
        found = table.find(name)
        if found is None:
            raise ModelError(file, f"{key}.signals.{name}", f"{owner} has no such signal")
        signals[found[0]] = raw
    state = {name: value.isoformat() if isinstance(value, date) else value for name, value in example.state.items()}
    for name, value in state.items():
        if name not in PROPERTIES or not PROPERTIES[name].allows(value):
            raise ModelError(file, f"{key}.state.{name}", f"cannot be {value!r}")
    return Example(signals, state)
