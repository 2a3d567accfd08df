"""The physical truth of one simulated vehicle: what a perfect observer would see, and what its actuators do.

Pure: it lives by `step`, never by a clock of its own. The same seed gives the same life. Its numbers stand in one row of
`devices.columns.Columns`, its own or its fleet's.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Any, NamedTuple, cast

from devices import physics, shown
from devices.actuators import ACTS
from devices.build import Build, build_of
from devices.columns import TOGETHER_MS, Columns
from devices.physics import P, S
from devices.route import Loop, Place, Route
from devices.shown import LAMPS, TIRES
from devices.tires import Tires
from modeldb.model import VehicleModel

__all__ = ["LAMPS", "TIRES", "State", "Vehicle"]

State = dict[str, Any]
"""Property key (`central_lock`) to vocabulary value."""

Life = Callable[["Vehicle", random.Random], Iterator[float]]
"""What its driver does: each `yield` is a pause in seconds, between them things happen."""

RANGE_SHOWN_KM = 1500.0
"""The range display has no more digits than it needs."""

DUE_S = 1e-6
"""What is due so soon is due now: milliseconds since 1970 are not told apart more finely."""

START_CHARGE = 0.15
"""Of the low-voltage battery: with less the starter no longer turns, and no relay closes."""

DROP_VOLTS = 0.15
"""What the cable to the unit takes."""


class Glimpse(NamedTuple):
    """A vehicle at one moment: its row, what has names, and all that its model can say, in the order of `properties`."""

    row: physics.Row
    named: tuple[Any, ...]
    values: tuple[Any, ...]


def signal_dbm(driven_m: float) -> int:
    """What a modem hears after so many metres."""
    return round(-75 - 20 * math.sin(driven_m / 900) ** 2)


def _number(place: S) -> float:
    """An attribute that stands in the vehicle's row."""
    at = int(place)
    return cast(float, property(lambda self: self._row.item(at), lambda self, value: self._row.__setitem__(at, value)))


def _flag(place: S) -> bool:
    """An attribute that stands in the vehicle's row as 0 or 1."""
    at = int(place)
    return cast(bool, property(lambda self: self._row.item(at) > 0, lambda self, value: self._row.__setitem__(at, bool(value))))


