"""Makes the road graph that is shipped: an invented town, no copy of any map. The same seed gives the same file.

python -m devices.roadmaker --seed 7 --output devices/data/roads.json
"""

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

CENTRE = (50.9375, 6.9603)
SIDE = 19
SPACING_M = 430.0
JITTER_M = 70.0
LOST_SHARE = 0.16
"""Of the small streets that a plain grid would have."""

AVENUE_EVERY = 4
RING = 7
"""The ring road runs so many blocks from the centre."""

STREET_KMH, AVENUE_KMH, RING_KMH, MOTORWAY_KMH = 30, 50, 70, 100
METERS_PER_DEGREE = 111_195.0

Street = tuple[int, int, int]


def make(seed: int) -> dict[str, Any]:
    """The graph as its file says it: nodes [latitude, longitude, altitude, 1 where there are lights], edges [from, to, km/h]."""
    rng = random.Random(seed)
    nodes = [_node(rng, row, column) for row in range(SIDE) for column in range(SIDE)]
    streets = _connected(_streets(rng), len(nodes))
    degree = [0] * len(nodes)
    for one, other, limit in streets:
        degree[one] += limit >= AVENUE_KMH
        degree[other] += limit >= AVENUE_KMH
    lights = [int(count >= 3 or (count == 2 and rng.random() < 0.15)) for count in degree]
    return {
        "format": "teleloop-roads",
        "version": 1,
        "about": f"an invented town, made by devices.roadmaker with seed {seed}",
        "nodes": [[*node, light] for node, light in zip(nodes, lights, strict=True)],
        "edges": [list(street) for street in sorted(streets)],
    }


def _node(rng: random.Random, row: int, column: int) -> tuple[float, float, float]:
    north = (row - SIDE // 2) * SPACING_M + rng.uniform(-JITTER_M, JITTER_M)
    east = (column - SIDE // 2) * SPACING_M + rng.uniform(-JITTER_M, JITTER_M)
    latitude = CENTRE[0] + north / METERS_PER_DEGREE
    longitude = CENTRE[1] + east / (METERS_PER_DEGREE * math.cos(math.radians(CENTRE[0])))
    altitude = 55 + 14 * math.sin(north / 1_900) + 11 * math.cos(east / 2_300 + 1)
    return round(latitude, 6), round(longitude, 6), round(altitude, 1)


def _streets(rng: random.Random) -> list[Street]:
    streets = []
    for row in range(SIDE):
        for column in range(SIDE):
            here = row * SIDE + column
            if column + 1 < SIDE:
                streets.append((here, here + 1, _limit(row, column, column + 1)))
            if row + 1 < SIDE:
                streets.append((here, here + SIDE, _limit(column, row, row + 1)))
    return [street for street in streets if street[2] > STREET_KMH or rng.random() >= LOST_SHARE]


def _limit(line: int, begins: int, ends: int) -> int:
    """Of the piece of the `line`-th street (of either direction) between two crossings."""
    middle = SIDE // 2
    if line in (0, SIDE - 1):
        return MOTORWAY_KMH
    if abs(line - middle) == RING and max(abs(begins - middle), abs(ends - middle)) <= RING:
        return RING_KMH
    return AVENUE_KMH if (line - middle) % AVENUE_EVERY == 0 else STREET_KMH


def _connected(streets: list[Street], size: int) -> list[Street]:
    """Without what cannot be reached from the first crossing; there is nothing like that while avenues are complete."""
    neighbours: dict[int, set[int]] = {node: set() for node in range(size)}
    for one, other, _ in streets:
        neighbours[one].add(other)
        neighbours[other].add(one)
    reached, edge = {0}, [0]
    while edge:
        new = neighbours[edge.pop()] - reached
        reached |= new
        edge += new
    return [street for street in streets if street[0] in reached]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="the same seed gives the same town")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "roads.json")
    given = parser.parse_args()
    given.output.write_text(json.dumps(make(given.seed), separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main()
