"""Vehicles of a fleet on CAN buses: their control units say the truth there, and their units' firmware reads it from there.

    with Buses(fleet, [CanPlan.parse("virtual")]) as buses:
        fleet.start()

On a virtual bus the control units speak whenever the unit looks; on any other in their cycles, for others to hear.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import modeldb
from devices.can import INTERFACES, USUAL_CHANNELS, BusReader, CanError, CanSenses, Ecus, bus_database, models, open_bus
from devices.config import UnitConfig
from devices.firmware import Firmware
from devices.flash import Flash
from devices.fleet import Fleet
from devices.member import Member
from devices.terminal import Terminal
from devices.vehicle import Vehicle

LEAST_WAIT_S = 0.001


class VehicleBus:
    """A vehicle's control units on a CAN bus, and a unit that reads them. `ecus` can be silenced, frozen and spoilt."""

    def __init__(self, model: str, interface: str, channel: str, now_ms: Callable[[], int]) -> None:
        """Raises devices.can.CanError."""
        self._database, self._now_ms = bus_database(model), now_ms
        self._buses: list[Any] = []
        for _ in ("control units", "unit"):
            try:
                self._buses.append(open_bus(interface, channel))
            except CanError:
                self.close()
                raise
        self.reader = BusReader(self._database, self._buses[1])
        self.ecus: Ecus

    def join(self, terminal: Terminal) -> None:
        """From now on the unit reads its vehicle on the bus, also after a reset."""
        self.put(terminal.vehicle)
        senses = CanSenses(terminal.seen, self.reader, self._now_ms, self.ecus)
        boot = terminal.boot

        def booted(config: UnitConfig, flash: Flash) -> Firmware:
            firmware = boot(config, flash)
            firmware.senses.read = senses.read
            return firmware

        terminal.boot = booted  # type: ignore[method-assign]
        terminal.firmware.senses.read = senses.read

    def put(self, vehicle: Vehicle) -> None:
        """This vehicle's control units are on the bus."""
        self.ecus = Ecus(vehicle, self._database, self._buses[0])

    def close(self) -> None:
        """Leave the bus."""
        for bus in self._buses:
            bus.shutdown()


@dataclass(frozen=True, slots=True)
class CanPlan:
    """Who is on which bus. `unit`: one of the fleet, `BRAND/ID`; empty: whoever has a DBC."""

    interface: str
    channel: str = ""
    unit: str = ""

    @classmethod
    def parse(cls, said: str) -> Self:
        """`virtual`, `socketcan:can0`, `socketcan:can0@CLOUDBOXX/0123456789ABCDEF`. Raises CanError."""
        where, _, unit = said.partition("@")
        interface, _, channel = where.partition(":")
        if interface not in INTERFACES:
            raise CanError(
                f"a bus is wanted as INTERFACE[:CHANNEL][@BRAND/ID], the interface {', '.join(INTERFACES)}, not {said!r}"
            )
        if unit and "/" not in unit:
            raise CanError(f"{said}: the unit is wanted as BRAND/ID, not {unit!r}")
        return cls(interface, channel, unit)


class Buses:
    """The CAN buses of a fleet; open while it is entered, which has to be in an event loop and before the fleet starts."""

    def __init__(self, fleet: Fleet, plans: Sequence[CanPlan]) -> None:
        """Raises CanError, and then no bus is open."""
        self._fleet = fleet
        self.by_unit: dict[str, VehicleBus] = {}
        self._spoken: list[tuple[Member, VehicleBus]] = []
        self._speaking: asyncio.Task[None] | None = None
        taken: dict[tuple[str, str], str] = {}
        try:
            for plan in plans:
                for member, model in self._who(plan):
                    self._join(plan, member, model, taken)
        except CanError:
            self._close()
            raise

    @property
    def heard(self) -> int:
        """Messages that units believed."""
        return sum(bus.reader.heard.total() for bus in self.by_unit.values())

    @property
    def refused(self) -> int:
        """Messages that they did not believe."""
        return sum(bus.reader.refused.total() for bus in self.by_unit.values())

    def __enter__(self) -> Self:
        if self._spoken:
            self._speaking = asyncio.get_running_loop().create_task(self._speak())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
        self._close()

    def _close(self) -> None:
        for bus in self.by_unit.values():
            bus.close()

    def _who(self, plan: CanPlan) -> list[tuple[Member, str]]:
        known, files = set(models()), modeldb.load().models
        model_of = {
            member: files[member.record.vehicle_model_id].file.removeprefix("models/").removesuffix(".toml")
            for member in self._fleet.members
        }
        if plan.unit:
            member = self._fleet.find(*plan.unit.split("/", 1))
            if member is None:
                raise CanError(f"there is no unit {plan.unit} in this fleet")
            bus_database(model_of[member])
            return [(member, model_of[member])]
        found = [(member, model) for member, model in model_of.items() if model in known]
        if not found:
            raise CanError(f"none of the vehicles has a DBC; these models have one: {', '.join(sorted(known))}")
        if len(found) > 1 and plan.interface != "virtual":
            named = f"{plan.interface}:{plan.channel or USUAL_CHANNELS[plan.interface]}"
            raise CanError(
                f"{named} is the bus of one vehicle, and {len(found)} have a DBC: say which, as {named}@{found[0][0].record.unit}"
            )
        return found

    def _join(self, plan: CanPlan, member: Member, model: str, taken: dict[tuple[str, str], str]) -> None:
        unit = str(member.record.unit)
        own = f"{plan.channel or USUAL_CHANNELS['virtual']}-{unit}"
        place = plan.interface, own if plan.interface == "virtual" else plan.channel or USUAL_CHANNELS[plan.interface]
        if unit in self.by_unit:
            raise CanError(f"{unit} is on a CAN bus already")
        if place in taken:
            raise CanError(f"{':'.join(place)} is the bus of {taken[place]} already")
        bus = VehicleBus(model, *place, self._fleet.now_ms)
        taken[place] = unit
        bus.join(member.firmware)
        self.by_unit[unit] = bus
        if plan.interface != "virtual":
            self._spoken.append((member, bus))

    async def _speak(self) -> None:
        while True:
            now_ms = self._fleet.now_ms()
            next_ms = now_ms + 1_000
            for member, bus in self._spoken:
                member.firmware.vehicle.advance(now_ms)
                bus.ecus.advance(now_ms)
                next_ms = min(next_ms, bus.ecus.next_ms(now_ms))
            await asyncio.sleep(max(LEAST_WAIT_S, (next_ms - now_ms) / 1000))
