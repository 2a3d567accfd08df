"""Vehicles: add, list, show, archive, restore, new credentials."""

from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Body, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, WithJsonSchema

from gateway.api.access import FlowIdHere, GatewayHere, Reader, Writer
from gateway.api.problems import Problem, invalid, problem_of
from gateway.api.schemas import (
    FIELDS_LIMIT,
    AddedVehicle,
    Bulk,
    Credentials,
    LifeStatusValue,
    Page,
    Vehicle,
    VehicleRequest,
    Word,
)
from gateway.app import Gateway
from gateway.brokers.logins import BrokerFailed
from gateway.registry import RegistryError
from gateway.registry.listing import VehicleFilter
from gateway.registry.record import OperationStatus, VehicleRecord
from gateway.registry.vehicles import Added, NewVehicle
from protocols.codec import UnitId
from protocols.keys import UnitKeys

Words = Annotated[list[Word], Field(max_length=FIELDS_LIMIT)]
Pair = Annotated[str, StringConstraints(max_length=1_100, pattern=r"^[^\x00:]+:[^\x00]*$")]
BULK_LIMIT = 1_000
PAGE_LIMIT = 1_000
NO_LOGIN_YET = "the units' broker does not take the login at this moment: ask for new credentials later"

log = structlog.get_logger(__name__)
router = APIRouter(tags=["Vehicles"])

ITEM = {"anyOf": [{"$ref": "#/components/schemas/VehicleRequest"}, {"description": "is answered with its own 400"}]}
AnyRequest = Annotated[Any, WithJsonSchema(ITEM)]
_request = TypeAdapter(VehicleRequest)


@router.post(
    "/vehicles",
    summary="Add one vehicle, or many",
    status_code=201,
    response_model=AddedVehicle,
    responses={207: {"model": Bulk, "description": "A list was sent: what came of each"}},
)
async def add_vehicles(
    gateway: GatewayHere,
    client: Writer,
    flow_id: FlowIdHere,
    response: Response,
    wanted: Annotated[VehicleRequest | Annotated[list[AnyRequest], Body(max_length=BULK_LIMIT)], Body()],
) -> Any:
    """The answer shows the unit's credentials, once. Of a list each item is answered on its own."""
    if isinstance(wanted, VehicleRequest):
        added, keys = await _add(gateway, client.fleet_id, wanted, flow_id)
        return shown(gateway, added, keys, await let_in(gateway, {added.vehicle.unit: keys.password}))
    response.status_code = 207
    outcomes = await _add_all(gateway, client.fleet_id, wanted, flow_id)
    logins = {each[0].vehicle.unit: each[1].password for each in outcomes if isinstance(each, tuple)}
    warnings = await let_in(gateway, logins)
    return Response(
        Bulk(items=[_item(gateway, each, warnings, flow_id) for each in outcomes]).model_dump_json(exclude_none=False),
        207,
        media_type="application/json",
    )


def _item(gateway: Gateway, outcome: tuple[Added, UnitKeys] | Problem, warnings: list[str], flow_id: str) -> Any:
    if isinstance(outcome, Problem):
        return {"status": outcome.status, "problem": outcome.document(flow_id)}
    return {"status": 201, "vehicle": shown(gateway, *outcome, warnings)}


async def _add(gateway: Gateway, fleet_id: str, wanted: VehicleRequest, flow_id: str) -> tuple[Added, UnitKeys]:
    added = await gateway.registry.vehicles.add(fleet_id, _new(wanted), flow_id)
    return added, gateway.registry.keys(added.vehicle.unit, added.generation)


async def _add_all(
    gateway: Gateway, fleet_id: str, wanted: Sequence[Any], flow_id: str
) -> list[tuple[Added, UnitKeys] | Problem]:
    """What came of each of a list: those that are understood are added together."""
    problems: dict[int, Problem] = {}
    understood: dict[int, NewVehicle] = {}
    for place, each in enumerate(wanted):
        try:
            understood[place] = _new(_request.validate_python(each))
        except ValidationError as error:
            problems[place] = invalid(RequestValidationError(error.errors()))
        except Problem as problem:
            problems[place] = problem
    added = await gateway.registry.vehicles.add_all(fleet_id, list(understood.values()), flow_id)
    outcomes = dict(zip(understood, added, strict=True))
    return [problems[place] if place in problems else _outcome(gateway, outcomes[place]) for place in range(len(wanted))]


def _outcome(gateway: Gateway, outcome: Added | RegistryError) -> tuple[Added, UnitKeys] | Problem:
    if isinstance(outcome, RegistryError):
        return problem_of(outcome)
    return outcome, gateway.registry.keys(outcome.vehicle.unit, outcome.generation)


def _new(wanted: VehicleRequest) -> NewVehicle:
    master_data = wanted.master_data.model_dump(exclude_unset=True)
    if len(master_data) > FIELDS_LIMIT:
        raise Problem(400, "validation", f"master_data has at most {FIELDS_LIMIT} fields")
    return NewVehicle(
        UnitId(wanted.telematics_brand, wanted.telematics_unit_id),
        wanted.vehicle_model_id,
        wanted.vehicle_model,
        wanted.year,
        master_data,
        wanted.custom_fields,
        wanted.tags,
        wanted.operation_status,
    )


