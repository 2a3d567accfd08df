"""What is judged live, put together from the command line: a unit on one of the lines, or the simulated one."""

from collections.abc import Callable
from dataclasses import dataclass, field

import modeldb
from bench.conformance.captures import Keys
from bench.conformance.talk import Timing, UnitTalk
from bench.conformance.wire.broker import BrokerWire
from bench.conformance.wire.direct import DirectWire
from bench.conformance.wire.line import Wire, WireError
from bench.conformance.wire.servers import MqttServerWire, TcpServerWire
from devices.switch import FirmwareFactory
from modeldb.model import VehicleModel
from protocols.codec import Protocol, UnitId
from protocols.keys import brand_key, unit_keys

DEFAULT_LISTEN = "127.0.0.1:1884"


@dataclass(frozen=True)
class UnitTarget:
    """A unit to be judged, and by which line. Without a line the kit listens for MQTT on DEFAULT_LISTEN."""

    unit: UnitId
    protocol: Protocol
    keys: Keys = field(default_factory=Keys)
    listen: str | None = None
    broker: str | None = None
    tcp: str | None = None
    simulated: bool = False
    password: str | None = None
    model: str | None = None
    power_command: str | None = None
    timeout_s: float = 30.0
    silence_s: float = 2.0
    tolerance_s: float = 5.0
    make: FirmwareFactory | None = None


def talk_with(target: UnitTarget, say: Callable[[str], None]) -> UnitTalk:
    """The conversation with a unit, its line set up; `say` tells people where the unit is to connect to. Raises ValueError."""
    timing = Timing(target.timeout_s, target.silence_s, target.tolerance_s)
    model = _model(target)
    translation = model.units[target.unit.brand] if model is not None else None
    if target.simulated:
        assert model is not None
        secrets = unit_keys(brand_key(bytes(32), target.unit.brand), 1, target.unit.telematics_unit_id)
        keys = Keys({target.unit.telematics_unit_id: secrets.seal}, {target.unit.telematics_unit_id: {1: secrets.command}})
        direct = DirectWire(target.protocol.name, target.unit, model, secrets, make=target.make)
        return UnitTalk(direct, target.unit, target.protocol, keys, timing, translation)
    try:
        wire = _wire(target, say)
    except WireError as error:
        raise ValueError(str(error)) from error
    return UnitTalk(wire, target.unit, target.protocol, target.keys, timing, translation)


def _wire(target: UnitTarget, say: Callable[[str], None]) -> Wire:
    if target.tcp is not None:
        framing = getattr(target.protocol, "framing", None)
        if framing is None:
            raise WireError(f"{target.protocol.name} does not go over plain TCP")
        tcp = TcpServerWire(framing, target.tcp, target.power_command)
        say(f"waiting for {target.unit} on {tcp.address} (TCP)")
        return tcp
    if target.broker is not None:
        say(f"waiting for {target.unit} at the broker")
        return BrokerWire(target.unit, target.broker, target.password, target.power_command)
    server = MqttServerWire(target.unit, target.listen or DEFAULT_LISTEN, target.power_command)
    say(f"waiting for {target.unit} on {server.address}")
    return server


def _model(target: UnitTarget) -> VehicleModel | None:
    """The model that was named; for the simulated unit one that can be locked. Raises ValueError."""
    available = modeldb.load().available(target.unit.brand)
    if target.model is not None:
        wanted = target.model.lower()
        found = [each for each in available if wanted in (each.id.lower(), each.name.lower(), each.title.lower())]
        if not found:
            raise ValueError(f"{target.unit.brand} has no model {target.model}; `teleloop models list` shows them")
        return found[-1]
    if not target.simulated:
        return None
    able = [each for each in available if "unlock-central-lock" in each.units[target.unit.brand].commands]
    return next((each for each in able if each.type == "DEV_KIT"), able[0])
