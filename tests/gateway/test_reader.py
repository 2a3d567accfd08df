"""What the hot path reads in bulk is what the uplink finds frame by frame: the same events, refusals, answers and memories."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import modeldb
from gateway.memory import Memory, Vehicle
from gateway.reader import Reader, Said
from gateway.receipts import Receipt, Telegram
from gateway.uplink import receive
from lab import avl_records
from lab.corpus import CORPORA, PATHS
from modeldb.model import Translation
from protocols import load
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Report, UnitId
from protocols.hotpath.kernels import Path
from protocols.keys import UnitKeys, brand_key, unit_keys
from protocols.teltonika_session import avl

NOW = 1_795_446_000_000
DATABASE, PROTOCOLS = modeldb.load(), load()
IDS = {
    "CLOUDBOXX": ("0123456789ABCDEF", "00000000000000A1", "FEDCBA9876543210"),
    "TELTONIKA": ("356307042441013", "352093081452251", "356307042441021"),
    "GBT32960": ("LSVAU2A37N2123456", "LSVAU2A37N2123457"),
    "MERCEDES_BENZ": ("WDB1234561A123456", "WDB1234561A123457"),
}
ROTATING = UnitId("CLOUDBOXX", "FEDCBA9876543210")


def keys_of(vehicle: Vehicle) -> tuple[UnitKeys, ...]:
    master = brand_key(bytes(32), vehicle.unit.brand)
    return tuple(unit_keys(master, each, vehicle.unit.telematics_unit_id) for each in vehicle.generations)


def fleet() -> list[Vehicle]:
    vehicles = []
    for brand, ids in IDS.items():
        models = DATABASE.available(brand)
        for number, unit_id in enumerate(ids):
            unit = UnitId(brand, unit_id)
            generations = (2, 1) if unit == ROTATING else (1,)
            model = models[number * 7 % len(models)]
            vehicles.append(Vehicle(f"V{len(vehicles):04}", "fleet", unit, DATABASE.brands[brand], model, generations))
    return vehicles


VEHICLES = fleet()


class Unit:
    """Says what a unit may say, and what it may not."""

    def __init__(self, vehicle: Vehicle, rng: random.Random) -> None:
        self.vehicle, self.rng, self.sequence, self.at = vehicle, rng, rng.choice((0, 1000, 2**32 - 8)), NOW
        self.protocol = PROTOCOLS[vehicle.brand.protocol]
        self.said: list[bytes] = []
        self.names = sorted({name for rule in self.translation.rules for name in rule.signals})
        self.layouts = avl_records.layouts(self.names, 6, rng)

    @property
    def translation(self) -> Translation:
        return self.vehicle.model.units[self.vehicle.unit.brand]

    def frame(self) -> bytes:
        self.sequence, self.at = (self.sequence + 1) % 2**32, self.at + self.rng.choice((0, 1, 1000, 30_000))
        name, key = self.vehicle.unit.telematics_unit_id, self.rng.choice(keys_of(self.vehicle)).seal
        match self.vehicle.unit.brand:
            case "CLOUDBOXX":
                if self.rng.random() < 0.2:
                    return self.protocol.encode(self.other(name), key)
                flags = {"flags": self.rng.choice((0, 0, 4))}
                return self.protocol.encode(
                    Frame(self.rng.choice(("state", "event")), name, self.sequence, self.at, (self.report(),), flags), key
                )
            case "MERCEDES_BENZ":
                report = Report(b"", self.at, self.rng.choice(self.translation.examples).signals)
                return self.protocol.encode(Frame("state", name, captured_at=self.at, reports=(report,)))
            case "TELTONIKA" if self.rng.random() < 0.8:
                return self.avl()
            case _:
                return CORPORA[self.protocol.name].make(self.rng)

    def avl(self) -> bytes:
        """Records as the unit has them in its memory, not all in the order of their times, nor all new."""
        codec = self.rng.choice(self.layouts).codec
        alike = [each for each in self.layouts if each.codec == codec]
        times = [self.at - self.rng.choice((0, 0, 1000, 60_000)) for _ in range(self.rng.choice((1, 1, 2, 5)))]
        said = [avl_records.said(self.rng.choice(alike), at, self.rng) for at in times]
        if self.rng.random() < 0.2:
            said.append(self.rng.choice(said))
        return self.protocol.encode(avl(codec, said))

    def report(self) -> Report:
        signals: dict[str, Any] = {
            name: self.rng.randrange(256 if self.rng.random() < 0.8 else 200)
            for name in self.rng.sample(self.names, self.rng.randrange(len(self.names)))
        }
        if self.rng.random() < 0.7:
            signals |= {"latitude": self.rng.randrange(900_000_001), "longitude": self.rng.randrange(-(2**31), 2**31)}
        if self.rng.random() < 0.5:
            signals["oldest_sequence"] = (self.sequence - self.rng.randrange(20)) % 2**32
        return Report(b"", None, signals)

    def other(self, name: str) -> Frame:
        kind, facts = self.rng.choice(
            (
                ("heartbeat", {"uptime": 5, "supply_voltage": 12_000, "oldest_sequence": self.sequence}),
                ("ack", {"cumulative": 1, "bitmap": 0}),
                ("result", {"envelope": self.rng.randbytes(40)}),
            )
        )
        return Frame(kind, name, self.sequence, self.at, facts={"flags": 0, **facts})

    def piece(self) -> bytes:
        """A frame, mostly a good and new one."""
        frame = self.frame()
        self.said.append(frame)
        corpus = CORPORA.get(self.protocol.name)
        match self.rng.randrange(16):
            case 0 if corpus:
                return corpus.mutant(frame, self.rng)
            case 1:
                return frame[: self.rng.randrange(len(frame))]
            case 2:
                return self.rng.choice(self.said)
            case 3:
                return self.rng.randbytes(self.rng.randrange(1, 40))
            case 4 if corpus:
                return corpus.repaired(bytearray(frame[:-20] + self.rng.randbytes(20)))
            case 5:
                return Unit(self.rng.choice(VEHICLES), self.rng).frame()
        return frame

    def payload(self) -> bytes:
        pieces = [self.piece() for _ in range(self.rng.choice((1, 1, 1, 2, 5)))]
        if len(pieces) > 1 and self.rng.random() < 0.3:
            self.rng.shuffle(pieces)
        return b"".join(pieces) if self.rng.random() < 0.995 else b"".join(pieces).ljust(PAYLOAD_LIMIT_BYTES + 1, b"\0")


@dataclass
class Gateway:
    """The uplink of all vehicles, with or without somebody who reads ahead."""

    reader: Reader | None = None

    def __post_init__(self) -> None:
        self.memories = {vehicle.vehicle_id: Memory() for vehicle in VEHICLES}

    def hear(self, batch: Sequence[Said]) -> Iterator[Receipt]:
        pieces = self.reader.read(batch) if self.reader else [None] * len(batch)
        for said, read in zip(batch, pieces, strict=True):
            vehicle, protocol = said.vehicle, PROTOCOLS[said.vehicle.brand.protocol]
            memory = self.memories[vehicle.vehicle_id]
            flow = lambda _, counter: f"flow-{counter}"  # noqa: E731
            receipt = receive(said.telegram, vehicle, memory, protocol, keys_of(vehicle), flow, read)
            self.memories[vehicle.vehicle_id] = receipt.memory
            yield receipt


def told(receipt: Receipt) -> Any:
    """All that a receipt says, so that it can be compared."""
    counts = (receipt.accepted, receipt.repeated, receipt.late, receipt.acknowledged, receipt.wants_time)
    return [event.json() for event in receipt.events], receipt.refused, receipt.results, receipt.answers, counts, receipt.memory


def telegrams(count: int, seed: int) -> list[Said]:
    rng = random.Random(seed)
    units = [Unit(vehicle, rng) for vehicle in VEHICLES]
    saying = [rng.choice(units) for _ in range(count)]
    said = [Said(Telegram(unit.vehicle.unit, unit.payload(), NOW + at), unit.vehicle) for at, unit in enumerate(saying)]
    late = [each for at, each in enumerate(said) if at % 11 == 5]
    in_time = [each for at, each in enumerate(said) if at % 11 != 5]
    for each in late:
        in_time.insert(rng.randrange(len(in_time)), each)
    return in_time


def batches(said: Sequence[Said], rng: random.Random) -> Iterator[Sequence[Said]]:
    at = 0
    while at < len(said):
        size = rng.choice((1, 2, 7, 40, 150))
        yield said[at : at + size]
        at += size


def assert_read_alike(path: Path, count: int, seed: int) -> None:
    said, reader = telegrams(count, seed), Reader(DATABASE, keys_of, path)
    ahead, alone = Gateway(reader), Gateway()
    seen = {"events": 0, "refused": 0, "repeated": 0, "late": 0, "results": 0, "answers": 0}
    vouched = 0
    for batch in batches(said, random.Random(seed)):
        heard = list(ahead.hear(batch))
        vouched += reader.vouched
        for each, receipt, expected in zip(batch, heard, alone.hear(batch), strict=True):
            if told(receipt) != told(expected):
                pytest.fail(f"{each.telegram.unit}: {each.telegram.payload.hex()}")
            for name in seen:
                value = getattr(expected, name)
                seen[name] += value if isinstance(value, int) else len(value)
    assert seen.pop("results") == 0, "random envelopes are nobody's"
    assert all(seen.values()), f"not everything came up: {seen}"
    assert vouched > count // 4, "hardly anything went the fast way"


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_is_heard_as_its_frames_are_one_by_one(path: Path):
    assert_read_alike(path, 700, seed=1)


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_batches_are_heard_as_their_frames_are_one_by_one(path: Path, seed: int):
    assert_read_alike(path, 4_000, seed)
