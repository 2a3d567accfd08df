"""Captures in bulk: what a file holds, through the hot path, counted by protocol. For `teleloop decode --bulk`.

A capture is a recording of `teleloop record`; JSON lines with `topic` and `payload` (hex, or base64); hex, a payload a line; or
frames back to back as bytes.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from modeldb import Database
from protocols.codec import UnitId
from protocols.explain import guess
from protocols.hotpath import BINDINGS, Decoder
from protocols.hotpath.bulk import FRAMES_AT_ONCE, Capture, Tally
from protocols.recording import Reader, Record, is_recording

READ_BYTES = 1 << 20
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]*")
_BETWEEN = re.compile(rb"0[xX]|[\s:,;_-]")

Progress = Callable[[int], None]
"""Called with how many bytes of the file have been read."""


class _Line(msgspec.Struct):
    topic: str
    payload: str


class _Said(NamedTuple):
    """A payload, and the brand that its topic names."""

    brand: str
    payload: bytes


class Bulk:
    """Decodes captures. `protocol` is whose frames they hold where no topic says it; without it, it is guessed.

    With `key`, seals are checked. Raises ValueError, with a sentence for people, for what cannot be read, and OSError.
    """

    def __init__(self, models: Database, protocol: str | None = None, key: bytes | None = None) -> None:
        if protocol is not None and protocol not in BINDINGS:
            raise ValueError(f"{protocol} is not decoded in bulk; {', '.join(sorted(BINDINGS))} are")
        self._models, self._protocol, self._key = models, protocol, key
        self.damage: list[str] = []
        self.passed_over = 0
        self._captures: dict[str, Capture] = {}

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What was found, by protocol."""
        return {name: capture.tally for name, capture in self._captures.items()}

    def take(self, path: Path, progress: Progress = lambda _: None) -> None:
        """Count what a file holds."""
        with path.open("rb") as file:
            head = file.read(READ_BYTES)
        if not head:
            raise ValueError(f"{path} is empty")
        if is_recording(head):
            self._take_said(self._recorded(path, progress))
        elif _TEXT.fullmatch(head):
            self._take_said(_lines(path, progress))
        else:
            self._capture(self._named(head)).take_stream(_chunks(path, progress))

    def _take_said(self, said: Iterator[_Said]) -> None:
        waiting: dict[str, list[bytes]] = {}
        for brand, payload in said:
            name = self._spoken(brand, payload)
            if name is None:
                self.passed_over += 1
                continue
            those = waiting.setdefault(name, [])
            those.append(payload)
            if len(those) >= FRAMES_AT_ONCE:
                self._capture(name).take(waiting.pop(name))
        for name, those in waiting.items():
            self._capture(name).take(those)

    def _spoken(self, brand: str, payload: bytes) -> str | None:
        """The protocol of a payload; None: it is not decoded in bulk, or nobody knows the brand."""
        if brand:
            known = self._models.brands.get(brand)
            return known.protocol if known is not None and known.protocol in BINDINGS else None
        return self._named(payload)

    def _named(self, payload: bytes) -> str:
        if self._protocol is None:
            name = guess(payload[: 64 * 1024]).name
            if name not in BINDINGS:
                raise ValueError("the protocol cannot be guessed: say it by --protocol")
            self._protocol = name
        return self._protocol

    def _capture(self, name: str) -> Capture:
        capture = self._captures.get(name)
        if capture is None:
            capture = self._captures[name] = Capture(Decoder(BINDINGS[name], trusting=True), self._key)
        return capture

    def _recorded(self, path: Path, progress: Progress) -> Iterator[_Said]:
        reader = Reader()
        for chunk in _chunks(path, progress):
            yield from (_said(record) for record in reader.feed(chunk) if record.channel != "presence")
        reader.finish()
        self.damage = [str(error) for error in reader.damage]


def _said(record: Record) -> _Said:
    unit: UnitId | None = record.unit
    return _Said(unit.brand if unit else "?", record.payload)


def _chunks(path: Path, progress: Progress) -> Iterator[bytes]:
    read = 0
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            read += len(chunk)
            progress(read)
            yield chunk


def _lines(path: Path, progress: Progress) -> Iterator[_Said]:
    read, decoder = 0, msgspec.json.Decoder(_Line)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            read += len(line)
            if number % FRAMES_AT_ONCE == 0:
                progress(read)
            line = line.strip()
            if not line:
                continue
            try:
                yield _object(decoder.decode(line)) if line[:1] == b"{" else _Said("", _bytes(line))
            except (ValueError, msgspec.MsgspecError) as error:
                raise ValueError(
                    f"{path}, line {number}: neither hex nor a JSON object with topic and payload: {error}"
                ) from None


def _bytes(line: bytes) -> bytes:
    """What hex digits say, whatever is usual between them. Raises ValueError."""
    try:
        return bytes.fromhex(line.decode("ascii"))
    except ValueError:
        return bytes.fromhex(_BETWEEN.sub(b"", line).decode("ascii"))


def _object(line: _Line) -> _Said:
    parts = line.topic.split("/")
    brand = parts[1] if len(parts) == 4 and parts[0] == "v1" else "?"
    try:
        return _Said(brand, bytes.fromhex(line.payload))
    except ValueError:
        try:
            return _Said(brand, base64.b64decode(line.payload, validate=True))
        except binascii.Error:
            raise ValueError("the payload is neither hex nor base64") from None


def document(tallies: Mapping[str, Tally], seconds: float, path: str) -> dict[str, Any]:
    """The answer for machines."""
    frames = sum(tally.frames for tally in tallies.values())
    return {
        "frames": frames,
        "refused": sum(sum(tally.refused.values()) for tally in tallies.values()),
        "seconds": round(seconds, 3),
        "frames_per_s": round(frames / seconds) if seconds else None,
        "path": path,
        "protocols": {name: _of(tally) for name, tally in sorted(tallies.items())},
    }


def _of(tally: Tally) -> dict[str, Any]:
    refused = {
        reason: {"count": count, "first": dict(zip(("payload", "offset"), tally.first[reason], strict=True))}
        for reason, count in sorted(tally.refused.items())
    }
    return {
        "frames": tally.frames,
        "payloads": tally.payloads,
        "bytes": tally.size_bytes,
        "in_bulk": tally.vouched,
        "kinds": dict(sorted(tally.kinds.items())),
        "refused": refused,
    }
