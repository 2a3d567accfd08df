"""What can go wrong with a unit, by name: each fault says what the gateway is expected to do about it.

    fault = by_name("bad_crc")           # or parse("bad_crc:0.2")
    terminal.inject(fault, now_ms)       # devices.terminal.Terminal

A new fault is one class in one of the modules here that is listed in ALL.
"""

from collections.abc import Mapping

from devices.faults import clock, configuration, gnss, power, session, vehicle, wire
from devices.faults.fault import Expected, Fault, FaultUnsuited

__all__ = ["ALL", "Expected", "Fault", "FaultUnsuited", "by_name", "parse"]

ALL: Mapping[str, type[Fault]] = {
    kind.name: kind for module in (wire, clock, gnss, power, vehicle, session, configuration) for kind in module.FAULTS
}
"""Every fault by its name."""


def by_name(name: str, rate: float | None = None) -> Fault:
    """A fault of that name, at its usual rate unless told otherwise. Raises ValueError that lists the names."""
    kind = ALL.get(name)
    if kind is None:
        raise ValueError(f"no fault is called {name!r}; there are {', '.join(sorted(ALL))}")
    return kind() if rate is None else kind(rate)


def parse(said: str) -> Fault:
    """`NAME` or `NAME:rate`. Raises ValueError."""
    name, colon, rate = said.partition(":")
    try:
        return by_name(name, float(rate) if colon else None)
    except ValueError as error:
        if name in ALL and colon and "could not convert" in str(error):
            raise ValueError(f"the rate of {name} is wanted as a number, not {rate!r}") from None
        raise
