"""Faults by name: each is described, has an expectation, and refuses what it cannot be."""

import typing
from dataclasses import replace

import pytest

import modeldb
from devices.behaviour import behaviour_of
from devices.faults import ALL, FaultUnsuited, by_name, parse
from devices.faults.fault import EXPECTATIONS, Expected
from devices.faults.page import PAGE, page
from devices.flash import Flash
from devices.fleet import Fleet
from devices.terminal import Terminal
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from lab.firmware import BOOT_MS, DEV_KIT, QNR, Bench
from protocols.codec import UnitId
from protocols.gbt32960 import PROTOCOL as GBT32960

NOW = 1_795_446_000_000


def parked(protocol: str) -> Terminal:
    """A unit of that protocol in a vehicle that stands still."""
    brand = next(brand for brand in modeldb.load().brands.values() if brand.protocol == protocol)
    model = modeldb.load().available(brand.name)[0]
    unit = UnitId(brand.name, {"cloudboxx": QNR, "teltonika": "356307042441013"}.get(protocol, "LGXABCDEFGH123456"))
    config = replace(Bench().config, unit=unit, translation=model.units[brand.name], behaviour=behaviour_of(brand.name))
    return Terminal(protocol, config, Flash(), Vehicle.of(model, brand.name))


def test_there_are_many_and_each_says_what_it_is_and_what_is_expected():
    assert len(ALL) >= 22
    for name, kind in ALL.items():
        assert kind.name == name
        assert len(kind.sentence.split()) > 3
        assert kind.expected, name
        assert set(kind.expected) <= set(EXPECTATIONS), name
    assert set(EXPECTATIONS) == set(typing.get_args(Expected))


