"""Brands, families and models against the wire: what the protocols decode, the models understand."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from construct import Enum, FormatField, Struct

from modeldb import load
from modeldb.explain import explain, unread
from modeldb.signals import Signal
from protocols import autoapi_commands, cloudboxx
from protocols import load as load_protocols
from protocols.autoapi_capabilities import CAPABILITIES
from protocols.autoapi_types import Keyed, Measure, Property
from protocols.autoapi_values import bare
from protocols.codec import ProtocolError, Report
from protocols.gbt32960_signals import EXTENSION_SIGNALS

ROOT = Path(__file__).parents[2]
OWN = ROOT / "tests" / "vectors"
PUBLIC = ROOT.parent / "shared" / "vectors"
BRANDS = {"TELTONIKA": ("teltonika", "teltonika"), "GBT32960": ("gbt32960", "gb32960"), "MERCEDES_BENZ": ("autoapi", "autoapi")}
"""Brand to the names of its own and its public vector file."""


def own_frames(brand: str) -> list[bytes]:
    said = json.loads((OWN / f"{BRANDS[brand][0]}.json").read_text())
    return [bytes.fromhex(each["hex"]) for each in (said["frames"] if isinstance(said, dict) else said)]


def public_frames(brand: str) -> list[bytes]:
    path = PUBLIC / f"{BRANDS[brand][1]}.jsonl"
    if not path.exists():
        pytest.skip("the frames of others are not here")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [bytes.fromhex(each.get("message_hex_derived") or each["hex"]) for each in lines]


def reports(brand: str, payloads: list[bytes]) -> Iterator[Report]:
    protocol = load_protocols()[load().brands[brand].protocol]
    for payload in payloads:
        for cut in protocol.split(payload):
            try:
                frame = protocol.decode(cut.data)
            except ProtocolError:
                continue
            yield from frame.reports


@pytest.mark.parametrize("frames", [own_frames, public_frames])
@pytest.mark.parametrize("brand", BRANDS)
def test_whatever_a_unit_says_is_in_its_brands_table(brand: str, frames: Any) -> None:
    table = load().brands[brand].table
    said = {name for report in reports(brand, frames(brand)) for name in report.signals}
    assert said
    assert sorted(name for name in said if not table.knows(name)) == []


@pytest.mark.parametrize("frames", [own_frames, public_frames])
@pytest.mark.parametrize("brand", BRANDS)
def test_signals_are_of_the_type_that_the_table_says(brand: str, frames: Any) -> None:
    table = load().brands[brand].table
    for report in reports(brand, frames(brand)):
        for name, raw in report.signals.items():
            found = table.find(name)
            if found is not None and not isinstance(raw, bytes):
                assert fits(raw, found[1]), (name, raw)


def fits(raw: Any, signal: Signal) -> bool:
    if signal.type == "enum":
        return raw in signal.codes
    return isinstance(raw, int | float if signal.fractional else int) and signal.low <= raw <= signal.high


@pytest.mark.parametrize("frames", [own_frames, public_frames])
@pytest.mark.parametrize("brand", BRANDS)
def test_every_frame_means_something_to_some_model(brand: str, frames: Any) -> None:
    """Never an exception; each model explains what it translates; what no rule reads is named, and the rest is read."""
    meaning: set[str] = set()
    for report in reports(brand, frames(brand)):
        for model in load().available(brand):
            unit = model.units[brand]
            state = unit.translate(report.signals)
            meaning |= state.keys()
            made = explain(unit, report.signals)
            assert {each.key: each.value for each in made if each.value is not None} == state
            read = {name for each in made for name in each.raw}
            assert read.isdisjoint(unread(unit, report.signals))
            assert read | set(unread(unit, report.signals)) == set(report.signals)
    assert len(meaning) >= 5


@pytest.mark.parametrize("brand", BRANDS)
def test_each_brand_has_three_models_is_unsealed_and_says_so(brand: str) -> None:
    found = load().brands[brand]
    assert len(load().available(brand)) >= 3
    assert not found.sealed
    assert "TELELOOP_TRUST_BROKER" in (ROOT / "modeldb" / "brands" / f"{brand}.toml").read_text()
    assert found.protocol in load_protocols()


# A public frame, the property that it must become: read off the bytes by hand ------------------------------------------


@pytest.mark.parametrize(
    ("brand", "model", "payload", "state"),
    [
        (
            "TELTONIKA",
            "Skoda Octavia",
            "000000000000003608010000016b40d8ea30010000000000000000000000000000000105021503010101425e0f01f10000601a014e0000000000000000010000c7cf",
            {"cellular_signal_quality": 3, "onboard_voltage_in_volts": 24.079, "satellites_in_use": 0},
        ),
        ("MERCEDES_BENZ", "EQA", "0d00200106000401000101", {"central_lock": "LOCKED"}),
        ("MERCEDES_BENZ", "EQA", "0d00230103000b0100083fe199999999999a", {"state_of_charge_or_fuel_level_in_percent": 55.0}),
    ],
)
def test_bytes_become_the_state_that_they_say(brand: str, model: str, payload: str, state: Mapping[str, Any]) -> None:
    [found] = load().find(brand, model)
    [report] = reports(brand, [bytes.fromhex(payload)])
    said = found.units[brand].translate(report.signals)
    assert {key: said.get(key) for key in state} == state


def test_the_same_id_means_something_else_in_another_family() -> None:
    truck = {"io_80": 84, "io_87": 96, "io_113": 4_294_806_661, "io_66": 28_713}
    [fh], [octavia] = load().find("TELTONIKA", "Volvo FH"), load().find("TELTONIKA", "Skoda Octavia")
    assert fh.units["TELTONIKA"].translate(truck) == {
        "speed_in_kilometers_per_hour": 84,
        "state_of_charge_or_fuel_level_in_percent": 96,
        "onboard_voltage_in_volts": 28.713,
    }
    assert octavia.units["TELTONIKA"].translate(truck) == {"mileage_in_kilometers": 0.1, "onboard_voltage_in_volts": 28.713}
    assert unread(fh.units["TELTONIKA"], truck) == ["io_113"]


# The tables against the protocols' own declarations --------------------------------------------------------------------


def test_the_extension_of_gbt_32960_is_as_its_protocol_declares() -> None:
    table = load().brands["GBT32960"].signals
    for wire in EXTENSION_SIGNALS:
        said = table[wire.name]
        assert (said.bits, said.type[0], said.states, said.unit) == (8 * wire.form.sizeof(), "u", wire.states, wire.unit), (
            wire.name
        )


def test_the_groups_of_gbt_32960_are_those_of_cloudboxx() -> None:
    ours = {signal.name: signal.states for signal in cloudboxx.SIGNALS if signal.states}
    for name, signal in load().brands["GBT32960"].signals.items():
        assert not signal.states or signal.states == ours[name], name


@cache
def declared() -> dict[str, Any]:
    """AutoAPI's signals as its declarations make them: name to the form of its value; {n} where a number stands."""
    found: dict[str, Any] = {}
    for capability in CAPABILITIES.values():
        for known in capability.properties.values():
            found |= dict(_declared(f"{capability.name}.{known.name}", known))
    return found


