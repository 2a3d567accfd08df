"""A simulated unit on the stand, its vehicle and who drives it: every verb is a step of the test, and noted as one."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from bench.ledger import Ledger, Missing
from bench.stand.stage import LOOK_S, Stage, sleep, wait_until
from bench.stand.story import Story
from bench.witness import Witness
from devices.config import Intervals
from devices.fleet import Fleet
from devices.mqtt import BrokerAddress, Connection, Dial
from devices.terminal import Terminal
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from devices.vehiclebus import VehicleBus
from protocols.codec import UnitId

INTERVALS = Intervals(driving_s=5, parked_s=60, heartbeat_s=300)
STEP_LIMIT_S = 3600.0
USUAL_KMH = 50.0


class Tap:
    """Makes connections that note what passes."""

    def __init__(self, dial: Dial, noted: Callable[[str, bytes], None]) -> None:
        self._dial, self._noted = dial, noted

    def __call__(
        self, broker: BrokerAddress, unit: UnitId, password: str, on_payload: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> Connection:
        def heard(payload: bytes) -> None:
            self._noted("down", payload)
            on_payload(payload)

        return _Tapped(self._dial(broker, unit, password, heard, on_lost), self._noted)


class _Tapped:
    def __init__(self, line: Connection, noted: Callable[[str, bytes], None]) -> None:
        self._line, self._noted = line, noted
        self.open, self.drop, self.close = line.open, line.drop, line.close

    def publish(self, payload: bytes) -> None:
        self._noted("up", payload)
        self._line.publish(payload)


@dataclass(slots=True)
class Gap:
    """A time without coverage, in Unix milliseconds of the unit's clock."""

    began_ms: int
    ended_ms: int = 0


class SimulatedUnit:
    """The `unit` of a test: one of a fleet, on its own connection. `record` has its secrets."""

    real = False

    def __init__(
        self,
        stage: Stage,
        story: Story,
        record: UnitRecord,
        broker: str,
        dial: Dial,
        *,
        seed: int,
        intervals: Intervals = INTERVALS,
    ) -> None:
        self._stage, self._story = stage, story
        self.id, self.record = record.unit, record
        self.ledger = Ledger()
        self._witness = Witness(self.ledger, {record.unit: record.vehicle_id})
        self._broker, self._dial, self._seed, self._intervals = broker, Tap(dial, self._noted), seed, intervals
        self._fleet: Fleet | None = None
        self._looking: asyncio.Task[None] | None = None
        self.can: VehicleBus | None = None

    async def switch_on(self) -> None:
        """Begin."""
        self._fleet = Fleet(
            [self.record],
            self._broker,
            seed=self._seed,
            intervals=self._intervals,
            flash_file=self._witness,
            now_ms=self._stage.now_ms,
            dial=self._dial,
        )
        if self.can is not None:
            self.can.join(self.terminal)
        self._fleet.start()
        self._looking = asyncio.create_task(self._keep_looking())

    async def switch_off(self) -> None:
        """End in good order."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._fleet is not None:
            await self._fleet.stop()
        if self.can is not None:
            self.can.close()

    @property
    def terminal(self) -> Terminal:
        """The unit itself, its link and what is wrong with it."""
        assert self._fleet is not None
        terminal: Terminal = self._fleet.members[0].firmware
        return terminal

    @property
    def waiting(self) -> int:
        """Frames in its journal that the gateway has not acknowledged."""
        return len(self.terminal.flash.journal)

    @property
    def phase(self) -> str:
        """`online`, `no coverage`, ..."""
        return self.terminal.phase.value

    def missing(self) -> list[Missing]:
        """Reports that it captured and of which no event was seen."""
        self._witness.settle()
        return self.ledger.missing()

    @contextmanager
    def without_coverage(self, *, minutes: float = 0.0, seconds: float = 0.0) -> Iterator[Gap]:
        """No network while the block runs, and for at least so long; afterwards until what waited is acknowledged."""
        gap = Gap(self._stage.now_ms())
        self.lose_coverage()
        try:
            yield gap
        finally:
            left_s = 60 * minutes + seconds - (self._stage.now_ms() - gap.began_ms) / 1000
            sleep(self._stage, left_s)
            gap.ended_ms = self._stage.now_ms()
            self.find_coverage()
        if not wait_until(self._stage, lambda: self.phase == "online" and not self.waiting, 120):
            raise AssertionError(self._story.told("the backlog to be acknowledged within 120 s", f"{self.waiting} frames wait"))

    def lose_coverage(self) -> None:
        """No network from now on."""
        self.do("coverage is lost", lambda terminal, now_ms: terminal.link.cut(now_ms))

    def find_coverage(self) -> None:
        """The network is back."""
        self.do("coverage is back", lambda terminal, now_ms: terminal.link.mend())

    def do(self, text: str, act: Callable[[Terminal, int], object]) -> None:
        """Something is done to it or its vehicle; it looks at once."""

        async def doing() -> None:
            now_ms = self._stage.now_ms()
            self._story.note(now_ms, text)
            self.terminal.vehicle.advance(now_ms)
            act(self.terminal, now_ms)
            self._look()

        self._stage.run(doing())

    def observed(self, event_id: str, at_ms: int) -> None:
        """Its event was seen."""
        self.ledger.observe(event_id, at_ms / 1000)

    def _noted(self, way: str, payload: bytes) -> None:
        self._story.frame(self._stage.now_ms(), way, payload)

    async def _keep_looking(self) -> None:
        """A unit looks at its vehicle when something is due; what a test does to the vehicle is not."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        assert self._fleet is not None
        self._fleet.look()

    @property
    def vehicle(self) -> Vehicle:
        """What it is built into."""
        return self.terminal.vehicle

    def do_to_vehicle(self, text: str, act: Callable[[Vehicle], object]) -> None:
        """Something is done to its vehicle."""
        self.do(text, lambda terminal, _: act(terminal.vehicle))


