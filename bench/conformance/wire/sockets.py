"""Sockets that units connect to."""

import contextlib
import socket
import threading

from bench.conformance import packets
from bench.conformance.packets import Packet
from bench.conformance.wire.line import SOCKET_TIMEOUT_S, LiveWire, WireError


def listener(address: str) -> socket.socket:
    """A listening socket on host:port, or a port of the loopback. Raises WireError."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host or "127.0.0.1", int(port)), reuse_port=False)
    except (OSError, ValueError, OverflowError) as error:
        raise WireError(f"cannot listen on {address}: {error}") from error


class Connection:
    """A socket that packets are read from and written to, each written whole."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket, self._writing, self._held = sock, threading.Lock(), bytearray()
        sock.settimeout(SOCKET_TIMEOUT_S)

    def send(self, data: bytes) -> None:
        """Write all of it; a connection that is gone is passed over."""
        try:
            with self._writing:
                self.socket.sendall(data)
        except OSError:
            self.close()

    def read(self, closed: threading.Event) -> Packet | None:
        """The next packet; None when the connection has ended. Raises PacketError."""
        while True:
            found = packets.read(self._held)
            if found is not None:
                packet, end = found
                del self._held[:end]
                return packet
            chunk = self.receive(closed)
            if not chunk:
                return None
            self._held += chunk

    def receive(self, closed: threading.Event) -> bytes:
        """What comes next; nothing when the connection has ended."""
        while not closed.is_set():
            try:
                return self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return b""
        return b""

    def close(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class ServerWire(LiveWire):
    """The kit is the server that the unit connects to; `scheme` stands before its address. The later connection counts."""

    scheme = ""

    def __init__(self, address: str, power_command: str | None = None) -> None:
        super().__init__(power_command)
        self._listener = listener(address)
        self._connection: Connection | None = None
        self.thread(self._accept)

    @property
    def address(self) -> str:
        """Where the unit is to connect to."""
        host, port = self._listener.getsockname()[:2]
        return f"{self.scheme}{host}:{port}"

    def _accept(self) -> None:
        self._listener.settimeout(SOCKET_TIMEOUT_S)
        while not self._closed.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.thread(self._serve, Connection(sock))

    def _serve(self, connection: Connection) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        """End the unit's connection without a word."""
        if self._connection is not None:
            self._connection.close()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._listener.close()
        self.cut()
