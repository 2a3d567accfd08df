"""A unit and the kit both behind a broker."""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.conformance import packets
from bench.conformance.packets import Connect, Packet, PacketError, Publish
from bench.conformance.requirement import NotExecuted
from bench.conformance.wire.line import LiveWire, WireError
from bench.conformance.wire.sockets import Connection
from protocols.codec import UnitId

CLIENT = "teleloop-conform"


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
