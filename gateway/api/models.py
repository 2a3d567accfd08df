"""The model database: brands of units, and the vehicle models that they know."""

from typing import Any

from fastapi import APIRouter

from gateway.api.access import GatewayHere, Reader
from gateway.api.problems import Problem
from gateway.api.schemas import Page, TelematicsBrand, VehicleModel
from modeldb.brand import Brand
from modeldb.model import VehicleModel as Model

router = APIRouter(tags=["Model database"])


@router.get("/telematics-brands", summary="Brands of telematics units", response_model=Page[TelematicsBrand])
async def brands(gateway: GatewayHere, _: Reader) -> Any:
    """All that this gateway knows."""
    return {"items": [_brand(brand) for _, brand in sorted(gateway.models.brands.items())], "next_cursor": None}


@router.get(
    "/telematics-brands/{brand}/available-vehicle-models",
    summary="Vehicle models behind units of a brand",
    response_model=Page[VehicleModel],
)
async def available_models(gateway: GatewayHere, _: Reader, brand: str) -> Any:
    """What a vehicle with a unit of this brand can be."""
    if brand not in gateway.models.brands:
        raise Problem(404, "not_found", f"there is no telematics brand {brand}")
    return {"items": [_model(model) for model in gateway.models.available(brand)], "next_cursor": None}


@router.get("/vehicle-models/{vehicle_model_id}", summary="A vehicle model", response_model=VehicleModel)
async def vehicle_model(gateway: GatewayHere, _: Reader, vehicle_model_id: str) -> Any:
    """What its vehicles can do and report, behind units of each brand."""
    model = gateway.models.models.get(vehicle_model_id)
    if model is None:
        raise Problem(404, "not_found", f"there is no vehicle model {vehicle_model_id}")
    return _model(model)


def _brand(brand: Brand) -> dict[str, Any]:
    return {
        "name": brand.name,
        "kind": brand.kind,
        "protocol": brand.protocol,
        "unit_id": brand.id_form,
        "unit_id_pattern": brand.id_pattern,
        "credential": brand.credential,
        "heartbeat_s": brand.heartbeat_s,
        "sealed": brand.sealed,
        "commands": list(brand.commands),
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "brand": model.make,
        "name": model.name,
        "type": model.type,
        "start_of_production": model.start_of_production.isoformat(),
        "end_of_production": model.end_of_production.isoformat() if model.end_of_production else None,
        "regions": list(model.regions),
        "version": model.version,
        "units": [
            {
                "telematics_brand": brand,
                "commands": list(translation.commands),
                "vehicle_state": [key.upper() for key in translation.state_keys],
            }
            for brand, translation in model.units.items()
        ],
    }
