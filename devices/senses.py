"""What a unit reads of its vehicle and of itself, in raw signals."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from devices.physics import DISTANCE, SPEED, Row
from devices.route import Place
from devices.shown import LAMPS, onboard_volts
from devices.vehicle import Glimpse, State, Vehicle
from devices.wording import Words, wording
from modeldb.model import Translation
from modeldb.vocabulary import PROPERTIES

Signals = dict[str, Any]

Say = Callable[[], tuple[Words, tuple[Any, ...]]]
"""The signals, and the values of all properties, of one moment."""

POSITION = frozenset({"latitude", "longitude"})

_CAUSES = {
    1: ("ignition", "driving_enabled", "parking_brake_engaged", "center_stand_position", "headlights_status", "abs_status"),
    2: ("central_lock", "top_case_lock"),
    3: ("doors_status", "windows_status", "top_case_lid", "battery_compartment"),
    4: ("charging_status", "charging_adapter_status"),
    5: LAMPS,
    7: ("vehicle_key_status",),
}
SUPPLY_CAUSE, FOB_CAUSE = 6, 8
CAUSE_OF = {key: cause for cause, keys in _CAUSES.items() for key in keys}
"""Property key to the event's `cause`."""


class Senses:
    """The vehicle through one unit's eyes: raw signals as the model says them, and which of them have news.

    `read` gives the vehicle's state as the unit gets it; whoever wants it to come from elsewhere, a bus, sets it. `wording` is
    how its model says the vehicle's values, None where that is not kept ready.
    """

    __slots__ = (
        "_card", "_last", "_own", "_reason", "_said", "_say", "_told", "_translation", "_values", "_vehicle", "_watched",
        "read", "wording",
    )  # fmt: skip

    def __init__(self, translation: Translation, vehicle: Vehicle) -> None:
        self._translation = translation
        self.read: Callable[[], State] = vehicle.state
        self._vehicle, self._own = vehicle, self.read
        self._watched = _watched(vehicle.properties)
        self.wording = wording(translation, vehicle.properties)
        self.forget()

    def forget(self) -> None:
        """A reset: nothing counts as told."""
        self._told: tuple[Any, ...] | None = None
        self._said: Words | None = None
        self._say: Say | None = None
        self._last: State | None = None
        self._values: tuple[Any, ...] = ()
        self._reason: int | None = None
        self._card: int | None = None

    @property
    def last(self) -> State | None:
        """The state that was told last, all or what had changed of it; None: nothing was."""
        if self._last is None and self._told is not None:
            self._recall()
            self._last = dict(zip(self._vehicle.properties, self._values, strict=True))
        return self._last

    def because(self, cause: int, card: int | None = None) -> None:
        """The next change has this cause, whatever it looks like; a `card` that was shown is told in any case."""
        self._reason, self._card = cause, card

    def untold_card(self) -> int | None:
        """The card that no change has told of; from now on it is told."""
        card, self._card = self._card, None
        if card is not None:
            self._reason = None
        return card

    def all(self) -> Signals:
        """Every signal; counts as told."""
        said, _ = self.tell()
        return dict(zip(*said, strict=True))

    @property
    def is_plain(self) -> bool:
        """Whether it reads its vehicle as it is, in a wording that is kept ready, and no card waits to be told of."""
        return self.read is self._own and self.wording is not None and self._card is None

    def tell(self, row: Row | None = None, volts: float | None = None) -> tuple[Words, Row | None]:
        """Every signal; counts as told. With it the vehicle's row at that moment, where the unit sees it as it is.

        `row` and `volts` as `Vehicle.glimpse` takes them.
        """
        glimpse, wording = self._glimpse(row, volts), self.wording
        if glimpse is None or wording is None:
            state = self.read()
            return self._keep(self._watch(state), (), self._words(state), state), None
        row, named, values = glimpse
        return self._keep(named, values, wording.signals(values)), row

    def told(self, named: tuple[Any, ...], say: "Say") -> None:
        """Every signal was told, as by `tell`: `named` of them has names, and `say` is asked for the rest where it matters."""
        self._told, self._last, self._say = named, None, say

    def look(self) -> Signals:
        """Every signal; counts as told no more than before."""
        return dict(self._translation.invert(self.read()))

    def change(self) -> Signals | None:
        """If a named property (enum, lamp, bool) is not as told last: the signals that changed, the position, the cause."""
        told = self._told
        if told is None or (self.read is self._own and self._vehicle.named() == told):
            return None
        self._recall()
        before = self._said
        if before is None:
            return None
        state = None if self._sees_truly() and self.wording else self.read()
        seen = self._vehicle.named() if state is None else self._watch(state)
        if seen == told:
            return None
        key = next(key for key, now, was in zip(self._watched, seen, told, strict=True) if now != was)
        said = self.tell()[0] if state is None else self._keep(seen, (), self._words(state), state)
        cause, self._reason = self._reason, None
        card, self._card = self._card, None
        news = _news(before, said) | {"cause": CAUSE_OF.get(key, 1) if cause is None else cause}
        return news if card is None else news | {"card": card}

    def has_news(self) -> bool:
        """Whether a named property (enum, lamp, bool) is not as told last, or a card was shown."""
        if self._told is None:
            return False
        if self._card is not None:
            return True
        return (self._vehicle.named() if self.read is self._own else self._watch(self.read())) != self._told

    def _sees_truly(self) -> bool:
        """Whether nothing stands between the unit and its vehicle."""
        return self.read is self._own and self._vehicle.undisturbed is not None

    def _glimpse(self, row: Row | None = None, volts: float | None = None) -> Glimpse | None:
        vehicle = self._vehicle.undisturbed if self.read is self._own else None
        return None if vehicle is None else vehicle.glimpse(row, volts)

    def _words(self, state: State) -> Words:
        signals = self._translation.invert(state)
        return tuple(signals), list(signals.values())

    def _keep(self, named: tuple[Any, ...], values: tuple[Any, ...], said: Words, state: State | None = None) -> Words:
        self._told, self._values, self._said, self._last, self._say = named, values, said, state, None
        return said

    def _recall(self) -> None:
        """Have at hand what was told by `told`."""
        if self._say is not None:
            self._said, self._values = self._say()
            self._say = None

    def _watch(self, state: State) -> tuple[Any, ...]:
        return tuple(state.get(key) for key in self._watched)


