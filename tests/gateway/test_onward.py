"""Reports that only go on from the last one take a short way, and come out as on the long one."""

import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

import modeldb
from gateway import uplink
from gateway.memory import Memory, Vehicle
from gateway.reader import Reader, Said
from gateway.receipts import Heard, Receipt, Telegram
from gateway.uplink import receive
from protocols import load
from protocols.codec import Frame, Report, UnitId
from protocols.keys import UnitKeys, brand_key, unit_keys

NOW = 1_795_446_000_000
DATABASE, CLOUDBOXX = modeldb.load(), load()["cloudboxx"]
UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
KEYS = (unit_keys(brand_key(bytes(32), UNIT.brand), 1, UNIT.telematics_unit_id),)
MODELS = [model for model in DATABASE.available(UNIT.brand) if len(model.units[UNIT.brand].examples) > 1][:6]


def keys(_: Vehicle) -> tuple[UnitKeys, ...]:
    return KEYS


def telegrams(vehicle: Vehicle, count: int, rng: random.Random, first: int) -> Iterator[Telegram]:
    """A unit that mostly says what a unit says, in order; its vehicle is started and stopped, driven and parked."""
    translation = vehicle.model.units[UNIT.brand]
    signals = dict(translation.examples[0].signals)
    switches = [name for rule in translation.rules if rule.key in ("ignition", "driving_enabled") for name in rule.signals]
    at = NOW
    for number in range(count):
        at += rng.choice((1000, 1000, 30_000))
        if rng.random() < 0.3:
            example = rng.choice(translation.examples).signals
            signals |= {name: example[name] for name in signals if name in example}
        if rng.random() < 0.2:
            signals |= dict.fromkeys(switches, rng.randrange(3))
        sequence, moment, said = (first + number) % 2**32, at, dict(signals)
        match rng.randrange(50):
            case 0:
                sequence = (sequence - 1) % 2**32  # once more, with other words
            case 1:
                sequence = (sequence + 3) % 2**32
            case 2:
                moment = NOW + 10**9
            case 3:
                said.pop(rng.choice(sorted(said)))
        said["oldest_sequence"] = (first + number) % 2**32
        flags = {"flags": rng.choice((0,) * 19 + (4,))}
        frame = Frame("state", UNIT.telematics_unit_id, sequence, moment, (Report(b"", None, said),), flags)
        yield Telegram(UNIT, CLOUDBOXX.encode(frame, KEYS[0].seal), at + 150)


def heard(telegram: Telegram, vehicle: Vehicle, memory: Memory, pieces: object) -> Receipt:
    receipt = receive(telegram, vehicle, memory, CLOUDBOXX, KEYS, lambda *_: None, pieces)  # type: ignore[arg-type]
    if receipt.accepted and not receipt.memory.online:
        receipt.memory = replace(receipt.memory, online=True, online_changed_at=telegram.at)
    return receipt


def told(receipt: Receipt) -> object:
    counts = (receipt.accepted, receipt.repeated, receipt.late, receipt.acknowledged, receipt.wants_time)
    return [event.json() for event in receipt.events], receipt.refused, receipt.answers, counts, receipt.memory


@pytest.mark.parametrize("trigger", ["DRIVING_ENABLED", "IGNITION"])
@pytest.mark.parametrize("first", [7, 2**32 - 30])
def test_the_short_way_says_what_the_long_one_says(trigger: str, first: int, monkeypatch: pytest.MonkeyPatch):
    short = 0
    kinds: set[str] = set()

    def onward(*given: object) -> Receipt | None:
        nonlocal short
        receipt = kept(*given)  # type: ignore[arg-type]
        short += receipt is not None
        kinds.update(event.type for event in (receipt.events if receipt else ()))
        return receipt

    kept = uplink.onward
    monkeypatch.setattr(uplink, "onward", onward)
    for seed, model in enumerate(MODELS):
        vehicle = Vehicle("V0001", "fleet", UNIT, DATABASE.brands[UNIT.brand], model, trip_trigger=trigger)  # type: ignore[arg-type]
        reader, ahead, alone = Reader(DATABASE, keys), Memory(), Memory()
        for telegram in telegrams(vehicle, 150, random.Random(seed), first):
            (read,) = reader.read([Said(telegram, vehicle)])
            assert isinstance(read, Heard)
            found, expected = heard(telegram, vehicle, ahead, read), heard(telegram, vehicle, alone, None)
            assert told(found) == told(expected)
            ahead, alone = found.memory, expected.memory
    assert short > 150 * len(MODELS) // 4, "hardly anything took the short way"
    assert {"VehicleStateRecorded", "TripStarted", "TripEnded"} < kinds
