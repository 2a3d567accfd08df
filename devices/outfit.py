"""What every unit of a fleet is given, and how one is made of it."""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import modeldb
from devices.behaviour import Behaviour
from devices.columns import Columns
from devices.config import Intervals, UnitConfig
from devices.faults import Fault
from devices.flash import Flash, volatile
from devices.flashfile import FlashKeeper
from devices.line import LineModel
from devices.member import Member
from devices.terminal import Terminal
from devices.unitsfile import UnitRecord
from devices.vehicle import Life, Vehicle

SPREAD_DEGREES = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Outfit:
    """As `devices.fleet.Fleet` is asked for; `dice` say where vehicles are that nobody has placed."""

    seed: int
    intervals: Intervals
    flash_file: FlashKeeper | None
    now_ms: Callable[[], int]
    line: LineModel
    faults: tuple[Fault, ...]
    life: Life
    behaviour: Callable[[str], Behaviour]
    columns: Columns
    dice: random.Random

    def made(self, record: UnitRecord, seed: int) -> Member:
        """A unit and its vehicle, switched off. Raises ValueError for a brand or model that nobody knows."""
        database = modeldb.load()
        try:
            brand, model = database.brands[record.brand], database.models[record.vehicle_model_id]
            translation = model.units[record.brand]
        except KeyError as error:
            raise ValueError(f"{record.unit}: the model database does not know {error}") from error
        vehicle = Vehicle.of(
            model,
            record.brand,
            seed=seed,
            latitude=50.9375 + self.dice.uniform(-1, 1) * SPREAD_DEGREES if record.latitude is None else record.latitude,
            longitude=6.9603 + self.dice.uniform(-1, 1) * SPREAD_DEGREES if record.longitude is None else record.longitude,
            life=self.life if record.moving else None,
            columns=self.columns,
        )
        config = UnitConfig(
            record.unit,
            translation,
            bytes.fromhex(record.seal_key),
            {record.generation: bytes.fromhex(record.command_key)},
            model_configuration=zlib.crc32(model.id.encode()),
            intervals=self.intervals,
            behaviour=self.behaviour(record.brand),
            journal_capacity=self.behaviour(record.brand).journal_frames,
            cards=frozenset(record.cards),
        )
        kept = self.flash_file.load(record.unit) if self.flash_file else None
        store = self.flash_file.store_of(record.unit) if self.flash_file else volatile
        flash = kept or Flash.factory(self.now_ms())
        faults = [fault for fault in self.faults if fault.suits(brand.protocol)]
        rival_store = self.flash_file.store_of_copy(record.unit) if self.flash_file else volatile
        terminal = Terminal(
            brand.protocol, config, flash, vehicle, store,
            line=self.line, faults=faults, seed=self.seed, rival_store=rival_store,
        )  # fmt: skip
        return Member(record, terminal)
