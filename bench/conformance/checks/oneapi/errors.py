"""Errors, over whatever the whole run was answered."""

import httpx2

from bench.conformance.checks.gateways.played import broken
from bench.conformance.checks.oneapi.answers import NOBODY, status
from bench.conformance.requirement import proves
from bench.conformance.site import FLOW_ID, PROBLEM, Site


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
