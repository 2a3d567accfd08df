"""What is worked on at once: payloads and comings and goings in the order of their arrival, and what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from gateway.events import Event
from gateway.memory import Memory, Vehicle
from gateway.mqtt import Acknowledge
from gateway.receipts import Receipt, Telegram
from protocols.codec import UnitId


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A payload; `acknowledge` tells the line that it is done with."""

    unit: UnitId
    telegram: Telegram
    acknowledge: Acknowledge


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A unit came or went. It stands among the payloads in the order of arrival: what came before an end is heard before it."""

    unit: UnitId
    online: bool


@dataclass
class Batch:
    """What a stage works on at once. `memories` is what will be remembered once the events are confirmed."""

    arrivals: Sequence[Arrival | Turn]
    receipts: list[tuple[Vehicle, Receipt]] = field(default_factory=list)
    strangers: list[Receipt] = field(default_factory=list)
    memories: dict[str, Memory] = field(default_factory=dict)

    @property
    def units(self) -> set[UnitId]:
        """Who says something, comes or goes."""
        return {arrival.unit for arrival in self.arrivals}

    @cached_property
    def all_receipts(self) -> list[Receipt]:
        """Once all is decided."""
        return [receipt for _, receipt in self.receipts] + self.strangers

    @cached_property
    def events(self) -> list[Event]:
        """Once all is decided."""
        return [event for _, receipt in self.receipts for event in receipt.events]
