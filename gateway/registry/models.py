"""Which vehicle model a request means."""

from gateway.registry.errors import ModelAmbiguous, ModelUnknown
from modeldb import Database
from modeldb.model import VehicleModel


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
