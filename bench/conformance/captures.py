"""What was captured, whoever captured it: payloads with brand, unit and direction, cut into pieces that checks look at."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import modeldb
from bench.conformance import pcap
from bench.conformance.requirement import Broken, NotExecuted
from protocols import envelope, load
from protocols.codec import Peer, Protocol, ProtocolError, UnitId
from protocols.explain import Explanation, explain, guess
from protocols.recording import is_recording
from protocols.recording import read as read_recording
from protocols.stream import Framer

Direction = Literal["up", "down", ""]
INPUT_LIMIT_BYTES = 256 << 20
_BETWEEN = re.compile(r"0[xX]|[\s:,;_-]")
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]*")


class CaptureFileError(ValueError):
    """A file that holds nothing to judge; the message is for people."""


@dataclass(frozen=True)
class Capture:
    """One payload. `unit` is whom the topic (or whoever captured it) names; `direction` is empty where nobody knows."""

    protocol: Protocol
    payload: bytes
    unit: UnitId | None = None
    direction: Direction = ""
    at: float = 0.0
    source: str = ""
    moment: int | None = None


@dataclass(frozen=True)
class Keys:
    """The secrets that seals and tags are checked with, by unit id; a key without an id is for every unit."""

    seal: Mapping[str, bytes] = field(default_factory=dict)
    command: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)

    def peer(self, unit: str) -> Peer | None:
        """Who is supposed to have sealed, if its key is known."""
        key = self.seal.get(unit, self.seal.get(""))
        return None if key is None else Peer(unit, (key,))

    def commands(self, unit: str) -> Mapping[int, bytes] | None:
        """K_cmd by key id, if known."""
        return self.command.get(unit, self.command.get(""))


class Piece:
    """One frame of a payload, or a stretch where none was found."""

    def __init__(self, capture: Capture, offset: int, data: bytes, error: ProtocolError | None, explanation: Explanation) -> None:
        self.capture, self.offset, self.data, self.error = capture, offset, data, error
        self.explanation = explanation
        self.frame = explanation.frame

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return self.capture.protocol.name

    @property
    def kind(self) -> str:
        """What the protocol calls the frame; empty where it could not be decoded."""
        return self.frame.kind if self.frame else ""

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """Name of each field to its value."""
        return {each.name: each.value for each in self.explanation.fields if each.name}

    def named(self, pattern: str) -> Iterator[tuple[str, Any]]:
        """The fields whose name matches the regular expression wholly."""
        wanted = re.compile(pattern)
        return ((name, value) for name, value in self.fields.items() if wanted.fullmatch(name))

    def raw(self, name: str) -> bytes:
        """The bytes of a field; empty if it is not there."""
        return next((each.raw for each in self.explanation.fields if each.name == name), b"")

    def broken(self, expected: str, seen: str) -> Broken:
        """The requirement does not hold for this piece."""
        return Broken(expected, f"{seen} in {self.where}", self.data, protocol=self.protocol, moment=self.capture.moment)

    @property
    def where(self) -> str:
        """Where it was found."""
        capture = self.capture
        parts = [self.kind or "a frame", f"of {capture.unit}" if capture.unit else "", capture.source]
        return ", ".join(part for part in parts if part) + (f", from byte {self.offset}" if self.offset else "")


class Captures:
    """All that was captured, of one or several protocols. `log` are lines for people, one a payload."""

    def __init__(self, captured: Iterable[Capture], keys: Keys = Keys(), log: Sequence[str] = ()) -> None:
        self.captured, self.keys = list(captured), keys
        self.log: Sequence[str] = list(log) or [_line(each) for each in self.captured]
        if not log:
            self.captured = [_at(each, place) for place, each in enumerate(self.captured)]
        self._pieces: dict[str, list[Piece]] = {}

    @property
    def protocols(self) -> set[str]:
        """Which protocols are spoken."""
        return {each.protocol.name for each in self.captured}

    def pieces(self, protocol: str) -> list[Piece]:
        """The pieces of one protocol, in the order of capture."""
        if protocol not in self._pieces:
            self._pieces[protocol] = [
                piece for each in self.captured if each.protocol.name == protocol for piece in _cut(each, self.keys)
            ]
        return self._pieces[protocol]

    def each(
        self, protocol: str, what: str, applies: Callable[[Piece], bool], check: Callable[[Piece], None], todo: str = ""
    ) -> str:
        """Run `check` over every piece that it `applies` to; what was seen. Raises NotExecuted if there is none."""
        found = [piece for piece in self.pieces(protocol) if applies(piece)]
        if not found:
            every = len(self.pieces(protocol))
            raise NotExecuted(f"no {what} among the {every} {protocol} frames", todo or f"capture traffic that has {what}")
        for piece in found:
            check(piece)
        return f"{len(found)} x {what}"


def _at(capture: Capture, moment: int) -> Capture:
    return Capture(capture.protocol, capture.payload, capture.unit, capture.direction, capture.at, capture.source, moment)


def _line(capture: Capture) -> str:
    arrow = {"up": "unit ->", "down": "-> unit", "": "      "}[capture.direction]
    return f"{capture.at:.3f} {arrow} {capture.unit or ''} {len(capture.payload)} bytes {capture.payload.hex()[:160]}"


def _cut(capture: Capture, keys: Keys) -> Iterator[Piece]:
    peer = keys.peer(capture.unit.telematics_unit_id) if capture.unit else keys.peer("")
    if peer is not None and not peer.unit:
        peer = None
    for each in explain(capture.payload, capture.protocol, peer):
        yield Piece(capture, each.offset, each.data, each.error, each)


# Reading files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """How files are read: the protocol and unit of what does not say so itself."""

    protocol: Protocol | None = None
    unit: UnitId | None = None


def protocol_of(brand: str) -> Protocol:
    """The protocol of a brand, or the protocol of this name. Raises CaptureFileError."""
    brands, protocols = modeldb.load().brands, load()
    if brand.upper() in brands:
        return protocols[brands[brand.upper()].protocol]
    if brand.lower() in protocols:
        return protocols[brand.lower()]
    raise CaptureFileError(f"{brand} is no brand ({', '.join(brands)}) and no protocol ({', '.join(protocols)})")


def read_file(path: Path, how: Reading) -> list[Capture]:
    """What a file holds: a recording, a pcap or pcapng, hex (a payload a line), or one binary payload.

    Raises CaptureFileError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptureFileError(str(error)) from error
    if len(data) > INPUT_LIMIT_BYTES:
        raise CaptureFileError(f"{path}: more than {INPUT_LIMIT_BYTES >> 20} MiB")
    if is_recording(data):
        return list(_of_recording(path, data, how))
    if pcap.is_capture(data):
        return list(_of_pcap(path, data, how))
    return list(_of_text(path, data, how))


