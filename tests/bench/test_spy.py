"""Stacks that a profiler has sampled, put in parts."""

import pytest

from bench.spy import REST, part_of, shares

TICK = "main (bench/simulator_cost.py:9);Timetable._tick (devices/timetable.py:7);"


def test_a_stack_belongs_to_the_first_part_that_it_is_in() -> None:
    assert part_of(TICK + "Timetable._take_slot (devices/timetable.py:3)") == "timers and turns"
    assert part_of(TICK + "Turns.take_turns (devices/turns.py:3);Together.brief (devices/together.py:1)").startswith("deciding")
    assert part_of("Wires._look (devices/wires.py:1);Wire.ready (devices/wires.py:2)") == "reading sockets, MQTT"
    assert part_of("Wires._look (devices/wires.py:1);Turns._received (devices/turns.py:2);seal (x.py:1)").startswith("Acks")
    assert part_of("run (asyncio/runners.py:1)") == REST


def test_shares_are_of_all_samples() -> None:
    assert shares(["Wire.send (devices/wires.py:1) 3", "run (asyncio/runners.py:1) 1"]) == {
        "writing to sockets": 0.75,
        REST: 0.25,
    }


def test_what_is_no_count_of_a_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        shares(["Wire.send (devices/wires.py:1)"])
