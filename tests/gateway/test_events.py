"""Events say in JSON what they are, however their bodies came to be."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.events import Event, Written, timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
words = st.text(max_size=20)
moments = st.integers(0, 4_102_444_800_000)
bodies = st.dictionaries(words, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words, min_size=1)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_moment_is_shown_as_rfc_3339_says(at_ms: int) -> None:
    shown = timestamp(at_ms)
    assert shown.endswith("Z")
    assert datetime.fromisoformat(shown) == EPOCH + timedelta(milliseconds=at_ms)
    assert len(shown) == (24 if at_ms % 1000 else 20)


@given(st.uuids(), st.none() | words, words, words, words, moments, moments, bodies)
def test_a_body_that_is_written_already_makes_the_same_message(
    event_id: uuid.UUID, flow: str | None, kind: str, fleet: str, vehicle: str, occurred: int, recorded: int, body: dict[str, Any]
) -> None:
    text = json.dumps(body).encode()
    given_as = (body, Written(text[1:]), Written(text[1:9], text[9:]))
    flow_id = str(event_id) if flow is None else flow
    as_dict, *as_written = (Event(str(event_id), kind, flow_id, occurred, recorded, fleet, vehicle, each) for each in given_as)
    assert json.loads(as_dict.json()) == as_dict.document()
    for each in as_written:
        assert json.loads(each.json()) == as_dict.document()
        assert b"".join(each.pieces()) == each.json()
        assert list(json.loads(each.json())["metadata"]) == list(as_dict.document()["metadata"])
