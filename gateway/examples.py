"""One event of every type, as the gateway makes it: frames of a unit through the uplink, records of the registry through theirs.

The documents show them. The same code, the same events: every id and time is given.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec

from gateway.event_types import EVENT_TYPES
from gateway.events import Event
from gateway.memory import Memory, Vehicle
from gateway.receipts import Telegram
from gateway.registry.record import VehicleRecord, born, changed_event
from gateway.uplink import receive
from modeldb import Database, load
from modeldb.model import VehicleModel
from modeldb.vocabulary import PROPERTIES, Property, Value
from protocols import load as load_protocols
from protocols.codec import Frame, Report, UnitId
from protocols.keys import UnitKeys, brand_key, unit_keys

FLEET_ID, VEHICLE_ID = "default", "K7QWE"
UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
CAR, YEAR = "Volkswagen Golf", 2021
CAPTURED_AT = 1_769_779_325_000
"""2026-01-30T13:22:05Z, in Unix ms."""

TRANSIT_MS = 412
"""How long the example's frames take to the gateway."""

NAMES = uuid.UUID("c1b3a1c4-5f5e-5b0a-8c69-0f5f3f1f0a11")
"""The name space of ids that are random in the life of a gateway, and are not in its documents."""

MEASURED: Mapping[str, Value] = {
    "adblue_level_in_percent": 62.5,
    "altitude_in_meters": 61.0,
    "brake_fluid_due_date": "2027-05-31",
    "cellular_signal_quality": 4,
    "heading_in_degrees": 271.5,
    "mileage_in_kilometers": 18204.3,
    "onboard_voltage_in_volts": 12.4,
    "position": {"lat": 50.7374, "lon": 7.0982},
    "remaining_range_in_kilometers": 412.0,
    "satellites_in_use": 11,
    "speed_in_kilometers_per_hour": 48.3,
    "state_of_charge_or_fuel_level_in_percent": 71.5,
    "telematics_unit_supply_voltage_in_volts": 12.2,
    "tire_pressure_front_left_in_kilopascals": 241.0,
    "tire_pressure_front_right_in_kilopascals": 240.5,
    "tire_pressure_rear_left_in_kilopascals": 238.0,
    "tire_pressure_rear_right_in_kilopascals": 238.5,
}
"""A value for each property whose values cannot be listed."""


def value_of(known: Property) -> Value:
    """A value that the property can have."""
    return known.values[0] if known.values else MEASURED[known.key]


class Speaker:
    """A unit whose sealed frames go through the uplink, one after the other."""

    def __init__(self, model: VehicleModel, database: Database) -> None:
        brand = database.brands[UNIT.brand]
        self._protocol = load_protocols()[brand.protocol]
        self._translation = model.units[UNIT.brand]
        self._keys: UnitKeys = unit_keys(brand_key(bytes(32), UNIT.brand), 1, UNIT.telematics_unit_id)
        self._vehicle = Vehicle(VEHICLE_ID, FLEET_ID, UNIT, brand, model)
        self._memory, self._sequence = Memory(), 0

    def say(self, at: int, **state: Value) -> list[Event]:
        """The events of a frame that was captured at `at` (Unix ms) and says `state`."""
        self._sequence += 1
        report = Report(b"", None, self._translation.invert(state))
        frame = Frame("state", UNIT.telematics_unit_id, self._sequence, at, (report,), {"flags": 0})
        telegram = Telegram(UNIT, self._protocol.encode(frame, self._keys.seal), at + TRANSIT_MS)
        receipt = receive(telegram, self._vehicle, self._memory, self._protocol, (self._keys,), lambda *_: None)
        self._memory = receipt.memory
        return receipt.events


@cache
def event_examples() -> Mapping[str, Event]:
    """One event for each of EVENT_TYPES, in their order."""
    database = load()
    found: dict[str, Event] = {}
    for event in (*_of_frames(database), *_of_trips(database), *_of_changes(database), *_of_the_registry(database)):
        found.setdefault(event.type, event)
    return {event_type: found[event_type] for event_type in EVENT_TYPES}


