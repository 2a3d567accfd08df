"""The AsyncAPI document of the events, as a file: `python -m gateway.asyncapi` writes docs/asyncapi.json."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, get_args

from gateway.api.schemas import Vehicle
from gateway.event_types import CHANGED, EVENT_TYPES, STATE_RECORDED, TRIP_STARTED, ChangeReason
from gateway.examples import event_examples
from gateway.memory import TripTrigger
from gateway.pages import DOCS
from gateway.trips import DISCARDED_BELOW_MS, LEVEL, MILEAGE, DistanceSource
from modeldb.vocabulary import PROPERTIES, Property

FILE = DOCS / "asyncapi.json"
ASYNCAPI_VERSION = "3.0.0"
BINDING_VERSION = "0.3.0"
QUEUE_UNUSED_MS, MESSAGE_LIFE_MS = 3 * 86_400_000, 7 * 86_400_000

Schema = dict[str, Any]
TIME: Schema = {"type": "string", "format": "date-time"}
POSITION: Schema = {
    "type": "object",
    "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
    "required": ["lat", "lon"],
    "additionalProperties": False,
}


def _whole(**properties: Schema) -> Schema:
    """An object that has all of these properties, and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


def _trip(*ends: str) -> Schema:
    """A trip of which these ends are known."""
    mark = {"$ref": "#/components/schemas/TripMark"}
    return _whole(
        id={"type": "string", "format": "uuid"}, trigger={"enum": list(get_args(TripTrigger))}, **dict.fromkeys(ends, mark)
    )


NUMBER_OR_NULL = _or_null({"type": "number"})
NOT_NEGATIVE_OR_NULL = _or_null({"type": "number", "minimum": 0})
METRICS = _whole(
    distance_in_kilometers=NOT_NEGATIVE_OR_NULL,
    distance_source=_or_null({"enum": list(get_args(DistanceSource))}),
    duration_in_seconds={"type": "number", "minimum": DISCARDED_BELOW_MS / 1000},
    energy_used_in_percent=NUMBER_OR_NULL,
    average_speed_in_kilometers_per_hour=NOT_NEGATIVE_OR_NULL,
    maximum_speed_in_kilometers_per_hour=NOT_NEGATIVE_OR_NULL,
)
BODIES: Mapping[str, Schema] = {
    "vehicle": {"$ref": "#/components/schemas/Vehicle"},
    "reasons": {"type": "array", "items": {"enum": list(get_args(ChangeReason))}, "minItems": 1, "uniqueItems": True},
    "trip": _trip("start", "end"),
    "metrics": METRICS,
}
"""What stands beside the metadata of events of vehicles and trips."""


def document() -> dict[str, Any]:
    """AsyncAPI 3.0 of what consumers receive: one channel, one message a type of event."""
    references = {event_type: {"$ref": f"#/components/messages/{event_type}"} for event_type in EVENT_TYPES}
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "teleloop events",
            "version": version("teleloop"),
            "description": "At least once; the same event always has the same `metadata.id`; per vehicle in order.",
        },
        "defaultContentType": "application/json",
        "servers": {"rabbitmq": {"host": "localhost:5672", "protocol": "amqp", "protocolVersion": "0.9.1"}},
        "channels": {
            "events": {
                "address": "{fleet_id}.{type}.{vehicle_id}",
                "description": "The topic exchange that every event is published to; the address is the routing key.",
                "parameters": {
                    "fleet_id": {"description": "Whose events"},
                    "type": {"enum": list(EVENT_TYPES)},
                    "vehicle_id": {"description": "Five upper-case letters and digits"},
                },
                "messages": references,
                "bindings": {"amqp": _exchange()},
            },
            "consumerQueue": {
                "address": "consumer.{consumer_id}.{topic}",
                "description": "A queue of an event consumer, declared by the gateway; the consumer's user may only read it.",
                "parameters": {
                    "consumer_id": {"description": "As POST /event-consumers answered"},
                    "topic": {"enum": ["All", *EVENT_TYPES]},
                },
                "messages": references,
                "bindings": {"amqp": _queue()},
            },
        },
        "operations": {
            "receiveEvents": {
                "action": "receive",
                "channel": {"$ref": "#/channels/consumerQueue"},
                "summary": "Take each event, and acknowledge it once it is dealt with",
                "bindings": {"amqp": {"ack": True, "bindingVersion": BINDING_VERSION}},
            }
        },
        "components": {"messages": {event_type: _message(event_type) for event_type in EVENT_TYPES}, "schemas": _schemas()},
    }


