"""A unit and the gateway's uplink joined in memory by a line that loses, doubles and reorders: nothing is lost or invented."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import Intervals
from devices.flash import Flash
from devices.journal import SEQUENCE_MODULUS
from devices.life import moving
from gateway.events import recorded_id
from gateway.memory import Memory, Vehicle
from gateway.receipts import Receipt, Telegram
from gateway.uplink import receive
from lab.firmware import DEV_KIT, KEYS, QNR, UNIT, Bench
from modeldb import load
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Peer

VEHICLE = Vehicle("A2B3C", "fleet1", UNIT, load().brands[UNIT.brand], DEV_KIT)

FATES = st.sampled_from(["arrives", "arrives", "is lost", "comes twice", "comes later"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["time", "time", "time", "cut", "reboot"]), st.integers(1, 90), FATES, FATES),
    min_size=1,
    max_size=60,
)


class Link:
    """A bench and a gateway. `attempted` are the ids of all reports ever captured, `observed` those of all events told."""

    def __init__(self, **config: object) -> None:
        self.bench = Bench(life=moving, intervals=Intervals(10, 30, 120), **config)  # type: ignore[arg-type]
        self.bench.on_store = self._note
        self.memory = Memory()
        self.attempted: dict[int, str] = {}
        self.observed: list[str] = []
        self.late_up: list[bytes] = []
        self.late_down: list[bytes] = []

    def _note(self, flash: Flash) -> None:
        peer = Peer(QNR, (KEYS.seal,))
        for sequence, data in flash.journal.items():
            if sequence not in self.attempted:
                frame = PROTOCOL.decode(data, peer)
                if frame.reports:
                    self.attempted[sequence] = str(recorded_id(VEHICLE.vehicle_id, frame.reports[0].record))

    def up(self, payloads: Iterable[bytes], fate: str = "arrives", fate_down: str = "arrives") -> None:
        for payload in _fated(payloads, fate, self.late_up):
            receipt = receive(
                Telegram(UNIT, payload, self.bench.now), VEHICLE, self.memory, PROTOCOL, (KEYS,), lambda _, counter: None
            )
            assert not receipt.refused
            self._remember(receipt, fate_down)

    def _remember(self, receipt: Receipt, fate_down: str) -> None:
        self.memory = receipt.memory
        self.observed += [str(event.id) for event in receipt.events if event.type == "VehicleStateRecorded"]
        if receipt.acknowledged:
            window = self.memory.window
            ack = PROTOCOL.acknowledge(QNR, window.cumulative, window.bitmap & 0xFFFFFFFF, self.bench.now, KEYS.seal)
            for payload in _fated([ack], fate_down, self.late_down):
                self.up(self.bench.unit.receive(payload, self.bench.now))

    def heal(self) -> None:
        """The line is good again; until the unit has nothing left to say."""
        self.bench.unit.disconnected(self.bench.now)
        self.up(self.late_up)
        self.up(self.bench.unit.connected(self.bench.now))
        for _ in range(500):
            if not len(self.bench.unit.journal):
                return
            self.bench.now = max(self.bench.now + 1, self.bench.unit.next_tick(self.bench.now))
            self.up(self.bench.unit.tick(self.bench.now))
        raise AssertionError("the unit still has frames that the gateway does not take")


def _fated(payloads: Iterable[bytes], fate: str, late: list[bytes]) -> list[bytes]:
    match fate:
        case "is lost":
            return []
        case "comes twice":
            return [payload for payload in payloads for _ in range(2)]
        case "comes later":
            late += payloads
            return []
    held, late[:] = list(late), []
    return [*payloads, *held]


@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_every_report_is_told_exactly_once_whatever_the_line_does(steps: list[tuple[str, int, str, str]]) -> None:
    link = Link()
    link.up(link.bench.unit.connected(link.bench.now))
    for step, dt_s, fate, fate_down in steps:
        link.bench.now += dt_s * 1000
        match step:
            case "time":
                link.up(link.bench.unit.tick(link.bench.now), fate, fate_down)
            case "cut":
                link.bench.unit.disconnected(link.bench.now)
                link.bench.tick(dt_s)
                link.up(link.bench.unit.connected(link.bench.now), fate, fate_down)
            case "reboot":
                link.bench.switch_on()
                link.up(link.bench.unit.connected(link.bench.now), fate, fate_down)
    link.heal()
    assert len(link.observed) == len(set(link.observed))
    assert set(link.observed) == set(link.attempted.values())
    assert link.memory.window.cumulative == link.bench.unit.flash.sequence
    assert link.bench.unit.flash.forgotten == 0


@settings(max_examples=15, deadline=None)
@given(forgotten=st.integers(1, 200), connected=st.booleans())
def test_after_a_long_outage_the_gateway_moves_on_past_what_was_forgotten(forgotten: int, connected: bool) -> None:
    link = Link(journal_capacity=40)
    link.up(link.bench.unit.connected(link.bench.now))
    before = len(link.observed)
    if not connected:
        link.bench.unit.disconnected(link.bench.now)
    while link.bench.unit.flash.forgotten < forgotten:
        link.bench.now = link.bench.unit.next_tick(link.bench.now)
        link.bench.unit.tick(link.bench.now)  # into the void
    for _ in range(300):
        if connected:
            link.bench.now = max(link.bench.now + 1, link.bench.unit.next_tick(link.bench.now))
            link.up(link.bench.unit.tick(link.bench.now))
            if not len(link.bench.unit.journal):
                break
        else:
            link.heal()
            break
    assert len(link.bench.unit.journal) == 0
    assert before < len(link.observed) < len(link.attempted)
    assert link.memory.window.cumulative == link.bench.unit.flash.sequence


def test_a_unit_with_a_new_flash_goes_on_above_what_the_gateway_knows() -> None:
    link = Link()
    link.bench.stored = Flash.factory(link.bench.now).dump()
    link.bench.switch_on()
    link.up(link.bench.unit.connected(link.bench.now))
    link.bench.now += 3_600_000
    link.bench.stored = Flash.factory(link.bench.now).dump()
    link.bench.switch_on()
    link.up(link.bench.unit.connected(link.bench.now))
    assert len(link.bench.unit.journal) == 0
    assert len(link.observed) == len(link.attempted) == 2


def test_sequence_numbers_may_wrap() -> None:
    link = Link()
    link.bench.stored = Flash(sequence=SEQUENCE_MODULUS - 20).dump()
    link.bench.switch_on()
    link.up(link.bench.unit.connected(link.bench.now))
    for _ in range(60):
        link.bench.now = link.bench.unit.next_tick(link.bench.now)
        link.up(link.bench.unit.tick(link.bench.now))
    assert link.bench.unit.flash.sequence < 100
    assert len(link.bench.unit.journal) == 0
    assert len(link.observed) == len(set(link.observed)) == len(link.attempted)
