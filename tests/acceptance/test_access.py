"""Access as the contract tells it: OAuth 2.0 client credentials, a scope in front of every call, and nothing crosses fleets."""

from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from lab.gateway import GatewayProcess
from lab.outsider import DEV_KIT, Client, fresh_unit, problem

pytestmark = pytest.mark.timeout(120)

READING = {"vehicles", "vehicles.ro"}
NEEDED: dict[tuple[str, str], set[str]] = {
    ("POST", "/vehicles"): {"vehicles"},
    ("GET", "/vehicles"): READING,
    ("GET", "/vehicles/{id}"): READING,
    ("PATCH", "/vehicles/{id}"): {"vehicles"},
    ("GET", "/vehicles/{id}/latest-vehicle-state"): READING,
    ("GET", "/latest-vehicle-states"): READING,
    ("PUT", "/vehicles/{id}/rental-status"): {"vehicles"},
    ("PUT", "/vehicles/{id}/telematics-unit"): {"vehicles"},
    ("POST", "/vehicles/{id}/archive"): {"vehicles"},
    ("POST", "/vehicles/{id}/restore"): {"vehicles"},
    ("POST", "/vehicles/{id}/commands/request-vehicle-state"): {"vehicle-commands"},
    ("GET", "/telematics-brands"): READING,
    ("GET", "/telematics-brands/CLOUDBOXX/available-vehicle-models"): READING,
    ("GET", f"/vehicle-models/{DEV_KIT.id}"): READING,
    ("POST", "/event-consumers"): {"event-consumers"},
    ("GET", "/event-consumers"): {"event-consumers"},
    ("DELETE", "/event-consumers/none"): {"event-consumers"},
    ("POST", "/events/tickets"): READING,
    ("GET", "/quarantine"): READING,
    ("POST", "/quarantine/1/vehicle"): {"vehicles"},
    ("GET", "/clients"): {"admin"},
    ("POST", "/clients"): {"admin"},
    ("GET", "/fleets"): {"admin"},
    ("POST", "/fleets"): {"admin"},
}
SCOPES = ("vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin")
OF_A_VEHICLE = [call for call in NEEDED if "{id}" in call[1]]
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/vehicles/{id}"): {"tags": ["mine"]},
    ("PUT", "/vehicles/{id}/rental-status"): {"rental_status": "IN_RENTAL"},
    ("PUT", "/vehicles/{id}/telematics-unit"): {
        "telematics_brand": "CLOUDBOXX",
        "telematics_unit_id": fresh_unit("CLOUDBOXX"),
    },
}


@dataclass(frozen=True)
class Login:
    """An API client's id and secret."""

    id: str
    secret: str


def login(api: Client, fleet_id: str | None = None, *scopes: str) -> Login:
    """A new API client with these scopes, or with all."""
    body = {"name": "acceptance", "scopes": list(scopes or SCOPES), "fleet_id": fleet_id}
    answer = api.call("POST", "/clients", json=body)
    assert answer.status_code == 201, answer.text
    return Login(answer.json()["id"], answer.json()["secret"])


def asked(url: str, who: Login, **form: str) -> httpx2.Response:
    """The answer of the token endpoint."""
    form = {"grant_type": "client_credentials"} | form
    return httpx2.post(f"{url}/oauth2/token", data=form, auth=(who.id, who.secret), timeout=30)


def as_client(url: str, who: Login, **form: str) -> Client:
    """A client with a fresh token."""
    answer = asked(url, who, **form)
    assert answer.status_code == 200, answer.text
    return Client(url, answer.json()["access_token"])


@pytest.fixture(scope="module")
def operator(process: GatewayProcess) -> Client:
    return Client(process.url, process.token)


