"""A shadow run: what two sets of rules make of the same recorded reports, and where that differs. No broker, no gateway.

Frames go through bulk decoding and the rules as columns where they can, and one by one where they cannot; what differs is said
by the rules themselves, one by one.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import modeldb
from bench.recording import Recording
from modeldb.database import Database
from modeldb.explain import in_words
from modeldb.model import Translation, VehicleModel
from modeldb.tables import LANES, SILENT, Tables, tables
from modeldb.vocabulary import Value
from protocols import load as load_protocols
from protocols.codec import Frame, Protocol, ProtocolError, Report, UnitId
from protocols.hotpath import BINDINGS, Decoder, Rows, Translator
from protocols.recording import Record

BATCH_FRAMES = 4096
PAIRS = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]


def rules(path: Path | None) -> Database:
    """The database with the rules of `path`: a folder with `brands/` and `models/` is all there is; a folder of model files, or
    one such file, replaces the models of the same id; None: as teleloop has them. Raises ModelError and OSError."""
    if path is None:
        return modeldb.load()
    if path.is_dir() and (path / "brands").is_dir():
        return modeldb.load(path)
    files = sorted(path.rglob("*.toml")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} holds no model file")
    return modeldb.revised(files)


@dataclass(slots=True)
class Difference:
    """One property of one model: how often it differs, and the first time. None is silence."""

    model: str
    brand: str
    property: str
    reports: int
    unit: str
    at_ms: int | None
    old: Value | None
    new: Value | None
    old_rule: str
    new_rule: str


@dataclass(slots=True)
class Comparison:
    """What a shadow run found. `reports` that were compared, by model; `unknown` counts frames of units without a known model, by
    unit; `unreadable` frames that could not be decoded."""

    reports: Counter[str] = field(default_factory=Counter)
    differences: dict[tuple[str, str, str], Difference] = field(default_factory=dict)
    differing_reports: int = 0
    unknown: Counter[UnitId] = field(default_factory=Counter)
    unreadable: int = 0


class Models:
    """Which model each unit has: as told, else as its hello says (CloudBoxx)."""

    def __init__(self, told: Mapping[UnitId, str], everyone: str | None, configurations: Mapping[int, str]) -> None:
        self._told, self._everyone, self._configurations = dict(told), everyone, configurations

    def of(self, unit: UnitId) -> str | None:
        """Its model's id."""
        return self._everyone or self._told.get(unit)

    def hear(self, unit: UnitId, frame: Frame) -> None:
        """A frame that may say which model the unit was configured for."""
        if unit not in self._told and frame.kind == "hello":
            known = self._configurations.get(frame.facts.get("model_configuration", -1))
            if known is not None:
                self._told[unit] = known


class _Pair:
    """One brand's rules twice, as columns: of the models that are in both databases and have all of their rules in columns."""

    def __init__(self, brand: str, old: Database, new: Database) -> None:
        self.brand = brand
        ids = [each.id for each in old.available(brand) if each.id in new.models and brand in new.models[each.id].units]
        self.old, self.new = old, new
        self.ids = ids
        self.columns = [tables([each.models[model] for model in ids], brand) for each in (old, new)] if ids else []
        self.both = {model: (old.models[model].units[brand], new.models[model].units[brand]) for model in ids}

    def translations(self, model: str) -> tuple[Translation, Translation] | None:
        """Old and new; None where one of them does not know the model behind this brand."""
        return self.both.get(model)


