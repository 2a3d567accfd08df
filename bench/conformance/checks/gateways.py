"""The checks of gateways by what units say and hear: CloudBoxx, the command envelope, and the public protocols."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from bench.conformance.requirement import Broken, NotExecuted, proves
from bench.conformance.site import MODULUS, Event, PlayedUnit, Site, reseal
from protocols.autoapi_commands import property_bytes, set_message, state_message
from protocols.codec import Frame
from protocols.envelope import LIFETIME_LIMIT_S, Type
from protocols.gbt32960 import ERROR, OK
from protocols.gbt32960 import PROTOCOL as GBT32960
from protocols.gbt32960_session import login as gbt_login
from protocols.gbt32960_session import reissued, report, time_sync
from protocols.teltonika import PROTOCOL as TELTONIKA
from protocols.teltonika_session import avl, login, record

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


def _same(found: Event | None, state: Mapping[str, Any]) -> str:
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


# CloudBoxx ---------------------------------------------------------------------------------------------------------------


@dataclass
class _Heard:
    """A state that was said, its Ack, and its event, with the moments (Unix seconds) at which they came."""

    sequence: int
    data: bytes
    ack: Frame | None
    ack_at: float
    event: Event | None
    moment: int


def _state(site: Site, name: str, **how: Any) -> _Heard:
    def play() -> _Heard:
        unit = on_the_road(site)
        since = len(site.seen)
        data = unit.frame(**how)
        moment = unit.say(data, name)
        sequence = int.from_bytes(data[12:16], "little")
        ack = unit.acked(sequence)
        ack_at = unit.down[-1][0] if ack is not None else 0.0
        return _Heard(sequence, data, ack, ack_at, site.event(unit.id, RECORDED, since=since), moment)

    return site.phase(name, play)


@proves("CBX-GW-001")
def acknowledges(site: Site) -> str:
    heard = _state(site, "a state", central_lock="LOCKED", position=PLACE, mileage_in_kilometers=18210.4)
    if heard.ack is None:
        raise broken(site, f"an Ack that covers sequence {heard.sequence}", "none", heard.moment, heard.data, "cloudboxx")
    return f"Ack up to {heard.ack.facts['cumulative']}"


@proves("CBX-GW-002")
def event_before_ack(site: Site) -> str:
    """The event is looked for at the moment of the Ack: what is in a queue by then was published before."""

    def play() -> list[tuple[float, float, int]]:
        unit = on_the_road(site)
        found = []
        for number in range(5):
            since = len(site.seen)
            sequence, _ = unit.report("a state", at_ms=int(time.time() * 1000), mileage_in_kilometers=18211.0 + number)
            if unit.acked(sequence) is None:
                raise NotExecuted("a state was not acknowledged", "see CBX-GW-001")
            ack_at = next(at for at, _ in reversed(unit.down))
            event = site.event(unit.id, RECORDED, since=since)
            found.append((ack_at, event.at if event else float("inf"), len(site.log) - 1))
            time.sleep(1.1)  # an Ack a second
        return found

    found = site.phase("events and Acks", play)
    lead_s = 0.25  # between a consumer's delivery and the Ack's way through the broker
    for ack_at, event_at, moment in found:
        if event_at - ack_at > lead_s:
            raise broken(site, "the event before the Ack", f"the event {event_at - ack_at:.2f} s after it", moment)
    return f"{len(found)} times"


@proves("CBX-GW-003")
def repeats(site: Site) -> str:
    heard = _state(site, "a state that comes twice", central_lock="LOCKED", mileage_in_kilometers=18220.1)

    def play() -> tuple[bool, list[Event]]:
        unit = on_the_road(site)
        before, since = len(unit.down), len(site.seen)
        time.sleep(1.1)
        unit.say(heard.data, "the same frame again")
        again = site.until(lambda: [frame for frame in unit.frames(before) if frame.kind == "ack"])
        site.hush()
        return bool(again), site.events(unit.id, RECORDED, since=since)

    again, events = site.phase("the same frame again", play)
    if not again:
        raise broken(site, "an Ack again", "none", heard.moment, heard.data, "cloudboxx")
    other = [event for event in events if heard.event is None or event.id != heard.event.id]
    if other:
        raise broken(
            site, "no other event", f"event {other[0].id} besides {heard.event.id if heard.event else None}", other[0].moment
        )
    return "acknowledged again, no other event"


def _refused(
    site: Site, name: str, make: Any, reason: str
) -> tuple[list[Event], list[dict[str, Any]], PlayedUnit, bytes, int, Mapping[str, Any], Mapping[str, Any]]:
    """A bad frame, what came of it, and the state before and after."""

    def play() -> Any:
        unit = on_the_road(site)
        before, since = site.values(unit.id), len(site.seen)
        data = make(unit)
        moment = unit.say(data, name)
        site.until(lambda: [each for each in site.quarantined(unit.unit) if each["reason"] == reason], 4)
        site.hush(0.5)
        return site.events(unit.id, since=since), site.quarantined(unit.unit), unit, data, moment, before, site.values(unit.id)

    found: Any = site.phase(name, play)
    return tuple(found)


def _refusal(site: Site, name: str, make: Any, reason: str) -> str:
    events, entries, _unit, data, moment, before, after = _refused(site, name, make, reason)
    if events:
        raise broken(site, "no event", f"{events[0].type} {events[0].id}", moment, data, "cloudboxx")
    if before != after:
        raise broken(site, "the state as before", "another state", moment, data, "cloudboxx")
    if not any(each["reason"] == reason for each in entries):
        raise broken(
            site,
            f"refused as {reason}",
            [each["reason"] for each in entries[:3]] or "nothing in the quarantine",
            moment,
            data,
            "cloudboxx",
        )
    return reason


@proves("CBX-GW-004")
def checks_the_crc(site: Site) -> str:
    def damaged(unit: PlayedUnit) -> bytes:
        data = unit.frame(central_lock="UNLOCKED", sequence=(unit.sequence + 5000) % MODULUS)
        return data[:-1] + bytes([data[-1] ^ 0x5A])

    seen = _refusal(site, "a frame with a wrong CRC", damaged, "bad_checksum")
    _, _, unit, data, moment, _, _ = _refused(site, "a frame with a wrong CRC", damaged, "bad_checksum")
    if unit.acked(int.from_bytes(data[12:16], "little"), 0.2) is not None:
        raise broken(site, "no Ack", "an Ack", moment, data, "cloudboxx")
    return seen


@proves("CBX-GW-005")
def checks_the_seal(site: Site) -> str:
    return _refusal(
        site,
        "a frame under another seal",
        lambda unit: unit.frame(central_lock="UNLOCKED", sequence=(unit.sequence + 6000) % MODULUS, key=bytes(32)),
        "forged",
    )


@proves("CBX-GW-006")
def checks_the_identity(site: Site) -> str:
    def other(unit: PlayedUnit) -> bytes:
        return unit.frame(central_lock="UNLOCKED", sequence=(unit.sequence + 7000) % MODULUS, unit="00000000000000FF")

    return _refusal(site, "a frame of another QNR", other, "identity_mismatch")


@proves("CBX-GW-007")
def hears_behind_a_broken_one(site: Site) -> str:
    def play() -> tuple[Frame | None, Event | None, int, bytes]:
        unit = on_the_road(site)
        since = len(site.seen)
        bad = unit.frame(sequence=(unit.sequence + 8000) % MODULUS, central_lock="LOCKED")
        good = unit.frame(central_lock="LOCKED", mileage_in_kilometers=18230.5)
        payload = bad[:-1] + bytes([bad[-1] ^ 1]) + good
        moment = unit.say(payload, "a broken frame and a good one behind it")
        ack = unit.acked(int.from_bytes(good[12:16], "little"))
        return ack, site.event(unit.id, RECORDED, since=since), moment, payload

    ack, event, moment, payload = site.phase("a good frame behind a broken one", play)
    if ack is None or event is None:
        raise broken(
            site,
            "the good frame acknowledged and told",
            f"Ack {ack is not None}, event {event is not None}",
            moment,
            payload,
            "cloudboxx",
        )
    return "heard"


def _gap(site: Site) -> dict[str, Any]:
    """Frames 2 and 3 before frame 1, on a unit of its own."""

    def play() -> dict[str, Any]:
        unit = PlayedUnit(site, site.add()).come()
        base, _ = unit.report("a state", central_lock="LOCKED")
        unit.acked(base)
        first = unit.frame(mileage_in_kilometers=1.0, oldest=base + 1, central_lock="LOCKED")
        second = unit.frame(mileage_in_kilometers=2.0, oldest=base + 1, central_lock="LOCKED")
        third = unit.frame(mileage_in_kilometers=3.0, oldest=base + 1, central_lock="LOCKED")
        time.sleep(1.1)
        before = len(unit.down)
        moment = unit.say(second + third, "the second and the third frame, without the first")
        site.until(lambda: [frame for frame in unit.frames(before) if frame.kind == "ack"])
        with_gap = [frame for frame in unit.frames(before) if frame.kind == "ack"]
        time.sleep(1.1)
        unit.say(first, "the first frame")
        filled = site.until(
            lambda: [each for each in unit.frames(before) if each.kind == "ack" and each.facts["cumulative"] >= base + 3]
        )
        return {"base": base, "gap": with_gap, "filled": filled, "moment": moment, "unit": unit}

    return site.phase("frames out of order", play)


@proves("CBX-GW-008")
def acknowledges_by_bitmap(site: Site) -> str:
    found = _gap(site)
    base = found["base"]
    if not found["gap"]:
        raise broken(site, "an Ack with a bitmap", "none", found["moment"])
    facts = found["gap"][-1].facts
    if facts["cumulative"] != base or facts["bitmap"] & 0b110 != 0b110:
        raise broken(
            site,
            f"cumulative {base}, bits 1 and 2 of the bitmap",
            f"cumulative {facts['cumulative']}, bitmap {facts['bitmap']:b}",
            found["moment"],
        )
    if not found["filled"]:
        raise broken(site, f"cumulative {base + 3} once the gap is filled", "not so far", found["moment"])
    return f"bitmap {facts['bitmap']:b}, then cumulative {base + 3}"


@proves("CBX-GW-009")
def moves_on_past_what_is_forgotten(site: Site) -> str:
    def play() -> tuple[int, Frame | None, int]:
        unit: PlayedUnit = _gap(site)["unit"]
        unit.sequence += 40
        sequence = unit.sequence + 1
        time.sleep(1.1)
        moment = unit.say(unit.frame(oldest=sequence, central_lock="LOCKED"), "a state, forty before it forgotten")
        return (
            sequence,
            site.until(
                lambda: next(
                    (each for each in unit.frames() if each.kind == "ack" and each.facts["cumulative"] == sequence), None
                )
            ),
            moment,
        )

    sequence, ack, moment = site.phase("forgotten frames", play)
    if ack is None:
        raise broken(site, f"cumulative {sequence}", "held back", moment)
    return f"cumulative {sequence}"


@proves("CBX-GW-010")
def acknowledges_what_it_does_not_understand(site: Site) -> str:
    def play() -> tuple[Frame | None, list[dict[str, Any]], int, bytes]:
        unit = on_the_road(site)
        data = bytearray(unit.frame(central_lock="LOCKED"))
        data[31] |= 0x80  # bit 63 of the bitmap
        sealed = reseal(bytes(data), unit.seal_key)
        time.sleep(1.1)
        moment = unit.say(sealed, "a frame with an unknown signal bit")
        ack = unit.acked(int.from_bytes(sealed[12:16], "little"))
        return ack, site.quarantined(unit.unit), moment, sealed

    ack, entries, moment, data = site.phase("a frame that cannot be understood", play)
    if not any(each["reason"] == "unsupported" for each in entries):
        raise broken(
            site, "in the quarantine as unsupported", [each["reason"] for each in entries[:3]], moment, data, "cloudboxx"
        )
    if ack is None:
        raise broken(site, "an Ack, so that it does not block the rest", "none", moment, data, "cloudboxx")
    return "quarantined and acknowledged"


@proves("CBX-GW-011")
def tells_the_time(site: Site) -> str:
    def play() -> tuple[Frame | None, int]:
        unit = on_the_road(site)
        before = len(unit.down)
        moment = unit.say(unit.frame(flags=4, central_lock="LOCKED"), "a state with the clock unsynchronised")
        return site.until(lambda: next((each for each in unit.frames(before) if each.kind == "time"), None)), moment

    frame, moment = site.phase("a clock that is not synchronised", play)
    if frame is None:
        raise broken(site, "a time frame", "none", moment)
    off_s = frame.facts["seconds"] + frame.facts["milliseconds"] / 1000 - time.time()
    if abs(off_s) > site.access.tolerance_s + site.access.timeout_s:
        raise broken(site, "the present time", f"{off_s:+.0f} s", moment)
    return "told"


@proves("CBX-GW-012")
def right_values(site: Site) -> str:
    state = {"central_lock": "LOCKED", "position": SOUTH_WEST, "mileage_in_kilometers": 54321.6}
    heard = _state(site, "a state in the south and west", **state)
    if wrong := _same(heard.event, state):
        raise broken(site, str(state), wrong, heard.moment, heard.data, "cloudboxx")
    return "position, mileage, lock"


@proves("CBX-GW-013")
def refuses_what_gateways_say(site: Site) -> str:
    def ack(unit: PlayedUnit) -> bytes:
        return unit.frame("ack", sequence=0, facts={"cumulative": 1, "bitmap": 0})

    return _refusal(site, "an Ack on the way up", ack, "forged")


@proves("CBX-GW-014")
def capture_time(site: Site) -> str:
    def play() -> tuple[str, str, int]:
        unit = on_the_road(site)
        at_ms = int(time.time() * 1000) // 1000 * 1000 - 2000 + 123
        since = len(site.seen)
        moment = unit.say(unit.frame(at_ms=at_ms, mileage_in_kilometers=54400.0), "a state of two seconds ago")
        event = site.event(unit.id, RECORDED, since=since)
        wanted = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = event.body["vehicle_state"].get("mileage_in_kilometers", {}).get("timestamp", "none") if event else "no event"
        return wanted, said, moment

    wanted, said, moment = site.phase("a capture time with milliseconds", play)
    if said != wanted:
        raise broken(site, wanted, said, moment)
    return said


# Commands ----------------------------------------------------------------------------------------------------------------


@dataclass
class Commanded:
    """A command, what the API answered, and what the unit got."""

    answer: httpx2.Response
    requests: list[tuple[float, Any, bytes]]
    began: float
    took_s: float
    moment: int


def command(
    site: Site, unit: PlayedUnit, name: str, *, timeout: float = 10, manner: str | None = None, **headers: str
) -> Commanded:
    """Send a command by the API; the unit obeys in its manner."""
    if manner is not None:
        unit.manner = manner
    before, began = len(unit.requests), time.time()
    said = {each.replace("_", "-"): value for each, value in headers.items()}
    answer = site.call("POST", f"/vehicles/{unit.id}/commands/{name}", params={"timeout": timeout}, headers=said)
    return Commanded(answer, unit.requests[before:], began, time.time() - began, len(site.log) - 1)


def fresh_unit(site: Site) -> PlayedUnit:
    """Another CloudBoxx of the kit's own, online and heard."""
    unit = PlayedUnit(site, site.add()).come()
    sequence, _ = unit.report("its first state", central_lock="LOCKED")
    unit.acked(sequence)
    return unit


