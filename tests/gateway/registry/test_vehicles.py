"""Vehicles come, change, go and come back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from gateway.memory import Memory, Recorded, Window
from gateway.registry import (
    Archived,
    BadUnitId,
    BrandUnknown,
    ModelAmbiguous,
    ModelUnknown,
    Registry,
    UnitTaken,
    Unknown,
    Unsealed,
    Wrong,
)
from gateway.registry.listing import VehicleFilter
from gateway.registry.vehicles import ARCHIVE_KEPT_MS, VEHICLE_ID_LETTERS, Added, NewVehicle
from gateway.store.tables import memories
from protocols.codec import UnitId

from .conftest import FLEET, Clock, a_vehicle, unit


async def outbox_types(registry: Registry) -> list[str]:
    return [event.type for _, event in await registry.outbox.oldest()]


async def test_an_added_vehicle_is_found_by_its_unit_and_told_of(registry: Registry) -> None:
    added = await registry.vehicles.add(FLEET, a_vehicle(), "flow")
    vehicle, memory = (await registry.find([unit()]))[unit()]
    assert vehicle.vehicle_id == added.vehicle.vehicle_id
    assert len(vehicle.vehicle_id) == 5
    assert set(vehicle.vehicle_id) <= set(VEHICLE_ID_LETTERS)
    assert memory == Memory()
    [(_, event)] = await registry.outbox.oldest()
    assert (event.type, event.flow_id, event.vehicle_id) == ("VehicleCreated", "flow", vehicle.vehicle_id)
    assert event.body["vehicle"] == added.vehicle.document(registry.models)


async def test_a_unit_has_one_live_vehicle(registry: Registry) -> None:
    await registry.vehicles.add(FLEET, a_vehicle(), "")
    with pytest.raises(UnitTaken):
        await registry.vehicles.add("other", a_vehicle(), "")
    assert len((await registry.vehicles.page("other"))[0]) == 0


async def test_the_wrong_id_brand_or_model_is_refused_with_candidates(registry: Registry) -> None:
    for said in ("0123", "0123456789abcdef", "0123456789ABCDE\n", "+", "#/$SYS"):
        with pytest.raises(BadUnitId):
            await registry.vehicles.add(FLEET, NewVehicle(UnitId("CLOUDBOXX", said), vehicle_model="Golf", year=2018), "")
    with pytest.raises(BrandUnknown):
        await registry.vehicles.add(FLEET, NewVehicle(UnitId("NOBODY", "1")), "")
    with pytest.raises(ModelUnknown):
        await registry.vehicles.add(FLEET, NewVehicle(unit()), "")
    with pytest.raises(ModelUnknown):
        await registry.vehicles.add(FLEET, NewVehicle(unit(), vehicle_model_id="0" * 26), "")
    with pytest.raises(ModelAmbiguous) as ambiguous:
        await registry.vehicles.add(FLEET, NewVehicle(unit(), vehicle_model="Volkswagen Golf"), "")
    assert len(ambiguous.value.candidates) == 2
    with pytest.raises(ModelUnknown) as unknown:
        await registry.vehicles.add(FLEET, NewVehicle(unit(), vehicle_model="Golf", year=1974), "")
    assert {model.name for model in unknown.value.candidates} == {"Golf"}
    assert await outbox_types(registry) == []


async def test_a_model_is_chosen_by_name_and_year(registry: Registry) -> None:
    older = await registry.vehicles.add(FLEET, NewVehicle(unit(1), vehicle_model="golf", year=2018), "")
    newer = await registry.vehicles.add(FLEET, NewVehicle(unit(2), vehicle_model="Golf", year=2021), "")
    assert older.vehicle.vehicle_model_id != newer.vehicle.vehicle_model_id


async def test_a_brand_without_a_seal_needs_a_trusted_broker(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    brand = registry.models.brands["CLOUDBOXX"]
    object.__setattr__(brand, "sealed", False)
    try:
        with pytest.raises(Unsealed):
            await registry.vehicles.add(FLEET, a_vehicle(), "")
    finally:
        object.__setattr__(brand, "sealed", True)


async def test_an_archived_vehicle_is_frozen_and_its_unit_is_free(registry: Registry, clock: Clock) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    said = Memory(Window(3), 3, {"ignition": Recorded("ON", 5, 3)}, clock.now, "1.2.3", True, clock.now, 1)
    await registry.remember({added.vehicle_id: said})
    gone = await registry.vehicles.archive(FLEET, added.vehicle_id, "flow")
    assert (gone.archived_at, gone.online) == (clock.now, False)
    vehicle, _ = (await registry.find([unit()]))[unit()]
    assert vehicle.archived
    await registry.remember({added.vehicle_id: Memory(Window(9), last_contact_at=clock.now + 1, online=True)})
    _, memory = (await registry.find([unit()]))[unit()]
    assert (memory.window, memory.last_contact_at) == (Window(3), clock.now)
    async with registry.store.reading() as connection:
        kept = (await connection.execute(select(memories))).one()
    assert (kept.last_contact_at, kept.online) == (clock.now, False)
    assert (await outbox_types(registry))[-1] == "VehicleRemoved"
    again = await registry.vehicles.add(FLEET, a_vehicle(), "")
    vehicle, _ = (await registry.find([unit()]))[unit()]
    assert (vehicle.vehicle_id, vehicle.archived) == (again.vehicle.vehicle_id, False)
    with pytest.raises(UnitTaken):
        await registry.vehicles.restore(FLEET, added.vehicle_id, "")


async def test_archiving_during_a_batch_wins_over_the_batch(registry: Registry, reopened: Callable[[], Registry]) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    await registry.find([unit()])
    # Another process (or a cache that is behind) archives: only the row says so.
    await reopened().vehicles.archive(FLEET, added.vehicle_id, "")
    await registry.remember({added.vehicle_id: Memory(Window(9), online=True)})
    async with registry.store.reading() as connection:
        assert (await connection.execute(select(memories))).all() == []


async def test_a_restored_vehicle_is_the_same_one(registry: Registry, clock: Clock) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    said = Memory(Window(3), 3, {"ignition": Recorded("ON", 5, 3)}, clock.now, "1.2.3", False, clock.now, 1)
    await registry.remember({added.vehicle_id: said})
    await registry.vehicles.archive(FLEET, added.vehicle_id, "")
    assert (await registry.vehicles.restore(FLEET, added.vehicle_id, "")).archived_at is None
    vehicle, memory = (await registry.find([unit()]))[unit()]
    assert (vehicle.vehicle_id, vehicle.archived, memory) == (added.vehicle_id, False, said)
    assert await outbox_types(registry) == ["VehicleCreated", "VehicleRemoved", "VehicleCreated"]
    await registry.vehicles.restore(FLEET, added.vehicle_id, "")
    assert len(await outbox_types(registry)) == 3


async def test_nothing_crosses_fleets(registry: Registry) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    for forbidden in (registry.vehicles.archive, registry.vehicles.restore, registry.edits.reissue):
        with pytest.raises(Unknown):
            await forbidden("other", added.vehicle_id, "")
    with pytest.raises(Unknown):
        await registry.vehicles.get("other", added.vehicle_id)
    assert await registry.vehicles.page("other") == ([], None)


async def test_pages_are_stable_while_vehicles_are_added(registry: Registry, clock: Clock) -> None:
    expected = []
    for number in range(7):
        expected.append((await registry.vehicles.add(FLEET, a_vehicle(number), "")).vehicle.vehicle_id)
        clock.now += number % 2  # some are added in the same millisecond
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = await registry.vehicles.page(FLEET, cursor=cursor, limit=3)
        seen += [vehicle.vehicle_id for vehicle in page]
        if cursor is None:
            break
        clock.now += 1
        added = await registry.vehicles.add(FLEET, a_vehicle(100 + len(seen)), "")
        expected.append(added.vehicle.vehicle_id)
    assert sorted(seen) == sorted(expected)
    assert len(seen) == len(set(seen))
    for nonsense in ("%", "AAAA", "", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LkFCQ0RF"):
        with pytest.raises(Wrong):
            await registry.vehicles.page(FLEET, cursor=nonsense)


async def test_filters_narrow_the_list(registry: Registry) -> None:
    first = (await registry.vehicles.add(FLEET, a_vehicle(1), "")).vehicle
    second = (await registry.vehicles.add(FLEET, a_vehicle(2), "")).vehicle
    await registry.remember({first.vehicle_id: Memory(online=True)})
    await registry.vehicles.archive(FLEET, second.vehicle_id, "")

    async def ids(wanted: VehicleFilter) -> list[str]:
        return [vehicle.vehicle_id for vehicle in (await registry.vehicles.page(FLEET, wanted))[0]]

    assert await ids(VehicleFilter()) == [first.vehicle_id]
    assert await ids(VehicleFilter(archived=True)) == [second.vehicle_id]
    assert await ids(VehicleFilter(online=False, archived=True)) == [second.vehicle_id]
    assert await ids(VehicleFilter(online=True)) == [first.vehicle_id]
    assert await ids(VehicleFilter(brand="TELTONIKA")) == []


async def test_a_vehicle_is_found_by_its_master_data_and_custom_fields(registry: Registry) -> None:
    said: dict[str, Any] = {"master_data": {"license_plate": "HH-TL 1%", "remark": "Übergröße"}, "custom_fields": {"bay": 42}}
    found = (await registry.vehicles.add(FLEET, replace(a_vehicle(1), **said), "")).vehicle.vehicle_id
    await registry.vehicles.add(FLEET, replace(a_vehicle(2), master_data={"license_plate": "HH-TL 12"}), "")
    for text, expected in (("hh-tl 1%", 1), ("ÜBERGRÖSSE", 1), ("42", 1), ("HH", 2), ("license", 0), ("_", 0), ("", 2)):
        page, _ = await registry.vehicles.page(FLEET, VehicleFilter(text=text))
        assert len(page) == expected, text
        if expected == 1:
            assert page[0].vehicle_id == found


async def test_a_new_owner_of_a_unit_gets_new_keys(registry: Registry) -> None:
    first = await registry.vehicles.add(FLEET, a_vehicle(), "")
    await registry.vehicles.archive(FLEET, first.vehicle.vehicle_id, "")
    second = await registry.vehicles.add("other", a_vehicle(), "")
    assert (first.generation, second.generation) == (1, 2)
    assert registry.keys(unit(), 1).password != registry.keys(unit(), 2).password


async def test_two_generations_are_valid_until_the_unit_uses_the_newer(
    registry: Registry, reopened: Callable[[], Registry]
) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    assert (await registry.edits.reissue(FLEET, added.vehicle_id, "")).generation == 2
    for generation, valid in ((1, (2, 1)), (2, (2,))):
        await registry.remember({added.vehicle_id: Memory(generation=generation)})
        for each in (registry, reopened()):
            vehicle, _ = (await each.find([unit()]))[unit()]
            assert vehicle.generations == valid
            assert [keys.generation for keys in each.secrets(vehicle)] == list(valid)
    assert await registry.logins() == {unit(): registry.keys(unit(), 2).password}
    await registry.vehicles.archive(FLEET, added.vehicle_id, "")
    assert await registry.logins() == {}
    with pytest.raises(Archived):
        await registry.edits.reissue(FLEET, added.vehicle_id, "")


async def test_what_was_archived_90_days_ago_is_forgotten(registry: Registry, clock: Clock) -> None:
    added = (await registry.vehicles.add(FLEET, a_vehicle(), "")).vehicle
    await registry.remember({added.vehicle_id: Memory(order=1)})
    await registry.vehicles.archive(FLEET, added.vehicle_id, "")
    clock.now += ARCHIVE_KEPT_MS - 1
    assert await registry.purge() == 0
    clock.now += 1
    assert await registry.purge() == 1
    with pytest.raises(Unknown):
        await registry.vehicles.get(FLEET, added.vehicle_id)
    assert await registry.find([unit()]) == {}


async def test_of_many_vehicles_each_has_its_own_outcome_and_all_are_one_transaction(registry: Registry) -> None:
    taken = await registry.vehicles.add(FLEET, a_vehicle(1), "")
    wanted = [a_vehicle(2), a_vehicle(1), a_vehicle(3), a_vehicle(2), NewVehicle(UnitId("NOBODY", "1"))]
    outcomes = await registry.vehicles.add_all(FLEET, wanted, "flow")
    assert [type(each) for each in outcomes] == [Added, UnitTaken, Added, UnitTaken, BrandUnknown]
    listed, _ = await registry.vehicles.page(FLEET)
    added = [each.vehicle.vehicle_id for each in outcomes if isinstance(each, Added)]
    assert [vehicle.vehicle_id for vehicle in listed] == [taken.vehicle.vehicle_id, *added]
    told = [event for _, event in await registry.outbox.oldest() if event.flow_id == "flow"]
    assert [(event.type, event.vehicle_id) for event in told] == [("VehicleCreated", each) for each in added]
