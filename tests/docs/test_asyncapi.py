"""The AsyncAPI document is of this code, whole in itself, and true of the events that the code makes."""

import re
from typing import Any

import jsonschema_rs
import pytest

from gateway.asyncapi import FILE, asyncapi, document
from gateway.event_types import EVENT_TYPES
from gateway.examples import event_examples


def test_the_file_is_of_this_code():
    assert FILE.read_text(encoding="utf-8") == asyncapi(), "run: python -m gateway.asyncapi"


def test_every_reference_leads_somewhere():
    whole = document()
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', asyncapi())):
        found: Any = whole
        for part in reference.split("/"):
            found = found[part]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_is_as_its_message_says(event_type: str):
    whole = document()
    message = whole["components"]["messages"][event_type]
    event = event_examples()[event_type]
    components = {"components": whole["components"]}
    payload = jsonschema_rs.Draft202012Validator(message["payload"] | components, validate_formats=True)
    payload.validate(event.document())
    jsonschema_rs.Draft202012Validator(message["headers"] | components).validate(event.headers)
    other = event.document()
    other["metadata"] = other["metadata"] | {"type": "Another"}
    assert not payload.is_valid(other)


@pytest.mark.parametrize(
    ("event_type", "wrong"),
    [
        ("VehicleChanged", {"reasons": ["BECAUSE"]}),
        ("VehicleChanged", {"reasons": []}),
        ("VehicleCreated", {"vehicle": {"id": "K7QWE"}}),
        ("TripStarted", {"trip": {"id": "1"}}),
        ("TripEnded", {"trip": event_examples()["TripStarted"].body["trip"]}),
        ("TripMetricsReady", {"metrics": {}}),
        ("CentralLockChanged", {"to": "AJAR"}),
        ("VehicleStateRecorded", {"vehicle_state": {"mood": {"timestamp": "2026-01-30T13:22:05Z", "value": "GOOD"}}}),
    ],
)
def test_an_event_that_is_not_so_is_refused(event_type: str, wrong: dict[str, Any]):
    whole = document()
    payload = whole["components"]["messages"][event_type]["payload"] | {"components": whole["components"]}
    validator = jsonschema_rs.Draft202012Validator(payload, validate_formats=True)
    assert validator.is_valid(event_examples()[event_type].document())
    assert not validator.is_valid(event_examples()[event_type].document() | wrong)
