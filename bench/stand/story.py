"""What happened on the stand, so that a failed expectation can be told with what stood around it."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modeldb.model import Translation
from protocols.codec import Frame, Protocol, ProtocolError

FRAMES_KEPT, LINES_KEPT = 200, 2000
FRAMES_TOLD, LINES_TOLD = 6, 20


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the gateway. `at_ms` is when the stand saw it, in the stand's own time."""

    at_ms: int
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """`CentralLockChanged`, ..."""
        return str(self.body["metadata"]["type"])

    @property
    def captured_ms(self) -> int:
        """When it occurred, by the unit's clock."""
        return round(datetime.fromisoformat(self.body["metadata"]["occurred_at"]).timestamp() * 1000)


@dataclass(slots=True)
class Story:
    """Times are Unix milliseconds of the stand."""

    protocol: Protocol | None = None
    translation: Translation | None = None
    frames: deque[tuple[int, str, bytes]] = field(default_factory=lambda: deque(maxlen=FRAMES_KEPT))
    lines: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    events: list[Happened] = field(default_factory=list)

    def note(self, at_ms: int, text: str) -> None:
        """A step of the test, or something that came of it."""
        self.lines.append((at_ms, text))

    def frame(self, at_ms: int, way: str, payload: bytes) -> None:
        """A payload went `up` or `down`."""
        self.frames.append((at_ms, way, bytes(payload)))

    def happened(self, at_ms: int, body: Mapping[str, Any]) -> Happened:
        """The gateway told an event."""
        event = Happened(at_ms, body)
        self.events.append(event)
        if event.type != "VehicleStateRecorded":
            self.note(at_ms, f"event {event.type}{_said(body)}")
        return event

    def told(self, expected: str, seen: str) -> str:
        """Why an expectation failed, with the last frames explained and the log around it."""
        parts = [f"expected  {expected}", f"seen      {seen}"]
        frames = list(self.frames)[-FRAMES_TOLD:]
        parts.append("last frames" if frames else "last frames: none were seen")
        before: dict[str, Any] = {}
        for at_ms, way, payload in frames:
            parts += [f"  {clock(at_ms)}  {way:4}  {line}" for line in self.explained(payload, before)]
        parts.append("log")
        parts += [f"  {clock(at_ms)}  {text}" for at_ms, text in list(self.lines)[-LINES_TOLD:]]
        return "\n".join(parts)

    def explained(self, payload: bytes, before: dict[str, Any]) -> Iterator[str]:
        """Each frame of a payload on a line; of a state what is not as `before`, which is brought up to date."""
        if self.protocol is None:
            yield f"{len(payload)} bytes: {payload[:24].hex()}"
            return
        for cut in self.protocol.split(payload):
            try:
                if cut.error is not None:
                    raise cut.error
                yield self._line(self.protocol.decode(cut.data), len(cut.data), before)
            except ProtocolError as error:
                yield f"no frame: {error}, {len(cut.data)} bytes: {cut.data[:24].hex()}"

    def _line(self, frame: Frame, size: int, before: dict[str, Any]) -> str:
        said = f"{frame.kind}" + (f" {frame.sequence}" if frame.sequence is not None else "") + f", {size} bytes"
        state: dict[str, Any] = {}
        for report in frame.reports:
            state |= self.translation.translate(report.signals) if self.translation else dict(report.signals)
        news = {key: value for key, value in state.items() if before.get(key) != value}
        shown = ", ".join(f"{key}={_short(value)}" for key, value in news.items()) or "as before"
        before.update(state)
        if not state:
            plain = {key: value for key, value in frame.facts.items() if isinstance(value, int | str) and key != "flags"}
            shown = ", ".join(f"{key}={value}" for key, value in plain.items())
        return f"{said}: {shown}" if shown else said


def clock(at_ms: float) -> str:
    """`15:00:12.250`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S.") + f"{int(at_ms) % 1000:03}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{each:.5f}" for each in value.values())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(body: Mapping[str, Any]) -> str:
    if "to" in body:
        return f": {body['from']} -> {body['to']}"
    return f": {', '.join(body['reasons'])}" if "reasons" in body else ""
