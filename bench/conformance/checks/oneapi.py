"""The checks of the gateway's face: access, vehicles, states, logins, commands, events."""

import re
import threading
import time
import uuid
from typing import Any

import httpx2

from bench.conformance.checks.gateways import PLACE, RECORDED, Commanded, broken, command, fresh_unit, good_command, on_the_road
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import FLOW_ID, MODULUS, PROBLEM, TAG, Event, PlayedUnit, Site
from bench.conformance.wire import WireError

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
VEHICLE_ID = re.compile(r"[A-HJ-NP-Z2-9]{5}")
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
NOBODY = "ZZZZZ"
METADATA = ("id", "type", "version", "flow_id", "occurred_at", "recorded_at", "fleet_id", "vehicle_id")


def status(site: Site, answer: httpx2.Response, *wanted: int) -> None:
    """The answer has to have one of these statuses."""
    if answer.status_code not in wanted:
        raise broken(site, " or ".join(map(str, wanted)), f"{answer.status_code} {answer.text[:160]}")


# Access ------------------------------------------------------------------------------------------------------------------


@proves("ONE-AUTH-001")
def grants_tokens(site: Site) -> str:
    answer = site.phase("a token", site.token)
    status(site, answer, 200)
    said = answer.json()
    if said.get("token_type", "").lower() != "bearer" or said.get("expires_in") != 900 or not said.get("access_token"):
        raise broken(site, "a Bearer token for 900 s", {key: value for key, value in said.items() if key != "access_token"})
    return "900 s"


@proves("ONE-AUTH-002")
def refuses_a_wrong_secret(site: Site) -> str:
    if site.access.client is None:
        raise NotExecuted("the kit has a token and no client", "give --client ID:SECRET")
    answer = site.token(client=(site.access.client[0], "wrong"))
    status(site, answer, 401)
    if answer.json().get("error") != "invalid_client" or "www-authenticate" not in answer.headers:
        raise broken(site, "invalid_client and WWW-Authenticate", answer.text[:160])
    return "invalid_client"


@proves("ONE-AUTH-003")
def wants_a_token(site: Site) -> str:
    status(site, site.call("GET", "/vehicles", token=None), 401)
    return "401"


@proves("ONE-AUTH-004")
def refuses_a_made_up_token(site: Site) -> str:
    status(site, site.call("GET", "/vehicles", token="made.up.token"), 401)
    return "401"


def _narrow(site: Site) -> str:
    """A token of the kit's client for vehicles.ro alone."""

    def play() -> str:
        answer = site.token("vehicles.ro")
        if answer.status_code != 200:
            raise NotExecuted(
                f"no token for vehicles.ro: {answer.status_code} {answer.text[:120]}", "give a client with the scope vehicles"
            )
        return str(answer.json()["access_token"])

    return site.phase("a token for reading", play)


@proves("ONE-AUTH-005")
def reads_only(site: Site) -> str:
    token = _narrow(site)
    status(site, site.call("GET", "/vehicles", token=token), 200)
    status(site, site.call("POST", "/vehicles", token=token, json=site.body()), 403)
    return "200 and 403"


@proves("ONE-AUTH-006")
def may_not_command(site: Site) -> str:
    token, unit = _narrow(site), on_the_road(site)
    before = len(unit.requests)
    status(
        site, site.call("POST", f"/vehicles/{unit.id}/commands/request-vehicle-state", token=token, params={"timeout": 3}), 403
    )
    if len(unit.requests) > before:
        raise broken(site, "nothing sent to the unit", "a command")
    return "403"


@proves("ONE-AUTH-007")
def other_grants(site: Site) -> str:
    answer = site.token(grant_type="password")
    status(site, answer, 400)
    if answer.json().get("error") != "unsupported_grant_type":
        raise broken(site, "unsupported_grant_type", answer.text[:160])
    return "unsupported_grant_type"


@proves("ONE-AUTH-008")
def other_scopes(site: Site) -> str:
    answer = site.token("vehicles everything")
    status(site, answer, 400)
    if answer.json().get("error") != "invalid_scope":
        raise broken(site, "invalid_scope", answer.text[:160])
    return "invalid_scope"


# Errors: whatever the whole run was answered ------------------------------------------------------------------------------


def _errors(site: Site) -> list[tuple[str, httpx2.Response]]:
    site.call("GET", f"/vehicles/{NOBODY}")
    site.call("POST", "/vehicles", json={"telematics_brand": 7})
    site.call("GET", "/vehicles", token=None)
    return [
        each for each in site.answers if each[1].status_code >= 400 and "/oauth2/" not in each[0] and "/broker/" not in each[0]
    ]


@proves("ONE-ERR-001")
def problems(site: Site) -> str:
    found = _errors(site)
    for what, answer in found:
        if not answer.headers.get("content-type", "").startswith(PROBLEM):
            raise broken(site, PROBLEM, f"{what}: {answer.headers.get('content-type')}")
        document = answer.json()
        if not {"type", "title", "status"} <= document.keys() or document["status"] != answer.status_code:
            raise broken(site, "type, title and status", f"{what}: {document}")
    return f"{len(found)} errors"


@proves("ONE-ERR-002")
def problems_have_the_flow(site: Site) -> str:
    found = _errors(site)
    for what, answer in found:
        said = answer.json().get("flow_id") if answer.headers.get("content-type", "").startswith(PROBLEM) else None
        if said != answer.headers.get(FLOW_ID) or not said:
            raise broken(site, f"flow_id {answer.headers.get(FLOW_ID)}", f"{what}: {said}")
    return f"{len(found)} errors"


@proves("ONE-ERR-003")
def flows(site: Site) -> str:
    _errors(site)
    for what, answer in site.answers:
        if not answer.headers.get(FLOW_ID) and not what.endswith(("/healthz", "/readyz", "/metrics")):
            raise broken(site, f"the header {FLOW_ID}", f"{what}: none")
    return f"{len(site.answers)} answers"


