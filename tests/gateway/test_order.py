"""Per vehicle in order, also between what the registry tells and what units say: created, then heard."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.eventlog import LocalEventLog
from gateway.events import Event
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.publisher import Publisher, PublishFailed
from gateway.registry.edits import NewUnit
from gateway.registry.outbox import Outbox
from gateway.registry.vehicles import NewVehicle
from gateway.relay import BATCH, Relay
from gateway.store import Store
from lab.inside import FLEET, SAYS_ALL, Clock, confirmed, gateway_inside, logged, report, until
from lab.mosquitto import MosquittoBroker
from protocols.codec import UnitId


@pytest.fixture
async def gateway(tmp_path: Path, mosquitto_broker: MosquittoBroker) -> AsyncIterator[Gateway]:
    async with gateway_inside(tmp_path / "data", mosquitto_broker, Clock()) as gateway:
        yield gateway


async def test_a_vehicle_is_created_before_it_is_heard_of(gateway: Gateway):
    count = 30
    for number in range(count):
        unit = UnitId("CLOUDBOXX", f"{number + 0xABC000:016X}")
        await gateway.registry.vehicles.add(FLEET, NewVehicle(unit, SAYS_ALL.id), "")
        for sequence, lock in enumerate(("LOCKED", "UNLOCKED"), 1):
            gateway.service.arrived(unit, report(gateway, unit, sequence, central_lock=lock), lambda: None)
    await until(lambda: confirmed(gateway, "CentralLockChanged") == confirmed(gateway, "VehicleChanged") == count)
    by_vehicle: dict[str, list[str]] = {}
    for event in await logged(gateway):
        by_vehicle.setdefault(event["metadata"]["vehicle_id"], []).append(event["metadata"]["type"])
    assert len(by_vehicle) == count
    for types in by_vehicle.values():
        told = [each for each in types if each != "VehicleChanged"]
        assert told == ["VehicleCreated", "VehicleStateRecorded", "VehicleStateRecorded", "CentralLockChanged"]


async def test_a_fleets_rentals_are_trips_where_it_says_so(gateway: Gateway):
    await gateway.registry.fleets.change(FLEET, {"trip_trigger": "RENTAL_STATUS"})
    unit, clock = UnitId("CLOUDBOXX", f"{0xABD000:016X}"), gateway.now_ms
    assert isinstance(clock, Clock)
    vehicle_id = (await gateway.registry.vehicles.add(FLEET, NewVehicle(unit, SAYS_ALL.id), "")).vehicle.vehicle_id
    heard = 0

    async def say(**state: Any) -> None:
        nonlocal heard
        heard += 1
        gateway.service.arrived(unit, report(gateway, unit, heard, **state), lambda: None)
        await until(lambda: confirmed(gateway, "VehicleStateRecorded") == heard)
        async with asyncio.timeout(10):
            while (await gateway.registry.vehicles.memories([vehicle_id]))[vehicle_id].order != heard:
                await asyncio.sleep(0.02)

    await say(mileage_in_kilometers=100.0, ignition="OFF")
    await gateway.registry.edits.rent(FLEET, vehicle_id, "IN_RENTAL", "rented")
    clock.ahead_ms += 600_000
    await say(mileage_in_kilometers=112.0, ignition="ON", speed_in_kilometers_per_hour=90.0)
    clock.ahead_ms += 600_000
    await say(mileage_in_kilometers=120.0, ignition="OFF", speed_in_kilometers_per_hour=0.0)
    clock.ahead_ms += 1
    await gateway.registry.edits.rent(FLEET, vehicle_id, "NOT_IN_RENTAL", "returned")
    await until(lambda: confirmed(gateway, "TripMetricsReady") == 1)
    trips = [event for event in await logged(gateway) if event["metadata"]["type"].startswith("Trip")]
    assert [event["metadata"]["type"] for event in trips] == ["TripStarted", "TripEnded", "TripMetricsReady"]
    assert [event["metadata"]["flow_id"] for event in trips] == ["rented", "returned", "returned"]
    assert trips[-1]["metrics"]["distance_in_kilometers"] == 20.0
    assert trips[-1]["metrics"]["maximum_speed_in_kilometers_per_hour"] == pytest.approx(90.0)
    assert {event["trip"]["id"] for event in trips} == {trips[0]["trip"]["id"]}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.in_file(tmp_path / "teleloop.db")
    await store.open()
    yield store
    await store.close()


def an_event(number: int) -> Event:
    return Event(f"event {number}", "VehicleChanged", "flow", number, number, FLEET, "A2B3C", {"vehicle": {}})


async def put(store: Store, outbox: Outbox, numbers: range) -> None:
    async with store.writing() as connection:
        await outbox.put(connection, [an_event(number) for number in numbers])
    outbox.waiting.set()


async def test_the_outbox_keeps_its_events_until_they_are_confirmed_and_their_order(store: Store):
    outbox, log, count = Outbox(store), LocalEventLog(store), 2 * BATCH + 7
    relay = Relay(outbox, log, Live(), Metrics())
    await put(store, outbox, range(count))
    with pytest.raises(PublishFailed):
        await relay.flush()
    assert outbox.waiting.is_set()
    assert len(await outbox.oldest(2 * count)) == count
    await log.start()
    running = asyncio.create_task(relay.run())
    await asyncio.gather(*(relay.flush() for _ in range(5)))
    assert await outbox.oldest() == []
    await log.publish([an_event(count)])
    assert [each.event_id for each in await log.since(FLEET, None, 2 * count)] == [f"event {n}" for n in range(count + 1)]
    await put(store, outbox, range(count + 1, count + 2))
    await relay.flush()
    assert [each.event_id for each in await log.since(FLEET, f"event {count}")] == [f"event {count + 1}"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await log.stop()


class Slow:
    """A publisher that confirms when it is told to."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.turns = asyncio.Semaphore(0)
        self.asked: list[list[str]] = []
        self.confirmed = 0

    async def publish(self, events: Sequence[Event]) -> None:
        self.asked.append([event.type for event in events])
        await self.turns.acquire()
        await self._publisher.publish(events)
        self.confirmed += 1


