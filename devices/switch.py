"""Switching units on: which firmware speaks which protocol."""

from collections.abc import Callable, Mapping

from devices.autoapi import AutoApiUnit
from devices.brief import BriefUnit
from devices.config import UnitConfig
from devices.firmware import Firmware
from devices.flash import Flash, Store, volatile
from devices.gbt32960 import Gbt32960Unit
from devices.teltonika import TeltonikaUnit
from devices.vehicle import Vehicle

FirmwareFactory = Callable[[UnitConfig, Flash, Vehicle, Store], Firmware]

FACTORIES: Mapping[str, FirmwareFactory] = {
    "autoapi": AutoApiUnit,
    "cloudboxx": BriefUnit,
    "gbt32960": Gbt32960Unit,
    "teltonika": TeltonikaUnit,
}


def switch_on(protocol: str, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile) -> Firmware:
    """The firmware for units that speak `protocol` ("cloudboxx"). Raises ValueError where there is none."""
    factory = FACTORIES.get(protocol)
    if factory is None:
        raise ValueError(f"no simulated unit speaks {protocol}")
    return factory(config, flash, vehicle, store)
