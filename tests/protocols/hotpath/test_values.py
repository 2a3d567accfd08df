"""Rows to values, changes, records and text: both kernels say what the model database's own rules say."""

import json
import random
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

import modeldb
import protocols.hotpath
from lab import avl_records
from lab.corpus import CORPORA, PATHS
from modeldb.tables import LANES, Tables, tables, translate_rows
from protocols.hotpath import BINDINGS, SILENT, Decoder, Rows, Saying, States, Translator, Writer, records
from protocols.hotpath.told import Kind, Property, Teller
from protocols.teltonika_session import avl

CLOUDBOXX = CORPORA["cloudboxx"]
AT = 1_795_446_000_000
VEHICLES = 40
VEHICLE_IDS = [f"V{number:04}" for number in range(VEHICLES)]
PAIRS = [(at, at + 1) for at, lane in enumerate(LANES) if lane.axis == "lat"]
SAYINGS = [Saying(lane.known.key, lane.known.values, lane.known.kind == "date", lane.axis) for lane in LANES]


class Pipeline:
    """Some frames on their way through all stages, on one path."""

    def __init__(self, path: str, brand: str = "CLOUDBOXX") -> None:
        self.brand, self.columns, frames = brand, columns(brand), FRAMES[brand]
        binding = BINDINGS[modeldb.load().brands[brand].protocol].reading(self.columns.signals)
        decoder = Decoder(binding, path=path, trusting=True)
        decoder.decode(frames)
        self.rows: Rows = decoder.decode(frames)
        self.reports = [report for frame in frames for report in binding.protocol.decode(frame).reports]
        self.vehicles = (np.arange(len(self.reports), dtype=np.int32) * 7) % VEHICLES
        self.models = (self.vehicles % len(self.columns.models)).astype(np.int32)
        self.translator = Translator(binding.form, self.columns, PAIRS, path=path)
        self.values = self.translator.translate(self.rows.data, self.models)
        self.states = States(VEHICLES, self.translator.width, path=path)
        self.changed = self.states.diff(self.values, self.vehicles)
        self.records = records(self.values, self.changed, self.vehicles, self.rows.times, path=path)
        writer = Writer(SAYINGS, self.columns.decimals, VEHICLE_IDS, path=path)
        self.text = writer.lines(self.values, self.changed, self.vehicles, self.rows.times, self.models)
        models = [(100 + at, told(self.columns, at)) for at in range(len(self.columns.models))]
        self.told = Teller(self.translator.width, models, path=path).tell(self.values, self.models, self.rows.times)


def columns(brand: str) -> Tables:
    return tables(modeldb.load().available(brand), brand)


def told(columns: Tables, model: int) -> list[Property]:
    """All properties, as a model says them."""
    found = []
    for at, lane in enumerate(LANES):
        known, decimals = lane.known, columns.decimals[model].tolist()
        if lane.axis == "lon":
            continue
        kind = Kind.NAME if known.values else Kind.DATE if known.kind == "date" else Kind.POSITION if lane.axis else Kind.NUMBER
        further = decimals[at + 1] if kind is Kind.POSITION else 0
        found.append(Property(known.key, at, kind, known.values, decimals[at] if kind in (0, 3) else 0, further))
    return found


def avl_frames() -> list[bytes]:
    rng = random.Random(5)
    kinds = avl_records.layouts(columns("TELTONIKA").signals, 8, rng)
    said = ((kind, [avl_records.said(kind, AT + at, rng) for at in range(rng.randrange(1, 5))]) for kind in kinds * 20)
    return [BINDINGS["teltonika"].protocol.encode(avl(kind.codec, records)) for kind, records in said]


FRAMES = {"CLOUDBOXX": [frame for frame in CLOUDBOXX.made(400) if len(frame) > 60], "TELTONIKA": avl_frames()}


PIPELINES = {(path, brand): Pipeline(path, brand) for path in PATHS for brand in FRAMES}


@pytest.fixture(params=FRAMES)
def pipeline(path: str, request: pytest.FixtureRequest) -> Pipeline:
    return PIPELINES[path, request.param]


def test_values_are_those_of_the_model_database(pipeline: Pipeline):
    raw, present = pipeline.columns.rows([report.signals for report in pipeline.reports])
    expected = translate_rows(pipeline.columns, pipeline.models.astype(np.intp), raw, present)
    assert np.array_equal(pipeline.values, expected)


def test_a_state_is_what_the_rules_translate(pipeline: Pipeline):
    models = modeldb.load().models
    for report, model, values in zip(pipeline.reports[:100], pipeline.models.tolist(), pipeline.values, strict=False):
        translation = models[pipeline.columns.models[model]].units[pipeline.brand]
        assert pipeline.columns.state(model, values) == translation.translate(report.signals)


def test_nothing_is_left_without_a_lane(pipeline: Pipeline):
    assert pipeline.translator.unplaced == frozenset()


