"""Ways from files, the shipped town, and vehicles that are rented in it."""

import itertools
import json
import math
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import roadmaker
from devices.life import following, renting
from devices.roads import NoWay, Roads, RoadsError, load, parse, shipped
from devices.route import Point, Way
from devices.routefile import RouteFileError, parse_ways, read_ways
from devices.vehicle import Vehicle
from lab.firmware import DEV_KIT, MODELS, UNIT

LINE = [[7.0, 50.0, 40.0], [7.0, 50.01, 60.0], [7.01, 50.01, 60.0]]
GPX = """<?xml version="1.0"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">
 <trk><name>to work</name><trkseg>
  <trkpt lat="50.0" lon="7.0"><ele>40</ele></trkpt>
  <trkpt lat="50.01" lon="7.0"><ele>60</ele></trkpt>
 </trkseg></trk>
 <rte><rtept lat="50.0" lon="7.0"/><rtept lat="50.0" lon="7.1"/></rte>
</gpx>"""


def geojson(geometry: object, **properties: object) -> bytes:
    return json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}).encode()


def line(coordinates: object) -> dict[str, object]:
    return {"type": "LineString", "coordinates": coordinates}


def test_a_geojson_line_is_a_way_with_limits_stops_heights_and_a_name() -> None:
    (way,) = parse_ways(geojson(line(LINE), name="hill", speed_limit_kmh=[30, 70], stops=[{"point": 1, "seconds": 12}]))
    assert (way.name, way.closed) == ("hill", False)
    assert way.length_m == pytest.approx(1112 + 715, abs=1)
    start, middle, end = way.at(0), way.at(556), way.at(1e9)
    assert (start.latitude, start.longitude, start.limit_kmh, start.heading) == (50.0, 7.0, 30.0, 0.0)
    assert middle.altitude_m == pytest.approx(50, abs=0.1)
    assert middle.grade == pytest.approx(20 / 1112, rel=0.01)
    assert (end.latitude, end.longitude) == pytest.approx((50.01, 7.01))
    assert end.heading == pytest.approx(90, abs=0.1)
    assert way.leg(0).out_kmh == 0
    assert way.leg(0).stop_s == 12


def test_a_collection_gives_its_lines_in_order_and_passes_over_the_rest() -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [7, 50]}, "properties": None}
    lines = [json.loads(geojson(line(LINE), name=name)) for name in ("one", "two")]
    empty = {"type": "Feature", "geometry": None, "properties": None}
    said = {"type": "FeatureCollection", "features": [lines[0], point, empty, lines[1]]}
    assert [way.name for way in parse_ways(json.dumps(said).encode())] == ["one", "two"]


def test_a_line_that_ends_where_it_begins_is_driven_round_and_round() -> None:
    (way,) = parse_ways(geojson(line([*LINE, LINE[0]])))
    assert way.closed
    once = way.at(way.length_m + 500)
    assert (once.latitude, once.longitude) == pytest.approx((way.at(500).latitude, way.at(500).longitude))
    assert not way.ended(10 * way.length_m)


def test_gpx_tracks_and_routes_are_ways() -> None:
    track, route = parse_ways(GPX.encode())
    assert track.name == "to work"
    assert track.at(556).altitude_m == pytest.approx(50, abs=0.1)
    assert route.length_m == pytest.approx(7147, abs=10)
    assert route.at(0).altitude_m is None


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "line 1, column 1"),
        (b"nonsense", "line 1, column 1"),
        (b"\xff\xfe\x00", "byte 0"),
        (b'{"type": "Feature",\n "geometry": }', "line 2, column 14"),
        (b"[1, 2]", "the document"),
        (b'{"type": "Circle"}', "type"),
        (b'{"type": "FeatureCollection", "features": []}', "there is no line"),
        (geojson(line([[7, 50]])), "geometry.coordinates: two positions"),
        (geojson(line([[7, 50], [7, 50]])), "geometry.coordinates: a way needs two points"),
        (geojson(line([[7, 50], [7, 91]])), "geometry.coordinates[1]: latitude 91"),
        (geojson(line([[7, 50], [190, 50]])), "geometry.coordinates[1]: longitude 190"),
        (geojson(line([[7, 50], [7, "50"]])), "geometry.coordinates[1]"),
        (geojson(line([[7, 50], [7, float("nan")]])), "geometry.coordinates[1]"),
        (geojson(line("far away")), "geometry.coordinates: a list"),
        (geojson(line(LINE), speed_limit_kmh=[30]), "properties.speed_limit_kmh: 2 numbers"),
        (geojson(line(LINE), speed_limit_kmh=[30, -5]), "properties.speed_limit_kmh[1]"),
        (geojson(line(LINE), stops=[{"point": 9, "seconds": 1}]), "properties.stops[0]"),
        (GPX.replace('lat="50.01"', 'lat="north"').encode(), "line 5: trkpt lat"),
        (GPX.replace('lon="7.0"', "", 1).encode(), "line 4: trkpt lon"),
        (GPX.replace("<ele>60", "<ele>high").encode(), "line 5: ele"),
        (GPX.replace('lat="50.01"', 'lat="95"').encode(), "line 5: latitude 95"),
        (GPX.replace("</trkseg>", "").encode(), "line 6, column"),
        (GPX.replace('<rtept lat="50.0" lon="7.1"/>', "").encode(), "line 7: two points"),
        (b"<kml></kml>", "not gpx"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><gpx>&b;</gpx>', "line 1: entities"),
    ],
)
def test_a_file_that_is_no_way_gives_one_error_that_says_where(data: bytes, where: str) -> None:
    with pytest.raises(RouteFileError) as error:
        parse_ways(data, "trip")
    assert str(error.value).startswith("trip: ")
    assert where in str(error.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.just(GPX.encode()).flatmap(
    lambda whole: st.integers(0, len(whole)).map(lambda at: whole[:at])))  # fmt: skip
