"""What a gateway does with Teltonika frames."""

from datetime import UTC, datetime

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
from bench.conformance.requirement import proves
from bench.conformance.site import PlayedUnit, Site
from protocols.teltonika import PROTOCOL as TELTONIKA
from protocols.teltonika_session import avl, login, record


def _tel_login(site: Site) -> Exchange:
    return exchange(
        site,
        "a Teltonika login",
        "TELTONIKA",
        lambda unit: TELTONIKA.encode(login(unit.unit.telematics_unit_id)),
        wait_event=False,
    )


def _tel_records(site: Site) -> Exchange:
    def two(unit: PlayedUnit) -> bytes:
        said = {"latitude": -338688000, "longitude": -706693000, "satellites": 9, "angle": 10, "speed": 0, "io_239": 0}
        return TELTONIKA.encode(
            avl(0x8E, [record(0x8E, NOW_MS - 5000, said), record(0x8E, NOW_MS - 4000, said | {"altitude": 12})])
        )

    _tel_login(site)
    found = exchange(site, "two Teltonika records", "TELTONIKA", two)
    site.until(lambda: len(site.events(found.unit.id, RECORDED)) >= 2, 5)
    return found


@proves("TEL-GW-001")
def accepts_logins(site: Site) -> str:
    found = _tel_login(site)
    if b"\x01" not in found.answers:
        raise broken(site, "01", [each.hex() for each in found.answers] or "nothing", found.moment, found.data, "teltonika")
    return "01"


@proves("TEL-GW-002")
def counts_records(site: Site) -> str:
    found = _tel_records(site)
    if (2).to_bytes(4, "big") not in found.answers:
        raise broken(site, "00000002", [each.hex() for each in found.answers] or "nothing", found.moment, found.data, "teltonika")
    return "00000002"


@proves("TEL-GW-003")
def checks_tel_crc(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = TELTONIKA.encode(avl(0x08, [record(0x08, NOW_MS - 3000, {"satellites": 9, "io_239": 1})]))
        return data[:-1] + bytes([data[-1] ^ 1])

    _tel_login(site)
    return nothing_came(
        site, exchange(site, "a Teltonika packet with a wrong CRC", "TELTONIKA", bad, wait_event=False, answers=0), "teltonika"
    )


@proves("TEL-GW-004")
def an_event_a_record(site: Site) -> str:
    found = _tel_records(site)
    times = [event.body["metadata"]["occurred_at"] for event in site.events(found.unit.id, RECORDED)][:2]
    wanted = [
        datetime.fromtimestamp((NOW_MS - off) / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for off in (5000, 4000)
    ]
    if times != wanted:
        raise broken(site, str(wanted), times, found.moment, found.data, "teltonika")
    return str(times)


@proves("TEL-GW-005")
def tel_again(site: Site) -> str:
    first = _tel_records(site)
    again = said_again(site, "the same Teltonika packet again", "TELTONIKA", first.data)
    if (2).to_bytes(4, "big") not in again.answers:
        raise broken(
            site, "00000002 again", [each.hex() for each in again.answers] or "nothing", again.moment, again.data, "teltonika"
        )
    return no_other(site, again, "teltonika")


@proves("TEL-GW-006")
def south_and_west(site: Site) -> str:
    found = _tel_records(site)
    event = next(iter(site.events(found.unit.id, RECORDED)), None)
    if wrong := same(event, {"position": SOUTH_WEST}):
        raise broken(site, str(SOUTH_WEST), wrong, found.moment, found.data, "teltonika")
    return "south and west"


@proves("TEL-GW-007")
def checks_imei(site: Site) -> str:
    _tel_login(site)
    found = exchange(
        site,
        "a login with another IMEI",
        "TELTONIKA",
        lambda unit: TELTONIKA.encode(login("356307042441013")),
        wait_event=False,
        answers=0,
    )
    reasons = [each["reason"] for each in site.quarantined(found.unit.unit)]
    if "identity_mismatch" not in reasons:
        raise broken(site, "identity_mismatch", reasons or "nothing in the quarantine", found.moment, found.data, "teltonika")
    return "identity_mismatch"
