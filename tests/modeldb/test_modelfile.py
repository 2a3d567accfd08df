"""Wrong model files: always a ModelError that names the file and the key, never anything else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldb import ModelError, load
from modeldb.database import FOLDER
from modeldb.modelfile import load_model
from modeldb.vocabulary import PROPERTIES

FILE = "models/acme/rover-2020.toml"
GOOD = (FOLDER / "models" / "volkswagen" / "golf-2020.toml").read_text()
HEADER = """
id = "01KFZZZZZZZZZZZZZZZZZZZZZZ"
make = "Acme"
name = "Rover"
type = "CAR"
start_of_production = 2020-01-01
regions = ["EU"]
version = 1
"""
STATE = HEADER + "[CLOUDBOXX.state]\n"
LOCK = 'central_lock = { signal = "can_locks.central_lock", map = { 0 = "UNLOCKED", 1 = "LOCKED" } }\n'


def refused(folder: Path, text: str) -> ModelError:
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        load(extra_folders=[folder])
    assert caught.value.file == FILE
    assert str(caught.value).startswith(f"{FILE}: {caught.value.key}")
    return caught.value


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ('wings = { signal = "doors" }', "wings"),
        ('altitude_in_meters = { signal = "depth" }', "altitude_in_meters.signal"),
        ("altitude_in_meters = { scale = 2 }", "altitude_in_meters.signal"),
        ('altitude_in_meters = { signal = "altitude", scael = 2 }', "altitude_in_meters"),
        ('altitude_in_meters = { signal = "altitude", scale = "2" }', "altitude_in_meters.scale"),
        ('altitude_in_meters = { signal = "altitude", scale = 0 }', "altitude_in_meters.scale"),
        ('altitude_in_meters = { signal = "altitude", scale = nan }', "altitude_in_meters.scale"),
        ('altitude_in_meters = { signal = "altitude", scale = 1e-300 }', "altitude_in_meters.scale"),
        ('altitude_in_meters = { signal = "altitude", offset = inf }', "altitude_in_meters.offset"),
        ('altitude_in_meters = { signal = "altitude", offset = 100000 }', "altitude_in_meters.scale"),
        ('altitude_in_meters = { signal = "altitude", decimals = 9 }', "altitude_in_meters.decimals"),
        ('altitude_in_meters = { signal = "altitude", valid = [3, 2] }', "altitude_in_meters.valid"),
        ('altitude_in_meters = { signal = "altitude", valid = [0, 70000] }', "altitude_in_meters.valid"),
        ('altitude_in_meters = { signal = "altitude", valid = [-2000, 0] }', "altitude_in_meters.valid"),
        ('altitude_in_meters = { signal = "altitude", map = { 0 = "LOW" } }', "altitude_in_meters.map"),
        ('mileage_in_kilometers = { signal = "odometer", decimals = 6 }', "mileage_in_kilometers.decimals"),
        ('satellites_in_use = { signal = "satellites", scale = 0.5, decimals = 1 }', "satellites_in_use.decimals"),
        ('cellular_signal_quality = { signal = "rssi", steps = [] }', "cellular_signal_quality.steps"),
        ('cellular_signal_quality = { signal = "rssi", steps = [-100, -110] }', "cellular_signal_quality.steps"),
        ('cellular_signal_quality = { signal = "rssi", steps = [1, 2, 3, 4, 5, 6] }', "cellular_signal_quality.steps"),
        ('cellular_signal_quality = { signal = "rssi", steps = [-100], scale = 2 }', "cellular_signal_quality.scale"),
        ('brake_fluid_due_date = { signal = "brake_fluid_due" }', "brake_fluid_due_date.epoch"),
        (
            'brake_fluid_due_date = { signal = "brake_fluid_due", epoch = 2000-01-01, valid = [0.2, 0.8] }',
            "brake_fluid_due_date.valid",
        ),
        ('position = { latitude = "latitude" }', "position.longitude"),
        ('position = { signal = "latitude" }', "position.signal"),
        ('central_lock = { signal = "can_locks" }', "central_lock.signal"),
        ('central_lock = { signal = "can_locks.boot" }', "central_lock.signal"),
        ('central_lock = { signal = "can_locks.central_lock" }', "central_lock.map"),
        ('central_lock = { signal = "can_locks.central_lock", map = { 4 = "LOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "can_locks.central_lock", map = { one = "LOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "can_locks.central_lock", map = { 1 = "AJAR" } }', "central_lock.map"),
        ('central_lock = { signal = "lock_code", map = { 1 = "LOCKED", 0x01 = "UNLOCKED" } }', "central_lock.map"),
        ('central_lock = { signal = "altitude", map = { 1 = "LOCKED" } }', "central_lock.signal"),
        ('driving_enabled = { signal = "switches.driving_enabled", map = { 1 = "true" } }', "driving_enabled.map"),
        ('doors_status = { signal = "doors", any_of = [], map = { 1 = "OPEN" } }', "doors_status.any_of"),
        ('doors_status = { signal = "doors", any_of = ["roof"], map = { 1 = "OPEN" } }', "doors_status.any_of"),
        ('brake_warning_indicator = { signal = "lamps_safety", any_of = ["brake"] }', "brake_warning_indicator.any_of"),
    ],
)
def test_a_wrong_rule_is_named_with_its_key(tmp_path: Path, rule: str, key: str) -> None:
    assert refused(tmp_path, STATE + rule + "\n").key == f"CLOUDBOXX.state.{key}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("]", ""),
        ("", ""),
        (HEADER, ""),
        (HEADER.replace("01KF", "LIKE") + "", "id"),
        (HEADER.replace('"CAR"', '"BOAT"'), "type"),
        (HEADER.replace("2020-01-01", '"2020"'), "start_of_production"),
        (HEADER + "end_of_production = 2019-01-01\n", "end_of_production"),
        (HEADER.replace('["EU"]', "[]"), "regions"),
        (HEADER.replace('["EU"]', '["eu"]'), "regions"),
        (HEADER.replace("version = 1", "version = 0"), "version"),
        (HEADER.replace('"Acme"', '" Acme"'), "make"),
        (HEADER + "[NOBODY.state]\n", "NOBODY"),
        (HEADER + "colour = 3\n", "colour"),
        (HEADER + "CLOUDBOXX = 3\n", "CLOUDBOXX"),
        (STATE, "CLOUDBOXX.state"),
        (STATE + LOCK + "[CLOUDBOXX.rules]\n", "CLOUDBOXX"),
        (STATE + LOCK + "[CLOUDBOXX.commands]\nfly = {}\n", "CLOUDBOXX.commands.fly"),
        (STATE + LOCK + "[CLOUDBOXX.commands]\nlock-top-case = {}\n", "CLOUDBOXX.commands.lock-top-case"),
        (STATE + LOCK + '[CLOUDBOXX.commands]\ndraw-attention = { parameters = "0" }\n', "CLOUDBOXX.commands.draw-attention"),
        (
            STATE + LOCK + f'[CLOUDBOXX.commands]\ndraw-attention = {{ native = "{"00" * 300}" }}\n',
            "CLOUDBOXX.commands.draw-attention",
        ),
        (STATE + LOCK + "[[CLOUDBOXX.examples]]\nsignals = { x = 1 }\nstate = {}\n", "CLOUDBOXX.examples[0].signals.x"),
        (
            STATE + LOCK + '[[CLOUDBOXX.examples]]\nsignals = {}\nstate = { central_lock = "AJAR" }\n',
            "CLOUDBOXX.examples[0].state.central_lock",
        ),
        (
            STATE + LOCK + f"[[CLOUDBOXX.examples]]\nsignals = {{}}\nstate = {{ mileage_in_kilometers = 1{'0' * 400} }}\n",
            "CLOUDBOXX.examples[0].state.mileage_in_kilometers",
        ),
    ],
)
def test_a_wrong_model_file_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert refused(tmp_path, text).key == key


def test_a_ulid_stands_for_one_model(tmp_path: Path) -> None:
    golf = next(model for model in load().models.values() if model.title == "Volkswagen Golf")
    error = refused(tmp_path, (STATE + LOCK).replace("01KFZZZZZZZZZZZZZZZZZZZZZZ", golf.id))
    assert error.key == "id"
    assert golf.file in error.problem


def test_spans_of_one_name_in_one_region_do_not_overlap(tmp_path: Path) -> None:
    golf = (STATE + LOCK).replace("Acme", "Volkswagen").replace("Rover", "Golf").replace("2020-01-01", "2019-12-31")
    assert refused(tmp_path, golf).key == "start_of_production"
    (tmp_path / FILE).write_text(golf.replace('"EU"', '"US"'))
    elsewhere = tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert len(load(extra_folders=[elsewhere]).find("CLOUDBOXX", "Golf", 2019)) == 2


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    for data in (b"\xff\xfe", b"x = " + b"[" * 5000, b"x = " + b"9" * 5000, b"\0"):
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            load_model(path, FILE, load().brands)
        assert caught.value.file == FILE


ACME = """
kind = "OEM"
protocol = "acme"
id_pattern = "x"
[signals]
level = { type = "f64" }
count = { type = "u64" }
"""


@pytest.mark.parametrize(
    ("rule", "raw", "value"),
    [
        ('speed_in_kilometers_per_hour = { signal = "level", scale = 3.6, decimals = 1 }', 10.01, 36.0),
        ('cellular_signal_quality = { signal = "level", steps = [0.2, 0.4] }', 0.3, 1),
        ('mileage_in_kilometers = { signal = "count", scale = -0.001, offset = 100 }', 10_000, 90.0),
        ('ignition = { signal = "count", map = { 0 = "OFF", 255 = "ON" } }', 255, "ON"),
        ('brake_fluid_due_date = { signal = "count", epoch = 9999-12-31 }', 0, "9999-12-31"),
        ('brake_fluid_due_date = { signal = "level", epoch = 2000-01-01 }', None, "brake_fluid_due_date.signal"),
        ('speed_in_kilometers_per_hour = { signal = "level", valid = [nan, nan] }', None, "speed_in_kilometers_per_hour.valid"),
        ('speed_in_kilometers_per_hour = { signal = "level", valid = [-inf, inf] }', None, "speed_in_kilometers_per_hour.valid"),
        ('ignition = { signal = "level", map = { 0 = "OFF" } }', None, "ignition.signal"),
    ],
)
def test_signals_of_any_width_and_with_fractions_have_rules(
    tmp_path: Path, rule: str, raw: float | None, value: str | float
) -> None:
    (tmp_path / "brands").mkdir()
    (tmp_path / "brands" / "ACME.toml").write_text(ACME)
    text = HEADER + "[ACME.state]\n" + rule + "\n"
    if raw is None:
        assert refused(tmp_path, text).key == f"ACME.state.{value}"
        return
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "rover.toml").write_text(text)
    [model] = load(extra_folders=[tmp_path]).available("ACME")
    unit = model.units["ACME"]
    state = {rule.partition(" ")[0]: value}
    assert unit.translate(dict.fromkeys(unit.brand.signals, raw)) == state
    assert unit.translate(unit.invert(state)) == state
    for beyond in (float("inf"), float("-inf"), float("nan"), 2**64 - 1):
        for key, said in unit.translate(dict.fromkeys(unit.brand.signals, beyond)).items():
            assert PROPERTIES[key].allows(said)


LINES = GOOD.splitlines(keepends=True)
VALUES = st.sampled_from(
    ["0", "-1", "1e400", "nan", '"x"', "[]", "{}", "true", "2000-01-01", "9" * 400, '[[1, 2], "a"]', '{ 0 = "LOCKED" }']
)


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A good file with lines lost, doubled, swapped, or with another value after some `=`."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["lose", "double", "value", "inner", "cut"])):
            case "lose":
                lines[at] = "\n"
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "value":
                lines[at] = lines[at].partition("=")[0] + "= " + draw(VALUES) + "\n"
            case "inner":
                head, _, tail = lines[at].rpartition(" = ")
                lines[at] = f"{head} = {draw(VALUES)} {tail.partition(' ')[2]}"
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))] + "\n"
    return "".join(lines)


@settings(max_examples=300, deadline=None)
@given(text=broken())
def test_a_broken_file_is_a_model_error_or_a_model_that_works(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.toml"
    path.write_text(text)
    try:
        model = load_model(path, FILE, load().brands)
    except ModelError as error:
        assert error.file == FILE  # noqa: PT017
    else:
        for unit in model.units.values():
            for raw in (-40000, -1, 0, 1, 255, 40000, 2**32):
                state = unit.translate(dict.fromkeys(unit.brand.signals, raw))
                assert unit.translate(unit.invert(state)).keys() >= state.keys()