class Shadow:
    """Compares a recording's reports, batch by batch."""

    def __init__(self, old: Database, new: Database, models: Models) -> None:
        self._old, self._new, self._models = old, new, models
        self._protocols: Mapping[str, Protocol] = load_protocols()
        self._brands = {**new.brands, **old.brands}
        self._pairs: dict[str, _Pair] = {}
        self._lanes: dict[str, _Lanes | None] = {}
        self._decoders: dict[str, Decoder] = {}
        self.found = Comparison()

    def run(self, recording: Recording, only: Sequence[UnitId] = ()) -> Iterator[int]:
        """Compare; yields the number of messages done, batch by batch."""
        done, batch = 0, dict[str, list[tuple[Record, bytes]]]()
        for record in recording:
            done += 1
            unit = record.unit
            if unit is None or record.channel != "up" or (only and unit not in only) or unit.brand not in self._brands:
                continue
            protocol = self._protocols[self._brands[unit.brand].protocol]
            waiting = batch.setdefault(unit.brand, [])
            for cut in protocol.split(record.payload):
                if cut.error is None:
                    waiting.append((record, cut.data))
                else:
                    self.found.unreadable += 1
            if len(waiting) >= BATCH_FRAMES:
                self._compare(unit.brand, batch.pop(unit.brand))
                yield done
        for brand, waiting in batch.items():
            self._compare(brand, waiting)
        yield done

    def _compare(self, brand: str, batch: list[tuple[Record, bytes]]) -> None:
        pair = self._pairs.get(brand)
        if pair is None:
            pair = self._pairs[brand] = _Pair(brand, self._old, self._new)
            self._lanes[brand] = _Lanes.of(self._brands[brand].protocol, pair)
        lanes = self._lanes[brand]
        protocol = self._protocols[self._brands[brand].protocol]
        if lanes is None:
            for (record, _), frame in zip(batch, self._frames(protocol, [data for _, data in batch]), strict=True):
                self._one_by_one(pair, record, frame)
            return
        rows = lanes.decoder.decode([data for _, data in batch])
        slow = np.flatnonzero(rows.status)
        for at in slow.tolist():
            outcome = rows.outcome(at)
            self._one_by_one(pair, batch[at][0], outcome if isinstance(outcome, Frame) else None)
        self._in_bulk(pair, lanes, rows, [record for record, _ in batch])

    def _frames(self, protocol: Protocol, frames: list[bytes]) -> Iterator[Frame | None]:
        """What each of these is, None if it is no frame: decoded in bulk where there is a way."""
        binding = BINDINGS.get(protocol.name)
        if binding is None:
            yield from (_frame(protocol, data) for data in frames)
            return
        if protocol.name not in self._decoders:
            self._decoders[protocol.name] = Decoder(binding, trusting=True)
        for outcome in self._decoders[protocol.name].decode(frames).outcomes():
            yield outcome if isinstance(outcome, Frame) else None

    def _in_bulk(self, pair: _Pair, lanes: "_Lanes", rows: Rows, records: list[Record]) -> None:
        owners = rows.owners if rows.starts is not None else np.flatnonzero(rows.status == 0).astype(np.int32)
        data = rows.data if rows.starts is not None else rows.data[owners]
        places = np.full(len(owners), -1, np.int32)
        slowly: set[int] = set()
        for row, owner in enumerate(owners.tolist()):
            unit = records[owner].unit
            assert unit is not None
            model = self._models.of(unit)
            if model is None or pair.translations(model) is None:
                self.found.unknown[unit] += rows.starts is None or owner not in slowly
                slowly.add(owner)
            elif (at := lanes.places.get(model, -1)) < 0:
                if owner not in slowly:
                    slowly.add(owner)
                    outcome = rows.outcome(owner)
                    self._one_by_one(pair, records[owner], outcome if isinstance(outcome, Frame) else None)
            else:
                places[row] = at
        for at, count in zip(*np.unique(places[places >= 0], return_counts=True), strict=True):
            self.found.reports[pair.ids[int(at)]] += int(count)
        differing = np.flatnonzero(lanes.differing(data, places).any(axis=1))
        for row in differing.tolist():
            owner = int(owners[row])
            outcome = rows.outcome(owner)
            assert isinstance(outcome, Frame)
            first = int(np.flatnonzero(owners == owner)[0])
            self._differ(pair, records[owner], outcome.reports[row - first], pair.ids[int(places[row])])

    def _one_by_one(self, pair: _Pair, record: Record, frame: Frame | None) -> None:
        unit = record.unit
        assert unit is not None
        if frame is None:
            self.found.unreadable += 1
            return
        self._models.hear(unit, frame)
        if not frame.reports:
            return
        model = self._models.of(unit)
        if model is None or pair.translations(model) is None:
            self.found.unknown[unit] += 1
            return
        for report in frame.reports:
            self.found.reports[model] += 1
            self._differ(pair, record, report, model)

    def _differ(self, pair: _Pair, record: Record, report: Report, model: str) -> None:
        both = pair.translations(model)
        assert both is not None
        old, new = both[0].translate(report.signals), both[1].translate(report.signals)
        different = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
        self.found.differing_reports += bool(different)
        for key in different:
            place = (model, pair.brand, key)
            known = self.found.differences.get(place)
            if known is None:
                told = pair.new.models[model].title
                said = (old.get(key), new.get(key), _rule(both[0], key), _rule(both[1], key))
                self.found.differences[place] = known = Difference(
                    told, pair.brand, key, 0, str(record.unit), report.captured_at, *said
                )
            known.reports += 1


