"""How a gateway seals and follows commands."""

import time
from dataclasses import dataclass
from typing import Any

import httpx2

from bench.conformance.checks.gateways.played import broken
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import PlayedUnit, Site
from protocols.envelope import LIFETIME_LIMIT_S, Type


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
