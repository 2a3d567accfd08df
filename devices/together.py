"""The short way of `devices.brief` for many units at once: what each would say alone, byte for byte, at a fraction of its cost.

Their vehicles' numbers stand in one `Columns`; what is due, told and sealed is worked out in columns, and only what a unit keeps
for itself - its journal, its flash, when to look again - one by one.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from devices import gauges
from devices.brief import BriefUnit, Marks
from devices.columns import Columns, Matrix
from devices.gauges import Rows
from devices.physics import ADBLUE, CHARGING, COLD, IGNITION, SPEED
from devices.shown import FLAGS, LAMPS, LOCKED, LOW_ADBLUE_PERCENT, lamp
from devices.statements import PHRASES_LIMIT, Lines, Model, Phrase, Statements, Whole
from devices.vehicle import DUE_S, Vehicle
from devices.wording import Words

_KEYS = 1 << np.arange(len(FLAGS))
_DOORS, _WINDOWS, _LIT = (1 << len(FLAGS) + bit for bit in range(3))
_LAMP_NUMBERS = {"OFF": 0, "ON": 1, "SENSOR_FAILURE": 2}
"""A number for all that a vehicle shows: a bit each flag, two bits each lamp."""

LEAST = 14
"""Fewer are quicker one by one: columns cost the same for one as for a dozen."""

Outcome = tuple[list[bytes], int] | OSError | None


class _Standing(NamedTuple):
    """A unit's vehicle, its number among speakers, its model; among the units of whom."""

    vehicle: Vehicle
    speaker: int
    model: Model
    among: "Together"


_Open = tuple[int, BriefUnit, int, _Standing]
"""A unit that has a short way now: its place in the question, it, the moment, where it stands."""

_Told = tuple[_Standing, Phrase]
"""Who shows something, and how that is said."""

_Due = tuple[int, _Open, int, _Told, Marks]
"""A unit whose state is due: its row among those that are open, it, its interval, what it tells, what stands around that."""


