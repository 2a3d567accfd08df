"""The pages "add a model" and "add a brand" are true: their very files work."""

import re
from pathlib import Path

from modeldb import load
from modeldb.check import check
from modeldb.database import FOLDER, Database

PAGE = (FOLDER / "README.md").read_text("utf-8")
MODEL, BRAND, FAMILY, TRANSLATION, LIKE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
MODEL_FILE, BRAND_FILE, FAMILY_FILE = (
    re.findall(rf"`my-models/({kind}/\S+)`", PAGE)[0] for kind in ("models", "brands", "families")
)


def added(folder: Path, *files: tuple[str, str]) -> Database:
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    database = load(extra_folders=[folder])
    assert check(database.models.values(), database.brands.values()) == []
    return database


def test_the_model_of_the_page_can_be_added_by_its_file_alone(tmp_path: Path) -> None:
    database = added(tmp_path, (MODEL_FILE, MODEL), ("brands/ACME.toml", LIKE))
    [rover] = database.find("CLOUDBOXX", "Acme Rover", 2024)
    assert rover.units["ACME"].translate({"fuel_level": 100}) == {"state_of_charge_or_fuel_level_in_percent": 50.0}
    assert rover.units["CLOUDBOXX"].render("unlock-central-lock").parameters == b"\x01\xf4"
    assert database.brands["ACME"].heartbeat_s == 600


def test_the_brand_of_the_page_can_be_added_by_its_files_alone(tmp_path: Path) -> None:
    database = added(tmp_path, (BRAND_FILE, BRAND), (FAMILY_FILE, FAMILY), (MODEL_FILE, MODEL + TRANSLATION))
    orbit, cloudboxx = (database.find(brand, "Rover")[0].units[brand] for brand in ("ORBIT", "CLOUDBOXX"))
    assert len(orbit.examples) == 1
    assert orbit.translate({"io_16": 41_397_250}) == {"mileage_in_kilometers": 41397.2}
    assert orbit.render("unlock-central-lock").native
    assert not cloudboxx.render("unlock-central-lock").native
    brand = database.brands["ORBIT"]
    assert (brand.sealed, brand.check_unit_id("356307042441013")) == (False, [])
    assert brand.table.knows("note_1")
    assert orbit.signals["io_72"].complement


def test_files_that_the_page_names_exist() -> None:
    assert "`vocabulary.py`" in PAGE
    assert (FOLDER / "vocabulary.py").is_file()
    assert (FOLDER / "families" / "teltonika-fmb.toml").is_file()
