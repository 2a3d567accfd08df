"""What is remembered of a vehicle is the same after it was written down, whichever way its values stood."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from gateway.memory import Memory, Recorded, Snapshot, Window
from gateway.registry.packing import columns, packed, unpacked
from protocols.hotpath.told import Values

SAID = {"central_lock": "LOCKED", "position": {"lat": 50.94, "lon": 6.96}, "mileage_in_kilometers": 12.5, "driving_enabled": True}
AT, ORDER = 1_795_446_000_000, 7


def written_and_read(memory: Memory) -> Memory:
    return unpacked(packed(memory), {**columns(memory), "replacements": memory.replacements})


def memory(values: Mapping[str, Any]) -> Memory:
    return Memory(Window(ORDER), ORDER, Snapshot(values, AT, ORDER, b"mark"), AT, "1.2.3", True, AT, 1, (), None, 2)


@pytest.mark.parametrize("values", [SAID, Values(msgspec.json.encode(SAID))], ids=["read", "as text"])
def test_a_state_of_one_report_is_what_it_was(values: Mapping[str, Any]):
    found = written_and_read(memory(values))
    assert isinstance(found.state, Snapshot)
    assert dict(found.state) == {key: Recorded(value, AT, ORDER) for key, value in SAID.items()}
    assert list(found.state) == list(SAID)
    assert msgspec.structs.replace(found, state={}) == msgspec.structs.replace(memory(values), state={})


def test_a_state_of_many_reports_is_what_it_was():
    state = {"central_lock": Recorded("LOCKED", AT, 3), "ignition": Recorded("ON", AT + 5, 4)}
    found = written_and_read(msgspec.structs.replace(memory({}), state=state))
    assert found.state == state


def test_values_that_nobody_asks_for_are_not_read():
    packed(memory(Values(b"this is no JSON")))


def test_nothing_said_is_nothing_remembered():
    assert not Values(b"{}")
    assert dict(written_and_read(memory(Values(b"{}"))).state) == {}
