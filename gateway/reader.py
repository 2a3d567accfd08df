"""Reads what a batch of telegrams carries on the hot path, protocol by protocol: frames cut, checked, decoded and translated.

What comes out is what `gateway.uplink` finds frame by frame; what the hot path does not vouch for is left to the uplink. Pure.
"""

from collections.abc import Callable, Sequence

import msgspec

from gateway.memory import Vehicle
from gateway.properties import Properties
from gateway.receipts import Heard, Piece, Telegram, Told
from gateway.uplink import understood
from modeldb import Database
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Peer, ProtocolError, UnitId
from protocols.hotpath import BINDINGS, Decoder, Rows, path_in_use
from protocols.hotpath.binding import Brief
from protocols.hotpath.bulk import Batch
from protocols.hotpath.kernels import Path
from protocols.hotpath.told import Said as Shown
from protocols.keys import UnitKeys

NOBODY = -1
KEPT = 65_536
"""Units whose keys are kept: as many as a keyring keeps begun."""

Secrets = Callable[[Vehicle], Sequence[UnitKeys]]


class Said(msgspec.Struct, frozen=True, gc=False):
    """A telegram, and the vehicle whose unit it is from."""

    telegram: Telegram
    vehicle: Vehicle


class Reader:
    """Reads batches; one a gateway, not for several threads. Keeps the layouts that it has learnt and the keys of units.

    `secrets` gives a vehicle's keys, newest first; it is asked anew when the vehicle's generations are others. `forget` those of
    a unit that may not speak any more. `vouched` and `unvouched` count the frames of the last batch that went the fast way,
    and the others.
    """

    def __init__(self, models: Database, secrets: Secrets, path: Path | None = None) -> None:
        self._models, self._secrets = models, secrets
        self.path: Path = path or path_in_use
        self.vouched = self.unvouched = 0
        self._decoders: dict[str, Decoder] = {}
        self._keys: dict[UnitId, tuple[tuple[int, ...], Sequence[UnitKeys]]] = {}
        self._properties: dict[str, Properties] = {}

    def keys(self, vehicle: Vehicle) -> Sequence[UnitKeys]:
        """The keys of a vehicle's unit, newest first."""
        known = self._keys.get(vehicle.unit)
        if known is None or known[0] != vehicle.generations:
            self.forget(vehicle.unit)
            if len(self._keys) >= KEPT:
                self._keys.clear()
            known = self._keys[vehicle.unit] = (vehicle.generations, self._secrets(vehicle))
        return known[1]

    def forget(self, unit: UnitId) -> None:
        """Drop the keys of a unit."""
        self._keys.pop(unit, None)
        for decoder in self._decoders.values():
            decoder.keyring.drop(unit)

    def read(self, batch: Sequence[Said]) -> list[Heard | list[Piece] | None]:
        """The pieces of each telegram's payload, or the one frame that all of it is; None where it is still to be cut."""
        found: list[Heard | list[Piece] | None] = [None] * len(batch)
        self.vouched = self.unvouched = 0
        by_protocol: dict[str, list[int]] = {}
        for at, said in enumerate(batch):
            name = said.vehicle.brand.protocol
            if name in BINDINGS and len(said.telegram.payload) <= PAYLOAD_LIMIT_BYTES:
                by_protocol.setdefault(name, []).append(at)
        for name, places in by_protocol.items():
            reading = _Reading(self, self.decoder(name), [batch[at] for at in places])
            for at, pieces in zip(places, reading.pieces(), strict=True):
                found[at] = pieces
            self.vouched += reading.decoded.vouched
            self.unvouched += len(reading.decoded.frames) - reading.decoded.vouched
        return found

    def decoder(self, name: str) -> Decoder:
        """The decoder of a protocol."""
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = Decoder(BINDINGS[name].reading(_read(self._models, name)), path=self.path)
        return decoder

    def properties(self, brand: str) -> Properties:
        """What rows mean for the models of a brand."""
        found = self._properties.get(brand)
        if found is None:
            form = self.decoder(self._models.brands[brand].protocol).binding.form
            found = self._properties[brand] = Properties(self._models, brand, form, self.path)
        return found


def _read(models: Database, protocol: str) -> frozenset[str]:
    """The signals that rules read of units that speak this protocol."""
    units = [unit for model in models.models.values() for unit in model.units.values() if unit.brand.protocol == protocol]
    return frozenset(name for unit in units for rule in unit.rules for name in rule.signals)


