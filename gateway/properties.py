"""Rows of raw values to vehicle properties, by the columns of a brand's models: what `Translation.translate` says. Pure."""

from collections.abc import Sequence
from itertools import count

import numpy as np

from modeldb import Database
from modeldb.model import Translation
from modeldb.tables import LANES, Tables, tables
from protocols.hotpath import Translator
from protocols.hotpath.kernels import Path
from protocols.hotpath.rows import Bytes, RowForm
from protocols.hotpath.told import Kind, Property, Said, Teller
from protocols.hotpath.translator import Times

_PAIRS = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]
_AT = {(lane.known.key, lane.axis): at for at, lane in enumerate(LANES)}
_numbers = count()


class Properties:
    """The models of one brand. `places` has those whose rules all are columns and read nothing but whole numbers of the rows."""

    def __init__(self, models: Database, brand: str, form: RowForm, path: Path) -> None:
        known = [model for model in models.models.values() if brand in model.units]
        self._columns: Tables = tables(known, brand)
        self._translator = Translator(form, self._columns, _PAIRS, path=path)
        self.places = {model.id: at for at, model in enumerate(known) if self._is_whole(at, self._translator.unplaced)}
        told = [(next(_numbers), self._order(at, model.units[brand])) for at, model in enumerate(known)]
        self._teller = Teller(self._translator.width, told, path=path)

    def _is_whole(self, model: int, unplaced: frozenset[str]) -> bool:
        columns = self._columns
        read = {columns.signals[columns.source[model, at]] for at in np.flatnonzero(columns.kind[model]).tolist()}
        return bool(columns.complete[model]) and not read & unplaced

    def _order(self, model: int, unit: Translation) -> list[Property]:
        """In the order of the rules, in which `translate` says the properties."""
        found = []
        for rule in unit.rules:
            at = _AT.get((rule.key, ""), _AT.get((rule.key, "lat"), 0))
            known, decimals = LANES[at].known, self._columns.decimals[model]
            if known.values:
                found.append(Property(rule.key, at, Kind.NAME, known.values))
            elif LANES[at].axis:
                found.append(Property(rule.key, at, Kind.POSITION, (), int(decimals[at]), int(decimals[at + 1])))
            elif known.kind == "date":
                found.append(Property(rule.key, at, Kind.DATE))
            else:
                found.append(Property(rule.key, at, Kind.NUMBER, (), int(decimals[at])))
        return found

    def read(self, rows: Bytes, models: Sequence[int], times: Times, into: list[Said | None]) -> None:
        """Put what each row says into `into`; `models` are places, -1 for rows that are left alone."""
        places = np.array(models, np.int32)
        said = self._teller.tell(self._translator.translate(rows, places), places, times)
        for number, each in enumerate(said):
            if each is not None:
                into[number] = each