def good_command(site: Site) -> tuple[PlayedUnit, Commanded]:
    """An unlock that is done."""

    def play() -> tuple[PlayedUnit, Commanded]:
        unit = fresh_unit(site)
        return unit, command(site, unit, "unlock-central-lock", manner="ok", timeout=20)

    return site.phase("a command", play)


@proves("VTC-GW-001")
def seals_commands(site: Site) -> str:
    unit, done = good_command(site)
    if not done.requests:
        raise broken(site, "an authentic request for this unit", f"none; the API answered {done.answer.status_code}", done.moment)
    _, request, raw = done.requests[0]
    generation = unit.vehicle["credentials"]["generation"]
    if (request.type, request.command, request.key_id) != (Type.REQUEST, 0x0101, generation):
        raise broken(site, f"a request 0101 under key {generation}", request, done.moment, raw)
    return f"counter {request.counter}"


@proves("VTC-GW-002")
def expires_with_its_caller(site: Site) -> str:
    _, done = good_command(site)
    if not done.requests:
        raise NotExecuted("no request reached the unit", "see VTC-GW-001")
    at, request, raw = done.requests[0]
    left_s = request.expires - (at + site.clock_s)
    most_s = 20 + 1 + site.access.tolerance_s
    if not -site.access.tolerance_s < left_s <= min(most_s, LIFETIME_LIMIT_S):
        raise broken(site, f"an expiry within {most_s:g} s", f"{left_s:.1f} s", done.moment, raw)
    return f"{left_s:.1f} s"


