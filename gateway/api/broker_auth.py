"""Questions of brokers: who may log in, and what for. RabbitMQ asks with forms and reads a word, EMQX speaks JSON.

RabbitMQ: plugin rabbitmq_auth_backend_http, `auth_http.http_method = post`. EMQX: HTTP authentication and authorization.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyQuery

from gateway.api.access import CHALLENGE, GatewayHere, gateway_of
from gateway.api.problems import Problem
from gateway.brokers.door import Direction, Door

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
DIRECTIONS: dict[str, Direction] = {"write": "publish", "publish": "publish", "read": "subscribe", "subscribe": "subscribe"}

_secret = APIKeyQuery(
    name="secret",
    scheme_name="BrokerSecret",
    description="TELELOOP_BROKER_AUTH_SECRET, else `broker-auth-secret` in the data folder; as Bearer token or password, too.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a broker asks. Words that it left out are empty."""

    words: Mapping[str, str]
    in_json: bool

    def word(self, *names: str) -> str:
        """The first of these words that was said."""
        return next((self.words[name] for name in names if name in self.words), "")

    def answer(self, allowed: bool, **more: Any) -> Response:
        """In the broker's own language."""
        verdict = "allow" if allowed else "deny"
        if self.in_json:
            return Response(msgspec.json.encode({"result": verdict, **more}), media_type=JSON)
        return Response(verdict, media_type="text/plain")


def _shown(request: Request, in_query: str | None) -> str:
    """The secret that came with the request, in one of three ways."""
    if in_query is not None:
        return in_query
    kind, _, said = request.headers.get("authorization", "").partition(" ")
    match kind.lower():
        case "bearer":
            return said
        case "basic":
            try:
                return base64.b64decode(said, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return ""


async def _question(request: Request, in_query: Annotated[str | None, Depends(_secret)]) -> Question:
    expected = gateway_of(request).broker_auth_secret
    if not secrets.compare_digest(_shown(request, in_query).encode(), expected.encode()):
        raise Problem(401, "unauthorized", "the broker's secret is wanted", headers=CHALLENGE)
    body = await request.body()
    in_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON
    try:
        said = msgspec.json.decode(body, type=dict[str, Any]) if in_json else dict(parse_qsl(body.decode()))
    except (msgspec.DecodeError, ValueError) as error:
        raise Problem(400, "validation", "a form is wanted, or a JSON object") from error
    return Question({name: value for name, value in said.items() if isinstance(value, str)}, in_json)


QuestionHere = Annotated[Question, Depends(_question)]


def _asked(*words: str) -> dict[str, Any]:
    """What OpenAPI says of a question with these words."""
    text = {"type": "string"}
    lenient = {"description": "text; anything else counts as not said", "examples": ["text"]}
    schemas = {kind: {"type": "object", "properties": dict.fromkeys(words, of)} for kind, of in ((FORM, text), (JSON, lenient))}
    return {"requestBody": {"content": {kind: {"schema": schema} for kind, schema in schemas.items()}}}


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`allow` or `deny`, in the language of the question",
        "content": {
            "text/plain": {"schema": {"type": "string", "enum": ["allow", "deny"]}},
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {"result": {"enum": ["allow", "deny"]}, "acl": {"type": "array", "items": {"type": "object"}}},
                }
            },
        },
    }
}

router = APIRouter(prefix="/broker/auth", tags=["Broker logins"])


@router.post(
    "/user",
    summary="Whether somebody may log in",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=_asked("username", "password", "client_id", "clientid"),
)
async def user(gateway: GatewayHere, question: QuestionHere) -> Response:
    """Units under their own client id, and the gateway. In JSON the answer holds all topics of the user (EMQX 5.8 and later)."""
    name = question.word("username")
    allowed = await gateway.door.lets_in(name, question.word("password"), question.word("client_id", "clientid"))
    more = {"is_superuser": False, "acl": _acl(gateway.door, name)} if allowed else {}
    return question.answer(allowed, **more)


@router.post(
    "/vhost",
    summary="Whether a user may enter a virtual host",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=_asked("username", "vhost", "ip"),
)
async def vhost(gateway: GatewayHere, question: QuestionHere) -> Response:
    """Whoever may log in; what it may do there is asked for each thing."""
    return question.answer(await gateway.door.knows(question.word("username")))


@router.post(
    "/resource",
    summary="Whether a user may work with an exchange or a queue",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=_asked("username", "vhost", "resource", "name", "permission"),
)
async def resource(gateway: GatewayHere, question: QuestionHere) -> Response:
    """Those behind its MQTT session."""
    name = question.word("username")
    return question.answer(await gateway.door.may_use(name, question.word("resource"), question.word("name")))


@router.post(
    "/topic",
    summary="Whether a user may publish to a topic, or subscribe to it",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=_asked("username", "routing_key", "permission", "topic", "action"),
)
async def topic(gateway: GatewayHere, question: QuestionHere) -> Response:
    """A unit its own `up`, `presence` and `down`. RabbitMQ says `routing_key` and `permission`, EMQX `topic` and `action`."""
    levels = question.word("topic").split("/") if question.in_json else question.word("routing_key").split(".")
    direction = DIRECTIONS.get(question.word("action" if question.in_json else "permission"))
    return question.answer(direction is not None and await gateway.door.may_talk(question.word("username"), direction, levels))


def _acl(door: Door, user: str) -> list[dict[str, str]]:
    allowed = [{"permission": "allow", "action": rule.direction, "topic": "/".join(rule.levels)} for rule in door.rules(user)]
    return [*allowed, {"permission": "deny", "action": "all", "topic": "#"}]
