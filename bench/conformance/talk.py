"""The kit as a unit's gateway: it logs the unit in, acknowledges or does not, cuts the line, and sends commands good and bad.

Whatever is said and heard goes into one log. Checks ask for phases; each is played once, when the first check wants it.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from bench.conformance.captures import Capture, Captures, Keys
from bench.conformance.requirement import NotExecuted, Requirement
from bench.conformance.wire.line import Heard, Wire
from modeldb.model import Translation
from protocols import envelope
from protocols.codec import Frame, Peer, Protocol, ProtocolError, UnitId
from protocols.envelope import COMMAND_CODES, LIFETIME_LIMIT_S, NATIVE_COMMAND, Algorithm, Envelope, Result, Type
from protocols.gbt32960 import REALTIME, REISSUE

T = TypeVar("T")
PUMP_S = 0.25
FRAMES_WANTED = 8
"""How many frames the checks of frames should have to look at, if the unit says as many soon enough."""

MODULUS = 1 << 32


@dataclass(frozen=True)
class Timing:
    """How long the kit waits for what has to come, and for what must not; and by how much clocks and intervals may be off."""

    timeout_s: float = 30.0
    silence_s: float = 2.0
    tolerance_s: float = 5.0


@dataclass(frozen=True)
class Said:
    """One frame of the unit. `moment` is its line in the log, `payload` the number of the payload that it came in."""

    frame: Frame
    data: bytes
    at_ms: int
    moment: int
    payload: int
    connection: int


@dataclass
class Answered:
    """A request, and what the unit answered: the response, the frames in the same payload behind it, and the state after."""

    request: Envelope
    sent: bytes
    response: Envelope | None = None
    raw: bytes = b""
    behind: list[Said] = field(default_factory=list)
    moment: int | None = None


class UnitTalk:
    """One conversation with one unit over a wire. `keys` are K_seal and K_cmd as far as they are known."""

    def __init__(
        self, wire: Wire, unit: UnitId, protocol: Protocol, keys: Keys, timing: Timing, translation: Translation | None = None
    ) -> None:
        self.wire, self.unit, self.protocol, self.keys, self.timing = wire, unit, protocol, keys, timing
        self.translation = translation
        self.log: list[str] = []
        self.frames: list[Said] = []
        self.junk: list[tuple[bytes, ProtocolError]] = []
        self.captured: list[Capture] = []
        self.connections: list[Heard] = []
        self.answering = True
        self.accepting: bytes | None = None
        self._taken = 0
        self._payloads = 0
        self._held: set[int] = set()
        self._cumulative: int | None = None
        self._counter = 0
        self._phases: dict[str, Any] = {}
        self._captures: Captures | None = None
        self.late: list[Said] = []

    # What the unit does -------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The unit's id."""
        return self.unit.telematics_unit_id

    @property
    def seal_key(self) -> bytes:
        """K_seal. Raises NotExecuted where the protocol seals and it is not known."""
        peer = self.keys.peer(self.id)
        if peer is None:
            if self.protocol.sealed:
                raise NotExecuted("the unit's K_seal is not known: it would not believe the kit", "give --seal-key or --units")
            return b""
        return peer.seal_keys[0]

    def note(self, line: str) -> int:
        """A line in the log; its number."""
        self.log.append(f"{self.wire.now_ms() / 1000:.3f} {line}")
        return len(self.log) - 1

    def serve(self, until: Callable[[], T], seconds: float | None = None) -> T:
        """Hear the unit, and answer as the kit does at the moment, until `until` gives something true or the time is over."""
        ends_ms = self.wire.now_ms() + 1000 * (self.timing.timeout_s if seconds is None else seconds)
        self._drain()
        while not (found := until()):
            left_s = (ends_ms - self.wire.now_ms()) / 1000
            if left_s <= 0:
                break
            self.wire.pump(min(left_s, self.timing.timeout_s if self.wire.virtual else PUMP_S))
            self._drain()
        return found

    def wait(self, seconds: float) -> None:
        """Let time pass, answering."""
        self.serve(lambda: False, seconds)

    def _drain(self) -> None:
        while self._taken < len(self.wire.heard):
            heard = self.wire.heard[self._taken]
            self._taken += 1
            self._take(heard)

    def _take(self, heard: Heard) -> None:
        match heard.what:
            case "connect":
                self.connections.append(heard)
                self.note(f"unit connects ({heard.connect.client_id})" if heard.connect else "unit connects")
            case "payload":
                self._payloads += 1
                self._hear(heard)
            case "lost":
                self.note("the connection is lost")
            case other:
                self.note(f"unit: {other} {heard.publish.topic if heard.publish else heard.filters or ''} {heard.payload[:40]!r}")

    def _hear(self, heard: Heard) -> None:
        moment = self.note(f"unit -> {len(heard.payload)} bytes {heard.payload.hex()[:200]}")
        self.captured.append(Capture(self.protocol, heard.payload, self.unit, "up", heard.at_ms / 1000, "the unit", moment))
        fresh: list[Said] = []
        for cut in self.protocol.split(heard.payload):
            try:
                if cut.error is not None:
                    raise cut.error
                frame = self.protocol.decode(cut.data, self.keys.peer(self.id) if self.protocol.sealed else Peer(self.id))
            except ProtocolError as error:
                self.junk.append((cut.data, error))
                self.note(f"        which is refused: {error}")
                continue
            fresh.append(Said(frame, cut.data, heard.at_ms, moment, self._payloads, len(self.connections)))
        self.frames += fresh
        if self.answering:
            self.settle(fresh)

    # What the kit says --------------------------------------------------------------------------------------------------

    def say(self, payload: bytes, what: str, *, genuine: bool = False) -> int:
        """Send a payload down; `genuine`: it is as a gateway says it, and is judged as such."""
        moment = self.note(f"-> unit {what}: {len(payload)} bytes {payload.hex()[:200]}")
        if genuine:
            at = self.wire.now_ms() / 1000
            self.captured.append(Capture(self.protocol, payload, self.unit, "down", at, "the kit", moment))
        self.wire.say(payload)
        return moment

    def settle(self, said: Iterable[Said]) -> None:
        """Tell the unit that its frames are held, as a gateway does."""
        found = list(said)
        if self.protocol.acknowledgement == "window":
            if found and self.keys.peer(self.id) is not None:
                self.acknowledge(found)
            return
        for each in found:
            frame = each.frame
            if frame.kind == "hello" and self.accepting is not None:
                self.say(self.accepting, "the login's answer")
            elif (answer := self.protocol.answer(frame, len(frame.reports))) is not None:
                self.say(answer, f"the answer to {frame.kind}", genuine=True)
            if frame.facts.get("clock_unsynchronised"):
                told = self.protocol.synchronise(self.id, self.wire.now_ms(), b"")
                if told is not None:
                    self.say(told, "the time", genuine=True)

    def acknowledge(self, found: Sequence[Said]) -> None:
        """An Ack for all that has arrived without a gap."""
        for each in found:
            frame = each.frame
            if frame.sequence is None:
                continue
            oldest = frame.facts.get("oldest_sequence")
            if self._cumulative is None:
                first = oldest if oldest is not None else frame.sequence
                self._cumulative = (first - 1) % MODULUS
            if oldest is not None and 0 < (oldest - 1 - self._cumulative) % MODULUS < MODULUS // 2:
                self._cumulative = (oldest - 1) % MODULUS
            self._held.add(frame.sequence)
        if self._cumulative is None:
            return
        while (self._cumulative + 1) % MODULUS in self._held:
            self._cumulative = (self._cumulative + 1) % MODULUS
            self._held.discard(self._cumulative)
        bitmap = sum(1 << bit for bit in range(32) if (self._cumulative + 1 + bit) % MODULUS in self._held)
        self.ack(self._cumulative, bitmap)

    def ack(self, cumulative: int, bitmap: int = 0, *, key: bytes | None = None, unit: str | None = None) -> None:
        """An Ack, genuine unless another key or unit is given."""
        genuine = key is None and unit is None and bitmap & 1 == 0
        data = self.protocol.acknowledge(unit or self.id, cumulative, bitmap, self.wire.now_ms(), key or self.seal_key)
        self.say(data, f"Ack up to {cumulative}, bitmap {bitmap:x}", genuine=genuine)

    # Commands ------------------------------------------------------------------------------------------------------------

    @property
    def command_key(self) -> tuple[int, bytes]:
        """Key id and K_cmd. Raises NotExecuted where it is not known."""
        known = self.keys.commands(self.id)
        if not known:
            raise NotExecuted(
                "the unit's K_cmd is not known: it would not believe the kit's commands", "give --command-key or --units"
            )
        return next(iter(known.items()))

    def request(self, name: str, *, lifetime_s: float = 30, counter: int | None = None, **facts: Any) -> Envelope:
        """A request for a command, fresh unless told otherwise. The expiry counts by the unit's clock."""
        self.command_key  # noqa: B018 - known, or not executed
        if counter is None:
            counter = self._counter = max(self._counter + 1, self.wire.now_ms())
        code, parameters = COMMAND_CODES.get(name, 0x01EE), b""
        if self.translation is not None and name in self.translation.commands:
            rendered = self.translation.render(name)
            parameters = rendered.parameters
            code = NATIVE_COMMAND if rendered.native else code
        expires = int((self.wire.now_ms() + self.clock_ms) / 1000 + lifetime_s)
        return replace(Envelope(Type.REQUEST, self.command_key[0], counter, expires, code, parameters), **facts)

    def send(self, request: Envelope, *, data: bytes | None = None, what: str = "command", genuine: bool = False) -> Answered:
        """Carry a request down: closed for this unit, or as the bytes that are given."""
        sealed = envelope.close(request, self.id, self.command_key[1]) if data is None else data
        payload = self.protocol.carry(self.id, sealed, self.wire.now_ms(), self.seal_key)
        return Answered(request, sealed, moment=self.say(payload, what, genuine=genuine))

    def answer(self, asked: Answered, seconds: float | None = None) -> Answered:
        """Wait for the unit's authentic response to a request."""
        begin = len(self.frames)

        def find() -> bool:
            for place in range(begin, len(self.frames)):
                if self._answers(self.frames[place], asked):
                    number = self.frames[place].payload
                    asked.moment = self.frames[place].moment
                    asked.behind = [each for each in self.frames[place + 1 :] if each.payload == number]
                    return True
            return False

        self.serve(find, seconds)
        return asked

    def _answers(self, said: Said, asked: Answered) -> bool:
        data = said.frame.facts.get("envelope")
        if said.frame.kind != "result" or not isinstance(data, bytes):
            return False
        try:
            response = envelope.open(data, self.id, dict(self.keys.commands(self.id) or {}))
        except ProtocolError:
            return False
        if response.type is not Type.RESPONSE or response.counter != asked.request.counter:
            return False
        asked.response, asked.raw = response, data
        return True

    def do(self, name: str, **how: Any) -> Answered:
        """A good command and its answer."""
        asked = self.answer(self.send(self.request(name, **how), what=name, genuine=True))
        if asked.response is not None and asked.response.result is Result.CLOCK:
            nonce = asked.response.parameters[1:9]
            request = self.request(name)
            asked = self.answer(
                self.send(replace(request, parameters=nonce + request.parameters), what=f"{name}, with the nonce")
            )
        return asked

    def lock(self) -> bool | None:
        """Whether the unit says that it is locked, freshly asked; None where it does not say so in a way the kit can read."""
        self.do("request-vehicle-state")
        self.serve(lambda: False, 0.0)
        for said in reversed(self.frames):
            found = self.locked_of(said.frame)
            if found is not None:
                return found
        return None

    def locked_of(self, frame: Frame) -> bool | None:
        """What a report says of the central lock: by the model, or the last commanded lock."""
        if not frame.reports:
            return None
        signals = frame.reports[-1].signals
        if self.translation is not None:
            said = self.translation.translate(signals).get("central_lock")
            return None if said is None else said == "LOCKED"
        for name in ("commanded_locks", "can_locks"):
            if name in signals and signals[name] & 3 in (0, 1):
                return bool(signals[name] & 1)
        return {"locked": True, "unlocked": False}.get(signals.get("doors.locks_state", ""))

    # Phases --------------------------------------------------------------------------------------------------------------

    def phase(self, name: str, play: Callable[[], T]) -> T:
        """What `play` gives, or raises: played once."""
        if name not in self._phases:
            self.note(f"--- {name}")
            try:
                self._phases[name] = play()
            except NotExecuted as error:
                self._phases[name] = error
            finally:
                self.answering, self.accepting = True, None
        found = self._phases[name]
        if isinstance(found, NotExecuted):
            raise NotExecuted(found.reason, found.todo)
        played: T = found
        return played

    def up(self) -> list[Said]:
        """The unit is connected, logged in and has said a state; the frames from its first connection on."""
        return self.phase("login", self._log_in)

    def _log_in(self) -> list[Said]:
        if not self.serve(lambda: self.connections or self.frames, min(3.0, self.timing.timeout_s)):
            with contextlib.suppress(NotExecuted):
                self.wire.cut()  # it may be connected since before the kit was
        if not self.serve(lambda: self.connections or self.frames):
            raise NotExecuted(
                f"the unit did not connect within {self.timing.timeout_s:g} s",
                "point the unit at the kit and begin again; --timeout gives it more time",
            )
        self.serve(lambda: any(each.frame.reports for each in self.frames))
        self.serve(lambda: False, 0.5)
        return list(self.frames)

    @cached_property
    def clock_ms(self) -> float:
        """How far the unit's clock is ahead of the kit's: the least of what its first frames show, in milliseconds."""
        shown = [
            each.frame.captured_at - each.at_ms
            for each in self.frames[:20]
            if each.frame.captured_at is not None and not each.frame.facts.get("clock_unsynchronised")
        ]
        return max(shown, default=0.0, key=lambda off: -abs(off))

    def fresh(self, count: int = 1, seconds: float | None = None) -> list[Said]:
        """Frames with a report that the unit captures from now on, at least `count` of them."""
        begin = len(self.frames)
        known = {record_of(each) for each in self.frames}

        def new() -> list[Said]:
            return [each for each in self.frames[begin:] if each.frame.reports and record_of(each) not in known]

        self.serve(lambda: len(new()) >= count, seconds)
        found = new()
        if len(found) < count:
            raise NotExecuted(
                f"the unit said {len(found)} new reports within {self.timing.timeout_s:g} s, {count} are wanted",
                "have it report more often, or give --timeout",
            )
        return found

    def reconnected(self, seconds: float | None = None) -> int:
        """Cut the line and wait for the unit to be back; the place in `frames` from which its new connection speaks."""
        before = len(self.connections)
        self.wire.cut()
        if not self.serve(lambda: len(self.connections) > before, seconds):
            raise NotExecuted(
                f"the unit did not come back within {self.timing.timeout_s:g} s after the line was cut", "give --timeout"
            )
        return next((place for place, each in enumerate(self.frames) if each.connection > before), len(self.frames))

    def of(self, requirement: Requirement) -> Any:
        """What the checks of a requirement look at: captured frames for those of frames, else this conversation."""
        if requirement.side != "frame":
            return self
        self.up()
        self.serve(lambda: len(self.frames) >= FRAMES_WANTED, 10)
        if self._captures is None or len(self._captures.captured) != len(self.captured):
            self._captures = Captures(self.captured, self.keys, self.log)
        return self._captures

    def about(self) -> dict[str, str]:
        """What a reader of the report has to know."""
        where = "a virtual clock" if self.wire.virtual else type(self.wire).__name__
        facts = {"line": where, "tolerance": f"{self.timing.tolerance_s:g} s", "timeout": f"{self.timing.timeout_s:g} s"}
        if self.frames:
            facts["clock"] = f"the unit's is {self.clock_ms / 1000:+.3f} s from the kit's"
        return facts


def record_of(said: Said) -> bytes:
    """What makes a frame's reports those and no others."""
    return b"".join(report.record for report in said.frame.reports) or said.data


def is_reissue(said: Said) -> bool:
    """Whether a GB/T report came as reissue."""
    return said.frame.facts.get("command") == REISSUE


def is_realtime(said: Said) -> bool:
    """Whether a GB/T report came in realtime."""
    return said.frame.facts.get("command") == REALTIME


__all__ = ["LIFETIME_LIMIT_S", "Algorithm", "Answered", "Said", "Timing", "UnitTalk", "is_realtime", "is_reissue", "record_of"]
