"""From frames to the JSON of what changed: construct's way, the best plain Python that we know, and ours in stages.

All are given two sets of frames in turns, of the same vehicles: nearly every value is another one each time, so that nobody gets
away with writing little.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

import modeldb
from bench.decode.frames import SPEAKER, UNITS_PER_FRAME
from bench.decode.rivals import struct_cloudboxx, struct_teltonika
from modeldb.model import VehicleModel
from modeldb.tables import LANES, tables
from protocols.hotpath import BINDINGS, Decoder, Pipeline, Saying, States, Translator, Writer, records

VEHICLES = 10_000
BRANDS = {"cloudboxx": "CLOUDBOXX", "teltonika": "TELTONIKA"}
Case = Callable[[], object]
Read = Callable[[bytes], Iterable[tuple[int, Mapping[str, Any]]]]
"""Reads a frame: when each of its reports was captured, and its signals."""


def _models(protocol: str, count: int) -> list[VehicleModel]:
    found = modeldb.load().available(BRANDS[protocol])
    return [found[at % len(found)] for at in range(count)]


def _plain(protocol: str, read: Read, sets: Sequence[list[bytes]], models: int) -> Case:
    """Frame to dict, dict to state by the rules, state against the last one, and what is new as JSON."""
    translations = [model.units[BRANDS[protocol]] for model in _models(protocol, models)]
    states: list[dict[str, Any]] = [{} for _ in range(VEHICLES)]
    turns = cycle(sets)

    def run() -> list[str]:
        lines = []
        for number, frame in enumerate(next(turns)):
            vehicle = number % VEHICLES
            last = states[vehicle]
            for at, signals in read(frame):
                said = translations[vehicle % models].translate(signals)
                changed = {key: value for key, value in said.items() if last.get(key) != value}
                if changed:
                    last.update(changed)
                    lines.append(json.dumps({"vehicle_id": f"V{vehicle:05}", "timestamp": at, "changed": changed}))
        return lines

    return run


def _by_construct(protocol: str) -> Read:
    decode = BINDINGS[protocol].protocol.decode
    return lambda frame: [(report.captured_at or 0, report.signals) for report in decode(frame).reports]


def _by_struct(frame: bytes) -> Iterable[tuple[int, Mapping[str, Any]]]:
    said = struct_cloudboxx(frame)
    return ((said["captured_at"], said),)


_NAMES = {number: f"io_{number}" for number in range(1 << 16)}


def _by_struct_teltonika(frame: bytes) -> Iterable[tuple[int, Mapping[str, Any]]]:
    return [
        (record["timestamp"], {_NAMES.get(name, name): value for name, value in record.items()})
        for record in struct_teltonika(frame)
    ]


_STRUCTS: Mapping[str, Read] = {"cloudboxx": _by_struct, "teltonika": _by_struct_teltonika}


class Staged:
    """Our stages over the same frames, sets of one size in turns; `sealed`: with the seals checked."""

    def __init__(self, protocol: str, sets: Sequence[list[bytes]], models: int) -> None:
        columns = tables(_models(protocol, models), BRANDS[protocol])
        binding = BINDINGS[protocol].reading({columns.signals[each] for each in columns.source[columns.kind != 0].tolist()})
        pairs = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]
        self.decoder = Decoder(binding, trusting=True)
        self.speakers = np.full(len(sets[0]), self.decoder.keyring.add(SPEAKER), np.int32)
        self.translator = Translator(binding.form, columns, pairs)
        self.states = States(VEHICLES, self.translator.width)
        sayings = [Saying(lane.known.key, lane.known.values, lane.known.kind == "date", lane.axis) for lane in LANES]
        self.writer = Writer(sayings, columns.decimals, [f"V{number:05}" for number in range(VEHICLES)])
        turns = []
        for frames in [*sets] * 3:
            vehicles = self.decoder.decode(frames).owners % VEHICLES
            turns.append((frames, vehicles, (vehicles % models).astype(np.int32)))
        self.turns = cycle(turns[-len(sets) :])
        self.pipeline = None if binding.framing.parts else Pipeline(self.decoder, self.translator, self.states)

    def records(self) -> object:
        """As far as change records, seals left out."""
        frames, vehicles, models = next(self.turns)
        rows = self.decoder.decode(frames)
        values = self.translator.translate(rows.data, models)
        return records(values, self.states.diff(values, vehicles), vehicles, rows.times)

    def one_call(self) -> object:
        """As far as change records by the pipeline for what has arrived."""
        assert self.pipeline is not None
        return self.pipeline.changes(*next(self.turns))

    def text(self, *, sealed: bool = False) -> object:
        """As far as JSON lines."""
        frames, vehicles, models = next(self.turns)
        rows = self.decoder.decode(frames, self.speakers if sealed else None)
        values = self.translator.translate(rows.data, models)
        return self.writer.lines(values, self.states.diff(values, vehicles), vehicles, rows.times, models)


def pipelines(protocol: str, sets: Sequence[list[bytes]], models: int) -> dict[str, Case]:
    """By name; all give one JSON object for each report that changed something."""
    staged = Staged(protocol, sets, models)
    few = [frames[: few_of(protocol)] for frames in sets]
    cases: dict[str, Case] = {
        "construct, rules, json": _plain(protocol, _by_construct(protocol), few, models),
        "struct, rules, json": _plain(protocol, _STRUCTS[protocol], few, models),
    }
    if not BINDINGS[protocol].protocol.sealed:
        return cases | {"ours to JSON lines": staged.text, "ours to change records": staged.records}
    return cases | {
        "ours to JSON lines, seal left out": staged.text,
        "ours to JSON lines, sealed": lambda: staged.text(sealed=True),
        "ours to change records, seal left out": staged.records,
        "ours to change records in one call, seal left out": staged.one_call,
    }


FEW = 128
"""How many reports the plain ones are given: they would take minutes for all."""


def few_of(protocol: str) -> int:
    """As frames."""
    return FEW // UNITS_PER_FRAME.get(protocol, 1)
