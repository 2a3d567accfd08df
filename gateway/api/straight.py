"""Commands, straight from the server to the gateway: through the framework a request costs several times what its command does.

What is answered here is answered as the route of `gateway.api.commands` answers it; a request about which anything is odd, or
refused before it is a command, goes on to that route.
"""

import re
from typing import NamedTuple

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.access import known
from gateway.api.commands import KEY_LIMIT, TIMEOUT_LIMIT_S, TIMEOUT_S, Asked, carried_out
from gateway.api.problems import EXPECTED, FLOW_ID, explained, flow_id_in
from modeldb.vocabulary import COMMANDS

SCOPE = "vehicle-commands"

_PATH = re.compile(r"/vehicles/([^/]+)/commands/([^/]+)")
_TIMEOUT = re.compile(rb"timeout=([0-9]{1,3}(?:\.[0-9]{1,3})?)")
_BEARER = b"Bearer "
_ONCE = (b"authorization", b"content-length", b"idempotency-key", b"transfer-encoding")


class _Order(NamedTuple):
    """A request that may be answered here, if its token is good."""

    token: str
    asked: Asked


class Straight:
    """Stands in front of `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        order = _order(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        client = await known(scope, order.token) if order is not None else None
        if order is None or client is None or not client.may(SCOPE):
            await self._app(scope, receive, send)
            return
        flow_id, gateway = flow_id_in(scope), scope["app"].state.gateway
        with structlog.contextvars.bound_contextvars(flow_id=flow_id):
            try:
                body = await carried_out(gateway, client, flow_id, order.asked)
            except EXPECTED as error:
                await explained(Request(scope), error)(scope, receive, send)
                return
            headers = [
                (b"content-length", str(len(body)).encode()),
                (b"content-type", b"application/json"),
                (FLOW_ID.lower().encode(), flow_id.encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def _order(scope: Scope) -> _Order | None:
    """What is asked for, if it is a command without a body and nothing about it is odd."""
    path = _PATH.fullmatch(scope["path"])
    if path is None or path[2] not in COMMANDS or scope.get("root_path"):
        return None
    said: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in said:
                return None
            said[name] = value
    token, key, timeout_s = said.get(b"authorization", b""), said.get(b"idempotency-key"), _timeout_s(scope["query_string"])
    if (
        not token.startswith(_BEARER)
        or timeout_s is None
        or said.get(b"content-length", b"0") != b"0"
        or b"transfer-encoding" in said
        or (key is not None and not 1 <= len(key) <= KEY_LIMIT)
    ):
        return None
    asked = Asked(path[1], path[2], timeout_s, None if key is None else key.decode("latin-1"))
    return _Order(token[len(_BEARER) :].decode("latin-1"), asked)


def _timeout_s(query: bytes) -> float | None:
    if not query:
        return TIMEOUT_S
    said = _TIMEOUT.fullmatch(query)
    timeout_s = float(said[1]) if said else 0.0
    return timeout_s if 0 < timeout_s <= TIMEOUT_LIMIT_S else None