@proves("ONE-ERR-004")
def flows_differ(site: Site) -> str:
    _errors(site)
    seen: dict[str, str] = {}
    for what, answer in site.answers:
        flow = answer.headers.get(FLOW_ID, "")
        if flow and flow in seen:
            raise broken(site, "a flow id of its own", f"{what} and {seen[flow]}: {flow}")
        seen[flow] = what
    return f"{len(seen)} flow ids"


@proves("ONE-ERR-005")
def no_json(site: Site) -> str:
    for body in (b"{", b"no json"):
        status(site, site.call("POST", "/vehicles", content=body, headers={"Content-Type": "application/json"}), 400)
    return "400"


@proves("ONE-ERR-006")
def no_path(site: Site) -> str:
    answer = site.call("GET", "/no-such-path")
    status(site, answer, 404)
    if not answer.headers.get("content-type", "").startswith(PROBLEM):
        raise broken(site, PROBLEM, answer.headers.get("content-type"))
    return "404"


# Vehicles ----------------------------------------------------------------------------------------------------------------


def _vehicle(site: Site) -> dict[str, Any]:
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
    said = _vehicle(site)["added"]["id"]
    if not VEHICLE_ID.fullmatch(said):
        raise broken(site, "5 upper-case letters and digits without 0, O, 1, I", said)
    return str(said)


@proves("ONE-VEH-002")
def credentials(site: Site) -> str:
    found = _vehicle(site)
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
    found = _vehicle(site)
    secrets = [found["added"]["credentials"][name] for name in ("password", "seal_key", "command_key")]
    for path in (f"/vehicles/{found['added']['id']}", "/vehicles"):
        answer = site.call("GET", path, params={"tag": found["plate"]} if path == "/vehicles" else {})
        if any(secret in answer.text for secret in secrets):
            raise broken(site, "no secret", f"a secret in GET {path}")
    return "not shown again"


@proves("ONE-VEH-004")
def a_unit_once(site: Site) -> str:
    status(site, site.call("POST", "/vehicles", json=site.body(unit=_vehicle(site)["unit"])), 409)
    return "409"


@proves("ONE-VEH-005")
def two_brands(site: Site) -> str:
    first = _vehicle(site)
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
    found = _vehicle(site)
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
    found = _vehicle(site)
    on_the_road(site)  # another vehicle, without the tag
    seen = [each["id"] for each in site.call("GET", "/vehicles", params={"tag": found["plate"]}).json()["items"]]
    if seen != [found["added"]["id"]]:
        raise broken(site, f"[{found['added']['id']}]", seen)
    return "one vehicle"


@proves("ONE-VEH-012")
def by_plate(site: Site) -> str:
    found = _vehicle(site)
    seen = [each["id"] for each in site.call("GET", "/vehicles", params={"q": found["plate"]}).json()["items"]]
    if found["added"]["id"] not in seen:
        raise broken(site, found["added"]["id"], seen)
    return str(found["plate"])


def _patched(site: Site) -> dict[str, Any]:
    def play() -> dict[str, Any]:
        found = _vehicle(site)
        path, since = f"/vehicles/{found['added']['id']}", len(site.seen)
        patch = {"master_data": {"remark": "new"}, "custom_fields": {"bay": 2}, "operation_status": "GARAGE"}
        answer = site.call("PATCH", path, json=patch, headers={"Content-Type": "application/merge-patch+json"})
        event = site.event(found["added"]["id"], "VehicleChanged", since=since)
        return {"answer": answer, "shown": site.call("GET", path).json(), "event": event, "plate": found["plate"]}

    return site.phase("a patch", play)


@proves("ONE-VEH-013")
def patches(site: Site) -> str:
    found = _patched(site)
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
    vehicle_id = _vehicle(site)["added"]["id"]
    _patched(site)
    status(site, site.call("PATCH", f"/vehicles/{vehicle_id}", json={"operation_status": "FLYING", "tags": ["x"]}), 400)
    if site.call("GET", f"/vehicles/{vehicle_id}").json()["operation_status"] != "GARAGE":
        raise broken(site, "nothing changed", "changed")
    return "400"


@proves("ONE-VEH-015")
def rents(site: Site) -> str:
    path = f"/vehicles/{_vehicle(site)['added']['id']}"
    for said in ("IN_RENTAL", "NOT_IN_RENTAL"):
        status(site, site.call("PUT", f"{path}/rental-status", json={"rental_status": said}), 200, 204)
        if (seen := site.call("GET", path).json()["rental_status"]) != said:
            raise broken(site, said, seen)
    return "both"


def _archived(site: Site) -> dict[str, Any]:
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
    found = _archived(site)
    status(site, found["archived"], 200)
    if found["archived"].json().get("status") != "ARCHIVED" or not found["archived"].json().get("archived_at"):
        raise broken(site, "status ARCHIVED and archived_at", found["archived"].text[:160])
    status(site, found["ordered"], 409)
    return "409"


@proves("ONE-VEH-017")
def archived_is_frozen(site: Site) -> str:
    found = _archived(site)
    if found["frozen"] != found["before"] or found["told"]:
        raise broken(site, "the state as it was, no event", f"{found['frozen']}, {len(found['told'])} events")
    return "frozen"


@proves("ONE-VEH-018")
def restores(site: Site) -> str:
    found = _archived(site)
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
    path = f"/vehicles/{_vehicle(site)['added']['id']}"
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


# States ------------------------------------------------------------------------------------------------------------------


@proves("ONE-STATE-001")
def states(site: Site) -> str:
    found = site.state(on_the_road(site).id)
    if not found:
        raise broken(site, "the unit's first state", "nothing")
    for key, said in found.items():
        if said.keys() != {"timestamp", "value"} or not MOMENT.fullmatch(said["timestamp"]):
            raise broken(site, "value and timestamp", f"{key}: {said}")
    return f"{len(found)} properties"


@proves("ONE-STATE-002")
def capabilities(site: Site) -> str:
    unit = on_the_road(site)
    able = set(site.call("GET", f"/vehicles/{unit.id}").json()["capabilities"]["vehicle_state"])
    for key in site.state(unit.id):
        if key.upper() not in able:
            raise broken(site, "a capability", key)
    return f"{len(able)} capabilities"


