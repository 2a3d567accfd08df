"""The types of events that there are (CONTRACT: events), in the order in which documents list them."""

from typing import Literal

from modeldb.vocabulary import PROPERTIES

ChangeReason = Literal[
    "MASTER_DATA_CHANGED",
    "LIFE_STATUS_CHANGED",
    "RENTAL_STATUS_CHANGED",
    "OPERATION_STATUS_CHANGED",
    "TAGS_CHANGED",
    "CUSTOM_FIELDS_CHANGED",
    "CAPABILITIES_CHANGED",
    "TELEMATICS_UNIT_CHANGED",
]
"""Why a vehicle is not what it was: the `reasons` of VehicleChanged."""

STATE_RECORDED = "VehicleStateRecorded"
CHANGED = tuple(sorted(known.event for known in PROPERTIES.values() if known.event is not None))
"""One for each property whose values are words: `CentralLockChanged`."""
LIFECYCLE = ("VehicleCreated", "VehicleChanged", "VehicleRemoved")

TRIP_STARTED = "TripStarted"
TRIP_ENDED = "TripEnded"
TRIP_METRICS_READY = "TripMetricsReady"
TRIP_DISCARDED = "TripDiscarded"
TRIPS = (TRIP_STARTED, TRIP_ENDED, TRIP_METRICS_READY, TRIP_DISCARDED)

EVENT_TYPES: tuple[str, ...] = (STATE_RECORDED, *CHANGED, *LIFECYCLE, *TRIPS)