def test_whatever_is_read_is_ways_or_one_error(data: bytes) -> None:
    with suppress(RouteFileError):
        assert parse_ways(data)


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(RouteFileError, match="No such file"):
        read_ways(tmp_path / "none.gpx")


def test_the_shipped_town_is_what_its_maker_makes() -> None:
    made, town = roadmaker.make(7), shipped()
    assert [tuple(node[:3]) for node in made["nodes"]] == [tuple(point) for point in town.points]
    assert sum(map(len, town.streets)) == 2 * len(made["edges"])
    assert roadmaker.make(8) != made


def test_every_crossing_of_the_town_can_be_reached() -> None:
    town, rng = shipped(), random.Random(1)
    for node in rng.sample(town.crossings, 40):
        assert town.quickest(town.crossings[0], node)[-1] == node


def test_the_quickest_way_is_the_quickest() -> None:
    town, rng = shipped(), random.Random(3)
    for _ in range(5):
        start, end = rng.sample(town.crossings, 2)
        assert _time_s(town, town.quickest(start, end)) == pytest.approx(_dijkstra(town, start, end))


def _time_s(town: Roads, nodes: list[int]) -> float:
    total = 0.0
    for one, other in itertools.pairwise(nodes):
        total += min(length / limit * 3.6 for node, limit, length in town.streets[one] if node == other)
    return total


def _dijkstra(town: Roads, start: int, end: int) -> float:
    times, left = {start: 0.0}, set(town.crossings)
    while True:
        here = min(left, key=lambda node: times.get(node, math.inf))
        if here == end:
            return times[here]
        left.discard(here)
        for other, limit, length in town.streets[here]:
            times[other] = min(times.get(other, math.inf), times[here] + length / limit * 3.6)


def test_where_no_street_leads_there_is_no_way() -> None:
    town = Roads([(50, 7, 0, 0), (50.01, 7, 0, 0), (50.02, 7, 0, 0), (50.03, 7, 0, 0)], [(0, 1, 50), (2, 3, 50)])
    with pytest.raises(NoWay):
        town.quickest(0, 3)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "line 1"),
        ("{}", "wanted is"),
        ('{"format": "teleloop-roads", "version": 1, "nodes": [], "edges": []}', "nodes"),
        ('{"format": "teleloop-roads", "version": 1, "nodes": [[1, 2]], "edges": [[0, 1, 50]]}', "nodes[0]"),
        ('{"format": "teleloop-roads", "version": 1, "nodes": [[99, 2, 0, 0]], "edges": [[0, 1, 50]]}', "nodes[0]"),
        ('{"format": "teleloop-roads", "version": 1, "nodes": [[1, 2, 0, 0]], "edges": [[0, 1, 50]]}', "edges[0]"),
        ('{"format": "teleloop-roads", "version": 1, "nodes": [[1, 2, 0, 0], [1, 3, 0, 0]], "edges": [[0, 1, 0]]}', "edges[0]"),
    ],
)
def test_a_file_that_is_no_graph_gives_one_error_that_says_where(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(RoadsError) as error:
        parse(text, "town.json")
    assert where in str(error.value)
    with pytest.raises(RoadsError, match="No such file"):
        load(tmp_path / "town.json")


@pytest.mark.parametrize("model", MODELS[::3], ids=lambda model: model.file)
def test_a_rented_vehicle_keeps_to_the_limits_stays_on_the_roads_and_ends_each_trip_locked(model: object) -> None:
    town = shipped()
    vehicle = Vehicle.of(model, UNIT.brand, seed=2, life=renting(town))  # type: ignore[arg-type]
    trips, was_reserved, lights = 0, False, 0
    for _ in range(3 * 3600):
        vehicle.step(1)
        place = vehicle.here
        assert vehicle.speed_kmh <= (place.limit_kmh or 0) + 0.5
        assert not (vehicle.in_motion and vehicle.locked)
        lights += vehicle.ignition and vehicle.speed_kmh == 0 and vehicle.target_speed_kmh > 0
        if was_reserved and not vehicle.reserved:
            trips += 1
            assert vehicle.locked
            assert not vehicle.ignition
            assert town.distance_m(town.nearest(place.latitude, place.longitude), place.latitude, place.longitude) < 1
        was_reserved = vehicle.reserved
    assert trips >= 2
    assert lights > 5


def test_a_vehicle_far_from_every_road_stays_where_it_is() -> None:
    vehicle = Vehicle.of(DEV_KIT, UNIT.brand, latitude=-33.9, longitude=18.4, life=renting(shipped()))
    for _ in range(60):
        vehicle.step(20)
    assert vehicle.here.latitude == pytest.approx(-33.9, abs=0.1)
    assert vehicle.distance_m > 0


def test_given_ways_are_driven_in_turn() -> None:
    ways = [
        Way([Point(50.0, 7.0), Point(50.005, 7.0)]),
        Way([Point(51.0, 7.0), Point(51.005, 7.0), Point(51.0, 7.01)], closed=True),
    ]
    vehicle = Vehicle.of(DEV_KIT, UNIT.brand, seed=1, life=following(ways))
    seen = set()
    for _ in range(3600):
        vehicle.step(1)
        if vehicle.in_motion:
            seen.add(round(vehicle.here.latitude))
    assert seen == {50, 51}
