"""A whole stand by its options: which unit, at which gateway, on which stage."""

import secrets
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import modeldb
from bench.local import local
from bench.stand.controlled import Control, ControlledUnit, ControlledVehicle
from bench.stand.gateways import GatewayUnderTest, RestGateway, RigGateway, StandError
from bench.stand.real import Operator, RealUnit, RealVehicle
from bench.stand.simulated import SimulatedUnit, SimulatedVehicle, VehicleOnBus
from bench.stand.stage import RealStage, Stage, VirtualStage, sleep, wait_until
from bench.stand.story import Story
from bench.stand.views import GatewayView
from bench.truth import Difference, check
from devices.can import CanError
from devices.can import models as bus_models
from devices.mqtt import Line
from devices.vehicle import Vehicle
from devices.vehiclebus import VehicleBus
from modeldb.brand import luhn_holds
from modeldb.model import VehicleModel
from protocols import load as load_protocols
from protocols.codec import UnitId

PACE = 10.0
"""How much faster than real time a simulated unit on real brokers lives while it has time in hand (see stage.HAND_S)."""

ONLINE_WITHIN_S = 60.0
TRUTH_WITHIN_S, TRUTH_AGAIN_S = 120.0, 0.5
VIN_LETTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. `unit`: simulated, mqtt:BRAND/ID@host:port or tcp:BRAND/ID@host:port. `gateway`: virtual,
    parts of a laboratory (embedded, mosquitto+rabbitmq), or a URL. `broker` is the units' broker of a gateway by URL. `truth`:
    a simulated vehicle is compared with the gateway's state when its test is over."""

    unit: str = "simulated"
    gateway: str | None = None
    unit_id: str | None = None
    brand: str = "CLOUDBOXX"
    model: str | None = None
    amqp_url: str | None = None
    broker: str | None = None
    token: str | None = None
    pace: float = PACE
    can: str | None = None
    control: str | None = None
    seed: int = 1
    truth: bool = True

    @property
    def is_simulated(self) -> bool:
        """Whether the unit is ours to make."""
        return self.unit == "simulated"

    @property
    def gateway_kind(self) -> str:
        """Where none is said: virtual for a simulated unit, embedded for a real one."""
        return self.gateway or ("virtual" if self.is_simulated else "embedded")

    @property
    def real_unit(self) -> tuple[str, UnitId, str]:
        """`mqtt` or `tcp`, who, and the address. Raises StandError."""
        kind, colon, rest = self.unit.partition(":")
        who, _, address = rest.rpartition("@")
        address = address.removeprefix("//")
        brand, slash, unit = (who or f"{self.brand}/{self.unit_id or ''}").partition("/")
        parts = urlsplit(f"//{address}")
        if kind not in ("mqtt", "tcp") or not colon or not slash or not unit or not parts.hostname or _port(parts) is None:
            raise StandError(
                f"--unit is simulated, mqtt:BRAND/ID@host:port or tcp:BRAND/ID@host:port "
                f"(or without BRAND/ID@, and --brand and --unit-id), not {self.unit!r}"
            )
        return kind, UnitId(brand, unit), address


def _port(parts: Any) -> int | None:
    try:
        return int(parts.port) if parts.port is not None else None
    except ValueError:
        return None


@dataclass
class Stand:
    """What the fixtures hand out."""

    stage: Stage
    story: Story
    gateway: GatewayView
    unit: Any
    vehicle: Any
    model: VehicleModel
    bus: VehicleBus | None = None
    truth: bool = True

    @property
    def can(self) -> VehicleBus:
        """The vehicle's CAN side: `can.ecus.silence("Body")`. Raises StandError where the unit does not read a bus."""
        if self.bus is None:
            raise StandError("no CAN bus on this stand: --can virtual, or @pytest.mark.stand(can='virtual')")
        return self.bus

    @property
    def now_ms(self) -> int:
        """Now, in Unix milliseconds of the stand."""
        return self.stage.now_ms()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.story.note(self.now_ms, f"{seconds:g} s pass")
        sleep(self.stage, seconds)

    def wait_until(self, condition: Callable[[], bool], within_s: float = 30.0) -> bool:
        """Whether the condition comes true in time."""
        return wait_until(self.stage, condition, within_s)

    def differences(self, within_s: float = TRUTH_WITHIN_S) -> Sequence[Difference]:
        """What the gateway has otherwise than the simulated vehicle is, once what the unit has to say has arrived, or after so
        long. Of a vehicle on a CAN bus only what the gateway knows at all: the bus does not carry everything.

        None of a real unit, whose vehicle is not known.
        """
        if not isinstance(self.unit, SimulatedUnit):
            return ()
        terminal, gives_up_ms = self.unit.terminal, self.now_ms + 1000 * within_s
        self.unit.find_coverage()
        while True:
            shown = self.gateway.state
            told = check(terminal, shown, self.model.units[self.unit.id.brand]).differences
            found = [each for each in told if self.bus is None or each.key in shown]
            if not (found or self.unit.waiting) or self.now_ms >= gives_up_ms:
                return found
            sleep(self.stage, TRUTH_AGAIN_S)


