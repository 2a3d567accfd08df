"""Who is who: vehicles, their units and secrets, what was last heard of them, what they were told to do."""

from gateway.registry.errors import (
    Archived,
    BadUnitId,
    BrandUnknown,
    ModelAmbiguous,
    ModelUnknown,
    RegistryError,
    TooManyConsumers,
    UnitTaken,
    Unknown,
    Unsealed,
    Wrong,
)
from gateway.registry.registry import Registry

__all__ = [
    "Archived",
    "BadUnitId",
    "BrandUnknown",
    "ModelAmbiguous",
    "ModelUnknown",
    "Registry",
    "RegistryError",
    "TooManyConsumers",
    "UnitTaken",
    "Unknown",
    "Unsealed",
    "Wrong",
]
