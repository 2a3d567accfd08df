"""Many units that go the short way together: each the same frames, moments and memory as by itself, the long way."""

import random
from collections import Counter

import numpy as np
import pytest

import modeldb
from devices import gauges
from devices.columns import TOGETHER_MS, Columns
from devices.config import Intervals, UnitConfig
from devices.faults import parse
from devices.flash import Flash
from devices.life import moving
from devices.route import Point, Way
from devices.senses import OWN, own_facts
from devices.shown import measures, onboard_volts
from devices.terminal import Terminal
from devices.together import Together
from devices.vehicle import Vehicle
from lab.firmware import BOOT_MS
from protocols.cloudboxx import PROTOCOL
from protocols.codec import UnitId
from protocols.keys import brand_key, unit_keys

BRAND = "CLOUDBOXX"
MODELS = modeldb.load().available(BRAND)
COPIES = 2
TURNS = 60
FULL = (0, 1)
"""Units that nobody acknowledges, of which one has a small journal."""


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.together.LEAST", 1)


def secrets(place: int) -> tuple[UnitId, bytes, bytes]:
    unit = UnitId(BRAND, f"C0{place:014X}")
    keys = unit_keys(brand_key(bytes(32), BRAND), 1, unit.telematics_unit_id)
    return unit, keys.seal, keys.command


class Lives:
    """Units of every model in vehicles of one fleet: they tick when they want to, hear Acks, and things happen to them."""

    def __init__(self, *, together: bool) -> None:
        self.columns = Columns(COPIES * len(MODELS))
        self.columns.led = True
        self.together = Together(self.columns) if together else None
        self.stored: Counter[int] = Counter()
        self.terminals = [self.made(place) for place in range(COPIES * len(MODELS))]
        self.now = BOOT_MS
        self.said: list[tuple[int, int, bytes]] = []
        self.ways: Counter[bool] = Counter()

    def made(self, place: int) -> Terminal:
        model, (unit, seal, command) = MODELS[place % len(MODELS)], secrets(place)
        vehicle = Vehicle.of(model, BRAND, seed=place, life=moving, columns=self.columns)
        vehicle.advance(BOOT_MS)
        config = UnitConfig(
            unit, model.units[BRAND], seal, {1: command}, intervals=Intervals(1, 1, 20), entropy=bytes,
            journal_capacity=9 if place == FULL[0] else 1000, synchronised=place % 3 > 0,
        )  # fmt: skip
        flash = Flash(sequence=2**32 - 9 if place % 4 == 0 else 5)
        return Terminal("cloudboxx", config, flash, vehicle, lambda flash: self.stored.update((place,)))

    def put(self, place: int, payloads: list[bytes]) -> None:
        self.said += [(self.now, place, payload) for payload in payloads]

    def tick(self) -> None:
        outcomes: dict[int, tuple[list[bytes], int]] = {}
        if self.together is not None:
            units = [(place, each.briefly) for place, each in enumerate(self.terminals)]
            short = [(place, unit) for place, unit in units if unit is not None]
            said = self.together.brief([unit for _, unit in short], [self.now] * len(short))
            for (place, _), outcome in zip(short, said, strict=True):
                assert not isinstance(outcome, OSError)
                if outcome is not None:
                    outcomes[place] = outcome
        for place, terminal in enumerate(self.terminals):
            outcome = outcomes.get(place)
            self.ways[outcome is not None] += 1
            self.put(place, terminal.tick(self.now) if outcome is None else outcome[0])
            if outcome is not None:
                assert outcome[1] == terminal.next_tick(self.now)

    def live(self) -> None:
        chance = random.Random(3)
        self.tick()
        for place, terminal in enumerate(self.terminals):
            self.put(place, terminal.connected(self.now))
        for _ in range(TURNS):
            self.now += chance.choice((400, 1_000, 1_000, 2_300))
            self.columns.advance(self.now)
            for place, terminal in enumerate(self.terminals):
                if chance.random() < 0.05:
                    self.disturb(place, terminal, chance)
            self.tick()
            for place, terminal in enumerate(self.terminals):
                if place not in FULL and chance.random() < 0.8:
                    unit, seal, _ = secrets(place)
                    newest = (terminal.flash.sequence - chance.choice((0, 0, 0, 1))) % 2**32
                    ack = PROTOCOL.acknowledge(unit.telematics_unit_id, newest, 0, self.now, seal)
                    if not terminal.took_ack(ack, self.now):
                        self.put(place, terminal.receive(ack, self.now))

    def disturb(self, place: int, terminal: Terminal, chance: random.Random) -> None:
        vehicle = terminal.vehicle
        match chance.randrange(12):
            case 0:
                vehicle.locked = not vehicle.locked
            case 1:
                vehicle.forced_supply_volts = chance.choice((None, 9.0, 11.5, 13.0))
            case 2:
                terminal.inject(parse("gnss_jump"), self.now)
            case 3:
                terminal.cure("gnss_jump", self.now)
            case 4:
                self.put(place, terminal.show_card("00112233", self.now))
            case 5:
                terminal.lose_line(self.now)
                terminal.disconnected(self.now)
                self.put(place, terminal.connected(self.now))
            case 6:
                vehicle.odometer_km = chance.choice((9.9e9, 12.345))
            case 7:
                vehicle.altitude_m, vehicle.satellites = chance.uniform(-20, 900), chance.randrange(30)
            case 8:
                vehicle.route = Way([Point(50.9, 6.9, 60.0), Point(51.0, 7.0, 300.0)], from_m=vehicle.distance_m)
            case 9:
                vehicle.low_battery_charge, vehicle.outside_celsius = chance.random(), chance.uniform(-30, 40)
                vehicle.leak("rear_left", 900.0)
            case 10:
                vehicle.set_lock(chance.random() < 0.5)
                vehicle.set_top_case_lock(chance.random() < 0.5)
                vehicle.warnings, vehicle.adblue_percent = {"check_engine_indicator"}, chance.choice((5.0, 50.0))
            case _:
                vehicle.energy_percent = chance.choice((0.0, 33.3, 100.0))
                vehicle.brake_fluid_due = vehicle.brake_fluid_due.replace(year=2031)


