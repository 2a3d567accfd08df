"""Many units' state frames at once: a row of raw signals for each, its numbers set as columns, built and sealed by one kernel.

A row begins as that of a phrase, which is how units of one model say one combination of what has names; it is learnt from one
frame that the protocol's own declarations read back.
"""

import struct
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.brief import STATE_CODE
from devices.columns import Matrix
from devices.gauges import COLUMN, DATE, OWN_CONSTANTS, OWN_MOVING
from devices.senses import OWN
from devices.shown import MEASURES, WORDS, words
from devices.unit import STATE_OF_ITS_OWN, layout_of
from devices.vehicle import Vehicle
from devices.wording import Wording, Words
from modeldb.saying import Number
from protocols.codec import Peer
from protocols.hotpath.cloudboxx import BINDING
from protocols.hotpath.decoder import Decoder
from protocols.hotpath.keyring import UNITS_LIMIT
from protocols.hotpath.quick import QNR_BYTES, Speaker
from protocols.hotpath.rows import Bytes

Whole = NDArray[np.int64]
Places = NDArray[np.intp]

PHRASES_LIMIT = 16_384
"""Phrases of all models that are kept, some 5 MB of rows; then they are learnt anew."""

HEAD = ("flags", "sequence", "captured.seconds", "captured.milliseconds", "oldest_sequence")
TAIL = STATE_OF_ITS_OWN[len(OWN) :]
FIXED = (*HEAD, *TAIL, *OWN_MOVING)
"""What every state says, whatever the model, and what is not always the same."""

LANES = FIXED + tuple(lane.name for lane in BINDING.form.lanes if lane.name not in (*FIXED, BINDING.unit_lane))
_LANE = {name: at for at, name in enumerate(LANES)}
_LIMITS = [np.iinfo(BINDING.form.by_name[name].dtype) for name in LANES]
_LOW = np.array([each.min for each in _LIMITS], np.int64)
_HIGH = np.array([min(each.max, 2**63 - 1) for each in _LIMITS], np.int64)

WHOLE_LIMIT = 2.0**53
"""Whole numbers beyond it are not all numbers of a column: no model says such."""


class Phrase(NamedTuple):
    """`number` is its place among the rows that are kept, `shows` what `shown.words` gives, `named` those of it that the model
    says, `said` all names and their raws."""

    number: int
    shows: tuple[Any, ...]
    named: tuple[Any, ...]
    said: Words


class Model:
    """What units of one model, in vehicles of the same properties, have in common. `number` is its row in the tables.

    `order` are the lanes of what its `Saying.numbers` gives. `phrases` are found by the key of what the vehicle shows, and its
    date where the model says one (`dated`).
    """

    __slots__ = ("dated", "number", "order", "phrases", "scaled", "stepped", "wording")

    def __init__(self, number: int, wording: Wording, properties: Sequence[str]) -> None:
        """Raises LookupError or ValueError for one whose numbers columns cannot say."""
        saying = wording.saying
        self.number, self.wording = number, wording
        self.phrases: dict[Hashable, Phrase | None] = {}
        self.order: Places = np.array([_LANE[name] for name in saying.number_names], np.intp)
        lanes = self.order.tolist()
        self.scaled: dict[int, tuple[int, Number]] = {}
        self.stepped: dict[int, tuple[int, tuple[int, ...]]] = {}
        for lane, (at, part, number_) in zip(lanes, saying.scaled, strict=False):
            if max(abs(number_[3]), abs(number_[4])) > WHOLE_LIMIT:
                raise ValueError(f"{LANES[lane]} is too large for a column")
            self.scaled[lane] = COLUMN[properties[at], part], number_
        for lane, (at, raws) in zip(lanes[len(saying.scaled) :], saying.stepped, strict=True):
            self.stepped[lane] = COLUMN[properties[at], None], tuple(_whole(raw) for raw in raws)
        asked = {properties[at] for at in saying.named(tuple(range(len(properties))))}
        self.dated = DATE in asked
        if not asked <= {*WORDS, DATE}:
            raise ValueError("what has names is asked for numbers")


def _measures(vehicle: Vehicle) -> list[Any]:
    """MEASURES, as far as a phrase depends on them."""
    return [vehicle.brake_fluid_due.isoformat() if key == DATE else None for key in MEASURES]


def _whole(raw: Any) -> int:
    if type(raw) is not int:
        raise ValueError(f"{raw!r} is no whole number")
    return raw


