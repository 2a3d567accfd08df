"""What one unit said, said by another: frames that the other's gateway takes as its own."""

from dataclasses import replace

import pytest

import modeldb
from bench.rewrite import CannotRewrite, Rewriting, protocol_of
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.unitsfile import UnitRecord
from devices.vehicle import Vehicle
from protocols import envelope, load
from protocols.cloudboxx import PROTOCOL as CLOUDBOXX
from protocols.codec import Frame, Peer, Protocol, UnitId
from protocols.keys import brand_key, unit_keys

NOW = 1_795_446_000_000
BRANDS = modeldb.load().brands
PAIRS = {
    "CLOUDBOXX": ("0123456789ABCDEF", "FEDCBA9876543210"),
    "TELTONIKA": ("352093081452251", "356307042441013"),
    "GBT32960": ("LGXC14DF3P1234567", "LGXC14DF3P7654321"),
    "MERCEDES_BENZ": ("W1N2437011N123456", "W1N2437011N654321"),
}


def record_of(unit: UnitId) -> UnitRecord:
    """A unit with keys of its own."""
    keys = unit_keys(brand_key(bytes(32), unit.brand), 1, unit.telematics_unit_id)
    return UnitRecord(
        brand=unit.brand,
        telematics_unit_id=unit.telematics_unit_id,
        vehicle_model_id="",
        password=keys.password,
        seal_key=keys.seal.hex(),
        command_key=keys.command.hex(),
    )


def made(brand: str, fresh: bool = False) -> tuple[UnitId, UnitId, Protocol, Rewriting]:
    """The old unit, the new one, what they speak, and the rewriting from one to the other."""
    old, new = (UnitId(brand, each) for each in PAIRS[brand])
    protocol = load()[BRANDS[brand].protocol]
    rewriting = Rewriting({old: new}, {new: record_of(new)}, protocol_of(BRANDS), fresh)
    rewriting.check([old])
    return old, new, protocol, rewriting


def said_by(unit: UnitId) -> list[bytes]:
    """Payloads that a simulated unit says in a few minutes."""
    model = modeldb.load().available(unit.brand)[0]
    keys = unit_keys(brand_key(bytes(32), unit.brand), 1, unit.telematics_unit_id)
    config = UnitConfig(
        unit,
        model.units[unit.brand],
        keys.seal,
        {1: keys.command},
        intervals=Intervals(10, 10, 20),
        entropy=lambda size: bytes(size),
    )
    vehicle = Vehicle.of(model, unit.brand, seed=3)
    protocol = load()[BRANDS[unit.brand].protocol]
    firmware = switch_on(protocol.name, config, Flash.factory(NOW), vehicle)
    payloads = list(firmware.connected(NOW))
    for step in range(1, 12):
        if step == 5:
            vehicle.locked = not vehicle.locked
        for frame in frames(protocol, payloads[-1:], Peer(unit.telematics_unit_id, (keys.seal,))):
            if (answer := protocol.answer(frame, len(frame.reports))) is not None:
                payloads += firmware.receive(answer, NOW + 10_000 * step)
        payloads += firmware.tick(NOW + 10_000 * step)
    return payloads


def frames(protocol: Protocol, payloads: list[bytes], peer: Peer) -> list[Frame]:
    """Their frames, checked as a gateway checks them."""
    return [protocol.decode(cut.data, peer) for payload in payloads for cut in protocol.split(payload)]


@pytest.mark.parametrize("brand", PAIRS)
def test_what_was_said_is_said_by_another_unit_and_nothing_else_changes(brand: str) -> None:
    old, new, protocol, rewriting = made(brand)
    payloads = said_by(old)
    again = [rewriting.payload(old, payload, lambda at: at, NOW) for payload in payloads]
    key = bytes.fromhex(record_of(new).seal_key)
    before = frames(protocol, payloads, Peer(old.telematics_unit_id, (bytes.fromhex(record_of(old).seal_key),)))
    after = frames(protocol, again, Peer(new.telematics_unit_id, (key,)))
    assert len(before) > 4
    assert any(frame.unit == new.telematics_unit_id for frame in after)
    assert not any(old.telematics_unit_id.encode() in payload for payload in again)
    assert [frame.kind for frame in after] == [frame.kind for frame in before]
    for one, other in zip(before, after, strict=True):
        assert other.sequence == one.sequence
        assert [report.captured_at for report in other.reports] == [report.captured_at for report in one.reports]
        assert [dict(report.signals, vin=None) for report in other.reports] == [
            dict(report.signals, vin=None) for report in one.reports
        ]


def test_a_unit_that_is_not_rewritten_says_the_same_bytes() -> None:
    old, _, _, _ = made("CLOUDBOXX")
    rewriting = Rewriting({}, {}, protocol_of(BRANDS))
    assert rewriting.payload(old, b"anything", lambda at: at, NOW) == b"anything"


