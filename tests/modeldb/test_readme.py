"""The page "add a model" is true: its very model and brand work."""

import re
from pathlib import Path

from modeldb import load
from modeldb.check import check
from modeldb.database import FOLDER

PAGE = (FOLDER / "README.md").read_text("utf-8")
MODEL, BRAND = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_model_of_the_page_can_be_added_by_its_file_alone(tmp_path: Path) -> None:
    path = tmp_path / re.findall(r"`my-models/(\S+)`:", PAGE)[0]
    path.parent.mkdir(parents=True)
    path.write_text(MODEL)
    (tmp_path / "brands").mkdir()
    (tmp_path / "brands" / "ACME.toml").write_text(BRAND)
    database = load(extra_folders=[tmp_path])
    assert check(database.models.values(), database.brands.values()) == []
    [rover] = database.find("CLOUDBOXX", "Acme Rover", 2024)
    assert rover.units["ACME"].translate({"fuel_level": 100}) == {"state_of_charge_or_fuel_level_in_percent": 50.0}
    assert rover.units["CLOUDBOXX"].render("unlock-central-lock").parameters == b"\x01\xf4"
    assert database.brands["ACME"].heartbeat_s == 600


def test_files_that_the_page_names_exist() -> None:
    for name in ("vocabulary.py", "brands/CLOUDBOXX.toml"):
        assert f"`{name}`" in PAGE
        assert (FOLDER / name).is_file()