class _Tables(NamedTuple):
    """All models' numbers: a row each model, a column each of `lanes`, zeros where a model does not say it as a number.

    `scaling` are five such tables: unit, bias, factor, lowest, highest.
    """

    lanes: Places
    at: Places
    scaling: Matrix
    wrap: Whole
    has: NDArray[np.bool_]
    wraps: bool
    steps: tuple[tuple[int, NDArray[np.bool_], Whole, Whole], ...]


def _tables(models: Sequence[Model]) -> _Tables:
    lanes = sorted({lane for model in models for lane in (*model.scaled, *model.stepped)})
    shape, place = (len(models), len(lanes)), {lane: at for at, lane in enumerate(lanes)}
    at, wrap, has = np.zeros(shape, np.intp), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    scaling = np.zeros((5, *shape))
    scaling[2] = 1.0
    for row, model in enumerate(models):
        for lane, (column, number) in model.scaled.items():
            where = row, place[lane]
            at[where], has[where] = column, True
            scaling[:, row, place[lane]], wrap[where] = number[:5], number[5]
        for lane, (column, _) in model.stepped.items():
            at[row, place[lane]], has[row, place[lane]] = column, True
    steps = []
    for lane in sorted({lane for model in models for lane in model.stepped}):
        known = [model.stepped.get(lane, (0, (0,)))[1] for model in models]
        table = np.zeros((len(models), max(map(len, known))), np.int64)
        for row, raws in enumerate(known):
            table[row, : len(raws)] = raws
        stepped = np.array([lane in model.stepped for model in models])
        steps.append((place[lane], stepped, np.array([len(raws) - 1 for raws in known]), table))
    return _Tables(np.array(lanes, np.intp), at, scaling, wrap, has, bool(wrap.any()), tuple(steps))


class Lines(NamedTuple):
    """Of each frame to be said: its phrase's and model's numbers, its speaker, what stands in HEAD and TAIL."""

    phrases: Sequence[int]
    models: Sequence[int]
    speakers: Sequence[int]
    marks: Sequence[Sequence[int]]


