"""The quick way of a unit's reports says what the slow way says: the same state, the same signals, the same bytes."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

import modeldb
from devices import senses as senses_of
from devices.config import UnitConfig
from devices.flash import Flash
from devices.life import moving
from devices.senses import Senses
from devices.switch import switch_on
from devices.vehicle import LAMPS, TIRES, Vehicle
from lab.firmware import BOOT_MS, KEYS
from modeldb.model import VehicleModel
from modeldb.vocabulary import PROPERTIES
from protocols import load as load_protocols
from protocols.cloudboxx import CODES, PROTOCOL
from protocols.codec import Frame, Peer, Report, UnitId
from protocols.hotpath.quick import Layout, Speaker

UNITS = {
    "CLOUDBOXX": "0123456789ABCDEF", "TELTONIKA": "352093081452251", "GBT32960": "LSVAU2A37N2183294",
    "MERCEDES_BENZ": "W1K0000000A000001",
}  # fmt: skip
PAIRS = [(brand, model) for brand in UNITS for model in modeldb.load().available(brand)]
STATES = 25


def named(pair: tuple[str, VehicleModel]) -> str:
    brand, model = pair
    return f"{brand} {model.file}"


def moods(vehicle: Vehicle, seed: int) -> Iterator[None]:
    """Many states: a life, and between its moments all that can be otherwise, beyond the signals' ranges too."""
    rng = random.Random(seed)
    vehicle.advance(BOOT_MS)
    for turn in range(STATES):
        vehicle.advance(BOOT_MS + turn * rng.randrange(1_000, 90_000))
        for attribute in (
            "locked", "top_case_locked", "key_inserted", "top_case_open", "battery_compartment_open", "parking_brake",
            "center_stand_down", "plugged", "abs_enabled", "ignition", "driving_enabled", "headlights", "charging",
        ):  # fmt: skip
            if rng.random() < 0.3:
                setattr(vehicle, attribute, rng.random() < 0.5)
        vehicle.doors_open = {"front_left"} if rng.random() < 0.3 else set()
        vehicle.windows_open = {"rear_left"} if rng.random() < 0.3 else set()
        vehicle.warnings = {key for key in LAMPS if rng.random() < 0.2}
        vehicle.failed_sensors = {key for key in LAMPS if rng.random() < 0.1}
        vehicle.energy_percent, vehicle.adblue_percent = rng.uniform(0, 100), rng.choice((0.0, 9.99, 10.0, 100.0))
        vehicle.odometer_km, vehicle.speed_kmh = rng.choice((0.0, 1.25, 9.9e6)), rng.choice((0.0, 0.005, 49.995, 400.0))
        vehicle.low_battery_charge = rng.random()
        vehicle.altitude_m, vehicle.satellites = rng.choice((-12.5, 0.5, 9e3)), rng.randrange(30)
        vehicle.forced_supply_volts = rng.choice((None, 0.0, 11.9, 80.0))
        if rng.random() < 0.3:
            vehicle.leak(rng.choice(TIRES), 900.0)
        yield


def made(pair: tuple[str, VehicleModel]) -> Vehicle:
    brand, model = pair
    return Vehicle.of(model, brand, seed=3, life=moving)


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_a_glimpse_is_the_state_and_its_signals_are_the_rules_backwards(pair: tuple[str, VehicleModel]) -> None:
    brand, model = pair
    vehicle, translation = made(pair), model.units[brand]
    quick, slow = Senses(translation, vehicle), Senses(translation, vehicle)
    slow.read = vehicle.state.__call__  # another function that gives the same: nothing is taken for granted
    for _ in moods(vehicle, 5):
        state, glimpse = vehicle.state(), vehicle.glimpse()
        assert dict(zip(vehicle.properties, glimpse.values, strict=True)) == state
        events = [key for key in vehicle.properties if PROPERTIES[key].event is not None]
        assert glimpse.named == vehicle.named() == tuple(state[key] for key in events)
        assert quick.has_news() is slow.has_news()
        assert quick.change() == slow.change()
        told = quick.all()
        assert told == slow.all() == translation.invert(state)
        assert all(type(raw) is type(translation.invert(state)[name]) for name, raw in told.items())
        assert quick.last == slow.last == state


def answers(name: str, unit: UnitId, payloads: list[bytes]) -> Iterator[bytes]:
    """What a gateway says to frames of a protocol that wants each answered."""
    protocol = load_protocols()[name]
    if protocol.acknowledgement == "frame":
        for cut in (cut for payload in payloads for cut in protocol.split(payload)):
            frame = protocol.decode(cut.data, Peer(unit.telematics_unit_id))
            answer = protocol.answer(frame, len(frame.reports))
            if answer is not None:
                yield answer


def said(pair: tuple[str, VehicleModel], patch: pytest.MonkeyPatch, *, slowly: bool) -> list[bytes]:
    """All that a unit says in a life: once connected, each time that it looks."""
    brand, model = pair
    vehicle = made(pair)
    if slowly:
        patch.setattr(senses_of, "wording", lambda translation, properties: None)
        patch.setattr("devices.unit.layout_of", lambda names: None)
        patch.setattr("devices.unit.PROTOCOL", PROTOCOL)
        patch.setattr("devices.unit.Speaker.acknowledged", lambda speaker, payload: None)
    unit = UnitId(brand, UNITS[brand])
    config = UnitConfig(unit, model.units[brand], KEYS.seal, {1: KEYS.command})
    protocol = modeldb.load().brands[brand].protocol
    firmware = switch_on(protocol, config, Flash(), vehicle)
    payloads: list[bytes] = []
    now = BOOT_MS
    firmware.tick(now)
    for turn, _ in enumerate(moods(vehicle, 8)):
        now += 61_000
        vehicle.forced_supply_volts, vehicle.low_battery_charge = (None, 13.0)[turn % 2], 0.9  # it stays on
        new = firmware.tick(now) if turn else [*firmware.tick(now), *firmware.connected(now)]
        payloads += new
        for answer in answers(protocol, unit, new):
            payloads += firmware.receive(answer, now)
        if brand == "CLOUDBOXX":
            ack = PROTOCOL.acknowledge(UNITS[brand], firmware.flash.sequence, 0, now, KEYS.seal)
            payloads += firmware.receive(ack, now)
    patch.undo()
    return payloads


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_a_unit_says_the_same_bytes_either_way(pair: tuple[str, VehicleModel], monkeypatch: pytest.MonkeyPatch) -> None:
    quickly = said(pair, monkeypatch, slowly=False)
    assert quickly == said(pair, monkeypatch, slowly=True)
    assert sum(map(len, quickly)) > 100


def test_a_speakers_frame_is_the_protocols() -> None:
    names: list[str] = ["oldest_sequence", "latitude", "longitude", "gnss_speed", "heading", "latitude"]
    values: list[Any] = [7, 1, -20_000_000, 300, 9, 509_375_000]
    unit = UNITS["CLOUDBOXX"]
    quick = Speaker(unit, KEYS.seal).frame(CODES["state"], 5, 9, BOOT_MS + 7, Layout(names).body(values))
    report = Report(b"", BOOT_MS + 7, dict(zip(names, values, strict=True)), 9)
    assert quick == PROTOCOL.encode(Frame("state", unit, 9, BOOT_MS + 7, (report,), {"flags": 5}), KEYS.seal)
