"""Events, as consumers see them."""

import re
import threading
import time
import uuid
from typing import Any

import httpx2

from bench.conformance.checks.gateways.commands import fresh_unit
from bench.conformance.checks.gateways.played import PLACE, RECORDED, broken, on_the_road
from bench.conformance.checks.oneapi.answers import METADATA, MOMENT, status
from bench.conformance.checks.oneapi.logins import fifty_reports
from bench.conformance.checks.oneapi.vehicles import added_vehicle, archived_vehicle, patched_vehicle
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import MODULUS, TAG, Event, PlayedUnit, Site


def _told(site: Site) -> list[Event]:
    """Every event of the kit's own vehicles so far."""
    on_the_road(site)
    added_vehicle(site)
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
    found = added_vehicle(site)
    event = site.event(found["added"]["id"], "VehicleCreated", since=found["since"])
    if event is None or event.body.get("vehicle", {}).get("id") != found["added"]["id"]:
        raise broken(site, "VehicleCreated with the vehicle", event.body if event else "none")
    return "VehicleCreated"


@proves("ONE-EVT-012")
def changed_vehicle(site: Site) -> str:
    event = patched_vehicle(site)["event"]
    if event is None or not set(event.body.get("reasons", [])) & {
        "MASTER_DATA_CHANGED",
        "CUSTOM_FIELDS_CHANGED",
        "OPERATION_STATUS_CHANGED",
    }:
        raise broken(site, "VehicleChanged with reasons", event.body.get("reasons") if event else "none")
    return ", ".join(event.body["reasons"])


@proves("ONE-EVT-013")
def removed(site: Site) -> str:
    if archived_vehicle(site)["removed"] is None:
        raise broken(site, "VehicleRemoved", "none")
    return "VehicleRemoved"


@proves("ONE-EVT-014")
def in_order(site: Site) -> str:
    _, _, events, moment = fifty_reports(site)
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
    _, _, events, moment = fifty_reports(site)
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
