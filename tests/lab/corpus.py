"""Frames of each protocol that the hot path knows: from the vector files, and made ones of many layouts; and broken ones."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import modeldb
from protocols.checksums import bcc, crc16_arc, crc16_ccitt_false
from protocols.cloudboxx import SIGNALS
from protocols.codec import Frame, Peer, ProtocolError, Report
from protocols.gbt32960_session import report
from protocols.hotpath import BINDINGS
from protocols.hotpath.binding import Binding
from protocols.hotpath.kernels import Path as KernelPath
from protocols.hotpath.kernels import native
from protocols.seal import seal
from protocols.teltonika_session import AVL_SIZES, avl, record

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT.parent / "shared" / "vectors"
QNR, KEY = "0123456789ABCDEF", bytes(range(32))
SPEAKER = Peer(QNR, (KEY,))
VIN = "WDB1234561A123456"
STARTED_AT = 1_795_446_000_000

PATHS: tuple[KernelPath, ...] = ("numpy",) if native is None else ("c", "numpy")


def outcome(binding: Binding, data: bytes, peer: Peer | None = None) -> Any:
    """What Protocol.decode makes of a frame, as something that can be compared."""
    try:
        return named(binding.protocol.decode(data, peer))
    except ProtocolError as error:
        return named(error)


def named(said: Any) -> Any:
    """A refusal by all that it says; a frame with a value that is no number, which equals nothing, as a text."""
    if not isinstance(said, ProtocolError):
        return text if "nan" in (text := repr(said)) else said
    return said.reason, said.offset, said.field, said.expected, said.found, said.guess, said.sequence


def _cloudboxx(rng: random.Random) -> bytes:
    there = rng.sample(SIGNALS, rng.randrange(len(SIGNALS) + 1))
    signals = {}
    for signal in there:
        bits, signed = 8 * signal.form.sizeof(), signal.form.fmtstr[-1].islower()
        signals[signal.name] = rng.choice((0, (1 << bits - signed) - 1, rng.randrange(1 << bits - signed)))
    at = STARTED_AT + rng.randrange(10**9)
    said = Frame(
        rng.choice(("state", "event")), QNR, rng.randrange(1 << 32), at, (Report(b"", at, signals),), {"flags": rng.randrange(8)}
    )
    return BINDINGS["cloudboxx"].protocol.encode(said, KEY)


def _teltonika(rng: random.Random) -> bytes:
    codec = rng.choice((0x08, 0x8E, 0x10))
    ids = [each for each in AVL_SIZES if codec != 0x08 or each < 256]
    records = []
    for _ in range(rng.randrange(1, 4)):
        signals: dict[str, Any] = {
            f"io_{each}": rng.randrange(1 << 8 * AVL_SIZES[each]) for each in rng.sample(ids, rng.randrange(12))
        }
        signals |= {"longitude": rng.randrange(-(1 << 31), 1 << 31), "latitude": rng.randrange(-(1 << 30), 1 << 30)}
        signals |= {
            "speed": rng.randrange(1 << 16),
            "altitude": rng.randrange(-(1 << 15), 1 << 15),
            "event_id": rng.randrange(256),
        }
        if codec == 0x8E and rng.random() < 0.2:
            signals["io_11000"] = rng.randbytes(rng.randrange(6))
        records.append(record(codec, STARTED_AT + rng.randrange(10**9), signals))
    return BINDINGS["teltonika"].protocol.encode(avl(codec, records))


def _gbt32960(rng: random.Random) -> bytes:
    signals: dict[str, Any] = {"speed": rng.randrange(1 << 16), "odometer": rng.randrange(1 << 32), "gear": rng.randrange(16)}
    if rng.random() < 0.6:
        signals |= {"longitude": rng.randrange(180_000_001), "latitude": rng.randrange(-9_000_000, 90_000_001)}
    if rng.random() < 0.5:
        signals |= {"highest_cell_voltage": rng.randrange(1 << 16), "alarm_flags": rng.randrange(1 << 32)}
    for index in range(1, 1 + rng.randrange(3)):
        signals |= {f"motor_{index}_speed": rng.randrange(1 << 16), f"motor_{index}_torque": rng.randrange(1 << 16)}
    if rng.random() < 0.5:
        signals |= {"supply_voltage": rng.randrange(1 << 16), "switches": rng.randrange(256)}
    if rng.random() < 0.3:
        signals["battery_1_cell_voltages"] = tuple(rng.randrange(5000) for _ in range(rng.randrange(1, 20)))
    return BINDINGS["gbt32960"].protocol.encode(report("LSVAU2A37N2123456", STARTED_AT + 1000 * rng.randrange(10**7), signals))


@cache
def _autoapi_examples() -> list[tuple[Any, Mapping[str, Any]]]:
    models = modeldb.load().available("MERCEDES_BENZ")
    return [
        (model.units["MERCEDES_BENZ"], example.signals) for model in models for example in model.units["MERCEDES_BENZ"].examples
    ]


def _autoapi(rng: random.Random) -> bytes:
    """A state message of a model's example, with other numbers and words."""
    unit, said = rng.choice(_autoapi_examples())
    signals: dict[str, Any] = {}
    for name, value in said.items():
        codes = unit.signals[name].codes if name in unit.signals else {}
        if isinstance(value, str):
            signals[name] = rng.choice([*codes]) if codes else value
        else:
            signals[name] = rng.choice((value, rng.uniform(-1000, 1000))) if isinstance(value, float) else value
    at = STARTED_AT + rng.randrange(10**9)
    return BINDINGS["autoapi"].protocol.encode(Frame("state", VIN, captured_at=at, reports=(Report(b"", at, signals),)))