def test_a_fault_is_asked_for_by_name_and_rate():
    assert by_name("bad_crc").rate == by_name("bad_crc").usual_rate
    assert parse("duplicate:0.25").rate == 0.25
    assert parse("gnss_jump:30").rate == 30


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("bad_crd", "no fault is called 'bad_crd'"),
        ("bad_crc:much", "wanted as a number, not 'much'"),
        ("bad_crc:1.5", "per payload, 0 to 1, not 1.5"),
        ("bad_crc:-1", "not -1"),
        ("bad_crc:nan", "nan"),
        ("dead_spot:1e9", "per hour, 0 to 3600"),
        ("cloned_unit:60", "has no rate: a unit has it or not"),
        ("wrong_model:0.5", "has no rate"),
    ],
)
def test_what_cannot_be_is_one_clear_error(said: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse(said)


def test_a_fault_that_makes_no_sense_for_a_protocol_says_so():
    config = Bench().config
    with pytest.raises(FaultUnsuited, match="flipped_seal is for cloudboxx, not for teltonika"):
        Terminal("teltonika", config, Flash(), Vehicle.of(DEV_KIT, "CLOUDBOXX"), faults=[by_name("flipped_seal")])


def test_the_last_login_of_a_day_is_followed_by_the_first():
    terminal = parked("gbt32960")
    terminal.begin_with(by_name("sequence_wrap"))
    now_ms, numbers = BOOT_MS, []
    while now_ms < BOOT_MS + 300_000:
        said = terminal.tick(now_ms)
        if terminal.dial_ms(now_ms) is not None:
            said += terminal.connected(now_ms)
        if not terminal.wants_line:
            terminal.disconnected(now_ms)
        for payload in said:
            for cut in GBT32960.split(payload):
                frame = GBT32960.decode(cut.data)
                if frame.kind == "hello":
                    numbers.append(frame.facts["body"]["sequence"])
        now_ms = max(now_ms + 1_000, terminal.next_tick(now_ms))
    assert numbers[:2] == [65_531, 1]


@pytest.mark.parametrize(
    ("name", "protocol", "why"),
    [
        ("reorder", "teltonika", "says nothing new before its last packet is answered"),
        ("sequence_wrap", "teltonika", "carry no number"),
        ("sequence_wrap", "autoapi", "carry no number"),
        ("backlog_3_days", "autoapi", "keeps nothing"),
    ],
)
def test_a_fault_that_a_protocol_has_no_notion_of_says_why(name: str, protocol: str, why: str):
    with pytest.raises(FaultUnsuited, match=f"not for {protocol}: .*{why}"):
        parked(protocol).inject(by_name(name), NOW)


def test_every_fault_has_its_reason_for_each_protocol_that_cannot_have_it():
    spoken = {brand.protocol for brand in modeldb.load().brands.values()}
    for name, kind in ALL.items():
        assert set(kind.because) == {each for each in spoken if not kind().suits(each)}, name


def test_a_fleet_of_many_brands_says_who_goes_without_a_fault():
    brands = {"CLOUDBOXX": QNR, "TELTONIKA": "352093081452251"}
    keys = {"password": "", "seal_key": "00" * 32, "command_key": "00" * 32}
    records = [
        UnitRecord(brand=name, telematics_unit_id=unit, vehicle_model_id=modeldb.load().available(name)[0].id, **keys)
        for name, unit in brands.items()
    ]
    fleet = Fleet(records, "mqtt://127.0.0.1:1", now_ms=lambda: NOW, faults=[by_name("flipped_seal"), by_name("slow_line")])
    assert fleet.faults_passed_over == [
        "1 of 2 units go without flipped_seal: flipped_seal is for cloudboxx, not for teltonika: its frames carry no seal"
    ]


def test_the_page_of_faults_is_as_the_code_makes_it():
    assert PAGE.read_text() == page(), "run `python -m devices.faults.page`"


@pytest.mark.parametrize("protocol", ["autoapi", "cloudboxx", "gbt32960", "teltonika"])
def test_a_parked_unit_that_is_online_always_has_its_next_moment_ahead(protocol: str):
    terminal = parked(protocol)
    now_ms, ticks = BOOT_MS, 0
    while now_ms < BOOT_MS + 3 * 3600 * 1000:
        if terminal.dial_ms(now_ms) is not None:
            terminal.connected(now_ms)
        terminal.tick(now_ms)
        now_ms, ticks = max(now_ms, terminal.next_tick(now_ms)), ticks + 1
        assert ticks < 20_000


@pytest.mark.parametrize("brand", sorted({"CLOUDBOXX", "TELTONIKA", "GBT32960", "MERCEDES_BENZ"}))
def test_every_fault_is_lived_through_by_units_of_a_brand_or_says_for_whom_it_is(brand: str) -> None:
    database = modeldb.load()
    protocol = database.brands[brand].protocol
    model = next(each for each in database.available(brand) if each.type in ("CAR", "VAN", "TRUCK"))
    names = {"CLOUDBOXX": "0123456789ABCDEF", "TELTONIKA": "352093081452251"}
    keys = {"password": "", "seal_key": "00" * 32, "command_key": "00" * 32}
    who = {"brand": brand, "telematics_unit_id": names.get(brand, "LGXC16DF4A0000001"), "vehicle_model_id": model.id}
    for name, kind in ALL.items():
        record = UnitRecord(moving=name != "backlog_3_days", **who, **keys)
        started = Fleet([record], "mqtt://127.0.0.1:1", now_ms=lambda: NOW) if kind().suits(protocol) else None
        if started is None:
            with pytest.raises(
                FaultUnsuited, match=f"none of the units can have {name}: {name} is for .*, not for {protocol}: .+"
            ):
                Fleet([record], "mqtt://127.0.0.1:1", faults=[kind()])
            continue
        terminal = started.members[0].firmware
        terminal.begin_with(by_name(name, None if kind.per == "unit" else 1.0 if kind.per != "hour" else 600.0))
        terminal.tick(NOW)
        now_ms = NOW
        for _ in range(60):
            now_ms = max(now_ms + 1, terminal.next_tick(now_ms))
            if now_ms > NOW + 1_800_000:
                break
            if not terminal.online and terminal.wants_line:
                terminal.connected(now_ms)
            assert all(isinstance(said, bytes) for said in terminal.tick(now_ms))
        assert name in terminal.ailments
        terminal.cure(name, now_ms)
        terminal.tick(now_ms + 60_000)
