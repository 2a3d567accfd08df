"""The control API: whoever reaches it plays every driver, and is told clearly what cannot be done."""

import asyncio
import json
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from devices import driving
from devices.control import ControlError, address, application
from devices.faults import ALL
from devices.fleet import Fleet
from devices.mqtt import BrokerAddress
from devices.route import Point, Way
from devices.shown import SHOWN
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from lab.firmware import DEV_KIT, KEYS, UNIT
from lab.gateway import eventually
from lab.mosquitto import mosquitto
from lab.process import Server
from protocols.codec import UnitId

PATH = f"/units/{UNIT.brand}/{UNIT.telematics_unit_id}"


class Silent:
    """A line that always stands and leads nowhere."""

    def __init__(
        self, broker: BrokerAddress, unit: UnitId, password: str, on_payload: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self.said: list[bytes] = []

    async def open(self) -> None:
        await asyncio.sleep(0)

    def publish(self, payload: bytes) -> None:
        self.said.append(payload)

    def drop(self) -> None:
        pass

    async def close(self) -> None:
        pass


def record(**how: Any) -> UnitRecord:
    return UnitRecord(
        brand=UNIT.brand,
        telematics_unit_id=UNIT.telematics_unit_id,
        vehicle_id="AAAAA",
        vehicle_model_id=DEV_KIT.id,
        password=KEYS.password,
        seal_key=KEYS.seal.hex(),
        command_key=KEYS.command.hex(),
        moving=False,
        cards=["04A1B2"],
        **how,
    )


class Desk:
    """Somebody with an HTTP client, and a fleet of one that stands still."""

    def __init__(self, fleet: Fleet, http: httpx2.AsyncClient) -> None:
        self.fleet, self.http = fleet, http
        self.vehicle = fleet.members[0].firmware.vehicle

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.http.request(method, PATH + path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = await self.http.request(method, path, json=body)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"urn:teleloop:problem:{problem['reason']}"
        return answer.status_code, problem["detail"]

    async def online(self) -> None:
        await eventually(lambda: self.fleet.online == 1, 20, "the unit online")


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    fleet = Fleet([record()], "mqtt://127.0.0.1:1", dial=Silent)
    fleet.start()
    transport = httpx2.ASGITransport(app=application(fleet))
    async with httpx2.AsyncClient(transport=transport, base_url="http://fleet") as http:
        yield Desk(fleet, http)
    await fleet.stop()


async def test_units_are_listed_and_shown_with_their_truth(desk: Desk) -> None:
    await desk.online()
    listed = (await desk.http.get("/units")).json()
    assert listed["total"] == 1
    (unit,) = listed["items"]
    assert (unit["brand"], unit["telematics_unit_id"], unit["vehicle_id"], unit["phase"]) == (*_names(UNIT), "AAAAA", "online")
    assert (await desk.http.get("/units", params={"brand": "OTHER"})).json() == {"items": [], "total": 0}
    assert (await desk.http.get("/units", params={"vehicle_id": "AAAAA"})).json()["total"] == 1
    detail = await desk.call("GET", "")
    assert (await desk.call("GET", "/truth"))["central_lock"] == detail["truth"]["central_lock"] == "LOCKED"
    assert detail["truth"].keys() == desk.vehicle.state().keys()
    assert detail["truth"].keys() <= SHOWN.keys()
    assert (await desk.http.get("/truth")).json().keys() == {str(UNIT)}
    assert json.dumps(detail)


def _names(unit: UnitId) -> tuple[str, str]:
    return unit.brand, unit.telematics_unit_id


async def test_whatever_a_driver_could_do_can_be_set_and_is_told_by_the_unit_at_once(desk: Desk) -> None:
    await desk.online()
    before = desk.fleet.tally.payloads_sent
    said = await desk.call(
        "PATCH",
        "/truth",
        {"locked": False, "energy_percent": 12.5, "doors_open": ["rear_left"], "warnings": ["check_engine_indicator"],
         "tire_pressure_kpa": {"front_left": 120}, "outside_celsius": -10},
    )  # fmt: skip
    assert said["truth"]["central_lock"] == "UNLOCKED"
    assert said["truth"]["doors_status"] == "OPEN"
    assert said["truth"]["state_of_charge_or_fuel_level_in_percent"] == 12.5
    assert said["truth"]["check_engine_indicator"] == said["truth"]["tire_pressure_low_indicator"] == "ON"
    assert desk.vehicle.outside_celsius == -10
    assert desk.fleet.tally.payloads_sent > before


async def test_a_driver_who_was_sent_or_stopped_goes_on_with_what_he_did_before(desk: Desk) -> None:
    def life(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
        for count in range(1, 100):
            vehicle.outside_celsius = count
            yield 10.0

    vehicle = Vehicle(properties=["central_lock", "position"], commands=[], life=life)
    vehicle.step(25)
    assert vehicle.outside_celsius == 3
    driving.stop(vehicle)
    vehicle.step(1_000)
    assert vehicle.outside_celsius == 3
    vehicle.resume()
    vehicle.step(0.001)
    assert vehicle.outside_celsius == 4
    way = Way([Point(50.0, 7.0), Point(50.001, 7.0)], from_m=vehicle.distance_m)
    driving.send(vehicle, way, then="lock")
    driving.send(vehicle, way, then="lock")
    vehicle.step(600)
    assert vehicle.locked
    assert vehicle.outside_celsius > 10
    assert await desk.call("POST", "/resume")


async def test_a_vehicle_whose_small_battery_is_empty_does_not_start(desk: Desk) -> None:
    await desk.call("PATCH", "/truth", {"low_battery_charge": 0.1, "driving_enabled": True})
    for path, body in (("/ignition", {"on": True}), ("/drive", {"kilometers": 1})):
        status, sentence = await desk.refused("POST", PATH + path, body)
        assert (status, "battery is empty" in sentence) == (422, True)
    assert not desk.vehicle.ignition
    await desk.call("PATCH", "/truth", {"low_battery_charge": 0.5})
    assert (await desk.call("POST", "/ignition", {"on": True}))["vehicle"]["ignition"]


async def test_what_a_unit_refuses_to_have_is_not_listed_among_its_faults(desk: Desk) -> None:
    await desk.online()
    status, _ = await desk.refused("PUT", PATH + "/faults/sequence_wrap", {})
    assert (status, (await desk.call("GET", ""))["faults"]) == (422, [])


async def test_what_the_unit_reported_last_stands_beside_what_is_true(desk: Desk) -> None:
    await desk.online()
    (said,) = (await desk.http.get("/reported")).json()["items"]
    assert said["told"]["central_lock"] == said["truth"]["central_lock"] == "LOCKED"
    assert said["waiting"] > 0  # nobody acknowledges anything here


async def test_it_is_sent_on_a_route_and_parks_and_locks_at_its_end(desk: Desk) -> None:
    here = desk.vehicle.here
    along = {"type": "LineString", "coordinates": [[here.longitude, here.latitude], [here.longitude, here.latitude + 0.0002]]}
    said = await desk.call("POST", "/drive", {"along": along, "then": "lock"})
    assert said["way"]["length_m"] == pytest.approx(22.2, abs=0.5)
    assert said["vehicle"]["ignition"]
    assert not said["locked"]

    async def locked() -> bool:
        return bool((await desk.call("GET", ""))["locked"])

    await eventually(locked, 40, "arrived, parked and locked")
    assert desk.vehicle.here.latitude == pytest.approx(here.latitude + 0.0002)
    assert not desk.vehicle.ignition


async def test_a_place_and_a_distance_are_ways_too(desk: Desk) -> None:
    away = await desk.call("POST", "/drive", {"to": {"lat": 50.95, "lon": 6.97}, "speed_kmh": 40})
    assert away["way"]["length_m"] > 200
    assert desk.vehicle.target_speed_kmh == 40
    for kilometers in (0.3, 3.0, 40.0):
        said = await desk.call("POST", "/drive", {"kilometers": kilometers})
        assert said["way"]["length_m"] == pytest.approx(1000 * kilometers, abs=1)
    stopped = await desk.call("POST", "/stop")
    assert stopped["vehicle"]["target_speed_kmh"] == 0


async def test_doors_locks_ignition_fob_and_card(desk: Desk) -> None:
    await desk.online()
    assert (await desk.refused("POST", PATH + "/open", {"what": ["front_left"]})) == (422, "front_left: the vehicle is locked")
    assert not (await desk.call("POST", "/unlock"))["locked"]
    assert (await desk.call("POST", "/open", {"what": ["front_left", "window_rear_left"]}))["truth"]["windows_status"] == "OPEN"
    assert (await desk.call("POST", "/close", {"what": ["front_left"]}))["truth"]["doors_status"] == "CLOSED"
    assert (await desk.refused("POST", PATH + "/ignition", {"on": True}))[0] == 422
    await desk.call("PATCH", "/truth", {"driving_enabled": True})
    assert (await desk.call("POST", "/ignition", {"on": True}))["truth"]["ignition"] == "ON"
    assert (await desk.call("POST", "/ignition", {"on": False}))["truth"]["ignition"] == "OFF"
    assert (await desk.call("POST", "/fob", {"locks": True}))["locked"]
    assert not (await desk.call("POST", "/card", {"card": "04A1B2"}))["locked"]
    assert not (await desk.call("POST", "/card", {"card": "unknown"}))["locked"]


async def test_coverage_supply_power_and_resets(desk: Desk) -> None:
    await desk.online()
    assert (await desk.call("POST", "/coverage", {"covered": False}))["phase"] == "no coverage"
    assert desk.fleet.online == 0
    await desk.call("POST", "/coverage", {"covered": True})
    await desk.online()
    await desk.call("POST", "/coverage", {"covered": False, "seconds": 0.2})
    await desk.online()
    assert (await desk.call("POST", "/supply", {"volts": 5.0}))["phase"] == "off"
    assert desk.fleet.online == 0
    back = await desk.call("POST", "/supply", {"volts": None})
    assert (back["phase"], back["unit"]["reset_cause"]) == ("booting", "brown_out")
    await desk.online()
    assert (await desk.call("POST", "/power", {"on": False}))["phase"] == "off"
    assert (await desk.call("POST", "/power", {"on": True}))["phase"] == "booting"
    await desk.online()
    assert (await desk.call("POST", "/reset", {"cause": "update"}))["unit"]["reset_cause"] == "update"
    assert (await desk.call("POST", "/hang"))["phase"] == "booting"


async def test_faults_are_injected_and_cured_by_name(desk: Desk) -> None:
    named = {fault["name"] for fault in (await desk.http.get("/faults")).json()}
    assert named == set(ALL)
    assert (await desk.call("PUT", "/faults/duplicate", {"rate": 1.0}))["faults"] == ["duplicate"]
    assert (await desk.call("PUT", "/faults/frozen_gnss"))["faults"] == ["duplicate", "frozen_gnss"]
    assert (await desk.call("DELETE", "/faults/duplicate"))["faults"] == ["frozen_gnss"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("GET", "/units/CLOUDBOXX/0000000000000000", None, 404, "there is no unit CLOUDBOXX/0000000000000000"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("DELETE", PATH, None, 405, "Method Not Allowed"),
        ("GET", "/units?limit=0", None, 400, "query.limit"),
        ("PATCH", PATH + "/truth", {"energy_percent": 101}, 400, "energy_percent: "),
        ("PATCH", PATH + "/truth", {"wings": 2}, 400, "wings: "),
        ("PATCH", PATH + "/truth", {"doors_open": ["trunk"]}, 400, "doors_open.0"),
        ("PATCH", PATH + "/truth", {"locked": "perhaps"}, 400, "locked: "),
        ("PATCH", PATH + "/truth", [], 400, "the body: "),
        ("POST", PATH + "/drive", {}, 422, "exactly one of"),
        ("POST", PATH + "/drive", {"kilometers": 1, "to": {"lat": 50, "lon": 7}}, 422, "exactly one of"),
        ("POST", PATH + "/drive", {"to": {"lat": 95, "lon": 7}}, 400, "to.lat: "),
        ("POST", PATH + "/drive", {"kilometers": -1}, 400, "kilometers: "),
        ("POST", PATH + "/drive", {"along": {"type": "Point"}}, 400, "along: type: "),
        ("POST", PATH + "/open", {"what": ["roof"]}, 400, "what.0: "),
        ("POST", PATH + "/supply", {"volts": "a lot"}, 400, "volts: "),
        ("POST", PATH + "/supply", {}, 400, "volts: "),
        ("POST", PATH + "/coverage", {"covered": False, "seconds": 0}, 400, "seconds: "),
        ("POST", PATH + "/reset", {"cause": "boredom"}, 400, "cause: "),
        ("PUT", PATH + "/faults/gremlins", {}, 404, "no fault is called 'gremlins'"),
        ("PUT", PATH + "/faults/duplicate", {"rate": 7}, 400, "the rate of duplicate"),
        ("DELETE", PATH + "/faults/duplicate", None, 404, "does not have 'duplicate'"),
    ],
)
async def test_what_is_not_understood_is_one_clear_problem_and_changes_nothing(
    desk: Desk, method: str, path: str, body: Any, status: int, sentence: str
) -> None:
    before = _settled(desk)
    said = await desk.refused(method, path, body)
    assert said[0] == status
    assert sentence in said[1]
    assert _settled(desk) == before


def _settled(desk: Desk) -> dict[str, Any]:
    """All but what time alone changes."""
    return {key: value for key, value in desk.vehicle.state().items() if "voltage" not in key}


async def test_what_is_no_json_is_a_problem_too(desk: Desk) -> None:
    answer = await desk.http.patch(PATH + "/truth", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_every_call_is_in_its_openapi(desk: Desk) -> None:
    paths = (await desk.http.get("/openapi.json")).json()["paths"]
    assert len(paths) > 18
    assert all(operation["summary"] for path in paths.values() for operation in path.values())


@pytest.mark.parametrize("said", ["0.0.0.0:8090", "example.com:80", "192.168.0.1:1", "127.0.0.1", "127.0.0.1:99999", ""])
def test_it_is_served_on_loopback_only(said: str) -> None:
    with pytest.raises(ControlError):
        address(said)
    assert address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert address("[::1]:8090") == ("::1", 8090)


@asynccontextmanager
async def process(folder: Path, *arguments: str) -> AsyncIterator[Server]:
    folder.mkdir(exist_ok=True)
    fields = {name: getattr(record(), name) for name in record().__struct_fields__}
    (folder / "units.json").write_text(json.dumps({"units": [fields]}))
    root = str(Path(__file__).parents[2])
    server = Server(
        [sys.executable, "-m", "teleloop", "fleet", "--units", "units.json", *arguments], folder, {"PYTHONPATH": root}
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def test_the_fleet_command_serves_it_and_says_where(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with process(tmp_path / "fleet", "--broker", broker.url, "--control", "127.0.0.1:0") as fleet:
            found = await eventually(
                lambda: re.search(r"control API +(http://127\.0\.0\.1:\d+)", fleet.output), 60, "its address"
            )
            async with httpx2.AsyncClient(base_url=found[1]) as http:

                async def online() -> bool:
                    return bool((await http.get(PATH)).json()["online"])

                await eventually(online, 30, "the unit online")
                assert (await http.post(PATH + "/unlock")).json()["truth"]["central_lock"] == "UNLOCKED"
                assert (await http.get("/docs")).status_code == 200


async def test_an_address_that_is_not_loopback_ends_it_with_2(tmp_path: Path) -> None:
    async with process(tmp_path / "fleet", "--control", "0.0.0.0:8090") as fleet:
        assert fleet.process is not None
        assert await asyncio.to_thread(fleet.process.wait, 60) == 2
        assert "loopback" in fleet.output
