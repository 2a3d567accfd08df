"""The straight way of commands: nobody can tell from the answers which way a request went."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from gateway.api import straight
from gateway.api.commands import carried_out
from gateway.commands import Outcome
from gateway.server import Serving

ROUTE = {"content": b"{}"}
"""A body, which nobody reads: such a request goes the framework's way."""


@pytest.fixture
def went_straight(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked for the straight way."""
    asked: list[Any] = []

    async def noted(*given: Any) -> bytes:
        asked.append(given[-1])
        return await carried_out(*given)

    monkeypatch.setattr(straight, "carried_out", noted)
    return asked


@pytest.fixture
async def vehicle_id(api: httpx2.AsyncClient) -> str:
    """A vehicle whose unit is not on the air."""
    wanted = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": "0123456789ABCDEF", "vehicle_model": "Golf", "year": 2021}
    answer = await api.post("/vehicles", json=wanted)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _said(answer: httpx2.Response) -> tuple[int, Mapping[str, str], Any]:
    """All that tells two answers apart, but for what differs from answer to answer."""
    changing = ("date", "x-invers-flow-id", "content-length")
    document = json.loads(answer.content)
    if answer.status_code != 200:
        assert document.pop("flow_id") == answer.headers["x-invers-flow-id"]
    assert len(answer.content) == int(answer.headers["content-length"])
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in changing}, document


async def test_both_ways_answer_alike(
    under_way: Serving,
    api: httpx2.AsyncClient,
    vehicle_id: str,
    went_straight: list[Any],
    monkeypatch: pytest.MonkeyPatch,
):
    paths = {
        f"/vehicles/{vehicle_id}/commands/request-vehicle-state": 503,
        f"/vehicles/{vehicle_id}/commands/lock-top-case": 409,
        "/vehicles/ZZZZZ/commands/request-vehicle-state": 404,
    }
    for path, status in paths.items():
        said = _said(await api.post(path))
        assert said[0] == status
        assert said == _said(await api.post(path, **ROUTE))
    assert len(went_straight) == len(paths)

    async def done(*_: Any, **given: Any) -> Outcome:
        value = [given["timeout_s"], given["idempotency_key"]]
        return Outcome(200, None, {"central_lock": {"timestamp": "2026-01-30T13:22:05Z", "value": value}})

    monkeypatch.setattr(under_way.gateway, "command", done)
    path = f"/vehicles/{vehicle_id}/commands/request-vehicle-state"
    for query in ("", "?timeout=7", "?timeout=0.5"):
        for headers in ({}, {"Idempotency-Key": "visit-1"}):
            said = _said(await api.post(path + query, headers=headers))
            assert said[0] == 200
            assert said == _said(await api.post(path + query, headers=headers, **ROUTE))
    assert len(went_straight) == len(paths) + 6

    async def broken(*_: Any, **given: Any) -> Outcome:
        raise OSError("away")

    monkeypatch.setattr(under_way.gateway, "command", broken)
    said = _said(await api.post(path))
    assert said[0] == 503
    assert said == _said(await api.post(path, **ROUTE))


async def test_what_is_odd_goes_the_frameworks_way(api: httpx2.AsyncClient, vehicle_id: str, went_straight: list[Any]):
    path = f"/vehicles/{vehicle_id}/commands/request-vehicle-state"
    for query in ("?timeout=0", "?timeout=291", "?timeout=soon", "?timeout=-1", "?timeout=nan", "?timeout="):
        assert (await api.post(path + query)).status_code == 400, query
    assert (await api.post(path, headers={"Idempotency-Key": "k" * 256})).status_code == 400
    assert (await api.post(f"/vehicles/{vehicle_id}/commands/fly")).status_code == 404
    assert (await api.get(path)).status_code == 405
    assert (await api.post(path, headers={"Authorization": "Bearer nonsense"})).status_code == 401
    assert (await api.post(path, headers={"Authorization": ""})).status_code == 401
    assert went_straight == []


async def test_a_token_without_the_scope_commands_nothing(
    api: httpx2.AsyncClient, stranger: httpx2.AsyncClient, vehicle_id: str, went_straight: list[Any]
):
    path = f"/vehicles/{vehicle_id}/commands/request-vehicle-state"
    for scope, status in (("vehicles", 403), ("vehicle-commands", 503)):
        client = (await api.post("/clients", json={"name": scope, "scopes": [scope]})).json()
        login = (client["id"], client["secret"])
        token = (await stranger.post("/oauth2/token", auth=login, data={"grant_type": "client_credentials"})).json()
        shown = {"Authorization": f"Bearer {token['access_token']}"}
        for _ in range(2):
            assert (await stranger.post(path, headers=shown)).status_code == status
        assert (await api.post(f"/clients/{client['id']}/rotate")).status_code == 200
        assert (await stranger.post(path, headers=shown)).status_code == 401
    assert len(went_straight) == 2
