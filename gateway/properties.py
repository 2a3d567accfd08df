"""Rows of raw values to vehicle properties, by the columns of a brand's models: what `Translation.translate` says. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from modeldb import Database
from modeldb.model import Translation
from modeldb.tables import LANES, SILENT, Tables, day, tables
from protocols.hotpath import Translator
from protocols.hotpath.kernels import Path
from protocols.hotpath.rows import Bytes, RowForm

_PAIRS = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]
_AT = {(lane.known.key, lane.axis): at for at, lane in enumerate(LANES)}


class _Reading(NamedTuple):
    """How one property is read: its key, its place among the values, and what they mean: names, or steps of so many to one; a
    position's second axis stands behind its first."""

    key: str
    at: int
    names: Sequence[Any]
    unit: int
    unit_2: int
    is_date: bool


class Properties:
    """The models of one brand. `places` has those whose rules all are columns and read nothing but whole numbers of the rows."""

    def __init__(self, models: Database, brand: str, form: RowForm, path: Path) -> None:
        known = [model for model in models.models.values() if brand in model.units]
        self._columns: Tables = tables(known, brand)
        self._translator = Translator(form, self._columns, _PAIRS, path=path)
        self.places = {model.id: at for at, model in enumerate(known) if self._is_whole(at, self._translator.unplaced)}
        self._readings = [self._order(at, model.units[brand]) for at, model in enumerate(known)]

    def _is_whole(self, model: int, unplaced: frozenset[str]) -> bool:
        columns = self._columns
        read = {columns.signals[columns.source[model, at]] for at in np.flatnonzero(columns.kind[model]).tolist()}
        return bool(columns.complete[model]) and not read & unplaced

    def _order(self, model: int, unit: Translation) -> list[_Reading]:
        """In the order of the rules, in which `translate` says the properties."""
        found = []
        for rule in unit.rules:
            at = _AT.get((rule.key, ""), _AT.get((rule.key, "lat"), 0))
            known, decimals = LANES[at].known, self._columns.decimals[model]
            second = 10 ** int(decimals[at + 1]) if LANES[at].axis else 0
            found.append(_Reading(rule.key, at, known.values, 10 ** int(decimals[at]), second, known.kind == "date"))
        return found

    def read(self, rows: Bytes, models: Sequence[int], into: list[dict[str, Any] | None]) -> None:
        """Put what each row says into `into`; `models` are places, -1 for rows that are left alone."""
        values = self._translator.translate(rows, np.array(models, np.int32)).tolist()
        for number, (model, said) in enumerate(zip(models, values, strict=True)):
            if model >= 0:
                into[number] = _properties(self._readings[model], said)


def _properties(readings: Sequence[_Reading], values: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, at, names, unit, unit_2, is_date in readings:
        steps = values[at]
        if steps == SILENT:
            continue
        if names:
            found[key] = names[steps]
        elif unit_2:
            found[key] = {"lat": steps / unit, "lon": values[at + 1] / unit_2}
        elif is_date:
            found[key] = day(steps)
        else:
            found[key] = steps / unit if unit != 1 else steps
    return found
