"""Vehicles: added, listed, changed, archived."""

import re
import time
import uuid
from typing import Any

import httpx2

from bench.conformance.checks.gateways.commands import fresh_unit
from bench.conformance.checks.gateways.played import RECORDED, broken, on_the_road
from bench.conformance.checks.oneapi.answers import NOBODY, ULID, VEHICLE_ID, status
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import TAG, Site
from bench.conformance.wire.line import WireError


def added_vehicle(site: Site) -> dict[str, Any]:
    def play() -> dict[str, Any]:
        plate = f"TL {uuid.uuid4().hex[:8]}"
        since = len(site.seen)
        added = site.add(
            master_data={"license_plate": plate, "remark": "old"}, custom_fields={"bay": 1, "side": "a"}, tags=[TAG, plate]
        )
        return {"added": added, "plate": plate, "since": since, "unit": added["telematics_unit"]["id"]}

    return site.phase("a vehicle", play)


@proves("ONE-VEH-001")
def ids(site: Site) -> str:
    said = added_vehicle(site)["added"]["id"]
    if not VEHICLE_ID.fullmatch(said):
        raise broken(site, "5 upper-case letters and digits without 0, O, 1, I", said)
    return str(said)


@proves("ONE-VEH-002")
def credentials(site: Site) -> str:
    found = added_vehicle(site)
    said = found["added"].get("credentials", {})
    wrong = [
        name
        for name, form in (("password", r"[A-Za-z0-9_-]{43}"), ("seal_key", r"[0-9a-f]{64}"), ("command_key", r"[0-9a-f]{64}"))
        if not re.fullmatch(form, str(said.get(name)))
    ]
    if said.get("user_name") != f"CLOUDBOXX/{found['unit']}" or said.get("generation") != 1:
        wrong.append("user_name, generation")
    if wrong:
        raise broken(site, "user name, password, two keys, generation 1", f"not so: {', '.join(wrong)}")
    return "shown"


@proves("ONE-VEH-003")
def credentials_once(site: Site) -> str:
    found = added_vehicle(site)
    secrets = [found["added"]["credentials"][name] for name in ("password", "seal_key", "command_key")]
    for path in (f"/vehicles/{found['added']['id']}", "/vehicles"):
        answer = site.call("GET", path, params={"tag": found["plate"]} if path == "/vehicles" else {})
        if any(secret in answer.text for secret in secrets):
            raise broken(site, "no secret", f"a secret in GET {path}")
    return "not shown again"


@proves("ONE-VEH-004")
def a_unit_once(site: Site) -> str:
    status(site, site.call("POST", "/vehicles", json=site.body(unit=added_vehicle(site)["unit"])), 409)
    return "409"


@proves("ONE-VEH-005")
def two_brands(site: Site) -> str:
    first = added_vehicle(site)
    second = site.phase("the same id under another brand", lambda: site.add("GBT32960", unit=first["unit"]))
    if second["id"] == first["added"]["id"]:
        raise broken(site, "two vehicles", "one")
    pair = first["added"]["credentials"], second["credentials"]
    for name in ("password", "seal_key", "command_key"):
        if pair[0][name] == pair[1][name]:
            raise broken(site, "no key shared", f"the same {name}")
    return "two vehicles, no key shared"


@proves("ONE-VEH-006")
def lists(site: Site) -> str:
    def play() -> httpx2.Response:
        good = site.body()
        answer = site.call("POST", "/vehicles", json=[good, good, {"telematics_brand": "CLOUDBOXX"}])
        for item in answer.json().get("items", []) if answer.status_code == 207 else []:
            if item.get("vehicle"):
                site.added.append(item["vehicle"]["id"])
        return answer

    answer = site.phase("a list of vehicles", play)
    status(site, answer, 207)
    found = [item["status"] for item in answer.json()["items"]]
    if found != [201, 409, 400]:
        raise broken(site, "[201, 409, 400]", found)
    return "201, 409, 400"


@proves("ONE-VEH-007")
def bad_unit_ids(site: Site) -> str:
    answer = site.call("POST", "/vehicles", json=site.body(unit="not a QNR"))
    status(site, answer, 400, 422)
    return str(answer.status_code)


@proves("ONE-VEH-008")
def shape(site: Site) -> str:
    found = added_vehicle(site)
    said = site.call("GET", f"/vehicles/{found['added']['id']}").json()
    wanted = {"id", "fleet_id", "status", "telematics_unit", "model", "capabilities", "master_data", "custom_fields", "tags"}
    wanted |= {"life_status", "operation_status", "rental_status", "created_at", "modified_at", "archived_at"}
    if missing := wanted - said.keys():
        raise broken(site, "every field", f"without {sorted(missing)}")
    if (
        not {"commands", "vehicle_state"} <= said["capabilities"].keys()
        or not {"value", "modified_at"} <= said["life_status"].keys()
    ):
        raise broken(site, "capabilities and life status as documented", f"{said['capabilities'].keys()}, {said['life_status']}")
    if said["telematics_unit"]["id"] != found["unit"] or said["telematics_unit"]["brand"] != "CLOUDBOXX":
        raise broken(site, found["unit"], said["telematics_unit"])
    return f"{len(said)} fields"


