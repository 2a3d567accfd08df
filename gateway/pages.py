"""The reference pages in docs/: state values, commands, events. `python -m gateway.pages` writes them from the code."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.api.commands import DETAILS, TIMEOUT_LIMIT_S, TIMEOUT_S
from gateway.api.openapi import ERRORS
from gateway.changes import shown
from gateway.event_types import CHANGED, EVENT_TYPES, LIFECYCLE, STATE_RECORDED, TRIPS
from gateway.events import Event
from gateway.examples import CAPTURED_AT, VEHICLE_ID, event_examples, value_of
from gateway.memory import Recorded
from modeldb import load
from modeldb.vocabulary import COMMANDS, NAMED_KINDS, PROPERTIES, VEHICLE_TYPES, Command, Property

DOCS = Path(__file__).parents[1] / "docs"
ONE_LINE = 110
ADDRESS = "http://127.0.0.1:8080"

STATE_VALUES = """\
# State values

<!-- Made by `python -m gateway.pages`. -->

What a vehicle state may say: in `GET /vehicles/{id}/latest-vehicle-state`, in the answer of a command, and as
`vehicle_state` and `changed` of a `VehicleStateRecorded`.

The capability is the key in capitals (`CENTRAL_LOCK`). A vehicle with the capability may report the property, one without
it never does; what was never reported is left out. Each property has its own `timestamp`, the moment the unit captured it,
in UTC. Units are in the name.

**doc**: as in the public INVERS OneAPI documentation. **own**: our choice where that is silent.

"""

COMMANDED = f"""\
# Commands

<!-- Made by `python -m gateway.pages`. -->

`POST /vehicles/{{vehicle_id}}/commands/{{name}}` with an empty body, scope `vehicle-commands`. The answer comes when the
vehicle has answered, after {TIMEOUT_S} s at the latest, or after `?timeout=` seconds (at most {TIMEOUT_LIMIT_S}).

A vehicle can do what its `capabilities.commands` list: what the command is for, the unit's brand supports and the vehicle's
model is fitted with.

**doc**: as in the public INVERS OneAPI documentation. **own**: our choice where that is silent.

"""

PROBLEMS = """
Errors are RFC 9457 problem documents (`application/problem+json`) with `type`, `title`, `status`, `reason`, `flow_id`, most
with a `detail`. Every answer has the header `X-INVERS-Flow-ID`; the `VehicleStateRecorded` that the command causes carries
it as its flow id.

"""

ONCE = """
## Once, even if you ask twice

With an `Idempotency-Key` the outcome is remembered for 24 hours. The same key again gives the stored outcome, or, after a
504, sends the same bytes once more: the vehicle executes them at most once. Without a key every request is a new command.

## Each of them

"""

EVENTS = """\
# Events

<!-- Made by `python -m gateway.pages`. -->

One event is one message of RabbitMQ's topic exchange `events`, and one of `GET /events` (`id` is the event's id, `event`
its type, `data` the body).

"""

ORDER = """
At least once: an event that comes again has the id that it had. In order for each vehicle. `occurred_at` is when the unit
captured it, or when the registry changed; `recorded_at` is when the gateway heard of it.

