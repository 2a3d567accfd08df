"""Every property whose values are words has its `...Changed`: told once, in order, and never for what is late or repeated."""

import random
import uuid
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.changes import Occasion, changed, merged
from gateway.event_types import CHANGED, EVENT_TYPES, STATE_RECORDED
from gateway.events import derived_id, recorded_id
from gateway.memory import Memory, Recorded
from lab.units import DATABASE, NOW, UNIT, VEHICLE, hear
from modeldb.vocabulary import NAMED_KINDS, PROPERTIES
from protocols import load
from protocols.codec import Frame, Report
from protocols.keys import brand_key, unit_keys

NAMED = [known for known in PROPERTIES.values() if known.kind in NAMED_KINDS]
PARENT = recorded_id(VEHICLE.vehicle_id, b"report")
OCCASION = Occasion(PARENT, "flow", NOW, NOW + 5, VEHICLE.fleet_id, VEHICLE.vehicle_id)
HERE = {"lat": 53.5511, "lon": 9.9937}

MODEL = max(DATABASE.available("CLOUDBOXX"), key=lambda model: len(model.units["CLOUDBOXX"].state_keys))
SAYABLE = [known for known in NAMED if known.key in MODEL.units["CLOUDBOXX"].state_keys]


def a_value(known):
    """Any value of a property."""
    match known.kind:
        case "enum" | "lamp" | "bool":
            return st.sampled_from(known.values)
        case "position":
            return st.fixed_dictionaries({"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)})
        case "date":
            return st.dates().map(str)
        case "integer":
            return st.integers(int(known.low), int(known.high))
        case _:
            return st.floats(known.low, known.high)


reports = st.fixed_dictionaries({}, optional={key: a_value(known) for key, known in PROPERTIES.items()})


@settings(deadline=None)
@given(first=reports, second=reports)
def test_every_named_property_that_turned_is_told_and_nothing_else(first, second):
    before = merged({}, first, NOW, 1)
    after = merged(before, second, NOW, 2)
    told = {event.type: event for event in changed(before, after, OCCASION)}
    turned = {key: (first[key], second[key]) for key in first.keys() & second.keys() if first[key] != second[key]}
    assert told.keys() == {PROPERTIES[key].event for key in turned} - {None}
    for key, (was, now) in turned.items():
        event = told.get(PROPERTIES[key].event)
        if event is not None:
            assert (event.body["from"], event.body["to"]) == (was, now)
            assert event.body["position"] == second.get("position", first.get("position"))
            assert event.id == str(derived_id(PARENT, event.type))
            assert (event.flow_id, event.occurred_at, event.recorded_at) == ("flow", NOW, NOW + 5)


@pytest.mark.parametrize("known", NAMED, ids=lambda known: known.key)
def test_each_pair_of_values_is_a_change_of_its_own_name(known):
    for was in known.values:
        for now in known.values:
            before = {known.key: Recorded(was, NOW, 1), "position": Recorded(HERE, NOW, 1)}
            told = list(changed(before, merged(before, {known.key: now}, NOW, 2), OCCASION))
            assert [event.type for event in told] == [known.event] * (was != now)
            assert all(event.body == {"from": was, "to": now, "position": HERE} for event in told)


def test_the_contracts_names_are_those_of_the_properties():
    assert {known.event for known in NAMED} == set(CHANGED) <= set(EVENT_TYPES)
    assert {"CentralLockChanged", "DrivingEnabledChanged", "TopCaseLidChanged", "CheckEngineIndicatorChanged"} <= set(CHANGED)
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)


def test_the_first_value_ever_is_no_change():
    assert list(changed({}, merged({}, {known.key: known.values[0] for known in NAMED}, NOW, 1), OCCASION)) == []


class Unit:
    """A sealed unit of the model that says most, and the frames it sends."""

    def __init__(self):
        self.vehicle = replace(VEHICLE, model=MODEL)
        self.keys = unit_keys(brand_key(bytes(32), "CLOUDBOXX"), 1, UNIT.telematics_unit_id)

    def frame(self, sequence, **state):
        """A frame that says `state`; all that came before it are still with the unit."""
        signals = MODEL.units["CLOUDBOXX"].invert(state) | {"oldest_sequence": 1}
        said = Frame("state", UNIT.telematics_unit_id, sequence, NOW + sequence, (Report(b"", None, signals),), {"flags": 0})
        return load()["cloudboxx"].encode(said, self.keys.seal)

    def heard(self, frames, at=NOW + 10_000):
        """All events of frames that arrive in this order."""
        memory, events = Memory(), []
        for payload in frames:
            receipt = hear(payload, memory, self.vehicle, keys=(self.keys,), at=at)
            memory = receipt.memory
            events += receipt.events
        return events


def of_type(events, event_type):
    return [(event.body["from"], event.body["to"]) for event in events if event.type == event_type]


@pytest.mark.parametrize("known", SAYABLE, ids=lambda known: known.key)
def test_a_unit_that_says_so_makes_the_event(known):
    unit, (one, other, *_) = Unit(), known.values
    events = unit.heard(unit.frame(n, **{known.key: value}) for n, value in enumerate([one, one, other, other, one], 1))
    assert of_type(events, known.event) == [(one, other), (other, one)]
    recorded = [event for event in events if event.type == STATE_RECORDED]
    assert len(recorded) == 5
    told = [event for event in events if event.type == known.event]
    assert [event.id for event in told] == [str(derived_id(recorded[n].id, known.event)) for n in (2, 4)]


@settings(deadline=None, max_examples=100)
@given(
    values=st.lists(st.sampled_from(["LOCKED", "UNLOCKED"]), min_size=2, max_size=16),
    seed=st.integers(0, 2**32),
    repeats=st.integers(1, 3),
)
def test_what_is_late_or_repeated_makes_no_false_change(values, seed, repeats):
    unit, draw = Unit(), random.Random(seed)
    arriving = [n for n in range(len(values)) for _ in range(repeats)]
    draw.shuffle(arriving)
    frames = [unit.frame(n, central_lock=value) for n, value in enumerate(values, 1)]
    events = unit.heard(frames[n] for n in arriving)
    newest_first_seen, order = [], []
    for n in arriving:
        if n not in order:
            order.append(n)
            if n == max(order):
                newest_first_seen.append(values[n])
    expected = [(was, now) for was, now in pairwise(newest_first_seen) if was != now]
    assert of_type(events, "CentralLockChanged") == expected
    assert len({event.id for event in events}) == len(events)
    in_order = unit.heard(frames)
    assert of_type(in_order, "CentralLockChanged") == [(was, now) for was, now in pairwise(values) if was != now]


def test_the_id_of_what_follows_is_a_version_5_uuid_of_what_it_follows_from() -> None:
    assert derived_id(PARENT, "CentralLockChanged") == str(uuid.uuid5(uuid.UUID(PARENT), "CentralLockChanged"))
