"""Commands by REST."""

import threading
import time
import uuid
from typing import Any

import httpx2

from bench.conformance.checks.gateways.commands import Commanded, command, fresh_unit, good_command
from bench.conformance.checks.gateways.played import RECORDED, broken, on_the_road
from bench.conformance.checks.oneapi.answers import NOBODY, status
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import FLOW_ID, PlayedUnit, Site


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
