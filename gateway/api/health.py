"""How the gateway is: for whoever watches over it. Open to all: it tells nothing of fleets."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api.access import GatewayHere
from gateway.api.problems import MEDIA_TYPE, Problem
from gateway.api.schemas import NotReady, Readiness

router = APIRouter(tags=["Operation"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """It answers, so it does."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether the gateway can do its work",
    response_model=Readiness,
    responses={503: {"description": "A dependency is down", "content": {MEDIA_TYPE: {"schema": NotReady.model_json_schema()}}}},
)
async def readyz(gateway: GatewayHere) -> Any:
    """Each dependency by its name."""
    dependencies = await gateway.ready()
    if not all(dependencies.values()):
        down = ", ".join(name for name, works in dependencies.items() if not works)
        raise Problem(503, "not_ready", f"not to be worked with: {down}", ready=False, dependencies=dependencies)
    return {"ready": True, "dependencies": dependencies}


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(gateway: GatewayHere) -> Response:
    """The text format of Prometheus."""
    gateway.metrics.units_online.set(await gateway.registry.vehicles.online())
    return Response(gateway.metrics.render(), media_type=CONTENT_TYPE_LATEST)
