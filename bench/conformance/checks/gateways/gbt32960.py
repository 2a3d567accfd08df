"""What a gateway does with GB/T 32960 frames."""

import time
from datetime import UTC, datetime

from bench.conformance.checks.gateways.played import NOW_MS, Exchange, broken, exchange, no_other, nothing_came, said_again
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import PlayedUnit, Site
from protocols.gbt32960 import ERROR, OK
from protocols.gbt32960 import PROTOCOL as GBT32960
from protocols.gbt32960_session import login as gbt_login
from protocols.gbt32960_session import reissued, report, time_sync


def _gbt_login(site: Site) -> Exchange:
    def make(unit: PlayedUnit) -> bytes:
        return GBT32960.encode(gbt_login(unit.unit.telematics_unit_id, NOW_MS - 9000, 1, "89860012345678901234"))

    return exchange(site, "a GB/T 32960 login", "GBT32960", make, wait_event=False)


GBT_SIGNALS = {"vehicle_state": 2, "charge_state": 3, "run_mode": 1, "speed": 0, "odometer": 182_043, "soc": 81, "gear": 15}

GBT_SIGNALS |= {"longitude": 118_775_819, "latitude": 31_982_632}


def _gbt_report(site: Site) -> Exchange:
    _gbt_login(site)
    return exchange(
        site,
        "a GB/T 32960 report",
        "GBT32960",
        lambda unit: GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 8000, GBT_SIGNALS)),
    )


def _flags(found: Exchange) -> list[tuple[int, int, bytes]]:
    return [(each[2], each[3], each[24:30]) for each in found.answers if each[:2] == b"##"]


def _gbt_answered(site: Site, found: Exchange, flag: int) -> str:
    wanted = (found.data[2], flag, found.data[24:30])
    if wanted not in _flags(found):
        raise broken(
            site,
            f"command {wanted[0]:02x}, flag {flag:02x}, time {wanted[2].hex()}",
            [each.hex() for each in found.answers] or "nothing",
            found.moment,
            found.data,
            "gbt32960",
        )
    return f"{flag:02x}"


@proves("GBT-GW-001")
def gbt_login_answered(site: Site) -> str:
    return _gbt_answered(site, _gbt_login(site), OK)


@proves("GBT-GW-002")
def gbt_report_answered(site: Site) -> str:
    found = _gbt_report(site)
    if not site.models.brands["GBT32960"].answers:
        raise NotExecuted("the brand's valid reports are not answered (annex B.2.1)", "set `answers` in the brand file")
    return _gbt_answered(site, found, OK)


@proves("GBT-GW-003")
def beijing_time(site: Site) -> str:
    found = _gbt_report(site)
    wanted = datetime.fromtimestamp((NOW_MS - 8000) / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if not found.events:
        raise broken(site, "an event", "none", found.moment, found.data, "gbt32960")
    said = found.events[0].body["metadata"]["occurred_at"]
    if said != wanted:
        raise broken(site, wanted, said, found.moment, found.data, "gbt32960")
    return str(said)


@proves("GBT-GW-004")
def checks_bcc(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 7000, GBT_SIGNALS))
        return data[:-1] + bytes([data[-1] ^ 1])

    _gbt_login(site)
    return nothing_came(
        site, exchange(site, "a report with a wrong check character", "GBT32960", bad, wait_event=False, answers=0), "gbt32960"
    )


@proves("GBT-GW-005")
def refuses_unknown_types(site: Site) -> str:
    def bad(unit: PlayedUnit) -> bytes:
        data = GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 6000, GBT_SIGNALS))
        spoiled = bytearray(data[:-1])
        spoiled[30] = 0x0A
        total = 0
        for byte in spoiled[2:]:
            total ^= byte
        return bytes(spoiled) + bytes([total])

    _gbt_login(site)
    found = exchange(site, "a report with an unknown type", "GBT32960", bad, wait_event=False)
    if found.events:
        raise broken(site, "no event", found.events[0].id, found.moment, found.data, "gbt32960")
    return _gbt_answered(site, found, ERROR)


@proves("GBT-GW-006")
def invalid_is_no_value(site: Site) -> str:
    _gbt_login(site)
    signals = {**GBT_SIGNALS, "soc": 0xFF, "odometer": 0xFFFFFFFE}
    found = exchange(
        site,
        "a report with invalid values",
        "GBT32960",
        lambda unit: GBT32960.encode(report(unit.unit.telematics_unit_id, NOW_MS - 5000, signals)),
    )
    if not found.events:
        raise broken(site, "an event", "none", found.moment, found.data, "gbt32960")
    changed = found.events[0].body["changed"]
    for key in ("state_of_charge_or_fuel_level_in_percent", "mileage_in_kilometers"):
        if key in changed:
            raise broken(site, f"no {key}", changed[key], found.moment, found.data, "gbt32960")
    return "left out"


@proves("GBT-GW-007")
def reissue_is_no_other(site: Site) -> str:
    first = _gbt_report(site)
    frame = GBT32960.decode(first.data)
    again = said_again(site, "the report again, as reissue", "GBT32960", GBT32960.encode(reissued(frame)))
    return no_other(site, again, "gbt32960")


@proves("GBT-GW-008")
def gbt_time(site: Site) -> str:
    _gbt_login(site)
    found = exchange(
        site,
        "a time synchronisation",
        "GBT32960",
        lambda unit: GBT32960.encode(time_sync(unit.unit.telematics_unit_id)),
        wait_event=False,
    )
    said = [GBT32960.decode(each) for each in found.answers if each[:2] == b"##" and each[2] == 8]
    if not said or said[0].captured_at is None:
        raise broken(
            site,
            "an answer with the time",
            [each.hex() for each in found.answers] or "nothing",
            found.moment,
            found.data,
            "gbt32960",
        )
    off_s = said[0].captured_at / 1000 - time.time()
    if abs(off_s) > site.access.timeout_s + site.access.tolerance_s + 60:
        raise broken(site, "the present time, as Beijing time", f"{off_s:+.0f} s", found.moment, found.answers[0], "gbt32960")
    return "told"
