"""A fleet's plain TCP connections: bare sockets, looked at together, and written to together at the end of a turn of the loop.

An event loop that wakes for every few bytes costs thousands of units more than what they say. What comes is taken in turns that
are TOGETHER_S apart at least; a fleet that hears little is woken at once by what comes.
"""

import asyncio
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

EPOLL: Any = getattr(select, "epoll", None)
"""None on what is no Linux: there asyncio's own connections do."""

ROOM = getattr(select, "EPOLLOUT", 4)
SOMETHING = getattr(select, "EPOLLIN", 1)

TOGETHER_S = 0.008
MANY, BUSY_TOGETHER_S = 12, 0.016
"""... and so far apart where so many sockets had something: to begin is dear, and who hears so much is in no hurry."""

MOST = 256
"""Sockets that are read in one turn."""

LATER_S = 1.0
"""What can wait, a PUBACK, waits so long for something else to go with: a write of its own costs as much as a report."""

LATE_BYTES = 32
"""... and no longer than until there is so much of it: a broker has only so many messages on their way to one unit."""

READ_BYTES = 1 << 16


class Closed(OSError):
    """The other end has closed the connection."""


def take(made: socket.socket) -> bytes:
    """What came, nothing if nothing is there yet. Raises Closed, or OSError for a connection that is broken."""
    try:
        data = made.recv(READ_BYTES)
    except BlockingIOError:
        return b""
    if not data:
        raise Closed("the broker closed the connection")
    return data


def put(made: socket.socket, data: bytes) -> int:
    """How much of `data` there was room for. Raises OSError for a connection that is broken."""
    try:
        return made.send(data)
    except BlockingIOError:
        return 0


class Wire(asyncio.Transport):
    """One connection, as far as `asyncio.Transport` is used for a unit's line."""

    __slots__ = ("_late", "_protocol", "_socket", "_stuck", "_unsent", "_wires")

    def __init__(self, wires: "Wires", made: socket.socket, protocol: asyncio.Protocol) -> None:
        self._wires, self._protocol = wires, protocol
        self._socket: socket.socket | None = made
        self._unsent: list[bytes] = []
        self._late = b""
        self._stuck = False

    def write(self, data: Any) -> None:
        """Say `data`, with all that is said until the loop's next turn."""
        if self._socket is not None:
            if not self._unsent:
                self._wires.will_write(self)
            if self._late:
                self._unsent.append(self._late)
                self._late = b""
            self._unsent.append(data)

    def write_late(self, data: bytes) -> None:
        """Say `data` before what is said next, or after LATER_S."""
        if self._socket is not None:
            if not self._late:
                self._wires.will_write_late(self)
            self._late += data
            if len(self._late) >= LATE_BYTES:
                self.write_now_what_is_late()

    def write_now_what_is_late(self) -> None:
        """LATER_S is over."""
        if self._late:
            self.write(b"")

    def wait_for(self, size: int) -> None:
        """From now on less than `size` bytes that came are no reason to look; whatever is there is read with what comes after."""
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def look(self) -> None:
        """Take what is there, however little."""
        self._wires.ready(self, SOMETHING)

    def abort(self) -> None:
        """Let go; what was not sent yet is dropped."""
        self._end(None)

    def close(self) -> None:
        """Send what was said, as far as there is room for it, and let go."""
        self.write_now_what_is_late()
        if self._unsent and not self._stuck:
            self.send()
        self._end(None)

    def send(self) -> None:
        """What waits goes out as far as there is room."""
        unsent, made = self._unsent, self._socket
        if made is None or not unsent:
            return
        data = unsent[0] if len(unsent) == 1 else b"".join(unsent)
        unsent.clear()
        try:
            sent = put(made, data)
        except OSError as error:
            self._end(error)
            return
        if sent < len(data):
            unsent.append(data[sent:])
        if bool(unsent) is not self._stuck:
            self._stuck = bool(unsent)
            self._wires.look_for_room(made, self._stuck)

    def ready(self, events: int) -> None:
        """Its socket has something, or room, or is broken."""
        if events & ROOM:
            self.send()
        if self._socket is None or events == ROOM:
            return
        try:
            data = take(self._socket)
        except OSError as error:
            self._end(None if isinstance(error, Closed) else error)
            return
        if data:
            self._protocol.data_received(data)

    def _end(self, error: Exception | None) -> None:
        made, self._socket = self._socket, None
        if made is not None:
            self._unsent.clear()
            self._late = b""
            self._wires.leave(made)
            made.close()
            self._wires.loop.call_soon(self._protocol.connection_lost, error)


