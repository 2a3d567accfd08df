"""One simulated unit of a public protocol on the bench, and the gateway's side of its talk."""

from collections.abc import Iterable
from typing import Any

import modeldb
from devices.config import UnitConfig
from devices.firmware import Firmware
from devices.flash import Flash
from devices.switch import switch_on
from devices.vehicle import Vehicle
from modeldb.model import VehicleModel
from protocols import envelope, load
from protocols.codec import Frame, Peer, Protocol, UnitId
from protocols.envelope import COMMAND_CODES, NATIVE_COMMAND, Envelope, Type
from protocols.keys import UnitKeys, brand_key, unit_keys

BOOT_MS = 1_795_446_000_000
IDS = {"TELTONIKA": "356307042441013", "GBT32960": "LGXCE6CD0MA123456", "MERCEDES_BENZ": "W1K2060461F123456"}
DATABASE = modeldb.load()
CASES: list[tuple[str, VehicleModel]] = [(brand, model) for brand in IDS for model in DATABASE.available(brand)]


def model_of(brand: str) -> VehicleModel:
    """A model of the brand that can be locked."""
    return next(model for model in DATABASE.available(brand) if "unlock-central-lock" in model.units[brand].commands)


class PublicBench:
    """A unit that is switched on. `now` is the time in ms; `stored` is the flash as it was written last."""

    def __init__(self, brand: str, model: VehicleModel | None = None, *, life: Any = None, **config: Any) -> None:
        self.brand, self.unit_id = DATABASE.brands[brand], IDS[brand]
        self.model = model or model_of(brand)
        self.protocol: Protocol = load()[self.brand.protocol]
        self.now = BOOT_MS
        self.vehicle = Vehicle.of(self.model, brand, seed=1, life=life)
        self.keys: UnitKeys = unit_keys(brand_key(bytes(32), brand), 1, self.unit_id)
        self.config = UnitConfig(
            UnitId(brand, self.unit_id), self.model.units[brand], self.keys.seal, {1: self.keys.command}, **config
        )
        self.stored = Flash().dump()
        self.unit: Firmware = self.switch_on()

    def switch_on(self) -> Firmware:
        """Boot from what was stored."""
        self.unit = switch_on(self.protocol.name, self.config, Flash.load(self.stored), self.vehicle, self._store)
        return self.unit

    def _store(self, flash: Flash) -> None:
        self.stored = flash.dump()

    def frames(self, payloads: Iterable[bytes]) -> list[Frame]:
        """The frames of payloads, each checked as the gateway would."""
        peer = Peer(self.unit_id)
        return [self.protocol.decode(cut.data, peer) for payload in payloads for cut in self.protocol.split(payload)]

    def connect(self) -> list[Frame]:
        """The line comes up."""
        return self.frames(self.unit.connected(self.now))

    def tick(self, after_s: float = 0.0) -> list[Frame]:
        """Let time pass."""
        self.now += round(after_s * 1000)
        return self.frames(self.unit.tick(self.now))

    def hear(self, payload: bytes) -> list[Frame]:
        """The gateway says something."""
        return self.frames(self.unit.receive(payload, self.now))

    def answer(self, said: Iterable[Frame]) -> list[Frame]:
        """The gateway answers these frames, in order, as it does when their events are confirmed; what the unit says to that."""
        heard: list[Frame] = []
        for frame in said:
            answer = self.protocol.answer(frame, len(frame.reports))
            if answer is not None:
                heard += self.hear(answer)
            if frame.facts.get("clock_unsynchronised"):
                heard += self.hear(self.protocol.synchronise(self.unit_id, self.now, b"") or b"")
        return heard

    def settle(self, said: list[Frame]) -> list[Frame]:
        """Answer until the unit has nothing more to say; all that it said, from `said` on."""
        all_said = list(said)
        while said:
            said = self.answer(said)
            all_said += said
        return all_said

    def request(self, name: str, counter: int, *, key: bytes | None = None, nonce: bytes = b"") -> bytes:
        """A command as the gateway sends it."""
        rendered = self.model.units[self.brand.name].render(name)
        code = NATIVE_COMMAND if rendered.native else COMMAND_CODES[name]
        asked = Envelope(Type.REQUEST, 1, counter, self.now // 1000 + 30, code, nonce + rendered.parameters)
        sealed = envelope.close(asked, self.unit_id, key or self.keys.command)
        return self.protocol.carry(self.unit_id, sealed, self.now, b"")

    def results(self, said: Iterable[Frame]) -> list[Envelope]:
        """The responses among frames, their tags checked."""
        keys = {1: self.keys.command}
        return [envelope.open(frame.facts["envelope"], self.unit_id, keys) for frame in said if frame.kind == "result"]

    def state_of(self, frame: Frame) -> dict[str, Any]:
        """What a frame's last report means to the gateway."""
        return self.config.translation.translate(frame.reports[-1].signals)


def kinds(said: Iterable[Frame]) -> list[str]:
    """What kinds of frames these are."""
    return [frame.kind for frame in said]


def records(said: Iterable[Frame]) -> list[bytes]:
    """What makes each report of frames that report and no other."""
    return [report.record for frame in said for report in frame.reports]
