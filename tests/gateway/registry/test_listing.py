"""A page of any filter is one walk along an index, however many vehicles there are."""

import pytest

from bench.search import FILTERS, fill, plan
from gateway.registry import Registry
from gateway.registry.listing import VehicleFilter
from gateway.store import Store


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", list(FILTERS))
async def test_the_plan_of_every_filter_walks_an_index_and_sorts_nothing(store: Store, name: str) -> None:
    async with store.reading() as connection:
        steps = await plan(connection, FILTERS[name])
    assert steps
    for step in steps:
        walks = step.startswith(("SEARCH", "CORRELATED")) or "VIRTUAL TABLE INDEX" in step
        assert walks, step
        assert "TEMP B-TREE" not in step


async def test_what_is_filtered_is_what_is_there(store: Store) -> None:
    await fill(store, 200)
    registry = Registry(store, {}, bytes(32), lambda: 0)  # type: ignore[arg-type]

    async def found(wanted: VehicleFilter) -> list[int]:
        numbers: list[int] = []
        cursor: str | None = None
        while True:
            page, cursor = await registry.vehicles.page("default", wanted, cursor=cursor, limit=7)
            numbers += [vehicle.number for vehicle in page]
            if cursor is None:
                return numbers

    live = [number for number in range(1, 201) if number % 10 != 9]
    assert await found(FILTERS["all"]) == live
    assert await found(FILTERS["archived"]) == list(range(9, 200, 10))
    assert await found(FILTERS["tag"]) == [number for number in live if number % 10 == 0]
    assert await found(FILTERS["tag and status"]) == [number for number in live if number % 20 == 0]
    assert await found(FILTERS["custom field"]) == list(range(7, 200, 10))
    assert await found(FILTERS["text"]) == [7, *range(70, 79)]
    assert await found(FILTERS["short text"]) == live
    assert await found(VehicleFilter(online=True)) == []
    assert await found(VehicleFilter(text='hh-tl 7"')) == []
    assert await registry.vehicles.page("other", FILTERS["all"]) == ([], None)
