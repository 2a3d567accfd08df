"""What a gateway does with CloudBoxx frames."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.conformance.checks.gateways.played import PLACE, RECORDED, SOUTH_WEST, broken, on_the_road, same
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import MODULUS, Event, PlayedUnit, Site, reseal
from protocols.codec import Frame


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
    if wrong := same(heard.event, state):
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