@proves("VTC-GW-003")
def counts_up(site: Site) -> str:
    def play() -> list[int]:
        unit, _ = good_command(site)
        for _ in range(3):
            command(site, unit, "request-vehicle-state", manner="ok")
        return [request.counter for _, request, _ in unit.requests]

    counters = site.phase("four commands", play)
    if len(counters) < 4 or counters != sorted(set(counters)):
        raise broken(site, "counters that strictly increase", counters)
    return str(counters)


@proves("VTC-GW-004")
def checks_results(site: Site) -> str:
    done = site.phase("a forged result", lambda: command(site, fresh_unit(site), "lock-central-lock", manner="forge", timeout=2))
    if done.answer.status_code != 504:
        raise broken(site, "504", f"{done.answer.status_code} {done.answer.text[:120]}", done.moment)
    return "504"


@proves("VTC-GW-005")
def follows_the_counter(site: Site) -> str:
    done = site.phase(
        "a unit whose counter is ahead", lambda: command(site, fresh_unit(site), "lock-central-lock", manner="replay")
    )
    if len(done.requests) < 2 or done.requests[1][1].counter <= done.requests[0][1].counter + 1_000_000_000:
        raise broken(
            site, "one more request, with a counter above the unit's", [each[1].counter for each in done.requests], done.moment
        )
    if done.answer.status_code != 200:
        raise broken(site, "200", done.answer.status_code, done.moment)
    return "asked again"


