"""The lean consumer reads deliveries as another implementation of AMQP writes them."""

import itertools
import random
from typing import Any

from pamqp import body, commands, frame, header

from bench.amqp_wire import AmqpAddress, Reader

PROPERTIES: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "headers": {"Flow-ID": "f" * 36, "Message-Type": "VehicleStateRecorded"},
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "correlation",
    "reply_to": "somebody",
    "expiration": "60000",
}


def delivery(tag: int, content: bytes, **properties: Any) -> bytes:
    deliver = commands.Basic.Deliver("consumer", tag, False, "events", f"default.VehicleStateRecorded.V{tag}")
    said = header.ContentHeader(body_size=len(content), properties=commands.Basic.Properties(**properties))
    pieces = [content[at : at + 100] for at in range(0, len(content), 100)]
    parts: list[Any] = [deliver, said, *(body.ContentBody(each) for each in pieces)]
    return b"".join(frame.marshal(each, 1) for each in parts)


def test_every_delivery_is_read_whatever_its_properties_and_however_the_bytes_are_cut() -> None:
    reader = Reader(AmqpAddress("host", 5672, "user", "password", "/"), "queue", "events", ["#"])
    chosen = [names for count in range(len(PROPERTIES) + 1) for names in itertools.combinations(PROPERTIES, count)]
    wanted, said = [], b""
    for tag, names in enumerate(chosen, 1):
        content = b"x" * (tag % 4 * 90)
        properties = {name: PROPERTIES[name] for name in names} | ({"message_id": f"id {tag}"} if tag % 5 else {})
        said += delivery(tag, content, **properties)
        wanted.append((b"default.VehicleStateRecorded.V%d" % tag, b"id %d" % tag if tag % 5 else b"", len(content)))
    rng, at, seen = random.Random(1), 0, []
    while at < len(said):
        step = rng.randrange(1, 700)
        seen += reader.take(said[at : at + step])
        at += step
    assert seen == wanted
    assert reader.unacknowledged == len(chosen)
