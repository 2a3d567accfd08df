"""Events: what the gateway tells the world. One event is one AMQP message (CONTRACT: ids, types, headers, routing key)."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1
from types import MappingProxyType
from typing import Any

import msgspec

from protocols.hotpath.told import WrittenJson

EVENT_VERSION = "1"
FLOW = "Flow-ID"
"""The header that names an event's flow, the only one that is another in each event of a type and vehicle."""
VEHICLES = uuid.UUID("6f6b2f0e-5e0b-5d1c-9f0d-3a1f0c7b9e51")
"""The name space in which a vehicle_id becomes the UUID that its events' ids are derived from."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=65536)
def _name_space(vehicle_id: str) -> bytes:
    """That of one vehicle's events."""
    return uuid.uuid5(VEHICLES, vehicle_id).bytes


def recorded_id(vehicle_id: str, record: bytes) -> str:
    """The id of the event that a captured record becomes: uuid5 (RFC 9562 section 5.5) of the vehicle and the record's bytes."""
    return _uuid5(_name_space(vehicle_id), record)


def derived_id(parent: str, event_type: str) -> str:
    """The id of an event that follows from another one: uuid5 of its id and the type."""
    return _uuid5(bytes.fromhex(parent.replace("-", "")), event_type.encode())


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid5(space: bytes, name: bytes) -> str:
    said = sha1(space + name, usedforsecurity=False).hexdigest()  # uuid.UUID says the same, in five times the time
    return f"{said[:8]}-{said[8:12]}-5{said[13:16]}-{_VARIANT[said[16]]}{said[17:20]}-{said[20:32]}"


def timestamp(at_ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC; milliseconds are shown only where they are not zero."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z" if milliseconds else f"{_second(seconds)}Z"


@lru_cache(maxsize=8192)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()[:19]


_recorded = lru_cache(maxsize=256)(timestamp)
"""What arrives together has the same moment."""


class Written(WrittenJson):
    """An event's body that stands written already, with something in it.

    `members` are the object's text behind its first brace, in pieces: what is kilobytes long is joined once, for the wire.
    """

    __slots__ = ("members",)

    def __init__(self, *members: bytes) -> None:
        self.members, self._read = members, None

    @property
    def json(self) -> bytes:
        """The whole object."""
        return b"".join((b"{", *self.members))


@lru_cache(maxsize=65536)
def _described(event_type: str, version: str, fleet_id: str, vehicle_id: str) -> tuple[str, str]:
    """What stands in the metadata of all such events behind their id, and at the end."""
    kind, form, fleet, vehicle = (_encoder.encode(said).decode() for said in (event_type, version, fleet_id, vehicle_id))
    return f'","type":{kind},"version":{form},"flow_id":"', f'","fleet_id":{fleet},"vehicle_id":{vehicle}}},'


class _Metadata(msgspec.Struct, gc=False):
    id: str
    type: str
    version: str
    flow_id: str
    occurred_at: str
    recorded_at: str
    fleet_id: str
    vehicle_id: str


class Event(msgspec.Struct, frozen=True):
    """One event; its `id` is a UUID in text. Times are Unix ms; `body` is what stands beside `metadata` in the message."""

    id: str
    type: str
    flow_id: str
    occurred_at: int
    recorded_at: int
    fleet_id: str
    vehicle_id: str
    body: Mapping[str, Any] = NOTHING
    version: str = EVENT_VERSION

    @property
    def routing_key(self) -> str:
        """`{fleet_id}.{type}.{vehicle_id}`."""
        return f"{self.fleet_id}.{self.type}.{self.vehicle_id}"

    @property
    def headers(self) -> dict[str, str]:
        """The AMQP headers: the same facts as in the metadata."""
        return {FLOW: self.flow_id, "Message-Type": self.type, "Message-Version": self.version}

    @property
    def _metadata(self) -> _Metadata:
        occurred_at, recorded_at = timestamp(self.occurred_at), timestamp(self.recorded_at)
        return _Metadata(self.id, self.type, self.version, self.flow_id, occurred_at, recorded_at, self.fleet_id, self.vehicle_id)

    def document(self) -> dict[str, Any]:
        """The whole message as JSON values, metadata first."""
        return {"metadata": msgspec.to_builtins(self._metadata), **self.body}

    def json(self) -> bytes:
        """The message body."""
        return b"".join(self.pieces())

    def pieces(self) -> Sequence[bytes]:
        """The message body, for somebody who joins it with others."""
        body = self.body
        if type(body) is not Written:
            return (_encoder.encode({"metadata": self._metadata, **body}),)
        if self.flow_id != self.id:
            return (b'{"metadata":', _encoder.encode(self._metadata), b",", *body.members)
        kind, owner = _described(self.type, self.version, self.fleet_id, self.vehicle_id)
        occurred_at, recorded_at = timestamp(self.occurred_at), _recorded(self.recorded_at)
        said = f'{{"metadata":{{"id":"{self.id}{kind}{self.id}","occurred_at":"{occurred_at}","recorded_at":"{recorded_at}{owner}'
        return (said.encode(), *body.members)
