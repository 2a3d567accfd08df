"""The REST API as the contract tells it, seen from outside: every call of its section 6."""

import re
from typing import Any

import pytest

from lab.gateway import GatewayProcess
from lab.outsider import DEV_KIT, MODELS, Client, Road, fresh_unit, problem
from lab.process import wait_until
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Report

pytestmark = pytest.mark.timeout(180)

VEHICLE_FIELDS = {
    "id", "fleet_id", "status", "telematics_unit", "model", "capabilities", "master_data", "custom_fields", "tags",
    "life_status", "operation_status", "rental_status", "created_at", "modified_at", "archived_at",
}  # fmt: skip
COMMANDS = {
    "request-vehicle-state", "enable-driving", "disable-driving", "lock-central-lock", "unlock-central-lock",
    "lock-and-disable-driving", "unlock-and-enable-driving", "lock-top-case", "unlock-top-case", "draw-attention",
    "unlock-battery-compartment",
}  # fmt: skip
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
NOBODY = "/vehicles/ZZZZZ"
EVERY_MODEL = [(brand, model) for brand in MODELS.brands for model in MODELS.available(brand)]
SCOOTER = next(model for model in MODELS.available("CLOUDBOXX") if model.type == "KICK_SCOOTER")


def frame(added: Any, sequence: int, captured_at: int, **state: Any) -> bytes:
    """A sealed frame of a CloudBoxx in a dev kit."""
    said = Report(b"", None, DEV_KIT.units["CLOUDBOXX"].invert(state))
    unit = added["telematics_unit"]["id"]
    return PROTOCOL.encode(Frame("state", unit, sequence, captured_at, (said,), {"flags": 0}), added.seal_key)


