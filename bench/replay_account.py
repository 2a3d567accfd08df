"""What became of what was said to a gateway: per report attempted, acknowledged in the gateway's own words, seen as an event."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bench.ledger import Ledger, event_id
from devices.journal import ahead
from protocols.codec import Protocol, ProtocolError, Report, UnitId

WINDOW = 32
"""Sequence numbers after the cumulative one that a CloudBoxx Ack tells of one by one."""

RECONNECT_S = 0.3


@dataclass(slots=True)
class _Speaker:
    """What one unit has said and not yet heard an answer to: places in the ledger by sequence number, or frame by frame."""

    unit: UnitId
    vehicle_id: str
    protocol: Protocol
    answers: bool
    by_sequence: dict[int, list[int]] = field(default_factory=dict)
    unanswered: deque[list[int]] = field(default_factory=deque)
    with_broker: list[int] = field(default_factory=list)


class Account:
    """The ledger of what is said, kept as it is said. Times are monotonic seconds.

    A unit whose protocol has no Ack of its own is acknowledged by its broker: `broker_acknowledged`.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._speakers: dict[UnitId, _Speaker] = {}
        self._vehicles: set[str] = set()
        self._places = itertools.count(1)
        self._place_of: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self.ledger = Ledger()
        self.latencies_s: list[float] = []
        self.frames = self.events = self.answered = 0

    def introduce(self, unit: UnitId, vehicle_id: str, protocol: Protocol, answers: bool) -> None:
        """A unit that will speak for a vehicle; whether its brand's reports are answered."""
        self._speakers[unit] = _Speaker(unit, vehicle_id, protocol, answers)
        self._vehicles.add(vehicle_id)

    def said(self, unit: UnitId, payload: bytes) -> None:
        """The unit said this; what cannot be read of it is nobody's report."""
        speaker = self._speakers.get(unit)
        if speaker is None:
            return
        for cut in speaker.protocol.split(payload):
            self.frames += 1
            if cut.error is not None:
                continue
            try:
                frame = speaker.protocol.decode(cut.data)
            except ProtocolError:
                continue
            places = [self._attempt(speaker, report) for report in frame.reports]
            match speaker.protocol.acknowledgement:
                case "window" if frame.sequence is not None:
                    speaker.by_sequence[frame.sequence] = places
                case "frame" if places and speaker.answers:
                    speaker.unanswered.append(places)
                case _:
                    speaker.with_broker += places

    def _attempt(self, speaker: _Speaker, report: Report) -> int:
        event = event_id(speaker.vehicle_id, report.record)
        if event not in self._place_of:
            self._place_of[event] = next(self._places)
            self._began[event] = self._now()
            self.ledger.attempt(speaker.unit, self._place_of[event], event, report.captured_at or 0)
        return self._place_of[event]

    def _acknowledge(self, speaker: _Speaker, places: Iterable[int]) -> None:
        for place in places:
            self.ledger.acknowledge(speaker.unit, place)
            self.answered += 1

    def broker_acknowledged(self) -> None:
        """The broker holds all that was said."""
        for speaker in self._speakers.values():
            self._acknowledge(speaker, speaker.with_broker)
            speaker.with_broker.clear()

    def heard(self, unit: UnitId, payload: bytes) -> None:
        """The gateway said this to the unit."""
        speaker = self._speakers.get(unit)
        if speaker is None:
            return
        if speaker.protocol.acknowledgement == "frame":
            self._heard_answers(speaker, payload)
            return
        for cut in speaker.protocol.split(payload):
            with contextlib.suppress(ProtocolError):
                frame = speaker.protocol.decode(cut.data)
                if frame.kind == "ack":
                    self._heard_ack(speaker, frame.facts["cumulative"], frame.facts["bitmap"])

    def _heard_ack(self, speaker: _Speaker, cumulative: int, bitmap: int) -> None:
        for sequence in list(speaker.by_sequence):
            distance = ahead(sequence, cumulative)
            if distance <= 0 or (distance <= WINDOW and bitmap >> (distance - 1) & 1):
                self._acknowledge(speaker, speaker.by_sequence.pop(sequence))

    def _heard_answers(self, speaker: _Speaker, payload: bytes) -> None:
        """Answers in the order of the frames; each says of how many reports it is (Teltonika: 32 bits)."""
        answers = payload[1:] if len(payload) % 4 == 1 else payload
        for at in range(0, len(answers) - 3, 4):
            if not speaker.unanswered:
                return
            places = speaker.unanswered.popleft()
            if int.from_bytes(answers[at : at + 4], "big") == len(places):
                self._acknowledge(speaker, places)

    def event(self, event: str, vehicle_id: str) -> None:
        """A VehicleStateRecorded was seen."""
        if vehicle_id not in self._vehicles:
            return
        self.events += 1
        if self.ledger.observe(event, self._now()) is not None:
            self.latencies_s.append(self._now() - self._began[event])

    def latency_ms(self) -> dict[str, float | None]:
        """From the first time that a report was said to its event."""
        ordered = sorted(self.latencies_s)
        places = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: round(1000 * _at(ordered, share), 1) if ordered else None for name, share in places.items()}


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Effort:
    """What this process itself took, from when it was made."""

    began: float = field(default_factory=time.monotonic)
    cpu_s: float = field(default_factory=time.process_time)

    def document(self, behind_s: float) -> dict[str, Any]:
        """`generator`: a process that fell behind its own schedule measured itself."""
        elapsed_s = max(1e-6, time.monotonic() - self.began)
        cpu = 100 * (time.process_time() - self.cpu_s) / elapsed_s
        return {"cpu_percent": round(cpu, 1), "rss_mib": _rss_mib(), "bottleneck": behind_s > 1.0 or cpu > 90.0}


def _rss_mib() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


class Watch:
    """A gateway's events as its API tells them. Made by `opened`."""

    def __init__(self, url: str, token: str, on_event: Callable[[str, str], None]) -> None:
        headers, timeout = {"Authorization": f"Bearer {token}"}, httpx2.Timeout(10, read=None)
        self._api = httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout)
        self._on_event = on_event
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._last: str | None = None

    async def vehicles(self) -> dict[UnitId, str]:
        """The vehicle of each unit that the gateway knows. Raises httpx2.HTTPError."""
        found: dict[UnitId, str] = {}
        cursor = None
        while True:
            answer = await self._api.get("/vehicles", params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
            page = answer.raise_for_status().json()
            for each in page["items"]:
                unit = each["telematics_unit"]
                found[UnitId(unit["brand"], unit["id"])] = each["id"]
            if (cursor := page.get("next_cursor")) is None:
                return found

    async def listen(self) -> None:
        """Hear what happens from now on; returns when the gateway has begun to tell."""
        self._task = asyncio.create_task(self._hear())
        async with asyncio.timeout(10):
            await self._listening.wait()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._api.aclose()

    async def _hear(self) -> None:
        while True:
            headers = {"Last-Event-ID": self._last} if self._last else {}
            with contextlib.suppress(httpx2.HTTPError):
                async with self._api.stream("GET", "/events", params={"type": "VehicleStateRecorded"}, headers=headers) as answer:
                    answer.raise_for_status()
                    await self._take(answer.aiter_lines())
            await asyncio.sleep(RECONNECT_S)

    async def _take(self, lines: Any) -> None:
        async for line in lines:
            self._listening.set()
            name, _, value = line.partition(":")
            if name == "id":
                self._last = value.strip()
            elif name == "data":
                metadata = json.loads(value)["metadata"]
                self._on_event(metadata["id"], metadata["vehicle_id"])