@proves("VTC-GW-006")
def brings_the_nonce(site: Site) -> str:
    done = site.phase("a unit without a clock", lambda: command(site, fresh_unit(site), "lock-central-lock", manner="clock"))
    if len(done.requests) < 2 or done.requests[1][1].parameters[:8] != b"noncenon":
        raise broken(
            site, "one more request, with the nonce first", [each[1].parameters.hex() for each in done.requests], done.moment
        )
    return "brought"


@proves("VTC-GW-007")
def refuses_reflections(site: Site) -> str:
    done = site.phase(
        "a reflected request", lambda: command(site, fresh_unit(site), "lock-central-lock", manner="reflect", timeout=2)
    )
    if done.answer.status_code != 504:
        raise broken(site, "504", f"{done.answer.status_code} {done.answer.text[:120]}", done.moment)
    return "504"


# Teltonika ---------------------------------------------------------------------------------------------------------------


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


def _tel_login(site: Site) -> Exchange:
    return exchange(
        site,
        "a Teltonika login",
        "TELTONIKA",
        lambda unit: TELTONIKA.encode(login(unit.unit.telematics_unit_id)),
        wait_event=False,
    )


NOW_MS = int(time.time()) * 1000


def _tel_records(site: Site) -> Exchange:
    def two(unit: PlayedUnit) -> bytes:
        said = {"latitude": -338688000, "longitude": -706693000, "satellites": 9, "angle": 10, "speed": 0, "io_239": 0}
        return TELTONIKA.encode(
            avl(0x8E, [record(0x8E, NOW_MS - 5000, said), record(0x8E, NOW_MS - 4000, said | {"altitude": 12})])
        )

    _tel_login(site)
    found = exchange(site, "two Teltonika records", "TELTONIKA", two)
    site.until(lambda: len(site.events(found.unit.id, RECORDED)) >= 2, 5)
    return found