class _Lanes:
    """The bulk path of one protocol: old and new rules over the same rows."""

    def __init__(self, decoder: Decoder, columns: Sequence[Tables], usable: Sequence[int], ids: Sequence[str]) -> None:
        self.decoder = decoder
        form = decoder.binding.form
        self._translators = [Translator(form, each, PAIRS) for each in columns]
        self._decimals = [each.decimals for each in columns]
        self.places = {ids[at]: at for at in usable}

    @classmethod
    def of(cls, protocol: str, pair: _Pair) -> "_Lanes | None":
        """None where the protocol has no bulk path, or no model's rules can all be columns."""
        binding = BINDINGS.get(protocol)
        if binding is None or not pair.ids:
            return None
        read = {columns.signals[each] for columns in pair.columns for each in columns.source[columns.kind != 0].tolist()}
        decoder = Decoder(binding.reading(read), trusting=True)
        whole = pair.columns[0].complete & pair.columns[1].complete
        lanes = cls(decoder, pair.columns, np.flatnonzero(whole).tolist(), pair.ids)
        if any(each.unplaced for each in lanes._translators):
            return None
        return lanes

    def differing(self, rows: npt.NDArray[np.uint8], places: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Rows x lanes: where the new rules do not say what the old ones do. Rows whose place is -1 never differ."""
        old, new = (each.translate(np.ascontiguousarray(rows), places) for each in self._translators)
        steps = [decimals[places] for decimals in self._decimals]
        same = (old == new) & ((steps[0] == steps[1]) | (old == SILENT))
        rescaled = (steps[0] != steps[1]) & (old != SILENT) & (new != SILENT)
        if rescaled.any():
            values = [each / np.power(10.0, step) for each, step in zip((old, new), steps, strict=True)]
            same |= rescaled & (values[0] == values[1])
        result: npt.NDArray[np.bool_] = ~same & (places >= 0)[:, None]
        return result


def _frame(protocol: Protocol, data: bytes) -> Frame | None:
    try:
        return protocol.decode(data)
    except ProtocolError:
        return None


def _rule(translation: Translation, key: str) -> str:
    names = translation.table.names
    return " or ".join(in_words(rule, names) for rule in translation.rules if rule.key == key) or "no rule"


def find_model(database: Database, name: str) -> VehicleModel:
    """The one model with this id or name. Raises ValueError."""
    if name in database.models:
        return database.models[name]
    found = [model for model in database.models.values() if model.is_called(name)]
    if len(found) != 1:
        choice = "".join(f"\n  {model.id}  {model.title}, from {model.start_of_production}" for model in found)
        raise ValueError(
            f"no model is called {name!r}" if not found else f"{len(found)} models are called {name!r}, by id:{choice}"
        )
    return found[0]


def configurations(databases: Iterable[Database]) -> dict[int, str]:
    """The model configuration that a simulated CloudBoxx says in its hello: the CRC-32 of the model's id."""
    return {zlib.crc32(model.encode()): model for database in databases for model in database.models}


def as_document(found: Comparison, models: Mapping[str, VehicleModel]) -> dict[str, Any]:
    """For machines."""
    return {
        "compared": {
            "reports": found.reports.total(),
            "models": {models[each].title: count for each, count in found.reports.items()},
        },
        "different": found.differing_reports,
        "unreadable_frames": found.unreadable,
        "frames_without_model": {str(unit): count for unit, count in found.unknown.items()},
        "differences": [
            {
                "model": each.model,
                "brand": each.brand,
                "property": each.property,
                "reports": each.reports,
                "first": {"unit": each.unit, "captured_at": each.at_ms, "old": each.old, "new": each.new},
                "old_rule": each.old_rule,
                "new_rule": each.new_rule,
            }
            for each in found.differences.values()
        ],
    }