async def let_in(gateway: Gateway, logins: dict[UnitId, str]) -> list[str]:
    """Give the broker these logins; a warning if it does not take them: the vehicles are added all the same."""
    try:
        if logins:
            await gateway.logins.put(logins)
    except BrokerFailed as error:
        log.error("the units' broker does not take logins", error=str(error))
        return [NO_LOGIN_YET]
    return []


def shown(gateway: Gateway, added: Added, keys: UnitKeys, warnings: list[str]) -> dict[str, Any]:
    document = added.vehicle.document(gateway.models)
    return document | {"credentials": credentials(added.vehicle.unit, keys), "warnings": [*added.warnings, *warnings]}


def etag(vehicle: VehicleRecord) -> str:
    """Names the vehicle's revision: what its unit reports does not make another."""
    return f'"{vehicle.revision}"'


def credentials(unit: UnitId, keys: UnitKeys) -> dict[str, Any]:
    return {
        "user_name": str(unit),
        "password": keys.password,
        "seal_key": keys.seal.hex(),
        "command_key": keys.command.hex(),
        "generation": keys.generation,
    }


@router.get("/vehicles", summary="List vehicles", response_model=Page[Vehicle])
async def list_vehicles(
    gateway: GatewayHere,
    client: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    brand: Annotated[Word | None, Query(description="telematics brand")] = None,
    model: Annotated[Word | None, Query(description="vehicle model id")] = None,
    operation_status: OperationStatus | None = None,
    life_status: LifeStatusValue | None = None,
    q: Annotated[str | None, Query(max_length=200, description="part of a value of master data or custom fields")] = None,
    tag: Annotated[Words | None, Query(description="has all of these tags")] = None,
    custom_field: Annotated[
        Annotated[list[Pair], Field(max_length=FIELDS_LIMIT)] | None,
        Query(description="`name:value`; has all of these custom fields", examples=["bay:42"]),
    ] = None,
    archived: Annotated[bool, Query(description="the archived ones instead of the live ones")] = False,
) -> Any:
    """In the order they were added; pages stay whole while vehicles are added and archived."""
    online = None if life_status is None else life_status == "ONLINE"
    wanted = VehicleFilter(brand, model, operation_status, online, archived, q, tag or (), custom_field or ())
    found, after = await gateway.registry.vehicles.page(client.fleet_id, wanted, cursor=cursor, limit=limit)
    return {"items": [vehicle.document(gateway.models) for vehicle in found], "next_cursor": after}


@router.get("/vehicles/{vehicle_id}", summary="Show a vehicle", response_model=Vehicle)
async def show_vehicle(gateway: GatewayHere, client: Reader, response: Response, vehicle_id: str) -> Any:
    """Archived vehicles are shown too, until they are purged after 90 days. `ETag` names the revision that people have made."""
    vehicle = await gateway.registry.vehicles.get(client.fleet_id, vehicle_id)
    response.headers["ETag"] = etag(vehicle)
    return vehicle.document(gateway.models)


@router.post("/vehicles/{vehicle_id}/archive", summary="Take a vehicle out of operation", response_model=Vehicle)
async def archive_vehicle(gateway: GatewayHere, client: Writer, flow_id: FlowIdHere, vehicle_id: str) -> Any:
    """At once: no commands, data frozen, unit refused and logged out. Kept 90 days."""
    vehicle = await gateway.registry.vehicles.archive(client.fleet_id, vehicle_id, flow_id)
    if await gateway.registry.login(vehicle.unit) is None:
        await gateway.detached(vehicle.unit)
    return vehicle.document(gateway.models)


@router.post("/vehicles/{vehicle_id}/restore", summary="Take an archived vehicle back into operation", response_model=Vehicle)
async def restore_vehicle(gateway: GatewayHere, client: Writer, flow_id: FlowIdHere, vehicle_id: str) -> Any:
    """The same vehicle with the same id, state and credentials, unless its unit has gone to another vehicle since."""
    vehicle = await gateway.registry.vehicles.restore(client.fleet_id, vehicle_id, flow_id)
    password = await gateway.registry.login(vehicle.unit)
    if password is not None:
        await gateway.attached(vehicle.unit, password)
    return vehicle.document(gateway.models)


@router.post(
    "/vehicles/{vehicle_id}/telematics-unit/credentials",
    summary="Issue new credentials for the vehicle's unit",
    status_code=201,
    response_model=Credentials,
)
async def issuecredentials(gateway: GatewayHere, client: Writer, flow_id: FlowIdHere, vehicle_id: str) -> Any:
    """The next generation; the broker takes its password at once, the older keys stay valid until the unit uses the new."""
    added = await gateway.registry.edits.reissue(client.fleet_id, vehicle_id, flow_id)
    keys = gateway.registry.keys(added.vehicle.unit, added.generation)
    await gateway.attached(added.vehicle.unit, keys.password)
    return credentials(added.vehicle.unit, keys)
