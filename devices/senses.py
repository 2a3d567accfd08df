"""What a unit reads of its vehicle and of itself, in raw signals."""

import math
from collections.abc import Callable
from typing import Any

from devices.vehicle import LAMPS, State, Vehicle
from modeldb.model import Translation
from modeldb.vocabulary import PROPERTIES

Signals = dict[str, Any]

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

    `read` gives the vehicle's state as the unit gets it; whoever wants it to come from elsewhere, a bus, sets it. `last` is the
    state that was told last, all or what had changed of it; None: nothing was.
    """

    def __init__(self, translation: Translation, vehicle: Vehicle) -> None:
        self._translation = translation
        self.read: Callable[[], State] = vehicle.state
        self._vehicle, self._own = vehicle, self.read
        self._watched = tuple(key for key in vehicle.properties if PROPERTIES[key].event is not None)
        self.forget()

    def forget(self) -> None:
        """A reset: nothing counts as told."""
        self._told: tuple[Any, ...] | None = None
        self._signals: Signals = {}
        self.last: State | None = None
        self._reason: int | None = None
        self._card: int | None = None

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
        state = self.read()
        self._told, self.last = self._watch(state), state
        self._signals = dict(self._translation.invert(state))
        return self._signals

    def look(self) -> Signals:
        """Every signal; counts as told no more than before."""
        return dict(self._translation.invert(self.read()))

    def change(self) -> Signals | None:
        """If a named property (enum, lamp, bool) is not as told last: the signals that changed, the position, the cause."""
        if self._told is None or (self.read is self._own and self._vehicle.named() == self._told):
            return None
        state = self.read()
        seen = self._watch(state)
        if seen == self._told:
            return None
        key = next(key for key, now, told in zip(self._watched, seen, self._told, strict=True) if now != told)
        before, self._told, self.last = self._signals, seen, state
        self._signals = dict(self._translation.invert(state))
        news = {name: raw for name, raw in self._signals.items() if raw != before.get(name) or name in POSITION}
        cause, self._reason = self._reason, None
        card, self._card = self._card, None
        told = {"cause": CAUSE_OF.get(key, 1) if cause is None else cause}
        return news | told if card is None else news | told | {"card": card}

    def has_news(self) -> bool:
        """Whether a named property (enum, lamp, bool) is not as told last, or a card was shown."""
        return self._told is not None and (self._card is not None or self._watch(self.read()) != self._told)

    def _watch(self, state: State) -> tuple[Any, ...]:
        return tuple(state.get(key) for key in self._watched)


def card_number(card: str) -> int | None:
    """The number of an RFID card by its hexadecimal digits, 16 at most; None: it is none that a frame could carry."""
    try:
        number = int(card, 16)
    except ValueError:
        return None
    return number if 0 <= number < 1 << 64 else None


def own_facts(vehicle: Vehicle) -> dict[str, int]:
    """What the unit knows without the vehicle's bus: its receiver, modem and supply, and what it last told the locks."""
    place, vehicle = vehicle.here, vehicle.bare
    return {
        "latitude": round(place.latitude * 1e7),
        "longitude": round(place.longitude * 1e7),
        "altitude": round(vehicle.altitude_m),
        "heading": round(place.heading * 100) % 36_000,
        "gnss_speed": round(vehicle.speed_kmh * 100),
        "satellites": vehicle.satellites,
        "gnss_fix": 3,
        "gnss_hdop": 9,
        "supply_voltage": supply_mv(vehicle),
        "backup_voltage": 4_050,
        "unit_temperature": round(250 + 40 * math.sin(vehicle.distance_m / 5_000)),
        "rssi": vehicle.signal_dbm,
        "cell_id": 27_447_297 + int(vehicle.distance_m // 1_500) % 8,
        "network": 262_001,
        "commanded_locks": _two_bits(vehicle.commanded_lock) | _two_bits(vehicle.commanded_top_case_lock) << 2 | 0b1111 << 4,
    }


def supply_mv(vehicle: Vehicle) -> int:
    """What the unit measures at its supply pins, in millivolts."""
    return round(vehicle.supply_voltage * 1000)


def _two_bits(locked: bool | None) -> int:
    """1 locked, 0 unlocked, 3 unknown: never commanded."""
    return 3 if locked is None else int(locked)


def iccid(unit: str) -> str:
    """A SIM card number for the unit: industry 89, country 49, the digits of its id, and the check digit (ITU-T E.118)."""
    digits = "8949" + f"{int.from_bytes(unit.encode(), 'big') % 10**14:014d}"
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)
