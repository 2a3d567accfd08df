"""The REST API: one file a resource."""

from importlib.metadata import version

from fastapi import FastAPI

from gateway.api import commands, consumers, events, health, models, openapi, problems, quarantine, states, vehicles
from gateway.api.access import Tickets, api_token
from gateway.app import Gateway

ROUTERS = (vehicles, states, commands, models, consumers, events, quarantine, health)


def create_app(gateway: Gateway) -> FastAPI:
    """The API in front of an opened `gateway`. Raises OSError, ValueError if its token cannot be read or made."""
    app = FastAPI(title="teleloop", version=version("teleloop"), redoc_url=None)
    app.state.gateway, app.state.token = gateway, api_token(gateway.settings)
    app.state.tickets = Tickets(gateway.now_ms)
    problems.install(app)
    for resource in ROUTERS:
        app.include_router(resource.router)
    openapi.specify(app)
    return app
