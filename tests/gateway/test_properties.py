"""What rows say by the tables of the models is what each model's rules say of the report, whatever a record carries."""

import random
from pathlib import Path

import pytest

import modeldb
from gateway.memory import Vehicle
from gateway.reader import Reader, Said
from gateway.receipts import Heard, Telegram
from lab import avl_records
from lab.corpus import PATHS
from modeldb import Database
from protocols import load
from protocols.codec import UnitId
from protocols.hotpath import Decoder
from protocols.hotpath.kernels import Path as KernelPath
from protocols.teltonika_session import avl

AT = 1_795_446_000_000
LAYOUTS = 5
TELTONIKA = load()["teltonika"]
UNIT = UnitId("TELTONIKA", "356307042441013")

FAMILY = """
brand = "TELTONIKA"
signal = "io_{n}"
[ids]
1 = { name = "small", type = "i8" }
9 = { name = "voltage", type = "i16", multiplier = 0.001, unit = "V" }
16 = { name = "middle", type = "i32" }
11 = { name = "large", type = "i64" }
77 = { name = "steps", type = "u64" }
78 = { name = "days", type = "i32" }
10000 = { name = "level", type = "i24" }
20000 = { name = "bits", type = "u64", flags = { lowest = 0, middle = 31, highest = 63 } }
"""

MODEL = """
id = "01KGHBNSM0KEZMBHQB69GDBBNE"
make = "Odd"
name = "Numbers"
type = "CAR"
start_of_production = 2020-01-01
regions = ["EU"]
version = 1
[TELTONIKA]
family = "odd"
[TELTONIKA.state]
position = { latitude = "latitude", longitude = "longitude", scale = 1e-7 }
altitude_in_meters = { signal = "small", scale = 2 }
onboard_voltage_in_volts = { signal = "voltage", offset = 40 }
mileage_in_kilometers = { signal = "middle", scale = 0.001 }
remaining_range_in_kilometers = { signal = "large", offset = 5, valid = [-5, 5000] }
brake_fluid_due_date = { signal = "days", epoch = 2020-01-01 }
state_of_charge_or_fuel_level_in_percent = { signal = "level", scale = 0.01 }
central_lock = { signal = "bits.highest", map = { 0 = "UNLOCKED", 1 = "LOCKED" } }
doors_status = { signal = "bits.lowest", map = { 0 = "CLOSED", 1 = "OPEN" } }
ignition = { signal = "bits.middle", map = { 0 = "OFF", 1 = "ON" } }
abs_status = { signal = "io_200", map = { 0 = "ENABLED", 1 = "DISABLED" } }
"""

STEPS = 'cellular_signal_quality = { signal = "steps", steps = [1, 40000, 5000000000] }\n'


def database(folder: Path, model: str) -> Database:
    (folder / "families").mkdir()
    (folder / "families" / "odd.toml").write_text(FAMILY)
    (folder / "models").mkdir()
    (folder / "models" / "numbers.toml").write_text(model)
    return modeldb.load(extra_folders=[folder])


def vehicles(known: Database) -> list[Vehicle]:
    brand = known.brands["TELTONIKA"]
    return [Vehicle("V0001", "fleet", UNIT, brand, model) for model in known.available("TELTONIKA")]


def told(reader: Reader, vehicle: Vehicle, payloads: list[bytes]) -> list[dict[str, object]]:
    """What the reader says that the reports say, payload by payload."""
    batch = [Said(Telegram(UNIT, payload, AT), vehicle) for payload in payloads]
    read = reader.read(batch)
    frames = [frame for each in read for frame in ([each] if isinstance(each, Heard) else [it.heard for it in each or ()])]
    assert reader.unvouched == 0
    return [report.properties for frame in frames for report in frame.reports]


def assert_said_by_the_rules(known: Database, path: KernelPath, seed: int) -> int:
    rng, reader, said = random.Random(seed), Reader(known, lambda _: (), path), 0
    for vehicle in vehicles(known):
        unit = vehicle.model.units["TELTONIKA"]
        names = sorted({name for rule in unit.rules for name in rule.signals})
        for layout in avl_records.layouts(names, LAYOUTS, rng):
            payloads = [
                TELTONIKA.encode(avl(layout.codec, [avl_records.said(layout, AT + at, rng) for at in range(rng.randrange(1, 5))]))
                for _ in range(20)
            ]
            expected = [unit.translate(report.signals) for each in payloads for report in TELTONIKA.decode(each).reports]
            found = told(reader, vehicle, payloads)
            assert [repr(each) for each in found] == [repr(each) for each in expected], vehicle.model.title
            said += sum(map(len, found))
    return said


@pytest.mark.parametrize("path", PATHS)
def test_avl_records_say_what_the_rules_say(path: KernelPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Decoder, "frame", None)  # nothing but tables: a frame need not be put together
    assert assert_said_by_the_rules(database(tmp_path, MODEL), path, seed=1) > 2_000


@pytest.mark.parametrize("path", PATHS)
def test_what_has_no_table_is_said_by_the_rules_themselves(path: KernelPath, tmp_path: Path):
    assert assert_said_by_the_rules(database(tmp_path, MODEL + STEPS), path, seed=2) > 2_000


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(3, 23))
def test_many_avl_records_say_what_the_rules_say(path: KernelPath, seed: int, tmp_path: Path):
    assert assert_said_by_the_rules(database(tmp_path, MODEL), path, seed) > 2_000
