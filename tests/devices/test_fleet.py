"""A fleet on real connections, against a real broker with logins of its own, and an independent client as the gateway."""

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiomqtt
import msgspec
import pytest

from devices import timetable
from devices.behaviour import Behaviour, behaviour_of
from devices.config import Intervals
from devices.faults import by_name
from devices.flashfile import FlashFile, FlashFileError
from devices.fleet import Fleet
from devices.member import Member
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from gateway.brokers.embedded import embedded_broker
from gateway.memory import Window
from lab.firmware import MODELS, request
from lab.gateway import eventually, now_ms
from lab.mosquitto import MosquittoBroker, mosquitto
from lab.process import Server, free_port, wait_until
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Peer, UnitId
from protocols.keys import UnitKeys, brand_key, unit_keys

BRAND = "CLOUDBOXX"
UNLOCK = "unlock-central-lock"
DOORED = [model for model in MODELS if UNLOCK in model.units[BRAND].commands]


def keys_of(unit: UnitId) -> UnitKeys:
    return unit_keys(brand_key(bytes(32), BRAND), 1, unit.telematics_unit_id)


def records(count: int, prefix: str = "AA") -> list[UnitRecord]:
    made = []
    for place in range(count):
        unit = UnitId(BRAND, f"{prefix}{place:014X}")
        keys = keys_of(unit)
        made.append(
            UnitRecord(
                brand=BRAND,
                telematics_unit_id=unit.telematics_unit_id,
                vehicle_model_id=DOORED[place % len(DOORED)].id,
                password=keys.password,
                seal_key=keys.seal.hex(),
                command_key=keys.command.hex(),
                moving=False,
            )
        )
    return made


