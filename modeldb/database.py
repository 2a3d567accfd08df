"""The model database: every brand and every model, found once and kept."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from modeldb.brand import Brand, make_brand
from modeldb.document import ModelError, paths, read
from modeldb.family import Family, load_family
from modeldb.model import VehicleModel
from modeldb.modelfile import load_model

FOLDER = Path(__file__).parent
"""The data that teleloop brings: `brands/`, `families/` and `models/`."""

EXTRA_FOLDERS = "TELELOOP_MODELDB"
"""Environment variable: further folders, each with any of `brands/`, `families/` and `models/`, separated as in PATH."""


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """Brands by name, models by id."""

    brands: Mapping[str, Brand]
    models: Mapping[str, VehicleModel]

    def available(self, brand: str) -> list[VehicleModel]:
        """The models that have a translation for units of `brand`, by title and start of production."""
        return [model for model in self.models.values() if brand in model.units]

    def find(self, brand: str, name: str, year: int | None = None) -> list[VehicleModel]:
        """Those called `name` ("Golf", "Volkswagen Golf"), and built in `year` if given. More than one: the caller must ask."""
        named = [model for model in self.available(brand) if model.is_called(name)]
        return [model for model in named if year is None or model.built_in(year)]


def load(folder: Path | str | None = None, extra_folders: Iterable[Path | str] = ()) -> Database:
    """The database of `folder` (default: what teleloop brings), of `extra_folders` and of those in TELELOOP_MODELDB.

    Kept: the same folders are read once in a process. Raises ModelError where a data file is wrong.
    """
    return _loaded(_folders(folder, extra_folders))


def revised(paths: Iterable[Path]) -> Database:
    """What `load` gives, with the models of these files in place of those with the same id. Raises ModelError."""
    known = load()
    families = _families(_folders(None, ()), known.brands)
    models = [load_model(path, path.name, known.brands, families) for path in paths]
    return Database(known.brands, MappingProxyType({**known.models, **{model.id: model for model in models}}))


def _folders(folder: Path | str | None, extra_folders: Iterable[Path | str]) -> tuple[Path, ...]:
    named = [Path(each) for each in os.environ.get(EXTRA_FOLDERS, "").split(os.pathsep) if each]
    folders = [FOLDER if folder is None else Path(folder), *map(Path, extra_folders), *named]
    return tuple(dict.fromkeys(each.resolve() for each in folders))


@lru_cache(maxsize=64)
def _loaded(folders: tuple[Path, ...]) -> Database:
    for folder in folders:
        if not folder.is_dir():
            raise ModelError(str(folder), "", "no such folder")
    brands = _brands(folders)
    families = _families(folders, brands)
    models: dict[str, VehicleModel] = {}
    for folder in folders:
        for path in paths(folder / "models"):
            model = load_model(path, path.relative_to(folder).as_posix(), brands, families)
            if model.id in models:
                raise ModelError(model.file, "id", f"is that of {models[model.id].file}")
            models[model.id] = model
    ordered = sorted(models.values(), key=lambda model: (model.title.casefold(), model.start_of_production, model.id))
    _check_spans(ordered)
    return Database(MappingProxyType(brands), MappingProxyType({model.id: model for model in ordered}))


def _brands(folders: Sequence[Path]) -> dict[str, Brand]:
    files = [(path, path.relative_to(folder).as_posix()) for folder in folders for path in paths(folder / "brands")]
    said = [(path.stem, file, read(path, file)) for path, file in files]
    brands: dict[str, Brand] = {}
    for name, file, document in sorted(said, key=lambda each: "like" in each[2]):
        if name in brands:
            raise ModelError(file, "", f"there is a brand {name} already")
        brands[name] = make_brand(document, name, file, brands)
    return brands


def _families(folders: Sequence[Path], brands: Mapping[str, Brand]) -> dict[str, Family]:
    families: dict[str, Family] = {}
    for folder in folders:
        for path in paths(folder / "families"):
            file = path.relative_to(folder).as_posix()
            if path.stem in families:
                raise ModelError(file, "", f"there is a family {path.stem} already")
            families[path.stem] = load_family(path, file, brands)
    return families


def _check_spans(models: Sequence[VehicleModel]) -> None:
    """No two models of one name may have been built at the same time for the same region and brand of units."""
    by_title: dict[str, list[VehicleModel]] = {}
    for model in models:
        for other in by_title.setdefault(model.title.casefold(), []):
            shared = set(model.regions) & set(other.regions)
            if shared and model.units.keys() & other.units.keys() and _overlap(model, other):
                raise ModelError(
                    model.file, "start_of_production", f"the span overlaps that of {other.file} in {', '.join(sorted(shared))}"
                )
        by_title[model.title.casefold()].append(model)


def _overlap(one: VehicleModel, other: VehicleModel) -> bool:
    first, last = sorted((one, other), key=lambda model: model.start_of_production)
    return last.start_of_production <= (first.end_of_production or date.max)
