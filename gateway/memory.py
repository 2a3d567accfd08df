"""What the gateway remembers of a unit and its vehicle between two batches. Facts only; nothing here does input or output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from modeldb.brand import Brand
from modeldb.model import VehicleModel
from protocols.codec import UnitId

WINDOW_BITS = 4096
"""Sequence numbers after the cumulative one that are remembered one by one: four journals of 1,000 frames."""

SEQUENCE_MODULUS = 1 << 32

TripTrigger = Literal["DRIVING_ENABLED", "IGNITION", "RENTAL_STATUS"]
"""What begins and ends the trips of a fleet's vehicles."""


def ahead(sequence: int, of: int) -> int:
    """How far `sequence` is ahead of `of`, negative if behind: serial number arithmetic (RFC 1982), 32 bits."""
    distance = (sequence - of) % SEQUENCE_MODULUS
    return distance - SEQUENCE_MODULUS if distance >= SEQUENCE_MODULUS // 2 else distance


class Window(msgspec.Struct, frozen=True, gc=False):
    """Which sequence numbers of a unit have arrived.

    All up to `cumulative` have, or are known to be forgotten; of those after it bit n of `bitmap` is cumulative + 1 + n.
    """

    cumulative: int = 0
    bitmap: int = 0

    def holds(self, sequence: int) -> bool:
        """Whether `sequence` has arrived."""
        distance = ahead(sequence, self.cumulative)
        return distance <= 0 or bool(self.bitmap >> (distance - 1) & 1)

    def with_arrived(self, sequence: int) -> "Window":
        """The window after `sequence` has arrived. Further ahead than the window is wide: the window moves on."""
        distance = ahead(sequence, self.cumulative)
        if distance == 1 and not self.bitmap:
            return Window(sequence)
        if distance <= 0:
            return self
        window = self if distance <= WINDOW_BITS else self.without_before(sequence - WINDOW_BITS + 1)
        distance = ahead(sequence, window.cumulative)
        return Window(window.cumulative, window.bitmap | 1 << (distance - 1))._closed()

    def without_before(self, oldest: int) -> "Window":
        """The window when the unit no longer has anything older than `oldest`."""
        distance = ahead(oldest, self.cumulative) - 1
        if distance <= 0:
            return self
        return Window((oldest - 1) % SEQUENCE_MODULUS, self.bitmap >> distance)._closed()

    def _closed(self) -> "Window":
        run = (~self.bitmap & (self.bitmap + 1)).bit_length() - 1
        return Window((self.cumulative + run) % SEQUENCE_MODULUS, self.bitmap >> run) if run else self


class Recorded(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One property's newest value. `at` is when the unit captured it (Unix ms), `order` what decides newer: sequence or time."""

    value: Any
    at: int
    order: int


class Snapshot(Mapping[str, Recorded]):
    """A state of which one report has said everything, as most do: the values by property, all of one moment.

    Two states with one `mark` know the same properties, and differ in none with an event of its own; b"": nobody has marked it.
    """

    __slots__ = ("at", "mark", "order", "values_by_key")

    def __init__(self, values_by_key: Mapping[str, Any], at: int, order: int, mark: bytes = b"") -> None:
        self.values_by_key, self.at, self.order, self.mark = values_by_key, at, order, mark

    def __getitem__(self, key: str) -> Recorded:
        return Recorded(self.values_by_key[key], self.at, self.order)

    def __contains__(self, key: object) -> bool:
        return key in self.values_by_key

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def __repr__(self) -> str:
        return f"Snapshot({self.values_by_key!r}, {self.at}, {self.order})"


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What the registry says of a vehicle, as far as its traffic needs it.

    `generations` are the key generations that are valid, newest first: one, or two while the unit moves to the next.
    `trip_trigger` is its fleet's; `rental_trip` is the trip that a rental has begun (`gateway.trips`), JSON values only.
    """

    vehicle_id: str
    fleet_id: str
    unit: UnitId
    brand: Brand
    model: VehicleModel
    generations: tuple[int, ...] = (1,)
    archived: bool = False
    trip_trigger: TripTrigger = "DRIVING_ENABLED"
    rental_trip: Mapping[str, Any] | None = None


NO_STATE: Mapping[str, "Recorded"] = MappingProxyType({})


class Memory(msgspec.Struct, frozen=True):
    """What a vehicle's unit has said so far.

    `order` is the sequence (or capture time) of the newest report; `state` maps property keys (`central_lock`) to Recorded.
    `recent` are fingerprints of the newest reports of a unit whose protocol does not count them. `generation` is the key
    generation that the unit last sealed with. `trip` is the trip detector's own memory: JSON values, or a struct of such.
    `replacements` counts the units that the vehicle had before the one that said all this. Times are Unix ms.
    """

    window: Window = Window()
    order: int | None = None
    state: Mapping[str, Recorded] = NO_STATE
    last_contact_at: int | None = None
    firmware: str | None = None
    online: bool = False
    online_changed_at: int | None = None
    generation: int | None = None
    recent: tuple[int, ...] = ()
    trip: Mapping[str, Any] | msgspec.Struct | None = None
    replacements: int = 0
