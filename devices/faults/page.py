"""docs/faults.md, made from the faults: `python -m devices.faults.page`."""

from pathlib import Path

from devices.faults import ALL
from devices.faults.fault import EXPECTATIONS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LEVELS = ("wire", "clock", "GNSS", "power", "vehicle", "line", "session", "configuration")

HEAD = """\
# Faults by name

```console
$ teleloop fleet --units units.json --fault duplicate:0.2 --fault brown_out_loop --line slow
$ teleloop fleet --fault list
```

A fault strikes every unit of the fleet that it can strike; one that none of them can have is an error. The rate after
the colon is a
probability per payload or command, or times per hour; a fault that a unit simply has, has none. The same seed strikes
at the same
moments. In a scenario: `faults = ["bad_crc:0.2"]` of a vehicle, or a step `{ fault = "..." }`; from Python:
`terminal.inject(by_name("bad_crc"), now_ms)`.

Each fault says what the gateway is expected to do. `python -m bench.fault_trial` has each of them strike a vehicle that
lives through a
trip, and judges the gateway's core by that; `tests/bench/test_fault_trials.py` is the same as tests.

"""

TAIL = """\
Where a protocol has no acknowledgement of its own (AutoAPI; GB/T 32960 unless its brand file turns answers on) nobody
keeps a
frame that was damaged on the way: `held` is not expected there. Nor is it of Teltonika under `stale_session`: its answers
carry no number, so an answer of the last session can pass for one of this. Where frames carry no number (all but
CloudBoxx) a gateway cannot tell that `cloned_unit` is two: `repeated` and `contested` are expected of CloudBoxx alone.

## Two units with one identity

`cloned_unit` puts a second firmware on the air: the same id, brand, secrets and flash, in another vehicle, on a connection of
its own. A broker gives a client id one session, so each login ends the other's; both come back, later each time as long as
their lines do not last. The fleet's report counts these `takeovers`. The gateway gives both one vehicle, for that is what
their identity says; it counts a number that comes again with a report captured later than all that was told as
`teleloop_frames_total{outcome="contested"}`, and logs `two units speak under one identity` with the unit, once. What the
copy said stands in the ledger under `ID (copy)`.

## The line

`--line` puts every unit behind a model of its cellular link: latency (log-normal), bandwidth, dropouts. `teleloop fleet
--line list`
shows those that there are; [scenarios](scenarios.md) add holes along the road and outages. As under TCP, what was said
first
arrives first, and what is on its way when the link goes is gone with it: the unit's journal sends it again.
"""


def page() -> str:
    """The whole page."""
    faults = ["| fault | level | what happens | usual rate | protocols | the gateway must |", "|---|---|---|---|---|---|"]
    for name, kind in sorted(ALL.items(), key=lambda each: (LEVELS.index(each[1].level), each[0])):
        units = "all" if kind.protocols is None else ", ".join(sorted(kind.protocols))
        rate = "-" if kind.per == "unit" else f"{kind.usual_rate:g} per {kind.per}"
        faults.append(f"| `{name}` | {kind.level} | {kind.sentence} | {rate} | {units} | {', '.join(kind.expected)} |")
    others = ["| fault | not for | because |", "|---|---|---|"]
    others += [f"| `{name}` | {each} | {why} |" for name, kind in sorted(ALL.items()) for each, why in kind.because.items()]
    expected = ["| expected | the gateway |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in EXPECTATIONS.items())]
    return "\n\n".join((HEAD.rstrip("\n"), *("\n".join(table) for table in (faults, others, expected)), TAIL))


if __name__ == "__main__":
    PAGE.write_text(page())
