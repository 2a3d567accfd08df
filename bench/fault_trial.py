"""Does the gateway do about a fault what the fault says that it must? One vehicle has it, lives through a trip, and is judged.

checks = trial(by_name("bad_crc"))          # every check.ok, or the gateway does not keep its word
python -m bench.fault_trial bad_crc         # or all of them
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import modeldb
from bench.ledger import Ledger
from bench.scenario import run_with_ledger
from bench.scenario_check import Check
from bench.scenario_judge import Heard, Seen
from bench.truth import Truth
from devices.faults import ALL, Expected, Fault, by_name
from devices.scenario import parse_scenario
from modeldb.vocabulary import PROPERTIES

CLOCK_ALLOWANCE_MS = 10 * 60 * 1000
CLOCK_GOOD_MS = 5_000

TRIAL = """
title = "a trip with {name}"
settle = "20m"
vehicles = [{{ name = "sick", brand = "{brand}", faults = ["{fault}"] }}, {{ name = "other", brand = "{brand}" }}]
steps = [
  {{ fob = "unlock" }}, {{ wait = "20s" }}, {{ command = "request-vehicle-state", who = "sick" }},
  {{ drive = "2 km" }}, {{ park = true }}, {{ fob = "lock" }}, {{ wait = "10m" }},
  {{ fob = "unlock" }}, {{ wait = "30s" }}, {{ fob = "lock" }}, {{ wait = "2m" }}, {end}
]
expect = [{{ lost = "any" }}, {{ different = "any" }}]
"""
RATES = {
    "oversized_payload": 0.3,
    "gnss_jump": 60.0,
    "dead_spot": 6.0,
    "half_open": 30.0,
    "brown_out_loop": 12.0,
    "watchdog_reset": 30.0,
}
"""So often that it happens within the trial; others at their usual rate."""

ENDS = {"dead_spot": '{ cure = "dead_spot" }, { wait = "2m" },'}
"""How the trial ends where nothing is told while the fault strikes."""

SELDOM_ADDRESSED = {"stale_session": 1.0}
"""For units to whom little is said but commands: instead."""


def fault_on_trial(name: str, brand: str) -> Fault:
    """The fault at a rate at which it happens within the trial of a unit of that brand."""
    rates = RATES | (SELDOM_ADDRESSED if modeldb.load().brands[brand].protocol == "autoapi" else {})
    return by_name(name, rates.get(name))


def trial(fault: Fault, brand: str = "CLOUDBOXX", seed: int = 3) -> list[Check]:
    """What the gateway did about it, judged by `fault.expects`."""
    protocol = modeldb.load().brands[brand].protocol
    read = parse_scenario(TRIAL.format(name=fault.name, brand=brand, fault=repr(fault), end=ENDS.get(fault.name, "")), fault.name)
    steps = tuple(replace(step, status=None) for step in read.steps)
    outcome, ledger = run_with_ledger(replace(read, steps=steps, seed=seed))
    seen = outcome.seen
    return [_judged(each, seen, ledger, outcome.truth) for each in fault.expects(protocol)]


def _judged(expected: Expected, seen: Seen, ledger: Ledger, truth: Truth) -> Check:
    ok, said = _seen(expected, seen, ledger, truth)
    return Check(expected, ok, "so", said)


def _seen(expected: Expected, seen: Seen, ledger: Ledger, truth: Truth) -> tuple[bool, str]:
    reports = [event for event in seen.events if event.type == "VehicleStateRecorded"]
    match expected:
        case "held":
            missing = [entry for entry in ledger.missing() if entry.cause != "forgotten"]
            return not missing and ledger.counts().lost == 0, f"{len(missing)} missing" + (
                f": {missing[0].text}" if missing else ""
            )
        case "late":
            found = sum(bool(event.body.get("late")) for event in reports)
            return found > 0, f"{found} late"
        case "in_order":
            wrong = list(_out_of_order(reports, ledger))
            return not wrong, f"{len(wrong)} out of order"
        case "no_false_change":
            false = list(_false_changes(seen))
            return not false, f"{len(false)} false" + (f": {false[0].type} to {false[0].body['to']}" if false else "")
        case "clock_bounded":
            ahead = sum(event.occurred_ms > event.recorded_ms + CLOCK_ALLOWANCE_MS for event in reports)
            return ahead == 0, f"{ahead} beyond"
        case "clock_set":
            off = abs(reports[-1].occurred_ms - reports[-1].recorded_ms)
            return off < CLOCK_GOOD_MS, f"{off} ms off at last"
        case "executed_once":
            return seen.executed <= len(seen.command_ms), f"{seen.executed} executed, {len(seen.command_ms)} asked"
        case "one_session":
            once = seen.takeovers > 1 and seen.most_lines == 1
            return once, f"{seen.takeovers} takeovers, at most {seen.most_lines} at a time"
        case "others_true":
            others = [each for each in truth.differences if each.unit not in map(str, seen.sick)]
            return not others, f"{len(others)} differ" + (f": {others[0].text}" if others else "")
        case "restarts":
            return seen.restarts > 0, f"{seen.restarts} restarts"
        case "offline":
            turns = [event.body["vehicle"]["life_status"]["value"] for event in seen.events if event.type == "VehicleChanged"]
            return "OFFLINE" in turns and turns[-1] == "ONLINE", " ".join(turns[-6:])
        case "unavoidable":
            return seen.most_different > 0, f"at most {seen.most_different} properties differed"
        case "true":
            return truth.different == 0, f"{truth.different} properties differ" + (
                f": {truth.differences[0].text}" if truth.different else ""
            )
        case _:
            times = seen.counted.get(expected, 0)
            return times > 0, f"{times} times"


def _out_of_order(reports: list[Heard], ledger: Ledger) -> Iterator[Heard]:
    """Reports, not told as late, that were captured before one that was told earlier."""
    place = {entry.event_id: entry.sequence for entry in ledger}
    last: dict[object, int] = {}
    for event in reports:
        sequence = place.get(event.id)
        if sequence is None or event.body.get("late"):
            continue
        if (sequence - last.get(event.unit, sequence)) % (1 << 32) >= 1 << 31:
            yield event
        last[event.unit] = sequence


def _false_changes(seen: Seen) -> Iterator[Heard]:
    """Changes to a value that the vehicle never told of, or from one that it did not have."""
    keys = {known.event: key for key, known in PROPERTIES.items() if known.event is not None}
    now: dict[tuple[object, str], object] = {}
    for event in seen.events:
        key = keys.get(event.type)
        if key is None:
            continue
        had = now.get((event.unit, key), event.body["from"])
        if event.body["from"] != had or (event.unit, key, event.body["to"]) not in seen.had:
            yield event
        now[event.unit, key] = event.body["to"]


def main() -> int:
    """Exit code 1 if a gateway's core does not do what is expected of it."""
    failed = 0
    for name in sys.argv[1:] or sorted(ALL):
        brand = "CLOUDBOXX" if by_name(name).suits("cloudboxx") else "TELTONIKA"
        checks = trial(fault_on_trial(name, brand), brand)
        failed += sum(not check.ok for check in checks)
        for check in checks:
            print(f"{name:20} {check.name:24} {'as expected' if check.ok else 'NOT AS EXPECTED'}: {check.seen}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
