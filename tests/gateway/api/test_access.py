"""Who gets in: OAuth 2.0 client credentials, scopes, and fleets that know nothing of each other."""

from typing import Any

import httpx2
import pytest

from gateway.api.tokens import Tokens
from gateway.registry.clients import Client
from gateway.server import Serving

from .test_walk import a_golf, added, problem

EVERYTHING = ["vehicles", "vehicle-commands", "event-consumers", "admin"]


async def issued(api: httpx2.AsyncClient, *scopes: str, fleet: str | None = None) -> tuple[str, str]:
    """Id and secret of a new client."""
    body: dict[str, Any] = {"name": "test", "scopes": scopes} | ({"fleet_id": fleet} if fleet else {})
    answer = await api.post("/clients", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["secret"]


async def token_of(stranger: httpx2.AsyncClient, credentials: tuple[str, str], **form: str) -> str:
    answer = await stranger.post("/oauth2/token", auth=credentials, data={"grant_type": "client_credentials", **form})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(stranger: httpx2.AsyncClient, token: str, method: str, path: str, **request: Any) -> httpx2.Response:
    return await stranger.request(method, path, headers=bearer(token), **request)


@pytest.fixture
async def other_fleet(api: httpx2.AsyncClient) -> str:
    answer = await api.post("/fleets", json={"id": "hamburg", "name": "Hamburg", "trip_trigger": "IGNITION"})
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def test_the_first_start_makes_an_admin_whose_secret_works_and_is_nowhere(
    under_way: Serving, stranger: httpx2.AsyncClient
) -> None:
    first = under_way.gateway.first_client
    assert first is not None
    client, secret = first
    token = await token_of(stranger, (client.client_id, secret))
    listed = await ask(stranger, token, "GET", "/clients")
    assert [each["id"] for each in listed.json()["items"]] == [client.client_id]
    assert secret not in listed.text
    for file in under_way.gateway.settings.data.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


async def test_a_token_is_as_rfc_6749_says(api: httpx2.AsyncClient, under_way: Serving) -> None:
    credentials = await issued(api, "vehicles", "vehicle-commands")
    form = {"grant_type": "client_credentials"}
    answer = await api.post("/oauth2/token", auth=credentials, data=form)
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 900)
    assert answer.json()["scope"] == "vehicles vehicle-commands"
    assert answer.headers["cache-control"] == "no-store"
    for auth, data, status, error in (
        (credentials, {}, 400, "invalid_request"),
        (credentials, {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (credentials, form | {"scope": "admin"}, 400, "invalid_scope"),
        ((credentials[0], "wrong"), form, 401, "invalid_client"),
        (("nobody", credentials[1]), form, 401, "invalid_client"),
    ):
        refused = await api.post("/oauth2/token", auth=auth, data=data)
        assert (refused.status_code, refused.json()["error"]) == (status, error), refused.text
        assert refused.json()["flow_id"] == refused.headers["X-INVERS-Flow-ID"]
    assert (await api.post("/oauth2/token", auth=credentials, data=form)).status_code == 200
    assert under_way.gateway.settings.data.exists()


async def test_each_scope_opens_its_own_doors_only(api: httpx2.AsyncClient, stranger: httpx2.AsyncClient) -> None:
    vehicle_id = (await added(api))["id"]
    doors: dict[str, tuple[str, str, dict[str, Any]]] = {
        "vehicles.ro": ("GET", f"/vehicles/{vehicle_id}", {}),
        "vehicles": ("PUT", f"/vehicles/{vehicle_id}/rental-status", {"json": {"rental_status": "IN_RENTAL"}}),
        "vehicle-commands": ("POST", f"/vehicles/{vehicle_id}/commands/draw-attention", {"params": {"timeout": 1}}),
        "event-consumers": ("GET", "/event-consumers", {}),
        "admin": ("GET", "/clients", {}),
    }
    for scope in doors:
        token = await token_of(stranger, await issued(api, scope))
        opened = {scope} | ({"vehicles.ro"} if scope == "vehicles" else set())
        for wanted, (method, path, request) in doors.items():
            answer = await ask(stranger, token, method, path, **request)
            if wanted in opened:
                assert answer.status_code in (200, 503), (scope, wanted, answer.text)
            else:
                problem(answer, 403, "forbidden")
                assert f'scope="{wanted}"' in answer.headers["www-authenticate"]


async def test_a_token_may_ask_for_less_than_its_client_has(api: httpx2.AsyncClient, stranger: httpx2.AsyncClient) -> None:
    token = await token_of(stranger, await issued(api, "vehicles"), scope="vehicles.ro")
    assert (await ask(stranger, token, "GET", "/vehicles")).status_code == 200
    problem(await ask(stranger, token, "POST", "/vehicles", json=a_golf()), 403, "forbidden")


async def test_nothing_crosses_fleets(api: httpx2.AsyncClient, stranger: httpx2.AsyncClient, other_fleet: str) -> None:
    mine = (await added(api))["id"]
    first = (await api.get("/clients")).json()["items"][0]["id"]
    token = await token_of(stranger, await issued(api, *EVERYTHING, fleet=other_fleet))
    for method, path, body in (
        ("GET", f"/vehicles/{mine}", None),
        ("PATCH", f"/vehicles/{mine}", {"tags": ["x"]}),
        ("PUT", f"/vehicles/{mine}/rental-status", {"rental_status": "IN_RENTAL"}),
        ("PUT", f"/vehicles/{mine}/telematics-unit", {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": "F" * 16}),
        ("POST", f"/vehicles/{mine}/archive", None),
        ("POST", f"/vehicles/{mine}/restore", None),
        ("POST", f"/vehicles/{mine}/telematics-unit/credentials", None),
        ("POST", f"/vehicles/{mine}/commands/draw-attention", None),
        ("GET", f"/vehicles/{mine}/commands", None),
        ("GET", f"/vehicles/{mine}/latest-vehicle-state", None),
        ("GET", f"/clients/{first}", None),
        ("POST", f"/clients/{first}/rotate", None),
        ("DELETE", f"/clients/{first}", None),
        ("GET", "/fleets/default", None),
        ("PATCH", "/fleets/default", {"name": "mine"}),
        ("POST", "/clients", {"name": "x", "scopes": ["admin"], "fleet_id": "default"}),
    ):
        problem(await ask(stranger, token, method, path, json=body), 404, "not_found")
    problem(await ask(stranger, token, "POST", "/fleets", json={"name": "another"}), 403, "forbidden")
    for path in ("/vehicles", "/latest-vehicle-states", "/audit/commands", "/quarantine"):
        assert (await ask(stranger, token, "GET", path)).json()["items"] == [], path
    assert [each["id"] for each in (await ask(stranger, token, "GET", "/fleets")).json()["items"]] == [other_fleet]
    assert (await ask(stranger, token, "POST", "/vehicles", json=a_golf(9))).json()["fleet_id"] == other_fleet
    assert [each["id"] for each in (await api.get("/vehicles")).json()["items"]] == [mine]


@pytest.mark.parametrize("how", ["rotate", "remove"])
async def test_a_token_ends_with_the_secret_that_it_was_asked_for_with(
    api: httpx2.AsyncClient, stranger: httpx2.AsyncClient, how: str
) -> None:
    credentials = await issued(api, "vehicles.ro")
    token = await token_of(stranger, credentials)
    assert (await ask(stranger, token, "GET", "/vehicles")).status_code == 200
    if how == "rotate":
        fresh = (await api.post(f"/clients/{credentials[0]}/rotate")).json()
        await token_of(stranger, (fresh["id"], fresh["secret"]))
    else:
        assert (await api.delete(f"/clients/{credentials[0]}")).status_code == 204
    problem(await ask(stranger, token, "GET", "/vehicles"), 401, "unauthorized")
    refused = await stranger.post("/oauth2/token", auth=credentials, data={"grant_type": "client_credentials"})
    assert refused.status_code == 401


async def test_a_fleet_is_changed(api: httpx2.AsyncClient, other_fleet: str) -> None:
    problem(await api.post("/fleets", json={"id": other_fleet, "name": "again"}), 409, "fleet_taken")
    changed = (await api.patch(f"/fleets/{other_fleet}", json={"trip_trigger": "RENTAL_STATUS"})).json()
    assert (changed["name"], changed["trip_trigger"]) == ("Hamburg", "RENTAL_STATUS")
    problem(await api.patch("/fleets/nowhere", json={}), 404, "not_found")
    problem(await api.post("/clients", json={"name": "x", "scopes": ["admin"], "fleet_id": "nowhere"}), 404, "not_found")
    problem(await api.post("/clients", json={"name": "x", "scopes": ["root"]}), 400, "validation")


def test_a_token_is_good_for_900_seconds_and_only_as_it_was_made() -> None:
    now = [1_770_000_000_000]
    tokens = Tokens(bytes(32), lambda: now[0])
    client = Client("id", "fleet", "name", ("vehicles",), "", 0, 5)
    token = tokens.issue(client, frozenset({"vehicles"}))
    grant = tokens.read(token)
    assert grant is not None
    assert (grant.client_id, grant.scopes, grant.rotated_at) == ("id", {"vehicles"}, 5)
    now[0] += 899_999
    assert tokens.read(token) is not None
    assert Tokens(bytes(31) + b"\x01", lambda: now[0]).read(token) is None
    head, body, tag = token.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0"
    for forged in (
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{tag}",
        f"{head}.{body}.",
        f"{head}.{body[:-2]}.{tag}",
        "",
        "..",
        "x",
    ):
        assert tokens.read(forged) is None
    now[0] += 1
    assert tokens.read(token) is None
