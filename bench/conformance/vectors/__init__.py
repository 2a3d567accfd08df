"""Test vectors made from the declarations: every frame type, field, enum value and boundary, and bad frames with their reason.

For implementations in any language; docs/vectors.md says how they are written. `python -m bench.conformance.vectors` makes them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols import load
from protocols.codec import Frame, Peer, ProtocolError

FORMAT = "teleloop-vectors"
VERSION = 1


@dataclass(frozen=True)
class Good:
    """A frame that has to be read, and what it says."""

    name: str
    data: bytes
    expect: Mapping[str, Any]


@dataclass(frozen=True)
class Bad:
    """A frame that has to be refused for this reason. `peer` where only who knows unit and key can tell."""

    name: str
    data: bytes
    reason: str
    peer: bool = False


@dataclass(frozen=True)
class Set:
    """The vectors of one protocol. `about` is what a reader has to know: unit, keys."""

    protocol: str
    about: Mapping[str, Any]
    good: tuple[Good, ...]
    bad: tuple[Bad, ...]
    peer: Peer | None = field(default=None)

    def document(self) -> dict[str, Any]:
        """As JSON values. Raises AssertionError if a vector is not what it is said to be."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "protocol": self.protocol,
            "about": self.about,
            "vectors": [{"name": each.name, "hex": each.data.hex(), "expect": plain(each.expect)} for each in self.good],
            "refused": [self._refused(each) for each in self.bad],
        }

    def _refused(self, bad: Bad) -> dict[str, Any]:
        protocol = load()[self.protocol]
        try:
            protocol.decode(bad.data, self.peer if bad.peer else None)
        except ProtocolError as error:
            if error.reason != bad.reason:
                raise AssertionError(f"{bad.name}: {error.reason} at {error.offset}, not {bad.reason}") from error
            said = {"name": bad.name, "hex": bad.data.hex(), "reason": bad.reason, "offset": error.offset, "field": error.field}
            return said | ({"needs": "unit and key"} if bad.peer else {})
        raise AssertionError(f"{bad.name} is not refused")


def plain(value: Any) -> Any:
    """JSON values: bytes as `{"hex": ...}`, numbers that are not finite by name."""
    if isinstance(value, bytes | bytearray):
        return {"hex": bytes(value).hex()}
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def expected(frame: Frame, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a decoded frame says, with its reports."""
    said: dict[str, Any] = {"kind": frame.kind, "unit": frame.unit, "sequence": frame.sequence, "captured_at": frame.captured_at}
    said = {name: value for name, value in said.items() if value is not None}
    if facts:
        said["facts"] = dict(facts)
    if frame.reports:
        said["reports"] = [{"captured_at": report.captured_at, "signals": dict(report.signals)} for report in frame.reports]
    return said


def written(document: Mapping[str, Any]) -> str:
    """The document as it is committed: a vector a line."""
    head = {name: value for name, value in document.items() if name not in ("vectors", "refused")}
    lines = [json.dumps(head, ensure_ascii=False)[:-1]]
    for name in ("vectors", "refused"):
        rows = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in document[name])
        lines.append(f'"{name}": [\n{rows}\n]')
    return ",\n".join(lines) + "}\n"


def documents() -> Iterator[tuple[str, str]]:
    """Every file by its name, with its text."""
    from bench.conformance.vectors import autoapi, cloudboxx, gbt32960, teltonika, vtc
    from bench.conformance.vectors.schema import SCHEMA

    for made in (cloudboxx.vectors(), teltonika.vectors(), gbt32960.vectors(), autoapi.vectors()):
        yield f"{made.protocol}.json", written(made.document())
    yield "vtc.json", written(vtc.document())
    yield "schema.json", json.dumps(SCHEMA, indent=1) + "\n"
