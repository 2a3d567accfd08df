"""The columns say exactly what the rules say, for every model, mixed in one batch."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.sayable import raw_signals
from modeldb import load
from modeldb.model import Translation
from modeldb.rule import AnyOf
from modeldb.tables import LANES, SILENT, Kind, tables, translate_rows
from modeldb.vocabulary import Value

MODELS = load().available("CLOUDBOXX")
COLUMNS = tables(MODELS, "CLOUDBOXX")
UNITS = [model.units["CLOUDBOXX"] for model in MODELS]
BRANDS = list(load().brands)


def in_columns(unit: Translation, state: dict[str, Value]) -> dict[str, Value]:
    """The part of `state` that comes of rules with columns."""
    without = {rule.key for rule in unit.rules if isinstance(rule, AnyOf)}
    without |= {rule.key for rule in unit.rules if any(unit.signals[name].fractional for name in rule.signals)}
    return {key: value for key, value in state.items() if key not in without}


@pytest.mark.parametrize("brand", BRANDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_batch_of_mixed_models_is_translated_as_one_by_one(brand: str, data: st.DataObject) -> None:
    models = load().available(brand)
    columns, units = tables(models, brand), [model.units[brand] for model in models]
    one = st.one_of(*(st.tuples(st.just(at), raw_signals(unit)) for at, unit in enumerate(units)))
    batch = data.draw(st.lists(one, max_size=12))
    chosen = np.array([model for model, _ in batch], np.intp)
    lanes = translate_rows(columns, chosen, *columns.rows([signals for _, signals in batch]))
    assert lanes.dtype == np.int32
    for (model, signals), row in zip(batch, lanes, strict=True):
        assert columns.state(model, row) == in_columns(units[model], units[model].translate(signals))


def test_every_byte_means_the_same_in_columns() -> None:
    for at, unit in enumerate(UNITS):
        for name, signal in unit.brand.signals.items():
            if signal.type != "u8":
                continue
            reports = [{name: raw} for raw in range(256)]
            lanes = translate_rows(COLUMNS, np.full(256, at, np.intp), *COLUMNS.rows(reports))
            assert [COLUMNS.state(at, row) for row in lanes] == [unit.translate(report) for report in reports], name


def test_values_have_the_types_of_the_rules() -> None:
    """50 and 50.0 are equal, and not the same JSON."""
    for at, unit in enumerate(UNITS):
        for example in unit.examples:
            [row] = translate_rows(COLUMNS, np.array([at]), *COLUMNS.rows([example.signals]))
            assert repr(sorted(COLUMNS.state(at, row).items())) == repr(sorted(unit.translate(example.signals).items()))


def test_half_a_position_is_none() -> None:
    dev_kit = [model.type for model in MODELS].index("DEV_KIT")
    for report in ({"latitude": 1}, {"longitude": 1}, {"latitude": 900000001, "longitude": 1}):
        lanes = translate_rows(COLUMNS, np.array([dev_kit]), *COLUMNS.rows([report]))
        assert (lanes == SILENT).all()


def test_every_rule_has_its_lane() -> None:
    assert COLUMNS.complete.all()
    for brand in ("TELTONIKA", "GBT32960"):
        assert tables(load().available(brand), brand).complete.all()
    for at, unit in enumerate(UNITS):
        filled = {LANES[lane].known.key for lane in np.flatnonzero(COLUMNS.kind[at] != Kind.NONE)}
        assert filled == set(unit.state_keys)


def test_equal_tables_are_kept_once() -> None:
    assert len({row.tobytes() for row in COLUMNS.codes}) == len(COLUMNS.codes)
    assert len(COLUMNS.thresholds) == 1


def test_no_models_make_empty_columns() -> None:
    empty = tables([], "CLOUDBOXX")
    assert empty.kind.shape == (0, len(LANES))


def test_a_model_with_other_than_whole_numbers_says_so(tmp_path: Path) -> None:
    (tmp_path / "brands").mkdir()
    (tmp_path / "brands" / "ACME.toml").write_text(
        'kind = "OEM"\nprotocol = "acme"\nid_pattern = "x"\nsealed = false\n'
        '[signals]\nspeed = { type = "f64" }\nflags = { type = "u64", flags = { ignition = 63, key = 8 } }\n'
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "rover.toml").write_text(
        'id = "01KFZZZZZZZZZZZZZZZZZZZZZZ"\nmake = "Acme"\nname = "Rover"\ntype = "CAR"\nregions = ["EU"]\nversion = 1\n'
        "start_of_production = 2024-01-01\n[ACME.state]\n"
        'speed_in_kilometers_per_hour = { signal = "speed", scale = 3.6, decimals = 1 }\n'
        'ignition = { signal = "flags.ignition", map = { 0 = "OFF", 1 = "ON" } }\n'
        'vehicle_key_status = { signal = "flags.key", map = { 0 = "OUT", 1 = "IN" } }\n'
    )
    [model] = load(extra_folders=[tmp_path]).available("ACME")
    columns, unit = tables([model], "ACME"), model.units["ACME"]
    assert not columns.complete.any()
    state = {"speed_in_kilometers_per_hour": 36.0, "ignition": "ON", "vehicle_key_status": "IN"}
    assert unit.invert(state) == {"speed": 10.0, "flags": 1 << 63 | 1 << 8}
    assert unit.translate({"speed": 10.01, "flags": 1 << 8}) == {**state, "ignition": "OFF"}
    raw, present = columns.rows([{"flags": 1 << 8}, {"flags": (1 << 63) - (1 << 64)}])
    lanes = translate_rows(columns, np.array([0, 0]), raw, present)
    assert columns.state(0, lanes[0]) == {"ignition": "OFF", "vehicle_key_status": "IN"}
    assert columns.state(0, lanes[1]) == {"ignition": "ON", "vehicle_key_status": "OUT"}