def _cloudboxx_repaired(data: bytearray) -> bytes:
    return bytes(data[:-2]) + crc16_ccitt_false(bytes(data[:-2])).to_bytes(2, "little")


def _cloudboxx_resealed(data: bytearray) -> bytes:
    return _cloudboxx_repaired(data[:-10] + seal(bytes(data[:-10]), KEY) + data[-2:])


def _teltonika_repaired(data: bytearray) -> bytes:
    return bytes(data[:-4]) + crc16_arc(bytes(data[8:-4])).to_bytes(4, "big")


def _gbt32960_repaired(data: bytearray) -> bytes:
    return bytes(data[:-1]) + bytes([bcc(bytes(data[2:-1]))])


@dataclass(frozen=True)
class Corpus:
    """A protocol's binding, a maker of frames, and what makes a frame's checksum right again."""

    binding: Binding
    make: Callable[[random.Random], bytes]
    repaired: Callable[[bytearray], bytes]
    resealed: Callable[[bytearray], bytes] | None = None
    vectors: tuple[bytes, ...] = field(default_factory=tuple)

    def made(self, count: int, seed: int = 1) -> list[bytes]:
        rng = random.Random(seed)
        return [self.make(rng) for _ in range(count)]

    def mutant(self, data: bytes, rng: random.Random) -> bytes:
        """A frame with something wrong in it; of some the checksum is right."""
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0xFE, 0xFF, rng.randrange(256)))
        match rng.randrange(12):
            case 0:
                changed = changed[: rng.randrange(16, len(changed) + 1)]
            case 1:
                changed += rng.randbytes(rng.randrange(1, 20))
        if len(changed) > 16 and rng.random() < 0.15:
            return self.repaired(changed)
        return bytes(changed)


def _message_of(line: Mapping[str, str]) -> str:
    """Of AutoAPI, a vector is a property's value; the message around it stands beside it."""
    return line.get("message_hex_derived") or line["hex"]


def _vectors(name: str, outsiders: str) -> tuple[bytes, ...]:
    own = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    found = [bytes.fromhex(each["hex"]) for each in (own["frames"] if isinstance(own, dict) else own)]
    file = OUTSIDERS / outsiders
    if file.exists():
        found += [bytes.fromhex(_message_of(json.loads(line))) for line in file.read_text().splitlines()]
    return tuple(found)


CORPORA = {
    "cloudboxx": Corpus(
        BINDINGS["cloudboxx"],
        _cloudboxx,
        _cloudboxx_repaired,
        _cloudboxx_resealed,
        _vectors("cloudboxx", "cloudboxx.jsonl"),
    ),
    "teltonika": Corpus(BINDINGS["teltonika"], _teltonika, _teltonika_repaired, None, _vectors("teltonika", "teltonika.jsonl")),
    "autoapi": Corpus(BINDINGS["autoapi"], _autoapi, bytes, None, _vectors("autoapi", "autoapi.jsonl")),
    "gbt32960": Corpus(BINDINGS["gbt32960"], _gbt32960, _gbt32960_repaired, None, _vectors("gbt32960", "gb32960.jsonl")),
}
