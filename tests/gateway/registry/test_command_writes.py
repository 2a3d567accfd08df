"""Commands that are written down together: each has what it would have had alone."""

import asyncio
from pathlib import Path

import pytest

import modeldb
from gateway.memory import Vehicle
from gateway.registry import Registry, command_writes
from gateway.registry.vehicles import NewVehicle
from gateway.store import Store
from protocols.codec import UnitId

FLEET, AT_LEAST = "default", 100


def bytes_of(counter: int) -> bytes:
    return f"request {counter}".encode()


@pytest.fixture
async def written(tmp_path: Path):
    store = Store.in_file(tmp_path / "teleloop.db")
    await store.open()
    registry = Registry(store, modeldb.load(), bytes(32), lambda: 1_770_000_000_000)
    await registry.fleets.ensure(FLEET)
    yield registry
    await store.close()


async def _vehicle(registry: Registry, number: int) -> Vehicle:
    unit, model = UnitId("CLOUDBOXX", f"{number:016X}"), registry.models.available("CLOUDBOXX")[0]
    await registry.vehicles.add(FLEET, NewVehicle(unit, model.id), "flow")
    return (await registry.find([unit]))[unit][0]


async def test_requests_that_come_together_have_their_own_ids_counters_and_bytes(
    written: Registry, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []
    begin = command_writes.begin

    def noted(connection, asked):
        sizes.append(len(asked))
        return begin(connection, asked)

    monkeypatch.setattr(written.commands._beginning, "_work", noted)
    first, second = await _vehicle(written, 1), await _vehicle(written, 2)
    asked = [first, second, first] + [second] * command_writes.ROWS_AT_ONCE
    begun = await asyncio.gather(
        *(
            written.commands.begin(vehicle, "draw-attention", at_least=AT_LEAST, seal=bytes_of, flow_id=f"flow {at}")
            for at, vehicle in enumerate(asked)
        )
    )
    assert max(sizes) > 1
    assert len({each.id for each in begun}) == len(asked)
    for vehicle in (first, second):
        counters = [each.counter for each, of in zip(begun, asked, strict=True) if of is vehicle]
        assert counters == list(range(AT_LEAST, AT_LEAST + len(counters)))
    for at, (each, vehicle) in enumerate(zip(begun, asked, strict=True)):
        assert each.payload == bytes_of(each.counter)
        stored = await written.command_by_counter(vehicle.vehicle_id, each.counter)
        assert stored is not None
        assert (stored.id, stored.payload, stored.flow_id) == (each.id, each.payload, f"flow {at}")
    await asyncio.gather(
        *(written.finish_command(each.id, 422, f"reason {at}", {"at": {"value": at}}) for at, each in enumerate(begun))
    )
    for at, (each, vehicle) in enumerate(zip(begun, asked, strict=True)):
        stored = await written.command_by_counter(vehicle.vehicle_id, each.counter)
        assert stored is not None
        assert (stored.status, stored.reason, stored.state) == (422, f"reason {at}", {"at": {"value": at}})


async def test_what_cannot_be_written_down_hinders_no_other(written: Registry):
    vehicle = await _vehicle(written, 1)
    gone = Vehicle("GGGGG", FLEET, UnitId("CLOUDBOXX", "F" * 16), vehicle.brand, vehicle.model)

    def unsayable(counter: int) -> bytes:
        raise ValueError("no such parameter")

    told = await asyncio.gather(
        *(
            written.commands.begin(of, "draw-attention", at_least=AT_LEAST, seal=seal, flow_id="f")
            for of, seal in ((vehicle, bytes_of), (gone, bytes_of), (vehicle, unsayable), (vehicle, bytes_of))
        ),
        return_exceptions=True,
    )
    assert [type(each) for each in told] == [command_writes.Begun, LookupError, ValueError, command_writes.Begun]
    assert [each.counter for each in told if isinstance(each, command_writes.Begun)] == [AT_LEAST, AT_LEAST + 1]
    assert len(await written.commands.page(FLEET)) == 2
