"""Vehicle states."""

import time
from typing import Any

from bench.conformance.checks.gateways.commands import fresh_unit
from bench.conformance.checks.gateways.played import RECORDED, broken, on_the_road
from bench.conformance.checks.oneapi.answers import MOMENT
from bench.conformance.requirement import proves
from bench.conformance.site import Site


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