@proves("TEL-GW-001")
def accepts_logins(site: Site) -> str:
    found = _tel_login(site)
    if b"\x01" not in found.answers:
        raise broken(site, "01", [each.hex() for each in found.answers] or "nothing", found.moment, found.data, "teltonika")
    return "01"


@proves("TEL-GW-002")
def counts_records(site: Site) -> str:
    found = _tel_records(site)
    if (2).to_bytes(4, "big") not in found.answers:
        raise broken(site, "00000002", [each.hex() for each in found.answers] or "nothing", found.moment, found.data, "teltonika")
    return "00000002"


@proves("TEL-GW-003")
def checks_tel_crc(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = TELTONIKA.encode(avl(0x08, [record(0x08, NOW_MS - 3000, {"satellites": 9, "io_239": 1})]))
        return data[:-1] + bytes([data[-1] ^ 1])

    _tel_login(site)
    return _nothing_came(
        site, exchange(site, "a Teltonika packet with a wrong CRC", "TELTONIKA", bad, wait_event=False, answers=0), "teltonika"
    )


def _nothing_came(site: Site, found: Exchange, protocol: str) -> str:
    if found.events:
        raise broken(site, "no event", found.events[0].id, found.moment, found.data, protocol)
    if found.answers:
        raise broken(site, "no answer", [each.hex() for each in found.answers], found.moment, found.data, protocol)
    return "nothing came"


@proves("TEL-GW-004")
def an_event_a_record(site: Site) -> str:
    found = _tel_records(site)
    times = [event.body["metadata"]["occurred_at"] for event in site.events(found.unit.id, RECORDED)][:2]
    wanted = [
        datetime.fromtimestamp((NOW_MS - off) / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for off in (5000, 4000)
    ]
    if times != wanted:
        raise broken(site, str(wanted), times, found.moment, found.data, "teltonika")
    return str(times)


def _again(site: Site, name: str, brand: str, data: bytes, *, answered: bool = True) -> Exchange:
    return exchange(site, name, brand, lambda unit: data, wait_event=False, answers=int(answered))


@proves("TEL-GW-005")
def tel_again(site: Site) -> str:
    first = _tel_records(site)
    again = _again(site, "the same Teltonika packet again", "TELTONIKA", first.data)
    if (2).to_bytes(4, "big") not in again.answers:
        raise broken(
            site, "00000002 again", [each.hex() for each in again.answers] or "nothing", again.moment, again.data, "teltonika"
        )
    return _no_other(site, again, "teltonika")


def _no_other(site: Site, again: Exchange, protocol: str) -> str:
    known = {event.id for event in site.events(again.unit.id, RECORDED) if event not in again.events}
    other = [event for event in again.events if event.id not in known]
    if other:
        raise broken(site, "no other event", other[0].id, again.moment, again.data, protocol)
    return "no other event"


@proves("TEL-GW-006")
def south_and_west(site: Site) -> str:
    found = _tel_records(site)
    event = next(iter(site.events(found.unit.id, RECORDED)), None)
    if wrong := _same(event, {"position": SOUTH_WEST}):
        raise broken(site, str(SOUTH_WEST), wrong, found.moment, found.data, "teltonika")
    return "south and west"


@proves("TEL-GW-007")
def checks_imei(site: Site) -> str:
    _tel_login(site)
    found = exchange(
        site,
        "a login with another IMEI",
        "TELTONIKA",
        lambda unit: TELTONIKA.encode(login("356307042441013")),
        wait_event=False,
        answers=0,
    )
    reasons = [each["reason"] for each in site.quarantined(found.unit.unit)]
    if "identity_mismatch" not in reasons:
        raise broken(site, "identity_mismatch", reasons or "nothing in the quarantine", found.moment, found.data, "teltonika")
    return "identity_mismatch"


# GB/T 32960 --------------------------------------------------------------------------------------------------------------


def _gbt_login(site: Site) -> Exchange:
    def make(unit: PlayedUnit) -> bytes:
        return GBT32960.encode(gbt_login(unit.unit.telematics_unit_id, NOW_MS - 9000, 1, "89860012345678901234"))

    return exchange(site, "a GB/T 32960 login", "GBT32960", make, wait_event=False)


GBT_SIGNALS = {"vehicle_state": 2, "charge_state": 3, "run_mode": 1, "speed": 0, "odometer": 182_043, "soc": 81, "gear": 15}
GBT_SIGNALS |= {"longitude": 118_775_819, "latitude": 31_982_632}


def _gbt_report(site: Site) -> Exchange:
    _gbt_login(site)
    return exchange(
        site,
        "a GB/T 32960 report",
        "GBT32960",
        lambda unit: GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 8000, GBT_SIGNALS)),
    )


