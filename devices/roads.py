"""A graph of roads, and the quickest way through it. One is shipped; others are read from files of the same form.

    {"format": "teleloop-roads", "version": 1,
     "nodes": [[latitude, longitude, altitude_m, lights], ...], "edges": [[from, to, km/h], ...]}

Every edge may be driven both ways. Pure, but for `load`.
"""

import heapq
import json
import math
import random
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from devices.route import METERS_PER_DEGREE, Point, Way
from modeldb.vocabulary import LARGEST

RED_SHARE = 0.4
RED_S = (5.0, 40.0)
"""How often lights are red, and how long one waits there."""

FASTEST_KMH = 130.0
EARTH_M = METERS_PER_DEGREE


class RoadsError(ValueError):
    """A file that is no graph of roads; the message says where it is wrong."""


class NoWay(ValueError):
    """One cannot get there."""


class Roads:
    """Crossings by number, and the streets between them."""

    def __init__(self, nodes: Sequence[tuple[float, float, float, int]], edges: Sequence[tuple[int, int, float]]) -> None:
        self.points = [Point(latitude, longitude, altitude) for latitude, longitude, altitude, _ in nodes]
        self.lights = frozenset(place for place, node in enumerate(nodes) if node[3])
        self.streets: list[list[tuple[int, float, float]]] = [[] for _ in nodes]
        for one, other, limit in edges:
            length = self.apart(one, other)
            self.streets[one].append((other, limit, length))
            self.streets[other].append((one, limit, length))
        self.crossings = [node for node, streets in enumerate(self.streets) if streets]

    def apart(self, one: int, other: int) -> float:
        """Metres between two crossings as the crow flies."""
        return _apart(self.points[one], self.points[other])

    def nearest(self, latitude: float, longitude: float) -> int:
        """The crossing nearest to a place."""
        shrink = math.cos(math.radians(latitude)) ** 2
        points = self.points
        return min(self.crossings, key=lambda node: _squared(points[node], latitude, longitude, shrink))

    def stand(self, node: int, from_m: float = 0.0) -> Way:
        """A way that begins at a crossing: for a vehicle that is parked there."""
        return self.way((node, self.streets[node][0][0]), None, from_m)

    def distance_m(self, node: int, latitude: float, longitude: float) -> float:
        """Metres from a crossing to a place as the crow flies."""
        return _apart(self.points[node], Point(latitude, longitude))

    def quickest(self, start: int, end: int) -> list[int]:
        """The crossings on the quickest way, both ends included (A*, by driving time at the limits). Raises NoWay."""
        best, came = {start: 0.0}, {start: start}
        open_: list[tuple[float, int]] = [(0.0, start)]
        done: set[int] = set()
        while open_:
            _, here = heapq.heappop(open_)
            if here == end:
                return _back(came, start, end)
            if here in done:
                continue
            done.add(here)
            for other, limit, length in self.streets[here]:
                time_s = best[here] + length / limit * 3.6
                if time_s < best.get(other, math.inf):
                    best[other], came[other] = time_s, here
                    heapq.heappush(open_, (time_s + self.apart(other, end) / FASTEST_KMH * 3.6, other))
        raise NoWay(f"there is no way from crossing {start} to crossing {end}")

    def way(self, nodes: Sequence[int], rng: random.Random | None = None, from_m: float = 0.0) -> Way:
        """The way along these crossings; `rng` decides which lights are red, without it all are green."""
        limits = [self.limit(one, other) for one, other in pairwise(nodes)]
        stops = {}
        if rng is not None:
            lit = [place for place in range(1, len(nodes) - 1) if nodes[place] in self.lights]
            stops = {place: rng.uniform(*RED_S) for place in lit if rng.random() < RED_SHARE}
        return Way([self.points[node] for node in nodes], limits_kmh=limits, stops=stops, from_m=from_m)

    def trip(self, start: int, rng: random.Random, least_m: float = 800.0, from_m: float = 0.0) -> Way:
        """The way to some other crossing that is not too near."""
        for _ in range(50):
            end = rng.choice(self.crossings)
            if self.apart(start, end) >= least_m:
                return self.way(self.quickest(start, end), rng, from_m)
        raise NoWay(f"nothing is {least_m:g} m away from crossing {start}")

    def onward(self, start: int, rng: random.Random) -> list[int]:
        """The crossings on the quickest way to some other one."""
        return self.quickest(start, rng.choice([node for node in self.crossings if node != start]))

    def limit(self, one: int, other: int) -> float:
        """Of the street between two crossings, km/h. Raises NoWay where there is none."""
        for node, limit, _ in self.streets[one]:
            if node == other:
                return limit
        raise NoWay(f"there is no street between crossings {one} and {other}")