def test_fresh_frames_have_new_numbers_and_times_and_repeats_stay_repeats() -> None:
    old, new, _, rewriting = made("CLOUDBOXX", fresh=True)
    payloads = said_by(old)
    later = 86_400_000
    key = bytes.fromhex(record_of(new).seal_key)

    def loop() -> list[Frame]:
        said = [rewriting.payload(old, payload, lambda at: at + later, NOW + later) for payload in (*payloads, payloads[-1])]
        rewriting.next_loop()
        return frames(CLOUDBOXX, said, Peer(new.telematics_unit_id, (key,)))

    first, second = loop(), loop()
    before = frames(CLOUDBOXX, payloads, Peer(old.telematics_unit_id, (bytes.fromhex(record_of(old).seal_key),)))
    assert first[0].sequence == (NOW + later) // 1000 + 1
    assert [frame.captured_at for frame in first[: len(before)]] == [(frame.captured_at or 0) + later for frame in before]
    assert first[-1] == next(frame for frame in first if frame.sequence == first[-1].sequence)
    assert {frame.sequence for frame in first}.isdisjoint(frame.sequence for frame in second)
    for frame in (*first, *second):
        assert frame.facts["oldest_sequence"] is None or frame.facts["oldest_sequence"] <= (frame.sequence or 0)
    distances = [(frame.sequence or 0) - (frame.facts["oldest_sequence"] or 0) for frame in before]
    assert [(frame.sequence or 0) - (frame.facts["oldest_sequence"] or 0) for frame in first[: len(before)]] == distances


def test_fresh_records_of_teltonika_move_in_time() -> None:
    old, new, protocol, rewriting = made("TELTONIKA", fresh=True)
    payloads = said_by(old)
    after = [rewriting.payload(old, payload, lambda at: at + 5_000, NOW) for payload in payloads]
    before = frames(protocol, payloads, Peer(old.telematics_unit_id))
    moved = [report.captured_at for frame in frames(protocol, after, Peer(new.telematics_unit_id)) for report in frame.reports]
    assert moved == [(report.captured_at or 0) + 5_000 for frame in before for report in frame.reports]
    assert moved


def test_a_commands_result_is_authenticated_by_the_new_unit() -> None:
    old, new, _, rewriting = made("CLOUDBOXX")
    request = envelope.Envelope(envelope.Type.REQUEST, 1, 7, NOW // 1000 + 30, envelope.COMMAND_CODES["lock-central-lock"])
    old_record, new_record = record_of(old), record_of(new)
    sealed = envelope.close(request.response(envelope.Result.OK), old.telematics_unit_id, bytes.fromhex(old_record.command_key))
    frame = Frame("result", old.telematics_unit_id, 9, NOW, facts={"envelope": sealed, "flags": 0})
    data = rewriting.payload(old, CLOUDBOXX.encode(frame, bytes.fromhex(old_record.seal_key)), lambda at: at, NOW)
    said = CLOUDBOXX.decode(data, Peer(new.telematics_unit_id, (bytes.fromhex(new_record.seal_key),)))
    opened = envelope.open(said.facts["envelope"], new.telematics_unit_id, {1: bytes.fromhex(new_record.command_key)})
    assert (opened.counter, opened.result) == (7, envelope.Result.OK)


def test_what_cannot_be_said_is_refused_with_what_would_help() -> None:
    old, new, protocol, rewriting = made("CLOUDBOXX")
    with pytest.raises(CannotRewrite, match=f"seal_key of {new}: name it in --units"):
        Rewriting({old: new}, {}, protocol_of(BRANDS)).check([old])
    with pytest.raises(CannotRewrite, match=f"seal_key of {old}"):
        Rewriting({}, {}, protocol_of(BRANDS), fresh=True).check([old])
    with pytest.raises(CannotRewrite, match="units of TELTONIKA speak otherwise"):
        Rewriting({old: UnitId("TELTONIKA", "352093081452251")}, {}, protocol_of(BRANDS)).check([old])
    stranger = UnitId("NOBODY", "1")
    with pytest.raises(CannotRewrite, match="nobody here knows"):
        Rewriting({stranger: UnitId("NOBODY", "2")}, {}, protocol_of(BRANDS)).check([stranger])
    with pytest.raises(CannotRewrite, match="times of autoapi frames cannot be moved"):
        Rewriting({}, {}, protocol_of(BRANDS), fresh=True).check([UnitId("MERCEDES_BENZ", PAIRS["MERCEDES_BENZ"][0])])
    broken = bytearray(said_by(old)[0])
    broken[-1] ^= 1
    with pytest.raises(CannotRewrite, match="cannot be read: bad_checksum"):
        rewriting.payload(old, bytes(broken), lambda at: at, NOW)
    assert replace(rewriting, pairs={}).payload(old, bytes(broken), lambda at: at, NOW) == bytes(broken)
    assert protocol.sealed
