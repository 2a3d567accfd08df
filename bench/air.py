"""A broker without sockets, for units in the same loop: sessions, takeovers, Last Wills, and what waits for who is away."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from devices.faults.fault import Stray
from devices.mqtt import BrokerAddress, LineError, LoginRefusedError
from protocols.codec import UnitId

WAITING_LIMIT = 100
"""Messages that the broker keeps for a unit that is away, as Mosquitto's max_queued_messages at first."""

Arrived = Callable[[UnitId, bytes], None]
Present = Callable[[UnitId, bool], None]


@dataclass(slots=True)
class _Session:
    """What the broker keeps of a client id: its connection, and what waits for it."""

    line: "AirLine | None" = None
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=WAITING_LIMIT))


class Air:
    """`arrived` gets each payload at once, `present` each coming and going. While it is `down` nobody gets on it."""

    def __init__(self, password_of: Callable[[UnitId], Awaitable[str | None]], arrived: Arrived, present: Present) -> None:
        self._password_of, self._arrived, self._present = password_of, arrived, present
        self._sessions: dict[UnitId, _Session] = {}
        self._down = False

    @property
    def connected(self) -> bool:
        """Whether the gateway can say anything to units."""
        return not self._down

    def dial(
        self,
        broker: BrokerAddress,
        unit: UnitId,
        password: str,
        on_payload: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> "AirLine":
        """A unit's connection; see devices.mqtt.Dial."""
        return AirLine(self, unit, password, on_payload, on_lost)

    def send(self, unit: UnitId, payload: bytes) -> bool:
        """Hand a payload over for the unit: at once, or when it is back. False: the broker is down."""
        if self._down:
            return False
        session = self._sessions.setdefault(unit, _Session())
        if session.line is None:
            session.waiting.append(payload)
        else:
            asyncio.get_running_loop().call_soon(session.line.hear, payload)
        return True

    def pause(self) -> None:
        """What arrives is taken at once: there is nothing to pause."""

    def resume(self) -> None:
        """See `pause`."""

    def go_down(self) -> None:
        """The broker is gone: all lines with it, at once. It keeps the sessions, and sends the wills when it is back."""
        self._down = True
        for session in self._sessions.values():
            if session.line is not None:
                session.line.lost()

    def come_back(self) -> None:
        """The broker is there again."""
        self._down = False

    def end(self, unit: UnitId) -> None:
        """A login is revoked: the session ends."""
        session = self._sessions.get(unit)
        if session is not None and session.line is not None:
            session.line.lost()

    async def connect(self, line: "AirLine") -> None:
        if self._down:
            raise LineError("the broker is down")
        if await self._password_of(line.unit) != line.password:
            raise LoginRefusedError(f"the broker does not know {line.unit} by that secret")
        session = self._sessions.setdefault(line.unit, _Session())
        if session.line is not None:
            session.line.lost()
        session.line = line
        self._present(line.unit, True)
        while session.waiting:
            asyncio.get_running_loop().call_soon(line.hear, session.waiting.popleft())

    def leave(self, line: "AirLine") -> None:
        session = self._sessions.get(line.unit)
        if session is not None and session.line is line:
            session.line = None
            self._present(line.unit, False)

    def take(self, unit: UnitId, payload: bytes) -> None:
        self._arrived(unit, payload)


class AirLine:
    """A unit's connection from one `open` to one loss; see devices.mqtt.Connection."""

    def __init__(
        self, air: Air, unit: UnitId, password: str, on_payload: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self.unit, self.password = unit, password
        self._air, self._on_payload, self._on_lost = air, on_payload, on_lost
        self._open = False

    async def open(self) -> None:
        """Connect. Raises LoginRefusedError or LineError."""
        await self._air.connect(self)
        self._open = True

    def publish(self, payload: bytes) -> None:
        """Send a payload on `up`, or on the topic of the unit that a Stray is for: this broker trusts everybody."""
        if self._open:
            self._air.take(payload.unit if isinstance(payload, Stray) else self.unit, bytes(payload))

    def hear(self, payload: bytes) -> None:
        """Something comes down."""
        if self._open:
            self._on_payload(payload)

    def drop(self) -> None:
        """Lose the line without a word."""
        self._open = False
        self._air.leave(self)

    def lost(self) -> None:
        """The broker lets go of it."""
        if self._open:
            self.drop()
            self._on_lost()

    async def close(self) -> None:
        """Leave in good order."""
        self.drop()
