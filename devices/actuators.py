"""What each command asks of the vehicle before it moves anything, and what it then moves."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from devices.vehicle import Vehicle

Precondition: TypeAlias = "Callable[[Vehicle], str | None]"
"""The word for why not, None if nothing is in the way."""

Act: TypeAlias = "Callable[[Vehicle], None]"


def _free(vehicle: "Vehicle") -> str | None:
    return None


def _standing(vehicle: "Vehicle") -> str | None:
    return "in_motion" if vehicle.in_motion else None


def _switched_off(vehicle: "Vehicle") -> str | None:
    return _standing(vehicle) or ("ignition_on" if vehicle.ignition else None)


def _closed(vehicle: "Vehicle") -> str | None:
    if vehicle.ignition:
        return "ignition_on"
    return "door_open" if vehicle.doors_open else None


def _returned(vehicle: "Vehicle") -> str | None:
    return _closed(vehicle) or (None if vehicle.fob_in_holder else "key_missing")


def _top_case_shut(vehicle: "Vehicle") -> str | None:
    return "door_open" if vehicle.top_case_open else None


def _lock(vehicle: "Vehicle", locked: bool) -> None:
    vehicle.set_lock(locked)


def _enable(vehicle: "Vehicle", enabled: bool) -> None:
    vehicle.driving_enabled = enabled


def _lock_and_enable(vehicle: "Vehicle", locked: bool) -> None:
    vehicle.set_lock(locked)
    vehicle.driving_enabled = not locked


ACTS: Mapping[str, tuple[Precondition, Act]] = {
    "request-vehicle-state": (_free, lambda vehicle: None),
    "enable-driving": (_free, lambda vehicle: _enable(vehicle, True)),
    "disable-driving": (_standing, lambda vehicle: _enable(vehicle, False)),
    "lock-central-lock": (_closed, lambda vehicle: _lock(vehicle, True)),
    "unlock-central-lock": (_switched_off, lambda vehicle: _lock(vehicle, False)),
    "lock-and-disable-driving": (_returned, lambda vehicle: _lock_and_enable(vehicle, True)),
    "unlock-and-enable-driving": (_switched_off, lambda vehicle: _lock_and_enable(vehicle, False)),
    "lock-top-case": (_top_case_shut, lambda vehicle: vehicle.set_top_case_lock(True)),
    "unlock-top-case": (_standing, lambda vehicle: vehicle.set_top_case_lock(False)),
    "draw-attention": (_free, lambda vehicle: None),
    "unlock-battery-compartment": (_switched_off, lambda vehicle: vehicle.open_battery_compartment()),
}
"""Command name to its precondition and its act."""