"""

REASONS: Mapping[int, Sequence[str]] = {
    400: ("validation", "idempotency_key_reused"),
    404: ("not_found", "unknown_command"),
    409: ("capability_missing", "archived"),
    422: ("ignition_on", "in_motion", "door_open", "key_missing", "not_fitted", "expired", "actuator_failed"),
    429: ("too_many_commands",),
    503: ("unit_offline", "gateway_unavailable", "busy"),
    504: ("no_answer",),
}
"""The words that a problem document of a command gives as its `reason`, by status."""

MEANINGS: Mapping[int, str] = {
    200: "the vehicle did it; the body is its updated state",
    400: "the request is not understood; nothing was done",
    404: "no such vehicle in this fleet, or no such command",
    409: "the vehicle cannot do that, or is archived; nothing was done",
    422: "the vehicle refused",
    429: "one command is under way for this unit and three are waiting; nothing was done",
    503: "never sent: the unit is offline, or a part of the gateway is down; nothing was done",
    504: "sent, no answer in time: **unknown**. Repeat with the same `Idempotency-Key`",
}

AS_EVERYWHERE = (401, 403, 413, 500)
"""Statuses that mean the same whatever was asked."""

CHANGE_REASONS: Mapping[str, str] = {
    "MASTER_DATA_CHANGED": "a field of `master_data`",
    "CUSTOM_FIELDS_CHANGED": "a field of `custom_fields`",
    "TAGS_CHANGED": "`tags`",
    "OPERATION_STATUS_CHANGED": "`operation_status`",
    "RENTAL_STATUS_CHANGED": "`rental_status`",
    "LIFE_STATUS_CHANGED": "`life_status`: the unit came or went",
    "TELEMATICS_UNIT_CHANGED": "another unit, or new credentials for it",
    "CAPABILITIES_CHANGED": "`capabilities`, derived again",
}

TOLD: Mapping[str, str] = {
    STATE_RECORDED: "A unit reported. `vehicle_state` is the whole current state, `changed` what this report said, `late` "
    "whether a newer one had come before it: then nothing turned back. The flow id is that of the command that caused it, if "
    "one did.",
    "VehicleCreated": "A vehicle was added, or came back from the archive.",
    "VehicleChanged": "A vehicle is not what it was; `reasons` say in what.",
    "VehicleRemoved": "A vehicle was archived. It is kept for 90 days and can be restored.",
    "TripStarted": "What the fleet takes for a trip began: DRIVING_ENABLED (default), IGNITION or RENTAL_STATUS.",
    "TripEnded": "It ended.",
    "TripMetricsReady": "What the trip amounts to. What cannot be told is null.",
    "TripDiscarded": "It was shorter than a minute, and is none.",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = (head, ["---"] * len(head), *rows)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def pretty(document: Any) -> str:
    """JSON for people: what fits stands on one line, and so does any list of words."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", _on_one_line, text)


def _on_one_line(found: "re.Match[str]") -> str:
    flat = re.sub(r"\s*\n\s*", " ", found[0])
    flat = flat.replace("[ ", "[").replace(" ]", "]").replace("{ ", "{").replace(" }", "}")
    return flat if len(flat) <= ONE_LINE or flat.startswith("[") else found[0]


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def state_values() -> str:
    """docs/state-values.md: every property of a vehicle state."""
    head = ("key", "type", "values", "unit", "finest step", "source", "event of a change")
    rows = [_property_row(known) for known in PROPERTIES.values()]
    examples = {known.key: Recorded(value_of(known), CAPTURED_AT, 1) for known in PROPERTIES.values()}
    return STATE_VALUES + table(head, rows) + "\n## An example of each\n\n" + _code("json", pretty(shown(examples)))


def _property_row(known: Property) -> tuple[str, ...]:
    step = "" if known.resolution is None else f"{known.resolution:.7f}".rstrip("0").rstrip(".")
    event = "" if known.event is None else f"[{known.event}](events.md#{known.event.lower()})"
    return f"`{known.key}`", known.kind, _values(known), known.unit, step, known.source, event


def _values(known: Property) -> str:
    if known.kind in NAMED_KINDS:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in known.values)
    match known.kind:
        case "position":
            return '`{"lat": -90 to 90, "lon": -180 to 180}`, WGS84'
        case "date":
            return "`YYYY-MM-DD`"
        case _:
            return f"{known.low:g} to {known.high:.12g}"


def commands() -> str:
    """docs/commands.md: every command, and how each can end."""
    brands = load().brands.values()
    able = {name: [brand.name for brand in brands if name in brand.commands] for name in COMMANDS}
    head = ("command", "what the state says after it", "for", "units", "source")
    return "".join(
        (
            COMMANDED,
            table(head, [_command_row(known, able[known.name]) for known in COMMANDS.values()]),
            "\n## How it ends\n\n",
            _outcomes(),
            PROBLEMS,
            table(("reason", "in words"), [(f"`{reason}`", text) for reason, text in DETAILS.items()]),
            ONCE,
            "\n".join(_command_example(known) for known in COMMANDS.values()),
        )
    )