class _Reading:
    """One protocol's part of a batch."""

    def __init__(self, reader: Reader, decoder: Decoder, batch: Sequence[Said]) -> None:
        self.reader, self.decoder, self.batch = reader, decoder, batch
        payloads = [said.telegram.payload for said in batch]
        self.keys = [reader.keys(said.vehicle) for said in batch]
        speakers = [self._speaker(said.vehicle.unit, keys) for said, keys in zip(batch, self.keys, strict=True)]
        self.decoded = Batch(decoder, payloads, speakers)
        self.rows: Rows = self.decoded.rows

    def pieces(self) -> Sequence[Heard | list[Piece]]:
        """The pieces of each telegram, or the one frame that all of it is."""
        heard, decoded = self._heard(), self.decoded
        if decoded.vouched == len(decoded.frames) == len(decoded.payloads):
            return [each for each in heard if isinstance(each, Heard)]
        return [[Piece(cut, None if number is None else heard[number]) for cut, number in cuts] for cuts in decoded.cuts()]

    def _speaker(self, unit: UnitId, keys: Sequence[UnitKeys]) -> int:
        keyring = self.decoder.keyring
        number = keyring.find(unit)
        if number is None:
            seals = [each.seal for each in keys] if self.decoder.binding.protocol.sealed else ()
            try:
                number = keyring.add(Peer(unit.telematics_unit_id, seals), unit)
            except ValueError:  # an id that no frame of this protocol can carry
                return NOBODY
        return number

    def _heard(self) -> list[Heard | ProtocolError | None]:
        rows, of, properties, generations = self.rows, self.decoded.of, self._translated(), self._generations()
        briefs, starts = rows.briefs(), range(len(rows.frames) + 1) if rows.starts is None else rows.starts.tolist()
        found: list[Heard | ProtocolError | None] = []
        for number, status in enumerate(rows.status.tolist()):
            if status:
                found.append(self._slow(number))
                continue
            said, generation = properties[starts[number] : starts[number + 1]], generations[number]
            brief = None if briefs is None else briefs[number]
            if brief is not None and brief.signals is not None:
                vehicle = self.batch[of[number]].vehicle
                translate = vehicle.model.units[vehicle.unit.brand].translate
                said = [(translate(each), b"", b"") for each in brief.signals]
            complete = [each for each in said if each is not None]
            if brief is not None and len(complete) == len(said):
                found.append(_told(brief, complete, generation))
            else:
                known = [each and each[0] for each in said]
                vehicle = self.batch[of[number]].vehicle
                found.append(understood(self.decoder.frame(rows, number), generation, vehicle, known))
        return found

    def _generations(self) -> Sequence[int | None]:
        """Of which generation the key is that sealed each frame; of those that are not vouched for it means nothing."""
        if self.rows.keys is None:
            return [None] * len(self.rows.status)
        keys = self.keys
        return [
            keys[at][which - 1].generation if which else None
            for at, which in zip(self.decoded.of, self.rows.keys.tolist(), strict=True)
        ]

    def _slow(self, number: int) -> Heard | ProtocolError | None:
        """What the slow way made of a frame; None where that leaves open which of two keys sealed it."""
        outcome, at = self.rows.slow[number], self.decoded.of[number]
        vehicle, keys = self.batch[at].vehicle, self.keys[at]
        if self.decoded.speakers is None or self.decoded.speakers[number] == NOBODY:
            return None
        if not isinstance(outcome, Frame):
            return outcome
        if not self.decoder.binding.protocol.sealed:
            return understood(outcome, None, vehicle)
        return understood(outcome, keys[0].generation, vehicle) if len(keys) == 1 else None

    def _translated(self) -> list[Shown | None]:
        """What each row says of its vehicle, where the models' rules are columns."""
        rows, owners, status = self.rows, self.rows.owners.tolist(), self.rows.status.tolist()
        vehicles = [None if status[owner] else self.batch[self.decoded.of[owner]].vehicle for owner in owners]
        found: list[Shown | None] = [None] * len(vehicles)
        times = rows.times
        for brand in {vehicle.unit.brand for vehicle in vehicles if vehicle}:
            properties = self.reader.properties(brand)
            places = properties.places
            if not places:
                continue
            models = [places.get(each.model.id, -1) if each and each.unit.brand == brand else -1 for each in vehicles]
            properties.read(rows.data, models, times, found)
        return found


def _told(brief: Brief, known: Sequence[Shown], generation: int | None) -> Heard:
    """A frame of reports of which it is `known` what each says."""
    sequence = brief.sequence
    told = [Told(record, at, sequence, *each) for (record, at), each in zip(brief.records, known, strict=True)]
    unsynchronised = brief.clock_unsynchronised
    return Heard(brief.kind, sequence, brief.oldest_sequence, unsynchronised, told, generation, None, brief.answer)
