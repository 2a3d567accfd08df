"""Units' logins at the broker."""

import time
from typing import Any

from bench.conformance.checks.gateways.commands import command, fresh_unit
from bench.conformance.checks.gateways.played import RECORDED, broken, on_the_road
from bench.conformance.checks.oneapi.vehicles import added_vehicle, archived_vehicle
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import MODULUS, Event, PlayedUnit, Site
from bench.conformance.wire.line import WireError


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
    unit = PlayedUnit(site, added_vehicle(site)["added"])
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
    return _kept_out(site, archived_vehicle(site)["code"])


FIFTY = 50


def fifty_reports(site: Site) -> tuple[PlayedUnit, list[int], list[Event], int]:
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
    _, _, events, moment = fifty_reports(site)
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
