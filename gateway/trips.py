"""Trips: what begins and ends one is the fleet's choice - driving enabled, the ignition, or the rental. Pure.

A trip begins with a change that was seen: a vehicle that is first heard of with its ignition on has no trip until the next
time. It ends by what it began with, whatever the fleet chooses meanwhile. Reports that come late change no trip.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from gateway.changes import Occasion, State
from gateway.event_types import TRIP_DISCARDED, TRIP_ENDED, TRIP_METRICS_READY, TRIP_STARTED
from gateway.events import Event, derived_id, timestamp
from gateway.memory import Memory, TripTrigger, Vehicle
from modeldb.vocabulary import PROPERTIES, Value

DISCARDED_BELOW_MS = 60_000
"""A shorter trip was none (doc)."""

STEP_FROM_KM = 0.015
"""Positions nearer to the last one that counted are the receiver's noise: a parked vehicle does not collect kilometres."""

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of WGS84 (IUGG)."""

STARTING: Mapping[TripTrigger, tuple[str, Value]] = {"DRIVING_ENABLED": ("driving_enabled", True), "IGNITION": ("ignition", "ON")}
"""The property that a trigger looks at, and its value while a trip lasts."""

Position = Mapping[str, float]
Remembered = Mapping[str, Any] | msgspec.Struct | None
DistanceSource = Literal["MILEAGE", "POSITIONS"]
MILEAGE = "mileage_in_kilometers"
LEVEL = "state_of_charge_or_fuel_level_in_percent"
SPEED = "speed_in_kilometers_per_hour"
_FASTEST_KM_PER_MS = PROPERTIES[SPEED].high / 3_600_000


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a vehicle stood at one end of a trip; None: not known. `at` is Unix ms."""

    at: int
    position: dict[str, float] | None = None
    mileage_km: float | None = None
    level_percent: float | None = None

    def shown(self) -> dict[str, Any]:
        """As events show it."""
        return {"timestamp": timestamp(self.at), "position": self.position, MILEAGE: self.mileage_km, LEVEL: self.level_percent}