def _flags(found: Exchange) -> list[tuple[int, int, bytes]]:
    return [(each[2], each[3], each[24:30]) for each in found.answers if each[:2] == b"##"]


def _gbt_answered(site: Site, found: Exchange, flag: int) -> str:
    wanted = (found.data[2], flag, found.data[24:30])
    if wanted not in _flags(found):
        raise broken(
            site,
            f"command {wanted[0]:02x}, flag {flag:02x}, time {wanted[2].hex()}",
            [each.hex() for each in found.answers] or "nothing",
            found.moment,
            found.data,
            "gbt32960",
        )
    return f"{flag:02x}"


@proves("GBT-GW-001")
def gbt_login_answered(site: Site) -> str:
    return _gbt_answered(site, _gbt_login(site), OK)


@proves("GBT-GW-002")
def gbt_report_answered(site: Site) -> str:
    found = _gbt_report(site)
    if not site.models.brands["GBT32960"].answers:
        raise NotExecuted("the brand's valid reports are not answered (annex B.2.1)", "set `answers` in the brand file")
    return _gbt_answered(site, found, OK)


@proves("GBT-GW-003")
def beijing_time(site: Site) -> str:
    found = _gbt_report(site)
    wanted = datetime.fromtimestamp((NOW_MS - 8000) / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if not found.events:
        raise broken(site, "an event", "none", found.moment, found.data, "gbt32960")
    said = found.events[0].body["metadata"]["occurred_at"]
    if said != wanted:
        raise broken(site, wanted, said, found.moment, found.data, "gbt32960")
    return str(said)


@proves("GBT-GW-004")
def checks_bcc(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 7000, GBT_SIGNALS))
        return data[:-1] + bytes([data[-1] ^ 1])

    _gbt_login(site)
    return _nothing_came(
        site, exchange(site, "a report with a wrong check character", "GBT32960", bad, wait_event=False, answers=0), "gbt32960"
    )