def test_units_that_go_the_short_way_together_say_and_keep_what_they_would_otherwise() -> None:
    short, long = Lives(together=True), Lives(together=False)
    for lives in (short, long):
        lives.live()
    assert short.said == long.said
    for one, other in zip(short.terminals, long.terminals, strict=True):
        assert one.flash == other.flash
        assert repr(one.truth_told) == repr(other.truth_told)
        assert one.phase is other.phase
        one.vehicle.locked = other.vehicle.locked = not one.vehicle.locked
        assert one.tick(short.now) == other.tick(long.now)  # what has changed since, and only that
    assert short.stored == long.stored
    assert short.ways[True] > TURNS * len(short.terminals) / 2
    assert not long.ways[True]
    assert any(each.flash.forgotten for each in short.terminals)
    assert any(each.flash.sequence < 1_000 for each in short.terminals[::4])


def test_phrases_are_learnt_again_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.together.PHRASES_LIMIT", 4)
    short, long = Lives(together=True), Lives(together=False)
    for lives in (short, long):
        for terminal in lives.terminals:
            terminal.tick(lives.now)
            terminal.connected(lives.now)
        for _ in range(3):
            lives.now += 1_000
            lives.columns.advance(lives.now)
            lives.tick()
    assert short.said == long.said


def test_what_cannot_be_stored_is_not_said_and_the_others_go_on() -> None:
    lives = Lives(together=True)
    for place, terminal in enumerate(lives.terminals):
        terminal.tick(lives.now)
        lives.put(place, terminal.connected(lives.now))

    def broken(flash: Flash) -> None:
        raise OSError("full")

    lives.terminals[3].firmware._store = broken  # type: ignore[attr-defined]
    lives.now += 1_000
    lives.columns.advance(lives.now)
    units = [each.briefly for each in lives.terminals]
    assert lives.together is not None
    outcomes = lives.together.brief([unit for unit in units if unit is not None], [lives.now] * len(units))
    assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, OSError)] == [3]
    assert sum(isinstance(outcome, tuple) for outcome in outcomes) > len(units) / 2


@pytest.mark.parametrize("seed", range(3))
def test_columns_measure_what_each_vehicle_measures_to_the_last_bit(seed: int) -> None:
    columns, chance = Columns(40), random.Random(seed)
    vehicles = [Vehicle.of(MODELS[place % len(MODELS)], BRAND, seed=place, life=moving, columns=columns) for place in range(40)]
    for vehicle in vehicles:
        vehicle.advance(0)
        vehicle.advance(chance.randrange(900_000))
        vehicle.low_battery_charge, vehicle.headlights = chance.random(), chance.random() < 0.5
        vehicle.forced_supply_volts = chance.choice((None, 9.0))
    rows, state = np.arange(40), columns.state
    system = np.array([vehicle.system_voltage for vehicle in vehicles])
    onboard, supply = gauges.volts(vehicles, state, system)
    measured, own = gauges.read(columns, rows, state, vehicles, onboard, supply)
    for place, vehicle in enumerate(vehicles):
        row = vehicle.row()
        assert onboard[place] == onboard_volts(vehicle.system_voltage, row)
        assert supply[place] == vehicle.supply_voltage
        assert gauges.as_measures(vehicle, measured[place]) == measures(vehicle, row)
        known = dict(zip(gauges.OWN_MOVING, own[place].tolist(), strict=True)) | gauges.OWN_CONSTANTS
        assert {name: known[name] for name in OWN} == own_facts(vehicle)


def test_a_fleet_is_led_by_who_looks_and_nobody_sees_the_past() -> None:
    columns, alone = Columns(3), Columns(3)
    columns.led = True
    made = [[Vehicle.of(MODELS[0], BRAND, seed=seed, columns=each) for seed in range(3)] for each in (columns, alone)]
    for vehicles in made:
        for vehicle in vehicles:
            vehicle.advance(0)
            vehicle.ignition, vehicle.target_speed_kmh, vehicle.driving_enabled = True, 50.0, True
    columns.looks_ms[0] = 1_000
    for now in range(0, 1_001, 20):
        columns.lead(now)
    assert columns.clocks[0] > 1_000 - TOGETHER_MS
    assert columns.clocks[1] == columns.clocks[2] == 0
    made[0][1].advance(1_000)  # somebody looks at it
    columns.catch_up(np.array([2]), np.array([1_000.0]))
    columns._now_ms = 1_000  # and `advance` has nothing left to do
    alone.advance(1_000)
    for one, other in zip(made[0][1:], made[1][1:], strict=True):
        assert one.row() == pytest.approx(other.row())
    for now in range(1_000, 4_000, 20):
        columns.lead(now)
        assert (now - columns.clocks).max() <= 1_500 + TOGETHER_MS
