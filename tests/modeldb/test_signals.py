"""Raw signals of every kind: words, parts of wide words, two's complement, numbered names, families of devices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldb import ModelError, load
from modeldb.explain import explain
from modeldb.model import Translation
from modeldb.tables import tables, translate_rows

BRAND = """
kind = "AFTERMARKET"
protocol = "acme"
id_pattern = "x"
opaque = ["text_*"]
[signals]
lock = { type = "enum", values = ["open", "", "shut"] }
"door.{left|right|rear}" = { type = "enum", values = ["closed", "open", "ajar"] }
word = { type = "u64", flags = { ignition = 63 }, fields = { gear = [48, 4] } }
due = { type = "u64" }
depth = { type = "i16", complement = true }
cold = { type = "i8", complement = true, multiplier = 0.5 }
"io_{n}" = { type = "u32" }
"io_{n}.{a|b}" = { type = "u8" }
"""
MODEL = """
id = "01KFZZZZZZZZZZZZZZZZZZZZZZ"
make = "Acme"
name = "Rover"
type = "CAR"
start_of_production = 2020-01-01
regions = ["EU"]
version = 1
"""


def written(folder: Path, rules: str, *, family: str | None = None, brand: str = BRAND) -> Path:
    for name, text in (
        ("brands/ACME.toml", brand),
        ("families/acme-one.toml", family),
        ("models/rover.toml", MODEL + ('[ACME]\nfamily = "acme-one"\n' if family else "") + "[ACME.state]\n" + rules),
    ):
        if text is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    return folder


def unit_of(folder: Path, rules: str, *, family: str | None = None) -> Translation:
    [model] = load(written(folder, rules, family=family)).available("ACME")
    return model.units["ACME"]


def in_columns(folder: Path, signals: dict[str, Any]) -> dict[str, Any]:
    models = load(folder).available("ACME")
    columns = tables(models, "ACME")
    assert columns.complete.all()
    [row] = translate_rows(columns, np.array([0], np.intp), *columns.rows([signals]))
    return columns.state(0, row)


LOCK = 'central_lock = { signal = "lock", map = { open = "UNLOCKED", shut = "LOCKED" } }\n'
DEPTH = 'altitude_in_meters = { signal = "depth", valid = [-500, 9000] }\n'
RULES = LOCK + 'ignition = { signal = "word.ignition", map = { 0 = "OFF", 1 = "ON" } }\n'
RULES += 'satellites_in_use = { signal = "io_17", valid = [0, 100] }\n' + DEPTH
RULES += 'brake_fluid_due_date = { signal = "due", epoch = 1970-01-01, per_day = 86400 }\n'
RULES += 'vehicle_key_status = { signal = "word.gear", map = { 5 = "IN", 15 = "OUT" } }\n'


@pytest.mark.parametrize(
    ("signals", "state"),
    [
        ({"lock": "shut"}, {"central_lock": "LOCKED"}),
        ({"lock": "open"}, {"central_lock": "UNLOCKED"}),
        ({"lock": ""}, {}),
        ({"lock": "ajar"}, {}),
        ({"lock": 2}, {}),
        ({"lock": None}, {}),
        ({"word": 1 << 63 | 5 << 48}, {"ignition": "ON", "vehicle_key_status": "IN"}),
        ({"word": (1 << 63) - 1}, {"ignition": "OFF", "vehicle_key_status": "OUT"}),
        ({"word": 0}, {"ignition": "OFF"}),
        ({"depth": 65_535}, {"altitude_in_meters": -1}),
        ({"depth": 65_036}, {"altitude_in_meters": -500}),
        ({"depth": 65_035}, {}),
        ({"depth": 9_000}, {"altitude_in_meters": 9000}),
        ({"depth": 65_536}, {}),
        ({"io_17": 12, "io_18": 13}, {"satellites_in_use": 12}),
        ({"due": 86_400 * 20_000}, {"brake_fluid_due_date": "2024-10-04"}),
        ({"due": 86_400 * 20_001}, {"brake_fluid_due_date": "2024-10-05"}),
        ({"due": 86_400 * 20_000 - 1}, {"brake_fluid_due_date": "2024-10-03"}),
        ({"due": 86_400 * 20_000 + 86_399}, {"brake_fluid_due_date": "2024-10-04"}),
    ],
)
def test_signals_of_every_kind_are_read_alike_by_rules_and_columns(
    tmp_path: Path, signals: dict[str, Any], state: dict[str, Any]
) -> None:
    unit = unit_of(tmp_path, RULES)
    assert unit.translate(signals) == state
    assert in_columns(tmp_path, signals) == state
    again = unit.invert(state)
    assert unit.translate(again) == state


def test_a_table_knows_what_is_said_and_nothing_else(tmp_path: Path) -> None:
    table = load(written(tmp_path, LOCK)).brands["ACME"].table
    for name in ("lock", "door.rear", "io_0", "io_65535", "io_7.b", "text_", "text_7"):
        assert table.knows(name), name
    for name in ("", "door.roof", "door.{left|right|rear}", "io_", "io_-1", "io_007", "io_7.c", "a text_7", "io_7\n"):
        assert not table.knows(name), name


def test_a_state_is_said_as_the_wire_has_it(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, RULES)
    assert unit.invert({"altitude_in_meters": -1, "central_lock": "LOCKED"}) == {"depth": 65_535, "lock": "shut"}
    assert unit.invert({"ignition": "ON", "vehicle_key_status": "IN"}) == {"word": 1 << 63 | 5 << 48}
    assert unit.invert({"brake_fluid_due_date": "2024-10-04"}) == {"due": 86_400 * 20_000}
    assert unit.signals["io_17"].type == "u32"
    assert "io_18" not in unit.signals


def test_steps_and_multipliers_of_signed_signals(tmp_path: Path) -> None:
    rules = 'cellular_signal_quality = { signal = "cold", steps = [-50, -40, 0], valid = [-60, 10] }\n'
    unit = unit_of(tmp_path, rules)
    for raw, quality in ((256 - 51, 0), (256 - 50, 1), (255, 2), (0, 3), (11, None), (256 - 61, None)):
        assert unit.translate({"cold": raw}).get("cellular_signal_quality") == quality
        assert in_columns(tmp_path, {"cold": raw}).get("cellular_signal_quality") == quality
    assert unit.invert({"cellular_signal_quality": 1}) == {"cold": 256 - 50}


def test_a_scale_is_of_what_the_signal_counts_in(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, 'altitude_in_meters = { signal = "cold", scale = 10 }\n')
    assert unit.translate({"cold": 256 - 3}) == {"altitude_in_meters": -15}
    assert unit.invert({"altitude_in_meters": -15}) == {"cold": 256 - 3}


DOORS = (
    'doors_status = { any_of = ["door.left", "door.right", "door.rear"], '
    'map = { closed = "CLOSED", open = "OPEN", ajar = "OPEN" } }\n'
)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (("closed", "closed", "closed"), "CLOSED"),
        (("closed", "ajar", "closed"), "OPEN"),
        ((None, None, "open"), "OPEN"),
        (("closed", "closed", None), None),
        (("closed", "closed", "melted"), None),
        (("closed", "closed", ["open"]), None),
    ],
)
def test_doors_said_one_by_one_are_closed_only_if_all_are(tmp_path: Path, said: tuple[Any, ...], state: str | None) -> None:
    unit = unit_of(tmp_path, DOORS)
    signals = {f"door.{name}": raw for name, raw in zip(("left", "right", "rear"), said, strict=True) if raw is not None}
    assert unit.translate(signals).get("doors_status") == state
    [made] = explain(unit, signals)
    assert made.value == state
    assert "CLOSED if all" in made.rule


def test_one_open_door_is_said_as_one(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, DOORS)
    assert unit.invert({"doors_status": "OPEN"}) == {"door.left": "open", "door.right": "closed", "door.rear": "closed"}
    assert set(unit.invert({"doors_status": "CLOSED"}).values()) == {"closed"}
    assert not tables(load(tmp_path).available("ACME"), "ACME").complete.any()


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ('central_lock = { signal = "lock", map = { ajar = "LOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "lock", map = { 2 = "LOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "lock", map = { "" = "LOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "io_01", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('central_lock = { signal = "io_x", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('central_lock = { signal = "io_{n}", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('central_lock = { signal = "text_1", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('central_lock = { signal = "depth", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('central_lock = { signal = "word.gear", map = { 16 = "LOCKED" } }', "central_lock.map"),
        ('altitude_in_meters = { signal = "lock" }', "altitude_in_meters.signal"),
        ('cellular_signal_quality = { signal = "lock", steps = [1] }', "cellular_signal_quality.signal"),
        ('brake_fluid_due_date = { signal = "due", epoch = 1970-01-01, per_day = 0 }', "brake_fluid_due_date.per_day"),
        ('doors_status = { any_of = ["door.left"], map = { closed = "CLOSED" } }', "doors_status.any_of"),
        ('doors_status = { any_of = ["door.left", "door.left"], map = { closed = "CLOSED" } }', "doors_status.any_of"),
        ('doors_status = { any_of = ["door.left", "door.roof"], map = { closed = "CLOSED" } }', "doors_status.any_of"),
        ('doors_status = { any_of = ["door.left", "lock"], map = { open = "OPEN" } }', "doors_status.any_of"),
        ('doors_status = { any_of = ["door.left", "door.right"] }', "doors_status.map"),
    ],
)
def test_a_wrong_rule_is_named_with_its_key(tmp_path: Path, rule: str, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(written(tmp_path, rule + "\n"))
    assert (caught.value.file, caught.value.key) == ("models/rover.toml", f"ACME.state.{key}")


@pytest.mark.parametrize(
    ("signal", "key"),
    [
        ('{ type = "enum" }', "values"),
        ('{ type = "enum", values = ["", ""] }', "values"),
        ('{ type = "enum", values = ["a", "a"] }', "values"),
        ('{ type = "u8", values = ["a"] }', "values"),
        ('{ type = "u8", complement = true }', "complement"),
        ('{ type = "u8", multiplier = 0 }', "multiplier"),
        ('{ type = "u8", multiplier = nan }', "multiplier"),
        ('{ type = "u16", fields = { a = [0, 9] } }', "a"),
        ('{ type = "u16", fields = { a = [0, 0] } }', "a"),
        ('{ type = "u16", fields = { a = [14, 4] } }', "a"),
        ('{ type = "u16", fields = { a = [0, 4] }, flags = { b = 3 } }', "a"),
        ('{ type = "i16", flags = { a = 3 } }', "a"),
    ],
)
def test_a_wrong_signal_is_named_with_its_key(tmp_path: Path, signal: str, key: str) -> None:
    brand = f'kind = "OEM"\nprotocol = "acme"\nid_pattern = "x"\n[signals]\nx = {signal}\n'
    with pytest.raises(ModelError) as caught:
        load(written(tmp_path, LOCK, brand=brand))
    assert (caught.value.file, caught.value.key) == ("brands/ACME.toml", f"signals.x.{key}")


def test_a_name_stands_once_however_it_is_spelled(tmp_path: Path) -> None:
    brand = BRAND + '"door.left" = { type = "u8" }\n'
    with pytest.raises(ModelError, match="twice"):
        load(written(tmp_path, LOCK, brand=brand))


# Families --------------------------------------------------------------------------------------------------------------

FAMILY = """
brand = "ACME"
signal = "io_{n}"
[ids]
7 = { name = "speed", type = "u16", multiplier = 0.1, unit = "km/h" }
8 = { name = "climb", type = "i16", unit = "m" }
9 = { name = "switches", type = "u16", flags = { ignition = 9 } }
"""
BY_NAME = """
speed_in_kilometers_per_hour = { signal = "speed" }
altitude_in_meters = { signal = "climb" }
ignition = { signal = "switches.ignition", map = { 0 = "OFF", 1 = "ON" } }
satellites_in_use = { signal = "io_99", valid = [0, 100] }
[[ACME.examples]]
signals = { speed = 123, io_8 = 0xffff, lock = "open" }
state = { speed_in_kilometers_per_hour = 12.3, altitude_in_meters = -1 }
"""


def test_a_model_reads_its_familys_names(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, BY_NAME, family=FAMILY)
    state = {"speed_in_kilometers_per_hour": 12.3, "altitude_in_meters": -1, "ignition": "ON", "satellites_in_use": 12}
    signals = {"io_7": 123, "io_8": 0xFFFF, "io_9": 0x200, "io_99": 12}
    assert unit.translate(signals) == state
    assert unit.invert(state) == signals
    assert in_columns(tmp_path, signals) == state
    assert unit.family == "acme-one"
    assert unit.examples[0].signals == {"io_7": 123, "io_8": 0xFFFF, "lock": "open"}
    by_key = {made.key: made for made in explain(unit, signals)}
    assert by_key["speed_in_kilometers_per_hour"].raw == {"io_7": 123}
    assert by_key["speed_in_kilometers_per_hour"].rule == "speed x 0.1, valid 0 to 5000"
    assert by_key["ignition"].rule == "switches.ignition: 0 OFF, 1 ON"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"ACME"', '"NOBODY"', "brand"),
        ('"io_{n}"', '"io_7"', "signal"),
        ('"io_{n}"', '"oi_{n}"', "signal"),
        ("7 = {", "07 = {", "ids.07"),
        ("7 = {", "seven = {", "ids.seven"),
        ('"climb"', '"speed"', "ids.8.name"),
        ('"climb"', '"lock"', "ids.8.name"),
        ('"climb"', '"Climb"', "ids.8.name"),
        ('name = "climb", ', "", "ids.8.name"),
        ('"i16"', '"i15"', "ids.8.type"),
        ("ignition = 9", "ignition = 16", "ids.9.ignition"),
        ("[ids]", "[idz]", ""),
    ],
)
def test_a_wrong_family_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(written(tmp_path, BY_NAME, family=FAMILY.replace(old, new)))
    assert (caught.value.file, caught.value.key) == ("families/acme-one.toml", key)


def test_a_family_of_another_brand_is_none(tmp_path: Path) -> None:
    folder = written(tmp_path, BY_NAME)
    path = folder / "models" / "rover.toml"
    path.write_text(path.read_text().replace("[ACME.state]", '[ACME]\nfamily = "teltonika-fmb"\n[ACME.state]'))
    with pytest.raises(ModelError) as caught:
        load(extra_folders=[folder])
    assert (caught.value.file, caught.value.key) == ("models/rover.toml", "ACME.family")


def test_a_family_is_named_once(tmp_path: Path) -> None:
    folder = written(tmp_path, BY_NAME, family=FAMILY)
    (folder / "families" / "acme-one.toml").rename(folder / "families" / "teltonika-fmb.toml")
    with pytest.raises(ModelError, match="already"):
        load(extra_folders=[folder])
