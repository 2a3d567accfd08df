"""Every call of the API, and every documented error, against a gateway on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from gateway.api.access import EVERYTHING, Access, Tickets
from gateway.eventlog import LocalEventLog
from gateway.history import LoggedEvent
from gateway.memory import Memory, Recorded
from gateway.receipts import Refused
from gateway.server import Serving
from modeldb.vocabulary import COMMANDS
from protocols.codec import UnitId

FLOW_ID = "X-INVERS-Flow-ID"


def a_golf(number: int = 0, **more: Any) -> dict[str, Any]:
    unit = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{number:016X}"}
    return {**unit, "vehicle_model": "Volkswagen Golf", "year": 2021, **more}


async def added(api: httpx2.AsyncClient, number: int = 0, **more: Any) -> dict[str, Any]:
    answer = await api.post("/vehicles", json=a_golf(number, **more))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def unannounced() -> AsyncIterator[bytes]:
    """A body that says nothing of its length."""
    for _ in range(20):
        yield b" " * 65_536


def problem(answer: httpx2.Response, status: int, reason: str) -> dict[str, Any]:
    """The problem document, whole and with the flow id of its header."""
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["status"], document["reason"]) == (status, status, reason), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["flow_id"] == answer.headers[FLOW_ID]
    assert document["type"] == f"urn:teleloop:problem:{reason}"
    return document


async def test_an_added_vehicle_shows_its_credentials_once(api: httpx2.AsyncClient, under_way: Serving) -> None:
    said = await added(api, master_data={"license_plate": "HH-TL 1", "colour": "red"}, tags=["a", "a"], custom_fields={"n": 5})
    keys = under_way.gateway.registry.keys(UnitId("CLOUDBOXX", "0" * 16), 1)
    assert said["credentials"] == {
        "user_name": "CLOUDBOXX/0000000000000000",
        "password": keys.password,
        "seal_key": keys.seal.hex(),
        "command_key": keys.command.hex(),
        "generation": 1,
    }
    shown = (await api.get(f"/vehicles/{said['id']}")).json()
    assert "credentials" not in shown
    assert shown == {key: value for key, value in said.items() if key not in ("credentials", "warnings")}
    assert shown["master_data"] == {"license_plate": "HH-TL 1", "colour": "red"}
    assert (shown["tags"], shown["custom_fields"]) == (["a"], {"n": 5})
    assert (shown["model"]["brand"], shown["model"]["name"]) == ("Volkswagen", "Golf")
    assert shown["life_status"]["value"] == "OFFLINE"
    assert "CENTRAL_LOCK" in shown["capabilities"]["vehicle_state"]
    assert (await api.get("/vehicles")).json() == {"items": [shown], "next_cursor": None}


async def test_many_are_added_each_answered_on_its_own(api: httpx2.AsyncClient) -> None:
    wanted = [a_golf(1), a_golf(1), {"telematics_brand": "CLOUDBOXX"}, 5, a_golf(2, telematics_unit_id="x"), a_golf(3)]
    answer = await api.post("/vehicles", json=wanted)
    assert answer.status_code == 207
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [201, 409, 400, 400, 422, 201]
    assert items[0]["vehicle"]["credentials"]["password"]
    assert items[1]["problem"]["reason"] == "unit_taken"
    assert items[1]["problem"]["flow_id"] == answer.headers[FLOW_ID]
    assert len((await api.get("/vehicles")).json()["items"]) == 2


async def test_what_cannot_be_added_says_why(api: httpx2.AsyncClient) -> None:
    problem(await api.post("/vehicles", json=a_golf(1, telematics_unit_id="nonsense")), 422, "bad_unit_id")
    problem(await api.post("/vehicles", json=a_golf(1, telematics_brand="NOBODY")), 422, "brand_unknown")
    unknown = problem(await api.post("/vehicles", json=a_golf(1, year=1974)), 422, "model_unknown")
    assert {model["name"] for model in unknown["candidates"]} == {"Golf"}
    ambiguous = problem(await api.post("/vehicles", json=a_golf(1, year=None)), 422, "model_ambiguous")
    assert len(ambiguous["candidates"]) == 2
    wrong = problem(await api.post("/vehicles", json=a_golf(1, colour="red", year="2021")), 400, "validation")
    assert {error["at"].rsplit(".", 1)[-1] for error in wrong["errors"]} >= {"colour", "year"}
    for body in (b"{", b"[", b"null", b"5", b'{"telematics_brand": "\\ud800"}', b"\xff", b"[" * 100_000):
        problem(await api.post("/vehicles", content=body, headers={"Content-Type": "application/json"}), 400, "validation")
    problem(await api.post("/vehicles", content=b" " * (1 << 20) + b"{}"), 413, "too_large")
    problem(await api.post("/vehicles", content=unannounced(), headers={"Content-Type": "application/json"}), 413, "too_large")
    assert (await api.get("/vehicles")).json()["items"] == []


async def test_pages_follow_their_cursor(api: httpx2.AsyncClient) -> None:
    expected = [(await added(api, number))["id"] for number in range(5)]
    first = (await api.get("/vehicles", params={"limit": 3})).json()
    second = (await api.get("/vehicles", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert sorted(each["id"] for each in first["items"] + second["items"]) == sorted(expected)
    assert second["next_cursor"] is None
    problem(await api.get("/vehicles", params={"cursor": "nonsense"}), 400, "validation")
    problem(await api.get("/vehicles", params={"limit": 0}), 400, "validation")


async def test_the_latest_state_has_a_timestamp_for_each_property(api: httpx2.AsyncClient, under_way: Serving) -> None:
    vehicle_id = (await added(api))["id"]
    assert (await api.get(f"/vehicles/{vehicle_id}/latest-vehicle-state")).json() == {}
    state = {
        "central_lock": Recorded("LOCKED", 1_769_779_325_000, 1),
        "position": Recorded({"lat": 1.5, "lon": 2.5}, 1_769_779_325_123, 1),
        "top_case_lock": Recorded("LOCKED", 5, 1),
    }
    await under_way.gateway.registry.remember({vehicle_id: Memory(state=state, online=True, online_changed_at=5)})
    expected = {
        "central_lock": {"timestamp": "2026-01-30T13:22:05Z", "value": "LOCKED"},
        "position": {"timestamp": "2026-01-30T13:22:05.123Z", "value": {"lat": 1.5, "lon": 2.5}},
    }
    assert (await api.get(f"/vehicles/{vehicle_id}/latest-vehicle-state")).json() == expected
    assert (await api.get("/latest-vehicle-states")).json() == {
        "items": [{"vehicle_id": vehicle_id, "vehicle_state": expected}],
        "next_cursor": None,
    }
    assert (await api.get("/vehicles", params={"life_status": "ONLINE"})).json()["items"][0]["id"] == vehicle_id
    assert "teleloop_units_online 1.0" in (await api.get("/metrics")).text


async def test_an_archived_vehicle_takes_no_commands_until_it_is_restored(api: httpx2.AsyncClient, under_way: Serving) -> None:
    said = await added(api)
    path = f"/vehicles/{said['id']}"
    gone = (await api.post(f"{path}/archive")).json()
    assert gone["status"] == "ARCHIVED"
    assert gone["archived_at"]
    problem(await api.post(f"{path}/commands/lock-central-lock"), 409, "archived")
    problem(await api.post(f"{path}/telematics-unit/credentials"), 409, "archived")
    assert (await api.get("/vehicles")).json()["items"] == []
    assert [each["id"] for each in (await api.get("/vehicles", params={"archived": True})).json()["items"]] == [said["id"]]
    other = await added(api)
    assert other["credentials"]["generation"] == 2
    problem(await api.post(f"{path}/restore"), 409, "unit_taken")
    await api.post(f"/vehicles/{other['id']}/archive")
    restored = (await api.post(f"{path}/restore")).json()
    assert (restored["id"], restored["status"], restored["archived_at"]) == (said["id"], "ACTIVE", None)
    assert list(await under_way.gateway.registry.logins()) == [UnitId("CLOUDBOXX", "0" * 16)]


async def test_credentials_are_issued_again_as_the_next_generation(api: httpx2.AsyncClient) -> None:
    said = await added(api)
    answer = await api.post(f"/vehicles/{said['id']}/telematics-unit/credentials")
    assert answer.status_code == 201
    assert answer.json()["generation"] == 2
    assert answer.json()["password"] != said["credentials"]["password"]


async def test_commands_that_are_not_sent_say_why(api: httpx2.AsyncClient) -> None:
    vehicle = await added(api)
    vehicle_id = vehicle["id"]
    for name in COMMANDS:
        answer = await api.post(f"/vehicles/{vehicle_id}/commands/{name}", params={"timeout": 1})
        if name in vehicle["capabilities"]["commands"]:
            problem(answer, 503, "unit_offline")
        else:
            problem(answer, 409, "capability_missing")
    assert "unlock-top-case" not in vehicle["capabilities"]["commands"]
    problem(await api.post(f"/vehicles/{vehicle_id}/commands/fly"), 404, "unknown_command")
    problem(await api.post("/vehicles/AAAAA/commands/draw-attention"), 404, "not_found")
    problem(await api.post(f"/vehicles/{vehicle_id}/commands/draw-attention", params={"timeout": 0}), 400, "validation")
    long = {"Idempotency-Key": "k" * 256}
    problem(await api.post(f"/vehicles/{vehicle_id}/commands/draw-attention", headers=long), 400, "validation")
    unsent = len(vehicle["capabilities"]["commands"])
    assert f'teleloop_commands_total{{status="503"}} {unsent}.0' in (await api.get("/metrics")).text


async def test_the_model_database_is_shown(api: httpx2.AsyncClient) -> None:
    brands = (await api.get("/telematics-brands")).json()["items"]
    assert "CLOUDBOXX" in [brand["name"] for brand in brands]
    models = (await api.get("/telematics-brands/CLOUDBOXX/available-vehicle-models")).json()["items"]
    assert len(models) >= 12
    assert (await api.get(f"/vehicle-models/{models[0]['id']}")).json() == models[0]
    problem(await api.get("/telematics-brands/NOBODY/available-vehicle-models"), 404, "not_found")
    problem(await api.get("/vehicle-models/NONE"), 404, "not_found")


async def test_a_refused_frame_is_listed_and_its_unit_can_be_added(api: httpx2.AsyncClient, under_way: Serving) -> None:
    stranger = UnitId("CLOUDBOXX", "00000000000000FF")
    await under_way.gateway.registry.remember({}, [Refused(stranger, "unknown_unit", b"\x01\xff", 1_769_779_325_000)])
    [entry] = (await api.get("/quarantine")).json()["items"]
    assert (entry["reason"], entry["data"], entry["at"]) == ("unknown_unit", "01ff", "2026-01-30T13:22:05Z")
    answer = await api.post(f"/quarantine/{entry['id']}/vehicle", json={"vehicle_model": "Golf", "year": 2021})
    assert answer.status_code == 201
    assert answer.json()["telematics_unit"]["id"] == stranger.telematics_unit_id
    problem(await api.post("/quarantine/999/vehicle", json={}), 404, "not_found")


async def test_events_come_as_they_happen(api: httpx2.AsyncClient) -> None:
    async with api.stream("GET", "/events", params={"type": "VehicleCreated"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers[FLOW_ID]
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith(":")
        said = await added(api)
        await api.post(f"/vehicles/{said['id']}/archive")
        await api.post(f"/vehicles/{said['id']}/restore")
        for _ in range(2):
            [heard] = await sent_events(lines, 1)
            document = json.loads(heard["data"])
            assert heard["event"] == "VehicleCreated"
            assert heard["id"] == document["metadata"]["id"]
            assert document["metadata"]["vehicle_id"] == document["vehicle"]["id"] == said["id"]


async def test_a_reader_resumes_where_it_was_and_misses_nothing(api: httpx2.AsyncClient) -> None:
    expected = [(await added(api, number))["id"] for number in range(3)]
    seen: list[str] = []
    last: dict[str, str] = {"Last-Event-ID": "none that is held"}
    for more in range(3, 6):
        async with api.stream("GET", "/events", headers=last) as stream:
            lines = stream.aiter_lines()
            expected.append((await added(api, more))["id"])
            for heard in await sent_events(lines, len(expected) - len(seen)):
                seen.append(json.loads(heard["data"])["metadata"]["vehicle_id"])
                last = {"Last-Event-ID": heard["id"]}
    assert seen == expected


async def test_an_event_that_happens_while_a_reader_resumes_comes_once(
    api: httpx2.AsyncClient, under_way: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = under_way.gateway.publisher
    assert isinstance(log, LocalEventLog)
    read = log.since
    happened: list[str] = []

    async def since(fleet_id: str, last_event_id: str | None, limit: int) -> list[LoggedEvent]:
        if not happened:
            happened.append((await added(api, 1))["id"])
            async with asyncio.timeout(10):
                while not await read(fleet_id, None, 1):
                    await asyncio.sleep(0.01)
        return await read(fleet_id, last_event_id, limit)

    monkeypatch.setattr(log, "since", since)
    async with api.stream("GET", "/events", headers={"Last-Event-ID": "none"}) as stream:
        lines = stream.aiter_lines()
        first = await sent_events(lines, 1)
        happened.append((await added(api, 2))["id"])
        second = await sent_events(lines, 1)
    assert [json.loads(heard["data"])["vehicle"]["id"] for heard in first + second] == happened


async def sent_events(lines: AsyncIterator[str], count: int) -> list[dict[str, str]]:
    """The next Server-Sent Events."""
    events: list[dict[str, str]] = []
    event: dict[str, str] = {}
    async with asyncio.timeout(10):
        async for line in lines:
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
            elif "id" in event:
                events.append(event)
                event = {}
            if len(events) == count:
                break
    return events


async def test_a_ticket_lets_a_browser_listen_and_nothing_else(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/events/tickets")
    assert answer.status_code == 201
    ticket = {"ticket": answer.json()["ticket"]}
    del api.headers["Authorization"]
    problem(await api.get("/vehicles", params=ticket), 401, "unauthorized")
    async with api.stream("GET", "/events", params=ticket) as stream:
        assert stream.status_code == 200
    problem(await api.get("/events", params=ticket), 401, "unauthorized")
    problem(await api.get("/events", params={"ticket": "x"}), 401, "unauthorized")


def test_a_ticket_is_good_for_one_minute_and_one_use() -> None:
    now = [0]
    tickets = Tickets(lambda: now[0])
    for age_ms, valid in ((59_999, True), (60_000, False)):
        now[0] = 0
        issued, expires_at = tickets.issue(Access("fleet", "client", EVERYTHING))
        now[0] = age_ms
        client = tickets.redeem(issued)
        assert (client is not None) is valid
        assert client is None or not client.may("vehicles")
        assert tickets.redeem(issued) is None
    assert expires_at == 60_000


async def test_nobody_gets_in_without_the_token(stranger: httpx2.AsyncClient, under_way: Serving) -> None:
    paths = (await stranger.get("/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        for method in operations:
            words = {
                "vehicle_id": "AAAAA",
                "name": "draw-attention",
                "brand": "X",
                "vehicle_model_id": "X",
                "entry_id": "1",
                "consumer_id": "X",
                "client_id": "X",
                "fleet_id": "X",
            }
            concrete = path.format(**words)
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic Og=="}):
                answer = await stranger.request(method, concrete, headers=headers)
                if path == "/oauth2/token":
                    assert answer.status_code == 400
                elif path in ("/healthz", "/readyz", "/metrics"):
                    assert answer.status_code == 200
                else:
                    problem(answer, 401, "unauthorized")
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert under_way.gateway.settings.token_path.stat().st_mode & 0o777 == 0o600


async def test_every_answer_has_a_flow_id_of_its_own(api: httpx2.AsyncClient) -> None:
    answers = [await api.get(path) for path in ("/vehicles", "/vehicles/AAAAA", "/nowhere", "/healthz", "/docs")]
    assert len({answer.headers[FLOW_ID] for answer in answers}) == len(answers)
    problem(answers[1], 404, "not_found")
    problem(answers[2], 404, "not_found")
    refused = await api.delete("/vehicles")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["Allow"] == "GET, POST"


async def test_our_own_faults_are_problems_too(
    api: httpx2.AsyncClient, under_way: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_way.gateway, "models", None)
    document = problem(await api.get("/telematics-brands"), 500, "internal_error")
    assert "NoneType" not in json.dumps(document)


async def test_readiness_names_each_dependency(api: httpx2.AsyncClient, under_way: Serving) -> None:
    answer = await api.get("/readyz")
    assert answer.json() == {"ready": True, "dependencies": {"store": True, "units_broker": True, "events": True}}
    await under_way.gateway.logins.stop()
    async with asyncio.timeout(20):
        while (answer := await api.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.05)
    assert answer.status_code == 503
    assert answer.json()["dependencies"] == {"store": True, "units_broker": False, "events": True}
