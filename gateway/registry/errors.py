"""What the registry cannot do, one class a case; the interface above decides what status that is."""

from collections.abc import Sequence

from modeldb.model import VehicleModel
from protocols.codec import UnitId


class RegistryError(Exception):
    """The request cannot be done and nothing was done. The message is one sentence for people."""


class Unknown(RegistryError):
    """There is no such thing in this fleet."""


class Wrong(RegistryError):
    """The request is not understood."""


class Archived(RegistryError):
    """The vehicle is archived, so this cannot be done to it."""


class BrandUnknown(RegistryError):
    """There is no such brand of telematics units."""


class UnitTaken(RegistryError):
    """The unit is attached to a live vehicle already."""

    def __init__(self, unit: UnitId) -> None:
        super().__init__(f"the unit {unit} is attached to a vehicle already")


class TooManyConsumers(RegistryError):
    """The fleet has as many event consumers as it may."""


class TooManyClients(RegistryError):
    """The fleet has as many API clients as it may."""


class TooManyFields(RegistryError):
    """The vehicle would have more fields than it may."""


class FleetTaken(RegistryError):
    """There is a fleet of that id."""


class Stale(RegistryError):
    """What is to be changed is no longer what the caller saw."""


class BadUnitId(RegistryError):
    """The id cannot be one of that brand's."""


class Unsealed(RegistryError):
    """The brand's frames carry no seal, and this gateway trusts neither broker nor network to say who speaks."""

    def __init__(self, brand: str) -> None:
        super().__init__(
            f"units of {brand} do not seal their frames: they need a broker that is trusted (TELELOOP_TRUST_BROKER), "
            "or a TCP listener for their protocol on a network that is (TELELOOP_TRUST_TCP)"
        )


class ModelUnknown(RegistryError):
    """No such model behind units of that brand. `candidates` are those there are."""

    def __init__(self, message: str, candidates: Sequence[VehicleModel]) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class ModelAmbiguous(ModelUnknown):
    """More than one model fits. `candidates` are those that do."""
