"""The lines by which the kit meets a unit: in process with a virtual clock, as its MQTT server, behind a broker, over TCP.

A wire hears in the background and is asked in the foreground: `pump` waits for news, `heard` holds all of it.
"""

import contextlib
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from bench.conformance import packets
from bench.conformance.packets import Connect, Packet, PacketError, Publish
from bench.conformance.requirement import NotExecuted
from devices.firmware import FirmwareFactory, Intervals, UnitConfig, switch_on
from devices.flash import Flash
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel
from protocols.codec import UnitId
from protocols.keys import UnitKeys
from protocols.stream import Framer, Framing

SOCKET_TIMEOUT_S = 0.5
CLIENT = "teleloop-conform"
POWER_COMMAND_TIMEOUT_S = 120.0


class WireError(Exception):
    """The line cannot be set up; the message is for people."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something the unit did. `at_ms` is the wire's clock; `payload` what it said, or of a `connect` nothing."""

    at_ms: int
    what: Literal["connect", "subscribe", "payload", "presence", "lost", "other"]
    payload: bytes = b""
    connect: Connect | None = None
    publish: Publish | None = None
    filters: tuple[tuple[str, int], ...] = ()


class Wire:
    """What every line can do. `sees_session`: MQTT packets themselves are seen; `virtual`: waiting costs no time."""

    sees_session = False
    sees_presence = False
    virtual = False
    vehicle: Vehicle | None = None

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def now_ms(self) -> int:
        """The wire's clock, Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def pump(self, seconds: float) -> bool:
        """Wait until something more is in `heard`, at most so long; whether there is."""
        raise NotImplementedError

    def say(self, payload: bytes) -> None:
        """Send a payload down to the unit."""
        raise NotImplementedError

    def cut(self) -> None:
        """End the unit's connection; it may come back."""
        raise NotExecuted("this line cannot be cut by the kit", "let the unit connect to the kit (--listen)")

    def power_cycle(self) -> None:
        """Switch the unit off and on."""
        raise NotExecuted("the kit cannot switch the unit off and on", "give --power-command")

    def close(self) -> None:
        """Let go of everything."""


class DirectWire(Wire):
    """A simulated unit in this process, under a clock that jumps to whatever happens next."""

    virtual = True
    RECONNECT_MS = 500
    LATENCY_MS = 20
    IDLE_STEP_MS = 50
    """How far time goes where the unit wants to be asked at once and says nothing."""

    def __init__(
        self,
        protocol: str,
        unit: UnitId,
        model: VehicleModel,
        keys: UnitKeys,
        *,
        make: FirmwareFactory | None = None,
        intervals: Intervals | None = None,
        began_ms: int | None = None,
        **config: Any,
    ) -> None:
        super().__init__()
        self._now = began_ms if began_ms is not None else super().now_ms()
        self.vehicle = Vehicle.of(model, unit.brand, seed=1)
        intervals = intervals or Intervals(2, 2, 30)
        self.config = UnitConfig(
            unit, model.units[unit.brand], keys.seal, {keys.generation: keys.command}, intervals=intervals, **config
        )
        self._protocol, self._make = protocol, make
        self._stored = Flash.factory(self._now).dump()
        self._waiting: deque[Heard] = deque()
        self._connected = False
        self._connect_at: int | None = self._now
        self._switch_on()

    def _switch_on(self) -> None:
        make = self._make or (lambda config, flash, vehicle, store: switch_on(self._protocol, config, flash, vehicle, store))
        assert self.vehicle is not None
        self.unit = make(self.config, Flash.load(self._stored), self.vehicle, self._store)

    def _store(self, flash: Flash) -> None:
        self._stored = flash.dump()

    def now_ms(self) -> int:
        """The virtual clock."""
        return self._now

    def pump(self, seconds: float) -> bool:
        """Let time pass up to the next thing that the unit says."""
        until = self._now + round(seconds * 1000)
        while not self._waiting and self._now <= until:
            self._step(until)
            if self._now >= until:
                break
        if not self._waiting:
            return False
        self.heard.extend(self._waiting)
        self._waiting.clear()
        return True

    def _step(self, until: int) -> None:
        if not self._connected and self._connect_at is not None and self._now >= self._connect_at:
            self._connected, self._connect_at = True, None
            self._waiting.append(Heard(self._now, "connect"))
            self._take(self.unit.connected(self._now))
            return
        self._take(self.unit.tick(self._now))
        if self._waiting:
            return
        due = [self.unit.next_tick(self._now), *([self._connect_at] if self._connect_at is not None else [])]
        self._now = min(until, min(due) if min(due) > self._now else self._now + self.IDLE_STEP_MS)

    def _take(self, said: Sequence[bytes]) -> None:
        if self._connected:
            self._waiting.extend(Heard(self._now, "payload", bytes(payload)) for payload in said)

    def say(self, payload: bytes) -> None:
        """The unit receives it at once, if it is connected."""
        if self._connected:
            self._now += self.LATENCY_MS
            self._take(self.unit.receive(payload, self._now))

    def cut(self) -> None:
        """The unit loses its line and comes back half a second later."""
        if self._connected:
            self._connected, self._connect_at = False, self._now + self.RECONNECT_MS
            self.unit.disconnected(self._now)
            self._waiting.append(Heard(self._now, "lost"))

    def power_cycle(self) -> None:
        """What was not in flash is gone."""
        self._connected, self._connect_at = False, self._now + self.RECONNECT_MS
        self._waiting.append(Heard(self._now, "lost"))
        self._switch_on()


