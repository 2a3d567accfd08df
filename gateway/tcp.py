"""A TCP listener for units that speak their protocol over a plain connection: Teltonika, GB/T 32960.

The first frame is a login, which says who speaks and proves nothing: so nobody is believed unless the network is trusted. From
then on every frame goes the way of an MQTT payload, and answers and commands come back on the same connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import structlog

from gateway.memory import Memory, Vehicle
from gateway.mqtt import OnPayload, OnPresence
from protocols.codec import Cut, Frame, Protocol, ProtocolError, Reason, UnitId
from protocols.stream import Framer, Framing

CONNECTIONS_LIMIT = 1_000
LOGIN_TIMEOUT_S = 15.0
SILENT_HEARTBEATS = 3
READ_BYTES = 4096
IN_HAND_LIMIT = 4
"""Reads of one connection that the gateway works on at a time: what is behind waits in the unit's socket."""

STATE_AFTER_RESULT_S = 2.0
"""A unit says its new state right behind the result of a command: the network may bring them apart, they belong together."""

UNSENT_LIMIT_BYTES = 256 * 1024
"""A unit that does not read what is sent to it is cut off."""

CLOSE_TIMEOUT_S = 2.0

log = structlog.get_logger(__name__)

Find = Callable[[Collection[UnitId]], Awaitable[Mapping[UnitId, tuple[Vehicle, Memory]]]]


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told what the listener hears; its presence is never a retained message. `refuse` counts; `find` knows the units."""

    payload: OnPayload
    presence: OnPresence
    refuse: Callable[[Reason], None]
    find: Find


@dataclass(slots=True, eq=False)
class _Session:
    """One connection, once its unit is known. `result` is a command's result that waits for the state behind it."""

    unit: UnitId
    writer: asyncio.StreamWriter
    idle_s: float
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_HAND_LIMIT))
    result: bytes = b""
    waiting: asyncio.TimerHandle | None = None

    def take_result(self) -> bytes:
        """The result that waits, which then waits no more."""
        if self.waiting is not None:
            self.waiting.cancel()
        taken, self.result, self.waiting = self.result, b"", None
        return taken