@proves("ONE-STATE-003")
def all_states(site: Site) -> str:
    unit = on_the_road(site)
    cursor: str | None = None
    for _ in range(200):
        page = site.call("GET", "/latest-vehicle-states", params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        mine = next((each["vehicle_state"] for each in page["items"] if each["vehicle_id"] == unit.id), None)
        if mine is not None:
            if mine != site.state(unit.id):
                raise broken(site, str(site.state(unit.id)), mine)
            return "the same"
        cursor = page["next_cursor"]
        if cursor is None:
            break
    raise broken(site, f"the state of {unit.id}", "not in the list")


def _late(site: Site) -> dict[str, Any]:
    def play() -> dict[str, Any]:
        unit = fresh_unit(site)
        now = int(time.time() * 1000)
        held_back = unit.frame(at_ms=now - 3000, central_lock="UNLOCKED", mileage_in_kilometers=100.0, oldest=unit.sequence + 1)
        newer = unit.frame(at_ms=now, central_lock="LOCKED", mileage_in_kilometers=200.0, oldest=unit.sequence)
        since = len(site.seen)
        unit.say(newer, "a state")
        site.event(unit.id, RECORDED, since=since)
        before = site.values(unit.id)
        moment = unit.say(held_back, "the state before it, late")
        event = site.event(unit.id, RECORDED, lambda each: "UNLOCKED" in str(each.body.get("changed")), since=since)
        site.hush(0.7)
        changed = site.events(unit.id, "CentralLockChanged", since=since)
        return {"event": event, "before": before, "after": site.values(unit.id), "changed": changed, "moment": moment}

    return site.phase("a report that comes late", play)


@proves("ONE-STATE-004")
def late(site: Site) -> str:
    found = _late(site)
    if found["after"] != found["before"]:
        raise broken(site, str(found["before"]), found["after"], found["moment"])
    if found["event"] is None or found["event"].body.get("late") is not True:
        raise broken(
            site,
            "its VehicleStateRecorded with late true",
            found["event"].body.get("late") if found["event"] else "no event",
            found["moment"],
        )
    if found["changed"]:
        raise broken(site, "no CentralLockChanged", found["changed"][0].body, found["changed"][0].moment)
    return "late"


@proves("ONE-STATE-005")
def from_the_future(site: Site) -> str:
    def play() -> tuple[str, Any, int]:
        unit = fresh_unit(site)
        since = len(site.seen)
        moment = unit.say(unit.frame(at_ms=3_471_292_800_000, mileage_in_kilometers=300.0), "a state of 2080")
        site.event(unit.id, RECORDED, since=since)
        stamp = site.state(unit.id).get("mileage_in_kilometers", {}).get("timestamp", "none")
        since = len(site.seen)
        unit.say(unit.frame(mileage_in_kilometers=400.0), "a state of now")
        site.event(unit.id, RECORDED, since=since)
        return stamp, site.values(unit.id).get("mileage_in_kilometers"), moment

    stamp, value, moment = site.phase("a clock in 2080", play)
    most = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 600 + site.access.tolerance_s + site.clock_s))
    if not stamp < most or stamp == "none":
        raise broken(site, "at most ten minutes from now", stamp, moment)
    if value is None or abs(value - 400.0) > 0.2:
        raise broken(site, "the next report heard: 400 km", value, moment)
    return stamp


@proves("ONE-STATE-006")
def keeps_what_is_not_said(site: Site) -> str:
    def play() -> tuple[Any, Any]:
        unit = on_the_road(site)
        before = site.state(unit.id).get("position")
        since = len(site.seen)
        unit.say(unit.frame("event", raw={"cause": 2}, central_lock="LOCKED"), "an event without a position")
        site.event(unit.id, RECORDED, since=since)
        return before, site.state(unit.id).get("position")

    before, after = site.phase("a report of one property", play)
    if before is None or before != after:
        raise broken(site, str(before), after)
    return "kept"


# Logins ------------------------------------------------------------------------------------------------------------------


def _login(site: Site, unit: PlayedUnit, **how: Any) -> int:
    """The CONNACK code of a login; 5 where the broker closes without one."""
    client = unit.login(**how)
    try:
        code = client.open()
    except WireError as error:
        if "closed" in str(error):
            return 5
        raise NotExecuted(f"the broker cannot be reached: {error}", "see --broker") from error
    client.close()
    return code


def _closed(site: Site) -> PlayedUnit:
    """A unit of the kit's own for logins. NotExecuted where the broker lets everybody in."""

    def play() -> PlayedUnit:
        unit = PlayedUnit(site, site.add())
        stranger = f"CLOUDBOXX/{site.fresh_id('CLOUDBOXX')}"
        if _login(site, unit, user=stranger, password="nobody") == 0 and _login(site, unit, password="wrong") == 0:
            raise NotExecuted(
                "the broker lets everybody in: that is the broker's doing, not the gateway's",
                "let the gateway keep the broker's logins (docs/broker-logins.md)",
            )
        return unit

    return site.phase("logins", play)


@proves("ONE-MQTT-001")
def lets_in(site: Site) -> str:
    unit = PlayedUnit(site, _vehicle(site)["added"])
    code = site.phase("a login", lambda: _login(site, unit))
    if code:
        raise broken(site, "CONNACK 0", code)
    return "0"


def _kept_out(site: Site, code: int) -> str:
    if code not in (4, 5):
        raise broken(site, "CONNACK 4 or 5", code)
    return str(code)


@proves("ONE-MQTT-002")
def wrong_password(site: Site) -> str:
    return _kept_out(site, _login(site, _closed(site), password="wrong"))


@proves("ONE-MQTT-003")
def unknown_unit(site: Site) -> str:
    return _kept_out(site, _login(site, _closed(site), user=f"CLOUDBOXX/{site.fresh_id('CLOUDBOXX')}"))


@proves("ONE-MQTT-004")
def wrong_brand(site: Site) -> str:
    unit = _closed(site)
    return _kept_out(site, _login(site, unit, user=f"TELTONIKA/{unit.unit.telematics_unit_id}"))