def _command_row(known: Command, brands: Sequence[str]) -> tuple[str, ...]:
    effect = ", ".join(f"`{key}` = `{_word(value)}`" for key, value in known.effect.items()) or "nothing new"
    types = "all" if known.types == VEHICLE_TYPES else ", ".join(known.types)
    return f"[`{known.name}`](#{known.name})", effect, types, ", ".join(brands), known.source


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _outcomes() -> str:
    others = {status: ERRORS[str(status)] for status in AS_EVERYWHERE}
    rows = sorted([*MEANINGS.items(), *((status, meaning[0].lower() + meaning[1:]) for status, meaning in others.items())])
    return table(
        ("status", "means", "`reason`"),
        [(str(status), meaning, ", ".join(f"`{word}`" for word in REASONS.get(status, ()))) for status, meaning in rows],
    )


def _command_example(known: Command) -> str:
    request = f'curl -X POST {ADDRESS}/vehicles/{VEHICLE_ID}/commands/{known.name} \\\n  -H "Authorization: Bearer $TOKEN"'
    if known.name != "request-vehicle-state":
        request += ' -H "Idempotency-Key: $(uuidgen)"'
    answer = shown({key: Recorded(value, CAPTURED_AT, 1) for key, value in known.effect.items()})
    told = f"200, and in the state:\n\n{_code('json', pretty(answer))}" if answer else "200, and the state as it is.\n"
    return f"### {known.name}\n\n{_code('sh', request)}\n{told}"


def events() -> str:
    """docs/events.md: every event, as it is sent."""
    listed = [(f"[{event_type}](#{event_type.lower()})", _when(event_type)) for event_type in EVENT_TYPES]
    return "".join(
        (
            EVENTS,
            table(("of the message", "is"), _envelope(event_examples()["CentralLockChanged"])),
            ORDER,
            table(("type", "when"), listed),
            "\n",
            "\n".join(_event_example(event_type) for event_type in (STATE_RECORDED, *LIFECYCLE, *TRIPS, *CHANGED)),
        )
    )


def _envelope(event: Event) -> list[tuple[str, str]]:
    facts = {value: name for name, value in event.document()["metadata"].items()}
    return [
        ("routing key", f"`{{fleet_id}}.{{type}}.{{vehicle_id}}`, as `{event.routing_key}`"),
        ("headers", ", ".join(f"`{name}` = `metadata.{facts[value]}`" for name, value in event.headers.items())),
        ("`message_id`", "`metadata.id`"),
        ("content type", "`application/json`"),
        ("delivery mode", "2, persistent"),
        ("body", "`metadata`, and what the type says beside it"),
    ]


def _when(event_type: str) -> str:
    known = next((known for known in PROPERTIES.values() if known.event == event_type), None)
    if known is None:
        return TOLD[event_type].partition(". ")[0].rstrip(".")
    return f"`{known.key}` has another value"


def _event_example(event_type: str) -> str:
    event = event_examples()[event_type]
    told = TOLD.get(event_type)
    if told is None:
        values = _values(_property_of(event_type))
        told = f"{_when(event_type)} of {values}. `position` is the last one known, or null."
    reasons = ""
    if event_type == "VehicleChanged":
        reasons = table(("reason", "what is another"), [(f"`{word}`", what) for word, what in CHANGE_REASONS.items()]) + "\n"
    return f"## {event_type}\n\n{told}\n\n{reasons}{_code('json', pretty(event.document()))}"


def _property_of(event_type: str) -> Property:
    return next(known for known in PROPERTIES.values() if known.event == event_type)


def pages() -> dict[str, str]:
    """The pages by their file names."""
    return {"state-values.md": state_values(), "commands.md": commands(), "events.md": events()}


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
