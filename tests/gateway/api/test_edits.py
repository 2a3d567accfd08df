"""Vehicles change: by merge patch, by rental, by another unit; nobody overwrites what somebody else has done."""

import json
from typing import Any

import httpx2
from sqlalchemy import select

from gateway.memory import Memory, Recorded, Window
from gateway.server import Serving
from gateway.store.tables import event_log
from lab.gateway import eventually
from protocols.codec import UnitId

from .test_walk import a_golf, added, problem


async def told(under_way: Serving, vehicle_id: str) -> list[list[str]]:
    """The reasons of the vehicle's VehicleChanged so far, in order."""
    outbox = under_way.gateway.registry.outbox

    async def sent() -> bool:
        return not await outbox.oldest()

    await eventually(sent)
    query = select(event_log.c.body).where(event_log.c.type == "VehicleChanged", event_log.c.vehicle_id == vehicle_id)
    async with under_way.gateway.store.reading() as connection:
        bodies = (await connection.execute(query.order_by(event_log.c.seq))).scalars().all()
    return [json.loads(body)["reasons"] for body in bodies]


async def test_a_merge_patch_changes_what_it_names(api: httpx2.AsyncClient, under_way: Serving) -> None:
    said = await added(
        api, master_data={"vin": "WVWZZZAUZLW000001", "remark": "old"}, custom_fields={"a": 1, "b": "x"}, tags=["t"]
    )
    path = f"/vehicles/{said['id']}"

    async def patched(body: Any) -> dict[str, Any]:
        answer = await api.patch(path, json=body, headers={"Content-Type": "application/merge-patch+json"})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    after = await patched({"master_data": {"remark": None, "colour": "red"}, "custom_fields": {"a": 2.5, "b": None, "c": True}})
    assert after["master_data"] == {"vin": "WVWZZZAUZLW000001", "colour": "red"}
    assert after["custom_fields"] == {"a": 2.5, "c": True}
    assert after["tags"] == ["t"]
    after = await patched({"tags": ["u", "v", "u"], "operation_status": "GARAGE"})
    assert (after["tags"], after["operation_status"]) == (["u", "v"], "GARAGE")
    assert await patched({"tags": ["u", "v"], "custom_fields": {"a": 2.5}}) == after
    after = await patched({"master_data": None, "custom_fields": None, "tags": None, "operation_status": None})
    assert (after["master_data"], after["custom_fields"], after["tags"], after["operation_status"]) == ({}, {}, [], "OPERATING")
    assert await told(under_way, said["id"]) == [
        ["MASTER_DATA_CHANGED", "CUSTOM_FIELDS_CHANGED"],
        ["TAGS_CHANGED", "OPERATION_STATUS_CHANGED"],
        ["MASTER_DATA_CHANGED", "CUSTOM_FIELDS_CHANGED", "TAGS_CHANGED", "OPERATION_STATUS_CHANGED"],
    ]
    for wrong in ({"colour": "red"}, {"tags": "t"}, {"master_data": {"vin": "x"}}, {"custom_fields": {"a": [1]}}, [], None):
        problem(await api.patch(path, json=wrong), 400, "validation")
    problem(await api.patch("/vehicles/AAAAA", json={}), 404, "not_found")
    await patched({"custom_fields": {str(number): number for number in range(50)}})
    problem(await api.patch(path, json={"custom_fields": {"more": 1}}), 422, "too_many_fields")
    for name in ("master_data", "custom_fields"):
        too_long = {name: {f"no such field {number}": None for number in range(51)}}
        problem(await api.patch(path, json=too_long), 400, "validation")


async def test_nobody_overwrites_what_somebody_else_has_done(api: httpx2.AsyncClient) -> None:
    path = f"/vehicles/{(await added(api))['id']}"
    etag = (await api.get(path)).headers["ETag"]
    mine = await api.patch(path, json={"tags": ["mine"]}, headers={"If-Match": etag})
    assert mine.status_code == 200
    problem(await api.patch(path, json={"tags": ["yours"]}, headers={"If-Match": etag}), 412, "changed_since")
    problem(await api.patch(path, json={"tags": ["yours"]}, headers={"If-Match": '"nonsense"'}), 412, "changed_since")
    several = {"If-Match": f'"99", {mine.headers["ETag"]}'}
    assert (await api.patch(path, json={"tags": ["mine"]}, headers=several)).status_code == 200
    assert (await api.get(path)).json()["tags"] == ["mine"]
    for right in (mine.headers["ETag"], "*"):
        answer = await api.patch(path, json={"tags": [right]}, headers={"If-Match": right})
        assert answer.json()["tags"] == [right]


