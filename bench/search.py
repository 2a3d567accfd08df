"""Lists and searches over many vehicles: the plan of each query, and its time against that over few.

python -m bench.search [--vehicles 100000] [--few 1000]
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.labels import labels_of
from gateway.registry.listing import VehicleFilter, numbers, searchable
from gateway.registry.record import VehicleRecord, record, selected
from gateway.store import Store
from gateway.store.tables import fleets, vehicle_labels, vehicles

FLEET = "default"
PAGE = 50
REPEATS = 30
PORTION = 5_000
LIMIT = 3.0
"""How much longer a page of many may take than one of few."""

FILTERS = {
    "all": VehicleFilter(),
    "tag": VehicleFilter(tags=("airport",)),
    "tag of few": VehicleFilter(tags=("rare",)),
    "operation status": VehicleFilter(operation_status="GARAGE"),
    "life status": VehicleFilter(online=True),
    "brand": VehicleFilter(brand="CLOUDBOXX"),
    "custom field": VehicleFilter(custom_fields=("bay:7",)),
    "tag and status": VehicleFilter(tags=("airport",), operation_status="GARAGE"),
    "text": VehicleFilter(text="hh-tl 7"),
    "text of one": VehicleFilter(text="tl 777 "),
    "text and tag": VehicleFilter(text="hh-tl", tags=("airport",)),
    "short text": VehicleFilter(text="tl"),
    "archived": VehicleFilter(archived=True),
}


async def fill(store: Store, count: int) -> None:
    """Put `count` vehicles into an empty store: a tenth at the airport, a fourth in a garage, a tenth archived, ten rare."""
    async with store.writing() as connection:
        await connection.execute(insert(fleets).values(fleet_id=FLEET, name="Bench", created_at=0))
        for start in range(1, count + 1, PORTION):
            portion = range(start, min(start + PORTION, count + 1))
            await connection.execute(insert(vehicles), [_vehicle(number, count) for number in portion])
            rows = await connection.execute(selected().where(vehicles.c.number.in_(portion)))
            await connection.execute(insert(vehicle_labels), [label for row in rows for label in _labels(record(row))])


def _vehicle(number: int, count: int) -> dict[str, object]:
    master_data = {"license_plate": f"HH-TL {number} ", "remark": f"bay {number % 100}"}
    custom_fields = {"bay": number % 10}
    return {
        "vehicle_id": f"{number:05X}",
        "fleet_id": FLEET,
        "brand": "CLOUDBOXX",
        "telematics_unit_id": f"{number:016X}",
        "vehicle_model_id": "0" * 26,
        "master_data": master_data,
        "custom_fields": custom_fields,
        "tags": ["airport"] * (number % 10 == 0) + ["rare"] * (number % (count // 10) == 0),
        "search": searchable(master_data, custom_fields),
        "operation_status": "GARAGE" if number % 4 == 0 else "OPERATING",
        "rental_status": "NOT_IN_RENTAL",
        "created_at": number,
        "modified_at": number,
        "archived_at": 1 if number % 10 == 9 else None,
        "number": number,
    }


def _labels(vehicle: VehicleRecord) -> list[dict[str, object]]:
    place = {"fleet_id": FLEET, "archived": vehicle.archived_at is not None, "number": vehicle.number}
    return [{**place, "label": label} for label in labels_of(vehicle)]


async def plan(connection: AsyncConnection, wanted: VehicleFilter) -> list[str]:
    """How SQLite goes about the query of a page."""
    query = numbers(FLEET, wanted, 0, PAGE + 1, "sqlite")
    compiled = str(query.compile(connection.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    return [row[3] for row in await connection.execute(text("EXPLAIN QUERY PLAN " + compiled.replace(":", "\\:")))]


async def page_ms(connection: AsyncConnection, wanted: VehicleFilter) -> float:
    """The best time of a page: its numbers, and the vehicles behind them."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        found = list((await connection.execute(numbers(FLEET, wanted, 0, PAGE + 1, "sqlite"))).scalars())
        (await connection.execute(selected().where(vehicles.c.number.in_(found)))).all()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


async def measure(counts: Sequence[int]) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """The time of each filter's page, for each count of vehicles; and the plans over the last."""
    times: dict[str, list[float]] = {name: [] for name in FILTERS}
    plans: dict[str, list[str]] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            store = Store.in_file(Path(folder) / "teleloop.sqlite")
            await store.open()
            await fill(store, count)
            async with store.reading() as connection:
                for name, wanted in FILTERS.items():
                    times[name].append(await page_ms(connection, wanted))
                    plans[name] = await plan(connection, wanted)
            await store.close()
    return times, plans


def main() -> None:
    """Measure, print, and end with 1 if a page of many takes more than LIMIT times one of few."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--vehicles", type=int, default=100_000)
    arguments.add_argument("--few", type=int, default=1_000)
    said = arguments.parse_args()
    times, plans = asyncio.run(measure((said.few, said.vehicles)))
    print(f"{'page of ' + str(PAGE):18} {said.few:>9,} {said.vehicles:>9,}  ratio")
    for name, (few, many) in times.items():
        print(f"{name:18} {few:6.2f} ms {many:6.2f} ms  {many / few:5.2f}")
        for step in plans[name]:
            print(f"{'':18} {step}")
    if any(many > LIMIT * few for few, many in times.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