class VehicleOnBus:
    """A simulated vehicle around a real unit: it can only be felt on its CAN bus."""

    def __init__(self, stage: Stage, story: Story, can: VehicleBus, vehicle: Vehicle) -> None:
        self._stage, self._story, self.can, self.vehicle = stage, story, can, vehicle
        self._living: asyncio.Task[None] | None = None
        can.put(vehicle)

    async def start(self) -> None:
        """Begin to live."""
        self._living = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """End."""
        if self._living is not None:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)
        self.can.close()

    def do_to_vehicle(self, text: str, act: Callable[[Vehicle], object]) -> None:
        """Something is done to it."""

        async def doing() -> None:
            self._story.note(self._stage.now_ms(), text)
            act(self.vehicle)

        self._stage.run(doing())

    async def _live(self) -> None:
        while True:
            now_ms = self._stage.now_ms()
            self.vehicle.advance(now_ms)
            self.can.ecus.advance(now_ms)
            await asyncio.sleep(max(0.001, (self.can.ecus.next_ms(now_ms) - now_ms) / 1000))


class Body(Protocol):
    """A vehicle that things can be done to."""

    @property
    def vehicle(self) -> Vehicle: ...
    def do_to_vehicle(self, text: str, act: Callable[[Vehicle], object]) -> None: ...


class SimulatedVehicle:
    """The `vehicle` of a test: the truth, and who sits in it. `truth` is the vehicle itself."""

    def __init__(self, stage: Stage, body: Body) -> None:
        self._stage, self._body = stage, body

    @property
    def truth(self) -> Vehicle:
        """What a perfect observer sees; may be set."""
        return self._body.vehicle

    @property
    def state(self) -> Mapping[str, Any]:
        """The truth as vocabulary values."""
        return self.truth.state()

    @property
    def locked(self) -> bool:
        """Whether its doors are locked."""
        return self.truth.locked

    def drive(self, *, km: float = 0.0, minutes: float = 0.0, kmh: float = USUAL_KMH) -> None:
        """Set off if it stands, drive so far or so long, and go on rolling: `park` or `stop` ends it."""
        self._set_off(kmh)
        began_m = self.truth.distance_m
        if minutes:
            sleep(self._stage, 60 * minutes)
        if not wait_until(self._stage, lambda: self.truth.distance_m - began_m >= 1000 * km, STEP_LIMIT_S):
            raise AssertionError(f"the vehicle does not drive {km:g} km in an hour: {self.truth.distance_m - began_m:.0f} m")

    def stop(self) -> None:
        """Brake until it stands."""
        self._do("brakes", lambda vehicle: _set(vehicle, {"target_speed_kmh": 0.0}))
        if not wait_until(self._stage, lambda: not self.truth.in_motion, 120):
            raise AssertionError("the vehicle does not stop")

    def park(self) -> None:
        """Stop, brake on, ignition off, key out, get out, shut the door."""
        self.stop()
        self._do("parks: brake on, ignition off, key out", _leave)
        if self.truth.kind not in ("MOPED", "KICK_SCOOTER"):
            self.open("front_left")
            sleep(self._stage, 2)
            self.close("front_left")

    def open(self, door: str = "front_left") -> None:
        """Open a door."""
        self._do(f"opens {door}", lambda vehicle: vehicle.doors_open.add(door))

    def close(self, door: str = "front_left") -> None:
        """Shut a door."""
        self._do(f"shuts {door}", lambda vehicle: vehicle.doors_open.discard(door))

    def ignite(self, on: bool = True) -> None:
        """Turn the key."""
        self._do(f"ignition {'on' if on else 'off'}", lambda vehicle: _ignite(vehicle, on))

    def set(self, **truth: Any) -> None:
        """Set attributes of the truth: `vehicle.set(energy_percent=8)`. Raises AttributeError for one that there is not."""
        for name in truth:
            getattr(self.truth, name)
        said = ", ".join(f"{name}={value}" for name, value in truth.items())
        self._do(f"is set: {said}", lambda vehicle: _set(vehicle, truth))

    def _set_off(self, kmh: float) -> None:
        if not self.truth.driving_enabled:
            raise AssertionError(
                "driving is not enabled: command('unlock-and-enable-driving') or command('enable-driving') first"
            )
        self._do(f"drives at {kmh:g} km/h", lambda vehicle: _drive(vehicle, kmh))

    def _do(self, text: str, act: Callable[[Vehicle], object]) -> None:
        self._body.do_to_vehicle(f"the vehicle {text}", act)


def _set(vehicle: Vehicle, truth: Mapping[str, Any]) -> None:
    for name, value in truth.items():
        setattr(vehicle, name, value)


def _ignite(vehicle: Vehicle, on: bool) -> None:
    vehicle.key_inserted = vehicle.ignition = on


def _drive(vehicle: Vehicle, kmh: float) -> None:
    vehicle.doors_open.clear()
    vehicle.key_inserted = vehicle.ignition = True
    vehicle.parking_brake = False
    vehicle.center_stand_down = False
    vehicle.target_speed_kmh = kmh


def _leave(vehicle: Vehicle) -> None:
    vehicle.parking_brake = vehicle.center_stand_down = True
    vehicle.ignition = vehicle.headlights = False
    vehicle.key_inserted = False