class Gateway:
    """What a gateway has to be for a unit: it holds what is sealed right, acknowledges, and commands."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.windows: dict[UnitId, Window] = {}
        self.heard: dict[UnitId, list[Frame]] = {}
        self.presence: dict[UnitId, str] = {}

    async def listen(self) -> None:
        async for message in self._client.messages:
            _, brand, name, channel = message.topic.value.split("/")
            unit = UnitId(brand, name)
            assert isinstance(message.payload, bytes)
            if channel == "presence":
                self.presence[unit] = message.payload.decode()
            else:
                await self._take(unit, message.payload)

    async def _take(self, unit: UnitId, payload: bytes) -> None:
        for cut in PROTOCOL.split(payload):
            frame = PROTOCOL.decode(cut.data, Peer(unit.telematics_unit_id, (keys_of(unit).seal,)))
            assert frame.sequence is not None
            window = self.windows.get(unit, Window()).without_before(frame.facts.get("oldest_sequence") or 0)
            self.windows[unit] = window.with_arrived(frame.sequence)
            self.heard.setdefault(unit, []).append(frame)
        name, window = unit.telematics_unit_id, self.windows[unit]
        bitmap = window.bitmap & 0xFFFFFFFF
        await self.say(unit, PROTOCOL.acknowledge(name, window.cumulative, bitmap, now_ms(), keys_of(unit).seal))

    async def say(self, unit: UnitId, payload: bytes) -> None:
        await self._client.publish(f"v1/{unit.brand}/{unit.telematics_unit_id}/down", payload, qos=1)

    async def command(self, unit: UnitId, name: str, counter: int) -> None:
        keys = keys_of(unit)
        data = request(name, counter, now_ms(), key=keys.command, unit=unit.telematics_unit_id)
        await self.say(unit, PROTOCOL.carry(unit.telematics_unit_id, data, now_ms(), keys.seal))

    def kinds(self, unit: UnitId) -> list[str]:
        return [frame.kind for frame in self.heard.get(unit, [])]


@asynccontextmanager
async def listening(url: str, name: str = "the gateway") -> AsyncIterator[Gateway]:
    address = urlsplit(url)
    async with aiomqtt.Client(
        address.hostname or "", address.port or 1883, username=address.username, password=address.password, identifier="gateway"
    ) as client:
        gateway = Gateway(client)
        for channel in ("up", "presence"):
            await client.subscribe(f"v1/+/+/{channel}", qos=1)
        task = asyncio.create_task(gateway.listen())
        try:
            yield gateway
        finally:
            while not task.done():  # Python 3.11's wait_for, inside aiomqtt, may swallow a cancellation
                task.cancel()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Fleet]:
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


async def all_online(fleet: Fleet) -> None:
    await eventually(lambda: fleet.online == len(fleet.members), 30, "all units online")


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
async def test_fifty_units_connect_report_are_acknowledged_and_obey(kind: Literal["mosquitto", "nats"], tmp_path: Path) -> None:
    ours = records(50)
    broker = embedded_broker(tmp_path, port=free_port(), kind=kind)
    await broker.start()
    try:
        await broker.replace_all({record.unit: record.password for record in ours})
        fleet = Fleet(ours, broker.unit_url)
        async with listening(broker.url) as gateway:
            async with running(fleet):
                await all_online(fleet)
                await eventually(lambda: fleet.waiting == 0 and len(gateway.heard) == 50, 20, "every frame acknowledged")
                assert all(gateway.kinds(record.unit)[:2] == ["hello", "state"] for record in ours)
                for record in ours:
                    await gateway.command(record.unit, UNLOCK, 1)
                await eventually(lambda: fleet.executed == 50 and fleet.waiting == 0, 20, "every command answered")
                assert all(gateway.kinds(record.unit)[-2:] == ["result", "state"] for record in ours)
                assert all(not member.firmware.vehicle.locked for member in fleet.members)
                assert set(gateway.presence.values()) == {"online"}
            await eventually(lambda: set(gateway.presence.values()) == {"offline"}, 10, "all offline")
    finally:
        await broker.stop()


async def test_a_refused_login_is_counted_and_tried_again_slowly(tmp_path: Path) -> None:
    good, bad = records(2)
    broker = embedded_broker(tmp_path, port=free_port())
    await broker.start()
    try:
        await broker.replace_all({good.unit: good.password})
        async with running(Fleet([good, bad], broker.unit_url)) as fleet:
            await eventually(lambda: fleet.online == 1 and fleet.tally.logins_refused == 1, 15, "one in, one refused")
            await broker.put({bad.unit: bad.password})
            await all_online(fleet)
            assert fleet.tally.logins_refused < 4
    finally:
        await broker.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


async def test_units_come_back_after_the_broker_was_killed_and_lose_nothing(broker: MosquittoBroker) -> None:
    ours = records(20, "BB")
    async with running(Fleet(ours, broker.url, intervals=Intervals(1, 1, 900))) as fleet:
        await all_online(fleet)
        broker.kill()
        await eventually(lambda: fleet.online == 0, 10, "all lines lost")
        await eventually(lambda: fleet.tally.connect_failures > 0, 10, "units trying to come back")
        broker.start()
        async with listening(broker.url) as gateway:
            await all_online(fleet)
            await eventually(lambda: len(gateway.heard) == 20 and fleet.waiting <= 20, 30, "the journals empty")
            for record in ours:
                heard = {frame.sequence for frame in gateway.heard[record.unit] if frame.sequence}
                assert heard == set(range(min(heard), max(heard) + 1))
        assert fleet.tally.lines_lost >= 20


async def test_of_many_units_the_next_are_switched_on_as_lines_come_up(
    broker: MosquittoBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.fleet.STARTING", 10)
    monkeypatch.setattr("devices.fleet.STARTING_EVERY_S", 30.0)
    ahead = []
    async with running(Fleet(records(30, "DE"), broker.url, intervals=Intervals(1, 1, 900))) as fleet:

        def seen() -> bool:
            ahead.append(sum(member.at_ms > 0 and member.line is None for member in fleet.members))
            return fleet.online == 30

        await eventually(seen, 30, "all units online")
    assert 0 < max(ahead) <= 10


async def test_many_units_that_find_no_broker_are_switched_on_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.fleet.STARTING", 4)
    monkeypatch.setattr("devices.fleet.STARTING_EVERY_S", 0.1)
    async with running(Fleet(records(12, "DF"), f"mqtt://127.0.0.1:{free_port()}")) as fleet:
        assert sum(member.at_ms > 0 for member in fleet.members) == 4
        await eventually(lambda: all(member.at_ms > 0 for member in fleet.members), 20, "all units switched on")


async def test_one_connection_a_unit_however_often_the_line_is_lost(broker: MosquittoBroker) -> None:
    async with running(Fleet(records(3, "CC"), broker.url)) as fleet:
        for _ in range(3):
            await all_online(fleet)
            broker.kill()
            await eventually(lambda: fleet.online == 0, 10, "all lines lost")
            broker.start()
        await all_online(fleet)
        await asyncio.sleep(0.5)  # a second client under the same name would throw the first one out
        assert fleet.online == 3
        assert fleet.tally.connects == 12


async def test_two_units_with_one_identity_take_the_session_from_each_other_on_connections_of_their_own(
    broker: MosquittoBroker,
) -> None:
    ours = records(1, "CC")
    async with listening(broker.url) as gateway:
        fleet = Fleet(ours, broker.url, seed=5, intervals=Intervals(1, 1, 60), faults=[by_name("cloned_unit")])
        member, unit = fleet.members[0], ours[0].unit
        async with running(fleet):
            await eventually(lambda: fleet.tally.takeovers >= 4, 30, "the session to change hands")
            rival = member.rival
            assert rival is not None
            assert rival.firmware.config.unit == unit
            assert rival.firmware.config.seal_key == member.firmware.config.seal_key

            def places() -> set[float]:
                reports = (report.signals for frame in gateway.heard.get(unit, []) for report in frame.reports)
                return {round(said["latitude"] / 1e7, 2) for said in reports if "latitude" in said}

            await eventually(lambda: len(places()) == 2, 30, "both to be heard, each from where it is")
            fleet.let(member, lambda at_ms: member.firmware.cure("cloned_unit", at_ms) or [])
            assert member.rival is None
            assert rival.line is None
            connects = fleet.tally.connects
            await eventually(lambda: member.line is not None, 70, "the unit to have its session back")
            await asyncio.sleep(1.0)
            assert fleet.tally.connects <= connects + 1, "nobody takes it over any more"


async def test_sequence_numbers_and_counters_outlive_the_process(broker: MosquittoBroker, tmp_path: Path) -> None:
    (record,) = records(1, "DD")
    async with listening(broker.url) as gateway:
        for life in (1, 2):
            flash_file = FlashFile(tmp_path / "flash")
            async with running(Fleet([record], broker.url, flash_file=flash_file)) as fleet:
                await all_online(fleet)
                await gateway.command(record.unit, UNLOCK, 1 if life == 1 else 2)
                await eventually(lambda: fleet.executed == 1 and fleet.waiting == 0, 10, "the command executed")
                if life == 2:
                    await gateway.command(record.unit, UNLOCK, 1)
                    await eventually(lambda: gateway.kinds(record.unit).count("result") == 3, 10, "the replay answered")
                    assert fleet.executed == 1
    sequences = [frame.sequence for frame in gateway.heard[record.unit]]
    assert len(sequences) == len(set(sequences))
    assert sequences == sorted(sequences, key=int)


def test_a_flash_file_belongs_to_one_fleet(tmp_path: Path) -> None:
    first = FlashFile(tmp_path)
    with pytest.raises(FlashFileError, match="locked"):
        FlashFile(tmp_path)
    first.close()
    FlashFile(tmp_path).close()


@contextmanager
def fleet_process(folder: Path, broker_url: str, ours: list[UnitRecord]) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    fields = [{name: getattr(record, name) for name in record.__struct_fields__} for record in ours]
    (folder / "units.json").write_text(json.dumps({"units": fields}))
    command = ["-m", "teleloop", "fleet", "--units", "units.json", "--broker", broker_url]
    command += ["--flash", "flash", "--report", "json"]
    root = str(Path(__file__).parents[2])
    server = Server([sys.executable, *command], folder, {"PYTHONPATH": root})
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_the_fleet_command_stops_cleanly_within_five_seconds(
    broker: MosquittoBroker, tmp_path: Path, how: signal.Signals
) -> None:
    async with listening(broker.url) as gateway:
        with fleet_process(tmp_path / "fleet", broker.url, records(10, "EE")) as process:
            await eventually(lambda: list(gateway.presence.values()) == ["online"] * 10, 60, "ten units online")
            assert process.process is not None
            process.send(how)
            assert await asyncio.to_thread(process.process.wait, 5) == 0
            await eventually(lambda: list(gateway.presence.values()) == ["offline"] * 10, 5, "ten units offline")
            report = json.loads(process.output.strip().splitlines()[-1])
            assert (report["units"], report["connects"], report["logins_refused"]) == (10, 10, 0)


async def test_a_killed_fleet_goes_on_where_it_was(broker: MosquittoBroker, tmp_path: Path) -> None:
    ours = records(5, "FF")
    async with listening(broker.url) as gateway:
        for run in (1, 2, 3):
            with fleet_process(tmp_path / "fleet", broker.url, ours) as process:
                await eventually(
                    lambda run=run: all(gateway.kinds(record.unit).count("hello") >= run for record in ours), 60, "hello of all"
                )
                process.kill()
                wait_until(lambda: not process.running, 5, "the fleet killed")
        for record in ours:
            by_sequence: dict[int, set[str]] = {}
            for frame in gateway.heard[record.unit]:
                by_sequence.setdefault(frame.sequence or 0, set()).add(repr(frame))
            assert all(len(said) == 1 for said in by_sequence.values())
            assert max(by_sequence) - min(by_sequence) == len(by_sequence) - 1


async def test_each_unit_ticks_once_when_it_is_due_however_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "TICKS_PER_TURN", 7)
    fleet = Fleet(records(30), "mqtt://127.0.0.1:1", seed=1)
    turns: list[list[tuple[int, int, int]]] = []

    def take_turns(due: Sequence[tuple[Member, int]]) -> None:
        turns.append([(fleet.members.index(member), at_ms, fleet.now_ms()) for member, at_ms in due])

    monkeypatch.setattr(fleet, "take_turns", take_turns)
    began = fleet.now_ms()
    wanted = [(place, began + 20 + place // 10) for place in range(30)]
    for place, due_ms in wanted:
        fleet.timetable.put(fleet.members[place], began + 300)  # outdated at once
        fleet.timetable.put(fleet.members[place], due_ms)
    for due_ms in range(began + 100_000, began + 200_000, 100):
        fleet.timetable.put(fleet.members[0], due_ms)
    fleet.timetable.put(fleet.members[0], wanted[0][1])
    assert fleet.timetable._entries <= timetable.SLACK * len(fleet.members)
    async with asyncio.timeout(10):
        while fleet.now_ms() < began + 400:
            await asyncio.sleep(0.02)
    assert sorted((place, at_ms) for turn in turns for place, at_ms, _ in turn) == wanted
    assert all(at_ms <= seen_ms for turn in turns for _, at_ms, seen_ms in turn)
    assert max(map(len, turns)) == 7


def test_how_the_firmware_behaves_can_be_said_for_a_whole_fleet() -> None:
    def life(vehicle: Vehicle, rng: random.Random) -> Iterator[float]:
        vehicle.locked, vehicle.driving_enabled, vehicle.ignition, vehicle.parking_brake = False, True, True, False
        vehicle.target_speed_kmh = 50.0
        while True:
            yield 60.0

    (record,) = records(1)
    began_ms = now_ms()

    def reports(**changes: int) -> int:
        def behaviour(brand: str) -> Behaviour:
            return msgspec.structs.replace(behaviour_of(brand), **changes)

        at_ms = began_ms
        intervals = Intervals(driving_s=600, parked_s=600, heartbeat_s=6_000)
        fleet = Fleet(
            [msgspec.structs.replace(record, moving=True)],
            "mqtt://127.0.0.1:1",
            now_ms=lambda: at_ms,
            life=life,
            behaviour=behaviour,
            intervals=intervals,
        )
        unit = fleet.members[0].firmware
        while at_ms < began_ms + 300_000:
            unit.tick(at_ms)
            at_ms = max(at_ms + 1, unit.next_tick(at_ms))
        return len(unit.flash.journal)

    usual = reports()
    assert reports(report_distance_m=200) > usual + 10
    assert reports(report_turn_degrees=30) > usual + 5
    assert reports(report_distance_m=200, journal_frames=4) == 4