def _declared(name: str, known: Property) -> Iterator[tuple[str, Any]]:
    indexed = known.many and not isinstance(known.form, Keyed)
    yield from _forms(f"{name}.{{n}}" if indexed else name, known.form)


def _forms(name: str, form: Any) -> Iterator[tuple[str, Any]]:
    inner = bare(form)
    match inner:
        case Measure():
            yield name, inner
        case Keyed():
            key, *items = inner.subcons
            named = bare(key)
            for word in named.encmapping if isinstance(named, Enum) else ("{n}",):
                for item in items:
                    yield from _forms(f"{name}.{word}" if len(items) == 1 else f"{name}.{word}.{item.name}", item)
        case Struct():
            for item in inner.subcons:
                yield from _forms(f"{name}.{item.name}", item)
        case _:
            yield name, inner


def test_every_declared_signal_of_autoapi_is_in_the_table_as_it_is_declared() -> None:
    table = load().brands["MERCEDES_BENZ"].table
    types = {">B": "u8", ">H": "u16", ">Q": "u64", ">b": "i8", ">f": "f32", ">d": "f64"}
    for name, form in declared().items():
        assert table.knows(name.replace("{n}", "0")), name
        found = table.find(name.replace("{n}", "0"))
        if found is None:
            continue
        _, signal = found
        if isinstance(form, Measure):
            assert signal.type == "f64", name
        elif isinstance(form, Enum):
            assert signal.codes == {str(word): int(code) for word, code in form.encmapping.items()}, name
        elif isinstance(form, FormatField):
            assert signal.type == types[form.fmtstr], name