class TestVehicles:
    @pytest.mark.parametrize(("brand", "model"), EVERY_MODEL, ids=lambda each: getattr(each, "name", each))
    def test_a_vehicle_of_every_type_behind_a_unit_of_every_brand(self, api: Client, brand: str, model: Any):
        added = api.add(model, brand)
        assert re.fullmatch("[A-Z2-9]{5}", added["id"])
        assert not set(added["id"]) & set("0O1I")
        credentials = added["credentials"]
        assert credentials["user_name"] == f"{brand}/{added['telematics_unit']['id']}"
        assert re.fullmatch(r"[\w-]{43}", credentials["password"])
        assert re.fullmatch("[0-9a-f]{64}", credentials["seal_key"])
        assert re.fullmatch("[0-9a-f]{64}", credentials["command_key"])
        shown = api.get(f"/vehicles/{added['id']}")
        assert shown.keys() == VEHICLE_FIELDS
        assert shown["telematics_unit"].keys() == {"id", "brand", "model", "firmware", "last_contact_at"}
        assert shown["life_status"]["value"] == "OFFLINE"
        assert re.fullmatch(MOMENT, shown["life_status"]["modified_at"])
        assert shown["rental_status"] == "NOT_IN_RENTAL"
        assert shown["archived_at"] is None
        commands = set(shown["capabilities"]["commands"])
        assert commands <= COMMANDS
        assert "request-vehicle-state" in commands
        if model.type in ("KICK_SCOOTER", "MOPED"):
            assert not any("central-lock" in name or name.endswith("and-enable-driving") for name in commands)
        if model.type in ("CAR", "VAN", "TRUCK"):
            assert not any("top-case" in name or "battery" in name for name in commands)

    def test_a_model_by_name_and_year(self, api: Client):
        body = {"telematics_brand": "CLOUDBOXX", "vehicle_model": "Volkswagen Golf"}
        added = {
            year: api.call("POST", "/vehicles", json=body | {"telematics_unit_id": fresh_unit("CLOUDBOXX"), "year": year})
            for year in (2018, 2022)
        }
        assert {answer.status_code for answer in added.values()} == {201}
        assert added[2018].json()["model"]["id"] != added[2022].json()["model"]["id"]

    def test_an_unknown_model_lists_the_candidates(self, api: Client):
        body = {
            "telematics_brand": "CLOUDBOXX",
            "telematics_unit_id": fresh_unit("CLOUDBOXX"),
            "vehicle_model": "Volkswagen Golf",
        }
        assert len(problem(api.call("POST", "/vehicles", json=body | {"year": 1950}), 422)["candidates"]) == 2
        assert len(problem(api.call("POST", "/vehicles", json=body), 422)["candidates"]) == 2

    def test_a_unit_is_attached_to_one_live_vehicle_at_a_time(self, api: Client):
        first = api.add()
        body = {
            "telematics_brand": "CLOUDBOXX",
            "telematics_unit_id": first["telematics_unit"]["id"],
            "vehicle_model_id": DEV_KIT.id,
        }
        problem(api.call("POST", "/vehicles", json=body), 409)

    def test_the_same_id_under_two_brands_is_two_units(self, api: Client):
        vin = fresh_unit("MERCEDES_BENZ")
        ids = set()
        for brand in ("MERCEDES_BENZ", "GBT32960"):
            model = MODELS.available(brand)[0]
            ids.add(api.add(model, brand, telematics_unit_id=vin)["id"])
        assert len(ids) == 2

    @pytest.mark.parametrize(
        ("brand", "unit"),
        [("CLOUDBOXX", "0123456789abcdef"), ("CLOUDBOXX", "0123"), ("TELTONIKA", "356307042441014"), ("MERCEDES_BENZ", "I" * 17)],
    )
    def test_an_id_that_the_brand_cannot_have_is_refused(self, api: Client, brand: str, unit: str):
        body = {"telematics_brand": brand, "telematics_unit_id": unit, "vehicle_model_id": MODELS.available(brand)[0].id}
        problem(api.call("POST", "/vehicles", json=body), 422)

    def test_the_check_digit_of_a_vin_only_warns(self, api: Client):
        model = MODELS.available("MERCEDES_BENZ")[0]
        vins = [f"WDD20500{digit}15000001"[:17] for digit in "0123456789X"]
        added = [api.add(model, "MERCEDES_BENZ", telematics_unit_id=vin) for vin in vins]
        assert sum(bool(each["warnings"]) for each in added) == 10

    def test_each_of_a_list_is_answered_on_its_own(self, api: Client):
        good = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": fresh_unit("CLOUDBOXX"), "vehicle_model_id": DEV_KIT.id}
        answer = api.call("POST", "/vehicles", json=[good, good, {"telematics_brand": "CLOUDBOXX"}])
        assert answer.status_code == 207
        items = answer.json()["items"]
        assert [item["status"] for item in items] == [201, 409, 400]
        assert items[0]["vehicle"]["telematics_unit"]["id"] == good["telematics_unit_id"]
        assert items[1]["problem"]["flow_id"]

    def test_a_request_that_is_not_understood_is_400(self, api: Client):
        for body in (b"{", b"[1", b"{}", b"null"):
            problem(api.call("POST", "/vehicles", content=body, headers={"Content-Type": "application/json"}), 400)