def _exchange() -> dict[str, Any]:
    exchange = {"name": "events", "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {"is": "routingKey", "exchange": exchange, "bindingVersion": BINDING_VERSION}


def _queue() -> dict[str, Any]:
    queue = {"name": "consumer.{consumer_id}.{topic}", "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    arguments = {"x-queue-type": "quorum", "x-expires": QUEUE_UNUSED_MS, "x-message-ttl": MESSAGE_LIFE_MS}
    return {"is": "queue", "queue": queue, "x-arguments": arguments, "bindingVersion": BINDING_VERSION}


def _message(event_type: str) -> dict[str, Any]:
    example = event_examples()[event_type]
    return {
        "name": event_type,
        "title": event_type,
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": _payload(event_type),
        "correlationId": {"location": "$message.header#/Flow-ID"},
        "bindings": {"amqp": {"messageType": event_type, "bindingVersion": BINDING_VERSION}},
        "examples": [{"headers": example.headers, "payload": example.document()}],
    }


def _payload(event_type: str) -> Schema:
    body: dict[str, Schema]
    if event_type == STATE_RECORDED:
        state = {"$ref": "#/components/schemas/VehicleState"}
        body = {"vehicle_state": state, "changed": state, "late": {"type": "boolean"}}
    elif event_type in CHANGED:
        known = next(each for each in PROPERTIES.values() if each.event == event_type)
        value = _value(known)
        body = {"from": value, "to": value, "position": _or_null(POSITION)}
    else:
        body = {name: BODIES[name] for name in event_examples()[event_type].body}
        if event_type == TRIP_STARTED:
            body["trip"] = _trip("start")
    metadata = {"allOf": [{"$ref": "#/components/schemas/Metadata"}, {"properties": {"type": {"const": event_type}}}]}
    return {"type": "object", "properties": {"metadata": metadata, **body}, "required": ["metadata", *body]}


def _value(known: Property) -> Schema:
    """What a property's value may be."""
    if known.values:
        return {"enum": list(known.values)}
    match known.kind:
        case "position":
            return POSITION
        case "date":
            return {"type": "string", "format": "date"}
        case "integer":
            return {"type": "integer"}
    return {"type": "number"}


def _schemas() -> dict[str, Schema]:
    fields = {name: {"type": "string"} for name in ("id", "type", "version", "flow_id", "fleet_id", "vehicle_id")}
    metadata = fields | {"occurred_at": TIME, "recorded_at": TIME}
    recorded = {
        known.key: {
            "type": "object",
            "properties": {"timestamp": TIME, "value": _value(known)},
            "required": ["timestamp", "value"],
        }
        for known in PROPERTIES.values()
    }
    headers = {name: {"type": "string"} for name in ("Flow-ID", "Message-Type", "Message-Version")}
    return {
        "Metadata": {"type": "object", "properties": metadata, "required": list(metadata)},
        "VehicleState": {"type": "object", "properties": recorded, "additionalProperties": False},
        "TripMark": _whole(timestamp=TIME, position=_or_null(POSITION), **{MILEAGE: NUMBER_OR_NULL, LEVEL: NUMBER_OR_NULL}),
        **_vehicle(),
        "Headers": {"type": "object", "properties": headers, "required": list(headers)},
    }


def _vehicle() -> dict[str, Schema]:
    """A vehicle as the API shows it, and the schemas that this one needs."""
    schema = Vehicle.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Vehicle": schema}


def asyncapi() -> str:
    """The document as JSON for people to read and compare."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(asyncapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
