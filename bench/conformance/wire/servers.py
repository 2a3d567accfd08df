"""The kit as the server that a unit connects to: MQTT, or plain TCP."""

from bench.conformance import packets
from bench.conformance.packets import Packet, PacketError, Publish
from bench.conformance.wire.sockets import Connection, ServerWire
from protocols.codec import UnitId
from protocols.stream import Framer, Framing


class MqttServerWire(ServerWire):
    """The kit is the MQTT server that the unit connects to: it sees every packet, and keeps the unit's session."""

    sees_session = sees_presence = True
    scheme = "mqtt://"

    def __init__(self, unit: UnitId, address: str, power_command: str | None = None) -> None:
        self._unit, self._topic = unit, f"v1/{unit}"
        self._subscribed = False
        self._kept: list[bytes] = []
        self._mids = iter(range(1, 1 << 30))
        super().__init__(address, power_command)

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


class TcpServerWire(ServerWire):
    """The kit is the TCP server that the unit connects to."""

    def __init__(self, framing: Framing, address: str, power_command: str | None = None) -> None:
        self._framing = framing
        super().__init__(address, power_command)

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
