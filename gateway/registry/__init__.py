"""Who is who: vehicles, their units and secrets, what was last heard of them, what they were told to do."""

from gateway.registry.errors import (
    Archived,
    BadUnitId,
    BrandUnknown,
    FleetTaken,
    ModelAmbiguous,
    ModelUnknown,
    RegistryError,
    Stale,
    TooManyClients,
    TooManyConsumers,
    TooManyFields,
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
    "FleetTaken",
    "ModelAmbiguous",
    "ModelUnknown",
    "Registry",
    "RegistryError",
    "Stale",
    "TooManyClients",
    "TooManyConsumers",
    "TooManyFields",
    "UnitTaken",
    "Unknown",
    "Unsealed",
    "Wrong",
]
