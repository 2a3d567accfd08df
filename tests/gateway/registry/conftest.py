"""A registry on a real SQLite file, and on a real PostgreSQL, with a clock that the test sets."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

import modeldb
from gateway.registry import Registry
from gateway.registry.vehicles import NewVehicle
from gateway.store import Store
from gateway.store.tables import metadata
from protocols.codec import UnitId

PROVISIONING_KEY = bytes(range(32))
FLEET = "default"


@dataclass
class Clock:
    """Now, in Unix milliseconds."""

    now: int = 1_770_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "teleloop.db"


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, database_file: Path) -> AsyncIterator[Store]:
    url = f"sqlite:///{database_file}" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    store = Store(url)
    await store.open()
    if request.param == "postgresql":
        async with store.writing() as connection:
            await connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE"))
    yield store
    await store.close()


@pytest.fixture
async def registry(store: Store, clock: Clock) -> Registry:
    registry = Registry(store, modeldb.load(), PROVISIONING_KEY, clock)
    await registry.fleets.ensure(FLEET)
    await registry.fleets.ensure("other", "Another fleet")
    return registry


@pytest.fixture
def reopened(store: Store, clock: Clock) -> Callable[[], Registry]:
    """The registry of a gateway that has just started on the same file."""
    return lambda: Registry(store, modeldb.load(), PROVISIONING_KEY, clock)


def unit(number: int = 0) -> UnitId:
    """A CloudBoxx."""
    return UnitId("CLOUDBOXX", f"{number:016X}")


def some_model() -> str:
    """The id of a model behind CloudBoxx units."""
    return modeldb.load().available("CLOUDBOXX")[0].id


def a_vehicle(number: int = 0) -> NewVehicle:
    """A vehicle to add, with a unit of its own."""
    return NewVehicle(unit(number), vehicle_model_id=some_model())