class Together:
    """The short way for units in vehicles of `columns`."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._statements = Statements()

    def brief(self, units: Sequence[BriefUnit], moments_ms: Sequence[int]) -> list[Outcome]:
        """What `BriefUnit.brief` gives each of them at its moment, or the error of its flash."""
        outcomes: list[Outcome] = [None] * len(units)
        if not (self._statements.works and self._columns.led) or len(units) < LEAST:
            return outcomes
        found: list[_Open] = []
        for at, (unit, now_ms) in enumerate(zip(units, moments_ms, strict=True)):
            vehicle = unit.open_to_brief(now_ms)
            standing = None if vehicle is None else self._standing(unit, vehicle)
            if standing is not None:
                found.append((at, unit, now_ms, standing))
        if len(found) >= LEAST:
            if self._statements.phrases >= PHRASES_LIMIT:
                self._statements.forget_phrases()
            self._say(found, outcomes)
        return outcomes

    def _standing(self, unit: BriefUnit, vehicle: Vehicle) -> _Standing | None:
        """None for one that columns cannot say."""
        standing = unit.standing
        if isinstance(standing, _Standing) and standing.among is self:
            return standing
        wording, statements, config = unit.senses.wording, self._statements, unit.config
        if wording is None or vehicle.columns is not self._columns:
            return None
        model = statements.model(wording, vehicle.properties)
        speaker = None if model is None else statements.speaker(config.unit.telematics_unit_id, config.seal_key)
        if model is None or speaker is None:
            return None
        unit.standing = standing = _Standing(vehicle, speaker, model, self)
        return standing

    def _say(self, found: list[_Open], outcomes: list[Outcome]) -> None:
        columns = self._columns
        rows = np.array([standing.vehicle.at_row for *_, standing in found], np.intp)
        moments = np.array([now_ms for _, _, now_ms, _ in found], np.float64)
        steady = columns.pauses[rows] - DUE_S > (moments - columns.clocks[rows]) / 1000
        if not steady.all():  # a driver acts, or the vehicle's life has not begun
            found = [each for each, waits in zip(found, steady.tolist(), strict=True) if waits]
            rows, moments = rows[steady], moments[steady]
        columns.catch_up(rows, moments)
        state, vehicles = columns.state[rows], [standing.vehicle for *_, standing in found]
        system = np.array([vehicle.system_voltage for vehicle in vehicles])
        onboard, supply = gauges.volts(vehicles, state, system)
        due = self._due(found, rows, state, (supply * 12.0 / system).tolist())
        if not due:
            return
        changes = (columns.clocks[rows] + np.ceil(1000 * (columns.pauses[rows] - DUE_S))).tolist()
        kept = np.array([place for place, *_ in due], np.intp)
        vehicles = [vehicles[place] for place, *_ in due]
        measured, own = gauges.read(columns, rows[kept], state[kept], vehicles, onboard[kept], supply[kept])
        frames, said = self._statements.frames(_lines(due), measured, own)
        for line, ((place, (at, unit, now_ms, _), interval_ms, told, marks), frame) in enumerate(zip(due, frames, strict=True)):
            if frame is not None:
                unit.senses.told(told[1].named, partial(_recalled, told, measured, said, line))
                try:
                    outcomes[at] = unit.has_said(frame, marks, now_ms, interval_ms, changes[place])
                except OSError as error:
                    outcomes[at] = error

    def _due(self, found: list[_Open], rows: Rows, state: Matrix, volts: list[float]) -> list[_Due]:
        due: list[_Due] = []
        shown = (state[:, FLAGS] > 0) @ _KEYS
        drives = (state[:, IGNITION] > 0).tolist()
        may_sleep = (state[:, LOCKED] > 0) & ~((state[:, [IGNITION, SPEED, CHARGING]] > 0).any(axis=1))
        limits = self._columns.fixed[rows, 1]
        lit = ((state[:, ADBLUE] < LOW_ADBLUE_PERCENT) | (state[:, COLD].min(axis=1) < limits)).tolist()
        columns = zip(found, shown.tolist(), drives, may_sleep.tolist(), lit, volts, strict=True)
        for place, (who, key, drive, still, is_lit, supply) in enumerate(columns):
            _, unit, now_ms, standing = who
            interval_ms = unit.interval_ms(drive)
            if unit.state_is_over(now_ms, interval_ms) and unit.stays_as_it_is(still, supply, now_ms):
                vehicle = standing.vehicle
                if is_lit or vehicle.warnings or vehicle.failed_sensors:
                    key += _lamps_key(vehicle)
                key += _DOORS * bool(vehicle.doors_open) + _WINDOWS * bool(vehicle.windows_open)
                phrase = self._statements.phrase(standing.model, vehicle, key)
                if phrase is not None:
                    due.append((place, who, interval_ms, (standing, phrase), unit.marks(drive, now_ms)))
        return due


def _lamps_key(vehicle: Vehicle) -> int:
    """What its lamps show, as a number."""
    found = 0
    for key in LAMPS:
        found = 4 * found + _LAMP_NUMBERS[lamp(vehicle, key)]
    return _LIT * found


def _lines(due: list[_Due]) -> Lines:
    told = [each for *_, each, _ in due]
    return Lines(
        [phrase.number for _, phrase in told],
        [standing.model.number for standing, _ in told],
        [standing.speaker for standing, _ in told],
        [marks for *_, marks in due],
    )


def _recalled(told: _Told, measured: Matrix, said: Whole, line: int) -> tuple[Words, tuple[Any, ...]]:
    """What a unit told like this, in that line: its signals, and the values of its vehicle's properties."""
    (vehicle, _, model, _), phrase = told
    names, raws = phrase.said
    values = vehicle.pick_shown(phrase.shows + gauges.as_measures(vehicle, measured[line]))
    return (names, [*raws, *said[line, model.order].tolist()]), values
