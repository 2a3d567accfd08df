"""Lists and searches over many vehicles: the plan of each query, and its time against that over few.

python -m bench.search [--vehicles 100000] [--few 1000] [--write docs/search.md]
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.registry.labels import labels_of
from gateway.registry.listing import VehicleFilter, page_query, searchable
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
    "text and tag of few": VehicleFilter(text="hh-tl", tags=("rare",)),
    "text of nobody": VehicleFilter(text="not there"),
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
    query = await page_query(connection, FLEET, wanted, 0, PAGE + 1)
    compiled = str(query.compile(connection.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    return [row[3] for row in await connection.execute(text("EXPLAIN QUERY PLAN " + compiled.replace(":", "\\:")))]


async def page_ms(connection: AsyncConnection, wanted: VehicleFilter) -> float:
    """The best time of a page: its numbers, and the vehicles behind them."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        query = await page_query(connection, FLEET, wanted, 0, PAGE + 1)
        found = list((await connection.execute(query)).scalars())
        (await connection.execute(selected().where(vehicles.c.number.in_(found)))).all()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


@dataclass(frozen=True)
class Measured:
    """The best time of each filter's page over few and over many vehicles, in ms, and the plan over many."""

    few: int
    many: int
    times: Mapping[str, tuple[float, float]]
    plans: Mapping[str, Sequence[str]]

    @property
    def good(self) -> bool:
        """Whether no page of many takes more than LIMIT times one of few."""
        return all(many <= LIMIT * few for few, many in self.times.values())

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [
            {"filter": name, "few_ms": few, "many_ms": many, "ratio": many / few, "plan": list(self.plans[name])}
            for name, (few, many) in self.times.items()
        ]
        return {"few": self.few, "many": self.many, "page": PAGE, "limit": LIMIT, "ok": self.good, "rows": rows}

    def markdown(self) -> str:
        """A page for people, with what it was measured on."""
        lines = [
            "# Lists and searches over many vehicles",
            "",
            f"Written by `python -m bench.search --write docs/search.md` on {_machine()}.",
            "",
            f"A page of {PAGE} vehicles of SQLite, the best of {REPEATS} times, over {self.few:,} and {self.many:,} vehicles.",
            f"No page of many may take more than {LIMIT:g} times one of few; the command ends with 1 where one does.",
            "",
            f"| filter | {self.few:,} | {self.many:,} | ratio |",
            "|---|---|---|---|",
            *(f"| {name} | {few:.2f} ms | {many:.2f} ms | {many / few:.2f} |" for name, (few, many) in self.times.items()),
            "",
            "What is narrowed by is a label (`tag:airport`), one row a vehicle and label: a page is a walk along one index from",
            "the cursor on, and a look into it for each further label. Text of three characters and more is found by a trigram",
            "index (FTS5; `pg_trgm` on PostgreSQL), unless a label that only few have leads there sooner; shorter text is looked",
            "for along the list, and takes the longer the fewer have it.",
            "",
            "The plans over many:",
            "",
            "```",
        ]
        for name, steps in self.plans.items():
            lines += [name, *(f"    {step}" for step in steps)]
        return "\n".join([*lines, "```", ""])


def _machine() -> str:
    python, sqlite = platform.python_version(), sqlite3.sqlite_version
    return f"{platform.machine()}, {os.cpu_count()} processors, Python {python}, SQLite {sqlite}"


async def measure(few: int, many: int) -> Measured:
    """Fill a store with few vehicles and one with many, and look for pages in both."""
    times: dict[str, list[float]] = {name: [] for name in FILTERS}
    plans: dict[str, list[str]] = {}
    for count in (few, many):
        print(f"filling a store with {count:,} vehicles", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            store = Store.in_file(Path(folder) / "teleloop.sqlite")
            await store.open()
            await fill(store, count)
            async with store.reading() as connection:
                for name, wanted in FILTERS.items():
                    times[name].append(await page_ms(connection, wanted))
                    plans[name] = await plan(connection, wanted)
            await store.close()
    return Measured(few, many, {name: (those[0], those[1]) for name, those in times.items()}, plans)


def main() -> None:
    """Measure, print, and end with 1 if a page of many takes more than LIMIT times one of few."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--vehicles", type=int, default=100_000)
    arguments.add_argument("--few", type=int, default=1_000)
    arguments.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments.add_argument("--write", type=Path, help="write the figures and plans to this page")
    said = arguments.parse_args()
    if not 10 <= said.few <= said.vehicles:
        arguments.error("at least 10 vehicles are wanted, and few of them no more than many")
    measured = asyncio.run(measure(said.few, said.vehicles))
    if said.write:
        said.write.write_text(measured.markdown())
    if said.json:
        print(json.dumps(measured.document()))
    else:
        print(f"{'page of ' + str(PAGE):20} {measured.few:>9,} {measured.many:>9,}  ratio")
        for name, (few, many) in measured.times.items():
            print(f"{name:20} {few:6.2f} ms {many:6.2f} ms  {many / few:5.2f}")
    if not measured.good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
