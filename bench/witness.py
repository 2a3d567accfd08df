"""Writes down what simulated units capture and what is acknowledged, by watching their flash.

    witness = Witness(ledger, {unit: vehicle_id, ...})
    fleet = Fleet(records, broker, flash_file=witness)     # every store of a unit's flash passes by
    ...
    witness.settle()                                       # before the ledger is read

Frames are only kept while the run lasts; what they say is looked at in `settle`, so that the units' cost is not the bench's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.ledger import Ledger, event_id, event_ids, id_begun
from devices.faults.fault import Stray
from devices.flash import Flash, Store
from devices.flashfile import FlashKeeper
from devices.journal import SEQUENCE_MODULUS, ahead
from devices.mqtt import BrokerAddress, Connection, Dial
from protocols import load
from protocols.codec import Frame, Protocol, ProtocolError, UnitId

STEPS = 64
"""New sequence numbers that are walked one by one; after a longer leap the whole journal is looked through."""

CLOUDBOXX_TAIL_BYTES = 10
CLOUDBOXX_REPORTS = (2, 3)
"""Types of the frames with a report: state and event."""


@dataclass(slots=True)
class _Watch:
    """One unit. `held` are the reports in its journal as far as they were noted, oldest first.

    `is_acknowledged` is false for protocols without any acknowledgement; of those, `last` counts what was said.
    """

    unit: UnitId
    vehicle_id: str
    protocol: str
    is_acknowledged: bool
    flash: Flash | None = None
    last: int = 0
    forgotten: int = 0
    held: dict[int, None] = field(default_factory=dict)
    id_begun: Any = field(init=False)

    def __post_init__(self) -> None:
        self.id_begun = id_begun(self.vehicle_id)


class Witness:
    """Stands where a fleet has its flash file, and passes on to `keeps` (none: the flash lasts as long as the process)."""

    def __init__(
        self,
        ledger: Ledger,
        vehicles: Mapping[UnitId, str],
        protocols: Mapping[str, str] | None = None,
        keeps: FlashKeeper | None = None,
    ) -> None:
        """`vehicles` says which vehicle a unit is attached to, `protocols` what each brand speaks (none: asked of modeldb)."""
        self.ledger = ledger
        self._vehicles, self._keeps = vehicles, keeps
        self._protocols = protocols or brand_protocols()
        self._codecs: Mapping[str, Protocol] = load()
        self._watches: dict[UnitId, _Watch] = {}
        self._noted: list[tuple[_Watch, int, bytes]] = []
        self._forgotten: list[tuple[UnitId, int]] = []
        self.newest: dict[UnitId, bytes] = {}

    def load(self, unit: UnitId) -> Flash | None:
        """The flash that the unit starts from; what is in its journal counts as captured."""
        flash = self._keeps.load(unit) if self._keeps else None
        watch = self._watch(unit)
        watch.flash = flash
        if flash is not None:
            watch.last, watch.forgotten = flash.sequence, flash.forgotten
            for sequence, data in flash.journal.items():
                self._note(watch, sequence, data)
        return flash

    def store_of(self, unit: UnitId) -> Store:
        """The store for this unit's firmware."""
        watch = self._watch(unit)
        if self._keeps is None:
            return partial(self._look, watch)
        keep = self._keeps.store_of(unit)

        def store(flash: Flash) -> None:
            keep(flash)
            self._look(watch, flash)

        return store

    def store_of_copy(self, unit: UnitId) -> Store:
        """The store for a unit that a fault has copied from this one: the ledger has its reports under a name of their own."""
        protocol, copy = self._protocols[unit.brand], UnitId(unit.brand, f"{unit.telematics_unit_id} (copy)")
        is_acknowledged = self._codecs[protocol].acknowledgement != "none"
        watch = self._watches[copy] = _Watch(copy, self._vehicles.get(unit, ""), protocol, is_acknowledged)
        return partial(self._look, watch)

    def said(self, unit: UnitId, payload: bytes) -> None:
        """A unit that keeps nothing has published something."""
        watch = self._watch(unit)
        if not watch.is_acknowledged:
            watch.last += 1
            self._noted.append((watch, watch.last, payload))

    def overhears(self, dial: Dial) -> Dial:
        """Connections as `dial` makes them; of units that keep nothing, what goes out over them is noted."""

        def dialled(broker: BrokerAddress, unit: UnitId, *how: Any) -> Connection:
            line = dial(broker, unit, *how)
            return line if self._watch(unit).is_acknowledged else _Overheard(line, partial(self.said, unit))

        return dialled

    def close(self) -> None:
        """Nothing is written any more."""
        if self._keeps is not None:
            self._keeps.close()

    @property
    def captured(self) -> int:
        """Frames noted so far, of every kind."""
        return len(self._noted) + len(self.ledger)

    def collect(self) -> None:
        """Bring the ledger up to date with what was captured; cheap enough to be asked every second."""
        noted, self._noted = self._noted, []
        attempt, newest = self.ledger.attempt, self.newest
        reports: list[tuple[_Watch, int, bytes, int]] = []
        digests: list[bytes] = []
        for watch, sequence, data in noted:
            if watch.protocol != "cloudboxx":
                for event, at_ms in events_of(self._codecs[watch.protocol], watch.vehicle_id, data):
                    attempt(watch.unit, sequence, event, at_ms)
                    newest[watch.unit] = data
            elif data[2] in CLOUDBOXX_REPORTS:
                record, at_ms = _cloudboxx_record(data)
                digest = watch.id_begun.copy()
                digest.update(record)
                digests.append(digest.digest())
                reports.append((watch, sequence, data, at_ms))
        for (watch, sequence, data, at_ms), event in zip(reports, event_ids(digests), strict=True):
            attempt(watch.unit, sequence, event, at_ms)
            newest[watch.unit] = data

    def settle(self) -> None:
        """Bring the ledger up to date: what was captured, what is acknowledged, what was forgotten, what still waits."""
        self.collect()
        forgotten, self._forgotten = set(self._forgotten), []
        for unit, sequence in forgotten:
            self.ledger.explain(unit, sequence, "forgotten")
        for entry in self.ledger:
            if entry.cause != "forgotten" and not entry.acknowledged:
                watch = self._watches.get(entry.unit)
                flash = watch.flash if watch is not None and watch.is_acknowledged else None
                entry.acknowledged = flash is not None and entry.sequence not in flash.journal

    def _watch(self, unit: UnitId) -> _Watch:
        watch = self._watches.get(unit)
        if watch is None:
            protocol = self._protocols[unit.brand]
            is_acknowledged = self._codecs[protocol].acknowledgement != "none"
            watch = self._watches[unit] = _Watch(unit, self._vehicles.get(unit, ""), protocol, is_acknowledged)
        return watch

    def _look(self, watch: _Watch, flash: Flash) -> None:
        watch.flash = flash
        if not watch.is_acknowledged:
            return
        if flash.forgotten != watch.forgotten:
            self._find_forgotten(watch, flash)
        last, newest, journal = watch.last, flash.sequence, flash.journal
        if newest == last:
            return
        watch.last = newest
        fresh: Iterable[int]
        if newest == last + 1:  # as a rule
            fresh = (newest,)
        elif 0 < (steps := ahead(newest, last)) <= STEPS:
            fresh = (sequence % SEQUENCE_MODULUS for sequence in range(last + 1, last + steps + 1))
        else:
            fresh = [sequence for sequence in journal if sequence not in watch.held]
        for sequence in fresh:
            data = journal.get(sequence)
            if data is not None:
                watch.held[sequence] = None
                self._noted.append((watch, sequence, data))
        if len(watch.held) > 2 * len(journal) + STEPS:
            watch.held = {sequence: None for sequence in watch.held if sequence in journal}

    def _note(self, watch: _Watch, sequence: int, data: bytes) -> None:
        watch.held[sequence] = None
        self._noted.append((watch, sequence, data))

    def _find_forgotten(self, watch: _Watch, flash: Flash) -> None:
        """A full journal drops its oldest: of those gone since the last look, the last ones, for Acks come before captures."""
        dropped, watch.forgotten = flash.forgotten - watch.forgotten, flash.forgotten
        oldest = next(iter(flash.journal), None)
        gone = [sequence for sequence in watch.held if sequence not in flash.journal]
        if oldest is not None:
            gone = [sequence for sequence in gone if ahead(sequence, oldest) < 0]
        self._forgotten += [(watch.unit, sequence) for sequence in gone[-dropped:]]
        watch.held = {sequence: None for sequence in watch.held if sequence in flash.journal}


