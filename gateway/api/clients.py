"""API clients: who may use the API, for admins. Those of the fleet `default` look after all fleets, others after their own."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.access import Access, Admin, GatewayHere
from gateway.api.problems import Problem
from gateway.api.schemas import FleetId, Moment, Page, Word
from gateway.events import timestamp
from gateway.registry.clients import EVERY_SCOPE, Client, Scope

router = APIRouter(prefix="/clients", tags=["Access"])


class ClientRequest(BaseModel):
    """An API client to add."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "shop", "scopes": ["vehicles.ro"]}]})

    name: Word = Field("client", description="for people")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(EVERY_SCOPE))]
    fleet_id: FleetId | None = Field(None, description="none: your own")


class ApiClient(BaseModel):
    """An API client."""

    id: str = Field(examples=["9f86d081884c7d65"])
    fleet_id: str
    name: str
    scopes: list[Scope]
    created_at: Moment
    secret_issued_at: Moment


class IssuedClient(ApiClient):
    """An API client with its secret, which is shown this once."""

    secret: str


@router.post("", summary="Add a client", status_code=201, response_model=IssuedClient)
async def add_client(gateway: GatewayHere, admin: Admin, wanted: ClientRequest) -> Any:
    """The answer shows the secret, once."""
    fleet_id = wanted.fleet_id or admin.fleet_id
    if fleet_id != admin.fleet_id and not admin.operates:
        raise Problem(404, "not_found", f"there is no fleet {fleet_id}")
    client, secret = await gateway.registry.clients.add(fleet_id, wanted.name, wanted.scopes)
    return document(client) | {"secret": secret}


@router.get("", summary="List clients", response_model=Page[ApiClient])
async def list_clients(
    gateway: GatewayHere, admin: Admin, fleet: Annotated[FleetId | None, Query(description="only those of this fleet")] = None
) -> Any:
    """Oldest first."""
    known = await gateway.registry.clients.all(_within(admin))
    return {"items": [document(each) for each in known if fleet in (None, each.fleet_id)], "next_cursor": None}


@router.get("/{client_id}", summary="Show a client", response_model=ApiClient)
async def show_client(gateway: GatewayHere, admin: Admin, client_id: str) -> Any:
    """Without its secret."""
    client = await gateway.registry.clients.find(client_id, _within(admin))
    if client is None:
        raise Problem(404, "not_found", f"there is no client {client_id}")
    return document(client)


@router.post("/{client_id}/rotate", summary="Issue a new secret for a client", response_model=IssuedClient)
async def rotate_secret(gateway: GatewayHere, admin: Admin, client_id: str) -> Any:
    """The older secret and the tokens made with it end at once."""
    client, secret = await gateway.registry.clients.rotate(client_id, _within(admin))
    return document(client) | {"secret": secret}


@router.delete("/{client_id}", summary="Remove a client", status_code=204)
async def remove_client(gateway: GatewayHere, admin: Admin, client_id: str) -> Response:
    """Its tokens end at once."""
    await gateway.registry.clients.remove(client_id, _within(admin))
    return Response(status_code=204)


def document(client: Client) -> dict[str, Any]:
    """A client as JSON values."""
    return {
        "id": client.client_id,
        "fleet_id": client.fleet_id,
        "name": client.name,
        "scopes": list(client.scopes),
        "created_at": timestamp(client.created_at),
        "secret_issued_at": timestamp(client.rotated_at),
    }


def _within(admin: Access) -> str | None:
    """The fleet whose clients an admin looks after; None: all."""
    return None if admin.operates else admin.fleet_id
