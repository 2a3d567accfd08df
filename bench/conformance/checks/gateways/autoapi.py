"""What a gateway does with AutoAPI messages."""

import threading

from bench.conformance.checks.gateways.played import (
    NOW_MS,
    RECORDED,
    SOUTH_WEST,
    Exchange,
    broken,
    exchange,
    no_other,
    nothing_came,
    said_again,
    same,
)
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import PlayedUnit, Site
from protocols.autoapi_commands import property_bytes, set_message, state_message

AAP_SIGNALS = {"vehicle_location.coordinates.latitude": -33.8688, "vehicle_location.coordinates.longitude": -70.6693}


def _aap_state(site: Site) -> Exchange:
    return exchange(
        site,
        "an AutoAPI state",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, unit.unit.telematics_unit_id, NOW_MS - 9000),
    )


@proves("AAP-GW-001")
def aap_event(site: Site) -> str:
    found = _aap_state(site)
    if wrong := same(found.events[0] if found.events else None, {"position": SOUTH_WEST}):
        raise broken(site, str(SOUTH_WEST), wrong, found.moment, found.data, "autoapi")
    return "position"


def _odometer(metres: float, unit: PlayedUnit, at_ms: int) -> bytes:
    """The odometer as a length in metres (unit 0), whatever the declaration's own unit is."""
    import struct

    value = bytes([0x12, 0x00]) + struct.pack(">d", metres)
    universal = [property_bytes(0xA2, at_ms.to_bytes(8, "big")), property_bytes(0xA3, unit.unit.telematics_unit_id.encode())]
    return set_message(0x0033, [property_bytes(0x1F, value), *universal])


@proves("AAP-GW-002")
def aap_units(site: Site) -> str:
    found = exchange(site, "an odometer in metres", "MERCEDES_BENZ", lambda unit: _odometer(54_321_600.0, unit, NOW_MS - 8000))
    if "mileage_in_kilometers" not in {key for event in found.events for key in event.body["changed"]}:
        raise NotExecuted(
            "the vehicle's model has no mileage by the odometer", "use a model whose rules read diagnostics.odometer"
        )
    if wrong := same(found.events[0], {"mileage_in_kilometers": 54321.6}):
        raise broken(site, "54321.6 km", wrong, found.moment, found.data, "autoapi")
    return "54321.6 km"


@proves("AAP-GW-003")
def aap_vin(site: Site) -> str:
    _aap_state(site)
    found = exchange(
        site,
        "a state of another VIN",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, "W1N2437011J000001", NOW_MS - 7000),
        wait_event=False,
        answers=0,
    )
    reasons = [each["reason"] for each in site.quarantined(found.unit.unit)]
    if "identity_mismatch" not in reasons or found.events:
        raise broken(
            site, "identity_mismatch, no event", f"{reasons}, {len(found.events)} events", found.moment, found.data, "autoapi"
        )
    return "identity_mismatch"


@proves("AAP-GW-004")
def aap_cut_off(site: Site) -> str:
    _aap_state(site)
    found = exchange(
        site,
        "a state that is cut off",
        "MERCEDES_BENZ",
        lambda unit: state_message(AAP_SIGNALS, unit.unit.telematics_unit_id, NOW_MS - 6000)[:-5],
        wait_event=False,
        answers=0,
    )
    return nothing_came(site, found, "autoapi")


@proves("AAP-GW-005")
def aap_failure(site: Site) -> str:
    _aap_state(site)

    def failed(unit: PlayedUnit) -> bytes:
        failure = bytes([0x00]) + (9).to_bytes(2, "big") + b"try later"
        universal = [
            property_bytes(0xA2, (NOW_MS - 5000).to_bytes(8, "big")),
            property_bytes(0xA3, unit.unit.telematics_unit_id.encode()),
        ]
        return set_message(0x0030, [{"id": 0x04, "components": [{"id": 3, "data": failure}]}, *universal])

    found = exchange(site, "a property that failed", "MERCEDES_BENZ", failed, wait_event=False, answers=0)
    if wrong := same(next(iter(reversed(site.events(found.unit.id, RECORDED))), None), {"position": SOUTH_WEST}):
        raise broken(site, "the position as before", wrong, found.moment, found.data, "autoapi")
    return "as before"


@proves("AAP-GW-006")
def aap_again(site: Site) -> str:
    first = _aap_state(site)
    return no_other(
        site, said_again(site, "the same AutoAPI state again", "MERCEDES_BENZ", first.data, answered=False), "autoapi"
    )


__all__ = ["threading"]
