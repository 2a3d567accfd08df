"""A unit's line against a broker of a few bytes: who is let in, what is confirmed, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from devices import mqtt, packets, wires
from devices.mqtt import BrokerAddress, Line, LineError, LoginRefusedError
from protocols.codec import UnitId

UNIT = UnitId("CLOUDBOXX", "00112233445566AA")
CONNACK, SUBACK, PINGRESP = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01", b"\xd0\x00"
DOWN = packets.text("v1/CLOUDBOXX/00112233445566AA/down")


class Broker:
    """Answers each kind of packet with what stands in `answers`; `said` is all that it heard, by kind."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = {"connect": CONNACK, "subscribe": SUBACK, "pingreq": PINGRESP} | answers
        self.said: list[tuple[int, bytes]] = []
        self.writer: asyncio.StreamWriter | None = None
        self.closed = asyncio.Event()
        self.kept = b""

    def heard(self, kind: int) -> list[bytes]:
        return [body for first, body in self.said if first >> 4 == kind]

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            while data := await reader.read(4096):
                self.kept += data
                while (found := packets.next_packet(self.kept, 0)) is not None:
                    first, (start, end) = self.kept[0], found
                    self.said.append((first, self.kept[start:end]))
                    self.kept = self.kept[end:]
                    self.answer(first >> 4)
        except OSError:
            pass
        finally:
            self.closed.set()
            writer.close()

    def answer(self, kind: int) -> None:
        word = {packets.CONNECT: "connect", packets.SUBSCRIBE: "subscribe", packets.PINGREQ: "pingreq"}.get(kind, "")
        if kind == packets.DISCONNECT and self.writer is not None:
            self.writer.close()
        elif answer := self.answers.get(word, b""):
            self.say(answer)


class Unit:
    def __init__(self, broker: Broker, line: Line, payloads: list[bytes], losses: list[bool]) -> None:
        self.broker, self.line, self.payloads, self.losses = broker, line, payloads, losses


@asynccontextmanager
async def called(**answers: bytes) -> AsyncIterator[Unit]:
    broker, payloads, losses = Broker(**answers), list[bytes](), list[bool]()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(BrokerAddress("127.0.0.1", port), UNIT, "secret", payloads.append, lambda: losses.append(True))
    try:
        yield Unit(broker, line, payloads, losses)
    finally:
        line.drop()
        server.close()
        await server.wait_closed()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_unit_logs_in_with_its_name_secret_and_will_listens_and_says_that_it_is_online() -> None:
    async with called() as unit:
        await unit.line.open()
        await until(lambda: bool(unit.broker.heard(packets.PUBLISH)))
        (login,) = unit.broker.heard(packets.CONNECT)
        assert login.startswith(b"\x00\x04MQTT\x04\xec\x00\x12" + packets.text(str(UNIT)))
        assert login.endswith(packets.text(b"offline") + packets.text(str(UNIT)) + packets.text("secret"))
        assert unit.broker.heard(packets.SUBSCRIBE) == [b"\x00\x01" + DOWN + b"\x01"]
        assert unit.broker.said[-1][0] == 0x33
        assert unit.broker.said[-1][1].endswith(b"online")


@pytest.mark.parametrize(("connack", "error"), [(4, LoginRefusedError), (5, LoginRefusedError), (3, LineError)])
async def test_a_login_that_is_refused_is_told_from_a_broker_that_is_away(connack: int, error: type[LineError]) -> None:
    async with called(connect=bytes((0x20, 2, 0, connack))) as unit:
        with pytest.raises(LineError) as refused:
            await unit.line.open()
        assert type(refused.value) is error
        assert not unit.losses
        await unit.broker.closed.wait()


async def test_a_unit_that_may_not_listen_is_not_logged_in() -> None:
    async with called(subscribe=b"\x90\x03\x00\x01\x80") as unit:
        with pytest.raises(LoginRefusedError):
            await unit.line.open()
        assert not unit.line.is_open


async def test_nobody_at_the_other_end_is_a_line_error() -> None:
    async with called() as unit:
        pass
    with pytest.raises(LineError):
        await unit.line.open()


async def test_what_comes_down_is_confirmed_and_handed_on_however_it_is_cut() -> None:
    async with called() as unit:
        await unit.line.open()
        message = packets.packet(0x32, DOWN + b"\x00\x07" + b"x" * 300)
        for byte in message:
            unit.broker.say(bytes((byte,)))
            await asyncio.sleep(0)
        unit.broker.say(message + packets.packet(0x30, DOWN + b"without an answer"))
        await until(lambda: len(unit.payloads) == 3)
        assert unit.payloads == [b"x" * 300, b"x" * 300, b"without an answer"]
        await until(lambda: len(unit.broker.heard(packets.PUBACK)) == 2)
        assert unit.broker.heard(packets.PUBACK) == [b"\x00\x07", b"\x00\x07"]


async def test_what_waited_in_the_session_counts_although_it_comes_before_the_unit_listens_again() -> None:
    async with called(connect=CONNACK + packets.packet(0x32, DOWN + b"\x00\x09kept")) as unit:
        await unit.line.open()
        assert unit.payloads == [b"kept"]


async def test_each_report_has_its_own_identifier_and_is_counted_when_confirmed() -> None:
    async with called() as unit:
        await unit.line.open()
        for payload in (b"one", b"two"):
            unit.line.publish(payload)
        await until(lambda: len(unit.broker.heard(packets.PUBLISH)) == 3)
        _, first, second = unit.broker.heard(packets.PUBLISH)
        assert (first[-3:], second[-3:]) == (b"one", b"two")
        assert first[-5:-3] != second[-5:-3]
        unit.broker.say(packets.acknowledge(first[-5:-3]) + packets.acknowledge(second[-5:-3]))
        unit.broker.say(packets.packet(0x30, DOWN + b"an Ack"))
        await until(lambda: unit.line.acknowledged == 2)
        assert unit.line.published == 2


