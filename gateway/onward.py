"""The short way of what units say nearly always: one report, numbered next, of everything that the one before it said. Pure.

What comes out is what `gateway.uplink` finds on its long way, which decides whatever stands in any doubt here.
"""

from gateway.changes import Occasion, changed, recording
from gateway.events import Event, recorded_id
from gateway.memory import SEQUENCE_MODULUS, Memory, Snapshot, Vehicle, Window
from gateway.receipts import CLOCK_ALLOWANCE_MS, DOWNLINK_KINDS, Heard, Receipt, Telegram
from gateway.trips import follow


def onward(telegram: Telegram, vehicle: Vehicle, memory: Memory, heard: Heard) -> Receipt | None:
    """What came of a telegram that is one frame of a protocol with a window; None where that is not for here to say."""
    window, before, last, sequence = memory.window, memory.state, memory.order, heard.sequence
    if (
        sequence is None
        or sequence != (window.cumulative + 1) % SEQUENCE_MODULUS
        or window.bitmap
        or last is None
        or last % SEQUENCE_MODULUS != window.cumulative
        or len(heard.reports) != 1
        or heard.frame is not None
        or heard.answer is not None
        or heard.clock_unsynchronised
        or heard.kind in DOWNLINK_KINDS
        or memory.last_contact_at is None
        or not memory.online
        or type(before) is not Snapshot
    ):
        return None
    report, now = heard.reports[0], telegram.at
    reported, captured_at, mark = report.properties, report.captured_at, report.mark
    if captured_at is None or captured_at > now + CLOCK_ALLOWANCE_MS or not reported:
        return None
    alike = bool(mark) and mark == before.mark
    if not alike and reported.keys() != before.values_by_key.keys():
        return None
    after = Snapshot(reported, captured_at, last + 1, mark)
    vehicle_id, trip = vehicle.vehicle_id, memory.trip
    event_id = recorded_id(vehicle_id, report.record)
    body = recording(after, reported, captured_at, False, report.shown)
    events = [Event(event_id, "VehicleStateRecorded", event_id, captured_at, now, vehicle.fleet_id, vehicle_id, body)]
    if not alike or trip is not None or vehicle.rental_trip is not None:
        occasion = Occasion(event_id, event_id, captured_at, now, vehicle.fleet_id, vehicle_id)
        if not alike:
            events.extend(changed(before, after, occasion, reported))
        trip, told_of_trip = follow(vehicle, memory, after, reported, occasion)
        events.extend(told_of_trip)
    generation = memory.generation if heard.generation is None else heard.generation
    remembered = Memory(
        Window(sequence),
        last + 1,
        after,
        now,
        memory.firmware,
        True,
        memory.online_changed_at,
        generation,
        memory.recent,
        trip,
        memory.replacements,
    )
    return Receipt(remembered, events, accepted=1, acknowledged=1)
