"""The ledger counts as it says, knows the contract's event ids, and names a cause for everything that is missing."""

import pytest

import modeldb
from bench.ledger import Ledger, by_cause, event_id, event_ids, id_begun
from bench.witness import Witness
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.vehicle import Vehicle
from gateway.events import recorded_id
from lab.units import UNIT
from protocols import load
from protocols.codec import Peer, UnitId
from protocols.keys import brand_key, unit_keys

NOW = 1_795_446_000_000
VEHICLE_ID = "A2B3C"
DATABASE = modeldb.load()
IDS = {
    "CLOUDBOXX": "0123456789ABCDEF",
    "TELTONIKA": "356307042441013",
    "GBT32960": "LGXCE6CD0MA123456",
}


def test_the_ids_are_the_gateways() -> None:
    for record in (b"", b"\x02abc", bytes(range(256))):
        assert event_id(VEHICLE_ID, record) == str(recorded_id(VEHICLE_ID, record))


def test_ids_that_are_made_together_are_those_that_are_made_one_by_one() -> None:
    reports = [(f"V{number % 7}", bytes((number, number % 3)) * number) for number in range(250)]
    digests = []
    for vehicle_id, record in reports:
        said = id_begun(vehicle_id)
        said.update(record)
        digests.append(said.digest())
    assert event_ids(digests) == [event_id(vehicle_id, record) for vehicle_id, record in reports]
    assert event_ids([]) == []


def test_each_word_means_what_it_says() -> None:
    ledger = Ledger()
    for sequence in range(1, 6):
        ledger.attempt(UNIT, sequence, f"e{sequence}", NOW + sequence)
    for sequence in (1, 2, 3):
        ledger.acknowledge(UNIT, sequence)
    for seen in ("e1", "e1", "e2", "e4", "stranger", "stranger"):
        ledger.observe(seen)
    counts = ledger.counts()
    assert (counts.attempted, counts.acknowledged, counts.observed) == (5, 3, 4)
    assert (counts.lost, counts.duplicated, counts.unexpected, counts.recovered) == (1, 2, 1, 1)
    assert [(each.sequence, each.cause) for each in ledger.missing()] == [(3, "lost"), (5, "not_acknowledged")]


def test_a_lost_frame_is_named_with_its_unit_and_sequence() -> None:
    ledger = Ledger()
    ledger.attempt(UNIT, 7, "e7", NOW)
    ledger.acknowledge(UNIT, 7)
    missing = ledger.missing()[0]
    assert (missing.unit, missing.sequence, missing.cause) == (str(UNIT), 7, "lost")
    assert "never seen by the consumer" in missing.text


def test_a_refusal_is_named_with_the_gateways_reason() -> None:
    ledger = Ledger()
    ledger.attempt(UNIT, 8, "e8", NOW)
    ledger.explain(UNIT, 8, "refused", "bad_checksum")
    assert by_cause(ledger.missing()) == {"refused (bad_checksum)": 1}


def test_an_event_may_be_seen_before_its_report_is_noted() -> None:
    ledger = Ledger()
    ledger.observe("e1")
    ledger.attempt(UNIT, 1, "e1", NOW)
    assert ledger.counts().unexpected == 0
    assert ledger.missing() == []


def watched(brand: str, capacity: int = 1_000) -> tuple[Witness, object, UnitId]:
    unit = UnitId(brand, IDS[brand])
    witness = Witness(Ledger(), {unit: VEHICLE_ID})
    model = DATABASE.available(brand)[0]
    keys = unit_keys(brand_key(bytes(32), brand), 1, unit.telematics_unit_id)
    config = UnitConfig(
        unit, model.units[brand], keys.seal, {1: keys.command}, intervals=Intervals(1, 1, 60), journal_capacity=capacity
    )
    assert witness.load(unit) is None
    protocol = DATABASE.brands[brand].protocol
    firmware = switch_on(protocol, config, Flash.factory(NOW), Vehicle.of(model, brand, seed=1), witness.store_of(unit))
    return witness, firmware, unit


@pytest.mark.parametrize("brand", IDS)
def test_what_a_unit_captures_is_attempted_under_the_events_own_id(brand: str) -> None:
    witness, firmware, unit = watched(brand)
    said = firmware.connected(NOW)  # type: ignore[attr-defined]
    for second in range(1, 6):
        said += firmware.tick(NOW + 1000 * second)  # type: ignore[attr-defined]
    witness.settle()
    protocol = load()[DATABASE.brands[brand].protocol]
    expected = set()
    for data in firmware.flash.journal.values():  # type: ignore[attr-defined]
        frame = protocol.decode(data, None if brand == "CLOUDBOXX" else Peer(unit.telematics_unit_id))
        expected |= {str(recorded_id(VEHICLE_ID, report.record)) for report in frame.reports}
    assert len(expected) >= 5
    assert {entry.event_id for entry in witness.ledger} == expected
    assert witness.ledger.counts().acknowledged == 0


def test_what_leaves_the_journal_by_an_ack_is_acknowledged_and_by_want_of_room_forgotten() -> None:
    witness, firmware, unit = watched("CLOUDBOXX", capacity=5)
    for second in range(8):
        firmware.tick(NOW + 1000 * second)  # type: ignore[attr-defined]
    first = min(entry.sequence for entry in witness_settled(witness))
    acked = firmware.flash.sequence - 2  # type: ignore[attr-defined]
    keys = unit_keys(brand_key(bytes(32), unit.brand), 1, unit.telematics_unit_id)
    ack = load()["cloudboxx"].acknowledge(unit.telematics_unit_id, acked, 0, NOW + 9000, keys.seal)
    firmware.receive(ack, NOW + 8500)  # type: ignore[attr-defined]
    witness.settle()
    causes = {each.sequence: each.cause for each in witness.ledger.missing()}
    assert [sequence for sequence, cause in causes.items() if cause == "forgotten"] == [first, first + 1, first + 2]
    assert [sequence for sequence, cause in causes.items() if cause == "lost"] == [first + 3, first + 4, first + 5]
    assert [sequence for sequence, cause in causes.items() if cause == "not_acknowledged"] == [first + 6, first + 7]


def witness_settled(witness: Witness) -> Ledger:
    witness.settle()
    return witness.ledger
