"""What the tests of units share: one unit on the bench, its secrets, and the gateway's side of the talk."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import modeldb
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.unit import Unit
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel
from protocols import envelope
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Peer, UnitId
from protocols.envelope import COMMAND_CODES, Envelope, Type
from protocols.keys import UnitKeys, brand_key, unit_keys

BOOT_MS = 1_795_446_000_000
UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
QNR = UNIT.telematics_unit_id
KEYS: UnitKeys = unit_keys(brand_key(bytes(32), UNIT.brand), 1, QNR)
MODELS: list[VehicleModel] = modeldb.load().available(UNIT.brand)
DEV_KIT: VehicleModel = next(model for model in MODELS if model.type == "DEV_KIT")


class Bench:
    """A unit that is switched on, with a vehicle that stands still unless it has a life. `now` is the time in ms.

    `stored` is the flash as it was written last: all that a reboot finds.
    """

    def __init__(
        self, model: VehicleModel = DEV_KIT, *, life: Any = None, seed: int = 1, intervals: Intervals | None = None, **config: Any
    ) -> None:
        self.now = BOOT_MS
        self.vehicle = Vehicle.of(model, UNIT.brand, seed=seed, life=life)
        self.config = UnitConfig(
            UNIT, model.units[UNIT.brand], KEYS.seal, {1: KEYS.command}, intervals=intervals or Intervals(), **config
        )
        self.stored = Flash().dump()
        self.on_store: Callable[[Flash], None] = lambda flash: None
        self.switch_on()

    def switch_on(self) -> None:
        """Boot from what was stored."""
        self.unit = Unit(self.config, Flash.load(self.stored), self.vehicle, self._store)

    def _store(self, flash: Flash) -> None:
        self.stored = flash.dump()
        self.on_store(flash)

    def connect(self) -> list[Frame]:
        """The line comes up; what the unit says then."""
        return frames(self.unit.connected(self.now))

    def connect_and_ack(self) -> None:
        """The line comes up, and the gateway holds all that was said."""
        self.connect()
        self.ack(self.unit.flash.sequence)

    def tick(self, after_s: float = 0.0) -> list[Frame]:
        """Let time pass, then what the unit says."""
        self.now += round(after_s * 1000)
        return frames(self.unit.tick(self.now))

    def hear(self, payload: bytes) -> list[Frame]:
        """The gateway says `payload`; what the unit says to that."""
        return frames(self.unit.receive(payload, self.now))

    def ack(self, cumulative: int, bitmap: int = 0) -> list[Frame]:
        """The gateway acknowledges."""
        return self.hear(PROTOCOL.acknowledge(QNR, cumulative, bitmap, self.now, KEYS.seal))

    def command(self, name: str, counter: int = 1, **how: Any) -> list[Frame]:
        """The gateway sends a command."""
        return self.hear(self.carried(request(name, counter, self.now, **how)))

    def carried(self, data: bytes, key: bytes = KEYS.seal) -> bytes:
        """A command frame with these bytes as its envelope."""
        return PROTOCOL.carry(QNR, data, self.now, key)

    def told(self, kind: str, facts: dict[str, Any], at: int | None = None) -> list[Frame]:
        """The gateway says a frame of `kind`."""
        return self.hear(PROTOCOL.encode(Frame(kind, QNR, captured_at=self.now if at is None else at, facts=facts), KEYS.seal))

    def synchronise(self, at: int | None = None) -> list[Frame]:
        """The gateway tells the time."""
        return self.hear(PROTOCOL.synchronise(QNR, self.now if at is None else at, KEYS.seal))


def request(
    name: str, counter: int, now_ms: int, *, lifetime_s: int = 30, nonce: bytes = b"", key: bytes = KEYS.command, unit: str = QNR
) -> bytes:
    """A command envelope."""
    return envelope.close(Envelope(Type.REQUEST, 1, counter, now_ms // 1000 + lifetime_s, COMMAND_CODES[name], nonce), unit, key)


def frames(payloads: Iterable[bytes]) -> list[Frame]:
    """The frames of payloads, in order; each is checked as the gateway would."""
    peer = Peer(QNR, (KEYS.seal,))
    return [PROTOCOL.decode(cut.data, peer) for payload in payloads for cut in PROTOCOL.split(payload)]


def kinds(said: Sequence[Frame]) -> list[str]:
    """What kinds of frames these are."""
    return [frame.kind for frame in said]


def results(said: Sequence[Frame]) -> list[Envelope]:
    """The responses among frames, their tags checked."""
    return [envelope.open(frame.facts["envelope"], QNR, {1: KEYS.command}) for frame in said if frame.kind == "result"]


def state_of(bench: Bench, frame: Frame) -> dict[str, Any]:
    """What a frame's signals mean to the gateway."""
    return bench.config.translation.translate(frame.reports[0].signals)
