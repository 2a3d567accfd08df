"""A vehicle on a bus: what is sent is what is read, and what is not sent, not right or not fresh is missing."""

import uuid
from pathlib import Path
from typing import Any

import pytest

import modeldb
from devices.can import (
    CYCLES_TO_STALE,
    BusReader,
    CanError,
    CanSenses,
    Ecus,
    bus_database,
    crc8_j1850,
    in_own_network,
    models,
    open_bus,
)
from devices.fleet import Fleet
from devices.senses import Senses
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from devices.vehiclebus import Buses, CanPlan

NOW = 1_795_446_000_000
DATABASE = modeldb.load()


class Car:
    """A vehicle of a model, its control units, and a reader on the same virtual bus."""

    def __init__(self, model: str = "volkswagen/golf-2020") -> None:
        self.model = next(each for each in DATABASE.models.values() if each.file == f"models/{model}.toml")
        self.brand = next(iter(self.model.units))
        self.vehicle = Vehicle.of(self.model, self.brand, seed=4)
        channel = uuid.uuid4().hex
        self.buses = [open_bus("virtual", channel), open_bus("virtual", channel)]
        self.ecus = Ecus(self.vehicle, bus_database(model), self.buses[0])
        self.reader = BusReader(bus_database(model), self.buses[1])
        self.now = NOW

    def live(self, seconds: float, step_ms: int = 10) -> dict[str, Any]:
        """Let time pass; what the bus says then."""
        for _ in range(round(1000 * seconds / step_ms)):
            self.now += step_ms
            self.ecus.advance(self.now)
            self.reader.drain(self.now)
        return self.reader.state(self.now)

    def close(self) -> None:
        for bus in self.buses:
            bus.shutdown()


@pytest.fixture(params=models())
def car(request: pytest.FixtureRequest) -> Any:
    made = Car(request.param)
    yield made
    made.close()


@pytest.fixture
def golf() -> Any:
    made = Car()
    yield made
    made.close()


def test_there_are_electric_and_petrol_cars_a_van_and_a_truck() -> None:
    assert len(models()) >= 4
    said = {model: bus_database(model).properties for model in models()}
    assert any("charging_status" in properties for properties in said.values())
    assert any("adblue_level_in_percent" in properties for properties in said.values())
    assert {DATABASE.models[each.id].type for each in DATABASE.models.values() if each.file[7:-5] in models()} >= {"CAR", "TRUCK"}


def test_every_dbc_is_of_a_model_and_speaks_the_vocabulary(car: Car) -> None:
    for message in car.ecus.database.messages:
        assert message.cycle_ms > 0
        assert len(message.signals) > 0
    assert "central_lock" in car.ecus.database.properties


def test_what_the_vehicle_is_can_be_read_on_the_bus(car: Car) -> None:
    truth = car.vehicle
    truth.ignition = truth.key_inserted = True
    truth.locked = False
    truth.doors_open.add("front_left")
    truth.warnings.add("check_engine_indicator")
    truth.failed_sensors.add("brake_warning_indicator")
    truth.speed_kmh = 47.3
    read = car.live(6)
    assert read["central_lock"] == "UNLOCKED"
    assert (read["doors_status"], read["windows_status"]) == ("OPEN", "CLOSED")
    assert (read["ignition"], read["vehicle_key_status"], read["parking_brake_engaged"]) == ("ON", "IN", True)
    assert (read["check_engine_indicator"], read["brake_warning_indicator"]) == ("ON", "SENSOR_FAILURE")
    assert read["speed_in_kilometers_per_hour"] == pytest.approx(47.3, abs=0.05)
    assert read["mileage_in_kilometers"] == pytest.approx(truth.odometer_km, abs=0.11)
    assert read["tire_pressure_rear_right_in_kilopascals"] == pytest.approx(truth.tire_pressure_kpa["rear_right"], abs=1)
    assert read.keys() == car.ecus.database.properties
    assert not car.reader.refused
    assert not car.reader.lost


def test_messages_come_in_their_cycles(car: Car) -> None:
    car.live(10)
    for message in car.ecus.database.messages:
        assert car.ecus.sent[message.name] == pytest.approx(10_000 / message.cycle_ms, abs=1.01)


def test_a_silent_control_unit_is_missing_after_three_cycles(golf: Car) -> None:
    assert golf.live(2)["central_lock"] == "LOCKED"
    golf.ecus.silence("Body")
    cycle_s = next(each.cycle_ms for each in golf.ecus.database.messages if each.name == "Body") / 1000
    assert "central_lock" in golf.live((CYCLES_TO_STALE - 1) * cycle_s)
    read = golf.live(2 * cycle_s)
    assert "central_lock" not in read
    assert "doors_status" not in read
    assert read["ignition"] == "OFF"
    golf.ecus.silence()
    assert golf.live(10) == {}
    golf.ecus.speak()
    assert golf.live(2)["central_lock"] == "LOCKED"


@pytest.mark.parametrize(("wrong", "reason"), [("spoil", "bad_checksum"), ("freeze", "stuck_counter")])
def test_what_is_not_right_is_not_believed(golf: Car, wrong: str, reason: str) -> None:
    golf.live(1)
    getattr(golf.ecus, wrong)("Body")
    golf.vehicle.locked = False
    read = golf.live(1)
    assert "central_lock" not in read
    assert golf.reader.refused[reason] > 5
    golf.ecus.speak()
    assert golf.live(1)["central_lock"] == "UNLOCKED"


