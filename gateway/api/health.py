"""How the gateway is: for whoever watches over it. Open to all: it tells nothing of fleets."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api.access import GatewayHere
from gateway.api.schemas import Readiness

router = APIRouter(tags=["Operation"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """It answers, so it does."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether the gateway can do its work",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A dependency is down"}},
)
async def readyz(gateway: GatewayHere, response: Response) -> Any:
    """Each dependency by its name."""
    dependencies = await gateway.ready()
    ready = all(dependencies.values())
    response.status_code = 200 if ready else 503
    return {"ready": ready, "dependencies": dependencies}


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
