"""Where a fleet's time goes, part by part, from the stacks that py-spy has sampled.

    py-spy record -r 500 -f raw -d 8 -o stacks.txt -p PID      # of `bench.simulator_cost --part fleet`
    python -m bench.spy stacks.txt --us-per-frame 148

A stack belongs to the first of PARTS that one of its functions is in.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("writing to sockets", ("Wire.send ", "Wires._write ")),
    ("Acks: check, journal, store", ("Turns._received ",)),
    ("reading sockets, MQTT", ("Wires._look ",)),
    ("vehicles' steps", ("Columns.lead ", "Columns.advance ", "Columns.catch_up ", "Columns.prepare ")),
    ("the long way: events, changes", ("Terminal.tick ",)),
    ("values, and the model's rules", ("(devices/gauges.py", "Statements._whole ", "Senses.tell ", "own_values ")),
    ("frame and seal", ("Statements.frames ", "Layout.body ", "Speaker.frame ")),
    ("journal, flash, when to look again", ("BriefUnit.has_said ", "Unit._journalled ", "Journal.")),
    ("deciding what is due and has changed", ("Together.", "BriefUnit.", "Terminal.brief")),
    ("handing payloads on", ("Turns._publish ", "Line.publish ")),
    ("timers and turns", ("Timetable.", "Turns.", "Fleet.")),
)
REST = "everything else"


def part_of(stack: str) -> str:
    """The part that a stack, functions with `;` between them, belongs to."""
    frames = [f"{frame} " for frame in stack.split(";")]
    return next((name for name, marks in PARTS if any(mark in frame for frame in frames for mark in marks)), REST)


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Of all samples, by part: `lines` are a stack and its count each. Raises ValueError for what is none."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        found[part_of(stack)] += int(count)
    total = found.total()
    return {name: found[name] / total for name in (*(name for name, _ in PARTS), REST) if found[name]}


def main() -> None:
    """As said above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stacks", type=Path)
    parser.add_argument("--us-per-frame", type=float, default=100.0, help="what all of it is; without: shares in per cent")
    given = parser.parse_args()
    for name, share in shares(given.stacks.read_text().splitlines()).items():
        print(f"{given.us_per_frame * share:8.1f}  {name}")


if __name__ == "__main__":
    main()