class TestListing:
    def test_pages_hold_every_vehicle_once_while_others_are_added(self, api: Client):
        tag = "paged"
        expected = [api.add(tags=[tag])["id"] for _ in range(5)]
        seen: list[str] = []
        cursor = None
        while True:
            page = api.get("/vehicles", limit=2, **({"cursor": cursor} if cursor else {}))
            assert page.keys() == {"items", "next_cursor"}
            seen += [each["id"] for each in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            if len(seen) == 2:
                api.add()
        assert len(seen) == len(set(seen))
        assert set(expected) <= set(seen)
        problem(api.call("GET", "/vehicles", params={"cursor": "nonsense"}), 400)
        problem(api.call("GET", "/vehicles", params={"limit": "many"}), 400)

    @pytest.mark.parametrize(
        "wanted",
        [{"tag": "harbour"}, {"operation_status": "GARAGE"}, {"custom_field": "bay:42"}, {"q": "HH-QX 77"}, {"q": "north"}],
        ids=lambda wanted: next(iter(wanted)),
    )
    def test_a_filter_finds_what_it_is_for(self, api: Client, wanted: dict[str, Any]):
        mine = api.add(
            tags=["harbour", "night"],
            operation_status="GARAGE",
            custom_fields={"bay": 42, "side": "north quay"},
            master_data={"license_plate": "HH-QX 77"},
        )
        api.add(tags=["city"], custom_fields={"bay": 7}, master_data={"license_plate": "HH-QX 78"})
        found = api.get("/vehicles", limit=1000, **wanted)["items"]
        everything = api.get("/vehicles", limit=1000)["items"]
        assert mine["id"] in {each["id"] for each in found}
        assert len(found) < len(everything)

    def test_by_brand_model_life_status_and_archive(self, api: Client, road: Road):
        kit, scooter = api.add(), api.add(SCOOTER)
        car = api.add(MODELS.available("MERCEDES_BENZ")[0], "MERCEDES_BENZ")
        road.put(kit)

        def found(**wanted: Any) -> set[str]:
            return {each["id"] for each in api.get("/vehicles", limit=1000, **wanted)["items"]}

        mine = {kit["id"], scooter["id"], car["id"]}
        assert found(brand="MERCEDES_BENZ") & mine == {car["id"]}
        assert found(model=SCOOTER.id) & mine == {scooter["id"]}
        assert found(life_status="ONLINE") & mine == {kit["id"]}
        api.call("POST", f"/vehicles/{car['id']}/archive")
        assert found(archived=True) & mine == {car["id"]}
        assert found() & mine == {kit["id"], scooter["id"]}


class TestChanges:
    def test_a_merge_patch_changes_what_it_names(self, api: Client):
        added = api.add(
            master_data={"license_plate": "B-X 1", "remark": "old"}, custom_fields={"bay": 1, "side": "a"}, tags=["a"]
        )
        path = f"/vehicles/{added['id']}"
        patch = {
            "master_data": {"remark": None, "custom_name": "Kit"},
            "custom_fields": {"bay": 2},
            "tags": ["b"],
            "operation_status": "GARAGE",
        }
        answer = api.call("PATCH", path, json=patch, headers={"Content-Type": "application/merge-patch+json"})
        assert answer.status_code == 200, answer.text
        shown = api.get(path)
        assert {key: value for key, value in shown["master_data"].items() if value is not None} == {
            "license_plate": "B-X 1",
            "custom_name": "Kit",
        }
        assert shown["custom_fields"] == {"bay": 2, "side": "a"}
        assert (shown["tags"], shown["operation_status"]) == (["b"], "GARAGE")
        assert answer.json() == shown
        problem(api.call("PATCH", path, json={"operation_status": "FLYING"}), 400)
        problem(api.call("PATCH", path, json={"id": "AAAAA"}), 400)
        problem(api.call("PATCH", NOBODY, json={"tags": []}), 404)

    def test_if_match_protects_what_somebody_else_has_changed(self, api: Client):
        path = f"/vehicles/{api.add()['id']}"
        seen = api.call("GET", path).headers["ETag"]
        assert api.call("PATCH", path, json={"tags": ["one"]}, headers={"If-Match": seen}).status_code == 200
        problem(api.call("PATCH", path, json={"tags": ["two"]}, headers={"If-Match": seen}), 412)
        assert api.get(path)["tags"] == ["one"]
        now = api.call("GET", path).headers["ETag"]
        assert now != seen
        assert api.call("PATCH", path, json={"tags": ["two"]}, headers={"If-Match": now}).status_code == 200

    def test_rental_status(self, api: Client):
        path = f"/vehicles/{api.add()['id']}"
        for status in ("IN_RENTAL", "NOT_IN_RENTAL"):
            answer = api.call("PUT", f"{path}/rental-status", json={"rental_status": status})
            assert answer.is_success, answer.text
            assert api.get(path)["rental_status"] == status
        problem(api.call("PUT", f"{path}/rental-status", json={"rental_status": "SOLD"}), 400)
        problem(api.call("PUT", f"{NOBODY}/rental-status", json={"rental_status": "IN_RENTAL"}), 404)

    def test_replacing_a_unit_keeps_vehicle_and_history(self, api: Client, road: Road):
        added, other = api.add(), api.add()
        path = f"/vehicles/{added['id']}"
        road.put(added)
        state = api.state(added["id"])
        unit_id = fresh_unit("CLOUDBOXX")
        body = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": unit_id}
        answer = api.call("PUT", f"{path}/telematics-unit", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["credentials"]["user_name"] == f"CLOUDBOXX/{unit_id}"
        assert api.get(path)["telematics_unit"]["id"] == unit_id
        assert api.state(added["id"]) == state
        taken = body | {"telematics_unit_id": other["telematics_unit"]["id"]}
        problem(api.call("PUT", f"{path}/telematics-unit", json=taken), 409)
        problem(api.call("PUT", f"{NOBODY}/telematics-unit", json=body), 404)

    def test_the_unit_that_was_replaced_is_refused_and_its_follower_is_heard(self, api: Client, road: Road):
        added = api.add()
        old = road.put(added)
        body = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": fresh_unit("CLOUDBOXX")}
        answer = api.call("PUT", f"/vehicles/{added['id']}/telematics-unit", json=body)
        assert answer.status_code == 200, answer.text
        with pytest.raises(Exception, match=r"(?i)not authorized|bad user"):
            road.put(added)
        new = road.put(type(added)(answer.json()))
        assert api.command(added["id"], "unlock-central-lock").status_code == 200
        assert (old.vehicle.locked, new.vehicle.locked) == (True, False)


class TestLifecycle:
    def test_archive_and_restore(self, api: Client, road: Road):
        added = api.add(master_data={"license_plate": "ARC 1"})
        path = f"/vehicles/{added['id']}"
        road.put(added)
        state = api.state(added["id"])
        archived = api.call("POST", f"{path}/archive").json()
        assert archived["status"] == "ARCHIVED"
        assert re.fullmatch(MOMENT, archived["archived_at"])
        problem(api.command(added["id"], "request-vehicle-state"), 409)
        with pytest.raises(Exception, match=r"(?i)not authorized|bad user"):
            road.put(added)
        frozen = api.get(path)
        assert frozen["telematics_unit"]["last_contact_at"] == archived["telematics_unit"]["last_contact_at"]
        assert api.state(added["id"]) == state
        assert added["id"] in {each["id"] for each in api.get("/vehicles", archived=True, q="ARC 1")["items"]}
        problem(api.call("PATCH", path, json={"tags": ["x"]}), 409)
        restored = api.call("POST", f"{path}/restore").json()
        assert (restored["id"], restored["archived_at"]) == (added["id"], None)
        road.put(added)
        assert api.command(added["id"], "request-vehicle-state").status_code == 200

    def test_restoring_is_refused_while_another_vehicle_has_the_unit(self, api: Client):
        first = api.add()
        api.call("POST", f"/vehicles/{first['id']}/archive")
        api.add(telematics_unit_id=first["telematics_unit"]["id"])
        problem(api.call("POST", f"/vehicles/{first['id']}/restore"), 409)

    @pytest.mark.parametrize("call", ["archive", "restore"])
    def test_of_nobody_is_404(self, api: Client, call: str):
        problem(api.call("POST", f"{NOBODY}/{call}"), 404)


class TestModelDatabase:
    def test_brands_models_and_one_model(self, api: Client):
        brands = {each["name"]: each for each in api.get("/telematics-brands")["items"]}
        assert {"CLOUDBOXX", "MERCEDES_BENZ", "TELTONIKA", "GBT32960"} <= brands.keys()
        assert {each["kind"] for each in brands.values()} == {"AFTERMARKET", "OEM"}
        for brand in brands:
            models = api.get(f"/telematics-brands/{brand}/available-vehicle-models")["items"]
            assert models
            assert all(re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", model["id"]) for model in models)
            assert api.get(f"/vehicle-models/{models[0]['id']}") == models[0]
            assert {"brand", "name", "type", "start_of_production", "regions", "version"} <= models[0].keys()
        problem(api.call("GET", "/telematics-brands/NOBODY/available-vehicle-models"), 404)
        problem(api.call("GET", "/vehicle-models/01KDY00000000000000000000Z"), 404)


class TestStates:
    def test_the_latest_state_of_one_and_of_all(self, api: Client, road: Road):
        added = api.add()
        road.put(added)
        state = api.get(f"/vehicles/{added['id']}/latest-vehicle-state")
        assert state
        for key, said in state.items():
            assert key.upper() in added["capabilities"]["vehicle_state"]
            assert said.keys() == {"timestamp", "value"}
            assert re.fullmatch(MOMENT, said["timestamp"])
        cursor, found = None, {}
        while not found or cursor:
            page = api.get("/latest-vehicle-states", limit=50, **({"cursor": cursor} if cursor else {}))
            found |= {each["vehicle_id"]: each["vehicle_state"] for each in page["items"]}
            cursor = page["next_cursor"]
        assert found[added["id"]].keys() == state.keys()
        problem(api.call("GET", f"{NOBODY}/latest-vehicle-state"), 404)


class TestQuarantine:
    def test_a_refused_frame_is_listed_with_reason_and_offset_and_its_unit_can_be_added(self, api: Client, road: Road):
        added = api.add()
        unit = road.put(added, firmware=False)
        whole = frame(added, 1, 1_769_779_325_000, central_lock="LOCKED")
        road.run(unit.say([whole[:-1] + bytes([whole[-1] ^ 1])]))

        def listed() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = api.get("/quarantine", limit=100)["items"]
            return [each for each in items if each["telematics_unit"]["id"] == added["telematics_unit"]["id"]]

        wait_until(lambda: bool(listed()), 10, "the quarantined frame")
        entry = listed()[0]
        assert entry["reason"] == "bad_checksum"
        assert isinstance(entry["offset"], int)
        ids = [each["id"] for each in api.get("/quarantine")["items"]]
        assert ids == sorted(ids, reverse=True)
        body = {"vehicle_model_id": DEV_KIT.id}
        problem(api.call("POST", f"/quarantine/{entry['id']}/vehicle", json=body), 409)
        api.call("POST", f"/vehicles/{added['id']}/archive")
        answer = api.call("POST", f"/quarantine/{entry['id']}/vehicle", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["telematics_unit"]["id"] == added["telematics_unit"]["id"]
        problem(api.call("POST", "/quarantine/999999999/vehicle", json=body), 404)


class TestDecode:
    def test_a_frame_is_explained(self, api: Client):
        added = api.add()
        whole = frame(added, 7, 1_769_779_325_000, central_lock="LOCKED")
        answer = api.call("POST", "/decode", json={"hex": whole.hex()})
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert {"protocol", "kind", "ok", "fields", "checksum", "state", "error"} <= document.keys()
        assert document["protocol"] == "cloudboxx"
        assert document["fields"][0].keys() == {"name", "offset", "size", "raw", "value", "unit"}


class TestOperation:
    def test_health_readiness_and_metrics_are_open(self, nobody: Client):
        assert nobody.call("GET", "/healthz").status_code == 200
        ready = nobody.call("GET", "/readyz")
        assert ready.status_code == 200
        assert len(ready.json()["dependencies"]) >= 3
        metrics = nobody.call("GET", "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "# TYPE" in metrics.text

    def test_a_broker_that_asks_over_http(self, api: Client, nobody: Client, process: GatewayProcess):
        added = api.add()
        user, password = added["credentials"]["user_name"], added["credentials"]["password"]
        secret = (process.data / "broker-auth-secret").read_text().strip()

        def said(call: str, **form: str) -> str:
            answer = nobody.call("POST", f"/broker/auth/{call}", params={"secret": secret}, data=form)
            assert answer.status_code == 200, answer.text
            return answer.text

        assert said("user", username=user, password=password, client_id=user) == "allow"
        assert said("user", username=user, password="wrong", client_id=user) == "deny"
        assert said("vhost", username=user, vhost="/", ip="127.0.0.1") == "allow"
        assert said("resource", username="CLOUDBOXX/0", vhost="/", resource="queue", name="x", permission="read") == "deny"
        own = f"v1.{user.replace('/', '.')}"
        topic = {"username": user, "vhost": "/", "resource": "topic", "name": "amq.topic"}
        assert said("topic", **topic, permission="write", routing_key=f"{own}.up") == "allow"
        assert said("topic", **topic, permission="write", routing_key="v1.CLOUDBOXX.0.up") == "deny"
        assert said("topic", **topic, permission="read", routing_key=f"{own}.down") == "allow"
        assert said("topic", **topic, permission="read", routing_key=f"{own}.up") == "deny"
        assert nobody.call("POST", "/broker/auth/user", data={"username": user}).status_code == 401
