"""Who asks, for which fleet, and what they may do: one dependency, `access(scope)`, in front of every route."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.api.problems import Problem, flow_id_of
from gateway.app import Gateway, owners_secret
from gateway.registry.fleets import DEFAULT_FLEET
from gateway.settings import Settings

Scope = Literal["vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin"]
IMPLIED: dict[str, frozenset[str]] = {"vehicles": frozenset({"vehicles.ro"})}
EVERYTHING: frozenset[str] = frozenset({"vehicles", "vehicles.ro", "vehicle-commands", "event-consumers", "admin"})
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


GatewayHere = Annotated[Gateway, Depends(gateway_of)]
FlowIdHere = Annotated[str, Depends(flow_id_of)]
Reader = Annotated[Access, Depends(access("vehicles.ro"))]
Writer = Annotated[Access, Depends(access("vehicles"))]
Commander = Annotated[Access, Depends(access("vehicle-commands"))]
