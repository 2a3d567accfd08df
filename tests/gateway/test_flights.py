"""Several batches of events are on their way at once, and still arrive in order: the last copy of each, at least."""

import asyncio
from collections.abc import Sequence

import pytest

import gateway.flights
from gateway.events import Event
from gateway.flights import AT_ONCE, Flights
from gateway.metrics import Metrics
from gateway.publisher import PublishFailed


def batch(number: int, size: int = 2) -> list[Event]:
    return [Event(f"{number}.{at}", "LocationUpdate", "flow", 0, 0, "fleet", "vehicle") for at in range(size)]


class Exchange:
    """A publisher whose calls end when they are told to."""

    ready = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, asyncio.Future[None]]] = []
        self.arrived: list[str] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def publish(self, events: Sequence[Event]) -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append((events[0].id, end))
        self.arrived += [event.id for event in events]
        await end

    def confirm(self, at: int) -> None:
        self.calls[at][1].set_result(None)

    def fail(self, at: int) -> None:
        self.calls[at][1].set_exception(PublishFailed("no"))

    @property
    def begun(self) -> list[str]:
        return [name for name, _ in self.calls]


async def _nothing() -> None: ...


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.flights, "RETRY_S", (0.0,))


async def test_the_next_batch_goes_out_before_the_one_before_is_confirmed_but_no_more_than_a_few():
    exchange = Exchange()
    flights = Flights(exchange, _nothing, Metrics())
    beginning = [asyncio.create_task(flights.begin(batch(number))) for number in range(AT_ONCE + 1)]
    await _settle()
    assert exchange.begun == [f"{number}.0" for number in range(AT_ONCE)]
    exchange.confirm(0)
    await flights.landed()
    await _settle()
    assert exchange.begun[-1] == f"{AT_ONCE}.0"
    await asyncio.gather(*beginning)
    await flights.stop()


async def test_the_oldest_lands_first_whichever_is_confirmed_first():
    exchange = Exchange()
    flights = Flights(exchange, _nothing, Metrics())
    await flights.begin(batch(0))
    await flights.begin(batch(1))
    await _settle()
    exchange.confirm(1)
    landing = asyncio.create_task(flights.landed())
    await _settle()
    assert not landing.done()
    exchange.confirm(0)
    await landing
    await flights.landed()


async def test_what_followed_a_batch_that_failed_is_published_again_behind_it_also_where_it_was_confirmed():
    exchange = Exchange()
    flights = Flights(exchange, _nothing, Metrics())
    for number in range(3):
        await flights.begin(batch(number))
    await _settle()
    exchange.confirm(1)
    exchange.confirm(2)
    exchange.fail(0)
    landing = asyncio.create_task(flights.landed())
    await _settle()
    assert exchange.begun[3:] == ["0.0"], "one after the other"
    assert not flights.ok
    late = asyncio.create_task(flights.begin(batch(3)))
    await _settle()
    exchange.fail(3)
    await asyncio.sleep(0.01)
    assert exchange.begun[3:] == ["0.0", "0.0"]
    exchange.confirm(4)
    await _settle()
    exchange.confirm(5)
    await _settle()
    exchange.confirm(6)
    await landing
    assert flights.ok
    assert exchange.begun[3:7] == ["0.0", "0.0", "1.0", "2.0"]
    last = {name: at for at, name in enumerate(exchange.arrived)}
    assert sorted(last, key=last.__getitem__)[:6] == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
    await flights.landed()
    await flights.landed()
    await late
    await flights.stop()


async def test_a_batch_without_events_lands_in_its_turn():
    exchange = Exchange()
    flights = Flights(exchange, _nothing, Metrics())
    await flights.begin(batch(0))
    await flights.begin([])
    await _settle()
    landing = asyncio.create_task(flights.landed())
    await _settle()
    assert not landing.done()
    exchange.confirm(0)
    await landing
    await asyncio.wait_for(flights.landed(), 1)


async def test_what_has_to_be_there_before_is_there_before():
    exchange, outbox = Exchange(), asyncio.Event()

    async def flush() -> None:
        await outbox.wait()

    flights = Flights(exchange, flush, Metrics())
    await flights.begin(batch(0))
    await _settle()
    assert exchange.begun == []
    outbox.set()
    await _settle()
    assert exchange.begun == ["0.0"]
    await flights.stop()
