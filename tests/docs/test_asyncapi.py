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
