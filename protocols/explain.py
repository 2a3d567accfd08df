"""A frame, byte by byte, with the first thing that is wrong: what the declarations read, and where they stopped making sense."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import isfinite
from typing import Any

from protocols import envelope, load
from protocols.codec import Cut, Frame, Peer, Protocol, ProtocolError, Reason, parse
from protocols.numbering import numbered
from protocols.trace import Leaf, Trace, dotted, watch

_PLAUSIBLE: tuple[Reason, ...] = ("bad_sync", "unsupported", "malformed", "truncated", "bad_length", "bad_checksum")
"""Which first error speaks how much for a protocol: who gets as far as the checksum has found sync and length."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a frame. `offset` counts from the start of the payload, `raw` are its bytes, `unit` that of `value`."""

    name: str
    offset: int
    size: int
    raw: bytes
    value: Any
    unit: str = ""
    meaning: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "offset": self.offset,
            "size": self.size,
            "raw": self.raw.hex(),
            "value": plain(self.value),
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """One frame explained, or a stretch where none was found. `frame` is what it says, if it says anything."""

    protocol: str
    offset: int
    data: bytes
    fields: tuple[Field, ...]
    checksum: Mapping[str, str] | None = None
    frame: Frame | None = None
    error: ProtocolError | None = None
    state: Mapping[str, Any] | None = field(default=None)

    def document(self) -> dict[str, Any]:
        """The answer of `decode --json` and `POST /decode`."""
        return {
            "protocol": self.protocol,
            "kind": self.frame.kind if self.frame else None,
            "ok": self.error is None,
            "fields": [each.document() for each in self.fields],
            "checksum": dict(self.checksum) if self.checksum else None,
            "state": self.state,
            "error": None if self.error is None else _error(self.error),
        }


def _error(error: ProtocolError) -> dict[str, Any]:
    return {
        "reason": error.reason,
        "offset": error.offset,
        "field": error.field,
        "expected": error.expected,
        "found": error.found,
        "guess": error.guess,
    }


def plain(value: Any) -> Any:
    """A value as JSON can say it: bytes as text if they are printable ASCII, else in hex; what is not finite by its name."""
    if isinstance(value, bytes | bytearray):
        text = bytes(value).rstrip(b"\0")
        return text.decode("ascii") if text and text.isascii() and text.decode("ascii").isprintable() else bytes(value).hex()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def explain(payload: bytes, protocol: Protocol, peer: Peer | None = None) -> list[Explanation]:
    """Every frame of `payload` in order. Identity and seal are checked where a `peer` is given."""
    return [_explained(cut, protocol, peer) for cut in _cuts(payload, protocol)]


def _cuts(payload: bytes, protocol: Protocol) -> list[Cut]:
    """As the protocol splits it; in one piece where nothing in it holds but a frame with another length would."""
    found = list(protocol.split(payload))
    if len(found) > 1 and all(cut.error for cut in found):
        try:
            protocol.decode(payload)
        except ProtocolError as error:
            if error.field == "length" and error.guess:
                return [Cut(0, payload, error)]
    return found


def _explained(cut: Cut, protocol: Protocol, peer: Peer | None) -> Explanation:
    frame, error = None, cut.error
    try:
        frame = protocol.decode(cut.data, peer)
    except ProtocolError as caught:
        error = caught.moved(cut.offset)
        if cut.error is not None and cut.error.reason == error.reason:
            error.guess = error.guess or cut.error.guess
    if error is not None:
        error.guess = error.guess or _supposed(error, cut.data, protocol)
    with watch() as traces:
        with suppress(ProtocolError):
            protocol.read(cut.data)
        _read_envelope(cut.data, frame)
    if error is not None and not error.field:
        error.field = _cut_in(traces) if error.reason == "truncated" else ""
    fields = tuple(_fields(cut, traces, protocol))
    return Explanation(protocol.name, cut.offset, cut.data, fields, protocol.checksum(cut.data), frame, error)


def _cut_in(traces: Sequence[Trace]) -> str:
    """The field that could not be read to its end."""
    for trace in reversed(traces):
        if trace.error is not None:
            return ".".join(filter(None, (trace.under, dotted(str(getattr(trace.error, "path", None) or "")))))
    return ""


def _read_envelope(data: bytes, frame: Frame | None) -> None:
    carried = frame.facts.get("envelope") if frame else None
    if isinstance(carried, bytes) and carried and (at := data.find(carried)) >= 0:
        with suppress(ProtocolError):
            parse(envelope.DECLARATION, carried, at, envelope.PATH)