def _of_frames(database: Database) -> list[Event]:
    """A car is unlocked: its second report tells."""
    unit = Speaker(_car(database), database)
    state: dict[str, Value] = {
        "central_lock": "LOCKED",
        "ignition": "OFF",
        "mileage_in_kilometers": 18204.3,
        "position": {"lat": 50.7374, "lon": 7.0982},
    }
    unit.say(CAPTURED_AT - 60_000, **state)
    return unit.say(CAPTURED_AT, central_lock="UNLOCKED")


def _of_trips(database: Database) -> Iterator[Event]:
    """A trip of twenty minutes, and one that was none."""
    unit = Speaker(_car(database), database)
    here: dict[str, float] = {"lat": 50.7374, "lon": 7.0982}
    there: dict[str, float] = {"lat": 50.7753, "lon": 7.1873}
    energy = "state_of_charge_or_fuel_level_in_percent"
    unit.say(CAPTURED_AT - 60_000, driving_enabled=False, position=here, mileage_in_kilometers=18204.3, **{energy: 71.5})
    yield from unit.say(CAPTURED_AT, driving_enabled=True)
    unit.say(CAPTURED_AT + 600_000, position={"lat": 50.7561, "lon": 7.1402}, speed_in_kilometers_per_hour=48.3)
    end = CAPTURED_AT + 1_200_000
    yield from unit.say(end, driving_enabled=False, position=there, mileage_in_kilometers=18213.1, **{energy: 70.0})
    unit.say(end + 300_000, driving_enabled=True)
    yield from unit.say(end + 330_000, driving_enabled=False)


def _of_changes(database: Database) -> Iterator[Event]:
    """Every property that has a `...Changed`, behind a unit that can say all of them."""
    everything = max(database.available(UNIT.brand), key=lambda model: len(model.units[UNIT.brand].state_keys))
    for known in PROPERTIES.values():
        if known.event is None:
            continue
        unit, said = Speaker(everything, database), {known.key: known.values[0]}
        unit.say(CAPTURED_AT - 60_000, position=MEASURED["position"], **said)
        yield from unit.say(CAPTURED_AT, **{known.key: known.values[1]})


def _of_the_registry(database: Database) -> Iterator[Event]:
    """A vehicle comes, changes and goes."""
    created = _record(_car(database))
    garage = replace(created, operation_status="GARAGE", modified_at=CAPTURED_AT, revision=2)
    gone = replace(garage, archived_at=CAPTURED_AT, modified_at=CAPTURED_AT, revision=3)
    flow_id = str(uuid.uuid5(NAMES, "a request"))
    for event in (
        born(created, database, "VehicleCreated", created.created_at, flow_id),
        changed_event(garage, database, ["OPERATION_STATUS_CHANGED"], CAPTURED_AT, flow_id),
        born(gone, database, "VehicleRemoved", CAPTURED_AT, flow_id),
    ):
        yield msgspec.structs.replace(event, id=str(uuid.uuid5(NAMES, event.type)))


def _car(database: Database) -> VehicleModel:
    return database.find(UNIT.brand, CAR, YEAR)[0]


def _record(model: VehicleModel) -> VehicleRecord:
    added_at = CAPTURED_AT - 86_400_000
    facts: dict[str, Any] = {
        "vehicle_id": VEHICLE_ID,
        "fleet_id": FLEET_ID,
        "unit": UNIT,
        "vehicle_model_id": model.id,
        "master_data": {"license_plate": "HH-TL 1", "custom_name": "Golf 1"},
        "custom_fields": {"station": 17},
        "tags": ("airport",),
        "operation_status": "OPERATING",
        "rental_status": "NOT_IN_RENTAL",
        "created_at": added_at,
        "modified_at": added_at,
        "archived_at": None,
        "revision": 1,
        "number": 1,
        "replacements": 0,
        "online": True,
        "online_changed_at": added_at,
        "last_contact_at": CAPTURED_AT,
        "firmware": "4.7.1",
    }
    return VehicleRecord(**facts)
