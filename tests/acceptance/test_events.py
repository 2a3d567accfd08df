"""Events as the contract tells them: every type, its headers, body and ids; event consumers; Server-Sent Events."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.consumer import Consumer, Delivery
from lab.gateway import Added, GatewayProcess, LineUnit, now_ms
from lab.outsider import DEV_KIT, FLOW_ID, Client, Road, fresh_unit
from lab.process import Server, wait_until
from modeldb.vocabulary import PROPERTIES
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Report

pytestmark = pytest.mark.timeout(180)

METADATA = ["id", "type", "version", "flow_id", "occurred_at", "recorded_at", "fleet_id", "vehicle_id"]
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
HERE, THERE = {"lat": 50.7374, "lon": 7.0982}, {"lat": 50.7753, "lon": 7.1873}
MINUTE_MS = 60_000
NAMED = [known for known in PROPERTIES.values() if known.kind in ("enum", "lamp", "bool")]


class Told:
    """A vehicle with a unit that says what the test says, and the events about it."""

    def __init__(self, api: Client, road: Road, seen: Consumer, **more: Any) -> None:
        self.added: Added = api.add(**more)
        self.id: str = self.added["id"]
        self._road, self._seen, self._sequence = road, seen, 0
        self.unit: LineUnit = road.put(self.added, firmware=False)

    def say(self, ago_ms: int = 0, sequence: int | None = None, **state: Any) -> None:
        """A frame that was captured that long ago."""
        self._sequence += 1
        said = Report(b"", None, DEV_KIT.units["CLOUDBOXX"].invert(state))
        number = sequence or self._sequence
        frame = Frame("state", self.added["telematics_unit"]["id"], number, now_ms() - ago_ms, (said,), {"flags": 0})
        self._road.run(self.unit.say([PROTOCOL.encode(frame, self.added.seal_key)]))

    def wait_for(self, event_type: str, wanted: Callable[[Delivery], bool] = lambda _: True) -> Delivery:
        """The first event of that type about the vehicle that is wanted."""
        return self._seen.wait_for(lambda each: each.vehicle_id == self.id and each.type == event_type and wanted(each))

    def so_far(self, *types: str) -> list[Delivery]:
        """Every event about the vehicle until this moment: what it says last of all is waited for."""
        count = len(self._seen.of(self.id, "VehicleStateRecorded"))
        self.say(mileage_in_kilometers=1.0)
        wait_until(lambda: self._pumped() > count, 15, "the last report's event")
        return self._seen.of(self.id, *types)

    def _pumped(self) -> int:
        self._seen.pump()
        return len(self._seen.of(self.id, "VehicleStateRecorded"))


@pytest.fixture
def told(api: Client, road: Road, everything: Consumer) -> Told:
    return Told(api, road, everything)


@pytest.fixture
def operation(api: Client) -> Iterator[Callable[[str], None]]:
    """Sets what begins and ends the fleet's trips; the default again at the end."""

    def choose(trigger: str) -> None:
        fleet = api.add()["fleet_id"]
        answer = api.call("PATCH", f"/fleets/{fleet}", json={"trip_trigger": trigger})
        assert answer.status_code == 200, answer.text

    yield choose
    choose("DRIVING_ENABLED")


def whole(delivery: Delivery) -> None:
    """What every event has, whatever its type."""
    metadata = delivery.body["metadata"]
    assert list(metadata) == METADATA
    assert next(iter(delivery.body)) == "metadata"
    assert delivery.routing_key == f"{metadata['fleet_id']}.{metadata['type']}.{metadata['vehicle_id']}"
    assert (delivery.message_id, delivery.content_type, delivery.delivery_mode) == (metadata["id"], "application/json", 2)
    assert delivery.headers == {
        "Flow-ID": metadata["flow_id"],
        "Message-Type": metadata["type"],
        "Message-Version": metadata["version"],
    }
    uuid.UUID(metadata["id"])
    assert re.fullmatch(MOMENT, metadata["occurred_at"])
    assert re.fullmatch(MOMENT, metadata["recorded_at"])