class LiveWire(Wire):
    """A line in real time: threads hear, `pump` takes from their queue."""

    def __init__(self, power_command: str | None = None) -> None:
        super().__init__()
        self._news: queue.Queue[Heard] = queue.Queue()
        self._power_command = power_command
        self._closed = threading.Event()

    def pump(self, seconds: float) -> bool:
        """Wait for news."""
        try:
            self.heard.append(self._news.get(timeout=max(0.0, seconds)))
        except queue.Empty:
            return False
        while not self._news.empty():
            self.heard.append(self._news.get_nowait())
        return True

    def power_cycle(self) -> None:
        """By the command that was given."""
        if self._power_command is None:
            super().power_cycle()
            return
        done = subprocess.run(self._power_command, shell=True, capture_output=True, text=True, timeout=POWER_COMMAND_TIMEOUT_S)
        if done.returncode:
            reason = f"--power-command ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"
            raise NotExecuted(reason, "give a command that switches the unit off and on")

    def tell(self, what: Any, **facts: Any) -> None:
        """Take in news, from whatever thread."""
        self._news.put(Heard(self.now_ms(), what, **facts))

    def thread(self, work: Callable[..., None], *given: Any) -> None:
        """Do it in the background for as long as the program lives."""
        threading.Thread(target=work, args=given, daemon=True).start()


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


class MqttServerWire(LiveWire):
    """The kit is the MQTT server that the unit connects to: it sees every packet, and keeps the unit's session."""

    sees_session = sees_presence = True

    def __init__(self, unit: UnitId, address: str, power_command: str | None = None) -> None:
        super().__init__(power_command)
        self._unit, self._listener = unit, listener(address)
        self._topic = f"v1/{unit}"
        self._connection: Connection | None = None
        self._subscribed = False
        self._kept: list[bytes] = []
        self._mids = iter(range(1, 1 << 30))
        self.thread(self._accept)

    @property
    def address(self) -> str:
        """Where the unit is to connect to."""
        host, port = self._listener.getsockname()[:2]
        return f"mqtt://{host}:{port}"

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
        try:
            first = connection.read(self._closed)
            if first is None or first.kind != packets.CONNECT:
                return
            said = packets.read_connect(first)
            if said.client_id != str(self._unit) and said.user_name != str(self._unit):
                connection.send(packets.connack(2))
                self.tell("other", connect=said)
                return
            before, self._connection, self._subscribed = self._connection, connection, False
            if before is not None:
                before.close()
            connection.send(packets.connack(session_present=bool(self._kept) and not said.clean_session))
            self.tell("connect", connect=said)
            while (packet := connection.read(self._closed)) is not None:
                if not self._take(connection, packet):
                    break
        except (PacketError, IndexError) as error:
            self.tell("other", payload=str(error).encode())
        finally:
            connection.close()
            if self._connection is connection:
                self._connection = None
                self.tell("lost")

    def _take(self, connection: Connection, packet: Packet) -> bool:
        match packet.kind:
            case packets.PUBLISH:
                self._published(connection, packets.read_publish(packet))
            case packets.SUBSCRIBE:
                mid, filters = packets.read_subscribe(packet)
                connection.send(packets.suback(mid, [min(qos, 1) for _, qos in filters]))
                self.tell("subscribe", filters=tuple(filters))
                self._subscribed = True
                for payload in self._kept:
                    self._send(payload)
                self._kept.clear()
            case packets.UNSUBSCRIBE:
                connection.send(packets.packet(packets.UNSUBACK, packet.body[:2]))
            case packets.PINGREQ:
                connection.send(packets.packet(packets.PINGRESP))
            case packets.PUBREL:
                connection.send(packets.packet(packets.PUBCOMP, packet.body[:2]))
            case packets.DISCONNECT:
                return False
        return True

    def _published(self, connection: Connection, said: Publish) -> None:
        if said.topic == f"{self._topic}/up":
            self.tell("payload", payload=said.payload, publish=said)
        else:
            self.tell("presence" if said.topic == f"{self._topic}/presence" else "other", payload=said.payload, publish=said)
        if said.qos == 1:
            connection.send(packets.puback(said.mid))
        elif said.qos == 2:
            connection.send(packets.packet(packets.PUBREC, said.mid.to_bytes(2, "big")))

    def say(self, payload: bytes) -> None:
        """QoS 1; kept while the unit is away, as a broker keeps it."""
        if self._connection is None or not self._subscribed:
            self._kept.append(payload)
        else:
            self._send(payload)

    def _send(self, payload: bytes) -> None:
        if self._connection is not None:
            mid = next(self._mids) % 65535 + 1
            self._connection.send(packets.publish(Publish(f"{self._topic}/down", payload, 1, mid)))

    def cut(self) -> None:
        """End the unit's connection without a word."""
        if self._connection is not None:
            self._connection.close()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._listener.close()
        self.cut()


