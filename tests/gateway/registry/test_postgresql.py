"""The store on a real PostgreSQL: its schema from nothing and from what was before, and a gateway that is killed on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import modeldb
from gateway.registry import Registry
from gateway.registry.labels import labels_of
from gateway.registry.listing import VehicleFilter
from gateway.store import Store, StoreDamaged
from gateway.store.database import _config
from gateway.store.tables import metadata
from lab.gateway import LineUnit, eventually, gateway
from lab.outsider import DEV_KIT
from lab.postgresql import PostgresqlServer
from protocols.codec import UnitId

TRIGRAMS = "ix_vehicles_search_trigrams"
BEFORE = (
    "INSERT INTO fleets (fleet_id, name, created_at) VALUES ('f', 'F', 1)",
    "INSERT INTO vehicles (vehicle_id, fleet_id, brand, telematics_unit_id, vehicle_model_id, master_data, custom_fields, tags, "
    "search, operation_status, rental_status, created_at, modified_at) VALUES "
    "('BBBBB', 'f', 'CLOUDBOXX', 'B', 'M', '{}', '{\"bay\": 42.0}', '[\"t\"]', 'hh-tl 1', 'GARAGE', 'NOT_IN_RENTAL', 2, 2), "
    "('AAAAA', 'f', 'CLOUDBOXX', 'A', 'M', '{}', '{}', '[]', '', 'OPERATING', 'NOT_IN_RENTAL', 1, 1)",
    "INSERT INTO memories (vehicle_id, online, facts) VALUES ('BBBBB', true, '\\x80')",
    "INSERT INTO units (brand, telematics_unit_id, vehicle_id, generation) VALUES ('CLOUDBOXX', 'B', 'BBBBB', 3)",
)


@pytest.fixture
async def store(postgresql_server: PostgresqlServer) -> AsyncIterator[Store]:
    """Empty."""
    store = Store(postgresql_server.url(postgresql_server.database()))
    yield store
    await store.close()


async def test_the_migrations_make_the_tables(store: Store) -> None:
    await store.open()
    options = {"include_name": lambda name, kind, _: name != TRIGRAMS}
    async with store.reading() as connection:
        differences = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain, opts=options), metadata)
        )
        indices = (await connection.execute(text("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"))).scalars()
        assert TRIGRAMS in list(indices)
    assert differences == []


async def test_the_schema_before_is_brought_up_with_all_that_is_in_it(store: Store) -> None:
    async with store.writing() as connection:
        await connection.run_sync(lambda plain: command.upgrade(_config(plain), "0002"))
        for statement in BEFORE:
            await connection.exec_driver_sql(statement)
    await store.open()
    await store.open()
    registry = Registry(store, modeldb.load(), bytes(32), lambda: 0)
    both, _ = await registry.vehicles.page("f")
    assert [(vehicle.vehicle_id, vehicle.number, vehicle.online) for vehicle in both] == [("AAAAA", 1, False), ("BBBBB", 2, True)]
    labelled = VehicleFilter("CLOUDBOXX", "M", "GARAGE", online=True, tags=("t",), custom_fields=("bay:42",))
    for wanted in (labelled, VehicleFilter(text="TL 1")):
        [found], _ = await registry.vehicles.page("f", wanted)
        assert labels_of(found) == labels_of(both[1])
    assert await registry.vehicles.generation(UnitId("CLOUDBOXX", "B")) == 3


async def test_a_newer_schema_is_left_alone_and_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    async def write_and_fail() -> None:
        async with store.writing() as connection:
            await connection.execute(text("INSERT INTO fleets VALUES ('f', 'F', 'IGNITION', 1)"))
            raise ZeroDivisionError

    await store.open()
    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    async with store.writing() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM fleets"))).scalar_one() == 0
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreDamaged, match="newer"):
        await store.open()


async def test_a_server_that_is_not_there_is_said_so_without_its_password() -> None:
    store = Store("postgresql://teleloop:secret@127.0.0.1:1/nothing")
    with pytest.raises(OSError, match=r"teleloop.*127.0.0.1:1/nothing") as said:
        await store.open()
    assert "secret" not in str(said.value)


async def test_a_database_that_is_not_there_is_said_so(postgresql_server: PostgresqlServer) -> None:
    store = Store(postgresql_server.url("nobody_made_this"))
    with pytest.raises(StoreDamaged, match=r"nobody_made_this.*does not exist"):
        await store.open()
    await store.close()


@pytest.mark.parametrize("url", ["mysql://host/name", "rubbish", ""])
def test_another_store_than_these_two_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"SQLite|sqlite"):
        Store(url)


async def test_kill_9_and_a_restart_of_the_server_lose_nothing(tmp_path: Path, postgresql_server: PostgresqlServer) -> None:
    url = postgresql_server.url(postgresql_server.database())
    with gateway(tmp_path / "gateway", {"TELELOOP_DATABASE_URL": url}) as process:
        added = process.add(UnitId("CLOUDBOXX", f"{1:016X}"), DEV_KIT.id)
        there = f"/vehicles/{added['id']}"
        process.call("PATCH", there, json={"master_data": {"license_plate": "HH-TL Ö"}, "custom_fields": {"bay": 4.5}})
        unit = LineUnit(added, process.units_broker)
        async with unit.online():
            await unit.report()
            await eventually(lambda: not unit.flash.journal and process.state(added["id"]), what="the report is acknowledged")
        await eventually(lambda: process.call("GET", there).json()["telematics_unit"]["last_contact_at"])
        state = process.state(added["id"])
        process.kill()
        process.start()
        assert process.state(added["id"]) == state
        assert [each["id"] for each in process.call("GET", "/vehicles?q=tl%20ö").json()["items"]] == [added["id"]]
        postgresql_server.stop()
        answer = process.call("GET", there)
        assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
        postgresql_server.start()
        await eventually(lambda: process.call("GET", there).status_code == 200, what="the store answers again")
        assert process.call("POST", f"{there}/archive").status_code == 200
        assert "Traceback" not in process.output