@proves("ONE-MQTT-005")
def other_topics(site: Site) -> str:
    def play() -> int:
        _closed(site)
        unit, other = fresh_unit(site), on_the_road(site)
        assert unit.client is not None
        return unit.client.subscribe(f"{other.topic}/down", timeout_s=3)

    granted = site.phase("listening to another unit", play)
    if granted < 128:
        raise (
            NotExecuted(
                f"the broker grants the subscription (QoS {granted}) and may still pass nothing on: that is the broker's doing",
                "look at the broker's topic rules (docs/broker-logins.md)",
            )
            if not _passes_on(site)
            else broken(site, "refused", f"granted QoS {granted}, and the other unit's commands come")
        )
    return "80"


def _passes_on(site: Site) -> bool:
    """Whether a command for one unit comes to another that listens to it."""

    def play() -> bool:
        spy, other = fresh_unit(site), fresh_unit(site)
        assert spy.client is not None
        spy.client.subscribe(f"{other.topic}/down", timeout_s=3)
        before = len(site.log)
        command(site, other, "request-vehicle-state", timeout=4)
        return any(f"{spy.unit} hears on {other.topic}/down" in line for line in site.log[before:])

    return site.phase("a spy", play)


@proves("ONE-MQTT-006")
def others_names(site: Site) -> str:
    def play() -> tuple[Any, Any, list[Event], int]:
        thief, victim = fresh_unit(site), on_the_road(site)
        before, since = site.values(victim.id), len(site.seen)
        assert thief.client is not None
        data = victim.frame(central_lock="UNLOCKED", sequence=(victim.sequence + 9000) % MODULUS, key=thief.seal_key)
        moment = site.note(f"{thief.unit} publishes on {victim.topic}/up")
        thief.client.publish(f"{victim.topic}/up", data)
        site.hush()
        return before, site.values(victim.id), site.events(victim.id, RECORDED, since=since), moment

    before, after, events, moment = site.phase("a frame in another's name", play)
    if before != after or events:
        raise broken(site, "nothing changed", f"{after}, {len(events)} events", moment)
    return "nothing changed"


