"""The frames that are decoded: like a fleet's, from a fixed seed, of as many layouts as wanted."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from protocols.cloudboxx import PROTOCOL as CLOUDBOXX
from protocols.cloudboxx import SIGNALS
from protocols.codec import Frame, Peer, Report
from protocols.gbt32960 import PROTOCOL as GBT32960
from protocols.gbt32960_session import report
from protocols.teltonika import PROTOCOL as TELTONIKA
from protocols.teltonika_layouts import CODEC_8E
from protocols.teltonika_session import AVL_SIZES, avl, record

SEED = 20260130
STARTED_AT = 1_795_446_000_000
QNR, KEY, VIN = "0123456789ABCDEF", bytes(range(32)), "LSVAU2A37N2123456"
SPEAKER = Peer(QNR, (KEY,))
RECORDS = 10
"""AVL records in a Teltonika packet."""

_CORE = ("oldest_sequence", "latitude", "longitude", "altitude", "heading", "gnss_speed", "satellites", "gnss_fix", "odometer")
_REST = ("fuel_level", "onboard_voltage", "supply_voltage", "rssi", "switches", "doors", "can_locks", "lamps_safety")
_AVL = (239, 240, 21, 200, 69, 1, 2, 3, 113, 80, 66, 67, 68, 181, 182, 9, 24, 16, 199, 241)


def cloudboxx(count: int, layouts: int) -> list[bytes]:
    """Sealed states of 17 signals."""
    rng = random.Random(SEED)
    usual = [signal for signal in SIGNALS if signal.name in _CORE + _REST]
    others = [signal for signal in SIGNALS if signal.name not in _CORE]
    core = [signal for signal in SIGNALS if signal.name in _CORE]
    return _states(count, [usual, *(core + rng.sample(others, len(_REST)) for _ in range(layouts - 1))], rng)


def uneven(count: int, layouts: int, least: int, most: int) -> list[bytes]:
    """Sealed states of `least` to `most` signals, any of them: frames short and long."""
    rng = random.Random(SEED)
    return _states(count, [rng.sample(SIGNALS, rng.randint(least, most)) for _ in range(layouts)], rng)


def _states(count: int, sets: Sequence[Sequence[Any]], rng: random.Random) -> list[bytes]:
    """Frames of these sets of signals in turn, shuffled."""

    def value(form: Any) -> int:
        bits, signed = 8 * form.sizeof(), form.fmtstr[-1].islower()
        return rng.randrange(1 << bits) - (1 << bits - 1 if signed else 0)

    def frame(number: int) -> bytes:
        signals = {signal.name: value(signal.form) for signal in sets[number % len(sets)]}
        at = STARTED_AT + 1000 * number + rng.randrange(1000)
        return CLOUDBOXX.encode(Frame("state", QNR, number, at, (Report(b"", at, signals),), {"flags": 2}), KEY)

    return _shuffled([frame(number) for number in range(count)], rng)


def teltonika(count: int, layouts: int) -> list[bytes]:
    """Codec 8 Extended packets of RECORDS records with 20 IO elements each, of `layouts` sets of ids."""
    rng = random.Random(SEED)
    ids = sorted(AVL_SIZES)
    sets = [list(_AVL), *(rng.sample(ids, len(_AVL)) for _ in range(layouts - 1))]

    def made(number: int) -> dict[str, Any]:
        signals: dict[str, Any] = {
            "longitude": rng.randrange(1 << 30),
            "latitude": rng.randrange(1 << 29),
            "speed": rng.randrange(200),
        }
        signals |= {f"io_{each}": rng.randrange(1 << 8 * AVL_SIZES[each]) for each in sets[number % layouts]}
        return record(CODEC_8E, STARTED_AT + 1000 * number, signals)

    packets = [avl(CODEC_8E, [made(number * RECORDS + k) for k in range(RECORDS)]) for number in range(count)]
    return _shuffled([TELTONIKA.encode(packet) for packet in packets], rng)


def gbt32960(count: int, layouts: int) -> list[bytes]:
    """Realtime reports: vehicle, and of four motors, position and extremes those that a layout's bits say; one layout: all."""
    rng = random.Random(SEED)

    def frame(number: int) -> bytes:
        there = number % layouts ^ 63
        signals: dict[str, Any] = {"speed": rng.randrange(2200), "odometer": rng.randrange(1 << 24), "soc": rng.randrange(101)}
        signals |= {"gear": 14, "vehicle_state": 1, "alarm_level": 0}
        signals |= {f"motor_{k}_speed": rng.randrange(40_000) for k in range(1, 5) if there >> k - 1 & 1}
        if there & 16:
            signals |= {"longitude": rng.randrange(180_000_000), "latitude": rng.randrange(90_000_000)}
        if there & 32:
            signals |= {"highest_cell_voltage": rng.randrange(5000)}
        return GBT32960.encode(report(VIN, STARTED_AT + 1000 * number, signals))

    return _shuffled([frame(number) for number in range(count)], rng)


FRAMES: dict[str, Callable[[int, int], list[bytes]]] = {"cloudboxx": cloudboxx, "teltonika": teltonika, "gbt32960": gbt32960}
UNITS_PER_FRAME = {"teltonika": RECORDS}
"""What is counted: reports. A Teltonika packet has several."""


def _shuffled(frames: Sequence[bytes], rng: random.Random) -> list[bytes]:
    """In an order that the memory does not have: as frames lie that arrived over time."""
    mixed = [bytes(bytearray(frame)) for frame in frames]
    rng.shuffle(mixed)
    return mixed