def test_lost_messages_are_counted_by_the_counter(golf: Car) -> None:
    golf.live(1)
    while golf.buses[1].recv(timeout=0) is not None:
        pass
    for _ in range(3):
        golf.now += 100
        golf.ecus.advance(golf.now)
        while (frame := golf.buses[1].recv(timeout=0)) is not None:
            assert frame
    golf.live(0.2)
    assert golf.reader.lost >= 3


def test_strange_messages_are_passed_over(golf: Car) -> None:
    import can

    golf.live(1)
    body = next(each for each in golf.ecus.database.messages if each.name == "Body")
    golf.buses[0].send(can.Message(arbitration_id=0x7FF, data=b"123", is_extended_id=False))
    golf.buses[0].send(can.Message(arbitration_id=body.id, data=b"12", is_extended_id=False))
    assert golf.live(1)["central_lock"] == "LOCKED"
    assert golf.reader.refused == {"bad_length": 1}


def test_a_units_senses_come_from_the_bus_and_its_own_receiver(golf: Car) -> None:
    translation = golf.model.units[golf.brand]
    senses = Senses(translation, golf.vehicle)
    can_senses = CanSenses(golf.vehicle, golf.reader, lambda: golf.now, golf.ecus)
    senses.read = can_senses.read
    golf.live(2)
    said = translation.translate(senses.all())
    assert said["central_lock"] == "LOCKED"
    assert "position" in said
    golf.vehicle.locked = False
    assert senses.change() is None  # the message that says so is not due yet
    golf.now += 100
    changed = senses.change()
    assert changed is not None
    assert translation.translate(changed)["central_lock"] == "UNLOCKED"
    golf.ecus.silence("Body")
    golf.now += 1000
    assert "central_lock" not in translation.translate(senses.all())
    assert "position" in translation.translate(senses.all())


def test_the_checksum_is_the_catalogues() -> None:
    assert crc8_j1850(b"123456789") == 0x4B


def test_what_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CanError, match="there is no DBC of niu/nqi-gts-2020; there are byd/han-2020"):
        bus_database("niu/nqi-gts-2020")
    with pytest.raises(CanError, match="the interface is virtual, socketcan, udp_multicast"):
        open_bus("pcan")
    with pytest.raises(CanError, match="socketcan:nocan9 cannot be opened"):
        open_bus("socketcan", "nocan9")
    with pytest.raises(KeyError, match="no message Wings"):
        Car().ecus.silence("Wings")


def test_multicast_is_kept_in_a_network_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CanError, match="only inside a network namespace"):
        open_bus("udp_multicast")
    machine, own = tmp_path / "machine", tmp_path / "own"
    machine.symlink_to("net:[1]")
    own.symlink_to("net:[2]")
    assert in_own_network(str(own), str(machine))
    assert not in_own_network(str(machine), str(machine))
    devices, nowhere = tmp_path / "dev", str(tmp_path / "nowhere")
    devices.write_text("Inter-|   Receive\n face |bytes\n    lo:  0  0\n")
    assert in_own_network(str(own), nowhere, str(devices))
    devices.write_text("Inter-|   Receive\n face |bytes\n    lo:  0  0\n  eth0:  0  0\n")
    assert not in_own_network(str(own), nowhere, str(devices))
    assert not in_own_network(nowhere, nowhere, nowhere)


def test_a_fleets_bus_is_said_in_one_word_and_what_cannot_be_is_refused() -> None:
    unit = "CLOUDBOXX/0123456789ABCDEF"
    assert CanPlan.parse(f"socketcan:can1@{unit}") == CanPlan("socketcan", "can1", unit)
    for said, sentence in {"usb": "INTERFACE", "virtual@0123": "BRAND/ID"}.items():
        with pytest.raises(CanError, match=sentence):
            CanPlan.parse(said)
    cars = Fleet([_record(place) for place in range(2)], "mqtt://127.0.0.1:1")
    for plan, sentence in {
        "socketcan:can0": "is the bus of one vehicle, and 2 have a DBC: say which, as socketcan:can0@CLOUDBOXX/0123456789ABCDE0",
        "virtual@CLOUDBOXX/0": "there is no unit CLOUDBOXX/0 in this fleet",
    }.items():
        with pytest.raises(CanError, match=sentence):
            Buses(cars, [CanPlan.parse(plan)])
    with pytest.raises(CanError, match="none of the vehicles has a DBC"):
        Buses(Fleet([], "mqtt://127.0.0.1:1"), [CanPlan("virtual")])


async def test_a_fleets_units_see_on_their_own_buses_what_is_true() -> None:
    cars = Fleet([_record(place) for place in range(2)], "mqtt://127.0.0.1:1", now_ms=lambda: 1_800_000_000_000)
    with Buses(cars, [CanPlan("virtual")]) as buses:
        one, other = (member.firmware for member in cars.members)
        one.vehicle.locked = False
        assert one.firmware.senses.read()["central_lock"] == "UNLOCKED"
        assert other.firmware.senses.read()["central_lock"] == "LOCKED"
        assert buses.heard > 0
        one.reboot(1_800_000_000_000)
        assert one.firmware.senses.read()["central_lock"] == "UNLOCKED"
        buses.by_unit[str(cars.members[1].record.unit)].ecus.silence()
        with pytest.raises(CanError, match="is on a CAN bus already"):
            Buses(cars, [CanPlan("virtual"), CanPlan("virtual", "", "CLOUDBOXX/0123456789ABCDE0")])


def _record(place: int) -> UnitRecord:
    model = next(each for each in modeldb.load().models.values() if each.file == "models/volkswagen/golf-2020.toml")
    keys = {"password": "", "seal_key": "00" * 32, "command_key": "00" * 32}
    return UnitRecord(brand="CLOUDBOXX", telematics_unit_id=f"0123456789ABCDE{place}", vehicle_model_id=model.id, **keys)
