"""What every simulated unit is to the fleet, whatever protocol it speaks: bytes in, bytes out, time as an argument."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from devices.behaviour import NEUTRAL, Behaviour
from devices.flash import Flash, Store, volatile
from devices.vehicle import Vehicle
from modeldb.model import Translation
from protocols.codec import UnitId

if TYPE_CHECKING:
    from devices.power import Phase, ResetCause
    from devices.senses import Senses


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a unit reports, in seconds: a state while driving and while parked, and a heartbeat."""

    driving_s: float = 10
    parked_s: float = 60
    heartbeat_s: float = 900


@dataclass(frozen=True, slots=True)
class UnitConfig:
    """What a unit is delivered with. `command_keys` are K_cmd by key generation; keys are in no repr.

    `translation` is how the unit says what it senses. A unit that does not start `synchronised` waits for the gateway's time;
    `clock_error_ms` is how far its clock is off. `entropy` gives random bytes. `cards` are the RFID cards that open the vehicle.
    """

    unit: UnitId
    translation: Translation
    seal_key: bytes = field(repr=False)
    command_keys: Mapping[int, bytes] = field(repr=False)
    model_configuration: int = 0
    firmware: tuple[int, int, int] = (1, 4, 2)
    hardware: int = 3
    intervals: Intervals = Intervals()
    journal_capacity: int = 1_000
    synchronised: bool = True
    clock_error_ms: int = 0
    entropy: Callable[[int], bytes] = secrets.token_bytes
    behaviour: Behaviour = NEUTRAL
    cards: frozenset[str] = frozenset()


class Firmware(Protocol):
    """A unit that is switched on. Times are Unix milliseconds; each call returns the payloads to publish on `up`, in order.

    The flash is stored before a call returns payloads, and before a command moves anything; where that fails the store's OSError
    passes through, and nothing goes out or moves.
    """

    config: UnitConfig
    vehicle: Vehicle
    flash: Flash
    phase: "Phase"
    reset_cause: "ResetCause"
    resets: int
    coverage: bool
    senses: "Senses"

    @property
    def wants_line(self) -> bool:
        """Whether whoever holds its line should keep it, or try to get one."""

    def dial_ms(self, now_ms: int) -> int | None:
        """When it next tries to get a line; None: it has one, or wants none."""

    def dial_failed(self, now_ms: int, *, refused: bool = False) -> None:
        """No line was to be had; `refused`: its login was not accepted."""

    def reset(self, cause: "ResetCause", now_ms: int) -> None:
        """Lose what is not in flash, with the line, and boot."""

    def hang(self, now_ms: int) -> None:
        """The program stands still until the watchdog bites."""

    def switch_off(self, now_ms: int) -> None:
        """Somebody pulls its plug."""

    def switch_on(self, now_ms: int) -> None:
        """Power is back."""

    def cover(self, covered: bool, now_ms: int) -> None:
        """There is a network, or there is none any more."""

    def press_fob(self, locks: bool, now_ms: int) -> list[bytes]:
        """Somebody presses the vehicle's own key fob beside it."""

    def show_card(self, card: str, now_ms: int) -> list[bytes]:
        """Somebody holds an RFID card to the reader."""

    def connected(self, now_ms: int) -> list[bytes]:
        """The line to the broker stands."""

    def disconnected(self, now_ms: int) -> None:
        """The line is gone; what was on its way counts as not arrived."""

    def leaving(self, now_ms: int) -> list[bytes]:
        """The line is about to be closed in good order; what is said last."""

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take a payload from `down`. Whatever it is, nothing is raised: what may not pass is dropped and counted."""

    def tick(self, now_ms: int) -> list[bytes]:
        """Let time pass until `now_ms`."""

    def next_tick(self, now_ms: int) -> int:
        """When `tick` will next have something to do, unless something happens before."""


FirmwareFactory = Callable[[UnitConfig, Flash, Vehicle, Store], Firmware]


def switch_on(protocol: str, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile) -> Firmware:
    """The firmware for units that speak `protocol` ("cloudboxx"). Raises ValueError where there is none."""
    factory = _factories().get(protocol)
    if factory is None:
        raise ValueError(f"no simulated unit speaks {protocol}")
    return factory(config, flash, vehicle, store)


def _factories() -> Mapping[str, FirmwareFactory]:
    from devices.autoapi import AutoApiUnit  # here, because these need the names above
    from devices.gbt32960 import Gbt32960Unit
    from devices.teltonika import TeltonikaUnit
    from devices.unit import Unit

    return {"autoapi": AutoApiUnit, "cloudboxx": Unit, "gbt32960": Gbt32960Unit, "teltonika": TeltonikaUnit}