@proves("ONE-MQTT-007")
def oversized(site: Site) -> str:
    def play() -> tuple[list[Event], bool, int]:
        unit = fresh_unit(site)
        data = unit.frame(central_lock="UNLOCKED")
        since = len(site.seen)
        moment = unit.say(data * (65_600 // len(data) + 1), "more than 64 KiB")
        site.hush()
        events = site.events(unit.id, RECORDED, since=since)
        if unit.client is not None and unit.client.lost.is_set():
            unit.come()
        sequence, _ = unit.report("a state after it", central_lock="LOCKED")
        return events, unit.acked(sequence) is not None, moment

    events, heard, moment = site.phase("an oversized payload", play)
    if events:
        raise broken(site, "no event", events[0].id, moment)
    if not heard:
        raise broken(site, "the unit heard afterwards", "not heard", moment)
    return "refused"


@proves("ONE-MQTT-008")
def archived_login(site: Site) -> str:
    _closed(site)
    return _kept_out(site, _archived(site)["code"])


FIFTY = 50


def _fifty(site: Site) -> tuple[PlayedUnit, list[int], list[Event], int]:
    def play() -> tuple[PlayedUnit, list[int], list[Event], int]:
        unit = fresh_unit(site)
        since = len(site.seen)
        moment = site.note("fifty states in a row")
        wanted = []
        for number in range(FIFTY):
            sequence, _ = unit.report(
                "a state", mileage_in_kilometers=1000.0 + number, central_lock="UNLOCKED" if number % 2 else "LOCKED"
            )
            wanted.append(sequence)
        site.until(
            lambda: len({event.id for event in site.events(unit.id, RECORDED, since=since)}) >= FIFTY, 2 * site.access.timeout_s
        )
        site.hush(0.5)
        return unit, wanted, site.events(unit.id, since=since), moment

    return site.phase("fifty states in a row", play)


@proves("ONE-MQTT-009")
def takes_all(site: Site) -> str:
    _, _, events, moment = _fifty(site)
    found = len({event.id for event in events if event.type == RECORDED})
    if found < FIFTY:
        raise broken(site, f"{FIFTY} events", found, moment)
    return f"{found} events"


def _life(site: Site, vehicle_id: str) -> str:
    return str(site.call("GET", f"/vehicles/{vehicle_id}").json()["life_status"]["value"])


@proves("ONE-MQTT-010")
def online(site: Site) -> str:
    unit = on_the_road(site)
    if not site.until(lambda: _life(site, unit.id) == "ONLINE", 5):
        raise broken(site, "ONLINE", _life(site, unit.id))
    return "ONLINE"


@proves("ONE-MQTT-011")
def offline(site: Site) -> str:
    def play() -> float:
        unit = fresh_unit(site)
        site.until(lambda: _life(site, unit.id) == "ONLINE", 5)
        began = time.monotonic()
        unit.leave(orderly=False)
        site.until(lambda: _life(site, unit.id) == "OFFLINE", 5 + site.access.tolerance_s + 5)
        return time.monotonic() - began if _life(site, unit.id) == "OFFLINE" else float("inf")

    took_s = site.phase("a unit vanishes", play)
    if not 5 - 0.5 <= took_s <= 5 + site.access.tolerance_s:
        raise broken(site, f"OFFLINE after 5 s, within {site.access.tolerance_s:g} s", f"after {took_s:.1f} s")
    return f"after {took_s:.1f} s"


@proves("ONE-MQTT-012")
def takeover(site: Site) -> str:
    def play() -> tuple[list[str], int]:
        unit = fresh_unit(site)
        site.until(lambda: _life(site, unit.id) == "ONLINE", 5)
        unit.leave(orderly=False)
        seen = []
        for step in range(20):
            if step == 4:
                unit.come()
                unit.report("a state", central_lock="LOCKED")
            seen.append(_life(site, unit.id))
            time.sleep(0.4)
        return seen, len(site.log)

    seen, moment = site.phase("a unit comes back at once", play)
    if "OFFLINE" in seen:
        raise broken(site, "ONLINE all the time", f"OFFLINE after {seen.index('OFFLINE') * 0.4:.1f} s", moment - 1)
    return "ONLINE all the time"


# Commands ----------------------------------------------------------------------------------------------------------------


@proves("ONE-CMD-001")
def done(site: Site) -> str:
    _, found = good_command(site)
    status(site, found.answer, 200)
    said = found.answer.json().get("central_lock", {})
    if said.get("value") != "UNLOCKED":
        raise broken(site, "central_lock UNLOCKED in the body", said, found.moment)
    return "UNLOCKED"


def _commanded(site: Site, name: str, manner: str, timeout: float = 10, **headers: str) -> Commanded:
    return site.phase(
        f"a command that the unit meets with `{manner}`",
        lambda: command(site, fresh_unit(site), name, manner=manner, timeout=timeout, **headers),
    )


@proves("ONE-CMD-002")
def refused(site: Site) -> str:
    found = _commanded(site, "unlock-central-lock", "refuse")
    status(site, found.answer, 422)
    if found.answer.json().get("reason") != "ignition_on":
        raise broken(site, "reason ignition_on", found.answer.text[:160], found.moment)
    return "ignition_on"


@proves("ONE-CMD-003")
def offline_unit(site: Site) -> str:
    def play() -> tuple[httpx2.Response, int]:
        unit = PlayedUnit(site, site.add())
        answer = site.call("POST", f"/vehicles/{unit.id}/commands/request-vehicle-state", params={"timeout": 3})
        unit.come()
        site.hush(1.0)
        return answer, len(unit.requests)

    answer, sent = site.phase("a command for a unit that is offline", play)
    status(site, answer, 503)
    if sent:
        raise broken(site, "never sent", "the unit got it when it came")
    return "503"


def _silent(site: Site) -> dict[str, Any]:
    """A command that is not answered, the same again with its key, and the truth after a late answer."""

    def play() -> dict[str, Any]:
        unit = fresh_unit(site)
        key = uuid.uuid4().hex
        first = command(site, unit, "lock-central-lock", manner="silent", timeout=2, Idempotency_Key=key)
        second = command(site, unit, "lock-central-lock", manner="silent", timeout=2, Idempotency_Key=key)
        if unit.requests:
            unit.done(unit.requests[-1][1])
        site.hush(1.0)
        third = command(site, unit, "lock-central-lock", manner="silent", timeout=3, Idempotency_Key=key)
        return {"first": first, "second": second, "third": third, "unit": unit}

    return site.phase("a command without an answer", play)


@proves("ONE-CMD-004")
def no_answer(site: Site) -> str:
    found = _silent(site)["first"]
    status(site, found.answer, 504)
    return f"504 after {found.took_s:.1f} s"


@proves("ONE-CMD-005")
def not_fitted(site: Site) -> str:
    def play() -> tuple[httpx2.Response, str]:
        able = {each.id: each for each in site.models.available("CLOUDBOXX")}
        offered = site.call("GET", "/telematics-brands/CLOUDBOXX/available-vehicle-models").json()["items"]
        for each in offered:
            model = able.get(each["id"])
            if model is not None and "unlock-top-case" not in model.units["CLOUDBOXX"].commands:
                added = site.add(model=model)
                return site.call("POST", f"/vehicles/{added['id']}/commands/unlock-top-case", params={"timeout": 2}), model.name
        raise NotExecuted("every model that the gateway offers has a top case", "install the same teleloop on both sides")

    answer, _ = site.phase("a command that the vehicle is not fitted for", play)
    status(site, answer, 409)
    return "409"


@proves("ONE-CMD-006")
def no_such(site: Site) -> str:
    unit = on_the_road(site)
    status(site, site.call("POST", f"/vehicles/{unit.id}/commands/fly"), 404)
    status(site, site.call("POST", f"/vehicles/{NOBODY}/commands/request-vehicle-state"), 404)
    return "404"


def _keyed(site: Site) -> dict[str, Any]:
    def play() -> dict[str, Any]:
        unit = fresh_unit(site)
        key = uuid.uuid4().hex
        first = command(site, unit, "unlock-central-lock", manner="ok", Idempotency_Key=key)
        second = command(site, unit, "unlock-central-lock", manner="ok", Idempotency_Key=key)
        other = command(site, unit, "lock-central-lock", manner="ok", Idempotency_Key=key)
        return {"first": first, "second": second, "other": other}

    return site.phase("an Idempotency-Key", play)


@proves("ONE-CMD-007")
def once(site: Site) -> str:
    found = _keyed(site)
    status(site, found["first"].answer, 200)
    status(site, found["second"].answer, 200)
    if found["second"].requests:
        raise broken(site, "nothing sent again", f"counter {found['second'].requests[0][1].counter}", found["second"].moment)
    if found["first"].answer.json() != found["second"].answer.json():
        raise broken(site, "the same body", found["second"].answer.text[:160], found["second"].moment)
    return "once"


@proves("ONE-CMD-008")
def same_bytes(site: Site) -> str:
    found = _silent(site)
    status(site, found["first"].answer, 504)
    if not found["first"].requests or not found["second"].requests:
        raise broken(
            site,
            "the request sent twice",
            f"{len(found['first'].requests)} and {len(found['second'].requests)} times",
            found["second"].moment,
        )
    if found["first"].requests[0][2] != found["second"].requests[0][2]:
        raise broken(
            site,
            found["first"].requests[0][2].hex(),
            found["second"].requests[0][2].hex(),
            found["second"].moment,
            found["second"].requests[0][2],
        )
    return "the same bytes"


@proves("ONE-CMD-009")
def another_command(site: Site) -> str:
    found = _keyed(site)["other"]
    status(site, found.answer, 400)
    if found.requests:
        raise broken(site, "nothing sent", "a command", found.moment)
    return "400"


def _crowd(site: Site) -> dict[str, Any]:
    """Six commands at once for a unit that takes its time."""

    def play() -> dict[str, Any]:
        unit = fresh_unit(site)
        unit.manner, unit.delay_s = "ok", 1.2
        answers: list[httpx2.Response] = []

        def ask() -> None:
            answers.append(site.call("POST", f"/vehicles/{unit.id}/commands/request-vehicle-state", params={"timeout": 20}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        for thread in threads:
            thread.join(40)
        return {
            "statuses": sorted(each.status_code for each in answers),
            "times": [at for at, _, _ in unit.requests],
            "delay_s": unit.delay_s,
        }

    return site.phase("six commands at once", play)


@proves("ONE-CMD-010")
def not_too_many(site: Site) -> str:
    statuses = _crowd(site)["statuses"]
    if statuses != [200, 200, 200, 200, 429, 429]:
        raise broken(site, "four times 200, twice 429", statuses)
    return str(statuses)


@proves("ONE-CMD-011")
def the_truth_later(site: Site) -> str:
    found = _silent(site)["third"]
    status(site, found.answer, 200)
    if found.requests:
        raise broken(site, "nothing sent again", "the command once more", found.moment)
    return "200"


@proves("ONE-CMD-012")
def flow_of_a_command(site: Site) -> str:
    unit, found = good_command(site)
    flow = found.answer.headers.get(FLOW_ID)
    event = site.event(unit.id, RECORDED, lambda each: each.body["metadata"]["flow_id"] == flow, seconds=5)
    if event is None:
        seen = [each.body["metadata"]["flow_id"] for each in site.events(unit.id, RECORDED)]
        raise broken(site, f"a VehicleStateRecorded with flow id {flow}", seen, found.moment)
    return str(flow)


@proves("ONE-CMD-013")
def one_at_a_time(site: Site) -> str:
    found = _crowd(site)
    gaps = [after - before for before, after in zip(found["times"], found["times"][1:], strict=False)]
    if not gaps or min(gaps) < found["delay_s"] - 0.3:
        raise broken(
            site, f"the next when the one before is answered, {found['delay_s']} s later", [round(gap, 2) for gap in gaps]
        )
    return f"{min(gaps):.1f} s apart"


# Events ------------------------------------------------------------------------------------------------------------------


def _told(site: Site) -> list[Event]:
    """Every event of the kit's own vehicles so far."""
    on_the_road(site)
    _vehicle(site)
    mine = set(site.added)
    found = [event for event in site.seen if event.vehicle_id in mine]
    if not found:
        raise broken(site, "events of the kit's vehicles", "none")
    return found


def _by_amqp(site: Site) -> list[Event]:
    if site.access.amqp_url is None:
        raise NotExecuted("the kit reads events by Server-Sent Events", "give --amqp-url")
    return _told(site)


@proves("ONE-EVT-001")
def exchange_form(site: Site) -> str:
    async def look(channel: Any) -> str:
        try:
            await channel.declare_exchange("events", type="topic", durable=True)
        except Exception as error:
            # What it has besides (an alternate exchange) is its own affair: RabbitMQ names the first argument that differs.
            return str(error) if "'type'" in str(error) or "'durable'" in str(error) or "inequivalent" not in str(error) else ""
        return ""

    if wrong := site.amqp(look):
        raise broken(site, "a durable topic exchange", wrong)
    return "topic, durable"


def _each_event(site: Site, expected: str, wrong: Any, events: list[Event] | None = None) -> str:
    found = _by_amqp(site) if events is None else events
    for event in found:
        if seen := wrong(event, event.body["metadata"]):
            raise broken(site, expected, seen, event.moment)
    return f"{len(found)} events"


@proves("ONE-EVT-002")
def routing_keys(site: Site) -> str:
    def wrong(event: Event, said: Any) -> str:
        wanted = f"{said['fleet_id']}.{said['type']}.{said['vehicle_id']}"
        return "" if event.routing_key == wanted else f"{event.routing_key}, not {wanted}"

    return _each_event(site, "{fleet_id}.{type}.{vehicle_id}", wrong)


@proves("ONE-EVT-003")
def headers(site: Site) -> str:
    def wrong(event: Event, said: Any) -> str:
        wanted = {"Flow-ID": said["flow_id"], "Message-Type": said["type"], "Message-Version": said["version"]}
        there = {name: (event.headers or {}).get(name) for name in wanted}
        return "" if there == wanted else str(there)

    return _each_event(site, "the metadata's flow id, type and version", wrong)


@proves("ONE-EVT-004")
def message_ids(site: Site) -> str:
    return _each_event(site, "metadata.id", lambda event, said: "" if event.message_id == said["id"] else str(event.message_id))


@proves("ONE-EVT-005")
def persistent(site: Site) -> str:
    def wrong(event: Event, said: Any) -> str:
        good = event.delivery_mode == 2 and (event.content_type or "").startswith("application/json")
        return "" if good else f"delivery mode {event.delivery_mode}, {event.content_type}"

    return _each_event(site, "delivery mode 2, application/json", wrong)


@proves("ONE-EVT-006")
def metadata(site: Site) -> str:
    return _each_event(
        site, ", ".join(METADATA), lambda event, said: ", ".join(name for name in METADATA if not said.get(name)), _told(site)
    )


@proves("ONE-EVT-007")
def event_ids(site: Site) -> str:
    _changed(site)
    told = _told(site)
    recorded = [event for event in told if event.type == RECORDED]
    known = {event.id for event in recorded}
    for event in recorded:
        if uuid.UUID(event.id).version != 5:
            raise broken(site, "a UUID of version 5", event.id, event.moment)
    derived = [event for event in told if event.type.endswith("Changed") and event.type != "VehicleChanged"]
    for event in derived:
        if not any(str(uuid.uuid5(uuid.UUID(parent), event.type)) == event.id for parent in known):
            raise broken(site, f"uuid5 of its report's event and {event.type}", event.id, event.moment)
    return f"{len(recorded)} reports, {len(derived)} changes"


@proves("ONE-EVT-008")
def recorded_shape(site: Site) -> str:
    def wrong(event: Event, said: Any) -> str:
        body = event.body
        if not {"vehicle_state", "changed", "late"} <= body.keys() or not isinstance(body["late"], bool):
            return str(sorted(body))
        missing = set(body["changed"]) - set(body["vehicle_state"])
        return f"changed {missing} not in the state" if missing else ""

    return _each_event(site, "vehicle_state, changed, late", wrong, [event for event in _told(site) if event.type == RECORDED])


def _changed(site: Site) -> dict[str, Any]:
    """Locked, locked again, unlocked: what was told of it."""

    def play() -> dict[str, Any]:
        since = len(site.seen)
        unit = PlayedUnit(site, site.add()).come()
        for lock in ("LOCKED", "LOCKED", "UNLOCKED"):
            unit.report(f"a state, {lock}", central_lock=lock, position=PLACE)
        event = site.event(unit.id, "CentralLockChanged", since=since)
        site.hush(0.7)
        return {"event": event, "all": site.events(unit.id, "CentralLockChanged", since=since), "unit": unit}

    return site.phase("locked, locked, unlocked", play)


@proves("ONE-EVT-009")
def changes(site: Site) -> str:
    event = _changed(site)["event"]
    if event is None:
        raise broken(site, "CentralLockChanged", "none")
    said = event.body.get("from"), event.body.get("to"), "position" in event.body
    if said != ("LOCKED", "UNLOCKED", True):
        raise broken(site, "from LOCKED to UNLOCKED, with a position", event.body, event.moment)
    return "LOCKED to UNLOCKED"


@proves("ONE-EVT-010")
def no_change(site: Site) -> str:
    found = {event.id for event in _changed(site)["all"]}
    if len(found) != 1:
        raise broken(site, "one CentralLockChanged", f"{len(found)}")
    return "one"


@proves("ONE-EVT-011")
def created(site: Site) -> str:
    found = _vehicle(site)
    event = site.event(found["added"]["id"], "VehicleCreated", since=found["since"])
    if event is None or event.body.get("vehicle", {}).get("id") != found["added"]["id"]:
        raise broken(site, "VehicleCreated with the vehicle", event.body if event else "none")
    return "VehicleCreated"


@proves("ONE-EVT-012")
def changed_vehicle(site: Site) -> str:
    event = _patched(site)["event"]
    if event is None or not set(event.body.get("reasons", [])) & {
        "MASTER_DATA_CHANGED",
        "CUSTOM_FIELDS_CHANGED",
        "OPERATION_STATUS_CHANGED",
    }:
        raise broken(site, "VehicleChanged with reasons", event.body.get("reasons") if event else "none")
    return ", ".join(event.body["reasons"])


@proves("ONE-EVT-013")
def removed(site: Site) -> str:
    if _archived(site)["removed"] is None:
        raise broken(site, "VehicleRemoved", "none")
    return "VehicleRemoved"


@proves("ONE-EVT-014")
def in_order(site: Site) -> str:
    _, _, events, moment = _fifty(site)
    values = [
        event.body["changed"]["mileage_in_kilometers"]["value"]
        for event in events
        if event.type == RECORDED and "mileage_in_kilometers" in event.body["changed"]
    ]
    firsts = list(dict.fromkeys(values))
    if firsts != sorted(firsts):
        raise broken(site, "the order of the reports", firsts, moment)
    return f"{len(firsts)} in order"


@proves("ONE-EVT-015")
def trips(site: Site) -> str:
    def play() -> dict[str, Event | None]:
        model = site.model(able="enable-driving")
        unit = PlayedUnit(site, site.add(model=model)).come()
        if "driving_enabled" not in unit.model.units["CLOUDBOXX"].state_keys:
            raise NotExecuted("the model does not say driving_enabled", "install the same teleloop on both sides")
        now = int(time.time() * 1000)
        since = len(site.seen)
        for number, enabled in enumerate((False, True, False)):
            unit.report(f"driving_enabled {enabled}", at_ms=now + 100 * number, driving_enabled=enabled, position=PLACE)
        found = {
            name: site.event(unit.id, name, since=since, seconds=6) for name in ("TripStarted", "TripEnded", "TripDiscarded")
        }
        if found["TripStarted"] is None and not any(site.events(unit.id, "TripStarted")):
            fleet = site.call("GET", f"/fleets/{unit.vehicle['fleet_id']}")
            if fleet.status_code == 200 and fleet.json().get("trip_trigger", "DRIVING_ENABLED") != "DRIVING_ENABLED":
                raise NotExecuted("the fleet's trips have another trigger", "use a fleet whose trigger is DRIVING_ENABLED")
        return found

    found = site.phase("a trip of no length", play)
    missing = [name for name, event in found.items() if event is None]
    if missing:
        raise broken(site, "TripStarted, TripEnded, TripDiscarded", f"no {', '.join(missing)}")
    return "started, ended, discarded"


@proves("ONE-EVT-016")
def times(site: Site) -> str:
    def play() -> tuple[int, Event | None, float]:
        unit = on_the_road(site)
        at_ms = int(time.time() * 1000) - 1500
        since = len(site.seen)
        unit.say(unit.frame(at_ms=at_ms, mileage_in_kilometers=54500.0), "a state")
        return at_ms, site.event(unit.id, RECORDED, since=since), time.time()

    at_ms, event, now = site.phase("occurred and recorded", play)
    if event is None:
        raise broken(site, "an event", "none")
    said = event.body["metadata"]
    occurred, recorded = _unix(said["occurred_at"]), _unix(said["recorded_at"])
    if abs(occurred - at_ms / 1000) > 0.0015:
        raise broken(site, f"occurred_at {at_ms / 1000:.3f}", said["occurred_at"], event.moment)
    if abs(recorded - site.clock_s - now) > site.access.tolerance_s + site.access.timeout_s:
        raise broken(site, "recorded_at now", said["recorded_at"], event.moment)
    return f"{said['occurred_at']}, {said['recorded_at']}"


def _unix(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@proves("ONE-EVT-017")
def heartbeats(site: Site) -> str:
    def play() -> tuple[bool, list[Event]]:
        unit = on_the_road(site)
        time.sleep(1.1)
        since = len(site.seen)
        data = unit.frame("heartbeat", facts={"uptime": 1, "supply_voltage": 12_000, "oldest_sequence": unit.sequence + 1})
        unit.say(data, "a heartbeat")
        acked = unit.acked(int.from_bytes(data[12:16], "little")) is not None
        site.hush(0.7)
        return acked, site.events(unit.id, RECORDED, since=since)

    acked, events = site.phase("a heartbeat", play)
    if events:
        raise broken(site, "no VehicleStateRecorded", events[0].id, events[0].moment)
    if not acked:
        raise broken(site, "an Ack", "none")
    return "none"


@proves("ONE-EVT-018")
def consumers(site: Site) -> str:
    def play() -> tuple[set[str], str]:
        if site.access.amqp_url is None:
            raise NotExecuted("the kit has no RabbitMQ to look at", "give --amqp-url")
        answer = site.call("POST", "/event-consumers", json={"name": TAG, "topics": ["CentralLockChanged"]})
        if answer.status_code != 201:
            raise NotExecuted(
                f"POST /event-consumers answers {answer.status_code}: {answer.text[:120]}",
                "give a client with the scope event-consumers, and the gateway RabbitMQ's management API",
            )
        said = answer.json()
        try:
            unit = fresh_unit(site)
            unit.report("unlocked", central_lock="UNLOCKED")
            site.event(unit.id, "CentralLockChanged")
            time.sleep(0.5)
            return _drained(site, said["queues"][0]["name"]), unit.id
        finally:
            site.call("DELETE", f"/event-consumers/{said['id']}")

    types, _ = site.phase("an event consumer", play)
    if types != {"CentralLockChanged"}:
        raise broken(site, "CentralLockChanged alone", sorted(types) or "nothing")
    return "CentralLockChanged"


def _drained(site: Site, name: str) -> set[str]:
    async def take(channel: Any) -> set[str]:
        queue = await channel.get_queue(name, ensure=True)
        found: set[str] = set()
        for _ in range(50):
            message = await queue.get(no_ack=True, fail=False)
            if message is None:
                break
            found.add(str(message.headers.get("Message-Type")))
        return found

    found: set[str] = site.amqp(take)
    return found


@proves("ONE-EVT-019")
def no_duplicates(site: Site) -> str:
    _, _, events, moment = _fifty(site)
    found = [event.id for event in events]
    if len(found) != len(set(found)):
        raise broken(site, "each event once", f"{len(found) - len(set(found))} again", moment)
    return f"{len(found)} events"


@proves("ONE-EVT-020")
def streams(site: Site) -> str:
    def play() -> tuple[list[str], str]:
        unit = on_the_road(site)
        lines: list[str] = []

        def listen() -> None:
            headers = {"Authorization": f"Bearer {site._token}"}
            try:
                with httpx2.stream("GET", site.access.url.rstrip("/") + "/events", headers=headers, timeout=15) as answer:
                    for line in answer.iter_lines():
                        lines.append(line)
                        if len(lines) > 400 or any("54600" in each for each in lines):
                            return
            except httpx2.HTTPError:
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        time.sleep(1.0)
        since = len(site.seen)
        unit.report("a state", mileage_in_kilometers=54600.0)
        event = site.event(unit.id, RECORDED, since=since)
        site.until(lambda: event is not None and any(event.id in each for each in lines), 6)
        return lines, event.id if event else ""

    lines, event_id = site.phase("Server-Sent Events", play)
    if not event_id or not any(event_id in line for line in lines):
        raise broken(site, f"event {event_id} in the stream", f"{len(lines)} lines without it")
    return event_id


@proves("ONE-EVT-021")
def moments(site: Site) -> str:
    def wrong(event: Event, said: Any) -> str:
        return next((str(said[name]) for name in ("occurred_at", "recorded_at") if not MOMENT.fullmatch(str(said[name]))), "")

    return _each_event(site, "RFC 3339 in UTC", wrong, _told(site))


@proves("ONE-QUAR-001")
def quarantine(site: Site) -> str:
    def play() -> list[dict[str, Any]]:
        unit = on_the_road(site)
        good = unit.frame(central_lock="LOCKED", sequence=(unit.sequence + 9500) % MODULUS)
        unit.say(good[:-1] + bytes([good[-1] ^ 3]), "a frame with a wrong CRC")
        return site.until(lambda: [each for each in site.quarantined(unit.unit) if each["reason"] == "bad_checksum"])

    found = site.phase("the quarantine", play)
    if not found or not isinstance(found[0].get("offset"), int):
        raise broken(site, "bad_checksum with an offset", found[:1] or "nothing")
    return f"bad_checksum at byte {found[0]['offset']}"


@proves("ONE-DEC-001")
def decodes(site: Site) -> str:
    unit = on_the_road(site)
    answer = site.call("POST", "/decode", json={"hex": unit.frame(sequence=1, central_lock="LOCKED").hex()})
    status(site, answer, 200)
    document = answer.json()
    document = document[0] if isinstance(document, list) else document
    if (
        not {"protocol", "kind", "ok", "fields", "checksum", "state", "error"} <= document.keys()
        or document["protocol"] != "cloudboxx"
    ):
        raise broken(site, "protocol cloudboxx, kind, ok, fields, checksum, state, error", sorted(document))
    return f"{len(document['fields'])} fields"


@proves("ONE-OPS-001")
def health(site: Site) -> str:
    status(site, site.call("GET", "/healthz", token=None), 200)
    answer = site.call("GET", "/readyz", token=None)
    status(site, answer, 200, 503)
    if not answer.json().get("dependencies"):
        raise broken(site, "dependencies by name", answer.text[:160])
    return f"{len(answer.json()['dependencies'])} dependencies"


@proves("ONE-OPS-002")
def metrics(site: Site) -> str:
    quarantine(site)
    answer = site.call("GET", "/metrics", token=None)
    status(site, answer, 200)
    if not re.search(r'refused\w*\{[^}]*reason="bad_checksum"', answer.text):
        raise broken(site, 'a counter with reason="bad_checksum"', "none")
    return "counted"
