"""AutoAPI level 13 (High Mobility): a vehicle's capabilities as messages of properties, without checksum, length or answer.

A message is the version byte 0D, a capability id, a type, then for get and availability a list of property ids, for set
(which also carries state) properties; a property has components: data, timestamp, failure, availability. An MQTT payload is
one message, or several back to back; where no property can be read and a message begins, the one before has ended. Commands
and their results travel as VTC1 envelopes (01 is their first byte), the command itself as AutoAPI message in the parameters
(command code 01F0). There is no acknowledgement: what the broker does not keep is lost.
Property ids, names and types are in `protocols.autoapi_capabilities`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from protocols import autoapi_explained, envelope
from protocols.autoapi_capabilities import (
    CAPABILITIES,
    FAILURE_MESSAGE,
    HISTORICAL,
    MESSAGE_TIMESTAMP,
    MULTI_COMMAND,
    NONCE,
    SIGNATURE,
    UNIVERSAL,
    VIN,
)
from protocols.autoapi_capabilities import CAPABILITIES_CAPABILITY as SUPPORTED
from protocols.autoapi_commands import state_message
from protocols.autoapi_facts import facts_of
from protocols.autoapi_framing import VERSION, built, envelope_end, frame_end, next_frame
from protocols.autoapi_types import Keyed
from protocols.autoapi_values import signals
from protocols.codec import PAYLOAD_LIMIT_BYTES, Cut, Frame, Peer, Protocol, ProtocolError, Report, parse
from protocols.trace import Leaf


class AutoApi(Protocol):
    """AutoAPI L13 over MQTT: state messages up, VTC1 envelopes with AutoAPI commands down."""

    name: ClassVar[str] = "autoapi"
    starts: ClassVar[tuple[bytes, ...]] = (bytes([VERSION]),)

    def split(self, payload: bytes) -> Iterator[Cut]:
        """Messages and envelopes back to back. Behind a damaged message nothing is looked for: nothing marks a beginning."""
        at = 0
        while at < len(payload):
            try:
                end = frame_end(payload, at)
            except ProtocolError as error:
                end = next_frame(payload, at) if error.reason in ("bad_sync", "unsupported") else len(payload)
                yield Cut(at, payload[at:end], error)
            else:
                yield Cut(at, payload[at:end])
            at = end

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """Checked in the order: version, lengths, properties' own types, identity (every VIN said must be the unit's)."""
        if len(data) > PAYLOAD_LIMIT_BYTES:
            raise ProtocolError("oversized", 0, expected=f"at most {PAYLOAD_LIMIT_BYTES} bytes", found=f"{len(data)} bytes")
        if data[:1] == b"\x01":
            return _envelope_frame(data)
        said = facts_of(data)
        for offset, vin in _vins(said):
            if peer is not None and vin != peer.unit:
                raise ProtocolError("identity_mismatch", offset, "vin", expected=peer.unit, found=vin)
        return frame_of(data, said)

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """By `facts` as decode gives them; without them, the first report's signals as one message (see `state_message`)."""
        facts = frame.facts
        if "envelope" in facts:
            return bytes(facts["envelope"])
        if "type" in facts:
            return built(facts)
        if frame.kind != "state" or not frame.reports:
            raise ProtocolError("malformed", 0, "kind", expected="facts of a message, or a report", found=frame.kind)
        captured_at = frame.reports[0].captured_at
        return state_message(frame.reports[0].signals, frame.unit, frame.captured_at if captured_at is None else captured_at)

    def carry(self, unit: str, envelope: bytes, now: int, key: bytes) -> bytes:
        """The envelope as it is: its first byte, 01, is no AutoAPI version."""
        return envelope

    def read(self, data: bytes) -> None:
        """Properties one by one, as far as their sizes hold."""
        autoapi_explained.read(data)

    def meanings(self, leaves: Sequence[Leaf]) -> Iterable[tuple[str, str]]:
        """From the capabilities' declarations."""
        return autoapi_explained.meanings(leaves)