async def test_nothing_is_acknowledged_before_its_own_events_are_confirmed(gateway: Gateway):
    unit = UnitId("CLOUDBOXX", f"{0xABE000:016X}")
    vehicle_id = (await gateway.registry.vehicles.add(FLEET, NewVehicle(unit, SAYS_ALL.id), "")).vehicle.vehicle_id
    slow = gateway.service._flights._publisher = Slow(gateway.publisher)  # type: ignore[assignment]
    acknowledged: list[int] = []

    def say(sequence: int, lock: str) -> None:
        payload = report(gateway, unit, sequence, central_lock=lock)
        gateway.service.arrived(unit, payload, lambda: acknowledged.append(sequence))

    say(1, "LOCKED")
    await until(lambda: len(slow.asked) == 1)
    say(2, "UNLOCKED")
    await until(lambda: len(slow.asked) == 2)
    assert slow.asked[1] == ["VehicleStateRecorded", "CentralLockChanged"], "the next one knew what the one before had said"
    say(3, "LOCKED")
    await asyncio.sleep(0.1)
    assert acknowledged == []

    slow.turns.release()
    await until(lambda: acknowledged == [1])
    slow.turns.release()
    await until(lambda: acknowledged == [1, 2])
    slow.turns.release()
    await until(lambda: acknowledged == [1, 2, 3])
    assert slow.asked[2] == ["VehicleStateRecorded", "CentralLockChanged"]
    await until(lambda: not gateway.service._shadow)
    assert (await gateway.registry.vehicles.memories([vehicle_id]))[vehicle_id].state["central_lock"].value == "LOCKED"


async def test_what_an_older_unit_said_and_is_not_yet_remembered_is_nothing_to_the_next_one(gateway: Gateway):
    older, newer = UnitId("CLOUDBOXX", f"{0xABF000:016X}"), UnitId("CLOUDBOXX", f"{0xABF001:016X}")
    vehicle_id = (await gateway.registry.vehicles.add(FLEET, NewVehicle(older, SAYS_ALL.id), "")).vehicle.vehicle_id
    slow = gateway.service._flights._publisher = Slow(gateway.publisher)  # type: ignore[assignment]
    acknowledged: list[UnitId] = []
    gateway.service.arrived(older, report(gateway, older, 7, central_lock="LOCKED"), lambda: acknowledged.append(older))
    await until(lambda: len(slow.asked) == 1)
    await gateway.registry.edits.replace_unit(FLEET, vehicle_id, NewUnit(newer), "")
    gateway.service.arrived(newer, report(gateway, newer, 7, central_lock="UNLOCKED"), lambda: acknowledged.append(newer))
    for _ in range(2):
        slow.turns.release()
    await until(lambda: acknowledged == [older, newer])
    assert [types[0] for types in slow.asked] == ["VehicleStateRecorded"] * 2, "its seventh frame is no repeat of the other's"
    await until(lambda: not gateway.service._shadow)
    memory = (await gateway.registry.vehicles.memories([vehicle_id]))[vehicle_id]
    assert (memory.state["central_lock"].value, memory.replacements) == ("UNLOCKED", 1)
