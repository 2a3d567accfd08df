"""What a report changes: the last state and the report's properties in, the new state and the `...Changed` events out. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.events import Event, Written, derived_id, timestamp
from gateway.memory import Recorded, Snapshot
from modeldb.vocabulary import PROPERTIES

State = Mapping[str, Recorded]

CHANGED_EVENTS: Mapping[str, str] = {key: known.event for key, known in PROPERTIES.items() if known.event is not None}
"""The event that tells of another value, by the property's key."""

_encoder = msgspec.json.Encoder()
_EMPTY = b"{}"


class Occasion(msgspec.Struct, frozen=True, gc=False):
    """The report that causes the changes: its event's id and what every event of it has in common."""

    recorded_id: str
    flow_id: str
    occurred_at: int
    recorded_at: int
    fleet_id: str
    vehicle_id: str

    def event(self, event_id: str, event_type: str, body: Mapping[str, Any]) -> Event:
        """An event of this occasion."""
        return Event(
            event_id,
            event_type,
            self.flow_id,
            self.occurred_at,
            self.recorded_at,
            self.fleet_id,
            self.vehicle_id,
            body,
        )


class _Shown(msgspec.Struct, gc=False):
    timestamp: str
    value: Any


def shown(state: State) -> dict[str, dict[str, Any]]:
    """A vehicle state as clients see it: each property with the moment the unit captured it."""
    return {key: {"timestamp": timestamp(said.at), "value": said.value} for key, said in state.items()}


def recording(state: State, reported: Mapping[str, Any], at: int, late: bool, told: bytes = b"") -> Written:
    """The body of a VehicleStateRecorded: the whole `state` with the report in it, and what was `reported`; `told` is that as it
    is shown, where somebody has written it already.

    Of a report that is not late the state says what the report says, so that it is written once and stands in both places.
    """
    if not told:
        stamp = timestamp(at)
        told = _encoder.encode({key: _Shown(stamp, value) for key, value in reported.items()})
    if type(state) is Snapshot and not late and state.values_by_key is reported:
        return Written(b'"vehicle_state":', told, b',"changed":', told, b',"late":false}')
    rest = state.keys() if late else [] if len(state) == len(reported) else [key for key in state if key not in reported]
    others = _encoder.encode({key: _Shown(timestamp(state[key].at), state[key].value) for key in rest}) if rest else _EMPTY
    if late or told == _EMPTY:
        whole = others
    elif others == _EMPTY:
        whole = told
    else:
        whole = b"%b,%b" % (told[:-1], others[1:])
    return Written(b'"vehicle_state":', whole, b',"changed":', told, b',"late":true}' if late else b',"late":false}')


def merged(before: State, reported: Mapping[str, Any], at: int, order: int, late: bool = True, mark: bytes = b"") -> State:
    """The state after a report. No property goes back to what an older report said of it.

    A report that is not `late` is older than none before it. `mark` is the report's own, if it has one (`Snapshot`).
    """
    if not late and len(reported) >= len(before) > 0:
        said = before.values_by_key if type(before) is Snapshot else before
        if said.keys() <= reported.keys():
            return Snapshot(reported, at, order, mark)
    state = dict(before)
    if not late:
        state.update({key: Recorded(value, at, order) for key, value in reported.items()})
        return state
    for key, value in reported.items():
        known = state.get(key)
        if known is None or order >= known.order:
            state[key] = Recorded(value, at, order)
    return state


def changed(before: State, after: State, occasion: Occasion, reported: Iterable[str] | None = None) -> Iterator[Event]:
    """A `<Property>Changed` for each enum or bool property that has another value. The first value ever is no change.

    `reported` are the properties that may have one; without it, all.
    """
    moved = after if reported is None else reported
    if type(before) is Snapshot and type(after) is Snapshot:
        if before.mark and before.mark == after.mark:
            return
        was_said, is_said = before.values_by_key, after.values_by_key
        moved = [key for key in CHANGED_EVENTS if key in is_said and was_said.get(key) != is_said[key]]
    for key in moved:
        was, said = before.get(key), after[key]
        if was is None or was.value == said.value or (name := CHANGED_EVENTS.get(key)) is None:
            continue
        position = after.get("position")
        body = {"from": was.value, "to": said.value, "position": position.value if position else None}
        yield occasion.event(derived_id(occasion.recorded_id, name), name, body)