class MqttClient:
    """A plain MQTT 3.1.1 client: connected from `open` until `close` or a loss. `on_publish` is called in a thread of its own."""

    def __init__(
        self, url: str, said: Connect, on_publish: Callable[[Publish], None], on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._url, self._said, self._on_publish, self._on_lost = url, said, on_publish, on_lost
        self._closed = threading.Event()
        self._mids = iter(range(1, 1 << 30))
        self._answers: queue.Queue[Packet] = queue.Queue()
        self.acknowledged: set[int] = set()
        self.puback = True
        self.lost = threading.Event()

    def open(self, timeout_s: float = 10.0) -> int:
        """Connect; the CONNACK's return code (0: accepted). Raises WireError if there is no broker."""
        parts = urlsplit(self._url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise WireError(f"the broker is wanted as mqtt://host:port or mqtts://host:port, not {self._url!r}")
        tls = parts.scheme == "mqtts"
        try:
            sock = socket.create_connection((parts.hostname, parts.port or (8883 if tls else 1883)), timeout_s)
            if tls:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        except (OSError, ValueError) as error:
            raise WireError(f"{parts.hostname}:{parts.port or 'default'}: {error}") from error
        self._connection = Connection(sock)
        self._connection.send(packets.connect(self._said))
        deadline = time.monotonic() + timeout_s
        threading.Thread(target=self._listen, daemon=True).start()
        while time.monotonic() < deadline:
            try:
                answer = self._answers.get(timeout=0.1)
            except queue.Empty:
                if self.lost.is_set():
                    raise WireError("the broker closed the connection") from None
                continue
            if answer.kind == packets.CONNACK:
                return answer.body[1] if len(answer.body) > 1 else 255
        raise WireError("the broker does not answer CONNECT")

    def _listen(self) -> None:
        pinged = time.monotonic()
        try:
            while not self._closed.is_set():
                packet = self._connection.read(self._closed)
                if packet is None:
                    break
                if packet.kind == packets.PUBLISH:
                    said = packets.read_publish(packet)
                    self._on_publish(said)
                    if said.qos == 1 and self.puback:
                        self._connection.send(packets.puback(said.mid))
                elif packet.kind == packets.PUBACK:
                    self.acknowledged.add(packets.mid_of(packet))
                else:
                    self._answers.put(packet)
                if time.monotonic() - pinged > self._said.keepalive_s / 2 > 0:
                    pinged = time.monotonic()
                    self._connection.send(packets.packet(packets.PINGREQ))
        except (PacketError, IndexError):
            pass
        finally:
            self.lost.set()
            self._connection.close()
            if not self._closed.is_set():
                self._on_lost()

    def subscribe(self, topic: str, qos: int = 1, timeout_s: float = 10.0) -> int:
        """What was granted: 0, 1, or 128 for a refusal; 128 too if the broker ends the connection over it."""
        mid = next(self._mids) % 65535 + 1
        self._connection.send(packets.subscribe(mid, [(topic, qos)]))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self.lost.is_set():
            try:
                answer = self._answers.get(timeout=0.1)
            except queue.Empty:
                continue
            if answer.kind == packets.SUBACK and packets.mid_of(answer) == mid:
                return answer.body[2]
        return 128

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> int:
        """Send; the packet id, which is in `acknowledged` once PUBACK has come."""
        mid = next(self._mids) % 65535 + 1
        self._connection.send(packets.publish(Publish(topic, payload, qos, mid, retain)))
        return mid

    def ping(self) -> None:
        """A sign of life."""
        self._connection.send(packets.packet(packets.PINGREQ))

    def close(self, *, orderly: bool = True) -> None:
        """End the connection; `orderly` with DISCONNECT, so that no will is sent."""
        self._closed.set()
        if orderly:
            self._connection.send(packets.packet(packets.DISCONNECT))
        self._connection.close()


def connect_of(url: str, client_id: str, **facts: Any) -> Connect:
    """A CONNECT with the login of a URL."""
    parts = urlsplit(url)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password).encode() if parts.password else None
    return Connect(client_id, facts.pop("clean_session", True), 0, user_name=user, password=password, **facts)


class BrokerWire(LiveWire):
    """The kit and the unit are both clients of a broker: the kit sees what the broker passes on."""

    sees_presence = True

    def __init__(self, unit: UnitId, url: str, password: str | None, power_command: str | None = None) -> None:
        super().__init__(power_command)
        self._unit, self._url, self._password = unit, url, password
        self._topic = f"v1/{unit}"
        self._client = MqttClient(url, connect_of(url, f"{CLIENT}-{unit.telematics_unit_id[-6:]}"), self._published)
        code = self._client.open()
        if code:
            raise WireError(f"the broker refuses the kit's login (return code {code}); it needs a gateway's rights")
        for channel in ("up", "presence"):
            if self._client.subscribe(f"{self._topic}/{channel}") >= 128:
                raise WireError(f"the broker does not let the kit subscribe to {self._topic}/{channel}")

    def _published(self, said: Publish) -> None:
        if said.topic == f"{self._topic}/up":
            self.tell("payload", payload=said.payload, publish=said)
        elif said.topic == f"{self._topic}/presence":
            if said.payload == b"online" and not said.retain:
                self.tell("connect")
            self.tell("presence", payload=said.payload, publish=said)
            if said.payload == b"offline" and not said.retain:
                self.tell("lost")

    def say(self, payload: bytes) -> None:
        """By the broker, QoS 1."""
        self._client.publish(f"{self._topic}/down", payload)

    def cut(self) -> None:
        """Take over the unit's session: the broker has to end its connection (MQTT-3.1.4-2)."""
        password = None if self._password is None else self._password.encode()
        will = (f"{self._topic}/presence", b"offline", 1, True)
        said = Connect(str(self._unit), False, 0, user_name=str(self._unit), password=password, will=will)
        taker = MqttClient(self._url, said, lambda said: None)
        taker.puback = False
        try:
            code = taker.open()
        except WireError as error:
            raise NotExecuted(
                f"the unit's session cannot be taken over: {error}", "give --units with the unit's password"
            ) from None
        if code:
            raise NotExecuted(
                "the broker does not let the kit take over the unit's session", "give --units with the unit's password"
            )
        taker.close(orderly=False)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


class TcpServerWire(LiveWire):
    """The kit is the TCP server that the unit connects to."""

    def __init__(self, framing: Framing, address: str, power_command: str | None = None) -> None:
        super().__init__(power_command)
        self._framing, self._listener = framing, listener(address)
        self._connection: Connection | None = None
        self.thread(self._accept)

    @property
    def address(self) -> str:
        """Where the unit is to connect to."""
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

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
        before, self._connection = self._connection, connection
        if before is not None:
            before.close()
        self.tell("connect")
        framer = Framer(self._framing)
        while chunk := connection.receive(self._closed):
            for cut in framer.receive(chunk):
                self.tell("payload", payload=cut.data)
        connection.close()
        if self._connection is connection:
            self._connection = None
            self.tell("lost")

    def say(self, payload: bytes) -> None:
        """Write it to the unit's connection, if it has one."""
        if self._connection is not None:
            self._connection.send(payload)

    def cut(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._listener.close()
        self.cut()
