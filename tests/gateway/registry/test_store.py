"""The database file: its schema, its promise over a crash, and what is refused."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text

import modeldb
from gateway.memory import Memory, Window
from gateway.registry import Registry
from gateway.registry.labels import labels_of
from gateway.registry.listing import VehicleFilter
from gateway.registry.vehicles import NewVehicle
from gateway.store import Store, StoreDamaged
from gateway.store.database import _config
from gateway.store.direct import CHECKPOINT_ROWS
from gateway.store.tables import SEARCH, metadata, outbox
from protocols.codec import UnitId

WRITER = """
import asyncio, sys
from pathlib import Path
import modeldb
from gateway.memory import Memory, Window
from gateway.registry import Registry
from gateway.registry.vehicles import NewVehicle
from gateway.store import Store
from protocols.codec import UnitId

async def main() -> None:
    store = Store.in_file(Path(sys.argv[1]))
    await store.open()
    registry = Registry(store, modeldb.load(), bytes(32), lambda: 0)
    await registry.fleets.ensure()
    unit = UnitId("CLOUDBOXX", "0" * 16)
    if unit not in await registry.find([unit]):
        model = modeldb.load().available("CLOUDBOXX")[0]
        await registry.vehicles.add("default", NewVehicle(unit, vehicle_model_id=model.id), "")
    vehicle, memory = (await registry.find([unit]))[unit]
    sequence = memory.window.cumulative
    print(vehicle.vehicle_id, sequence, flush=True)
    while True:
        sequence += 1
        asked = await registry.commands.begin(vehicle, "draw-attention", at_least=0, seal=lambda counter: b"", flow_id="f")
        counter = asked.counter
        await registry.remember({vehicle.vehicle_id: Memory(Window(sequence), online=bool(sequence % 2))})
        print(sequence, counter, flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def store(database_file: Path) -> AsyncIterator[Store]:
    """In a file alone: what is the same on PostgreSQL is in test_postgresql.py."""
    store = Store.in_file(database_file)
    await store.open()
    yield store
    await store.close()


async def test_the_migrations_make_the_tables(store: Store) -> None:
    def ours(name: str | None, kind: str, _: object) -> bool:
        return not (kind == "table" and (name or "").startswith(SEARCH))  # SQLite's own, behind a virtual table

    async with store.reading() as connection:
        options = {"include_name": ours}
        differences = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain, opts=options), metadata)
        )
    assert differences == []


BEFORE_LABELS = (
    "INSERT INTO fleets (fleet_id, name, created_at) VALUES ('f', 'F', 1)",
    "INSERT INTO vehicles (vehicle_id, fleet_id, brand, telematics_unit_id, vehicle_model_id, master_data, custom_fields, tags, "
    "search, operation_status, rental_status, created_at, modified_at) VALUES "
    "('BBBBB', 'f', 'CLOUDBOXX', 'B', 'M', '{}', '{\"bay\": 42.0}', '[\"t\"]', 'hh-tl 1', 'GARAGE', 'NOT_IN_RENTAL', 2, 2), "
    "('AAAAA', 'f', 'CLOUDBOXX', 'A', 'M', '{}', '{}', '[]', '', 'OPERATING', 'NOT_IN_RENTAL', 1, 1)",
    "INSERT INTO memories (vehicle_id, online, facts) VALUES ('BBBBB', 1, x'80')",
    "INSERT INTO units (brand, telematics_unit_id, vehicle_id, generation) VALUES ('CLOUDBOXX', 'B', 'BBBBB', 3)",
)


async def test_the_schema_before_is_brought_up_with_all_that_is_in_it(database_file: Path) -> None:
    store = Store.in_file(database_file)
    async with store.writing() as connection:
        await connection.run_sync(lambda plain: command.upgrade(_config(plain), "0002"))
        for statement in BEFORE_LABELS:
            await connection.exec_driver_sql(statement)
    await store.open()
    registry = Registry(store, modeldb.load(), bytes(32), lambda: 0)
    both, _ = await registry.vehicles.page("f")
    assert [(vehicle.vehicle_id, vehicle.number, vehicle.online) for vehicle in both] == [("AAAAA", 1, False), ("BBBBB", 2, True)]
    labelled = VehicleFilter("CLOUDBOXX", "M", "GARAGE", online=True, tags=("t",), custom_fields=("bay:42",))
    for wanted in (labelled, VehicleFilter(text="TL 1")):
        [found], _ = await registry.vehicles.page("f", wanted)
        assert labels_of(found) == labels_of(both[1])
    assert await registry.vehicles.generation(UnitId("CLOUDBOXX", "B")) == 3
    assert await registry.clients.all() == []
    await store.close()