@proves("ONE-VEH-009")
def nobody(site: Site) -> str:
    status(site, site.call("GET", f"/vehicles/{NOBODY}"), 404)
    return "404"


@proves("ONE-VEH-010")
def pages(site: Site) -> str:
    def play() -> tuple[list[str], list[str]]:
        tag = f"pages-{uuid.uuid4().hex[:8]}"
        mine = [site.add(tags=[tag])["id"] for _ in range(3)]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(10):
            page = site.call("GET", "/vehicles", params={"tag": tag, "limit": 1, **({"cursor": cursor} if cursor else {})}).json()
            seen += [each["id"] for each in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return sorted(mine), seen

    mine, seen = site.phase("pages", play)
    if sorted(seen) != mine:
        raise broken(site, f"each of {mine} once", seen)
    return "three pages"


@proves("ONE-VEH-011")
def by_tag(site: Site) -> str:
    found = added_vehicle(site)
    on_the_road(site)  # another vehicle, without the tag
    seen = [each["id"] for each in site.call("GET", "/vehicles", params={"tag": found["plate"]}).json()["items"]]
    if seen != [found["added"]["id"]]:
        raise broken(site, f"[{found['added']['id']}]", seen)
    return "one vehicle"


@proves("ONE-VEH-012")
def by_plate(site: Site) -> str:
    found = added_vehicle(site)
    seen = [each["id"] for each in site.call("GET", "/vehicles", params={"q": found["plate"]}).json()["items"]]
    if found["added"]["id"] not in seen:
        raise broken(site, found["added"]["id"], seen)
    return str(found["plate"])


def patched_vehicle(site: Site) -> dict[str, Any]:
    def play() -> dict[str, Any]:
        found = added_vehicle(site)
        path, since = f"/vehicles/{found['added']['id']}", len(site.seen)
        patch = {"master_data": {"remark": "new"}, "custom_fields": {"bay": 2}, "operation_status": "GARAGE"}
        answer = site.call("PATCH", path, json=patch, headers={"Content-Type": "application/merge-patch+json"})
        event = site.event(found["added"]["id"], "VehicleChanged", since=since)
        return {"answer": answer, "shown": site.call("GET", path).json(), "event": event, "plate": found["plate"]}

    return site.phase("a patch", play)


@proves("ONE-VEH-013")
def patches(site: Site) -> str:
    found = patched_vehicle(site)
    status(site, found["answer"], 200)
    shown = found["shown"]
    got = (
        shown["master_data"].get("remark"),
        shown["master_data"].get("license_plate"),
        shown["custom_fields"],
        shown["operation_status"],
    )
    wanted = "new", found["plate"], {"bay": 2, "side": "a"}, "GARAGE"
    if got != wanted:
        raise broken(site, str(wanted), got)
    return "what it names"


@proves("ONE-VEH-014")
def bad_patches(site: Site) -> str:
    vehicle_id = added_vehicle(site)["added"]["id"]
    patched_vehicle(site)
    status(site, site.call("PATCH", f"/vehicles/{vehicle_id}", json={"operation_status": "FLYING", "tags": ["x"]}), 400)
    if site.call("GET", f"/vehicles/{vehicle_id}").json()["operation_status"] != "GARAGE":
        raise broken(site, "nothing changed", "changed")
    return "400"


@proves("ONE-VEH-015")
def rents(site: Site) -> str:
    path = f"/vehicles/{added_vehicle(site)['added']['id']}"
    for said in ("IN_RENTAL", "NOT_IN_RENTAL"):
        status(site, site.call("PUT", f"{path}/rental-status", json={"rental_status": said}), 200, 204)
        if (seen := site.call("GET", path).json()["rental_status"]) != said:
            raise broken(site, said, seen)
    return "both"


def archived_vehicle(site: Site) -> dict[str, Any]:
    """A vehicle whose unit was heard, archived; what its unit can do then; restored, and heard again."""

    def play() -> dict[str, Any]:
        unit = fresh_unit(site)
        before, since = site.values(unit.id), len(site.seen)
        archived = site.call("POST", f"/vehicles/{unit.id}/archive")
        removed = site.event(unit.id, "VehicleRemoved", since=since)
        ordered = site.call("POST", f"/vehicles/{unit.id}/commands/request-vehicle-state", params={"timeout": 2})
        if unit.client is not None and not unit.client.lost.is_set():
            unit.say(unit.frame(central_lock="UNLOCKED"), "a state, its vehicle archived")
        time.sleep(1.0)
        again = unit.login()
        try:
            code = again.open()
        except WireError:
            code = 5
        if not code:
            again.close()
        frozen = site.values(unit.id)
        told = site.events(unit.id, RECORDED, since=since)
        restored = site.call("POST", f"/vehicles/{unit.id}/restore")
        unit.leave()

        def heard() -> bool:
            try:
                return unit.come() is unit
            except NotExecuted:
                time.sleep(0.3)
                return False

        back = site.until(heard, 8)
        sequence, _ = unit.report("a state, its vehicle restored", central_lock="LOCKED") if back else (0, b"")
        ack = unit.acked(sequence) if back else None
        return {
            "archived": archived, "ordered": ordered, "code": code, "before": before, "frozen": frozen, "told": told,
            "restored": restored, "ack": ack, "unit": unit, "removed": removed,
        }  # fmt: skip

    return site.phase("archive and restore", play)


@proves("ONE-VEH-016")
def archived_takes_no_commands(site: Site) -> str:
    found = archived_vehicle(site)
    status(site, found["archived"], 200)
    if found["archived"].json().get("status") != "ARCHIVED" or not found["archived"].json().get("archived_at"):
        raise broken(site, "status ARCHIVED and archived_at", found["archived"].text[:160])
    status(site, found["ordered"], 409)
    return "409"


@proves("ONE-VEH-017")
def archived_is_frozen(site: Site) -> str:
    found = archived_vehicle(site)
    if found["frozen"] != found["before"] or found["told"]:
        raise broken(site, "the state as it was, no event", f"{found['frozen']}, {len(found['told'])} events")
    return "frozen"


@proves("ONE-VEH-018")
def restores(site: Site) -> str:
    found = archived_vehicle(site)
    status(site, found["restored"], 200)
    said = found["restored"].json()
    if said["id"] != found["unit"].id or said.get("archived_at") is not None:
        raise broken(site, f"{found['unit'].id}, archived_at null", f"{said['id']}, {said.get('archived_at')}")
    if found["ack"] is None:
        raise broken(site, "its unit heard again", "no Ack")
    return "restored"


@proves("ONE-VEH-019")
def replaces_units(site: Site) -> str:
    def play() -> dict[str, Any]:
        old = fresh_unit(site)
        before = site.values(old.id)
        body = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": site.fresh_id("CLOUDBOXX")}
        answer = site.call("PUT", f"/vehicles/{old.id}/telematics-unit", json=body)
        if answer.status_code == 200:
            site.took(answer.json())
        since = len(site.seen)
        if old.client is not None and not old.client.lost.is_set():
            old.say(old.frame(central_lock="UNLOCKED"), "a state of the unit that was replaced")
        site.hush()
        return {
            "answer": answer,
            "before": before,
            "after": site.values(old.id),
            "id": old.id,
            "told": site.events(old.id, RECORDED, since=since),
        }

    found = site.phase("a unit is replaced", play)
    status(site, found["answer"], 200)
    if found["answer"].json()["id"] != found["id"] or found["after"] != found["before"] or found["told"]:
        raise broken(
            site,
            "the vehicle and its state as before",
            f"{found['answer'].json()['id']}, {found['after']}, {len(found['told'])} events",
        )
    return "replaced"


@proves("ONE-VEH-020")
def if_match(site: Site) -> str:
    path = f"/vehicles/{added_vehicle(site)['added']['id']}"
    tag = site.call("GET", path).headers.get("etag")
    if tag is None:
        raise NotExecuted("the gateway gives no ETag", "nothing to do: optional")
    site.call("PATCH", path, json={"custom_fields": {"bay": 9}})
    status(site, site.call("PATCH", path, json={"custom_fields": {"bay": 10}}, headers={"If-Match": tag}), 412)
    return "412"


@proves("ONE-MODEL-001")
def brands(site: Site) -> str:
    answer = site.call("GET", "/telematics-brands")
    status(site, answer, 200)
    for each in answer.json()["items"]:
        if not each.get("name") or each.get("kind") not in ("AFTERMARKET", "OEM"):
            raise broken(site, "a name and a kind", each)
    return f"{len(answer.json()['items'])} brands"


@proves("ONE-MODEL-002")
def models(site: Site) -> str:
    items = site.call("GET", "/telematics-brands/CLOUDBOXX/available-vehicle-models").json()["items"]
    for each in items:
        if not ULID.fullmatch(each["id"]) or not {"brand", "name", "type", "start_of_production", "regions"} <= each.keys():
            raise broken(site, "ULID, brand, name, type, production, regions", each)
    answer = site.call("GET", f"/vehicle-models/{items[0]['id']}")
    if answer.status_code != 200 or answer.json() != items[0]:
        raise broken(site, "the same model by its id", answer.text[:160])
    return f"{len(items)} models"
