"""A vehicle's tyres, each by its name."""

from collections.abc import Iterator, MutableMapping

import numpy as np
from numpy.typing import NDArray

from devices import physics
from devices.physics import S
from devices.shown import TIRES


class Tires(MutableMapping[str, float]):
    """The gauge pressures of one vehicle's tyres by `TIRES`, kPa; setting one pumps it up or lets air out."""

    def __init__(self, row: NDArray[np.float64]) -> None:
        """`row` is the vehicle's, by `devices.physics.S`."""
        self._row = row

    @property
    def _celsius(self) -> float:
        return float(self._row.item(S.OUTSIDE_C) + self._row.item(S.TIRE_C))

    def __getitem__(self, tire: str) -> float:
        return physics.warm_pressure(self._row.item(_cold(tire)), self._celsius)

    def __setitem__(self, tire: str, kpa: float) -> None:
        self._row[_cold(tire)] = physics.cold_pressure(kpa, self._celsius)

    def __delitem__(self, tire: str) -> None:
        raise TypeError("a vehicle keeps its tyres")

    def __iter__(self) -> Iterator[str]:
        return iter(TIRES)

    def __len__(self) -> int:
        return len(TIRES)


def _cold(tire: str) -> int:
    if tire not in TIRES:
        raise KeyError(tire)
    return physics.COLD.start + TIRES.index(tire)