async def test_opening_again_changes_nothing(store: Store, database_file: Path) -> None:
    async with store.writing() as connection:
        await connection.execute(text("INSERT INTO fleets VALUES ('f', 'F', 'IGNITION', 1)"))
    again = Store.in_file(database_file)
    await again.open()
    async with again.reading() as connection:
        assert (await connection.execute(text("SELECT fleet_id FROM fleets"))).scalars().all() == ["f"]
    await again.close()


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    file = tmp_path / "teleloop.db"
    promised_sequence = promised_counter = 0
    for commits in (1, 7, 40, 150, 300):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        _, found = writer.stdout.readline().split()
        # The writer may have committed once more than it lived to say.
        assert promised_sequence <= int(found) <= promised_sequence + 1
        for _ in range(commits):
            sequence, counter = map(int, writer.stdout.readline().split())
            assert counter > promised_counter
            promised_sequence, promised_counter = sequence, counter
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:
            if line.endswith("\n"):
                promised_sequence, promised_counter = map(int, line.split())
        writer.wait()
        database = sqlite3.connect(file)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        told = database.execute("SELECT count(*) FROM outbox WHERE type = 'VehicleChanged'").fetchone()[0]
        assert promised_sequence <= told <= promised_sequence + 1
        database.close()


async def test_writers_queue_instead_of_failing(store: Store, database_file: Path) -> None:
    other = Store.in_file(database_file)  # as another process has it: no lock of ours keeps it waiting
    row = dict.fromkeys(("event_id", "type", "flow_id", "fleet_id", "vehicle_id"), "x") | {"occurred_at": 0, "recorded_at": 0}

    async def write(number: int) -> None:
        async with (store, other)[number % 2].writing() as connection:
            await connection.execute(select(outbox.c.id))
            await connection.execute(insert(outbox).values(**row, body=str(number).encode()))

    await asyncio.gather(*(write(number) for number in range(100)))
    async with store.reading() as connection:
        assert len((await connection.execute(select(outbox.c.id))).all()) == 100
    await other.close()


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    async def write_and_fail() -> None:
        async with store.writing() as connection:
            await connection.execute(text("INSERT INTO fleets VALUES ('f', 'F', 'IGNITION', 1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    async with store.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM fleets"))).scalar_one() == 0


@pytest.mark.parametrize("content", [b"this is no database at all, however long it may be" * 100, b"\x00" * 8192])
async def test_a_file_that_is_no_database_is_left_alone(database_file: Path, content: bytes) -> None:
    database_file.write_bytes(content)
    store = Store.in_file(database_file)
    with pytest.raises(StoreDamaged):
        await store.open()
    await store.close()
    assert database_file.read_bytes() == content


async def test_a_damaged_database_is_left_alone(store: Store, database_file: Path) -> None:
    await store.close()
    whole = bytearray(database_file.read_bytes())
    for page in range(4096, len(whole), 4096):
        whole[page : page + 16] = b"\xa5" * 16
    database_file.write_bytes(whole)
    with pytest.raises(StoreDamaged):
        await store.open()
    await store.close()
    assert database_file.read_bytes() == bytes(whole)


async def test_a_newer_schema_is_left_alone(store: Store) -> None:
    async with store.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreDamaged, match="newer"):
        await store.open()