class _Overheard:
    """A line whose payloads are noted on their way up; what goes out in another's name is nobody's report."""

    def __init__(self, line: Connection, noted: Callable[[bytes], None]) -> None:
        self._line, self._noted = line, noted
        self.open, self.drop, self.close = line.open, line.drop, line.close

    def publish(self, payload: bytes) -> None:
        if not isinstance(payload, Stray):
            self._noted(payload)
        self._line.publish(payload)


def _cloudboxx_record(data: bytes) -> tuple[bytes, int]:
    """The record and capture time of a frame with a report, cut out as protocols/cloudboxx.md says: 100 times a parse's speed."""
    at_ms = int.from_bytes(data[16:20], "little") * 1000 + int.from_bytes(data[20:22], "little")
    return data[2:3] + data[12:-CLOUDBOXX_TAIL_BYTES], at_ms


def events_of(protocol: Protocol, vehicle_id: str, payload: bytes) -> Iterator[tuple[str, int]]:
    """The id and capture time of each event that a payload's reports become; a report without a time has no id to foretell."""
    for cut in protocol.split(payload):
        if cut.error is not None:
            continue
        try:
            frame: Frame = protocol.decode(cut.data)
        except ProtocolError:
            continue
        for report in frame.reports:
            if report.captured_at is not None:
                yield event_id(vehicle_id, report.record), report.captured_at


def brand_protocols() -> dict[str, str]:
    """What each brand of the model database speaks."""
    import modeldb

    return {name: brand.protocol for name, brand in modeldb.load().brands.items()}
