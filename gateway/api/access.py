"""Who asks, for which fleet, and what they may do: one dependency, `access(scope)`, in front of every route."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.api.problems import Problem, flow_id_of
from gateway.app import Gateway, owners_secret
from gateway.registry.fleets import DEFAULT_FLEET
from gateway.settings import Settings

Scope = Literal["vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin"]
IMPLIED: dict[str, frozenset[str]] = {"vehicles": frozenset({"vehicles.ro"})}
EVERYTHING: frozenset[str] = frozenset({"vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin"})
TICKET_LIFETIME_MS = 60_000
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="teleloop"'}

_bearer = HTTPBearer(auto_error=False, description="The API token: `api-token` in the gateway's data folder, or TELELOOP_TOKEN.")


@dataclass(frozen=True, slots=True)
class Access:
    """A client that has shown who it is."""

    fleet_id: str
    client: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether a scope was granted, by name or by one that includes it."""
        return scope in self.scopes or any(scope in IMPLIED.get(granted, ()) for granted in self.scopes)


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


def _client(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Access:
    if shown is None:
        raise Problem(401, "unauthorized", "a bearer token is wanted", headers=CHALLENGE)
    if not secrets.compare_digest(shown.credentials.encode(), request.app.state.token.encode()):
        raise Problem(401, "unauthorized", "the bearer token is not valid", headers=CHALLENGE)
    return Access(DEFAULT_FLEET, "api-token", EVERYTHING)


def access(scope: Scope) -> Callable[[Access], Access]:
    """The dependency that lets in only who was granted `scope`."""

    def granted(client: Annotated[Access, Depends(_client)]) -> Access:
        if not client.may(scope):
            raise Problem(403, "forbidden", f"the scope {scope} is wanted")
        return client

    return granted


def _listener(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ticket: Annotated[str | None, Query(max_length=64, description="from `POST /events/tickets`, instead of a token")] = None,
) -> Access:
    if ticket is None:
        return access("vehicles.ro")(_client(request, shown))
    tickets: Tickets = request.app.state.tickets
    client = tickets.redeem(ticket)
    if client is None:
        raise Problem(401, "unauthorized", "the ticket is not valid (any more)", headers=CHALLENGE)
    return client


GatewayHere = Annotated[Gateway, Depends(gateway_of)]
FlowIdHere = Annotated[str, Depends(flow_id_of)]
Reader = Annotated[Access, Depends(access("vehicles.ro"))]
Writer = Annotated[Access, Depends(access("vehicles"))]
Commander = Annotated[Access, Depends(access("vehicle-commands"))]
Listener = Annotated[Access, Depends(_listener)]
