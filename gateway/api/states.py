"""Latest vehicle states."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from gateway.api.access import GatewayHere, Reader
from gateway.api.schemas import Page, StateOfVehicle, VehicleState
from gateway.api.vehicles import PAGE_LIMIT
from gateway.app import Gateway
from gateway.changes import shown
from gateway.memory import Memory
from gateway.registry.record import VehicleRecord

router = APIRouter(tags=["Vehicle state"])


@router.get("/vehicles/{vehicle_id}/latest-vehicle-state", summary="Latest state of a vehicle", response_model=VehicleState)
async def latest_state(gateway: GatewayHere, client: Reader, vehicle_id: str) -> Response:
    """The newest value of each property that the vehicle supports and has reported."""
    vehicle = await gateway.registry.vehicles.get(client.fleet_id, vehicle_id)
    known = await gateway.registry.vehicles.memories([vehicle_id])
    return _json(_supported(gateway, vehicle, known.get(vehicle_id)))


@router.get("/latest-vehicle-states", summary="Latest states of all vehicles", response_model=Page[StateOfVehicle])
async def latest_states(
    gateway: GatewayHere,
    client: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Of the live vehicles, in the order they were added."""
    found, after = await gateway.registry.vehicles.page(client.fleet_id, cursor=cursor, limit=limit)
    known = await gateway.registry.vehicles.memories([vehicle.vehicle_id for vehicle in found])
    items = [
        {"vehicle_id": each.vehicle_id, "vehicle_state": _supported(gateway, each, known.get(each.vehicle_id))} for each in found
    ]
    return _json({"items": items, "next_cursor": after})


def _supported(gateway: Gateway, vehicle: VehicleRecord, memory: Memory | None) -> dict[str, Any]:
    model = gateway.models.models.get(vehicle.vehicle_model_id)
    translation = model.units.get(vehicle.unit.brand) if model else None
    if memory is None or translation is None:
        return {}
    return shown({key: memory.state[key] for key in translation.state_keys if key in memory.state})


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