@pytest.fixture(scope="module")
def other_fleet(operator: Client) -> str:
    answer = operator.call("POST", "/fleets", json={"name": "another fleet"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def by_scope(operator: Client) -> dict[str, Client]:
    """A client for each scope that has that one alone."""
    return {scope: as_client(operator.url, login(operator, None, scope)) for scope in SCOPES}


def test_a_bearer_token_is_good_for_900_seconds(api: Client):
    answer = asked(api.url, login(api))
    document = answer.json()
    assert document["token_type"].lower() == "bearer"
    assert document["expires_in"] == 900
    assert answer.headers["cache-control"] == "no-store"
    assert Client(api.url, document["access_token"]).get("/vehicles")["items"] is not None


def test_wrong_credentials_get_no_token(api: Client):
    who = login(api)
    assert asked(api.url, Login(who.id, "wrong")).status_code == 401
    assert asked(api.url, Login("nobody", who.secret)).status_code == 401
    assert asked(api.url, who, grant_type="password").json()["error"] == "unsupported_grant_type"
    assert asked(api.url, login(api, None, "vehicles.ro"), scope="admin").json()["error"] == "invalid_scope"


def test_a_token_may_be_asked_to_do_less(api: Client):
    reader = as_client(api.url, login(api), scope="vehicles.ro")
    reader.get("/vehicles")
    problem(reader.call("POST", "/vehicles", json={}), 403)


@pytest.mark.parametrize("call", NEEDED, ids=" ".join)
def test_a_call_needs_its_scope(by_scope: dict[str, Client], nobody: Client, call: tuple[str, str]):
    method, path = call[0], call[1].format(id="ZZZZZ")
    problem(nobody.call(method, path, json={}), 401)
    problem(Client(nobody.url, "nonsense").call(method, path, json={}), 401)
    for scope, client in by_scope.items():
        answer = client.call(method, path, json=None if method in ("GET", "DELETE") else {"no": "sense"})
        if scope in NEEDED[call]:
            assert answer.status_code not in (401, 403), f"{scope}: {answer.text}"
        else:
            problem(answer, 403)


@pytest.mark.parametrize("call", OF_A_VEHICLE, ids=" ".join)
def test_another_fleets_vehicle_is_404_never_403(api: Client, other_fleet: str, call: tuple[str, str]):
    stranger = as_client(api.url, login(api, other_fleet, "vehicles", "vehicle-commands", "event-consumers"))
    vehicle_id = api.add()["id"]
    method, path = call
    before = api.get(f"/vehicles/{vehicle_id}")
    problem(stranger.call(method, path.format(id=vehicle_id), json=BODIES.get(call)), 404)
    assert api.get(f"/vehicles/{vehicle_id}") == before


def test_lists_show_the_own_fleet_alone(api: Client, other_fleet: str):
    stranger = as_client(api.url, login(api, other_fleet))
    mine, theirs = api.add(), stranger.add()
    assert theirs["fleet_id"] == other_fleet != mine["fleet_id"]
    for path, name in (("/vehicles", "id"), ("/latest-vehicle-states", "vehicle_id")):
        assert [each[name] for each in stranger.get(path)["items"]] == [theirs["id"]]
        assert theirs["id"] not in {each[name] for each in api.get(path, limit=1000)["items"]}


def test_a_unit_of_another_fleet_is_taken(api: Client, other_fleet: str):
    stranger = as_client(api.url, login(api, other_fleet))
    unit_id = api.add()["telematics_unit"]["id"]
    body = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": unit_id, "vehicle_model_id": DEV_KIT.id}
    problem(stranger.call("POST", "/vehicles", json=body), 409)


def test_a_client_that_was_removed_is_out(api: Client):
    who = login(api)
    client = as_client(api.url, who)
    client.get("/vehicles")
    assert api.call("DELETE", f"/clients/{who.id}").status_code == 204
    problem(client.call("GET", "/vehicles"), 401)
    assert asked(api.url, who).status_code == 401


def test_secrets_are_shown_once(api: Client):
    who = login(api)
    assert who.secret not in api.call("GET", "/clients").text