class Vehicle:
    """One vehicle. Attributes are the truth and may be set by whoever plays the driver; commands come through `execute`.

    `properties` are the keys that its model can say, `commands` the names of the commands that it is fitted for; `kind` is
    the model's type (CAR, MOPED, ...). `executed` counts the commands carried out, by name. The key that starts it is not
    the fob that a shared vehicle keeps in a holder. Without `checks_ignition` its unit does not look at the ignition before
    it acts: the locks then do not follow, and only what is read from them says so. `stuck` names actuators that do not move.
    Its numbers are row `at_row` of `columns`; `pick_named` and `pick_shown` find what its model says among WORDS, and MEASURES.
    """

    speed_kmh: float = _number(S.SPEED)
    target_speed_kmh: float = _number(S.TARGET)
    distance_m: float = _number(S.DISTANCE)
    odometer_km: float = _number(S.ODOMETER)
    energy_percent: float = _number(S.ENERGY)
    adblue_percent: float = _number(S.ADBLUE)
    low_battery_charge: float = _number(S.LOW_BATTERY)
    motor_celsius: float = _number(S.MOTOR_C)
    outside_celsius: float = _number(S.OUTSIDE_C)
    ignition: bool = _flag(S.IGNITION)
    driving_enabled: bool = _flag(S.ENABLED)
    headlights: bool = _flag(S.LIGHTS)
    charging: bool = _flag(S.CHARGING)
    locked: bool = _flag(S.LOCKED)
    top_case_locked: bool = _flag(S.TOP_CASE_LOCKED)
    key_inserted: bool = _flag(S.KEY)
    top_case_open: bool = _flag(S.TOP_CASE_OPEN)
    battery_compartment_open: bool = _flag(S.COMPARTMENT_OPEN)
    parking_brake: bool = _flag(S.BRAKE)
    center_stand_down: bool = _flag(S.STAND_DOWN)
    plugged: bool = _flag(S.PLUGGED)
    abs_enabled: bool = _flag(S.ABS)

    def __init__(
        self,
        *,
        properties: Collection[str],
        commands: Collection[str],
        kind: str = "CAR",
        seed: int = 0,
        latitude: float = 50.9375,
        longitude: float = 6.9603,
        life: Life | None = None,
        build: Build | None = None,
        columns: Columns | None = None,
        route: Route | None = None,
    ) -> None:
        rng = random.Random(seed)
        self.kind = kind
        self._shows = shown.shows(frozenset(properties))
        self.properties = tuple(key for key, _ in self._shows)
        self.pick_named, self.pick_shown = shown.picks(self.properties)
        self.commands = frozenset(commands)
        self.executed: Counter[str] = Counter()
        self.electric = "charging_status" in self.properties
        self.build = build or build_of(kind, self.electric)
        self.low_tire_kpa = shown.LOW_TIRE_SHARE * self.build.tire_kpa
        self.columns = columns or Columns(1)
        self.at_row = self.columns.join(self)
        self._row = self.columns.state[self.at_row]
        self._built = self.build.row()
        self.columns.built[self.at_row] = self._built
        self._route: Route = route or _somewhere(rng, latitude, longitude)
        self.route = self._route
        self._park()
        self._fill(rng)
        self._life = life(self, rng) if life is not None else None
        self._shelved: Iterator[float] | None = None
        self._ordered = False
        self._pause_s = next(self._life, math.inf) if self._life is not None else math.inf

    @classmethod
    def of(
        cls,
        model: VehicleModel,
        brand: str,
        *,
        seed: int = 0,
        latitude: float = 50.9375,
        longitude: float = 6.9603,
        life: Life | None = None,
        columns: Columns | None = None,
        route: Route | None = None,
    ) -> "Vehicle":
        """A vehicle of `model` with a unit of `brand`: it shows what that unit can say and does what it can command."""
        translation = model.units[brand]
        return cls(
            properties=translation.state_keys,
            commands=translation.commands,
            kind=model.type,
            seed=seed,
            latitude=latitude,
            longitude=longitude,
            life=life,
            build=build_of(model.type, "charging_status" in translation.state_keys, model.file),
            columns=columns,
            route=route,
        )

    def _park(self) -> None:
        self.locked = True
        self.commanded_lock: bool | None = None
        self.top_case_locked = True
        self.commanded_top_case_lock: bool | None = None
        self.reserved = False
        self.key_inserted = False
        self.fob_in_holder = True
        self.doors_open: set[str] = set()
        self.windows_open: set[str] = set()
        self.top_case_open = False
        self.battery_compartment_open = False
        self.parking_brake = True
        self.center_stand_down = True
        self.plugged = False
        self.abs_enabled = True
        self.checks_ignition = True
        self.stuck: set[str] = set()
        self.forced_supply_volts: float | None = None
        self.warnings: set[str] = set()
        self.failed_sensors: set[str] = set()

    def _fill(self, rng: random.Random) -> None:
        row, build = self._row, self.build
        self.odometer_km = round(rng.uniform(500, 90_000), 1)
        self.energy_percent = rng.uniform(40, 95)
        self.adblue_percent = rng.uniform(20, 100)
        self.low_battery_charge = rng.uniform(0.85, 1.0)
        self.outside_celsius = self.motor_celsius = rng.uniform(4, 24)
        row[S.CONSUMPTION] = self.usual_kwh_per_km = build.usual_kwh_per_km()
        row[physics.COLD] = [build.tire_kpa * rng.uniform(0.97, 1.03) for _ in TIRES]
        self.brake_fluid_due: date = date(2026 + rng.randrange(3), rng.randrange(1, 13), rng.randrange(1, 29))
        self.columns.fixed[self.at_row] = self.usual_kwh_per_km, self.low_tire_kpa
        self.system_voltage = build.system_volts
        self.satellites: int = rng.randrange(8, 15)
        self._altitude_m = rng.uniform(20, 300)

    @property
    def bare(self) -> "Vehicle":
        """Itself, without what a fault puts between it and who looks."""
        return self

    @property
    def undisturbed(self) -> "Vehicle | None":
        """Itself, if who looks sees it as it is."""
        return self

    def row(self) -> physics.Row:
        """Its numbers now, by `devices.physics.S`."""
        row: physics.Row = self._row.tolist()
        return row

    @property
    def in_motion(self) -> bool:
        """Whether it moves at all."""
        return self.speed_kmh > 0.0

    @property
    def top_speed_kmh(self) -> float:
        """What it can do."""
        return self._built[P.TOP]

    @top_speed_kmh.setter
    def top_speed_kmh(self, speed: float) -> None:
        self._built[P.TOP] = self.columns.built[self.at_row, P.TOP] = speed

    @property
    def route(self) -> Route:
        """The way that it is on: where it is follows from `distance_m`."""
        return self._route

    @route.setter
    def route(self, route: Route) -> None:
        self._route = route
        self._here, self._here_m = route.at(self.distance_m), self.distance_m
        self.columns.placed_m[self.at_row] = math.nan
        self._row[S.WAIT] = 0.0
        self._row[S.LEG_END : S.LEG_STOP + 1] = route.leg(self.distance_m)

    @property
    def arrived(self) -> bool:
        """Whether it stands where its way ends."""
        return self._route.ended(self.distance_m)

    @property
    def here(self) -> Place:
        """Where it is."""
        distance_m = self._row.item(S.DISTANCE)
        if distance_m != self._here_m:
            self._here, self._here_m = self._route.at(distance_m), distance_m
        return self._here

    @property
    def altitude_m(self) -> float:
        """Above sea level: the way's where it knows, else what was set."""
        return self._altitude_m if (known := self.here.altitude_m) is None else known

    @altitude_m.setter
    def altitude_m(self, altitude: float) -> None:
        self._altitude_m = altitude
        self.columns.placed_m[self.at_row] = math.nan

    @property
    def range_km(self) -> float:
        """How far it still goes, by what it has taken lately."""
        return self.range_left(self._row.item(S.CONSUMPTION), self.energy_percent)

    def range_left(self, kwh_per_km: float, energy_percent: float) -> float:
        """How far it would go with so much energy, if it went on like that."""
        return min(RANGE_SHOWN_KM, energy_percent / 100 * self.build.energy_kwh / max(0.5 * self.usual_kwh_per_km, kwh_per_km))

    @property
    def onboard_voltage(self) -> float:
        """Of the low-voltage battery, in volts: charged while the ignition is on or the traction battery is being charged."""
        return shown.onboard_volts(self.system_voltage, self._row.tolist())

    @property
    def can_start(self) -> bool:
        """Whether the low-voltage battery has enough left to turn the starter, or to close the main relays."""
        return self.low_battery_charge >= START_CHARGE

    @property
    def supply_voltage(self) -> float:
        """At the unit's supply pins, in volts: the battery's less the cable's drop, unless `forced_supply_volts` is set."""
        return self.supply_volts(self.onboard_voltage)

    def supply_volts(self, onboard_volts: float) -> float:
        """`supply_voltage` with that much in the vehicle's wires."""
        return onboard_volts - DROP_VOLTS if self.forced_supply_volts is None else self.forced_supply_volts

    @property
    def tire_pressure_kpa(self) -> Tires:
        """Gauge pressure by tyre, as warm as it is."""
        return Tires(self._row)

    @property
    def has_flat_tire(self) -> bool:
        """Whether one has much less than it should when cold."""
        return bool(min(self._row[physics.COLD].tolist()) < self.low_tire_kpa)

    def leak(self, tire: str, kpa_per_hour: float) -> None:
        """A nail in `tire`. Raises ValueError where there is no such tyre."""
        self._row[physics.LEAK.start + TIRES.index(tire)] = kpa_per_hour

    @property
    def signal_dbm(self) -> int:
        """What the modem hears where the vehicle is."""
        return signal_dbm(self._row.item(S.DISTANCE))

    def state(self) -> State:
        """All that the model can say, as vocabulary values and without any rounding."""
        return {key: show(self) for key, show in self._shows}

    def named(self) -> tuple[Any, ...]:
        """The part of `state` that has names (enum, lamp, bool): its values in the order of `properties`."""
        return self.pick_named(shown.words(self, self._row.tolist()))

    def steady(self, now_ms: int) -> tuple[physics.Row, int | None] | None:
        """Its row and `next_change_ms`, if its driver does nothing until now, and its fleet is stepped together."""
        columns, at = self.columns, self.at_row
        pause_s, clock = columns.pauses.item(at), columns.clocks.item(at)
        if not (columns.led and pause_s - DUE_S > (now_ms - clock) / 1000):  # nor where it has not begun, its clock no number
            return None
        if now_ms - clock > TOGETHER_MS:
            self.live_until(now_ms)
            pause_s, clock = columns.pauses.item(at), columns.clocks.item(at)
        changes_ms = None if pause_s == math.inf else int(clock) + math.ceil(1000 * (pause_s - DUE_S))
        return self._row.tolist(), changes_ms

    def glimpse(self, row: physics.Row | None = None, volts: float | None = None) -> "Glimpse":
        """`state` and `named` at once, as they are now, quicker than either.

        `row` is its own and `volts` its `onboard_voltage`, where they are known already.
        """
        if row is None:
            row = self._row.tolist()
        words = shown.words(self, row)
        return Glimpse(row, self.pick_named(words), self.pick_shown(words + shown.measures(self, row, volts)))

    def lamp(self, key: str) -> str:
        """What the lamp `key` shows: ON, OFF or SENSOR_FAILURE."""
        return shown.lamp(self, key)

    @property
    def _pause_s(self) -> float:
        return float(self.columns.pauses.item(self.at_row))

    @_pause_s.setter
    def _pause_s(self, pause_s: float) -> None:
        self.columns.pauses[self.at_row] = pause_s

    @property
    def next_change_ms(self) -> int | None:
        """When its life next changes something by itself, in the time that `advance` was told; None: never."""
        pause_s, clock = self._pause_s, self.columns.clocks.item(self.at_row)
        if math.isinf(pause_s) or math.isnan(clock):
            return None
        return int(clock) + math.ceil(1000 * (pause_s - DUE_S))

    def advance(self, now_ms: int) -> None:
        """Live until `now_ms`. The first call only sets the time."""
        clock = self.columns.clocks.item(self.at_row)
        if math.isnan(clock):
            self.columns.clocks[self.at_row] = now_ms
        elif self._pause_s - DUE_S <= (now_ms - clock) / 1000 or now_ms - clock > (TOGETHER_MS if self.columns.led else 0):
            self.live_until(max(now_ms, clock))

    def live_until(self, now_ms: float) -> None:
        """As `advance`, even where the fleet's columns are stepped together."""
        clock = self.columns.clocks.item(self.at_row)
        self.columns.clocks[self.at_row] = now_ms
        self.step((now_ms - clock) / 1000)

    def step(self, dt_s: float) -> None:
        """Live for `dt_s` seconds: what its driver does happens at its own moment in between."""
        left = dt_s
        while True:
            pause_s = self._pause_s
            while self._life is not None and pause_s <= DUE_S:
                pause_s = next(self._life, math.inf)
                self._pause_s = pause_s
            if left <= 1e-9:
                return
            run_s = min(left, pause_s)
            self._run(run_s)
            left -= run_s
            self._pause_s = pause_s - run_s

    def _run(self, seconds: float) -> None:
        row, built = self._row.tolist(), self._built
        while seconds > 1e-9:
            moving = physics.moves(row)
            stride = physics.stride(row, built, seconds) if moving else seconds
            physics.stand(row, built, stride)
            if moving:
                physics.drive(row, built, stride)
                if row[S.DISTANCE] >= row[S.LEG_END]:
                    self.next_leg(row)
            seconds -= stride
        self._row[:] = row

    def next_leg(self, row: physics.Row) -> None:
        """A leg of its way is behind it: what holds on the next one, written into its `row`."""
        stop_s = row[S.LEG_STOP]
        row[S.LEG_END : S.LEG_STOP + 1] = self._route.leg(row[S.DISTANCE])
        if stop_s and row[S.LEG_LIMIT] > 0:
            row[S.WAIT] = stop_s

    def play(self, script: Iterator[float], *, resumes_after_s: float | None = None) -> None:
        """Its driver does this from now on; so long after it, what he did before, else nothing more until `resume`."""
        if not self._ordered:
            self._shelved, self._ordered = self._life, True
        self._life = self._order(script, resumes_after_s)
        self._pause_s = next(self._life, math.inf)

    def resume(self) -> None:
        """Its driver goes on with what he did before `play`."""
        if self._ordered:
            self._life, self._shelved, self._ordered = self._shelved, None, False
            self._pause_s = DUE_S if self._life is not None else math.inf

    def _order(self, script: Iterator[float], resumes_after_s: float | None) -> Iterator[float]:
        yield from script
        former = self._shelved
        if resumes_after_s is not None and former is not None:
            yield resumes_after_s
            self._shelved, self._ordered = None, False
            yield from former

    def execute(self, command: str) -> str | None:
        """Carry out a command (`unlock-central-lock`) wholly, or not at all: then the word for why.

        Words: `not_fitted`, `ignition_on`, `in_motion`, `door_open`, `key_missing`.
        """
        if command not in self.commands or command not in ACTS:
            return "not_fitted"
        refusal, act = ACTS[command]
        word = refusal(self)
        if word is not None and (word != "ignition_on" or self.checks_ignition):
            return word
        act(self)
        self.executed[command] += 1
        return None

    def set_lock(self, locked: bool) -> None:
        """What the unit does to the central lock: it does not follow while the ignition is on, or where it is stuck."""
        self.commanded_lock = locked
        if not self.ignition and "central_lock" not in self.stuck:
            self.locked = locked

    def set_top_case_lock(self, locked: bool) -> None:
        """What the unit does to the top case."""
        self.commanded_top_case_lock = locked
        if "top_case" not in self.stuck:
            self.top_case_locked = locked

    def open_battery_compartment(self) -> None:
        """What the unit does to the battery compartment: it springs open."""
        if "battery_compartment" not in self.stuck:
            self.battery_compartment_open = True


def _somewhere(rng: random.Random, latitude: float, longitude: float) -> Loop:
    """A closed road around that place, begun anywhere along it."""
    around = Loop(latitude, longitude, bearing=rng.uniform(0, 360))
    start = around.at(rng.uniform(0, around.length_m))
    return Loop(
        start.latitude,
        start.longitude,
        bearing=rng.uniform(0, 360),
        along_m=rng.uniform(600, 1800),
        across_m=rng.uniform(400, 1200),
    )
