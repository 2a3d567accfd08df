"""The reference pages say what the code says."""

import json
import re
from pathlib import Path

import pytest

from gateway.api.commands import DETAILS
from gateway.event_types import EVENT_TYPES
from gateway.examples import event_examples, value_of
from gateway.pages import CHANGE_REASONS, DOCS, REASONS, TOLD, pages
from gateway.registry import edits, registry
from modeldb.vocabulary import COMMANDS, PROPERTIES


@pytest.mark.parametrize("name", ["state-values.md", "commands.md", "events.md"])
def test_a_page_is_as_the_code_makes_it(name: str):
    assert (DOCS / name).read_text() == pages()[name], "run `python -m gateway.pages`"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", page, re.DOTALL)


def test_every_property_has_a_row_and_an_example_that_it_allows():
    page = pages()["state-values.md"]
    (example,) = map(json.loads, blocks(page, "json"))
    assert example.keys() == PROPERTIES.keys()
    for key, known in PROPERTIES.items():
        assert f"| `{key}` | {known.kind} |" in page
        assert known.allows(example[key]["value"])
        assert known.allows(value_of(known))


def test_every_command_has_an_example_and_every_reason_a_status():
    page = pages()["commands.md"]
    examples = blocks(page, "sh")
    assert [re.search(r"/commands/([\w-]+)", example)[1] for example in examples] == list(COMMANDS)
    assert set(DETAILS) <= {reason for reasons in REASONS.values() for reason in reasons}


def test_every_event_is_shown_as_it_is_sent():
    page = pages()["events.md"]
    documents = [json.loads(example) for example in blocks(page, "json")]
    assert sorted(document["metadata"]["type"] for document in documents) == sorted(EVENT_TYPES)
    for document in documents:
        event = event_examples()[document["metadata"]["type"]]
        assert document == json.loads(event.json())
    assert {event_type for event_type in EVENT_TYPES if event_type in TOLD} == TOLD.keys()


def test_the_examples_of_changes_show_a_change():
    for known in PROPERTIES.values():
        if known.event:
            body = event_examples()[known.event].body
            assert known.allows(body["from"])
            assert known.allows(body["to"])
            assert body["from"] != body["to"]
            assert body["position"] is not None


def test_every_reason_of_a_change_is_explained():
    code = "".join(Path(module.__file__).read_text() for module in (edits, registry))
    said = set(re.findall(r'"([A-Z_]+_CHANGED)"', code))
    assert said == CHANGE_REASONS.keys()