@proves("GBT-GW-005")
def refuses_unknown_types(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 6000, GBT_SIGNALS))
        spoiled = bytearray(data[:-1])
        spoiled[30] = 0x0A
        total = 0
        for byte in spoiled[2:]:
            total ^= byte
        return bytes(spoiled) + bytes([total])

    _gbt_login(site)
    found = exchange(site, "a report with an unknown type", "GBT32960", bad, wait_event=False)
    if found.events:
        raise broken(site, "no event", found.events[0].id, found.moment, found.data, "gbt32960")
    return _gbt_answered(site, found, ERROR)


@proves("GBT-GW-006")
def invalid_is_no_value(site: Site) -> str:
    _gbt_login(site)
    signals = {**GBT_SIGNALS, "soc": 0xFF, "odometer": 0xFFFFFFFE}
    found = exchange(
        site,
        "a report with invalid values",
        "GBT32960",
        lambda unit: GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 5000, signals)),
    )
    if not found.events:
        raise broken(site, "an event", "none", found.moment, found.data, "gbt32960")
    changed = found.events[0].body["changed"]
    for key in ("state_of_charge_or_fuel_level_in_percent", "mileage_in_kilometers"):
        if key in changed:
            raise broken(site, f"no {key}", changed[key], found.moment, found.data, "gbt32960")
    return "left out"


@proves("GBT-GW-007")
def reissue_is_no_other(site: Site) -> str:
    first = _gbt_report(site)
    frame = GBT32960.decode(first.data)
    again = _again(site, "the report again, as reissue", "GBT32960", GBT32960.encode(reissued(frame)))
    return _no_other(site, again, "gbt32960")


@proves("GBT-GW-008")
def gbt_time(site: Site) -> str:
    _gbt_login(site)
    found = exchange(
        site,
        "a time synchronisation",
        "GBT32960",
        lambda unit: GBT32960.encode(time_sync(unit.unit.telematics_unit_id)),
        wait_event=False,
    )
    said = [GBT32960.decode(each) for each in found.answers if each[:2] == b"##" and each[2] == 8]
    if not said or said[0].captured_at is None:
        raise broken(
            site,
            "an answer with the time",
            [each.hex() for each in found.answers] or "nothing",
            found.moment,
            found.data,
            "gbt32960",
        )
    off_s = said[0].captured_at / 1000 - time.time()
    if abs(off_s) > site.access.timeout_s + site.access.tolerance_s + 60:
        raise broken(site, "the present time, as Beijing time", f"{off_s:+.0f} s", found.moment, found.answers[0], "gbt32960")
    return "told"


