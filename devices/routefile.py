"""Ways from files: GeoJSON (RFC 7946) and GPX 1.0 or 1.1. A file that is neither gives one error that says where it is wrong.

GeoJSON: a LineString or MultiLineString, a Feature with one, or a FeatureCollection of such Features; other geometries in a
collection are passed over. Of a Feature's `properties` these count: `name`; `speed_limit_kmh`, a number or one for each leg;
`stops`, a list of `{"point": index, "seconds": wait}`. GPX: every `rte` and every `trkseg` is a way. A line that ends where it
begins is driven round and round.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from devices.route import DEFAULT_LIMIT_KMH, Point, Way
from modeldb.vocabulary import LARGEST

SIZE_LIMIT_BYTES = 64 * 1024 * 1024
FASTEST_KMH = 300.0
LONGEST_STOP_S = 86_400


class RouteFileError(ValueError):
    """The file is no way; the message says what is wrong, and where."""


def read_ways(path: Path) -> list[Way]:
    """The ways of a file, in its order. Raises RouteFileError."""
    try:
        if path.stat().st_size > SIZE_LIMIT_BYTES:
            raise RouteFileError(f"{path}: larger than {SIZE_LIMIT_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise RouteFileError(f"{path}: {error.strerror or error}") from error
    return parse_ways(data, str(path))


def parse_ways(data: bytes, name: str = "route") -> list[Way]:
    """The ways in a file's bytes; `name` is what errors call it. Raises RouteFileError."""
    try:
        ways = list(_gpx(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _geojson(data))
    except RouteFileError as error:
        raise RouteFileError(f"{name}: {error}") from None
    if not ways:
        raise RouteFileError(f"{name}: there is no line in it to drive along")
    return ways


def _geojson(data: bytes) -> Iterator[Way]:
    try:
        said = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RouteFileError(f"byte {error.start} is not UTF-8; GeoJSON or GPX is wanted") from error
    except json.JSONDecodeError as error:
        raise RouteFileError(f"line {error.lineno}, column {error.colno}: {error.msg}; GeoJSON or GPX is wanted") from error
    except RecursionError as error:
        raise RouteFileError("nested too deeply") from error
    yield from _of(said, "", {}, in_collection=False)


def _of(said: Any, where: str, properties: Mapping[str, Any], *, in_collection: bool) -> Iterator[Way]:
    if not isinstance(said, dict):
        raise RouteFileError(f"{where or 'the document'}: a GeoJSON object is wanted, not {_brief(said)}")
    at = f"{where}." if where else ""
    match said.get("type"):
        case "FeatureCollection":
            for place, feature in enumerate(_list(said.get("features"), f"{at}features")):
                yield from _of(feature, f"{at}features[{place}]", {}, in_collection=True)
        case "Feature":
            if said.get("geometry") is not None:
                yield from _of(said["geometry"], f"{at}geometry", said.get("properties") or {}, in_collection=in_collection)
        case "LineString":
            yield _line(said.get("coordinates"), f"{at}coordinates", properties)
        case "MultiLineString":
            for place, line in enumerate(_list(said.get("coordinates"), f"{at}coordinates")):
                yield _line(line, f"{at}coordinates[{place}]", properties)
        case "Point" | "MultiPoint" | "Polygon" | "MultiPolygon" | "GeometryCollection" if in_collection:
            return
        case other:
            kinds = "LineString, MultiLineString, Feature or FeatureCollection"
            raise RouteFileError(f"{at}type: {kinds} is wanted, not {_brief(other)}")


def _line(said: Any, where: str, properties: Mapping[str, Any]) -> Way:
    points = [_position(each, f"{where}[{place}]") for place, each in enumerate(_list(said, where))]
    if len(points) < 2:
        raise RouteFileError(f"{where}: two positions or more are wanted, not {len(points)}")
    if not isinstance(properties, dict):
        raise RouteFileError(f"properties: an object is wanted, not {_brief(properties)}")
    limits = _limits(properties.get("speed_limit_kmh"), len(points) - 1)
    name = properties.get("name")
    return _way(points, where, limits, _stops(properties.get("stops"), points), name if isinstance(name, str) else "")


def _position(said: Any, where: str) -> Point:
    if not isinstance(said, list) or len(said) < 2 or not all(_is_number(each) for each in said):
        raise RouteFileError(f"{where}: [longitude, latitude] or [longitude, latitude, altitude] is wanted, not {_brief(said)}")
    return _point(said[1], said[0], said[2] if len(said) > 2 else None, where)


def _point(latitude: float, longitude: float, altitude: float | None, where: str) -> Point:
    if not -90 <= latitude <= 90:
        hint = "; GeoJSON says the longitude first" if abs(longitude) <= 90 else ""
        raise RouteFileError(f"{where}: latitude {latitude:g} is outside -90 to 90{hint}")
    if not -180 <= longitude <= 180:
        raise RouteFileError(f"{where}: longitude {longitude:g} is outside -180 to 180")
    return Point(float(latitude), float(longitude), None if altitude is None else float(altitude))


def _limits(said: Any, legs: int) -> list[float]:
    if said is None:
        return [DEFAULT_LIMIT_KMH] * legs
    limits = said if isinstance(said, list) else [said] * legs
    if len(limits) != legs:
        raise RouteFileError(f"properties.speed_limit_kmh: {legs} numbers are wanted, one for each leg, not {len(limits)}")
    for place, limit in enumerate(limits):
        if not _is_number(limit) or not 0 < limit <= FASTEST_KMH:
            raise RouteFileError(f"properties.speed_limit_kmh[{place}]: 0 to {FASTEST_KMH:g} km/h is wanted, not {_brief(limit)}")
    return [float(limit) for limit in limits]


def _stops(said: Any, points: Sequence[Point]) -> dict[int, float]:
    stops = {}
    for place, stop in enumerate(_list(said, "properties.stops") if said is not None else []):
        point, seconds = (stop.get("point"), stop.get("seconds")) if isinstance(stop, dict) else (None, None)
        fits = isinstance(point, int) and 0 < point < len(points) and _is_number(seconds)
        if point is None or seconds is None or not fits or not 0 < seconds <= LONGEST_STOP_S:
            wanted = f'{{"point": 1 to {len(points) - 1}, "seconds": up to {LONGEST_STOP_S}}}'
            raise RouteFileError(f"properties.stops[{place}]: {wanted} is wanted, not {_brief(stop)}")
        stops[point] = float(seconds)
    return stops


def _way(points: Sequence[Point], where: str, limits: Sequence[float], stops: Mapping[int, float], name: str) -> Way:
    closed = len(points) > 2 and points[0][:2] == points[-1][:2]
    try:
        return Way(points, limits_kmh=limits, stops=stops, closed=closed, name=name)
    except ValueError as error:
        raise RouteFileError(f"{where}: {error}") from error


def _gpx(data: bytes) -> Iterator[Way]:
    reader = _Gpx()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise RouteFileError(f"line {error.lineno}, column {error.offset + 1}: {expat.errors.messages[error.code]}") from error
    if not reader.is_gpx:
        raise RouteFileError("line 1: the outermost element is not gpx; GeoJSON or GPX is wanted")
    for points, line, name in reader.lines:
        if len(points) < 2:
            raise RouteFileError(f"line {line}: two points or more are wanted, not {len(points)}")
        yield _way(points, f"line {line}", [DEFAULT_LIMIT_KMH] * (len(points) - 1), {}, name)


class _Gpx:
    """What is in a GPX file, element by element. Entities that a file declares are refused: they may grow without bound."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._entity
        self.is_gpx = False
        self.lines: list[tuple[list[Point], int, str]] = []
        self._open: list[str] = []
        self._points: list[Point] = []
        self._begun, self._name, self._said = 0, "", ""
        self._place: tuple[float, float] | None = None
        self._altitude: float | None = None

    @property
    def _where(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def _entity(self, *_: Any) -> None:
        raise RouteFileError(f"{self._where}: entities are not wanted")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self.is_gpx |= not self._open and name == "gpx"
        self._open.append(name)
        self._said = ""
        if name in ("rte", "trkseg"):
            self._points, self._begun = [], self.parser.CurrentLineNumber
            self._name = "" if name == "rte" else self._name
        elif name == "trk":
            self._name = ""
        elif name in ("rtept", "trkpt"):
            self._place = (self._number(attributes.get("lat"), f"{name} lat"), self._number(attributes.get("lon"), f"{name} lon"))
            self._altitude = None

    def _end(self, tag: str) -> None:
        name = self._open.pop()
        within = self._open[-1] if self._open else ""
        if name == "ele" and within in ("rtept", "trkpt"):
            self._altitude = self._number(self._said, "ele")
        elif name == "name" and within in ("rte", "trk"):
            self._name = self._said.strip()
        elif name in ("rtept", "trkpt") and self._place is not None:
            self._points.append(_point(*self._place, self._altitude, self._where))
            self._place = None
        elif name in ("rte", "trkseg"):
            self.lines.append((self._points, self._begun, self._name))

    def _text(self, said: str) -> None:
        self._said += said

    def _number(self, said: str | None, what: str) -> float:
        try:
            value = float(said or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RouteFileError(f"{self._where}: {what}: a number is wanted, not {_brief(said)}")
        return value


def _list(said: Any, where: str) -> list[Any]:
    if not isinstance(said, list):
        raise RouteFileError(f"{where}: a list is wanted, not {_brief(said)}")
    return said


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool) and abs(said) <= LARGEST


def _brief(said: Any) -> str:
    text = "nothing" if said is None else repr(said)
    return text if len(text) <= 60 else text[:57] + "..."
