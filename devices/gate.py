"""The gate between the air and the actuators: VTC1 requests are judged here, in the envelope's order, before anything moves.

Independent of the wire protocol that carries the envelope. An authentic request above the last counter uses that counter up
whatever comes of it: it is stored before anything is done, so that a copy of the same bytes can never be acted on later.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devices.flash import Flash, Store
from devices.rtc import Rtc
from devices.vehicle import Vehicle
from protocols import envelope
from protocols.codec import ProtocolError, Reason
from protocols.envelope import COMMAND_NAMES, NONCE_SIZE_BYTES, Envelope, Freshness, Result, Type

NONCE_LIFETIME_MS = 10_000
"""How long a unit without a clock waits for a request with its nonce: the gateway asks again at once."""

ANSWERS_BURST = 60
"""Answers to repeated and replayed requests, refilled by one a second: whoever records traffic cannot fill the journal."""

LOG_LIMIT = 10_000

Act = Callable[[Envelope], tuple[Result, bytes]]
"""Carries out a request: OK, or PRECONDITION, ACTUATOR or UNKNOWN with a detail."""


def obey(vehicle: Vehicle, command: str | None) -> tuple[Result, bytes]:
    """Have the vehicle carry out a command of ours by name; None is one that nobody knows."""
    if command is None:
        return Result.UNKNOWN, b""
    refusal = vehicle.execute(command)
    return (Result.OK, b"") if refusal is None else (Result.PRECONDITION, refusal.encode("ascii"))


def obey_code(vehicle: Vehicle, request: Envelope) -> tuple[Result, bytes]:
    """Have the vehicle carry out what the request's command code says."""
    return obey(vehicle, COMMAND_NAMES.get(request.command))


@dataclass(frozen=True, slots=True)
class Executed:
    """One line of the unit's log: the request with `counter` was carried out at `at`, Unix ms."""

    counter: int
    command: int
    at: int


class Gate:
    """Judges requests for one unit. `keys` are K_cmd by key id; `refused` counts what was dropped in silence, by reason."""

    def __init__(
        self, unit: str, keys: Mapping[int, bytes], flash: Flash, store: Store, rtc: Rtc, entropy: Callable[[int], bytes]
    ) -> None:
        self._unit, self._keys = unit, dict(keys)
        self._flash, self._store, self._rtc, self._entropy = flash, store, rtc, entropy
        self._nonce, self._nonce_at = b"", 0
        self._answers, self._answers_at = float(ANSWERS_BURST), 0
        self.refused: Counter[Reason] = Counter()
        self.log: deque[Executed] = deque(maxlen=LOG_LIMIT)

    def admit(self, data: bytes, now_ms: int, act: Act) -> bytes | None:
        """The response envelope to send back for the request `data`, None for silence. `act` is called at most once."""
        try:
            request = envelope.open(data, self._unit, self._keys)
        except ProtocolError as error:
            self.refused[error.reason] += 1
            return None
        if request.type is not Type.REQUEST:
            self.refused["forged"] += 1
            return None
        clock_s = self._rtc.read(now_ms) / 1000 if self._rtc.synchronised else float(request.expires)
        fresh = envelope.freshness(request, data, self._flash.counter, self._flash.request, clock_s)
        match fresh:
            case Freshness.REPEATED:
                return (self._flash.response or None) if self._may_answer_again(now_ms) else None
            case Freshness.REPLAYED:
                last = self._flash.counter.to_bytes(8, "big")
                return self._close(request, Result.REPLAY, last) if self._may_answer_again(now_ms) else None
        self._use_up(request, data)
        result, detail = (Result.EXPIRED, b"") if fresh is Freshness.EXPIRED else self._carry_out(request, now_ms, act)
        self._flash.response = self._close(request, result, detail)
        self._store(self._flash)
        return self._flash.response

    def _use_up(self, request: Envelope, data: bytes) -> None:
        self._flash.counter, self._flash.request, self._flash.response = request.counter, data, b""
        self._store(self._flash)

    def _carry_out(self, request: Envelope, now_ms: int, act: Act) -> tuple[Result, bytes]:
        if not self._rtc.synchronised and not self._has_nonce(request, now_ms):
            self._nonce, self._nonce_at = self._entropy(NONCE_SIZE_BYTES), now_ms
            return Result.CLOCK, self._nonce
        self._nonce = b""
        result, detail = act(request)
        if result is Result.OK:
            self.log.append(Executed(request.counter, request.command, now_ms))
        return result, detail

    def _has_nonce(self, request: Envelope, now_ms: int) -> bool:
        fits = bool(self._nonce) and request.parameters[:NONCE_SIZE_BYTES] == self._nonce
        return fits and 0 <= now_ms - self._nonce_at <= NONCE_LIFETIME_MS

    def _may_answer_again(self, now_ms: int) -> bool:
        refill = max(0, now_ms - self._answers_at) / 1000
        self._answers, self._answers_at = min(float(ANSWERS_BURST), self._answers + refill), now_ms
        if self._answers < 1:
            self.refused["throttled"] += 1
            return False
        self._answers -= 1
        return True

    def _close(self, request: Envelope, result: Result, detail: bytes = b"") -> bytes:
        return envelope.close(request.response(result, detail), self._unit, self._keys[request.key_id])
