"""What the registry remembers of traffic: memories, commands, refusals."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.memory import Memory, Recorded, Vehicle, Window
from gateway.receipts import Refused
from gateway.registry import Registry
from gateway.registry.commands import AUDIT_KEPT_MS, KEY_KEPT_MS
from gateway.registry.quarantine import DATA_LIMIT_BYTES, KEPT
from gateway.registry.registry import ROWS_AT_ONCE
from protocols.codec import UnitId
from protocols.keys import brand_key, unit_keys

from .conftest import FLEET, PROVISIONING_KEY, Clock, a_vehicle, unit

WHOLE = Memory(
    Window(7, (1 << 4095) | 5),
    (1 << 33) + 9,
    {
        "position": Recorded({"lat": 53.5, "lon": 9.9}, 1_770_000_000_123, 4),
        "ignition": Recorded("ON", 1, 2),
        "driving_enabled": Recorded(True, 1, 2),
        "mileage_in_kilometers": Recorded(12.5, 1, 2),
    },
    1_770_000_000_500,
    "4.7.1",
    True,
    1_770_000_000_400,
    3,
    (5, 6, (1 << 63) - 1),
    {"started_at": 4, "metrics": [1.5]},
)


async def add(registry: Registry, number: int = 0, fleet_id: str = FLEET) -> Vehicle:
    await registry.vehicles.add(fleet_id, a_vehicle(number), "")
    return (await registry.find([unit(number)]))[unit(number)][0]


async def test_a_memory_survives_a_restart_whole(registry: Registry, reopened: Callable[[], Registry]) -> None:
    vehicle = await add(registry)
    await registry.remember({vehicle.vehicle_id: WHOLE})
    for each in (registry, reopened()):
        assert (await each.find([vehicle.unit]))[vehicle.unit][1] == WHOLE
    assert (await reopened().online())[vehicle.unit][1] == WHOLE


async def test_more_memories_than_a_statement_holds_are_all_kept(registry: Registry, reopened: Callable[[], Registry]) -> None:
    units = [unit(number) for number in range(2 * ROWS_AT_ONCE + 3)]
    await registry.vehicles.add_all(FLEET, [a_vehicle(number) for number in range(len(units))], "")
    attached = await registry.find(units)
    for round_ in (1, 2):
        said = {attached[each][0].vehicle_id: Memory(Window(1000 * round_ + at)) for at, each in enumerate(units)}
        await registry.remember(said)
        found = await reopened().find(units)
        assert {vehicle.vehicle_id: memory for vehicle, memory in found.values()} == said


async def test_many_units_are_found_at_once_and_strangers_are_not(registry: Registry, reopened: Callable[[], Registry]) -> None:
    added = [await add(registry, number) for number in range(20)]
    wanted = [vehicle.unit for vehicle in added] + [unit(99), UnitId("TELTONIKA", unit(1).telematics_unit_id)]
    for each in (registry, reopened()):
        for _ in ("from the store", "at hand"):
            found = await each.find(wanted)
            assert {vehicle.vehicle_id for vehicle, _ in found.values()} == {vehicle.vehicle_id for vehicle in added}


async def test_going_online_and_offline_is_told_once_each(registry: Registry, clock: Clock) -> None:
    vehicles = [await add(registry, number) for number in range(3)]
    await registry.outbox.sent([row for row, _ in await registry.outbox.oldest()])
    registry.outbox.waiting.clear()
    for online, at in ((True, 10), (True, 20), (False, 30)):
        memory = Memory(online=online, online_changed_at=at, last_contact_at=at)
        await registry.remember({vehicle.vehicle_id: memory for vehicle in vehicles})
    assert registry.outbox.waiting.is_set()
    events = [event for _, event in await registry.outbox.oldest()]
    told = [(event.type, event.vehicle_id, event.body["vehicle"]["life_status"]["value"]) for event in events]
    for some, value in ((told[:3], "ONLINE"), (told[3:], "OFFLINE")):
        assert sorted(some) == [("VehicleChanged", vehicle.vehicle_id, value) for vehicle in sorted_(vehicles)]
    assert all(event.body["reasons"] == ["LIFE_STATUS_CHANGED"] for event in events)
    assert {event.occurred_at for event in events} == {10, 30}


def sorted_(vehicles: Sequence[Vehicle]) -> list[Vehicle]:
    return sorted(vehicles, key=lambda vehicle: vehicle.vehicle_id)


async def test_a_failed_batch_leaves_nothing(registry: Registry) -> None:
    vehicle = await add(registry)
    bad = Refused(vehicle.unit, "forged", "not bytes", 0)  # type: ignore[arg-type]
    with pytest.raises(Exception):  # noqa: B017, PT011
        await registry.remember({vehicle.vehicle_id: WHOLE}, [bad])
    assert (await registry.find([vehicle.unit]))[vehicle.unit][1] == Memory()
    assert [event.type for _, event in await registry.outbox.oldest()] == ["VehicleCreated"]


async def test_keys_are_those_of_the_contract(registry: Registry) -> None:
    vehicle = await add(registry)
    expected = unit_keys(brand_key(PROVISIONING_KEY, "CLOUDBOXX"), 1, vehicle.unit.telematics_unit_id)
    assert registry.secrets(vehicle) == (expected,)


def str_bytes(counter: int) -> bytes:
    return str(counter).encode()


async def test_a_counter_is_never_given_twice(registry: Registry, reopened: Callable[[], Registry], clock: Clock) -> None:
    vehicle = await add(registry)

    async def counter(registry: Registry, of: Vehicle, at_least: int) -> int:
        begun = await registry.commands.begin(of, "draw-attention", at_least=at_least, seal=str_bytes, flow_id="f")
        assert begun.payload == str_bytes(begun.counter)
        return begun.counter

    given = await asyncio.gather(*(counter(registry, vehicle, clock.now) for _ in range(20)))
    assert sorted(given) == list(range(clock.now, clock.now + 20))
    assert await counter(reopened(), vehicle, 5) == clock.now + 20
    repeated = await registry.commands.again(1, vehicle.vehicle_id, at_least=5, seal=str_bytes)
    assert repeated == (1, clock.now + 21, str_bytes(clock.now + 21))
    await registry.vehicles.archive(FLEET, vehicle.vehicle_id, "")
    with pytest.raises(LookupError):
        await counter(registry, vehicle, 5)
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    again, _ = (await registry.find([added.unit]))[added.unit]
    assert await counter(registry, again, 5) == clock.now + 22


async def test_a_command_is_remembered_by_its_key_for_a_day(
    registry: Registry, reopened: Callable[[], Registry], clock: Clock
) -> None:
    vehicle = await add(registry)
    state = {"ignition": {"timestamp": "2026-01-30T13:22:05Z", "value": "ON"}}
    asked = {"flow_id": "f", "key": "k", "client": "me", "now_ms": clock.now}
    begun, _, _ = await registry.commands.begin(
        vehicle, "lock-central-lock", at_least=7, seal=lambda counter: b"\x00\xff", **asked
    )
    known = await reopened().command_by_key(vehicle.vehicle_id, "k")
    assert known is not None
    assert (known.id, known.counter, known.payload, known.flow_id, known.status) == (begun, 7, b"\x00\xff", "f", None)
    await registry.commands.again(begun, vehicle.vehicle_id, at_least=3, seal=lambda counter: b"2")
    await registry.finish_command(begun, 200, None, state, now_ms=clock.now + 1)
    known = await reopened().command_by_counter(vehicle.vehicle_id, 8)
    assert known is not None
    assert (known.status, known.reason, known.state, known.finished_at) == (200, None, state, clock.now + 1)
    assert await registry.recent_flows(clock.now) == [(vehicle.vehicle_id, 8, "f")]
    assert await registry.recent_flows(clock.now + 1) == []
    assert await registry.command_by_key("OTHER", "k") is None
    clock.now += KEY_KEPT_MS
    assert await registry.command_by_key(vehicle.vehicle_id, "k") is None
    assert [command.client for command in await registry.commands.page(FLEET)] == ["me"]
    assert await registry.commands.page("other") == []
    clock.now += AUDIT_KEPT_MS
    await registry.purge()
    assert await registry.commands.page(FLEET) == []


async def test_a_command_that_was_never_sent_frees_its_key(registry: Registry) -> None:
    vehicle = await add(registry)
    begun, _, _ = await registry.commands.begin(vehicle, "draw-attention", at_least=1, seal=str_bytes, flow_id="f", key="k")
    await registry.forget_command(begun)
    assert await registry.command_by_key(vehicle.vehicle_id, "k") is None
    [audited] = await registry.commands.page(FLEET)
    assert audited.status == 503


async def test_refused_frames_are_kept_for_their_fleet(registry: Registry) -> None:
    vehicle = await add(registry)
    stranger = unit(99)
    await registry.remember(
        {},
        [
            Refused(vehicle.unit, "forged", b"\x01", 5, 3, "tag"),
            Refused(stranger, "unknown_unit", b"\x02" * 70_000, 6),
        ],
    )
    [mine] = await registry.quarantine.page(FLEET)
    assert (mine.unit, mine.vehicle_id, mine.reason, mine.offset, mine.field) == (
        vehicle.unit,
        vehicle.vehicle_id,
        "forged",
        3,
        "tag",
    )
    theirs, _ = await registry.quarantine.page(FLEET, with_strangers=True)
    assert (theirs.unit, theirs.fleet_id, theirs.size_bytes, len(theirs.data)) == (stranger, None, 70_000, DATA_LIMIT_BYTES)
    assert await registry.quarantine.page("other") == []
    assert await registry.quarantine.entry("other", mine.id) is None
    assert await registry.quarantine.entry(FLEET, theirs.id) is None
    assert await registry.quarantine.counts(FLEET, with_strangers=True) == {"forged": 1, "unknown_unit": 1}
    assert await registry.quarantine.page(FLEET, before=mine.id) == []


async def test_the_quarantine_is_bounded(registry: Registry) -> None:
    stranger = unit(99)
    for start in range(0, KEPT + 2_000, 2_000):
        await registry.remember({}, [Refused(stranger, "unknown_unit", b"", at) for at in range(start, start + 2_000)])
    entries = await registry.quarantine.page(FLEET, with_strangers=True, limit=20_000)
    assert len(entries) == KEPT
    assert entries[0].at == KEPT + 2_000 - 1


async def test_the_outbox_keeps_order_until_sent(registry: Registry, reopened: Callable[[], Registry]) -> None:
    vehicles = [await add(registry, number) for number in range(4)]
    waiting = await reopened().outbox.oldest()
    assert [event.vehicle_id for _, event in waiting] == [vehicle.vehicle_id for vehicle in vehicles]
    assert waiting == await registry.outbox.oldest()
    await registry.outbox.sent([waiting[0][0]])
    assert await registry.outbox.oldest(2) == waiting[1:3]