def test_the_table_of_autoapi_has_nothing_that_is_not_declared() -> None:
    table = load().brands["MERCEDES_BENZ"].table
    assert {*table.known, *table.numbered} <= declared().keys()


# Commands --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", load().available("MERCEDES_BENZ"), ids=lambda model: model.file)
def test_commands_to_a_car_of_the_factory_are_autoapi_messages(model: Any) -> None:
    unit = model.units["MERCEDES_BENZ"]
    assert unit.commands
    for name in unit.commands:
        rendered = unit.render(name)
        assert rendered.native
        assert rendered.parameters == autoapi_commands.native(name), name
        assert autoapi_commands.command_of(rendered.parameters) == name


@pytest.mark.parametrize("brand", ["TELTONIKA", "GBT32960"])
def test_commands_to_other_units_are_no_messages_of_theirs(brand: str) -> None:
    for model in load().available(brand):
        unit = model.units[brand]
        assert not any(unit.render(name).native for name in unit.commands)


@pytest.mark.parametrize("brand", BRANDS)
def test_a_brand_can_do_what_its_models_can(brand: str) -> None:
    units = [model.units[brand] for model in load().available(brand)]
    assert {name for unit in units for name in unit.commands} <= set(load().brands[brand].commands)


# What a simulated unit says goes over its wire -------------------------------------------------------------------------


@pytest.mark.parametrize("model", load().available("MERCEDES_BENZ"), ids=lambda model: model.file)
def test_what_a_car_says_of_its_state_survives_its_wire(model: Any) -> None:
    unit = model.units["MERCEDES_BENZ"]
    for example in unit.examples:
        state = unit.translate(example.signals)
        message = autoapi_commands.state_message(unit.invert(state), "WDD2050071R123456", 1_769_779_325_000)
        [report] = reports("MERCEDES_BENZ", [message])
        assert unit.translate(report.signals) == state


def test_negative_numbers_go_over_the_wire_as_unsigned_ones() -> None:
    table = load().available("TELTONIKA")[0].units["TELTONIKA"].table
    assert {signal.complement for signal in table.known.values() if signal.type[0] == "i"} == {True, False}
    assert all(not table.known[name].complement for name in ("longitude", "latitude", "altitude"))


# Ids -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("brand", "text", "outcome"),
    [
        ("TELTONIKA", "356307042441013", "good"),
        ("TELTONIKA", "356307042441014", "bad"),
        ("TELTONIKA", "35630704244101", "bad"),
        ("GBT32960", "LTELE00P0N0000017", "good"),
        ("GBT32960", "LTELE00P1N0000017", "warned"),
        ("GBT32960", "UNIT-7", "good"),
        ("GBT32960", "LTELE00P0N00000170", "bad"),
        ("MERCEDES_BENZ", "1M8GDM9AXKP042788", "good"),
        ("MERCEDES_BENZ", "WDD2050071R123456", "warned"),
        ("MERCEDES_BENZ", "WDD2O50071R123456", "bad"),
        ("MERCEDES_BENZ", "WDD2050071R12345", "bad"),
    ],
)
def test_ids_are_those_of_the_makers(brand: str, text: str, outcome: str) -> None:
    found = load().brands[brand]
    if outcome == "bad":
        with pytest.raises(ValueError, match=r"unit id|check digit"):
            found.check_unit_id(text)
    else:
        assert bool(found.check_unit_id(text)) == (outcome == "warned")