class Statements:
    """Makes frames of what vehicles show. Its models, phrases and speakers are numbered as they come."""

    def __init__(self) -> None:
        self._decoder = Decoder(BINDING, trusting=True)
        self.works = self._decoder.path == self._decoder.keyring.path
        self._models: dict[Wording, Model | None] = {}
        self._by_number: list[Model] = []
        self._tables: _Tables | None = None
        self._plans: dict[tuple[str, ...], int | None] = {}
        self.forget_phrases()

    def forget_phrases(self) -> None:
        """They are learnt again when they are wanted."""
        for model in self._by_number:
            model.phrases.clear()
        self.phrases = 0
        self._rows: Bytes = BINDING.form.empty(64)
        self._words = np.zeros((64, len(LANES)), np.int64)
        self._plan_of = np.zeros(64, np.int32)
        self._instead: dict[int, tuple[list[int], list[Any]]] = {}

    def speaker(self, unit: str, seal_key: bytes) -> int | None:
        """The number of a unit; None where there is no room for its key."""
        keyring = self._decoder.keyring
        found = keyring.find((unit, seal_key))
        if found is None and len(keyring) < UNITS_LIMIT:
            found = keyring.add(Peer(unit, (seal_key,)), (unit, seal_key))
        return found

    def model(self, wording: Wording, properties: Sequence[str]) -> Model | None:
        """That of units which say vehicles like that; None: columns cannot."""
        if wording not in self._models:
            try:
                made: Model | None = Model(len(self._by_number), wording, properties)
            except (LookupError, ValueError):
                made = None
            self._models[wording] = made
            if made is not None:
                self._by_number.append(made)
                self._tables = None
        return self._models[wording]

    def phrase(self, model: Model, vehicle: Vehicle, key: int) -> Phrase | None:
        """How this model says what the vehicle shows now; None: no row can. All that show the same have one `key`."""
        known: Hashable = (key, vehicle.brake_fluid_due) if model.dated else key
        if known not in model.phrases:
            model.phrases[known] = self._learnt(model, vehicle, words(vehicle, vehicle.row()))
        return model.phrases[known]

    def _learnt(self, model: Model, vehicle: Vehicle, shows: tuple[Any, ...]) -> Phrase | None:
        said = model.wording.named(vehicle.pick_shown((*shows, *_measures(vehicle))))
        names, raws = said
        layout = layout_of(STATE_OF_ITS_OWN + names)
        lanes = [_LANE[name] for name in names[: len(raws)]]
        if layout is None:
            return None
        own = [OWN_CONSTANTS.get(name, 0) for name in STATE_OF_ITS_OWN]
        try:
            body = layout.body((0, *own, *raws, *(0,) * len(model.order)))
            frame = Speaker("0" * 16, bytes(32)).frame(STATE_CODE, 0, 0, 0, body)
        except struct.error:
            return None
        row, plan = self._read(names, frame)
        if plan is None:
            return None
        if self.phrases == len(self._rows):
            self._grow()
        number, self.phrases = self.phrases, self.phrases + 1
        self._rows[number], self._plan_of[number] = row, plan
        self._words[number] = 0
        self._words[number, lanes] = raws
        if any(lane < len(FIXED) for lane in lanes):
            self._instead[number] = lanes, raws
        return Phrase(number, shows, vehicle.pick_named(shows), said)

    def _read(self, names: tuple[str, ...], frame: bytes) -> tuple[Bytes, int | None]:
        """The frame's row, and the number of the plan that makes such frames of rows."""
        decoder = self._decoder
        if names not in self._plans:
            decoder.learn(frame)
        rows = decoder.walk([frame])
        number = int(rows.plans[0])
        plan = None if rows.troubled else decoder.known[number]
        if names not in self._plans:
            self._plans[names] = None if plan is None or not plan.complete else number
        return rows.data[0].copy(), self._plans[names]

    def _grow(self) -> None:
        rows, room = self._rows, BINDING.form.empty(2 * len(self._rows))
        room[: len(rows)] = rows
        self._rows = room
        self._words = np.concatenate([self._words, np.zeros_like(self._words)])
        self._plan_of = np.concatenate([self._plan_of, np.zeros_like(self._plan_of)])

    def frames(self, lines: Lines, measured: Matrix, own: Matrix) -> tuple[list[bytes | None], Whole]:
        """The frames, None for those with a number that has no room in its place, and what each line says by LANES."""
        phrases, speakers = np.array(lines.phrases, np.intp), np.array(lines.speakers, np.int32)
        said = self._whole(phrases, lines, measured, own)
        fits = np.logical_and.reduce(np.logical_and(said >= _LOW, said <= _HIGH), axis=1)
        form = BINDING.form
        rows = form.empty(len(phrases))
        np.take(self._rows, phrases, axis=0, out=rows)
        rows[:, self._into] = said.view(np.uint8)[:, self._out_of]
        begins = form.offsets[BINDING.unit_lane]
        rows[:, begins : begins + QNR_BYTES] = self._decoder.keyring.ids(QNR_BYTES)[speakers]
        made: list[bytes | None] = list(self._decoder.build(rows, self._plan_of[phrases], None, speakers))
        if not fits.all():
            made = [frame if fit else None for frame, fit in zip(made, fits.tolist(), strict=True)]
        return made, said

    def _whole(self, phrases: Places, lines: Lines, measured: Matrix, own: Matrix) -> Whole:
        """Every number of every line, by LANES."""
        if self._tables is None:
            self._tables = _tables(self._by_number)
            self._into, self._out_of = _moves([*range(len(FIXED)), *(each for each in self._tables.lanes if each >= len(FIXED))])
        tables, models = self._tables, np.array(lines.models, np.intp)
        said = self._words[phrases]
        said[:, : len(HEAD) + len(TAIL)] = lines.marks
        said[:, len(HEAD) + len(TAIL) : len(FIXED)] = own
        values = measured[np.arange(len(models))[:, None], tables.at[models]]
        unit, bias, factor, low, high = tables.scaling[:, models]
        whole = np.rint(np.minimum(np.maximum((values * unit - bias) / factor, low), high)).astype(np.int64)
        if tables.wraps:
            wrap = tables.wrap[models]
            whole = np.where(wrap > 0, whole % np.maximum(wrap, 1), whole)
        for column, stepped, last, table in tables.steps:
            step = table[models, np.minimum(values[:, column].astype(np.int64), last[models])]
            whole[:, column] = np.where(stepped[models], step, whole[:, column])
        said[:, tables.lanes] = np.where(tables.has[models], whole, said[:, tables.lanes])
        if self._instead:  # what a model says otherwise than its unit by itself
            for line, phrase in enumerate(lines.phrases):
                if phrase in self._instead:
                    lanes, raws = self._instead[phrase]
                    said[line, lanes] = raws
        return said


def _moves(lanes: Sequence[int]) -> tuple[Places, Places]:
    """Which bytes of a row come from which of the numbers by LANES, for these lanes."""
    form, into, out_of = BINDING.form, list[int](), list[int]()
    for lane in lanes:
        begins, size = form.offsets[LANES[lane]], form.by_name[LANES[lane]].size_bytes
        into += range(begins, begins + size)
        out_of += range(8 * lane, 8 * lane + size)
    return np.array(into, np.intp), np.array(out_of, np.intp)
