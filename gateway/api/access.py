"""Who asks, for which fleet, and what they may do: one dependency, `access(scope)`, in front of every route."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, OAuth2
from starlette.types import Scope as ASGIScope

from gateway.api.problems import Problem, flow_id_of
from gateway.api.tokens import Tokens
from gateway.app import Gateway, owners_secret
from gateway.registry.clients import EVERY_SCOPE, Scope
from gateway.registry.fleets import DEFAULT_FLEET
from gateway.settings import Settings

IMPLIED: dict[str, frozenset[str]] = {"vehicles": frozenset({"vehicles.ro"})}
EVERYTHING: frozenset[str] = frozenset(EVERY_SCOPE)
SCOPES: dict[str, str] = {
    "vehicles": "add and change vehicles, and what `vehicles.ro` allows",
    "vehicles.ro": "read vehicles, their states, events, the model database",
    "vehicle-commands": "command vehicles",
    "event-consumers": "manage event consumers",
    "admin": "manage clients and fleets",
}
TICKET_LIFETIME_MS = 60_000
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="teleloop"'}
INVALID = {"WWW-Authenticate": 'Bearer realm="teleloop", error="invalid_token"'}

_bearer = HTTPBearer(
    scheme_name="ApiToken",
    auto_error=False,
    description="Of the gateway's own command line: `api-token` in its data folder, or TELELOOP_TOKEN.",
)
_oauth2 = OAuth2(
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/oauth2/token", scopes=SCOPES)),
    scheme_name="OAuth2",
    auto_error=False,
    description="Client credentials; a token is good for 900 seconds.",
)
Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class Access:
    """A client that has shown who it is."""

    fleet_id: str
    client: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether a scope was granted, by name or by one that includes it."""
        return scope in self.scopes or any(scope in IMPLIED.get(granted, ()) for granted in self.scopes)

    @property
    def operates(self) -> bool:
        """Whether it looks after the whole gateway: an admin of the fleet of those who run it."""
        return self.fleet_id == DEFAULT_FLEET and self.may("admin")


def api_token(settings: Settings) -> str:
    """The static API token; made at first use. Raises OSError, ValueError."""
    return settings.token or owners_secret(settings.token_path).hex()


def gateway_of(request: Request) -> Gateway:
    """The gateway that the API is in front of."""
    gateway: Gateway = request.app.state.gateway
    return gateway


class Tickets:
    """Stand-ins for a token, good for one minute and one use, for whoever can send no header: browsers' EventSource."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._issued: dict[str, tuple[Access, int]] = {}

    def issue(self, client: Access) -> tuple[str, int]:
        """A ticket, and when it expires (Unix ms). It may read what `client` may read, nothing else."""
        now = self._now_ms()
        self._issued = {ticket: each for ticket, each in self._issued.items() if each[1] > now}
        ticket, expires_at = secrets.token_urlsafe(32), now + TICKET_LIFETIME_MS
        self._issued[ticket] = replace(client, scopes=frozenset({"vehicles.ro"})), expires_at
        return ticket, expires_at

    def redeem(self, ticket: str) -> Access | None:
        """Who was given this ticket, if it is valid; from now on it no longer is."""
        client, expires_at = self._issued.pop(ticket, (None, 0))
        return client if expires_at > self._now_ms() else None


async def _client(request: Request, shown: Shown, _: Annotated[str | None, Depends(_oauth2)] = None) -> Access:
    if shown is None:
        raise Problem(401, "unauthorized", "a bearer token is wanted", headers=CHALLENGE)
    client = await known(request.scope, shown.credentials)
    if client is None:
        raise Problem(401, "unauthorized", "the bearer token is not valid (any more)", headers=INVALID)
    return client


async def known(scope: ASGIScope, token: str) -> Access | None:
    """Who shows this bearer token, if it is valid."""
    state = scope["app"].state
    if secrets.compare_digest(token.encode(), state.token.encode()):
        return Access(DEFAULT_FLEET, "api-token", EVERYTHING)
    tokens: Tokens = state.tokens
    gateway: Gateway = state.gateway
    grant = tokens.read(token)
    client = await gateway.registry.clients.find(grant.client_id) if grant else None
    if grant is None or client is None or client.rotated_at != grant.rotated_at:
        return None
    return Access(client.fleet_id, client.client_id, grant.scopes)


def _granted(client: Access, scope: Scope) -> Access:
    if not client.may(scope):
        headers = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'}
        raise Problem(403, "forbidden", f"the scope {scope} is wanted", headers=headers)
    return client


def access(scope: Scope) -> Callable[[Access], Awaitable[Access]]:
    """The dependency that lets in only who was granted `scope`."""

    async def granted(client: Annotated[Access, Security(_client, scopes=[scope])]) -> Access:
        return _granted(client, scope)

    return granted


async def _listener(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer, scopes=["vehicles.ro"])],
    _: Annotated[str | None, Security(_oauth2, scopes=["vehicles.ro"])],
    ticket: Annotated[str | None, Query(max_length=64, description="from `POST /events/tickets`, instead of a token")] = None,
) -> Access:
    if ticket is None:
        return _granted(await _client(request, shown), "vehicles.ro")
    tickets: Tickets = request.app.state.tickets
    client = tickets.redeem(ticket)
    if client is None:
        raise Problem(401, "unauthorized", "the ticket is not valid (any more)", headers=CHALLENGE)
    return client


async def _operator(client: Annotated[Access, Depends(access("admin"))]) -> Access:
    if not client.operates:
        raise Problem(403, "forbidden", f"only admins of the fleet {DEFAULT_FLEET} may do this")
    return client


# FastAPI runs a dependency that is no coroutine in a thread of its own.
async def _gateway(request: Request) -> Gateway:
    return gateway_of(request)


async def _flow_id(request: Request) -> str:
    return flow_id_of(request)


GatewayHere = Annotated[Gateway, Depends(_gateway)]
FlowIdHere = Annotated[str, Depends(_flow_id)]
Reader = Annotated[Access, Depends(access("vehicles.ro"))]
Writer = Annotated[Access, Depends(access("vehicles"))]
Commander = Annotated[Access, Depends(access("vehicle-commands"))]
Admin = Annotated[Access, Depends(access("admin"))]
Operator = Annotated[Access, Depends(_operator)]
Listener = Annotated[Access, Depends(_listener)]
