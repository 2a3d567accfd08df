"""What many vehicles measure, and their units know, as columns: the twin of `shown.measures` and `senses.own_values`.

The same arithmetic in the same order, so that each number is the one that a vehicle alone gives, to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.columns import Columns, Matrix
from devices.physics import (
    ADBLUE,
    ATMOSPHERE_KPA,
    CAPACITY,
    CHARGING,
    COLD,
    COLD_CELSIUS,
    CONSUMPTION,
    DISTANCE,
    ENERGY,
    IGNITION,
    LIGHTS,
    LOW_BATTERY,
    ODOMETER,
    OUTSIDE_C,
    SPEED,
    TIRE_C,
)
from devices.senses import BACKUP_MV, FIRST_CELL, GNSS_FIX, HDOP, NETWORK, OWN, lock_bits
from devices.shown import MEASURES, Measures
from devices.vehicle import DROP_VOLTS, RANGE_SHOWN_KM, Vehicle

Rows = NDArray[np.intp]

DATE = "brake_fluid_due_date"

PARTS = tuple(
    part for key in MEASURES if key != DATE for part in ([(key, "lat"), (key, "lon")] if key == "position" else [(key, None)])
)
"""What `read` has columns of measures for: a property of MEASURES, or a part of one. A date is no number."""

OWN_CONSTANTS = {"gnss_fix": GNSS_FIX, "gnss_hdop": HDOP, "backup_voltage": BACKUP_MV, "network": NETWORK}
OWN_MOVING = tuple(name for name in OWN if name not in OWN_CONSTANTS)
_HEADING = OWN_MOVING.index("heading")

COLUMN: dict[tuple[str, str | None], int] = {part: at for at, part in enumerate(PARTS)}
_WHOLE = frozenset({"cellular_signal_quality", "satellites_in_use"})


def volts(vehicles: Sequence[Vehicle], state: Matrix, system: Matrix) -> tuple[Matrix, Matrix]:
    """In many vehicles' wires, and at their units' pins; `system` are their nominal voltages."""
    charge = state[:, LOW_BATTERY]
    rest = 11.4 + 1.3 * charge - 45.0 * np.maximum(0.0, 0.1 - charge) - np.where(state[:, LIGHTS] > 0, 0.3, 0.0)
    fed = (state[:, IGNITION] > 0) | (state[:, CHARGING] > 0)
    onboard = system / 12 * np.where(fed, 13.2 + 1.0 * charge, rest)
    forced = np.array([vehicle.forced_supply_volts for vehicle in vehicles], np.float64)
    return onboard, np.where(np.isnan(forced), onboard - DROP_VOLTS, forced)


def read(
    columns: Columns, rows: Rows, state: Matrix, vehicles: Sequence[Vehicle], onboard: Matrix, supply: Matrix
) -> tuple[Matrix, Matrix]:
    """Of vehicles at `rows` with this `state` and these volts: what they measure, by PARTS; what units know, by OWN_MOVING."""
    s = np.ascontiguousarray(state.T)
    driven = s[DISTANCE]
    latitude, longitude, heading, altitude = columns.whereabouts(rows, driven).T
    heard = np.rint(-75 - 20 * np.sin(driven / 900) ** 2)
    satellites = np.array([each.satellites for each in vehicles], np.float64)
    kwh, usual = columns.built[rows, CAPACITY], columns.fixed[rows, 0]
    left = s[ENERGY] / 100 * kwh / np.maximum(0.5 * usual, s[CONSUMPTION])
    warm = (s[COLD] + ATMOSPHERE_KPA) * (s[OUTSIDE_C] + s[TIRE_C] + 273.15) / (COLD_CELSIUS + 273.15) - ATMOSPHERE_KPA
    measured = np.array(
        [
            s[ADBLUE], altitude, np.minimum(5, np.maximum(0, (heard + 120) // 10)), heading, s[ODOMETER], onboard, latitude,
            longitude, np.minimum(RANGE_SHOWN_KM, left), satellites, s[SPEED], s[ENERGY], supply, *np.maximum(0.0, warm),
        ]
    )  # fmt: skip
    own = np.array(
        [
            latitude * 1e7, longitude * 1e7, altitude, heading * 100, s[SPEED] * 100, satellites, supply * 1000,
            250 + 40 * np.sin(driven / 5_000), heard, FIRST_CELL + driven // 1_500 % 8,
            [lock_bits(each) for each in vehicles],
        ]
    )  # fmt: skip
    own = np.rint(own)
    own[_HEADING] %= 36_000
    return measured.T, own.T


def as_measures(vehicle: Vehicle, measured: Matrix) -> Measures:
    """One row of `read` as `shown.measures` says it."""
    found: dict[str, Any] = {}
    for (key, part), value in zip(PARTS, measured.tolist(), strict=True):
        if part is not None:
            found.setdefault(key, {})[part] = value
        else:
            found[key] = int(value) if key in _WHOLE else value
    found[DATE] = vehicle.brake_fluid_due.isoformat()
    return tuple(found[key] for key in MEASURES)