class TestOfFrames:
    def test_a_report_tells_the_whole_state_and_what_it_carried(self, told: Told):
        told.say(central_lock="LOCKED", position=HERE)
        told.say(central_lock="UNLOCKED")
        second = told.wait_for(
            "VehicleStateRecorded", lambda each: each.body["changed"].get("central_lock", {})["value"] == "UNLOCKED"
        )
        whole(second)
        assert second.body["vehicle_state"]["position"]["value"] == pytest.approx(HERE)
        assert second.body["changed"]["central_lock"]["value"] == "UNLOCKED"
        changed = told.wait_for("CentralLockChanged")
        whole(changed)
        assert (changed.body["from"], changed.body["to"]) == ("LOCKED", "UNLOCKED")
        assert changed.body["position"] == pytest.approx(HERE)
        assert uuid.UUID(changed.id) == uuid.uuid5(uuid.UUID(second.id), "CentralLockChanged")

    def test_each_enum_lamp_and_bool_property_has_its_changed(self, told: Told):
        told.say(**{known.key: known.values[0] for known in NAMED})
        told.say(**{known.key: known.values[1] for known in NAMED})
        for known in NAMED:
            name = "".join(word.capitalize() for word in known.key.split("_")) + "Changed"
            event = told.wait_for(name)
            whole(event)
            assert (event.body["from"], event.body["to"]) == known.values[:2]

    def test_a_late_frame_is_recorded_and_turns_nothing_back(self, told: Told, api: Client):
        told.say(MINUTE_MS, sequence=10, central_lock="LOCKED")
        told.say(0, sequence=12, central_lock="UNLOCKED")
        told.wait_for("CentralLockChanged")
        told.say(MINUTE_MS // 2, sequence=11, central_lock="LOCKED")
        late = told.wait_for("VehicleStateRecorded", lambda each: each.body["late"])
        assert late.body["vehicle_state"]["central_lock"]["value"] == "UNLOCKED"
        assert api.state(told.id)["central_lock"] == "UNLOCKED"
        told._sequence = 12
        assert len(told.so_far("CentralLockChanged")) == 1

    def test_a_clock_in_2080_freezes_nothing(self, told: Told, api: Client):
        told.say(-54 * 365 * 86_400_000, central_lock="LOCKED")
        told.say(0, central_lock="UNLOCKED")
        told.wait_for("CentralLockChanged")
        assert api.state(told.id)["central_lock"] == "UNLOCKED"
        first = told.wait_for("VehicleStateRecorded")
        assert first.body["metadata"]["occurred_at"] < "2079"

    def test_what_a_command_causes_carries_its_flow_id(self, api: Client, road: Road, everything: Consumer):
        added = api.add()
        road.put(added)
        answer = api.command(added["id"], "unlock-central-lock")
        assert answer.status_code == 200
        event = everything.wait_for(lambda each: each.headers["Flow-ID"] == answer.headers[FLOW_ID])
        assert event.type == "VehicleStateRecorded"
        assert event.body["vehicle_state"]["central_lock"]["value"] == "UNLOCKED"


class TestOfTheRegistry:
    def test_a_vehicle_comes_changes_and_goes(self, api: Client, told: Told):
        path = f"/vehicles/{told.id}"
        created = told.wait_for("VehicleCreated")
        whole(created)
        assert created.body["vehicle"]["id"] == told.id
        assert "credentials" not in created.body["vehicle"]
        api.call("POST", f"{path}/archive")
        removed = told.wait_for("VehicleRemoved")
        whole(removed)
        assert removed.body["vehicle"]["status"] == "ARCHIVED"
        api.call("POST", f"{path}/restore")
        told.wait_for("VehicleCreated", lambda each: each.id != created.id)

    @pytest.mark.parametrize(
        ("method", "path", "body", "reason"),
        [
            ("PATCH", "", {"master_data": {"remark": "x"}}, "MASTER_DATA_CHANGED"),
            ("PATCH", "", {"custom_fields": {"bay": 1}}, "CUSTOM_FIELDS_CHANGED"),
            ("PATCH", "", {"tags": ["x"]}, "TAGS_CHANGED"),
            ("PATCH", "", {"operation_status": "GARAGE"}, "OPERATION_STATUS_CHANGED"),
            ("PUT", "/rental-status", {"rental_status": "IN_RENTAL"}, "RENTAL_STATUS_CHANGED"),
            ("PUT", "/telematics-unit", {"telematics_brand": "CLOUDBOXX"}, "TELEMATICS_UNIT_CHANGED"),
        ],
        ids=lambda each: each if isinstance(each, str) and each.endswith("CHANGED") else "",
    )
    def test_a_change_says_why(
        self, api: Client, everything: Consumer, method: str, path: str, body: dict[str, Any], reason: str
    ):
        added = api.add()
        if path == "/telematics-unit":
            body = body | {"telematics_unit_id": fresh_unit("CLOUDBOXX")}
        answer = api.call(method, f"/vehicles/{added['id']}{path}", json=body)
        assert answer.is_success, answer.text
        event = everything.wait_for(lambda each: each.vehicle_id == added["id"] and each.type == "VehicleChanged")
        whole(event)
        assert reason in event.body["reasons"]
        assert event.headers["Flow-ID"] == answer.headers[FLOW_ID]
        assert event.body["vehicle"] == api.get(f"/vehicles/{added['id']}")

    def test_a_change_that_changes_nothing_is_none(self, api: Client, told: Told):
        for _ in range(2):
            assert api.call("PATCH", f"/vehicles/{told.id}", json={"tags": ["same"]}).status_code == 200
        told.wait_for("VehicleChanged", lambda each: each.body["reasons"] == ["TAGS_CHANGED"])
        reasons = [each.body["reasons"] for each in told.so_far("VehicleChanged")]
        assert reasons.count(["TAGS_CHANGED"]) == 1

    def test_other_capabilities_with_another_unit_are_told(self, api: Client, everything: Consumer):
        added = api.add()
        golf = {"vehicle_model": "Volkswagen Golf", "year": 2021, "telematics_unit_id": fresh_unit("CLOUDBOXX")}
        answer = api.call("PUT", f"/vehicles/{added['id']}/telematics-unit", json={"telematics_brand": "CLOUDBOXX", **golf})
        assert answer.status_code == 200, answer.text
        event = everything.wait_for(lambda each: each.vehicle_id == added["id"] and each.type == "VehicleChanged")
        assert "CAPABILITIES_CHANGED" in event.body["reasons"]

    def test_life_status_goes_offline_after_the_last_will(
        self, api: Client, everything: Consumer, process: GatewayProcess, tmp_path: Path
    ):
        added = api.add()
        credentials = {name: added["credentials"][name] for name in ("password", "seal_key", "command_key", "generation")}
        unit = {"brand": "CLOUDBOXX", "telematics_unit_id": added["telematics_unit"]["id"], "vehicle_model_id": DEV_KIT.id}
        (tmp_path / "units.json").write_text(json.dumps({"units": [{"vehicle_id": added["id"], **unit, **credentials}]}))
        command = [*process.command[:3], "fleet", "--units", "units.json", "--broker", process.units_broker]
        fleet = Server(command, tmp_path)
        fleet.start()

        def became(status: str) -> Delivery:
            return everything.wait_for(
                lambda each: (
                    each.vehicle_id == added["id"]
                    and each.body.get("reasons") == ["LIFE_STATUS_CHANGED"]
                    and each.body["vehicle"]["life_status"]["value"] == status
                ),
                25,
            )

        try:
            whole(became("ONLINE"))
        finally:
            fleet.kill()
        whole(became("OFFLINE"))
        assert api.get(f"/vehicles/{added['id']}")["life_status"]["value"] == "OFFLINE"


class TestTrips:
    def test_a_trip_starts_ends_and_is_measured(self, told: Told):
        told.say(20 * MINUTE_MS, driving_enabled=False, position=HERE, mileage_in_kilometers=1000.0)
        told.say(15 * MINUTE_MS, driving_enabled=True)
        told.say(10 * MINUTE_MS, speed_in_kilometers_per_hour=50.0, position=THERE)
        told.say(5 * MINUTE_MS, driving_enabled=False, mileage_in_kilometers=1008.0, position=THERE)
        for event_type in ("TripStarted", "TripEnded", "TripMetricsReady"):
            whole(told.wait_for(event_type))
        types = [each.type for each in told.so_far("TripStarted", "TripEnded", "TripMetricsReady", "TripDiscarded")]
        assert types == ["TripStarted", "TripEnded", "TripMetricsReady"]

    def test_under_one_minute_it_is_discarded(self, told: Told):
        told.say(5 * MINUTE_MS, driving_enabled=False)
        told.say(4 * MINUTE_MS, driving_enabled=True)
        told.say(4 * MINUTE_MS - 30_000, driving_enabled=False)
        whole(told.wait_for("TripDiscarded"))
        types = [each.type for each in told.so_far("TripStarted", "TripEnded", "TripMetricsReady", "TripDiscarded")]
        assert types == ["TripStarted", "TripEnded", "TripDiscarded"]

    def test_the_ignition_as_trigger(self, told: Told, operation: Callable[[str], None]):
        operation("IGNITION")
        told.say(5 * MINUTE_MS, ignition="OFF", driving_enabled=False)
        told.say(4 * MINUTE_MS, driving_enabled=True)
        told.say(3 * MINUTE_MS, ignition="ON")
        told.say(1 * MINUTE_MS, ignition="OFF")
        told.wait_for("TripMetricsReady")
        assert len(told.so_far("TripStarted")) == 1

    def test_the_rental_status_as_trigger(self, api: Client, told: Told, operation: Callable[[str], None]):
        operation("RENTAL_STATUS")
        path = f"/vehicles/{told.id}/rental-status"
        assert api.call("PUT", path, json={"rental_status": "IN_RENTAL"}).is_success
        whole(told.wait_for("TripStarted"))
        assert api.call("PUT", path, json={"rental_status": "NOT_IN_RENTAL"}).is_success
        whole(told.wait_for("TripEnded"))
        whole(told.wait_for("TripDiscarded"))