async def test_a_confirmation_alone_is_taken_with_what_comes_next() -> None:
    async with called() as unit:
        await unit.line.open()
        unit.line.publish(b"one")
        await until(lambda: len(unit.broker.heard(packets.PUBLISH)) == 2)
        unit.broker.say(packets.acknowledge(b"\x00\x02"))
        await asyncio.sleep(0.05)
        unit.broker.say(packets.packet(0x30, DOWN + b"an Ack"))
        await until(lambda: unit.payloads == [b"an Ack"])
        assert unit.line.acknowledged == 1


async def test_what_comes_down_is_confirmed_with_what_is_said_next() -> None:
    async with called() as unit:
        await unit.line.open()
        unit.broker.say(packets.packet(0x32, DOWN + b"\x00\x07an Ack"))
        await until(lambda: bool(unit.payloads))
        unit.line.publish(b"a report")
        await until(lambda: len(unit.broker.heard(packets.PUBLISH)) == 2)
        assert [first >> 4 for first, _ in unit.broker.said[-2:]] == [packets.PUBACK, packets.PUBLISH]


@pytest.mark.parametrize("messages", [1, 2 * wires.LATE_BYTES])
async def test_what_comes_down_is_confirmed_soon_although_nothing_is_said(messages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "LATER_S", 0.05 if messages == 1 else 3_600.0)
    async with called() as unit:
        await unit.line.open()
        for number in range(messages):
            unit.broker.say(packets.packet(0x32, DOWN + number.to_bytes(2, "big") + b"an Ack"))
        await until(lambda: len(unit.broker.heard(packets.PUBACK)) == messages)
        assert len(unit.payloads) == messages


NONSENSE = [
    b"\x00\x00", b"\x20\x02\x00\x00", b"\xff\xff\xff\xff\xff", b"\x36\x05\x00\x01x\x00\x01", b"\x30\x02\xff\xff",
    b"\x90\x03\x00\x01\x01", b"\xd0\x01\x00", b"\x40\x01\x00", b"\x30\x80\x80\x80\x01",
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_what_no_broker_may_say_ends_the_line_once(nonsense: bytes) -> None:
    async with called() as unit:
        await unit.line.open()
        unit.broker.say(
            nonsense + bytes(packets.LEAST_BYTES + len(DOWN))
        )  # what is shorter waits for the next look at a quiet line
        await until(lambda: bool(unit.losses))
        await asyncio.wait_for(unit.broker.closed.wait(), 10)
        unit.line.publish(b"to nobody")
        assert unit.losses == [True]
        assert not unit.line.is_open


@pytest.mark.parametrize("nonsense", [b"\x90\x03\x00\x01\x01", b"\x30\x04\x00\x01xx", b"\xd0\x00", 99 * b"HTTP"])
async def test_nonsense_in_place_of_an_answer_to_the_login_is_a_line_error(nonsense: bytes) -> None:
    async with called(connect=nonsense) as unit:
        with pytest.raises(LineError, match="MQTT"):
            await unit.line.open()
        assert not unit.losses


async def test_a_quiet_line_is_kept_alive_and_a_dead_one_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(packets, "connect", lambda *_: packets.packet(0x10, b""))
    async with called() as unit:
        await unit.line.open()
        await until(lambda: len(unit.broker.heard(packets.PINGREQ)) >= 3)
        assert not unit.losses
        unit.broker.answers["pingreq"] = b""
        await until(lambda: bool(unit.losses))


async def test_leaving_says_offline_and_good_bye_and_is_no_loss() -> None:
    async with called() as unit:
        await unit.line.open()
        await unit.line.close()
        assert unit.broker.heard(packets.PUBLISH)[-1].endswith(b"offline")
        assert unit.broker.said[-1][0] >> 4 == packets.DISCONNECT
        assert not unit.losses


async def test_a_dropped_line_says_nothing_and_is_no_loss() -> None:
    async with called() as unit:
        await unit.line.open()
        await until(lambda: bool(unit.broker.heard(packets.PUBLISH)))
        unit.line.drop()
        await asyncio.wait_for(unit.broker.closed.wait(), 10)
        assert not unit.broker.heard(packets.DISCONNECT)
        assert not unit.losses


async def test_what_has_no_room_in_the_socket_is_said_when_there_is_some() -> None:
    async with called() as unit:
        await unit.line.open()
        long = [bytes((number,)) * 60_000 for number in range(120)]
        for payload in long:
            unit.line.publish(payload)
        await until(lambda: len(unit.broker.heard(packets.PUBLISH)) == 1 + len(long))
        assert [body[-60_000:] for body in unit.broker.heard(packets.PUBLISH)[1:]] == long


async def test_what_is_said_before_the_line_is_closed_arrives() -> None:
    async with called() as unit:
        await unit.line.open()
        unit.line.publish(b"the last word")
        await unit.line.close()
        await unit.broker.closed.wait()
        assert unit.broker.heard(packets.PUBLISH)[1].endswith(b"the last word")
        assert unit.broker.heard(packets.PUBLISH)[2].endswith(b"offline")


async def test_what_one_line_does_wrong_is_not_the_others_loss() -> None:
    async with called() as first, called() as second:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["message"]))
        for unit in (first, second):
            await unit.line.open()
        first.line._on_payload = lambda payload: payload.nonsense  # type: ignore[attr-defined]
        for unit in (first, second):
            unit.broker.say(packets.packet(0x30, DOWN + b"listen"))
        await until(lambda: second.payloads == [b"listen"] and not first.line.is_open)
        assert told == ["a line failed"]
        assert first.losses
        assert not second.losses