async def test_a_rental_is_told_of_once(api: httpx2.AsyncClient, under_way: Serving) -> None:
    vehicle_id = (await added(api))["id"]
    for status in ("IN_RENTAL", "IN_RENTAL", "NOT_IN_RENTAL"):
        answer = await api.put(f"/vehicles/{vehicle_id}/rental-status", json={"rental_status": status})
        assert answer.json()["rental_status"] == status
    assert await told(under_way, vehicle_id) == [["RENTAL_STATUS_CHANGED"]] * 2
    problem(await api.put(f"/vehicles/{vehicle_id}/rental-status", json={"rental_status": "SOLD"}), 400, "validation")
    problem(await api.put("/vehicles/AAAAA/rental-status", json={"rental_status": "IN_RENTAL"}), 404, "not_found")


async def test_a_replaced_unit_leaves_the_vehicle_what_it_was(api: httpx2.AsyncClient, under_way: Serving) -> None:
    said, other = await added(api, 1), await added(api, 3)
    registry, path = under_way.gateway.registry, f"/vehicles/{said['id']}"
    state = {"central_lock": Recorded("LOCKED", 1_769_779_325_000, 90_000)}
    heard = Memory(Window(90_000), order=90_000, state=state, online=True, online_changed_at=5, last_contact_at=7)
    await registry.remember({said["id"]: heard})
    unit = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{2:016X}"}
    replaced = await api.put(f"{path}/telematics-unit", json=unit)
    assert replaced.status_code == 200, replaced.text
    document = replaced.json()
    assert (document["id"], document["telematics_unit"]["id"]) == (said["id"], unit["telematics_unit_id"])
    assert document["credentials"]["password"] == registry.keys(UnitId("CLOUDBOXX", f"{2:016X}"), 1).password
    assert document["life_status"]["value"] == "OFFLINE"
    assert document["capabilities"] == said["capabilities"]
    kept = (await api.get(f"{path}/latest-vehicle-state")).json()
    assert kept == {"central_lock": {"timestamp": "2026-01-30T13:22:05Z", "value": "LOCKED"}}
    found = await registry.find([UnitId("CLOUDBOXX", f"{number:016X}") for number in (1, 2)])
    [(vehicle, memory)] = found.values()
    assert (vehicle.unit.telematics_unit_id, memory.window, memory.order) == (f"{2:016X}", Window(), None)
    assert await told(under_way, said["id"]) == [["LIFE_STATUS_CHANGED"], ["TELEMATICS_UNIT_CHANGED", "LIFE_STATUS_CHANGED"]]
    # What the older unit said before it was replaced, and was still under way, is nothing to the new one.
    await registry.remember({said["id"]: heard})
    assert (await registry.find([vehicle.unit]))[vehicle.unit][1].window == Window()
    assert set(await registry.logins()) == {vehicle.unit, UnitId("CLOUDBOXX", f"{3:016X}")}
    taken = {**unit, "telematics_unit_id": other["telematics_unit"]["id"]}
    problem(await api.put(f"{path}/telematics-unit", json=taken), 409, "unit_taken")
    problem(await api.put(f"{path}/telematics-unit", json={**unit, "telematics_unit_id": "x"}), 422, "bad_unit_id")
    assert (await added(api, 1))["credentials"]["generation"] == 2


async def test_an_archived_vehicle_is_frozen(api: httpx2.AsyncClient) -> None:
    path = f"/vehicles/{(await added(api))['id']}"
    await api.post(f"{path}/archive")
    unit = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": "F" * 16}
    problem(await api.patch(path, json={"tags": ["x"]}), 409, "archived")
    problem(await api.put(f"{path}/rental-status", json={"rental_status": "IN_RENTAL"}), 409, "archived")
    problem(await api.put(f"{path}/telematics-unit", json=unit), 409, "archived")


async def test_lists_are_narrowed_by_tags_and_custom_fields(api: httpx2.AsyncClient) -> None:
    both = (await added(api, 1, tags=["a", "b"], custom_fields={"bay": 42, "note": "x:y"}))["id"]
    one = (await added(api, 2, tags=["a"], custom_fields={"bay": "42", "ev": True}))["id"]

    async def ids(**params: Any) -> list[str]:
        answer = await api.get("/vehicles", params=params)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    assert await ids(tag="a") == [both, one]
    assert await ids(tag=["a", "b"]) == [both]
    assert await ids(custom_field="bay:42") == [both, one]
    assert await ids(custom_field=["bay:42", "note:x:y"]) == [both]
    assert await ids(custom_field="ev:true", tag="a", brand="CLOUDBOXX", operation_status="OPERATING") == [one]
    assert await ids(custom_field="ev:false") == []
    await api.patch(f"/vehicles/{both}", json={"tags": ["c"], "custom_fields": None, "master_data": {"remark": "Sommerreifen"}})
    assert await ids(tag="a") == [one]
    assert await ids(tag="c", q="merREI") == [both]
    assert await ids(custom_field="note:x:y") == []
    await api.post(f"/vehicles/{both}/archive")
    assert await ids(q="sommer") == []
    assert await ids(q="sommer", archived=True) == [both]
    problem(await api.get("/vehicles", params={"custom_field": "bay"}), 400, "validation")


