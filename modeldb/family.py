"""A family of devices: what the numbers mean in which units of a brand say their signals.

The same number may mean something else in another family; a model file names its family, and its rules use the names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from modeldb.brand import Brand
from modeldb.document import ModelError, convert, read
from modeldb.signals import SignalTable, is_numbered, read_signal


class FamilyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in `families/<family>.toml`: `signal` is the brand's name for number {n}, `ids` what each number means."""

    brand: str
    signal: str
    ids: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A family by its name, the brand whose units it is about, and all that they can say."""

    name: str
    brand: Brand
    table: SignalTable


def load_family(path: Path, file: str, brands: Mapping[str, Brand]) -> Family:
    """The family of `path`, named as the file is. Raises ModelError."""
    said = convert(read(path, file), FamilyFile, file)
    brand = brands.get(said.brand)
    if brand is None:
        raise ModelError(file, "brand", f"there is no brand {said.brand!r}")
    if not is_numbered(said.signal) or said.signal not in brand.table.numbered:
        raise ModelError(file, "signal", f"is none of {brand.name}'s numbered signals")
    known, aliases = dict(brand.table.known), {}
    for number, described in said.ids.items():
        key = f"ids.{number}"
        if not re.fullmatch("0|[1-9][0-9]{0,9}", number):
            raise ModelError(file, key, "is no number")
        signal = dict(described)
        name = signal.pop("name", None)
        if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise ModelError(file, f"{key}.name", "must be lower-case words with underscores")
        if name in aliases or name in brand.table.known or brand.table.find(name):
            raise ModelError(file, f"{key}.name", f"{name} stands there twice")
        signal["complement"] = str(signal.get("type", "")).startswith("i")
        raw = said.signal.replace("{n}", number)
        known[raw], aliases[name] = read_signal(signal, file, key), raw
    return Family(path.stem, brand, SignalTable(known, brand.table.numbered, aliases, brand.table.opaque))
