"""AVL records that say what rules read, and more: in any size, with the values at the ends of each, twice, or not at all."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from protocols.teltonika_layouts import CODEC_8, CODEC_8E, CODEC_16
from protocols.teltonika_session import record

SIZES = (1, 2, 4, 8)
AS_BYTES = 0
BYTE_IDS = 256


class Layout(NamedTuple):
    """A record's codec, and its IO elements in order: each id with its size; AS_BYTES: it comes as bytes, not as a number."""

    codec: int
    elements: tuple[tuple[int, int], ...]


def layouts(signals: Sequence[str], count: int, rng: random.Random) -> list[Layout]:
    """Layouts of these signals and a few that nobody reads. Some have an id twice."""
    known = [int(name[3:]) for name in signals if name.startswith("io_")]
    found = []
    for _ in range(count):
        codec = rng.choice((CODEC_8, CODEC_8E, CODEC_8E, CODEC_16))
        ids = [each for each in [*known, 200, 241, 11, 30_000] if codec != CODEC_8 or each < BYTE_IDS]
        chosen = rng.sample(ids, rng.randrange(len(ids) + 1))
        if chosen and rng.random() < 0.3:
            chosen.append(rng.choice(chosen))
        sizes = (*SIZES, AS_BYTES) if codec == CODEC_8E else SIZES
        found.append(Layout(codec, tuple((each, rng.choice(sizes)) for each in chosen)))
    return found


def said(layout: Layout, at: int, rng: random.Random) -> dict[str, Any]:
    """A record of that layout, captured `at` (Unix ms)."""
    position = rng.choice(((509375000, 69603000), (-900_000_000, 1_800_000_000), (900_000_001, 0), (0, -(2**31)), (1, 1)))
    signals = {
        "latitude": position[0],
        "longitude": position[1],
        "altitude": rng.choice((-(2**15), -1, 0, 2**15 - 1)),
        "angle": rng.choice((0, 360, 361, 2**16 - 1)),
        "satellites": rng.randrange(256),
        "speed": rng.choice((0, 50, 2**16 - 1)),
        "event_id": rng.randrange(BYTE_IDS),
    }
    made = record(layout.codec, at, signals)
    for avl_id, size in layout.elements:
        value: Any = rng.randbytes(3) if size == AS_BYTES else _number(8 * size, rng)
        made["bytes_x" if size == AS_BYTES else f"bytes_{size}"].append({"id": avl_id, "value": value})
    return made


def _number(bits: int, rng: random.Random) -> int:
    ends = (0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1, rng.randrange(1 << bits))
    return rng.choice((*ends, rng.randrange(256), rng.randrange(256)))