async def test_the_audit_says_who_asked_for_what(api: httpx2.AsyncClient, under_way: Serving) -> None:
    vehicle_id = (await added(api))["id"]
    registry = under_way.gateway.registry
    vehicle, _ = (await registry.find([UnitId("CLOUDBOXX", "0" * 16)])).popitem()[1]
    flows = []
    for number, name in enumerate(("lock-central-lock", "unlock-central-lock", "draw-attention")):
        flows.append(f"flow-{number}")
        asked_by = {"flow_id": flows[-1], "client": "somebody"}
        begun, _, _ = await registry.commands.begin(vehicle, name, at_least=number, seal=lambda counter: b"", **asked_by)
        if number < 2:
            await registry.finish_command(begun, (200, 422)[number], (None, "ignition_on")[number])
    for path in (f"/vehicles/{vehicle_id}/commands", "/audit/commands"):
        first = (await api.get(path, params={"limit": 2})).json()
        second = (await api.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        asked = [*first["items"], *second["items"]]
        assert second["next_cursor"] is None
        assert [each["flow_id"] for each in asked] == flows[::-1]
        assert [(each["status"], each["reason"]) for each in asked] == [(None, None), (422, "ignition_on"), (200, None)]
        assert {each["client"] for each in asked} == {"somebody"}
    problem(await api.get("/vehicles/AAAAA/commands"), 404, "not_found")


async def test_a_command_that_was_never_sent_is_in_the_audit_too(api: httpx2.AsyncClient) -> None:
    vehicle_id = (await added(api))["id"]
    path = f"/vehicles/{vehicle_id}/commands"
    refused = [
        problem(await api.post(f"{path}/unlock-top-case"), 409, "capability_missing"),
        problem(await api.post(f"{path}/lock-central-lock", headers={"Idempotency-Key": "k"}), 503, "unit_offline"),
        problem(await api.post(f"{path}/lock-central-lock", headers={"Idempotency-Key": "k"}), 503, "unit_offline"),
    ]
    await api.post(f"/vehicles/{vehicle_id}/archive")
    refused.append(problem(await api.post(f"{path}/lock-central-lock"), 409, "archived"))
    asked = (await api.get(path)).json()["items"]
    said = [(each["flow_id"], each["status"], each["reason"]) for each in asked]
    assert said == [(each["flow_id"], each["status"], each["reason"]) for each in reversed(refused)]
    assert all(each["finished_at"] for each in asked)


async def test_pages_stay_whole_while_vehicles_come(api: httpx2.AsyncClient) -> None:
    expected = [(await added(api, number, tags=["x"]))["id"] for number in range(4)]
    first = (await api.get("/vehicles", params={"limit": 3, "tag": "x"})).json()
    expected.append((await api.post("/vehicles", json=a_golf(9, tags=["x"]))).json()["id"])
    second = (await api.get("/vehicles", params={"limit": 3, "tag": "x", "cursor": first["next_cursor"]})).json()
    assert [each["id"] for each in first["items"] + second["items"]] == expected


async def test_a_rental_is_a_trip_where_the_fleet_says_so(api: httpx2.AsyncClient, under_way: Serving) -> None:
    vehicle_id = (await added(api))["id"]
    for trigger, status in (("DRIVING_ENABLED", "IN_RENTAL"), ("RENTAL_STATUS", "NOT_IN_RENTAL"), ("RENTAL_STATUS", "IN_RENTAL")):
        assert (await api.patch("/fleets/default", json={"trip_trigger": trigger})).status_code == 200
        await api.put(f"/vehicles/{vehicle_id}/rental-status", json={"rental_status": status})
    await api.put(f"/vehicles/{vehicle_id}/rental-status", json={"rental_status": "NOT_IN_RENTAL"})
    await told(under_way, vehicle_id)
    query = select(event_log.c.type).where(event_log.c.vehicle_id == vehicle_id).order_by(event_log.c.seq)
    async with under_way.gateway.store.reading() as connection:
        types = (await connection.execute(query)).scalars().all()
    rental = ["VehicleChanged", "TripStarted", "VehicleChanged", "TripEnded", "TripDiscarded"]
    assert list(types) == ["VehicleCreated", "VehicleChanged", "VehicleChanged", *rental]
