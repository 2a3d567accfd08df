"""One unit among the many of a fleet, and what a fleet counts."""

import asyncio
from dataclasses import dataclass, field

from devices.mqtt import Connection
from devices.terminal import Terminal
from devices.unitsfile import UnitRecord


@dataclass(slots=True)
class Tally:
    """What a fleet has seen so far."""

    payloads_sent: int = 0
    bytes_sent: int = 0
    payloads_received: int = 0
    connects: int = 0
    lines_lost: int = 0
    connect_failures: int = 0
    logins_refused: int = 0
    flash_failures: int = 0
    takeovers: int = 0


@dataclass(slots=True, eq=False)
class Member:
    """One unit of the fleet. `due_ms` is when it ticks; `line` is None while it has no connection.

    `at_ms` is the latest moment that it was told of: its time never goes back. `rival` is its copy, where a fault has made one,
    and `rival_of` of that one the member that it is a copy of.
    """

    record: UnitRecord
    firmware: Terminal
    line: Connection | None = None
    due_ms: int | None = None
    at_ms: int = 0
    connecting: "asyncio.Task[None] | None" = field(default=None, repr=False)
    rival: "Member | None" = field(default=None, repr=False)
    rival_of: "Member | None" = field(default=None, repr=False)
