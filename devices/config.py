"""What a unit is delivered with."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from devices.behaviour import NEUTRAL, Behaviour
from modeldb.model import Translation
from protocols.codec import UnitId


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
