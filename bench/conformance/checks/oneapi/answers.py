"""What the checks of the API share."""

import re

import httpx2

from bench.conformance.checks.gateways.played import broken
from bench.conformance.site import Site

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

VEHICLE_ID = re.compile(r"[A-HJ-NP-Z2-9]{5}")

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")

NOBODY = "ZZZZZ"

METADATA = ("id", "type", "version", "flow_id", "occurred_at", "recorded_at", "fleet_id", "vehicle_id")


def status(site: Site, answer: httpx2.Response, *wanted: int) -> None:
    """The answer has to have one of these statuses."""
    if answer.status_code not in wanted:
        raise broken(site, " or ".join(map(str, wanted)), f"{answer.status_code} {answer.text[:160]}")
