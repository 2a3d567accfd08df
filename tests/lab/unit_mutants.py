"""Units that are deliberately wrong, each in one thing: what the conformance kit has to catch, and by which requirement."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

import devices.autoapi
import devices.gate
import devices.gbt32960
import devices.journal
import devices.teltonika
import devices.unit
import protocols.teltonika
import protocols.teltonika_framing
from devices.config import UnitConfig
from devices.flash import Flash
from devices.switch import FirmwareFactory, switch_on
from devices.vehicle import Vehicle
from protocols import envelope
from protocols.autoapi_commands import command_of
from protocols.checksums import crc16_ccitt_false
from protocols.codec import ProtocolError
from protocols.envelope import Algorithm, Freshness, Result, Type
from protocols.seal import seal

Patch = pytest.MonkeyPatch
Break = Callable[[Patch], FirmwareFactory | None]
PROTOCOLS = {"CLOUDBOXX": "cloudboxx", "TELTONIKA": "teltonika", "GBT32960": "gbt32960", "MERCEDES_BENZ": "autoapi"}


@dataclass(frozen=True)
class Mutant:
    """What is wrong, with units of which brand, which requirement catches it, and how it is brought about."""

    name: str
    brand: str
    caught_by: str
    broken: Break


MUTANTS: list[Mutant] = []


def mutant(name: str, caught_by: str, brand: str = "CLOUDBOXX") -> Callable[[Break], Break]:
    """Register one."""

    def registered(broken: Break) -> Break:
        MUTANTS.append(Mutant(name, brand, caught_by, broken))
        return broken

    return registered


# Commands ----------------------------------------------------------------------------------------------------------------


def _flash_without(patch: Patch, **lost: Any) -> None:
    patch.setattr(Flash, "dump", lambda self: msgspec.msgpack.encode(msgspec.structs.replace(self, **lost)))


def _judged(patch: Patch, was: Freshness, becomes: Freshness) -> None:
    kept = envelope.freshness
    patch.setattr(envelope, "freshness", lambda *given: becomes if (found := kept(*given)) is was else found)


@mutant("the counter is not stored", "VTC-REPLAY-003")
def _(patch: Patch) -> None:
    _flash_without(patch, counter=0, request=b"", response=b"")


@mutant("a replay is executed", "VTC-REPLAY-002")
def _(patch: Patch) -> None:
    _judged(patch, Freshness.REPLAYED, Freshness.FRESH)


@mutant("a lower counter is executed", "VTC-REPLAY-004")
def _(patch: Patch) -> None:
    _judged(patch, Freshness.REPLAYED, Freshness.FRESH)


@mutant("the same bytes are executed twice", "VTC-REPLAY-001")
def _(patch: Patch) -> None:
    _judged(patch, Freshness.REPEATED, Freshness.FRESH)


@mutant("a late command is executed", "VTC-LATE-001")
def _(patch: Patch) -> None:
    _judged(patch, Freshness.EXPIRED, Freshness.FRESH)


@mutant("an expiry far away is believed", "VTC-LATE-002")
def _(patch: Patch) -> None:
    patch.setattr(envelope, "LIFETIME_LIMIT_S", 10_000)


@mutant("a late command uses no counter up", "VTC-LATE-003")
def _(patch: Patch) -> None:
    kept = devices.gate.Gate.admit

    def admit(self: Any, data: bytes, now_ms: int, act: Any) -> bytes | None:
        before = self._flash.counter, self._flash.request, self._flash.response
        said = kept(self, data, now_ms, act)
        if said is not None and said[20] == Result.EXPIRED:
            self._flash.counter, self._flash.request, self._flash.response = before
        return said

    patch.setattr(devices.gate.Gate, "admit", admit)


@mutant("tags are not checked", "VTC-FORGE-001")
def _(patch: Patch) -> None:
    patch.setattr(envelope.hmac, "compare_digest", lambda one, other: True)


@mutant("the tag does not bind the unit", "VTC-FORGE-002")
def _(patch: Patch) -> None:
    kept = envelope._tag
    patch.setattr(envelope, "_tag", lambda algorithm, key, unit, signed: kept(algorithm, key, "", signed))


@mutant("the tag does not cover the command", "VTC-FORGE-003")
def _(patch: Patch) -> None:
    kept = envelope._tag
    patch.setattr(envelope, "_tag", lambda algorithm, key, unit, signed: kept(algorithm, key, unit, signed[:16] + signed[18:]))


def _opened(patch: Patch, changed: Callable[[envelope.Envelope], envelope.Envelope]) -> None:
    class Opening:
        def __getattr__(self, name: str) -> Any:
            return getattr(envelope, name)

        def open(self, *given: Any) -> envelope.Envelope:
            return changed(envelope.open(*given))

    patch.setattr(devices.gate, "envelope", Opening())


@mutant("a response is obeyed like a request", "VTC-FORGE-004")
def _(patch: Patch) -> None:
    _opened(patch, lambda said: replace(said, type=Type.REQUEST))


@mutant("the key id is ignored", "VTC-FORGE-005")
def _(patch: Patch) -> None:
    class AnyKey(dict[int, bytes]):
        def get(self, key: int, default: Any = None) -> Any:
            return next(iter(self.values()))

        def __missing__(self, key: int) -> bytes:
            return next(iter(self.values()))

    kept = devices.gate.Gate.__init__

    def begin(self: Any, *given: Any) -> None:
        kept(self, *given)
        self._keys = AnyKey(self._keys)

    patch.setattr(devices.gate.Gate, "__init__", begin)


@mutant("a forged command uses its counter up", "VTC-FORGE-006")
def _(patch: Patch) -> None:
    kept = devices.gate.Gate.admit

    def admit(self: Any, data: bytes, now_ms: int, act: Any) -> bytes | None:
        said = kept(self, data, now_ms, act)
        if len(data) >= 36:
            self._flash.counter = max(self._flash.counter, int.from_bytes(data[4:12], "big"))
        return said

    patch.setattr(devices.gate.Gate, "admit", admit)


@mutant("an unknown command is answered with OK", "VTC-UNKNOWN-001")
def _(patch: Patch) -> None:
    kept = devices.gate.obey
    patch.setattr(devices.gate, "obey", lambda vehicle, command: (Result.OK, b"") if command is None else kept(vehicle, command))


@mutant("the ignition is no obstacle", "VTC-PRE-001")
def _(patch: Patch) -> None:
    def execute(self: Any, command: str) -> None:
        from devices.actuators import ACTS

        ACTS[command][1](self)
        self.executed[command] += 1

    patch.setattr(Vehicle, "execute", execute)


@mutant("a response names another counter", "VTC-UNIT-001")
def _(patch: Patch) -> None:
    kept = envelope.Envelope.response
    patch.setattr(envelope.Envelope, "response", lambda self, *given: replace(kept(self, *given), counter=self.counter + 1))


@mutant("OK is said and nothing done", "VTC-UNIT-002")
def _(patch: Patch) -> None:
    patch.setattr(Vehicle, "execute", lambda self, command: None)


@mutant("AES-CMAC is not known", "VTC-CMAC-001")
def _(patch: Patch) -> None:
    def only_hmac(said: envelope.Envelope) -> envelope.Envelope:
        if said.algorithm is Algorithm.AES_CMAC:
            raise ProtocolError("unsupported", 1, "algorithm")
        return said

    _opened(patch, only_hmac)


# CloudBoxx ---------------------------------------------------------------------------------------------------------------


def _said(changed: Callable[[bytes], bytes | None], protocol: str = "cloudboxx") -> FirmwareFactory:
    """Units whose payloads are changed on their way out; None: not sent."""

    def make(config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Any) -> Any:
        unit = switch_on(protocol, config, flash, vehicle, store)

        def through(name: str) -> None:
            kept = getattr(unit, name)

            def call(*given: Any) -> list[bytes]:
                return [new for payload in kept(*given) if (new := changed(bytes(payload)))]

            setattr(unit, name, call)

        for name in ("connected", "tick", "receive"):
            through(name)
        return unit

    return make


def _frames(payload: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(payload):
        size = 34 + int.from_bytes(payload[at + 22 : at + 24], "little")
        yield payload[at : at + size]
        at += size


def _each(changed: Callable[[bytes], bytes]) -> FirmwareFactory:
    return _said(lambda payload: b"".join(map(changed, _frames(payload))))


def _sealed(data: bytes, key: bytes) -> bytes:
    sealed = data + seal(data, key)
    return sealed + crc16_ccitt_false(sealed).to_bytes(2, "little")


@mutant("the CRC's bytes are swapped", "CBX-FRAME-008")
def _(patch: Patch) -> FirmwareFactory:
    return _each(lambda frame: frame[:-2] + frame[-1:] + frame[-2:-1])


@mutant("frames are not sealed", "CBX-FRAME-009")
def _(patch: Patch) -> FirmwareFactory:
    def unsealed(frame: bytes) -> bytes:
        body = frame[:-10] + bytes(8)
        return body + crc16_ccitt_false(body).to_bytes(2, "little")

    return _each(unsealed)


@mutant("positions are big-endian", "CBX-STATE-004")
def _(patch: Patch) -> None:
    kept = devices.unit.PROTOCOL.encode

    def swapped(self: Any, frame: Any, key: bytes = b"") -> bytes:
        if frame.reports and "latitude" in frame.reports[0].signals:
            signals = dict(frame.reports[0].signals)
            for axis in ("latitude", "longitude"):
                signals[axis] = int.from_bytes(signals[axis].to_bytes(4, "big", signed=True), "little", signed=True)
            frame = replace(frame, reports=(replace(frame.reports[0], signals=signals),))
        return kept(frame, key)

    patch.setattr(type(devices.unit.PROTOCOL), "encode", swapped)


@mutant("reserved flags are set", "CBX-FRAME-003")
def _(patch: Patch) -> None:
    patch.setattr(devices.unit, "DRIVING", 0x42)
    patch.setattr(devices.unit, "CLOCK_UNSYNCHRONISED", 0x04)
    kept = devices.unit.PROTOCOL.encode
    patch.setattr(
        type(devices.unit.PROTOCOL),
        "encode",
        lambda self, frame, key=b"": kept(replace(frame, facts={**frame.facts, "flags": 0x41}) if frame.sequence else frame, key),
    )


@mutant("nothing is sent again", "CBX-UNIT-003")
def _(patch: Patch) -> None:
    patch.setattr(devices.journal, "RESEND_FIRST_MS", 10_000_000)
    patch.setattr(devices.journal, "RESEND_LIMIT_MS", 10_000_000)


@mutant("the journal is lost with the line", "CBX-UNIT-005")
def _(patch: Patch) -> None:
    def line_lost(self: Any) -> None:
        for sequence in list(self._frames):
            self._drop(sequence)

    patch.setattr(devices.journal.Journal, "line_lost", line_lost)


@mutant("acknowledged frames come again", "CBX-UNIT-004")
def _(patch: Patch) -> None:
    patch.setattr(devices.journal.Journal, "acknowledge", lambda self, cumulative, bitmap: 0)


@mutant("the Ack's bitmap is ignored", "CBX-UNIT-006")
def _(patch: Patch) -> None:
    kept = devices.journal.Journal.acknowledge
    patch.setattr(devices.journal.Journal, "acknowledge", lambda self, cumulative, bitmap: kept(self, cumulative, 0))


@mutant("a forged Ack is believed", "CBX-UNIT-007")
def _(patch: Patch) -> FirmwareFactory:
    def make(config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Any) -> Any:
        unit = switch_on("cloudboxx", config, flash, vehicle, store)
        unit._peer = None  # type: ignore[attr-defined]
        return unit

    return make


@mutant("an Ack of the future is believed", "CBX-UNIT-008")
def _(patch: Patch) -> None:
    patch.setattr(
        devices.unit.Unit, "_take_ack", lambda self, cumulative, bitmap, now_ms: self.journal.acknowledge(cumulative, bitmap)
    )


@mutant("a payload with garbage in it is dropped whole", "CBX-UNIT-009")
def _(patch: Patch) -> None:
    kept = devices.unit.Unit.receive

    def receive(self: Any, payload: bytes, now_ms: int) -> list[bytes]:
        if any(cut.error for cut in devices.unit.PROTOCOL.split(payload)):
            return []
        return kept(self, payload, now_ms)

    patch.setattr(devices.unit.Unit, "receive", receive)


@mutant("a config is not obeyed", "CBX-UNIT-010")
def _(patch: Patch) -> FirmwareFactory:
    patch.setattr(devices.unit.Unit, "_take_config", lambda self, facts: None)
    return _slow


def _slow(config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Any) -> Any:
    from devices.config import Intervals

    return switch_on("cloudboxx", replace(config, intervals=Intervals(60, 60, 900)), flash, vehicle, store)


@mutant("an old config is obeyed", "CBX-UNIT-011")
def _(patch: Patch) -> None:
    patch.setattr(devices.unit.Unit, "_is_newer", lambda self, frame: True)


@mutant("the sequence begins anew after a power cut", "CBX-UNIT-012")
def _(patch: Patch) -> None:
    kept = Flash.load
    loads: list[int] = []

    def load(data: bytes) -> Flash:
        flash = kept(data)
        loads.append(1)
        if len(loads) > 1:
            flash.sequence, flash.journal = flash.sequence - 500, {}
        return flash

    patch.setattr(Flash, "load", staticmethod(load))


@mutant("the journal is not in flash", "CBX-UNIT-013")
def _(patch: Patch) -> None:
    _flash_without(patch, journal={})


@mutant("the state does not travel with the result", "CBX-UNIT-014")
def _(patch: Patch) -> FirmwareFactory:
    def make(config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Any) -> Any:
        unit = switch_on("cloudboxx", config, flash, vehicle, store)
        kept = unit.receive
        unit.receive = lambda payload, now_ms: [  # type: ignore[method-assign]
            frame for said in kept(payload, now_ms) for frame in _frames(bytes(said))
        ]
        return unit

    return make


@mutant("the clock is an hour ahead", "CBX-UNIT-015")
def _(patch: Patch) -> FirmwareFactory:
    return _off(3_600_000, "cloudboxx")


def _off(error_ms: int, protocol: str) -> FirmwareFactory:
    return lambda config, flash, vehicle, store: switch_on(
        protocol, replace(config, clock_error_ms=error_ms), flash, vehicle, store
    )


@mutant("no hello is said", "CBX-UNIT-001")
def _(patch: Patch) -> None:
    patch.setattr(devices.unit.Unit, "_capture_hello", lambda self, now_ms: 0)


@mutant("sequence numbers count by two", "CBX-SEQ-001")
def _(patch: Patch) -> None:
    kept = devices.unit.Unit._numbers

    def numbers(self: Any) -> tuple[int, int]:
        self.flash.sequence += 1
        return kept(self)

    patch.setattr(devices.unit.Unit, "_numbers", numbers)


# Public protocols --------------------------------------------------------------------------------------------------------


@mutant("records go out before the login is accepted", "TEL-UNIT-002", "TELTONIKA")
def _(patch: Patch) -> None:
    kept = devices.teltonika.TeltonikaUnit.connected

    def connected(self: Any, now_ms: int) -> list[bytes]:
        return [*kept(self, now_ms), *list(self.flash.journal.values())[:1]]

    patch.setattr(devices.teltonika.TeltonikaUnit, "connected", connected)


def _any_count(patch: Patch, seen: Callable[[Any], Any]) -> None:
    kept = devices.teltonika.TeltonikaUnit._take_answer
    patch.setattr(
        devices.teltonika.TeltonikaUnit, "_take_answer", lambda self, answer, now_ms: kept(self, seen((self, answer)), now_ms)
    )


@mutant("any count acknowledges", "TEL-UNIT-006", "TELTONIKA")
def _(patch: Patch) -> None:
    def counted(given: Any) -> Any:
        unit, answer = given
        first = unit._waiting[0].sequences if unit._waiting else ()
        return answer if answer.login or not first else replace(answer, accepted=len(first))

    _any_count(patch, counted)


@mutant("a rejected login is taken for an accepted one", "TEL-UNIT-004", "TELTONIKA")
def _(patch: Patch) -> None:
    _any_count(patch, lambda given: replace(given[1], accepted=1) if given[1].login else given[1])


@mutant("answered records come again", "TEL-UNIT-007", "TELTONIKA")
def _(patch: Patch) -> None:
    patch.setattr(devices.teltonika.TeltonikaUnit, "_acknowledged", lambda self, sequences: None)


@mutant("records are lost with the line", "TEL-UNIT-008", "TELTONIKA")
def _(patch: Patch) -> None:
    kept = devices.teltonika.TeltonikaUnit._line_lost

    def line_lost(self: Any, now_ms: int) -> None:
        kept(self, now_ms)
        for sequence in list(self.flash.journal):
            self.journal.release(sequence)

    patch.setattr(devices.teltonika.TeltonikaUnit, "_line_lost", line_lost)


@mutant("a command's CRC is not checked", "TEL-UNIT-010", "TELTONIKA")
def _(patch: Patch) -> None:
    def unchecked(frame: bytes) -> None:
        return None

    patch.setattr(protocols.teltonika, "check_crc", unchecked)
    patch.setattr(protocols.teltonika_framing, "check_crc", unchecked)


@mutant("the time zone is wrong", "GBT-UNIT-007", "GBT32960")
def _(patch: Patch) -> FirmwareFactory:
    return _off(-8 * 3_600_000, "gbt32960")


@mutant("stored reports go out as realtime", "GBT-UNIT-006", "GBT32960")
def _(patch: Patch) -> None:
    patch.setattr(devices.gbt32960, "reissued", lambda frame: frame)


@mutant("every login has the same number", "GBT-UNIT-005", "GBT32960")
def _(patch: Patch) -> None:
    kept = devices.gbt32960.login
    patch.setattr(devices.gbt32960, "login", lambda unit, at, sequence, *more: kept(unit, at, 7, *more))


@mutant("a login is tried again at once", "GBT-UNIT-004", "GBT32960")
def _(patch: Patch) -> None:
    patch.setattr(devices.gbt32960, "LOGIN_RETRY_MS", 5_000)


@mutant("a command for another VIN is obeyed", "GBT-UNIT-010", "GBT32960")
def _(patch: Patch) -> None:
    kept = devices.gbt32960.Gbt32960Unit._take
    patch.setattr(
        devices.gbt32960.Gbt32960Unit, "_take", lambda self, frame, now_ms: kept(self, replace(frame, unit=self._unit), now_ms)
    )


@mutant("reports go out before the login is answered", "GBT-UNIT-002", "GBT32960")
def _(patch: Patch) -> None:
    kept = devices.gbt32960.Gbt32960Unit.connected

    def connected(self: Any, now_ms: int) -> list[bytes]:
        return [*kept(self, now_ms), *list(self.flash.journal.values())[:1]]

    patch.setattr(devices.gbt32960.Gbt32960Unit, "connected", connected)


@mutant("a setter without an envelope is obeyed", "AAP-UNIT-004", "MERCEDES_BENZ")
def _(patch: Patch) -> None:
    kept = devices.autoapi.AutoApiUnit.receive

    def receive(self: Any, payload: bytes, now_ms: int) -> list[bytes]:
        if payload[:1] == b"\x0d":
            self.vehicle.execute(command_of(payload))
        return kept(self, payload, now_ms)

    patch.setattr(devices.autoapi.AutoApiUnit, "receive", receive)


@mutant("states do not say whose they are", "AAP-UNIT-002", "MERCEDES_BENZ")
def _(patch: Patch) -> None:
    kept = devices.autoapi.state_message
    patch.setattr(devices.autoapi, "state_message", lambda said, vin, at: kept(said, None, at))


@mutant("no state on connecting", "AAP-UNIT-001", "MERCEDES_BENZ")
def _(patch: Patch) -> FirmwareFactory:
    return _said(lambda payload: None, "autoapi")


def factory(mutant: Mutant, patch: Patch) -> FirmwareFactory | None:
    """Bring the mutant about; the factory of its units."""
    return mutant.broken(patch)


__all__ = ["MUTANTS", "PROTOCOLS", "Mutant", "factory"]