def test_a_row_without_a_model_is_silent(pipeline: Pipeline):
    silent = pipeline.translator.translate(pipeline.rows.data[:3], np.array([-1, 10_000, 0], np.int32))
    assert (silent[:2] == SILENT).all()
    assert (silent[2] != SILENT).any()


def test_changes_are_what_differs_from_the_last_state(pipeline: Pipeline):
    last: dict[int, dict[int, int]] = {}
    for values, vehicle, changed in zip(pipeline.values, pipeline.vehicles.tolist(), pipeline.changed.tolist(), strict=True):
        state = last.setdefault(vehicle, {})
        new = {at: int(value) for at, value in enumerate(values) if value != SILENT and state.get(at) != value}
        assert changed == sum(1 << at for at in new)
        state.update(new)


def test_late_rows_change_nothing(path: str, pipeline: Pipeline):
    states = States(VEHICLES, pipeline.translator.width, path=path)
    changed = states.diff(pipeline.values, pipeline.vehicles, np.zeros(len(pipeline.reports), np.uint8))
    assert not changed.any()
    assert (states.shadow == SILENT).all()


def test_the_state_moves_only_when_it_is_confirmed(path: str, pipeline: Pipeline):
    states = States(VEHICLES, pipeline.translator.width, path=path)
    states.diff(pipeline.values, pipeline.vehicles)
    ahead = states.shadow.copy()
    assert (states.confirmed == SILENT).all()
    states.confirm(np.array([3, 4], np.int32))
    assert np.array_equal(states.confirmed[3:5], ahead[3:5])
    states.revert(np.arange(VEHICLES, dtype=np.int32))
    assert np.array_equal(states.shadow, states.confirmed)
    assert (states.shadow[5] == SILENT).all()
    again = states.diff(pipeline.values, pipeline.vehicles)
    first = np.flatnonzero(pipeline.vehicles == 5)[0]
    assert again[first] == pipeline.changed[first]


def test_records_are_the_changes_in_order(pipeline: Pipeline):
    expected = [
        (int(at), int(vehicle), lane, int(values[lane]), row)
        for row, (values, vehicle, changed, at) in enumerate(
            zip(pipeline.values, pipeline.vehicles, pipeline.changed.tolist(), pipeline.rows.times, strict=True)
        )
        for lane in range(len(LANES))
        if changed >> lane & 1
    ]
    assert [tuple(each) for each in pipeline.records.tolist()] == expected


def test_text_says_the_changed_part_of_the_state(pipeline: Pipeline):
    lines = pipeline.text.splitlines()
    said = iter(lines)
    for at, changed in enumerate(pipeline.changed.tolist()):
        if not changed:
            continue
        document = json.loads(next(said))
        state = pipeline.columns.state(int(pipeline.models[at]), pipeline.values[at])
        keys = {LANES[lane].known.key for lane in range(len(LANES)) if changed >> lane & 1}
        assert document["vehicle_id"] == VEHICLE_IDS[pipeline.vehicles[at]]
        assert document["changed"] == {key: state[key] for key in keys}
    assert next(said, None) is None


@pytest.mark.parametrize("brand", FRAMES)
def test_both_kernels_write_the_same_bytes(brand: str):
    texts = {PIPELINES[path, brand].text for path in PATHS}
    assert len(texts) == 1


def test_times_are_written_as_rfc_3339(path: str):
    writer = Writer([Saying("speed")], np.zeros((1, 1), np.uint8), ["A"], path=path)
    moments = {
        0: "1970-01-01T00:00:00Z",
        951_782_400_001: "2000-02-29T00:00:00.001Z",
        4_107_542_399_999: "2100-02-28T23:59:59.999Z",
    }
    one = np.ones((len(moments), 1), np.int32)
    zeros = np.zeros(len(moments), np.int32)
    lines = writer.lines(one, np.ones(len(moments), np.uint64), zeros, np.array([*moments], np.int64), zeros).splitlines()
    assert [json.loads(line)["timestamp"] for line in lines] == [*moments.values()]


NUMBERS = [
    (0, 0, "0"),
    (-5, 2, "-0.05"),
    (70, 1, "7.0"),
    (2147483647, 3, "2147483.647"),
    (-2147483647, 7, "-214.7483647"),
]


@pytest.mark.parametrize(("steps", "decimals", "said"), NUMBERS)
def test_numbers_are_written_in_steps_of_their_last_decimal(path: str, steps: int, decimals: int, said: str):
    writer = Writer([Saying("n")], np.array([[decimals]], np.uint8), ["A"], path=path)
    zero = np.zeros(1, np.int32)
    line = writer.lines(np.array([[steps]], np.int32), np.ones(1, np.uint64), zero, np.zeros(1, np.int64), zero)
    assert line == b'{"vehicle_id":"A","timestamp":"1970-01-01T00:00:00Z","changed":{"n":%s}}\n' % said.encode()