class Trip(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trip that has not ended. `summed_km` is the way over the positions so far, `near` the last one that counted."""

    trip_id: str
    trigger: TripTrigger
    start: Mark
    summed_km: float | None = None
    near: dict[str, float] | None = None
    near_at: int = 0
    fastest_km_h: float | None = None

    def shown(self, end: Mark | None = None) -> dict[str, Any]:
        """As events show it."""
        shown = {"id": self.trip_id, "trigger": self.trigger, "start": self.start.shown()}
        return shown if end is None else shown | {"end": end.shown()}


class Before(Protocol):
    """What a vehicle's memory said before a report, as far as trips go."""

    @property
    def state(self) -> State: ...
    @property
    def trip(self) -> Remembered: ...


def follow(
    vehicle: Vehicle, before: Before, after: State, reported: Mapping[str, Any], occasion: Occasion
) -> tuple["Trip | None", Sequence[Event]]:
    """What the newest report of a vehicle does to its trip: the detector's memory from now on, and what there is to tell.

    `before` is what was remembered until this report, `after` the state with it, `reported` what it said.
    """
    trip, events = _open(vehicle, before), []
    if trip is None:
        if _lasts(before.state, vehicle.trip_trigger) is not False or not _lasts(after, vehicle.trip_trigger):
            return None, ()
        trip = _begun(vehicle.trip_trigger, after, occasion)
        events.append(_event(occasion, TRIP_STARTED, {"trip": trip.shown()}))
    trip = _moved(trip, reported, occasion.occurred_at)
    if _lasts(after, trip.trigger) is False:
        return None, events + _ended(trip, after, occasion)
    return trip, events


def on_rental_status(
    vehicle: Vehicle, memory: Memory, in_rental: bool, occasion: Occasion
) -> tuple[Mapping[str, Any] | None, Sequence[Event]]:
    """What a rental that begins or ends does: the vehicle's `rental_trip` from now on, and what there is to tell.

    `occasion.recorded_id` is the id of the event that tells of the rental.
    """
    if vehicle.rental_trip is not None and not in_rental:
        trip = _followed(vehicle.rental_trip, memory)
        return None, _ended(trip, memory.state, occasion)
    if vehicle.rental_trip is None and in_rental and vehicle.trip_trigger == "RENTAL_STATUS":
        trip = _begun("RENTAL_STATUS", memory.state, occasion)
        return msgspec.to_builtins(trip), [_event(occasion, TRIP_STARTED, {"trip": trip.shown()})]
    return vehicle.rental_trip, ()


def _open(vehicle: Vehicle, memory: Before) -> Trip | None:
    """The trip that lasts. A rental's ends elsewhere: then what was followed of it is of no more use."""
    trip = None if memory.trip is None else _read(memory.trip)
    if trip is not None and trip.trigger != "RENTAL_STATUS":
        return trip
    return None if vehicle.rental_trip is None else _followed(vehicle.rental_trip, memory)


def _followed(rental_trip: Mapping[str, Any], memory: Before) -> Trip:
    """The rental's trip with what its vehicle has reported meanwhile."""
    begun = msgspec.convert(rental_trip, Trip)
    followed = begun if memory.trip is None else _read(memory.trip)
    return followed if followed.trip_id == begun.trip_id else begun


def _read(trip: Mapping[str, Any] | msgspec.Struct) -> Trip:
    """A trip as this gateway remembers it, or as the store gave it back."""
    return trip if isinstance(trip, Trip) else msgspec.convert(trip, Trip)


def _lasts(state: State, trigger: TripTrigger) -> bool | None:
    """Whether the state says that a trip is on; None: it does not say."""
    if trigger not in STARTING:
        return None
    key, value = STARTING[trigger]
    said = state.get(key)
    return None if said is None else said.value == value


def _begun(trigger: TripTrigger, state: State, occasion: Occasion) -> Trip:
    return Trip(derived_id(occasion.recorded_id, "Trip"), trigger, _mark(state, occasion.occurred_at))


def _mark(state: State, at: int) -> Mark:
    position, mileage, level = (state[key].value if key in state else None for key in ("position", MILEAGE, LEVEL))
    return Mark(at, position, mileage, level)


def _moved(trip: Trip, reported: Mapping[str, Any], at: int) -> Trip:
    """The trip after one more report. A step that no vehicle makes is the receiver's mistake, and so is the one back."""
    speed, position = reported.get(SPEED), reported.get("position")
    if speed is not None and (trip.fastest_km_h is None or speed > trip.fastest_km_h):
        trip = msgspec.structs.replace(trip, fastest_km_h=float(speed))
    if position is None:
        return trip
    near, near_at = (trip.start.position, trip.start.at) if trip.near is None else (trip.near, trip.near_at)
    if near is None:
        return msgspec.structs.replace(trip, near=dict(position), near_at=at)
    step_km, summed_km = distance_km(near, position), trip.summed_km or 0.0
    if step_km < STEP_FROM_KM:
        return msgspec.structs.replace(trip, summed_km=summed_km)
    if step_km <= max(at - near_at, 1000) * _FASTEST_KM_PER_MS:
        summed_km += step_km
    return msgspec.structs.replace(trip, summed_km=summed_km, near=dict(position), near_at=at)


def _ended(trip: Trip, state: State, occasion: Occasion) -> list[Event]:
    end = _mark(state, max(occasion.occurred_at, trip.start.at))
    told = {"trip": trip.shown(end)}
    events = [_event(occasion, TRIP_ENDED, told)]
    if end.at - trip.start.at < DISCARDED_BELOW_MS:
        return [*events, _event(occasion, TRIP_DISCARDED, told)]
    return [*events, _event(occasion, TRIP_METRICS_READY, told | {"metrics": _metrics(trip, end, state)})]


def _metrics(trip: Trip, end: Mark, state: State) -> dict[str, Any]:
    """What the trip amounts to; None: cannot be told. Energy that was charged or fuelled on the way counts against it."""
    duration_s = (end.at - trip.start.at) / 1000
    distance, source = _distance(trip, end, state)
    level_before, level_after = trip.start.level_percent, end.level_percent
    used = None if level_before is None or level_after is None else level_before - level_after
    return {
        "distance_in_kilometers": _rounded(distance, 3),
        "distance_source": source,
        "duration_in_seconds": duration_s,
        "energy_used_in_percent": _rounded(used, 1),
        "average_speed_in_kilometers_per_hour": None if distance is None else _rounded(distance / duration_s * 3600, 2),
        "maximum_speed_in_kilometers_per_hour": _rounded(trip.fastest_km_h, 2),
    }


def _distance(trip: Trip, end: Mark, state: State) -> tuple[float | None, DistanceSource | None]:
    """The way in km and how it is known: by the odometer if it was read again since the start and has not gone back."""
    start = trip.start
    if start.mileage_km is not None and end.mileage_km is not None and state[MILEAGE].at > start.at:
        driven_km = end.mileage_km - start.mileage_km
        if driven_km >= 0:
            return driven_km, "MILEAGE"
    return trip.summed_km, None if trip.summed_km is None else "POSITIONS"


def distance_km(one: Position, other: Position) -> float:
    """Great-circle distance by the haversine formula; good to 0.5 % on the ellipsoid."""
    lat, other_lat = math.radians(one["lat"]), math.radians(other["lat"])
    half_lat, half_lon = (other_lat - lat) / 2, math.radians(other["lon"] - one["lon"]) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat) * math.cos(other_lat) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _event(occasion: Occasion, event_type: str, body: Mapping[str, Any]) -> Event:
    return occasion.event(derived_id(occasion.recorded_id, event_type), event_type, body)