# AutoAPI -----------------------------------------------------------------------------------------------------------------

AAP_SIGNALS = {"vehicle_location.coordinates.latitude": -33.8688, "vehicle_location.coordinates.longitude": -70.6693}


def _aap_state(site: Site) -> Exchange:
    return exchange(
        site,
        "an AutoAPI state",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, unit.unit.telematics_unit_id, NOW_MS - 9000),
    )


@proves("AAP-GW-001")
def aap_event(site: Site) -> str:
    found = _aap_state(site)
    if wrong := _same(found.events[0] if found.events else None, {"position": SOUTH_WEST}):
        raise broken(site, str(SOUTH_WEST), wrong, found.moment, found.data, "autoapi")
    return "position"


def _odometer(metres: float, unit: PlayedUnit, at_ms: int) -> bytes:
    """The odometer as a length in metres (unit 0), whatever the declaration's own unit is."""
    import struct

    value = bytes([0x12, 0x00]) + struct.pack(">d", metres)
    universal = [property_bytes(0xA2, at_ms.to_bytes(8, "big")), property_bytes(0xA3, unit.unit.telematics_unit_id.encode())]
    return set_message(0x0033, [property_bytes(0x1F, value), *universal])


@proves("AAP-GW-002")
def aap_units(site: Site) -> str:
    found = exchange(site, "an odometer in metres", "MERCEDES_BENZ", lambda unit: _odometer(54_321_600.0, unit, NOW_MS - 8000))
    if "mileage_in_kilometers" not in {key for event in found.events for key in event.body["changed"]}:
        raise NotExecuted(
            "the vehicle's model has no mileage by the odometer", "use a model whose rules read diagnostics.odometer"
        )
    if wrong := _same(found.events[0], {"mileage_in_kilometers": 54321.6}):
        raise broken(site, "54321.6 km", wrong, found.moment, found.data, "autoapi")
    return "54321.6 km"


@proves("AAP-GW-003")
def aap_vin(site: Site) -> str:
    _aap_state(site)
    found = exchange(
        site,
        "a state of another VIN",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, "W1N2437011J000001", NOW_MS - 7000),
        wait_event=False,
        answers=0,
    )
    reasons = [each["reason"] for each in site.quarantined(found.unit.unit)]
    if "identity_mismatch" not in reasons or found.events:
        raise broken(
            site, "identity_mismatch, no event", f"{reasons}, {len(found.events)} events", found.moment, found.data, "autoapi"
        )
    return "identity_mismatch"


@proves("AAP-GW-004")
def aap_cut_off(site: Site) -> str:
    _aap_state(site)
    found = exchange(
        site,
        "a state that is cut off",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, unit.unit.telematics_unit_id, NOW_MS - 6000)[:-5],
        wait_event=False,
        answers=0,
    )
    return _nothing_came(site, found, "autoapi")


@proves("AAP-GW-005")
def aap_failure(site: Site) -> str:
    _aap_state(site)

    def failed(unit: PlayedUnit) -> bytes:
        failure = bytes([0x00]) + (9).to_bytes(2, "big") + b"try later"
        universal = [
            property_bytes(0xA2, (NOW_MS - 5000).to_bytes(8, "big")),
            property_bytes(0xA3, unit.unit.telematics_unit_id.encode()),
        ]
        return set_message(0x0030, [{"id": 0x04, "components": [{"id": 3, "data": failure}]}, *universal])

    found = exchange(site, "a property that failed", "MERCEDES_BENZ", failed, wait_event=False, answers=0)
    if wrong := _same(next(iter(reversed(site.events(found.unit.id, RECORDED))), None), {"position": SOUTH_WEST}):
        raise broken(site, "the position as before", wrong, found.moment, found.data, "autoapi")
    return "as before"


@proves("AAP-GW-006")
def aap_again(site: Site) -> str:
    first = _aap_state(site)
    return _no_other(site, _again(site, "the same AutoAPI state again", "MERCEDES_BENZ", first.data, answered=False), "autoapi")


__all__ = ["threading"]