def _back(came: dict[int, int], start: int, end: int) -> list[int]:
    nodes = [end]
    while nodes[-1] != start:
        nodes.append(came[nodes[-1]])
    return nodes[::-1]


def _squared(point: Point, latitude: float, longitude: float, shrink: float) -> float:
    return (point.latitude - latitude) ** 2 + (point.longitude - longitude) ** 2 * shrink


def _apart(one: Point, other: Point) -> float:
    shrink = math.cos(math.radians((one.latitude + other.latitude) / 2))
    return math.hypot(other.latitude - one.latitude, (other.longitude - one.longitude) * shrink) * EARTH_M


@cache
def shipped() -> Roads:
    """The town that comes with the simulator."""
    return parse(resources.files("devices").joinpath("data/roads.json").read_text(encoding="utf-8"), "roads.json")


def load(path: Path) -> Roads:
    """A graph from a file. Raises RoadsError."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RoadsError(f"{path}: {error}") from error


def parse(text: str, name: str) -> Roads:
    """A graph from a file's text. Raises RoadsError."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise RoadsError(f"{name}: {error}") from error
    if not isinstance(said, dict) or said.get("format") != "teleloop-roads" or said.get("version") != 1:
        raise RoadsError(f'{name}: wanted is {{"format": "teleloop-roads", "version": 1, "nodes": ..., "edges": ...}}')
    for key in ("nodes", "edges"):
        if not isinstance(said.get(key), list) or not said[key]:
            raise RoadsError(f"{name}: {key}: a list with something in it is wanted")
    nodes = [_node(name, place, each) for place, each in enumerate(said["nodes"])]
    return Roads(nodes, [_edge(name, place, each, len(nodes)) for place, each in enumerate(said["edges"])])


def _node(name: str, place: int, said: Any) -> tuple[float, float, float, int]:
    where = f"{name}: nodes[{place}]"
    if not isinstance(said, list) or len(said) != 4 or not all(_is_number(each) for each in said):
        raise RoadsError(f"{where}: [latitude, longitude, altitude in metres, 1 or 0 for lights] is wanted, not {said!r}")
    latitude, longitude, altitude, lights = said
    if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
        raise RoadsError(f"{where}: {latitude}, {longitude} is no place on Earth")
    return latitude, longitude, altitude, int(lights)


def _edge(name: str, place: int, said: Any, size: int) -> tuple[int, int, float]:
    where = f"{name}: edges[{place}]"
    if not isinstance(said, list) or len(said) != 3 or not all(_is_number(each) for each in said):
        raise RoadsError(f"{where}: [from, to, limit in km/h] is wanted, not {said!r}")
    one, other, limit = said
    for node in (one, other):
        if not isinstance(node, int) or not 0 <= node < size:
            raise RoadsError(f"{where}: there is no node {node}; there are {size}")
    if one == other or limit <= 0:
        raise RoadsError(f"{where}: a street leads from one node to another at more than 0 km/h, not {said!r}")
    return one, other, float(limit)


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool) and abs(said) <= LARGEST
