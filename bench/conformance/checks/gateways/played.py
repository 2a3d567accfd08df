"""What the checks of gateways share: units that the kit plays, and what comes of what they say."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.conformance.requirement import Broken
from bench.conformance.site import Event, PlayedUnit, Site

RECORDED = "VehicleStateRecorded"

PLACE = {"lat": 50.7374, "lon": 7.0982}

SOUTH_WEST = {"lat": -33.8688, "lon": -70.6693}


def broken(site: Site, expected: str, seen: object, moment: int | None = None, data: bytes = b"", protocol: str = "") -> Broken:
    """The requirement does not hold."""
    return Broken(expected, str(seen), data, protocol=protocol, moment=len(site.log) - 1 if moment is None else moment)


def on_the_road(site: Site) -> PlayedUnit:
    """A CloudBoxx of the kit's own, online, that has said one state which was acknowledged."""

    def play() -> PlayedUnit:
        unit = PlayedUnit(site, site.add()).come()
        sequence, _ = unit.report("its first state", central_lock="LOCKED", position=PLACE, mileage_in_kilometers=18204.3)
        unit.acked(sequence)
        site.event(unit.id, RECORDED)
        return unit

    return site.phase("a CloudBoxx on the road", play)


def same(found: Event | None, state: Mapping[str, Any]) -> str:
    """What of a state an event does not say."""
    shown = {key: said["value"] for key, said in found.body["vehicle_state"].items()} if found else {}
    for key, value in state.items():
        there = shown.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            if any(abs(there[axis] - value[axis]) > 1e-5 for axis in value):
                return f"{key} {there}, not {value}"
        elif isinstance(value, float) and isinstance(there, int | float):
            if abs(there - value) > 0.11:
                return f"{key} {there}, not {value}"
        elif there != value:
            return f"{key} {there!r}, not {value!r}"
    return ""


@dataclass
class Exchange:
    """What a unit of a public protocol said, and what came of it."""

    unit: PlayedUnit
    data: bytes
    answers: list[bytes]
    events: list[Event]
    moment: int


def exchange(site: Site, name: str, brand: str, make: Any, *, wait_event: bool = True, answers: int = 1) -> Exchange:
    """A unit of a brand says what `make(unit)` gives; one unit a brand."""

    def road() -> PlayedUnit:
        return PlayedUnit(site, site.add(brand)).come()

    def play() -> Exchange:
        unit = site.phase(f"a unit of {brand}", road)
        since = len(site.seen)
        data = make(unit)
        moment = unit.say(data, name)
        found = unit.answers(4 if answers else site.access.silence_s, max(1, answers))
        if wait_event:
            site.event(unit.id, RECORDED, since=since)
        else:
            site.hush()
        return Exchange(unit, data, found, site.events(unit.id, RECORDED, since=since), moment)

    return site.phase(name, play)


NOW_MS = int(time.time()) * 1000


def nothing_came(site: Site, found: Exchange, protocol: str) -> str:
    if found.events:
        raise broken(site, "no event", found.events[0].id, found.moment, found.data, protocol)
    if found.answers:
        raise broken(site, "no answer", [each.hex() for each in found.answers], found.moment, found.data, protocol)
    return "nothing came"


def said_again(site: Site, name: str, brand: str, data: bytes, *, answered: bool = True) -> Exchange:
    return exchange(site, name, brand, lambda unit: data, wait_event=False, answers=int(answered))


def no_other(site: Site, again: Exchange, protocol: str) -> str:
    known = {event.id for event in site.events(again.unit.id, RECORDED) if event not in again.events}
    other = [event for event in again.events if event.id not in known]
    if other:
        raise broken(site, "no other event", other[0].id, again.moment, again.data, protocol)
    return "no other event"