class Servers:
    """Laboratories that are started when they are first asked for, and kept for the session."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._labs: dict[str, Any] = {}

    def lab(self, parts: str, **environment: str) -> Any:
        """A laboratory of these parts. Raises LabError."""
        from bench.lab import laboratory

        place = f"{parts} {sorted(environment.items())}"
        if place not in self._labs:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="teleloop-stand-")))
            self._labs[place] = self._stack.enter_context(laboratory(folder, parts, environment))
        return self._labs[place]

    def close(self) -> None:
        """End them."""
        self._stack.close()


@contextmanager
def stand(options: Options, servers: Servers, operator: Operator) -> Iterator[Stand]:
    """A stand, taken down at the end. Raises StandError and LabError where it cannot be."""
    model = _model(options)
    with ExitStack() as stack:
        under_test, stage, broker = _gateway(options, servers)
        stack.callback(stage.close)
        story = Story()
        watch = _Watch(stage, story)
        stack.callback(lambda: stage.run(under_test.close()))
        stage.run(under_test.open(watch.event))
        if options.is_simulated:
            unit = _unit_id(options)
            record = stage.run(under_test.add(unit, model))
            dial = under_test.rig.air.dial if isinstance(under_test, RigGateway) else Line
            device: Any = SimulatedUnit(stage, story, record, broker, dial, seed=options.seed)
            device.can = bus = _bus(options, model, stage)
            watch.on_report = device.observed
            vehicle: Any = SimulatedVehicle(stage, device)
        else:
            _, unit, _ = options.real_unit
            if options.control is not None:
                control = Control(options.control, unit, stage, story)
                stack.callback(control.close)
                control.call("GET")
                device, vehicle = ControlledUnit(stage, story, unit, control), ControlledVehicle(stage, control)
            else:
                device = RealUnit(stage, story, unit, operator)
                vehicle = RealVehicle(device, lambda: view.state)
            bus = None
            if isinstance(under_test, RestGateway):
                if not options.gateway_kind.startswith("http"):  # one of ours, which knows nobody yet
                    stage.run(under_test.find_or_add(unit, model))
                model = modeldb.load().models.get(stage.run(under_test.model_of(unit)), model)
            if (bus := _bus(options, model, stage)) is not None:
                body = VehicleOnBus(stage, story, bus, Vehicle.of(model, unit.brand, seed=options.seed))
                stack.callback(lambda: stage.run(body.stop()))
                stage.run(body.start())
                vehicle = SimulatedVehicle(stage, body)
        watch.vehicle_id = stage.run(under_test.find(unit))
        story.protocol = load_protocols().get(modeldb.load().brands[unit.brand].protocol)
        story.translation = model.units.get(unit.brand)
        view = GatewayView(stage, story, under_test, unit, watch.vehicle_id, device.missing)
        if options.is_simulated:
            stack.callback(lambda: stage.run(device.switch_off()))
            stage.run(device.switch_on())
        if not wait_until(stage, lambda: under_test.online(unit), ONLINE_WITHIN_S):
            raise StandError(story.told(f"{unit} to be online within {ONLINE_WITHIN_S:g} s", "it is not"))
        yield Stand(stage, story, view, device, vehicle, model, bus, options.truth)


def _bus(options: Options, model: VehicleModel, stage: Stage) -> VehicleBus | None:
    if options.can is None:
        return None
    interface, _, channel = options.can.partition(":")
    if interface == "virtual" and not channel:
        channel = secrets.token_hex(8)
    try:
        return VehicleBus(model.file, interface, channel, stage.now_ms)
    except CanError as error:
        raise StandError(str(error)) from error


class _Watch:
    """Takes in the gateway's events, those of the vehicle under test."""

    def __init__(self, stage: Stage, story: Story) -> None:
        self._stage, self._story = stage, story
        self.vehicle_id = ""
        self.on_report: Callable[[str, int], None] = lambda event_id, at_ms: None

    def event(self, body: Any) -> None:
        """One event."""
        metadata = body["metadata"]
        if metadata["vehicle_id"] != self.vehicle_id:
            return
        now_ms = self._stage.now_ms()
        self._story.happened(now_ms, body)
        if metadata["type"] == "VehicleStateRecorded":
            self.on_report(metadata["id"], now_ms)