class TcpListener:
    """Takes connections of the units of one protocol; a path of `gateway.lines.Lines`.

    `brands` are those whose units speak it. A unit has one session: its newest connection. Without `trusted` every login is
    rejected. `idle_s` is how long a connection may be silent, by default three heartbeats of the brand.
    """

    def __init__(
        self,
        protocol: Protocol,
        brands: Iterable[str],
        ears: Ears,
        *,
        trusted: bool,
        idle_s: float | None = None,
        login_timeout_s: float = LOGIN_TIMEOUT_S,
        connections_limit: int = CONNECTIONS_LIMIT,
    ) -> None:
        self.protocol, self._brands, self._ears = protocol, tuple(brands), ears
        self._framing = cast("Framing", getattr(protocol, "framing"))  # noqa: B009 - only protocols of streams have one
        self._trusted, self._idle_s, self._login_timeout_s = trusted, idle_s, login_timeout_s
        self._connections_limit = connections_limit
        self._sessions: dict[UnitId, _Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Event()
        self._reading.set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises OSError if the address is taken."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=READ_BYTES)
        log.info("listening for units", protocol=self.protocol.name, address=self.address, trusted=self._trusted)

    async def close(self) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)

    @property
    def address(self) -> str:
        """`host:port` where it listens."""
        host, port = self._server.sockets[0].getsockname()[:2] if self._server else ("", 0)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def connected(self) -> bool:
        """Whether any unit has a session."""
        return bool(self._sessions)

    def send(self, unit: UnitId, payload: bytes) -> bool:
        """Write to the unit's connection. False: it has none."""
        session = self._sessions.get(unit)
        if session is None or session.writer.is_closing():
            return False
        if session.writer.transport.get_write_buffer_size() > UNSENT_LIMIT_BYTES:
            session.writer.transport.abort()
            return False
        session.writer.write(payload)
        return True

    def end(self, unit: UnitId) -> None:
        """Close the unit's connection, if it has one."""
        session = self._sessions.get(unit)
        if session is not None:
            session.writer.close()

    def pause(self) -> None:
        """Stop reading from the units."""
        self._reading.clear()

    def resume(self) -> None:
        """Read on."""
        self._reading.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > self._connections_limit:
                self._ears.refuse("throttled")
                return
            await self._serve(reader, writer)
        except (OSError, TimeoutError) as error:
            log.debug("a unit's connection ended", protocol=self.protocol.name, error=str(error))
        except asyncio.CancelledError:
            pass  # the listener is closed, and asyncio would print a task of streams that ends so
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer(self._framing)
        async with asyncio.timeout(self._login_timeout_s):
            cuts = await self._until_login(reader, framer)
            session = await self._log_in(cuts[0].data, writer) if cuts else None
        if session is None:
            return
        before, self._sessions[session.unit] = self._sessions.get(session.unit), session
        if before is not None:
            before.writer.close()
        self._ears.presence(session.unit, True, False)
        try:
            await self._listen(session, reader, framer, cuts)
        finally:
            self._pass_result_on(session)
            if self._sessions.get(session.unit) is session:
                del self._sessions[session.unit]
                self._ears.presence(session.unit, False, False)

    async def _until_login(self, reader: asyncio.StreamReader, framer: Framer) -> list[Cut]:
        """The first frames, from the login on; keep-alives before it say nothing. Empty: the connection ended."""
        while True:
            chunk = await reader.read(READ_BYTES)
            if not chunk:
                return []
            cuts = framer.receive(chunk)
            for at, cut in enumerate(cuts):
                if self._kind(cut) != "heartbeat":
                    return cuts[at:]

    def _kind(self, cut: Cut) -> str:
        try:
            return "" if cut.error is not None else self.protocol.decode(cut.data).kind
        except ProtocolError:
            return ""

    async def _log_in(self, data: bytes, writer: asyncio.StreamWriter) -> _Session | None:
        """The session of the unit that `data` is the login of. None: it may not speak, was told so, and is counted."""
        try:
            frame = self.protocol.decode(data)
        except ProtocolError as error:
            self._ears.refuse(error.reason)
            return None
        if frame.kind != "hello" or not frame.unit:
            self._ears.refuse("bad_credentials")
            return None
        if not self._trusted:
            self._reject(frame, "bad_credentials", writer)
            return None
        units = [UnitId(brand, frame.unit) for brand in self._brands]
        found = await self._ears.find(units)
        live = [vehicle for vehicle, _ in found.values() if not vehicle.archived]
        if not live:
            self._reject(frame, "archived" if found else "unknown_unit", writer)
            return None
        return _Session(live[0].unit, writer, self._idle_s or SILENT_HEARTBEATS * live[0].brand.heartbeat_s)

    def _reject(self, frame: Frame, reason: Reason, writer: asyncio.StreamWriter) -> None:
        self._ears.refuse(reason)
        answer = self.protocol.reject(frame)
        if answer is not None:
            writer.write(answer)

    async def _listen(self, session: _Session, reader: asyncio.StreamReader, framer: Framer, cuts: list[Cut]) -> None:
        await self._pass_on(session, cuts)
        while True:
            await self._reading.wait()
            async with asyncio.timeout(session.idle_s):
                chunk = await reader.read(READ_BYTES)
            if not chunk:  # half a frame at the end is sent again, whole
                return
            await self._pass_on(session, framer.receive(chunk))

    async def _pass_on(self, session: _Session, cuts: list[Cut]) -> None:
        """What is no frame goes on too: it is refused, with its reason, where every refusal is."""
        for cut in cuts:
            if self._kind(cut) == "result":
                self._pass_result_on(session)
                session.result = cut.data
                loop = asyncio.get_running_loop()
                session.waiting = loop.call_later(STATE_AFTER_RESULT_S, self._pass_result_on, session)
                continue
            await session.free.acquire()
            self._ears.payload(session.unit, session.take_result() + cut.data, session.free.release)

    def _pass_result_on(self, session: _Session) -> None:
        if result := session.take_result():
            self._ears.payload(session.unit, result, _nothing)


def _nothing() -> None:
    """A result alone holds no place in hand."""
