"""Changes to vehicles: their data, their rental, their unit."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Response

from gateway.api.access import FlowIdHere, GatewayHere, Writer
from gateway.api.problems import Problem
from gateway.api.schemas import FIELDS_LIMIT, AddedVehicle, RentalRequest, UnitRequest, Vehicle, VehiclePatch
from gateway.api.vehicles import etag, let_in, shown
from gateway.registry.edits import NewUnit
from protocols.codec import UnitId

MERGE_PATCH = "application/merge-patch+json"
EXAMPLES = [{"master_data": {"remark": "winter tyres", "custom_name": None}, "tags": ["airport", "winter"]}]

router = APIRouter(tags=["Vehicles"])
IfMatch = Annotated[str | None, Header(max_length=200, description="only if the vehicle still has this ETag")]


@router.patch(
    "/vehicles/{vehicle_id}",
    summary="Change a vehicle's data",
    response_model=Vehicle,
    openapi_extra={
        "requestBody": {
            "content": {MERGE_PATCH: {"schema": {"$ref": "#/components/schemas/VehiclePatch"}, "example": EXAMPLES[0]}}
        }
    },
)
async def change_vehicle(
    gateway: GatewayHere,
    client: Writer,
    flow_id: FlowIdHere,
    response: Response,
    vehicle_id: str,
    said: Annotated[VehiclePatch, Body()],
    if_match: IfMatch = None,
) -> Any:
    """JSON merge patch (RFC 7396): what is left out stays, null removes. With `If-Match` nobody's change is overwritten: 412."""
    changes = said.model_dump(exclude_unset=True)
    if len(changes.get("master_data") or ()) > FIELDS_LIMIT:
        raise Problem(400, "validation", f"master_data has at most {FIELDS_LIMIT} fields")
    vehicle = await gateway.registry.edits.patch(client.fleet_id, vehicle_id, changes, flow_id, revisions=_revisions(if_match))
    response.headers["ETag"] = etag(vehicle)
    return vehicle.document(gateway.models)


@router.put("/vehicles/{vehicle_id}/rental-status", summary="Say whether a vehicle is in rental", response_model=Vehicle)
async def rent_vehicle(
    gateway: GatewayHere, client: Writer, flow_id: FlowIdHere, response: Response, vehicle_id: str, said: RentalRequest
) -> Any:
    """Where the fleet's trips follow the rental, one begins or ends."""
    vehicle = await gateway.registry.edits.rent(client.fleet_id, vehicle_id, said.rental_status, flow_id)
    response.headers["ETag"] = etag(vehicle)
    return vehicle.document(gateway.models)


@router.put("/vehicles/{vehicle_id}/telematics-unit", summary="Replace a vehicle's unit", response_model=AddedVehicle)
async def replace_unit(
    gateway: GatewayHere,
    client: Writer,
    flow_id: FlowIdHere,
    response: Response,
    vehicle_id: str,
    wanted: UnitRequest,
    if_match: IfMatch = None,
) -> Any:
    """The vehicle keeps its id, its history and its last values; its capabilities are derived again. The unit before is free.

    The answer shows the new unit's credentials, once.
    """
    unit = UnitId(wanted.telematics_brand, wanted.telematics_unit_id)
    new = NewUnit(unit, wanted.vehicle_model_id, wanted.vehicle_model, wanted.year)
    revisions = _revisions(if_match)
    added, before = await gateway.registry.edits.replace_unit(client.fleet_id, vehicle_id, new, flow_id, revisions=revisions)
    keys = gateway.registry.keys(unit, added.generation)
    warnings = await let_in(gateway, {unit: keys.password})
    if before != unit and await gateway.registry.login(before) is None:
        await gateway.detached(before)
    response.headers["ETag"] = etag(added.vehicle)
    return shown(gateway, added, keys, warnings)


def _revisions(if_match: str | None) -> frozenset[int] | None:
    """The revisions that are wanted, by their tags; None: any. What was never a tag of ours is no revision."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (re.fullmatch(r'"(\d{1,9})"', each.strip()) for each in if_match.split(","))
    return frozenset(int(tag[1]) for tag in tags if tag)
