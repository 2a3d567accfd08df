"""The types of events that there are (CONTRACT: events), in the order in which documents list them."""

from modeldb.vocabulary import PROPERTIES

STATE_RECORDED = "VehicleStateRecorded"
CHANGED = tuple(sorted(known.event for known in PROPERTIES.values() if known.event is not None))
"""One for each property whose values are words: `CentralLockChanged`."""
LIFECYCLE = ("VehicleCreated", "VehicleChanged", "VehicleRemoved")
TRIPS = ("TripStarted", "TripEnded", "TripMetricsReady", "TripDiscarded")

EVENT_TYPES: tuple[str, ...] = (STATE_RECORDED, *CHANGED, *LIFECYCLE, *TRIPS)