def _gateway(options: Options, servers: Servers) -> tuple[GatewayUnderTest, Stage, str]:
    """The gateway, the stage that fits it, and where simulated units connect."""
    kind = options.gateway_kind
    if kind == "virtual":
        if not options.is_simulated:
            raise StandError("a real unit lives in real time: --gateway embedded, mosquitto+rabbitmq or a URL")
        stage = VirtualStage()
        return RigGateway(stage.clock, options.seed), stage, "mqtt://air"
    if kind.startswith(("http://", "https://")):
        token = options.token or local().api_token
        if token is None:
            raise StandError("a gateway by URL needs its token: TELELOOP_TOKEN")
        broker = options.broker or local().units_broker or ""
        if options.is_simulated and not broker:
            raise StandError("a simulated unit at a gateway by URL needs to know the units' broker: --broker mqtt://host:port")
        return RestGateway(kind, token, options.amqp_url), _real_stage(options), broker
    environment = {}
    if not options.is_simulated:
        way, unit, address = options.real_unit
        if way == "tcp":
            protocol = modeldb.load().brands[unit.brand].protocol
            environment = {f"TELELOOP_TCP_{protocol.upper()}": address, "TELELOOP_TRUST_TCP": "true"}
        else:
            raise StandError(
                f"a unit at a broker needs the gateway that listens there: --gateway URL and TELELOOP_TOKEN, not {kind}"
            )
    lab = servers.lab(kind, **environment)
    return RestGateway(lab.url, lab.token, options.amqp_url or lab.amqp_url), _real_stage(options), lab.units_broker


def _real_stage(options: Options) -> RealStage:
    return RealStage(options.pace if options.is_simulated else 1.0)


def _model(options: Options) -> VehicleModel:
    database = modeldb.load()
    if options.brand not in database.brands:
        raise StandError(f"there is no brand {options.brand}; known are {', '.join(sorted(database.brands))}")
    known = database.available(options.brand)
    if options.model is None:
        with_bus = {f"models/{each}.toml" for each in bus_models()}
        cars = [each for each in known if each.type == "CAR" and "central_lock" in each.units[options.brand].state_keys]
        return ([each for each in cars if each.file in with_bus] or cars or known)[0]
    found = [each for each in known if each.id == options.model or each.is_called(options.model) or options.model in each.file]
    if not found:
        titles = ", ".join(dict.fromkeys(each.title for each in known))
        raise StandError(f"units of {options.brand} know no model {options.model}; they know {titles}")
    return found[-1]


def _unit_id(options: Options) -> UnitId:
    """As said; else one that nobody has, such as the brand's units have. The same seed gives the same under virtual time."""
    if options.unit_id is not None:
        return UnitId(options.brand, options.unit_id)
    virtual = options.gateway_kind == "virtual"
    number = zlib.crc32(f"{options.seed}".encode()) if virtual else secrets.randbits(48)
    match options.brand:
        case "TELTONIKA":
            digits = f"35{number % 10**12:012}"
            return UnitId(options.brand, next(f"{digits}{check}" for check in range(10) if luhn_holds(f"{digits}{check}")))
        case "CLOUDBOXX":
            return UnitId(options.brand, f"{number:016X}")
        case _:
            letters = "".join(VIN_LETTERS[number >> shift & 31] for shift in range(0, 40, 5))
            return UnitId(options.brand, f"W1N{letters:0>14}"[:17])


__all__ = ["Options", "Servers", "Stand", "StandError", "stand"]
