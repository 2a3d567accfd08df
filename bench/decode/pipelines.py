"""From frames to the JSON of what changed: construct's way, the best plain Python that we know, and ours in stages."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

import modeldb
from bench.decode.frames import SPEAKER
from bench.decode.rivals import struct_cloudboxx
from modeldb.model import Translation
from modeldb.tables import LANES, tables
from protocols.cloudboxx import PROTOCOL
from protocols.hotpath import BINDINGS, Decoder, Pipeline, Saying, States, Translator, Writer, records

VEHICLES = 10_000
Case = Callable[[], object]


def _translations(models: int) -> list[Translation]:
    found = [model.units["CLOUDBOXX"] for model in modeldb.load().models.values() if "CLOUDBOXX" in model.units]
    return [found[at % len(found)] for at in range(models)]


def _plain(read: Callable[[bytes], tuple[int, dict[str, Any]]], frames: list[bytes], models: int) -> Case:
    """Frame to dict, dict to state by the rules, state against the last one, and what is new as JSON."""
    translations = _translations(models)
    states: list[dict[str, Any]] = [{} for _ in range(VEHICLES)]

    def run() -> list[str]:
        lines = []
        for number, frame in enumerate(frames):
            vehicle = number % VEHICLES
            at, signals = read(frame)
            last = states[vehicle]
            said = translations[vehicle % models].translate(signals)
            changed = {key: value for key, value in said.items() if last.get(key) != value}
            if changed:
                last.update(changed)
                lines.append(json.dumps({"vehicle_id": f"V{vehicle:05}", "timestamp": at, "changed": changed}))
        return lines

    return run


def _by_construct(frame: bytes) -> tuple[int, dict[str, Any]]:
    (report,) = PROTOCOL.decode(frame).reports
    return report.captured_at or 0, dict(report.signals)


def _by_struct(frame: bytes) -> tuple[int, dict[str, Any]]:
    said = struct_cloudboxx(frame)
    return said["captured_at"], said


class Staged:
    """Our stages over the same frames; `sealed`: with the seals checked."""

    def __init__(self, frames: list[bytes], models: int) -> None:
        binding = BINDINGS["cloudboxx"]
        translations = _translations(models)
        known = {id(each): model for model in modeldb.load().models.values() for each in model.units.values()}
        columns = tables([known[id(each)] for each in translations], "CLOUDBOXX")
        pairs = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]
        self.frames = frames
        self.decoder = Decoder(binding, trusting=True)
        self.speakers = np.full(len(frames), self.decoder.keyring.add(SPEAKER), np.int32)
        self.vehicles = (np.arange(len(frames)) % VEHICLES).astype(np.int32)
        self.models = (self.vehicles % models).astype(np.int32)
        self.translator = Translator(binding.form, columns, pairs)
        self.states = States(VEHICLES, self.translator.width)
        sayings = [Saying(lane.known.key, lane.known.values, lane.known.kind == "date", lane.axis) for lane in LANES]
        self.writer = Writer(sayings, columns.decimals, [f"V{number:05}" for number in range(VEHICLES)])
        for _ in range(3):
            self.decoder.decode(frames)
        self.pipeline = Pipeline(self.decoder, self.translator, self.states)

    def records(self) -> object:
        """As far as change records, seals left out."""
        rows = self.decoder.decode(self.frames)
        values = self.translator.translate(rows.data, self.models)
        return records(values, self.states.diff(values, self.vehicles), self.vehicles, rows.times)

    def one_call(self) -> object:
        """As far as change records by the pipeline for what has arrived."""
        return self.pipeline.changes(self.frames, self.vehicles, self.models)

    def text(self, *, sealed: bool = False) -> object:
        """As far as JSON lines."""
        rows = self.decoder.decode(self.frames, self.speakers if sealed else None)
        values = self.translator.translate(rows.data, self.models)
        return self.writer.lines(values, self.states.diff(values, self.vehicles), self.vehicles, rows.times, self.models)


def pipelines(frames: list[bytes], models: int) -> dict[str, Case]:
    """By name; all give one JSON object for each frame that changed something."""
    staged = Staged(frames, models)
    few = frames[:128]
    return {
        "construct, rules, json": _plain(_by_construct, few, models),
        "struct, rules, json": _plain(_by_struct, few, models),
        "ours to JSON lines, seal left out": staged.text,
        "ours to JSON lines, sealed": lambda: staged.text(sealed=True),
        "ours to change records, seal left out": staged.records,
        "ours to change records in one call, seal left out": staged.one_call,
    }


FEW = 128
"""How many frames the plain ones are given: they would take minutes for all."""
