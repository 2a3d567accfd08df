"""The REST API: one file a resource."""

from importlib.metadata import version

from fastapi import FastAPI

from gateway.api import (
    audit,
    broker_auth,
    clients,
    commands,
    consumers,
    decode,
    edits,
    events,
    fleets,
    health,
    models,
    oauth,
    openapi,
    problems,
    quarantine,
    states,
    vehicles,
)
from gateway.api.access import Tickets, api_token
from gateway.api.straight import Straight
from gateway.api.tokens import Tokens
from gateway.app import Gateway, owners_secret

ROUTERS = (
    oauth, clients, fleets, vehicles, edits, states, commands, audit, models, consumers, events, quarantine, decode, broker_auth,
    health,
)  # fmt: skip


def create_app(gateway: Gateway) -> FastAPI:
    """The API in front of an opened `gateway`. Raises OSError, ValueError if its token cannot be read or made."""
    app = bare_app()
    app.state.gateway, app.state.token = gateway, api_token(gateway.settings)
    app.state.tokens = Tokens(owners_secret(gateway.settings.provisioning_key_path), gateway.now_ms)
    app.state.tickets = Tickets(gateway.now_ms)
    app.add_middleware(Straight)
    return app


def bare_app() -> FastAPI:
    """The API in front of nothing: it can say what it is like."""
    app = FastAPI(title="teleloop", version=version("teleloop"), redoc_url=None)
    problems.install(app)
    for resource in ROUTERS:
        app.include_router(resource.router)
    openapi.specify(app)
    return app
