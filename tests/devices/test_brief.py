"""The short way of a unit in a fleet: the same frames, the same moments, the same memory as the long way."""

import random
from collections import Counter

import pytest

import modeldb
from devices.brief import BriefUnit
from devices.columns import Columns
from devices.config import Intervals, UnitConfig
from devices.faults import parse
from devices.flash import Flash
from devices.life import moving
from devices.senses import SUPPLY_CAUSE
from devices.terminal import Terminal
from devices.vehicle import Vehicle
from lab.firmware import BOOT_MS, KEYS
from modeldb.model import VehicleModel
from protocols.cloudboxx import PROTOCOL
from protocols.codec import UnitId

UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
MODELS = modeldb.load().available("CLOUDBOXX")
TURNS = 150


class Life:
    """A unit in a vehicle whose fleet is stepped together: it ticks when it wants to, hears Acks, and things happen to it."""

    def __init__(self, model: VehicleModel, *, briefly: bool) -> None:
        self.columns = Columns(1)
        self.columns.led = True
        vehicle = Vehicle.of(model, UNIT.brand, seed=5, life=moving, columns=self.columns)
        config = UnitConfig(
            UNIT, model.units[UNIT.brand], KEYS.seal, {1: KEYS.command}, intervals=Intervals(1, 2, 20), entropy=bytes
        )
        self.stored = 0
        self.terminal = Terminal("cloudboxx", config, Flash(), vehicle, self._store)
        self.briefly, self.now = briefly, BOOT_MS
        self.said: list[tuple[int, bytes]] = []
        self.ways: Counter[bool] = Counter()

    def _store(self, flash: Flash) -> None:
        self.stored += 1
        assert flash.sequence in flash.journal or not flash.journal

    def tick(self) -> None:
        brief = self.terminal.brief(self.now) if self.briefly else None
        self.ways[brief is not None] += 1
        payloads = self.terminal.tick(self.now) if brief is None else brief[0]
        due_ms = self.terminal.next_tick(self.now)
        if brief is not None:
            assert brief[1] == due_ms
        self.said += [(self.now, payload) for payload in payloads]
        self.due_ms = due_ms

    def hear(self, payload: bytes) -> None:
        if not (self.briefly and self.terminal.took_ack(payload, self.now)):
            self.said += [(self.now, said) for said in self.terminal.receive(payload, self.now)]

    def live(self) -> None:
        chance = random.Random(11)
        self.tick()
        self.said += [(self.now, said) for said in self.terminal.connected(self.now)]
        for turn in range(TURNS):
            self.now = max(self.now + 1, min(self.terminal.next_tick(self.now), self.now + 2_000))
            self.columns.advance(self.now)
            if chance.random() < 0.1:
                self.disturb(chance, turn)
            self.tick()
            if chance.random() < 0.7:
                newest = self.terminal.flash.sequence - chance.choice((0, 0, 0, 1, 3))
                bitmap = chance.choice((0, 0, 1, 2))
                self.hear(PROTOCOL.acknowledge(UNIT.telematics_unit_id, newest, bitmap, self.now, KEYS.seal))

    def disturb(self, chance: random.Random, turn: int) -> None:
        vehicle = self.terminal.vehicle
        match turn % 8:
            case 0:
                vehicle.locked = not vehicle.locked
            case 1:
                vehicle.forced_supply_volts = chance.choice((None, 9.0, 11.5, 13.0))
            case 2:
                self.terminal.inject(parse("gnss_jump"), self.now)
            case 3:
                self.terminal.cure("gnss_jump", self.now)
            case 4:
                self.said += [(self.now, said) for said in self.terminal.show_card("00112233", self.now)]
            case 5:
                self.hear(b"nonsense")
            case 6:
                self.terminal.lose_line(self.now)
                self.terminal.disconnected(self.now)
                self.said += [(self.now, said) for said in self.terminal.connected(self.now)]
            case _:
                vehicle.odometer_km = 9.9e9


@pytest.mark.parametrize("model", [MODELS[0], MODELS[len(MODELS) // 2], MODELS[-1]], ids=lambda model: model.file)
def test_a_unit_that_goes_the_short_way_says_and_keeps_what_it_would_otherwise(model: VehicleModel) -> None:
    short, long = Life(model, briefly=True), Life(model, briefly=False)
    for life in (short, long):
        life.live()
    assert short.said == long.said
    assert short.terminal.flash == long.terminal.flash
    assert short.terminal.truth_told == long.terminal.truth_told
    assert short.stored == long.stored
    assert short.terminal.firmware.phase is long.terminal.firmware.phase
    assert short.ways[True] > TURNS / 4
    assert not long.ways[True]


@pytest.mark.parametrize("wrong", ["seal", "unit", "ahead"])
def test_an_ack_that_is_not_for_it_is_not_taken_the_short_way(wrong: str) -> None:
    life = Life(MODELS[0], briefly=True)
    life.tick()
    life.terminal.connected(life.now)
    unit, key, sequence = UNIT.telematics_unit_id, KEYS.seal, life.terminal.flash.sequence
    ack = PROTOCOL.acknowledge(
        "F" * 16 if wrong == "unit" else unit, sequence + (wrong == "ahead"), 0, life.now, bytes(32) if wrong == "seal" else key
    )
    kept = dict(life.terminal.flash.journal)
    assert isinstance(life.terminal.firmware, BriefUnit)
    assert not life.terminal.took_ack(ack, life.now)
    assert life.terminal.flash.journal == kept
    assert life.terminal.took_ack(PROTOCOL.acknowledge(unit, sequence, 0, life.now, key), life.now)
    assert not life.terminal.flash.journal


@pytest.mark.parametrize(("charge", "goes"), [(0.1, True), (0.09, False)])
def test_a_battery_so_weak_that_it_is_told_is_told_the_long_way(charge: float, goes: bool) -> None:
    """Some 11.4 and 10.9 volts at the unit's pins, of which it tells under 11.3."""
    short, long = Life(MODELS[0], briefly=True), Life(MODELS[0], briefly=False)
    for life in (short, long):
        life.terminal.vehicle.ignition = life.terminal.vehicle.charging = False
        life.tick()
        life.said += [(life.now, said) for said in life.terminal.connected(life.now)]
        life.ways.clear()
        for second in range(1, 6):
            life.now = BOOT_MS + 2_000 * second
            life.terminal.vehicle.low_battery_charge = charge
            life.columns.clocks[0] = life.now  # nothing happens to it meanwhile
            life.tick()
    assert short.said == long.said
    causes = [PROTOCOL.decode(cut.data).reports for _, payload in short.said for cut in PROTOCOL.split(payload)]
    told = [report.signals.get("cause") for reports in causes for report in reports]
    assert (SUPPLY_CAUSE in told) is not goes
    assert short.ways[True] == (5 if goes else 0)
