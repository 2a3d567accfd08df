"""The event stream over a RabbitMQ that keeps all events: readers resume, and browsers do with a ticket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.server import Serving, serving
from gateway.settings import Settings

WAIT_S = 15.0


@pytest.fixture(params=["all"])
async def under_way(request: pytest.FixtureRequest, tmp_path: Path, amqp_url: str) -> AsyncIterator[Serving]:
    data = tmp_path / "data"
    async with serving(
        Settings(data=data, http="127.0.0.1:0", mqtt_port=0, amqp_url=amqp_url, event_log=request.param)
    ) as running:
        yield running


async def added(api: httpx2.AsyncClient, number: int) -> str:
    wanted = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{number:016X}", "vehicle_model": "Golf", "year": 2021}
    answer = await api.post("/vehicles", json=wanted)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def heard(lines: AsyncIterator[str]) -> tuple[str, str]:
    """The next event of a stream: its id, and whose it is."""
    async with asyncio.timeout(WAIT_S):
        async for line in lines:
            name, _, value = line.partition(": ")
            if name == "data":
                metadata = json.loads(value)["metadata"]
                return metadata["id"], metadata["vehicle_id"]
    raise EOFError


async def test_a_reader_resumes_from_the_log(api: httpx2.AsyncClient) -> None:
    async with api.stream("GET", "/events") as stream:
        expected = [await added(api, 1)]
        last, vehicle_id = await heard(stream.aiter_lines())
    seen = [vehicle_id]
    for number in range(2, 5):
        expected.append(await added(api, 2 * number))
        async with api.stream("GET", "/events", headers={"Last-Event-ID": last}) as stream:
            lines = stream.aiter_lines()
            seen.append((await heard(lines))[1])
            expected.append(await added(api, 2 * number + 1))
            last, vehicle_id = await heard(lines)
            seen.append(vehicle_id)
    assert seen == expected


async def test_a_browser_resumes_with_a_new_ticket(api: httpx2.AsyncClient, stranger: httpx2.AsyncClient) -> None:
    async with api.stream("GET", "/events") as stream:
        await added(api, 1)
        last, _ = await heard(stream.aiter_lines())
    missed = await added(api, 2)
    ticket = (await api.post("/events/tickets")).json()["ticket"]
    asked = {"ticket": ticket, "last_event_id": last}
    async with httpx2.AsyncClient(base_url=api.base_url) as browser, browser.stream("GET", "/events", params=asked) as stream:
        assert (await heard(stream.aiter_lines()))[1] == missed
        async with browser.stream("GET", "/events", params=asked) as again:
            assert again.status_code == 401


@pytest.mark.parametrize("under_way", ["unrouted"], indirect=True)
async def test_where_the_log_lacks_events_a_reader_hears_what_happens_from_then_on(api: httpx2.AsyncClient) -> None:
    async with api.stream("GET", "/events") as stream:
        await added(api, 1)
        await heard(stream.aiter_lines())
    async with api.stream("GET", "/events", headers={"Last-Event-ID": "none"}) as stream:
        expected = await added(api, 2)
        assert (await heard(stream.aiter_lines()))[1] == expected
