"""Who asked which command, when, and what came of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gateway.api.access import GatewayHere, Reader
from gateway.api.schemas import Moment, Page
from gateway.api.vehicles import PAGE_LIMIT
from gateway.app import Gateway
from gateway.events import timestamp
from gateway.registry.commands import StoredCommand

router = APIRouter(tags=["Commands"])
Cursor = Annotated[str | None, Query(pattern="^[0-9]{1,18}$")]
Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT)]


class AskedCommand(BaseModel):
    """A command that was asked for. `status` is what the request was answered with; null: nobody knows what came of it."""

    id: int
    vehicle_id: str
    name: str = Field(examples=["unlock-central-lock"])
    client: str = Field(description="id of the client that asked; `api-token`: the gateway's own command line")
    flow_id: str
    asked_at: Moment
    finished_at: Moment | None
    status: int | None = Field(examples=[200])
    reason: str | None = Field(examples=["ignition_on"])


@router.get("/vehicles/{vehicle_id}/commands", summary="Commands of a vehicle", response_model=Page[AskedCommand])
async def commands_of_vehicle(
    gateway: GatewayHere, client: Reader, vehicle_id: str, limit: Limit = 100, cursor: Cursor = None
) -> Any:
    """Newest first, of the last 90 days."""
    await gateway.registry.vehicles.get(client.fleet_id, vehicle_id)
    return await _page(gateway, client.fleet_id, vehicle_id, limit, cursor)


@router.get("/audit/commands", summary="Commands of all vehicles", response_model=Page[AskedCommand])
async def all_commands(gateway: GatewayHere, client: Reader, limit: Limit = 100, cursor: Cursor = None) -> Any:
    """Newest first, of the last 90 days; also of vehicles that are archived or purged."""
    return await _page(gateway, client.fleet_id, None, limit, cursor)


async def _page(gateway: Gateway, fleet_id: str, vehicle_id: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
    before = None if cursor is None else int(cursor)
    asked = await gateway.registry.commands.page(fleet_id, vehicle_id=vehicle_id, before=before, limit=limit + 1)
    more, asked = len(asked) > limit, asked[:limit]
    return {"items": [_document(each) for each in asked], "next_cursor": str(asked[-1].id) if more else None}


def _document(asked: StoredCommand) -> dict[str, Any]:
    return {
        "id": asked.id,
        "vehicle_id": asked.vehicle_id,
        "name": asked.name,
        "client": asked.client,
        "flow_id": asked.flow_id,
        "asked_at": timestamp(asked.asked_at),
        "finished_at": None if asked.finished_at is None else timestamp(asked.finished_at),
        "status": asked.status,
        "reason": asked.reason,
    }