@pytest.mark.skipif("c" not in PATHS, reason="the kernel in C was not built")
def test_one_call_gives_the_same_records():
    staged, frames = Pipeline("c"), FRAMES["CLOUDBOXX"]
    states = States(VEHICLES, staged.translator.width)
    pipeline = protocols.hotpath.Pipeline(staged.rows.decoder, staged.translator, states)
    found = pipeline.changes(frames, staged.vehicles, staged.models)
    assert found is not None
    assert np.array_equal(found, staged.records)
    assert np.array_equal(states.shadow, staged.states.shadow)
    broken = [*frames[:3], frames[3][:-1] + b"?"]
    assert pipeline.changes(broken, staged.vehicles[:4], staged.models[:4]) is None
    assert np.array_equal(states.shadow, staged.states.shadow)


def test_what_is_told_is_the_state_and_the_same_with_its_moment_in_json(pipeline: Pipeline):
    for at, (model, values, time) in enumerate(
        zip(pipeline.models.tolist(), pipeline.values, pipeline.rows.times.tolist(), strict=True)
    ):
        said = pipeline.told[at]
        assert said is not None
        properties, text, _ = said
        assert properties == pipeline.columns.state(model, values)
        moment = datetime.fromtimestamp(time / 1000, UTC)
        stamp = moment.isoformat(timespec="milliseconds" if time % 1000 else "seconds").replace("+00:00", "Z")
        shown = {key: {"timestamp": stamp, "value": value} for key, value in properties.items()}
        assert json.loads(text) == shown


def test_marks_are_the_same_only_where_all_names_are(pipeline: Pipeline):
    named = {lane.known.key for lane in LANES if lane.known.values}
    said: dict[bytes, object] = {}
    for model, row in zip(pipeline.models.tolist(), pipeline.told, strict=True):
        assert row is not None
        properties, _, mark = row
        names = (model, {key: value for key, value in properties.items() if key in named})
        assert said.setdefault(mark, names) == names
    assert 1 < len(said) < len(pipeline.told)


TOLD = [
    Property("central_lock", 0, Kind.NAME, ("LOCKED", "Ünlocked")),
    Property("position", 1, Kind.POSITION, (), 7, 6),
    Property("brake_fluid_due_date", 3, Kind.DATE),
    Property("mileage_in_kilometers", 4, Kind.NUMBER, (), 3),
    Property("engine_speed", 5, Kind.NUMBER),
]


@pytest.mark.parametrize(
    ("values", "at", "expected"),
    [
        ([1, -1, 0, 0, 2_147_483_647, -7], 0, True),
        ([SILENT] * 6, 253402300799999, True),
        ([0, 521_234_567, -2_147_483_647, 2_932_896, -5, 0], 1, True),
        ([2, 0, 0, 0, 0, 0], 0, False),
        ([-1, 0, 0, 0, 0, 0], 0, False),
        ([0, 0, 0, 2_932_897, 0, 0], 0, False),
        ([0, 0, 0, -719_163, 0, 0], 0, False),
        ([0, 0, 0, 0, 0, 0], -1, False),
        ([0, 0, 0, 0, 0, 0], 253402300800000, False),
    ],
)
def test_what_cannot_be_said_is_left_to_others_and_the_rest_is_said_alike_on_both_paths(
    values: list[int], at: int, expected: bool
):
    models = [(7, TOLD)]
    rows, first, times = np.array([values], np.int32), np.zeros(1, np.int32), np.array([at], np.int64)
    one, other = (Teller(6, models, path=path).tell(rows, first, times)[0] for path in PATHS)
    assert (one is not None) is expected
    if one is None or other is None:
        assert one is other
        return
    assert (one[0], json.loads(one[1]), one[2]) == (other[0], json.loads(other[1]), other[2])
    assert [type(each) for each in one[0].values()] == [type(each) for each in other[0].values()]
    assert {key: each["value"] for key, each in json.loads(one[1]).items()} == one[0]


def test_a_row_of_no_model_tells_nothing(path: str, pipeline: Pipeline):
    teller = Teller(pipeline.translator.width, [(1, TOLD)], path=path)
    assert teller.tell(pipeline.values[:2], np.array([-1, 1], np.int32), pipeline.rows.times[:2]) == [None, None]
    with pytest.raises(ValueError, match="properties"):
        Teller(2, [(1, TOLD)], path=path)


@pytest.mark.parametrize("decimals", range(10))
def test_numbers_are_written_as_the_slow_way_writes_them(decimals: int, path: str):
    steps = [0, 1, -1, 9, 10, 44, -99, 100, 1_000, 12_300, -100_000, 999_999, 1_810_000, 2_147_483_647, -2_147_483_647]
    rows = np.array(steps, np.int32).reshape(-1, 1)
    teller = Teller(1, [(1, [Property("speed", 0, Kind.NUMBER, (), decimals)])], path=path)
    told = teller.tell(rows, np.zeros(len(steps), np.int32), np.zeros(len(steps), np.int64))
    for each in told:
        assert each is not None
        properties, text, _ = each
        assert text == msgspec.json.encode({"speed": {"timestamp": "1970-01-01T00:00:00Z", "value": properties["speed"]}})
