"""Frames that were refused, and the way in for the units that sent them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from gateway.api.access import FlowIdHere, GatewayHere, Reader, Writer
from gateway.api.problems import Problem
from gateway.api.schemas import AddedVehicle, ModelChoice, Page, QuarantinedFrame, VehicleRequest
from gateway.api.vehicles import PAGE_LIMIT, add_vehicles
from gateway.events import timestamp
from gateway.registry.quarantine import Quarantined

router = APIRouter(tags=["Quarantine"])


@router.get("/quarantine", summary="Refused frames", response_model=Page[QuarantinedFrame])
async def refused_frames(
    gateway: GatewayHere,
    client: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 100,
    cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$")] = None,
) -> Any:
    """Newest first, the newest 10,000. Frames of units that nobody has attached are for those who run the gateway."""
    before = None if cursor is None else int(cursor)
    entries = await gateway.registry.quarantine.page(
        client.fleet_id, with_strangers=client.operates, before=before, limit=limit + 1
    )
    more = len(entries) > limit
    entries = entries[:limit]
    return {"items": [_entry(entry) for entry in entries], "next_cursor": str(entries[-1].id) if more else None}


@router.post(
    "/quarantine/{entry_id}/vehicle",
    summary="Add the unit of a refused frame as a vehicle",
    status_code=201,
    response_model=AddedVehicle,
)
async def attach_stranger(
    gateway: GatewayHere, client: Writer, flow_id: FlowIdHere, response: Response, entry_id: int, wanted: ModelChoice
) -> Any:
    """As `POST /vehicles`, the unit being known from the frame."""
    entry = None
    if 0 <= entry_id < 1 << 63:
        entry = await gateway.registry.quarantine.entry(client.fleet_id, entry_id, with_strangers=client.operates)
    if entry is None:
        raise Problem(404, "not_found", f"there is no refused frame {entry_id}")
    unit = {"telematics_brand": entry.brand, "telematics_unit_id": entry.telematics_unit_id}
    try:
        request = VehicleRequest.model_validate(unit | wanted.model_dump())
    except ValidationError as error:
        raise Problem(422, "bad_unit_id", "the frame came under a name that no unit can have") from error
    return await add_vehicles(gateway, client, flow_id, response, request)


def _entry(entry: Quarantined) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": timestamp(entry.at),
        "telematics_unit": {"brand": entry.brand, "id": entry.telematics_unit_id},
        "vehicle_id": entry.vehicle_id,
        "reason": entry.reason,
        "offset": entry.offset,
        "field": entry.field,
        "size_bytes": entry.size_bytes,
        "data": entry.data.hex(),
    }
