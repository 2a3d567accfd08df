"""Which unit and which vehicle model a request means."""

import string
from collections.abc import Collection

from gateway.registry.errors import BadUnitId, BrandUnknown, ModelAmbiguous, ModelUnknown, Unsealed
from modeldb import Database
from modeldb.model import VehicleModel
from protocols.codec import UnitId

UNIT_ID_LETTERS = frozenset(string.ascii_letters + string.digits + "-_")
"""What a unit id may be made of, whatever its brand: it becomes an MQTT topic level, a client id and a line of a login file."""


def checked_unit(models: Database, unit: UnitId, *, believed: Collection[str]) -> list[str]:
    """What is odd about a unit id. Raises BrandUnknown, BadUnitId, and Unsealed if the brand's units need a trusted broker."""
    brand = models.brands.get(unit.brand)
    if brand is None:
        raise BrandUnknown(f"there is no telematics brand {unit.brand}; known are {', '.join(sorted(models.brands))}")
    if not set(unit.telematics_unit_id) <= UNIT_ID_LETTERS:
        raise BadUnitId("a unit id is made of letters, digits, - and _")
    try:
        warnings = brand.check_unit_id(unit.telematics_unit_id)
    except ValueError as error:
        raise BadUnitId(str(error)) from error
    if not brand.sealed and brand.protocol not in believed:
        raise Unsealed(brand.name)
    return warnings


def chosen_model(
    models: Database, brand: str, vehicle_model_id: str | None, vehicle_model: str | None, year: int | None
) -> VehicleModel:
    """The model of this id, or of this name built in this year, behind units of `brand`.

    Raises ModelUnknown (also if neither is said) and ModelAmbiguous, with the candidates.
    """
    available = models.available(brand)
    if vehicle_model_id is not None:
        for model in available:
            if model.id == vehicle_model_id:
                return model
        raise ModelUnknown(f"units of {brand} know no vehicle model {vehicle_model_id}", available)
    if vehicle_model is None:
        raise ModelUnknown("a vehicle_model_id is wanted, or a vehicle_model and its year", available)
    found = models.find(brand, vehicle_model, year)
    when = "" if year is None else f" of {year}"
    if not found:
        named = models.find(brand, vehicle_model)
        raise ModelUnknown(f"units of {brand} know no vehicle model {vehicle_model}{when}", named or available)
    if len(found) > 1:
        raise ModelAmbiguous(f"{len(found)} vehicle models are called {vehicle_model}{when}", found)
    return found[0]
