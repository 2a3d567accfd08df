"""A recording of MQTT traffic for `teleloop decode`: its messages one by one, each with who said it and when."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.decoding import Decoded, decoded
from gateway.registry.errors import ModelUnknown
from modeldb import Database
from modeldb import load as load_models
from protocols.codec import ProtocolError
from protocols.recording import MAGIC, Reader, Record, is_recording

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Message:
    """One message explained. `frames` is empty for presence and for topics that are no unit's."""

    record: Record
    frames: tuple[Decoded, ...]

    @property
    def at(self) -> str:
        """When it was received, ISO 8601."""
        said = datetime.fromtimestamp(self.record.at_us / 1e6, UTC).isoformat(timespec="milliseconds")
        return said.replace("+00:00", "Z")

    @property
    def title(self) -> str:
        """When, on which topic, and what it says where that is no frame."""
        said = "" if self.frames else f"  {self.record.payload[:60].decode('utf-8', 'backslashreplace')}"
        return f"{self.at}  {self.record.topic}{said}"

    def documents(self) -> Iterator[dict[str, Any]]:
        """The documents of its frames, with `received_at` and `topic`."""
        for each in self.frames:
            yield each.document() | {"received_at": self.at, "topic": self.record.topic}


def holds_a_recording(path: Path) -> bool:
    """Whether the file begins as a recording does. Raises OSError."""
    with path.open("rb") as file:
        return is_recording(file.read(len(MAGIC)))


class Messages:
    """The messages of a recording, in order. `meant` is what `decoded` takes besides the payload and goes before what the topic
    and the header say. `damage`, after the last message, is what could not be read. Raises ValueError if none of it can be."""

    def __init__(self, path: Path, meant: Mapping[str, Any]) -> None:
        self._path, self._meant = path, {name: value for name, value in meant.items() if value is not None}
        self._models: Database = load_models()
        self.damage: list[ProtocolError] = []

    def __iter__(self) -> Iterator[Message]:
        reader = Reader()
        try:
            with self._path.open("rb") as file:
                while data := file.read(READ_BYTES):
                    for record in reader.feed(data):
                        yield Message(record, self._explained(record, reader.about or {}))
            reader.finish()
        except ProtocolError as error:
            raise ValueError(f"{self._path}: a recording that cannot be read: {error}") from error
        self.damage = reader.damage

    def _explained(self, record: Record, about: Mapping[str, Any]) -> tuple[Decoded, ...]:
        unit = record.unit
        if unit is None or record.channel not in ("up", "down"):
            return ()
        meant = dict(self._meant)
        if unit.brand in self._models.brands and "protocol" not in meant:
            meant.setdefault("brand", unit.brand)
        models = about.get("models")
        known = models.get(str(unit)) if isinstance(models, dict) else None
        if known in self._models.models:
            meant.setdefault("model", known)
        try:
            return tuple(decoded(record.payload, **meant))
        except ModelUnknown:  # of another brand than this one's units
            return tuple(
                decoded(record.payload, **{name: value for name, value in meant.items() if name not in ("model", "year")})
            )