def card_number(card: str) -> int | None:
    """The number of an RFID card by its hexadecimal digits, 16 at most; None: it is none that a frame could carry."""
    try:
        number = int(card, 16)
    except ValueError:
        return None
    return number if 0 <= number < 1 << 64 else None


@cache
def _watched(properties: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in properties if PROPERTIES[key].event is not None)


def _news(before: Words, after: Words) -> Signals:
    """What of `after` is not as `before`, and where it is."""
    names, raws = after
    if names == before[0]:
        return {name: raw for name, raw, was in zip(names, raws, before[1], strict=True) if raw != was or name in POSITION}
    known = dict(zip(*before, strict=True))
    return {name: raw for name, raw in zip(names, raws, strict=True) if raw != known.get(name) or name in POSITION}


OWN = (
    "latitude", "longitude", "altitude", "heading", "gnss_speed", "satellites", "gnss_fix", "gnss_hdop", "supply_voltage",
    "backup_voltage", "unit_temperature", "rssi", "cell_id", "network", "commanded_locks",
)  # fmt: skip
"""What a unit knows without the vehicle's bus."""


GNSS_FIX, HDOP = 3, 9
BACKUP_MV = 4_050
FIRST_CELL, NETWORK = 27_447_297, 262_001


def own_facts(vehicle: Vehicle) -> dict[str, int]:
    """OWN: its receiver, modem and supply, and what it last told the locks."""
    return dict(zip(OWN, own_values(vehicle.bare, vehicle.here, vehicle.bare.row()), strict=True))


def own_values(vehicle: Vehicle, place: Place, row: Row, volts: float | None = None) -> list[int]:
    """The same as a list, for a unit that believes to be at `place`; `row` is the vehicle's, `volts` as for its glimpse."""
    driven_m = row[DISTANCE]
    return [
        round(place.latitude * 1e7),
        round(place.longitude * 1e7),
        round(vehicle.altitude_m),
        round(place.heading * 100) % 36_000,
        round(row[SPEED] * 100),
        vehicle.satellites,
        GNSS_FIX,
        HDOP,
        round(vehicle.supply_volts(onboard_volts(vehicle.system_voltage, row) if volts is None else volts) * 1000),
        BACKUP_MV,
        round(250 + 40 * math.sin(driven_m / 5_000)),
        vehicle.signal_dbm,
        FIRST_CELL + int(driven_m // 1_500) % 8,
        NETWORK,
        lock_bits(vehicle),
    ]


def supply_mv(vehicle: Vehicle) -> int:
    """What the unit measures at its supply pins, in millivolts."""
    return round(vehicle.supply_voltage * 1000)


def lock_bits(vehicle: Vehicle) -> int:
    """What it last told the locks, two bits each."""
    return _TWO_BITS[vehicle.commanded_lock] | _TWO_BITS[vehicle.commanded_top_case_lock] << 2 | 0b1111 << 4


_TWO_BITS = {True: 1, False: 0, None: 3}
"""Locked, unlocked, unknown: never commanded."""


def iccid(unit: str) -> str:
    """A SIM card number for the unit: industry 89, country 49, the digits of its id, and the check digit (ITU-T E.118)."""
    digits = "8949" + f"{int.from_bytes(unit.encode(), 'big') % 10**14:014d}"
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)