def _of_recording(path: Path, data: bytes, how: Reading) -> Iterator[Capture]:
    try:
        records, _ = read_recording(data)
    except ProtocolError as error:
        raise CaptureFileError(f"{path}: {error}") from error
    for number, each in enumerate(records, 1):
        yield from _of_topic(each.topic, each.payload, each.at_us / 1e6, f"{path.name} record {number}", how)


def _of_topic(topic: str, payload: bytes, at: float, source: str, how: Reading) -> Iterator[Capture]:
    parts = topic.split("/")
    if len(parts) != 4 or parts[0] != "v1" or parts[3] not in ("up", "down"):
        return
    unit = UnitId(parts[1], parts[2])
    try:
        protocol = how.protocol or protocol_of(unit.brand)
    except CaptureFileError:
        protocol = guess(payload)
    direction: Direction = "up" if parts[3] == "up" else "down"
    yield Capture(protocol, payload, unit, direction, at, source)


def _of_pcap(path: Path, data: bytes, how: Reading) -> Iterator[Capture]:
    seen: set[tuple[float, str, bytes]] = set()
    try:
        found = pcap.streams(data)
    except pcap.CaptureError as error:
        raise CaptureFileError(f"{path}: {error}") from error
    for stream in found:
        if pcap.is_mqtt(stream):
            for number, (at, said) in enumerate(pcap.messages(stream), 1):
                key = (at, said.topic, said.payload)
                if key not in seen:
                    seen.add(key)
                    yield from _of_topic(said.topic, said.payload, at, f"{path.name} message {number}", how)
        elif (framing := getattr(how.protocol, "framing", None)) is not None and how.protocol is not None:
            framer = Framer(framing)
            for number, piece in enumerate(stream.pieces):
                for cut in [*framer.receive(bytes(piece)), *framer.close()]:
                    yield Capture(how.protocol, cut.data, how.unit, "", stream.at(number, cut.offset), f"{path.name} stream")


def _of_text(path: Path, data: bytes, how: Reading) -> Iterator[Capture]:
    for number, payload in enumerate(_payloads(path, data), 1):
        yield Capture(how.protocol or guess(payload), payload, how.unit, "", 0.0, f"{path.name} line {number}")


def _payloads(path: Path, data: bytes) -> list[bytes]:
    if not data.strip():
        raise CaptureFileError(f"{path}: there is nothing in it")
    if not _TEXT.fullmatch(data):
        return [data]
    lines = [line.split("#")[0] for line in data.decode("ascii").splitlines()]
    digits = [_BETWEEN.sub("", line) for line in lines if line.strip()]
    for line in digits:
        if strange := re.search(r"[^0-9a-fA-F]", line):
            raise CaptureFileError(f"{path}: {strange[0]!r} is no hex digit; recordings, pcap, pcapng and hex are read")
        if len(line) % 2:
            raise CaptureFileError(f"{path}: a line of {len(line)} hex digits: half a byte is missing")
    return [bytes.fromhex(line) for line in digits if line]


def opened(piece: Piece, keys: Keys) -> envelope.Envelope | None:
    """The envelope that a frame carries, its tag checked; None if it carries none, or the key is not known."""
    data = piece.frame.facts.get("envelope") if piece.frame else None
    unit = piece.capture.unit.telematics_unit_id if piece.capture.unit else (piece.frame.unit if piece.frame else None)
    known = keys.commands(unit or "")
    if not isinstance(data, bytes) or known is None or unit is None:
        return None
    return envelope.open(data, unit, dict(known))
