"""Fleets, for admins: those of the fleet `default` make and see all, others see and change their own."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.access import Access, Admin, GatewayHere, Operator
from gateway.api.problems import Problem
from gateway.api.schemas import FleetId, Moment, Page, Untold, Word
from gateway.events import timestamp
from gateway.memory import TripTrigger
from gateway.registry.fleets import Fleet

router = APIRouter(prefix="/fleets", tags=["Access"])


class FleetRequest(BaseModel):
    """A fleet to add."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"id": "hamburg", "name": "Hamburg"}]})

    id: FleetId | None = Field(None, description="none: one is made")
    name: Word
    trip_trigger: TripTrigger = "DRIVING_ENABLED"


class FleetPatch(BaseModel):
    """What is to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"trip_trigger": "IGNITION"}]})

    name: Word = Untold
    trip_trigger: TripTrigger = Untold


class FleetDocument(BaseModel):
    """A fleet. `trip_trigger` is what begins and ends its trips."""

    id: str = Field(examples=["hamburg"])
    name: str
    trip_trigger: TripTrigger
    created_at: Moment


@router.post("", summary="Add a fleet", status_code=201, response_model=FleetDocument)
async def add_fleet(gateway: GatewayHere, _: Operator, wanted: FleetRequest) -> Any:
    """For those who run the gateway."""
    return _document(await gateway.registry.fleets.add(wanted.id, wanted.name, wanted.trip_trigger))


@router.get("", summary="List fleets", response_model=Page[FleetDocument])
async def list_fleets(gateway: GatewayHere, admin: Admin) -> Any:
    """Oldest first."""
    known = await gateway.registry.fleets.known()
    return {"items": [_document(fleet) for fleet in known if _sees(admin, fleet.fleet_id)], "next_cursor": None}


@router.get("/{fleet_id}", summary="Show a fleet", response_model=FleetDocument)
async def show_fleet(gateway: GatewayHere, admin: Admin, fleet_id: str) -> Any:
    """One of those that you look after."""
    return _document(await _seen(gateway, admin, fleet_id))


@router.patch("/{fleet_id}", summary="Change a fleet", response_model=FleetDocument)
async def change_fleet(gateway: GatewayHere, admin: Admin, fleet_id: str, said: FleetPatch) -> Any:
    """Trips that are under way end by what they began with."""
    await _seen(gateway, admin, fleet_id)
    return _document(await gateway.registry.fleets.change(fleet_id, said.model_dump(exclude_unset=True)))


def _sees(admin: Access, fleet_id: str) -> bool:
    return admin.operates or admin.fleet_id == fleet_id


async def _seen(gateway: GatewayHere, admin: Access, fleet_id: str) -> Fleet:
    if not _sees(admin, fleet_id):
        raise Problem(404, "not_found", f"there is no fleet {fleet_id}")
    return await gateway.registry.fleets.get(fleet_id)


def _document(fleet: Fleet) -> dict[str, Any]:
    return {
        "id": fleet.fleet_id,
        "name": fleet.name,
        "trip_trigger": fleet.trip_trigger,
        "created_at": timestamp(fleet.created_at),
    }
