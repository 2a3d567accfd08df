"""What a unit can keep and may send is limited, for every brand by its own data; what is forgotten is counted."""

from dataclasses import replace

import msgspec
import pytest

import modeldb
from devices.behaviour import behaviour_of, behaviours
from devices.config import Intervals
from devices.flash import Flash
from devices.terminal import Terminal
from devices.vehicle import Vehicle
from lab.firmware import BOOT_MS, QNR, Bench
from protocols import load
from protocols.codec import UnitId

IDS = {"CLOUDBOXX": QNR, "TELTONIKA": "356307042441013"}
KEEPING = ("CLOUDBOXX", "GBT32960", "TELTONIKA")


def terminal(brand: str, **behaviour: int) -> Terminal:
    """A unit of that brand whose vehicle stands still, and which reports every ten seconds."""
    model = next(each for each in modeldb.load().available(brand) if "central_lock" in each.units[brand].state_keys)
    behaves = msgspec.structs.replace(behaviour_of(brand), sleep_after_s=0, **behaviour)
    config = replace(
        Bench(cards=frozenset({"04A1B2"})).config,
        unit=UnitId(brand, IDS.get(brand, "LGXABCDEFGH123456")),
        translation=model.units[brand],
        behaviour=behaves,
        journal_capacity=behaves.journal_frames,
        intervals=Intervals(10, 10, 3_600),
    )
    return Terminal(modeldb.load().brands[brand].protocol, config, Flash(), Vehicle.of(model, brand))


def live(unit: Terminal, seconds: int, line: bool) -> list[bytes]:
    """What it says in that time, from where it was left; nobody answers."""
    said, now_ms, ends_ms = list[bytes](), getattr(unit, "now_ms", BOOT_MS), 0
    ends_ms = now_ms + 1_000 * seconds
    while now_ms <= ends_ms:
        said += unit.tick(now_ms)
        if line and unit.dial_ms(now_ms) is not None:
            said += unit.connected(now_ms)
        now_ms = max(now_ms + 1, unit.next_tick(now_ms))
    unit.now_ms = ends_ms  # type: ignore[attr-defined]
    return said


def test_every_brand_says_what_its_units_keep_and_may_send():
    for brand, behaviour in behaviours().items():
        assert behaviour.data_budget_bytes > 0, brand
        assert behaviour.journal_frames > 0, brand


@pytest.mark.parametrize("brand", KEEPING)
def test_a_full_journal_forgets_the_oldest_and_counts_it(brand: str):
    unit = terminal(brand, journal_frames=20)
    live(unit, 600, line=False)
    captured = len(unit.flash.journal) + unit.flash.forgotten
    assert len(unit.flash.journal) == 20
    assert captured >= 60
    assert list(unit.flash.journal)[-1] == unit.flash.sequence


@pytest.mark.parametrize("brand", sorted(behaviours()))
def test_a_sim_that_is_used_up_carries_changes_and_no_more_states(brand: str):
    unit = terminal(brand, data_budget_bytes=300)
    live(unit, 120, line=True)
    assert unit.flash.data_bytes >= 300
    reports, _ = reports_of(unit), live(unit, 300, line=True)
    assert reports_of(unit) == reports, "no state while the budget is used up"
    unit.vehicle.locked = not unit.vehicle.locked
    live(unit, 5, line=True)
    assert reports_of(unit) > reports, "a change is told all the same"


def reports_of(unit: Terminal) -> object:
    """How many reports it has captured, or when it last said how its vehicle is."""
    last = unit.truth_told or {}
    return (unit.flash.sequence, last.get("central_lock") == "UNLOCKED")


@pytest.mark.parametrize(("brand", "signal"), [("CLOUDBOXX", "card"), ("TELTONIKA", "io_207")])
@pytest.mark.parametrize(("card", "opens"), [("04A1B2", True), ("FFFFFF", False)])
def test_the_number_of_a_card_is_in_the_frame_that_tells_of_it(brand: str, signal: str, card: str, opens: bool):
    unit = terminal(brand)
    live(unit, 30, line=True)
    before = set(unit.flash.journal)
    unit.show_card(card, unit.now_ms)  # type: ignore[attr-defined]
    assert unit.vehicle.locked is not opens
    protocol = load()[unit.protocol]
    told = [data for sequence, data in unit.flash.journal.items() if sequence not in before]
    frames = [protocol.decode(cut.data) for data in told for cut in protocol.split(data)]
    numbers = [report.signals[signal] for frame in frames for report in frame.reports if signal in report.signals]
    assert numbers == [int(card, 16)]
    live(unit, 60, line=True)
    again = [data for sequence, data in unit.flash.journal.items() if sequence not in before]
    assert len(again) > len(told), "and in no other"
    later = [protocol.decode(cut.data) for data in again[len(told) :] for cut in protocol.split(data)]
    assert not [frame for frame in later for report in frame.reports if signal in report.signals]
