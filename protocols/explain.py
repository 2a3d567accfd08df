"""A frame, byte by byte, with the first thing that is wrong: what the declarations read, and where they stopped making sense."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from protocols import load
from protocols.codec import Cut, Frame, Peer, Protocol, ProtocolError, Reason
from protocols.trace import Leaf, Trace, watch

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
    """A value as JSON can say it: bytes as text if they are printable ASCII, else in hex."""
    if isinstance(value, bytes | bytearray):
        text = bytes(value).rstrip(b"\0")
        return text.decode("ascii") if text and text.isascii() and text.decode("ascii").isprintable() else bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def explain(payload: bytes, protocol: Protocol, peer: Peer | None = None) -> list[Explanation]:
    """Every frame of `payload` in order. Identity and seal are checked where a `peer` is given."""
    return [_explained(cut, protocol, peer) for cut in protocol.split(payload)]


def _explained(cut: Cut, protocol: Protocol, peer: Peer | None) -> Explanation:
    frame, error = None, cut.error
    with watch() as traces:
        try:
            frame = protocol.decode(cut.data, peer)
        except ProtocolError as caught:
            error = caught.moved(cut.offset)
        if not traces and error is not None:
            with suppress(ProtocolError):
                protocol.read(cut.data)
    fields = tuple(_fields(cut, _sensible(traces), protocol))
    checksum = protocol.checksum(cut.data)
    return Explanation(protocol.name, cut.offset, cut.data, fields, checksum, frame, error)


def _sensible(traces: Sequence[Trace]) -> list[Leaf]:
    """The leaves of what was parsed in the end: a later parse of the same bytes stands for an earlier one that failed."""
    good = [trace for trace in traces if trace.error is None]
    failed = [trace for trace in traces if trace.error is not None]
    chosen = good if good and not (failed and failed[0].at > good[-1].at) else [*good, *failed[:1]]
    leaves: dict[int, Leaf] = {}
    for trace in chosen or failed[:1]:
        begins = {leaf.offset for leaf in trace.leaves}
        span = range(min(begins, default=0), trace.stopped_at)
        leaves = {offset: leaf for offset, leaf in leaves.items() if offset not in span}
        leaves |= {leaf.offset: leaf for leaf in trace.leaves if leaf.size}
    return [leaf for _, leaf in sorted(leaves.items())]


def _fields(cut: Cut, leaves: Iterable[Leaf], protocol: Protocol) -> Iterator[Field]:
    at = 0
    for leaf in leaves:
        if leaf.offset > at:
            yield _unread(cut, at, leaf.offset)
        unit, meaning = protocol.meaning(leaf.path, leaf.value)
        raw = cut.data[leaf.offset : leaf.offset + leaf.size]
        yield Field(leaf.path, cut.offset + leaf.offset, leaf.size, raw, leaf.value, unit, meaning)
        at = leaf.offset + leaf.size
    if at < len(cut.data):
        yield _unread(cut, at, len(cut.data))


def _unread(cut: Cut, begin: int, end: int) -> Field:
    raw = cut.data[begin:end]
    return Field("", cut.offset + begin, end - begin, raw, raw, "", "not read")


def guess(payload: bytes, among: Iterable[Protocol] = ()) -> Protocol:
    """The protocol that `payload` most likely speaks: whose frames cover most of it, else whose first error comes latest."""
    return max(among or load().values(), key=lambda protocol: _likelihood(payload, protocol))


def _likelihood(payload: bytes, protocol: Protocol) -> tuple[int, bool, int]:
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
    return covered, payload.startswith(protocol.starts or (b"",)), reached