def _fields(cut: Cut, traces: Sequence[Trace], protocol: Protocol) -> Iterator[Field]:
    names, leaves = zip(*_parts(cut.data, traces), strict=True) if cut.data else ((), ())
    own = [leaf for leaf in leaves if leaf.path and not leaf.path.startswith(envelope.PATH)]
    said = dict(zip(map(id, own), protocol.meanings(own), strict=True))
    for name, leaf in zip(names, leaves, strict=True):
        unit, meaning = said.get(id(leaf)) or _meaning(name, leaf)
        raw = cut.data[leaf.offset : leaf.offset + leaf.size]
        yield Field(name, cut.offset + leaf.offset, leaf.size, raw, leaf.value, unit, meaning)


def _meaning(name: str, leaf: Leaf) -> tuple[str, str]:
    if leaf.path:
        return envelope.meaning(leaf.path, leaf.value)
    return "", "" if name else "not read"


def _parts(data: bytes, traces: Sequence[Trace]) -> Iterator[tuple[str, Leaf]]:
    """What stands where, each byte once, by name. What was read again, finer, stands for what was read there before; a parse
    that failed, for nothing that another one read. A leaf without a path: bytes that nothing read, or the rest of a leaf."""
    good = [trace for trace in traces if trace.error is None]
    failed = [trace for trace in traces if trace.error is not None]
    found: list[tuple[str, Leaf]] = []
    owners = [-1] * len(data)
    for trace in (*reversed(failed), *good):
        for names, leaf in zip(numbered(trace), trace.leaves, strict=True):
            end = min(leaf.offset + leaf.size, len(data))
            owners[leaf.offset : end] = [len(found)] * max(end - leaf.offset, 0)
            found.append((names.name, replace(leaf, path=names.path)))
    for owner, places in groupby(range(len(data)), owners.__getitem__):
        begin, *more = places
        raw = data[begin : begin + 1 + len(more)]
        if owner >= 0 and found[owner][1].size == len(raw):
            yield found[owner]
        else:
            yield found[owner][0] if owner >= 0 else "", Leaf("", begin, len(raw), raw, None)


def guess(payload: bytes, among: Iterable[Protocol] = ()) -> Protocol:
    """The protocol that `payload` most likely speaks: whose frames cover most of it, else as which it begins, else whose first
    error comes latest."""
    known = list(among or load().values())
    if not any(payload.startswith(protocol.starts) for protocol in known):
        for protocol in known:
            if len(payload) > 1 and _lost_front(payload, protocol):
                return protocol
    return max(known, key=lambda protocol: _likelihood(payload, protocol))


def _likelihood(payload: bytes, protocol: Protocol) -> tuple[bool, bool, int, int]:
    covered, first = 0, None
    for cut in protocol.split(payload):
        error = cut.error
        if error is None:
            try:
                protocol.decode(cut.data)
            except ProtocolError as caught:
                error = caught
            else:
                covered += len(cut.data)
        first = first or error
    reached = len(_PLAUSIBLE) if first is None else _PLAUSIBLE.index(first.reason) if first.reason in _PLAUSIBLE else 0
    return 2 * covered > len(payload), payload.startswith(protocol.starts), covered, reached


def _supposed(error: ProtocolError, data: bytes, protocol: Protocol) -> str:
    """Why a frame may be wrong, where its protocol has no guess of its own."""
    others = [other for other in load().values() if other.name != protocol.name and other.starts]
    for other in others if error.reason in ("bad_sync", "unsupported", "malformed", "bad_length") else ():
        if data.startswith(other.starts) and _likelihood(data, other)[2] == len(data):
            return f"a frame of another protocol, {other.name}"
    if re.fullmatch(rb"(?i)(0x)?([0-9a-f]{2}\s*){8,}", data):
        return "hex digits as text: what they say is the frame"
    if not data.strip(b"\r\n"):
        return "the end of a line"
    if lost := _lost_front(data, protocol):
        return f"the first {lost} bytes are missing" if lost > 1 else "the first byte is missing"
    return "the end was cut off" if error.reason == "truncated" else ""


def _lost_front(data: bytes, protocol: Protocol) -> int:
    """How many of the bytes that frames begin with have to be put before `data` to make it a frame; 0: that does not help."""
    for start in protocol.starts:
        for lost in range(1, len(start) + 1):
            with suppress(ProtocolError):
                protocol.decode(start[:lost] + data)
                if protocol.checksum(start[:lost] + data):  # else nearly anything might be one
                    return lost
    return 0