class Wires:
    """All of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._wires: dict[int, Wire] = {}
        self._epoll: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: list[Wire] = []
        self._late: deque[tuple[float, Wire]] = deque()
        self._late_timer: asyncio.TimerHandle | None = None

    def join(self, made: socket.socket, protocol: asyncio.Protocol) -> None:
        """A connection that stands: `protocol` is told of it."""
        if self._epoll is None:
            self._epoll = EPOLL()
            self.loop.add_reader(self._epoll.fileno(), self._look)
        wire = self._wires[made.fileno()] = Wire(self, made, protocol)
        self._epoll.register(made.fileno(), SOMETHING)
        protocol.connection_made(wire)

    def leave(self, made: socket.socket) -> None:
        """A connection is about to be closed."""
        del self._wires[made.fileno()]
        self._epoll.unregister(made.fileno())
        if not self._wires:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            else:
                self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
            self._late.clear()
            if self._late_timer is not None:
                self._late_timer.cancel()
                self._late_timer = None

    def will_write(self, wire: Wire) -> None:
        """It has something to say at the end of this turn."""
        if not self._writing:
            self.loop.call_soon(self._write)
        self._writing.append(wire)

    def will_write_late(self, wire: Wire) -> None:
        """It has something to say that can wait."""
        self._late.append((self.loop.time() + LATER_S, wire))
        if self._late_timer is None:
            self._late_timer = self.loop.call_later(LATER_S, self._write_late)

    def _write_late(self) -> None:
        now, late = self.loop.time(), self._late
        while late and late[0][0] <= now:
            late.popleft()[1].write_now_what_is_late()
        self._late_timer = self.loop.call_at(late[0][0], self._write_late) if late else None

    def look_for_room(self, made: socket.socket, wanted: bool) -> None:
        """Whether it is to be told when there is room."""
        self._epoll.modify(made.fileno(), SOMETHING | ROOM if wanted else SOMETHING)

    def _write(self) -> None:
        writing, self._writing = self._writing, []
        for wire in writing:
            wire.send()

    def _look(self) -> None:
        """Take what came; look again soon where something did, else wait for the sockets."""
        before = self._timer
        self._timer = None
        found = self._epoll.poll(0, MOST)
        for number, events in found:
            wire = self._wires.get(number)
            if wire is not None:
                self.ready(wire, events)
        if self._epoll is None:
            return
        if found:
            if before is None:
                self.loop.remove_reader(self._epoll.fileno())
            wait_s = 0.0 if len(found) == MOST else TOGETHER_S if len(found) < MANY else BUSY_TOGETHER_S
            self._timer = self.loop.call_later(wait_s, self._look)
        elif before is not None:
            self.loop.add_reader(self._epoll.fileno(), self._look)

    def ready(self, wire: Wire, events: int) -> None:
        """Its socket has something; what its line does wrong with that is that line's loss alone."""
        try:
            wire.ready(events)
        except Exception as error:
            self.loop.call_exception_handler({"message": "a line failed", "exception": error, "transport": wire})
            wire.abort()


_of_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, Wires]" = WeakKeyDictionary()


async def connect(protocol: asyncio.Protocol, host: str, port: int) -> None:
    """A plain connection for `protocol`, as `loop.create_connection` makes one. Raises OSError."""
    loop = asyncio.get_running_loop()
    if EPOLL is None:
        await loop.create_connection(lambda: protocol, host, port)
        return
    error: OSError = OSError(f"{host} has no address")
    for family, address in await _addresses(loop, host, port):
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as found:
            made.close()
            error = found
        except BaseException:
            made.close()
            raise
        else:
            wires = _of_loops.get(loop) or _of_loops.setdefault(loop, Wires(loop))
            wires.join(made, protocol)
            return
    raise error


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> Sequence[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]
