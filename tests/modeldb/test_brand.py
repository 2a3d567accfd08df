"""Brands: what their units are called, and that their signals are those of the wire."""

from pathlib import Path

import construct
import pytest

from modeldb import ModelError, load
from protocols import cloudboxx

TYPES = {
    construct.Int8ul: "u8",
    construct.Int16ul: "u16",
    construct.Int32ul: "u32",
    construct.Int16sl: "i16",
    construct.Int32sl: "i32",
    construct.Int64ul: "u64",
}


def brand_in(folder: Path, text: str, name: str = "ACME") -> Path:
    (folder / "brands").mkdir(exist_ok=True)
    (folder / "brands" / f"{name}.toml").write_text(text)
    return folder


ACME = 'kind = "OEM"\nprotocol = "acme"\nid_pattern = "{pattern}"\nid_check = "{check}"\n[signals]\nspeed = {{ type = "u8" }}\n'


def test_the_signals_of_the_brand_file_are_those_of_the_wire() -> None:
    signals = load().brands["CLOUDBOXX"].signals
    assert list(signals) == [signal.name for signal in cloudboxx.SIGNALS]
    for wire in cloudboxx.SIGNALS:
        signal = signals[wire.name]
        assert (signal.type, signal.unit, signal.states) == (TYPES[wire.form], wire.unit, wire.states), wire.name


def test_a_qnr_is_sixteen_upper_case_hex_digits() -> None:
    cloudboxx_brand = load().brands["CLOUDBOXX"]
    assert cloudboxx_brand.check_unit_id("0123456789ABCDEF") == []
    for text in ("0123456789abcdef", "0123456789ABCDE", "0123456789ABCDEF0", "0123456789ABCDEG", "0123456789ABCDEF\n", ""):
        with pytest.raises(ValueError, match="16 upper-case hexadecimal digits"):
            cloudboxx_brand.check_unit_id(text)


def test_a_wrong_luhn_digit_is_refused(tmp_path: Path) -> None:
    brand = load(extra_folders=[brand_in(tmp_path, ACME.format(pattern="[0-9]{15}", check="luhn"))]).brands["ACME"]
    assert brand.check_unit_id("490154203237518") == []
    with pytest.raises(ValueError, match="check digit"):
        brand.check_unit_id("490154203237519")


def test_a_wrong_vin_check_digit_only_warns(tmp_path: Path) -> None:
    brand = load(extra_folders=[brand_in(tmp_path, ACME.format(pattern="[A-HJ-NPR-Z0-9]{17}", check="vin"))]).brands["ACME"]
    assert brand.check_unit_id("1M8GDM9AXKP042788") == []
    assert brand.check_unit_id("11111111111111111") == []
    [warning] = brand.check_unit_id("WVWZZZ1KZAW000001")
    assert "check digit" in warning


def test_a_brand_like_another_has_its_models(tmp_path: Path) -> None:
    folder = brand_in(tmp_path, 'kind = "AFTERMARKET"\nlike = "CLOUDBOXX"\nheartbeat_s = 60\n')
    database = load(extra_folders=[folder])
    brand, like = database.brands["ACME"], database.brands["CLOUDBOXX"]
    assert (brand.protocol, brand.id_pattern, brand.signals, brand.commands) == (
        like.protocol,
        like.id_pattern,
        like.signals,
        like.commands,
    )
    assert brand.heartbeat_s == 60
    assert database.available("ACME") == database.available("CLOUDBOXX")
    [golf] = database.find("ACME", "Golf", 2021)
    assert golf.units["ACME"].brand is brand
    assert golf.units["ACME"].translate({"fuel_level": 100}) == {"state_of_charge_or_fuel_level_in_percent": 50.0}
    assert "ACME" not in load().brands


def test_a_brand_like_an_unsealed_one_is_not_sealed_either(tmp_path: Path) -> None:
    folder = brand_in(tmp_path, 'kind = "AFTERMARKET"\nlike = "TELTONIKA"\n')
    database = load(extra_folders=[brand_in(folder, 'kind = "OEM"\nlike = "CLOUDBOXX"\n', "OTHER")])
    brand, like = database.brands["ACME"], database.brands["TELTONIKA"]
    assert (brand.sealed, brand.id_check, brand.credential, brand.answers) == (False, "luhn", like.credential, like.answers)
    with pytest.raises(ValueError, match="check digit"):
        brand.check_unit_id("356307042441014")
    assert database.brands["OTHER"].sealed


def test_a_brand_that_does_not_say_so_is_not_sealed(tmp_path: Path) -> None:
    folder = brand_in(tmp_path, ACME.format(pattern="x", check="none"))
    assert not load(extra_folders=[folder]).brands["ACME"].sealed


def test_folders_of_the_environment_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELELOOP_MODELDB", str(brand_in(tmp_path, 'kind = "OEM"\nlike = "CLOUDBOXX"\n', "OTHER")))
    assert "OTHER" in load().brands


SIGNAL = 'kind = "OEM"\nprotocol = "x"\nid_pattern = "x"\n[signals]\nx = '


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('kind = "OEM"\n', "protocol"),
        ('kind = "OEM"\nprotocol = "x"\n', "signals"),
        ('kind = "HOME_MADE"\n', "kind"),
        ('kind = "OEM"\nlike = "NOBODY"\n', "like"),
        ('kind = "OEM"\nlike = "CLOUDBOXX"\n[signals]\nx = { type = "u8" }\n', "signals"),
        ('kind = "OEM"\nlike = "CLOUDBOXX"\nheartbeat_s = 0\n', "heartbeat_s"),
        ('kind = "OEM"\nlike = "TELTONIKA"\nsealed = true\n', "sealed"),
        ('kind = "OEM"\nlike = "CLOUDBOXX"\nid_pattern = "["\n', "id_pattern"),
        ('kind = "OEM"\nlike = "CLOUDBOXX"\ncommands = ["fly"]\n', "commands"),
        (SIGNAL + '{ type = "u7" }\n', "signals.x.type"),
        (SIGNAL + '{ type = "u8", states = ["a", "a"] }\n', "signals.x"),
        (SIGNAL + '{ type = "u8", flags = { a = 8 } }\n', "signals.x.a"),
        (
            'kind = "OEM"\nprotocol = "x"\nid_pattern = "x"\n[signals]\nx = { type = "u8", flags = { a = 1, b = 1 } }\n',
            "signals.x.b",
        ),
    ],
)
def test_a_wrong_brand_file_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(extra_folders=[brand_in(tmp_path, text)])
    assert (caught.value.file, caught.value.key) == ("brands/ACME.toml", key)


def test_a_brand_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="already"):
        load(extra_folders=[brand_in(tmp_path, 'kind = "OEM"\nlike = "CLOUDBOXX"\n', "CLOUDBOXX")])