async def test_what_is_asked_for_at_once_goes_into_one_transaction_and_only_what_fails_is_undone(store: Store) -> None:
    def noted(name: str) -> Callable[[sqlite3.Connection], str]:
        def note(connection: sqlite3.Connection) -> str:
            connection.execute("UPDATE alembic_version SET version_num = version_num || ?", (name,))
            if name == "b":
                raise ZeroDivisionError
            if name == "c":
                connection.execute("DELETE FROM nowhere")
            return name

        return note

    transactions: list[str] = []
    await store.write_directly(lambda connection: connection.set_trace_callback(transactions.append))
    await store.write_directly(lambda connection: connection.execute("UPDATE alembic_version SET version_num = ''").rowcount)
    transactions.clear()
    outcomes = await asyncio.gather(*(store.write_directly(noted(name)) for name in "abcd"), return_exceptions=True)
    assert [outcomes[0], outcomes[3]] == ["a", "d"]
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert isinstance(outcomes[2], OSError)
    assert transactions.count("COMMIT") == 1
    async with store.reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "ad"


async def test_a_caller_that_gives_up_leaves_the_others_alone(store: Store) -> None:
    first, given_up, last = (asyncio.create_task(store.write_directly(lambda connection, n=n: n)) for n in range(3))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await asyncio.gather(first, last) == [0, 2]
    assert await store.write_directly(lambda connection: "goes on") == "goes on"


async def test_a_direct_transaction_that_fails_leaves_nothing_and_the_next_one_works(store: Store) -> None:
    def change(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE alembic_version SET version_num = 'changed'")

    def change_and_fail(connection: sqlite3.Connection) -> None:
        change(connection)
        raise ZeroDivisionError

    def version(connection: sqlite3.Connection) -> str:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(found)

    before = await store.write_directly(version)
    with pytest.raises(ZeroDivisionError):
        await store.write_directly(change_and_fail)
    assert await store.write_directly(version) == before
    with pytest.raises(OSError, match="no such table"):
        await store.write_directly(lambda connection: connection.execute("DELETE FROM nowhere"))
    await store.write_directly(change)
    assert await store.write_directly(version) == "changed"


async def test_a_transaction_waits_for_another_process_and_the_loop_goes_on_meanwhile(store: Store) -> None:
    await store.write_directly(lambda connection: None)
    other = sqlite3.connect(str(store.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.write_directly(_renamed))
    turns = 0
    while turns < 20:  # the other one writes for 20 turns of a loop that is not held up
        await asyncio.sleep(0.01)
        turns += 1
        assert not waiting.done()
    other.execute("COMMIT")
    assert await waiting == 1
    other.close()


async def test_what_was_written_directly_comes_into_the_file_and_its_log_is_used_anew(store: Store) -> None:
    rows = [(n, "x" * 500) for n in range(200)]
    await store.write_directly(lambda connection: connection.execute("CREATE TABLE noted (n INTEGER PRIMARY KEY, said TEXT)"))
    for _ in range(100):
        await store.write_directly(lambda connection: connection.executemany("REPLACE INTO noted VALUES (?, ?)", rows).rowcount)
    log = Path(f"{store.url.database}-wal")
    assert log.stat().st_size < 2 * CHECKPOINT_ROWS * 4096  # a hundred times some 30 pages of 4 KB would be 12 MB


async def test_remembering_takes_as_many_steps_in_a_large_fleet_as_in_a_small_one(store: Store) -> None:
    registry = Registry(store, modeldb.load(), bytes(32), lambda: 0)
    await registry.fleets.ensure()
    model, steps = modeldb.load().available("CLOUDBOXX")[0], []
    told = [UnitId("CLOUDBOXX", f"{number:016X}") for number in range(20)]
    for begin, end in ((0, 20), (20, 1_000)):
        units = [UnitId("CLOUDBOXX", f"{number:016X}") for number in range(begin, end)]
        await registry.vehicles.add_all("default", [NewVehicle(unit, vehicle_model_id=model.id) for unit in units], "")
        changes = {vehicle.vehicle_id: Memory(Window(end)) for vehicle, _ in (await registry.find(told)).values()}
        taken: list[None] = []
        await store.write_directly(lambda connection, taken=taken: connection.set_progress_handler(lambda: taken.append(None), 1))
        await registry.remember(changes)
        await store.write_directly(lambda connection: connection.set_progress_handler(None, 1))
        steps.append(len(taken))
    assert steps[0] > 100
    assert steps[1] < 2 * steps[0]


def _renamed(connection: sqlite3.Connection) -> int:
    return connection.execute("UPDATE alembic_version SET version_num = 'renamed'").rowcount
