"""Every error of the API is one document: RFC 9457 problem details, with the flow id of the request and a word to switch on."""

import uuid
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.brokers.logins import BrokerFailed
from gateway.consumers import ConsumersUnavailable
from gateway.registry import (
    Archived,
    BadUnitId,
    BrandUnknown,
    FleetTaken,
    ModelAmbiguous,
    ModelUnknown,
    RegistryError,
    Stale,
    TooManyClients,
    TooManyConsumers,
    TooManyFields,
    UnitTaken,
    Unknown,
    Unsealed,
    Wrong,
)

FLOW_ID = "X-INVERS-Flow-ID"
TYPE = "urn:teleloop:problem:"
BODY_LIMIT_BYTES = 1 << 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MEDIA_TYPE = "application/problem+json"

REGISTRY: dict[type[RegistryError], tuple[int, str]] = {
    Unknown: (404, "not_found"),
    Archived: (409, "archived"),
    UnitTaken: (409, "unit_taken"),
    TooManyConsumers: (409, "too_many_event_consumers"),
    TooManyClients: (409, "too_many_clients"),
    FleetTaken: (409, "fleet_taken"),
    Stale: (412, "changed_since"),
    TooManyFields: (422, "too_many_fields"),
    Wrong: (400, "validation"),
    BrandUnknown: (422, "brand_unknown"),
    BadUnitId: (422, "bad_unit_id"),
    Unsealed: (422, "unsealed_brand"),
    ModelUnknown: (422, "model_unknown"),
    ModelAmbiguous: (422, "model_ambiguous"),
}

WORDS = {400: "validation", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}

log = structlog.get_logger(__name__)


class Problem(Exception):
    """An answer that is no success. `reason` is a word for programs, `detail` a sentence for people."""

    def __init__(
        self, status: int, reason: str, detail: str = "", *, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status, self.reason, self.detail = status, reason, detail
        self.headers, self.members = headers or {}, members

    def document(self, flow_id: str) -> dict[str, Any]:
        """The problem details."""
        document = {
            "type": TYPE + self.reason,
            "title": self.reason.replace("_", " ").capitalize(),
            "status": self.status,
            "reason": self.reason,
            "flow_id": flow_id,
        }
        return document | ({"detail": self.detail} if self.detail else {}) | self.members


def problem_of(error: RegistryError) -> Problem:
    """What the API says where the registry says no."""
    status, reason = REGISTRY[type(error)]
    members: dict[str, Any] = {}
    if isinstance(error, ModelUnknown):
        members["candidates"] = [
            {
                "id": model.id,
                "brand": model.make,
                "name": model.name,
                "start_of_production": model.start_of_production.isoformat(),
                "end_of_production": model.end_of_production.isoformat() if model.end_of_production else None,
            }
            for model in error.candidates
        ]
    return Problem(status, reason, str(error), **members)


def invalid(error: RequestValidationError) -> Problem:
    """A request that is not understood, with the place and the cause of each thing that is wrong."""
    errors = [{"at": ".".join(str(step) for step in each["loc"]), "message": each["msg"]} for each in error.errors()]
    return Problem(400, "validation", "the request is not understood", errors=errors[:20])


def flow_id_of(request: Request) -> str:
    """The flow id that the request was given."""
    return flow_id_in(request.scope)


def flow_id_in(scope: Scope) -> str:
    """The same, of a request that may not have been given one yet."""
    return str(scope.setdefault("teleloop.flow_id", str(uuid.uuid4())))


def answer(request: Request, problem: Problem) -> Response:
    """The response that says `problem`."""
    flow_id = flow_id_of(request)
    body = msgspec.json.encode(problem.document(flow_id))
    return Response(body, problem.status, {FLOW_ID: flow_id, **problem.headers}, MEDIA_TYPE)


class FlowId:
    """Gives every request a flow id, and every answer the header that tells it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        flow_id = flow_id_in(scope)

        async def send_with_flow_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[FLOW_ID] = flow_id
            await send(message)

        with structlog.contextvars.bound_contextvars(flow_id=flow_id):
            await self._app(scope, receive, send_with_flow_id)


class BodyLimit:
    """Refuses what is longer than a request may be: by what it announces, or as soon as too much has come."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app, self._limit_bytes = app, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._limit_bytes:
            problem = Problem(413, "too_large", self._sentence)
            await answer(Request(scope), problem)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise HTTPException(413, self._sentence)
            return message

        await self._app(scope, receive_counted, send)

    @property
    def _sentence(self) -> str:
        return f"a request has at most {self._limit_bytes} bytes"


def _allowed(request: Request) -> list[str]:
    """The methods that the request's path has: the router tells only those of one of its routes."""
    scopes = [{**request.scope, "method": method} for method in METHODS]
    return [scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)]


def _away(error: DBAPIError) -> bool:
    """Whether the store is away, or lets nobody in: asyncpg's errors of that kind are of no class in particular."""
    return isinstance(error, OperationalError) or not isinstance(error, DatabaseError) or error.connection_invalidated


def explained(request: Request, error: Exception) -> Response:
    """The answer that says what went wrong."""
    match error:
        case Problem():
            return answer(request, error)
        case RegistryError():
            return answer(request, problem_of(error))
        case RequestValidationError():
            return answer(request, invalid(error))
        case HTTPException(status_code=status):
            reason = WORDS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
            headers = {"Allow": ", ".join(_allowed(request))} if status == 405 else dict(error.headers or {})
            return answer(request, Problem(status, reason, str(error.detail), headers=headers))
        case DBAPIError() if _away(error):
            log.error("the store does not answer", error=str(error.orig))
            return answer(request, Problem(503, "store_unavailable", "the store does not answer; nothing was done"))
        case ConsumersUnavailable():
            return answer(request, Problem(503, "event_consumers_unavailable", str(error)))
        case BrokerFailed():
            log.error("the units' broker does not take logins", error=str(error))
            return answer(request, Problem(503, "broker_unavailable", "the units' broker does not take the change"))
        case OSError():
            log.error("something that the gateway needs does not answer", error=str(error))
            return answer(request, Problem(503, "unavailable", "a part of the gateway does not answer; nothing was done"))
        case _:
            return answer(request, Problem(500, "internal_error", "this is our fault; the flow id finds it in the log"))


EXPECTED = (
    Problem, RegistryError, RequestValidationError, HTTPException, DBAPIError, BrokerFailed, ConsumersUnavailable, OSError,
)  # fmt: skip
"""What goes wrong and is no fault of ours."""


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    for kind in (*EXPECTED, Exception):
        app.add_exception_handler(kind, explained)
    app.add_middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)
    app.add_middleware(FlowId)