def frame_of(data: bytes, facts: Mapping[str, Any]) -> Frame:
    """The frame of a message that says `facts`."""
    vins = list(_vins(facts))
    reports = tuple(_reports(data, facts))
    times = [report.captured_at for report in reports if report.captured_at is not None]
    return Frame(
        _kind(facts),
        unit=vins[0][1] if vins else None,
        captured_at=max(times) if times else _captured_at(facts),
        reports=reports,
        facts=facts,
    )


def _envelope_frame(data: bytes) -> Frame:
    end = envelope_end(data, 0)
    if end != len(data):
        raise ProtocolError("bad_length", end, "envelope", expected=f"{end} bytes", found=f"{len(data)} bytes")
    said = parse(envelope.DECLARATION, data)
    if said.type not in tuple(envelope.Type):
        raise ProtocolError("malformed", 3, "type", expected="01 or 02", found=f"{said.type:02x}")
    return Frame("result" if said.type == envelope.Type.RESPONSE else "command", facts={"envelope": data})


# --- facts to reports ------------------------------------------------------------------------------------------------------


def _kind(facts: Mapping[str, Any]) -> str:
    if facts["type"] != "set":
        return str(facts["type"])
    match facts["capability_id"]:
        case FAILURE_MESSAGE.id:
            return "failure"
        case SUPPORTED.id:
            return "capabilities"
        case MULTI_COMMAND.id if any(said["id"] == 0x02 for said in facts["properties"]):
            return "command"
    return "state"


def _reports(data: bytes, facts: Mapping[str, Any]) -> Iterator[Report]:
    """A message is one report; of a history, each state that it holds is one. `data` is the outermost message."""
    if _kind(facts) != "state":
        return
    if facts["capability_id"] == HISTORICAL.id:
        for said in facts["properties"]:
            if "message" in said:
                yield from _reports(data, said["message"])
        return
    found = dict(signals_of(facts))
    if found:
        yield Report(_record(data, facts), _captured_at(facts), found)


def _record(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """Capability and properties without what a repetition may have anew: nonce and signature."""
    kept = (said for said in facts["properties"] if said["id"] not in (NONCE, SIGNATURE))
    capability_id: int = facts["capability_id"]
    return capability_id.to_bytes(2, "big") + b"".join(data[said["offset"] : said["offset"] + said["size"]] for said in kept)


def signals_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The signals of a message that says `facts`; of a name that comes again, the later one counts."""
    declared = CAPABILITIES.get(facts["capability_id"])
    seen: dict[int, int] = {}
    for said in facts.get("properties", ()):
        if "value" not in said or said["id"] in UNIVERSAL:
            continue
        number = seen[said["id"]] = seen.get(said["id"], -1) + 1
        name = f"{facts['capability']}.{said['name']}"
        known = declared.properties.get(said["id"]) if declared else None
        if "message" in said:
            if _kind(said["message"]) == "state":
                yield from signals_of(said["message"])
        elif known is None:
            yield (f"{name}.{number}" if number else name), said["value"].hex()
        else:
            indexed = known.many and not isinstance(known.form, Keyed)
            yield from signals(f"{name}.{number}" if indexed else name, known.form, said["value"])


def _captured_at(facts: Mapping[str, Any]) -> int | None:
    """The message's own timestamp, else the newest of its properties and of the messages in it; Unix milliseconds."""
    times: list[int] = []
    for said in facts.get("properties", ()):
        if said["id"] == MESSAGE_TIMESTAMP and "value" in said:
            return int(said["value"])
        times += [said["timestamp"]] if "timestamp" in said else []
        nested = _captured_at(said["message"]) if "message" in said else None
        times += [] if nested is None else [nested]
    return max(times, default=None)


def _vins(facts: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Every VIN that the message says, with the offset of its property: its own before those of messages in it."""
    found = facts.get("properties", ())
    yield from ((said["offset"], said["value"]) for said in found if said["id"] == VIN and "value" in said)
    for said in found:
        if "message" in said:
            yield from _vins(said["message"])


PROTOCOL = AutoApi()
