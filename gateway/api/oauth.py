"""OAuth 2.0 client credentials (RFC 6749, section 4.4): a client shows its id and secret and is given a token."""

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBasic

from gateway.api.access import SCOPES, FlowIdHere, GatewayHere
from gateway.api.problems import Problem
from gateway.api.schemas import TokenAnswer, TokenRefusal
from gateway.api.tokens import LIFETIME_S, Tokens

FORM = "application/x-www-form-urlencoded"
UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
CHALLENGE = {"WWW-Authenticate": 'Basic realm="teleloop", charset="UTF-8"'}

router = APIRouter(tags=["Access"])


class _Basic(HTTPBasic):
    """For OpenAPI alone: what is wrong with the header is answered as RFC 6749 wants it."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        return None


_shown = _Basic(scheme_name="ClientCredentials", description="client id and secret")

FORM_SCHEMA = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"const": "client_credentials", "type": "string"},
        "scope": {"type": "string", "examples": ["vehicles vehicle-commands"], "description": "some of the client's; none: all"},
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": TokenRefusal, "description": "The request is not understood, or asks for more than the client has"},
    401: {"model": TokenRefusal, "description": "There is no such client, or the secret is wrong"},
}


@router.post(
    "/oauth2/token",
    summary="Get an access token",
    response_model=TokenAnswer,
    responses=REFUSALS,
    openapi_extra={"requestBody": {"required": True, "content": {FORM: {"schema": FORM_SCHEMA}}}},
)
async def token(request: Request, gateway: GatewayHere, flow_id: FlowIdHere, _: Annotated[Any, Depends(_shown)]) -> Response:
    """HTTP Basic with client id and secret; the token is good for 900 seconds, as a Bearer token."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return _refused(flow_id, "invalid_request", f"a form is wanted ({FORM})")
    said = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    names = [name for name, _ in said]
    if len(names) != len(set(names)):
        return _refused(flow_id, "invalid_request", "a parameter is there more than once")
    form = dict(said)
    if not form.get("grant_type"):
        return _refused(flow_id, "invalid_request", "grant_type is wanted")
    shown = _credentials(request.headers.get("authorization", ""))
    client = await gateway.registry.clients.authenticate(*shown) if shown else None
    if client is None:
        return _refused(flow_id, "invalid_client", "client id and secret are wanted (HTTP Basic)", 401, CHALLENGE)
    if form["grant_type"] != "client_credentials":
        return _refused(flow_id, "unsupported_grant_type", "client_credentials is wanted")
    wanted = frozenset(form.get("scope", "").split())
    held = frozenset(client.scopes)
    # Who has `vehicles` may ask for less.
    if not wanted <= held | ({"vehicles.ro"} if "vehicles" in held else set()):
        return _refused(flow_id, "invalid_scope", f"this client has {' '.join(each for each in SCOPES if each in held)}")
    tokens: Tokens = request.app.state.tokens
    granted = wanted or held
    answer = {
        "access_token": tokens.issue(client, granted),
        "token_type": "Bearer",
        "expires_in": LIFETIME_S,
        "scope": " ".join(each for each in SCOPES if each in granted),
    }
    return Response(msgspec.json.encode(answer), 200, UNCACHED, "application/json")


def _credentials(header: str) -> tuple[str, str] | None:
    """Client id and secret of HTTP Basic, each form-encoded (RFC 6749, section 2.3.1)."""
    kind, _, said = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not colon or "\x00" in client_id:
        return None
    return unquote_plus(client_id)[:64], unquote_plus(secret)[:256]


def _refused(flow_id: str, error: str, description: str, status: int = 400, headers: dict[str, str] | None = None) -> Response:
    body = {"error": error, "error_description": description} | Problem(status, error, description).document(flow_id)
    return Response(msgspec.json.encode(body), status, UNCACHED | (headers or {}), "application/json")
