"""Commands: synchronous, truthful, safe to repeat under an Idempotency-Key."""

from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response

from gateway.api.access import Access, Commander, FlowIdHere, GatewayHere
from gateway.api.problems import Problem
from gateway.api.schemas import VehicleState
from gateway.app import Gateway
from modeldb.vocabulary import COMMANDS

TIMEOUT_S = 30
TIMEOUT_LIMIT_S = 290
"""A command's envelope lives 300 s at most."""

DETAILS = {
    "idempotency_key_reused": "this Idempotency-Key was used for another command",
    "too_many_commands": "one command is under way for this unit and three are waiting",
    "busy": "the unit was busy with other commands; this one was never sent",
    "unit_offline": "the unit is offline; the command was never sent",
    "gateway_unavailable": "a part of the gateway is down; the command was never sent",
    "no_answer": "sent, but not answered in time: whether it was done is unknown; repeat with the same Idempotency-Key",
    "ignition_on": "the ignition is on; nothing was done",
    "in_motion": "the vehicle is in motion; nothing was done",
    "door_open": "a door is open; nothing was done",
    "key_missing": "the key is not in its place; nothing was done",
    "not_fitted": "the vehicle has no such part; nothing was done",
    "expired": "the command reached the unit after its time; nothing was done",
    "actuator_failed": "the vehicle tried and could not",
}

KEY_LIMIT = 255
"""Characters of an Idempotency-Key."""

router = APIRouter(tags=["Commands"])


class Asked(NamedTuple):
    """What a request asks for, once it is understood."""

    vehicle_id: str
    name: str
    timeout_s: float = TIMEOUT_S
    idempotency_key: str | None = None


@router.post(
    "/vehicles/{vehicle_id}/commands/{name}",
    summary="Command a vehicle",
    response_model=VehicleState,
    response_description="The vehicle did it; its updated state",
)
async def command(
    gateway: GatewayHere,
    client: Commander,
    flow_id: FlowIdHere,
    vehicle_id: str,
    name: Annotated[str, Path(json_schema_extra={"enum": list(COMMANDS)})],
    timeout: Annotated[float, Query(gt=0, le=TIMEOUT_LIMIT_S, description="seconds to wait for the unit's answer")] = TIMEOUT_S,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=KEY_LIMIT, description="remembered for 24 hours: the same key is never done twice"),
    ] = None,
) -> Any:
    """200: done. 409, 422, 429, 503: nothing was done. 504: sent, but unknown whether done."""
    if name not in COMMANDS:
        raise Problem(404, "unknown_command", f"there is no command {name}")
    asked = Asked(vehicle_id, name, timeout, idempotency_key)
    return Response(await carried_out(gateway, client, flow_id, asked), media_type="application/json")


async def carried_out(gateway: Gateway, client: Access, flow_id: str, asked: Asked) -> bytes:
    """The vehicle's updated state in JSON, once it has done it. Raises Problem, RegistryError."""
    vehicle_id, name = asked.vehicle_id, asked.name

    async def refused(problem: Problem) -> Problem:
        status, reason, log = problem.status, problem.reason, gateway.registry.commands
        await log.refused(vehicle_id, client.fleet_id, name, status=status, reason=reason, flow_id=flow_id, client=client.client)
        return problem

    attached = gateway.registry.at_hand(vehicle_id)
    if attached is None or attached[0].fleet_id != client.fleet_id:
        known = await gateway.registry.vehicles.get(client.fleet_id, vehicle_id)
        if known.archived_at is not None:
            raise await refused(Problem(409, "archived", f"the vehicle {vehicle_id} is archived"))
        attached = (await gateway.registry.find([known.unit])).get(known.unit)
    if attached is None or attached[0].vehicle_id != vehicle_id:
        raise Problem(503, "gateway_unavailable", "the vehicle's model is not in the model database")
    vehicle, _ = attached
    if name not in vehicle.model.units[vehicle.unit.brand].commands:
        raise await refused(Problem(409, "capability_missing", f"the vehicle {vehicle_id} cannot {name}"))
    outcome = await gateway.command(
        vehicle,
        name,
        flow_id=flow_id,
        timeout_s=asked.timeout_s,
        idempotency_key=asked.idempotency_key,
        client=client.client,
    )
    if outcome.status != 200:
        reason = outcome.reason or "failed"
        raise Problem(outcome.status, reason, DETAILS.get(reason, ""))
    return msgspec.json.encode(outcome.state or {})
