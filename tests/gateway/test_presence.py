"""Who is online, told from wills, frames and silence, and from nothing while nobody could be heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.presence import RETAINED_GRACE_MS, SILENT_HEARTBEATS, WILL_GRACE_MS, Presence
from protocols.codec import UnitId

UNIT, OTHER = UnitId("CLOUDBOXX", "0123456789ABCDEF"), UnitId("CLOUDBOXX", "FEDCBA9876543210")
HEARTBEAT_S = 900
SILENCE_MS = SILENT_HEARTBEATS * HEARTBEAT_S * 1000


@pytest.fixture
def presence():
    presence = Presence()
    presence.listening(0)
    return presence


def test_a_will_counts_after_five_seconds_unless_the_unit_is_back(presence):
    for unit in (UNIT, OTHER):
        presence.heard(unit, 0, HEARTBEAT_S)
        presence.will(unit, 1_000)
    presence.back(OTHER)
    assert presence.gone(999 + WILL_GRACE_MS) == []
    assert presence.gone(1_000 + WILL_GRACE_MS) == [UNIT]
    assert presence.gone(2_000 + WILL_GRACE_MS) == []


def test_a_frame_that_came_before_the_will_does_not_undo_it(presence):
    presence.back(UNIT)
    presence.will(UNIT, 1_000)
    presence.heard(UNIT, 900, HEARTBEAT_S)
    assert presence.gone(1_000 + WILL_GRACE_MS) == [UNIT]


def test_a_will_said_again_does_not_begin_anew(presence):
    presence.will(UNIT, 1_000)
    presence.will(UNIT, 5_000)
    assert presence.gone(1_000 + WILL_GRACE_MS) == [UNIT]


def test_a_will_that_the_broker_had_kept_leaves_time_to_come_back(presence):
    presence.will(UNIT, 0, retained=True)
    presence.will(OTHER, 0, retained=True)
    assert presence.gone(WILL_GRACE_MS) == []
    presence.back(OTHER)
    assert presence.gone(RETAINED_GRACE_MS) == [UNIT]


def test_three_silent_heartbeats_are_offline_once(presence):
    presence.heard(UNIT, 0, HEARTBEAT_S)
    assert presence.gone(SILENCE_MS) == []
    assert presence.gone(SILENCE_MS + 1) == [UNIT]
    assert presence.gone(9 * SILENCE_MS) == []


def test_each_brand_has_its_own_silence(presence):
    presence.heard(UNIT, 0, 900)
    presence.heard(OTHER, 0, 60)
    assert presence.gone(SILENT_HEARTBEATS * 60_000 + 1) == [OTHER]
    presence.heard(UNIT, 200_000, 60)
    assert presence.gone(200_001 + SILENT_HEARTBEATS * 60_000) == [UNIT]


def test_nobody_is_gone_while_nobody_can_be_heard(presence):
    presence.heard(UNIT, 0, HEARTBEAT_S)
    presence.will(OTHER, 0)
    presence.deaf()
    assert presence.gone(10 * SILENCE_MS) == []
    presence.listening(10 * SILENCE_MS)
    assert presence.gone(10 * SILENCE_MS + WILL_GRACE_MS - 1) == []
    assert presence.gone(10 * SILENCE_MS + WILL_GRACE_MS) == [OTHER]
    assert presence.gone(11 * SILENCE_MS) == []
    assert presence.gone(11 * SILENCE_MS + 1) == [UNIT]


def test_a_unit_that_is_forgotten_is_not_watched(presence):
    presence.heard(UNIT, 0, HEARTBEAT_S)
    presence.will(UNIT, 0)
    presence.forget([UNIT, OTHER])
    assert presence.gone(9 * SILENCE_MS) == []


@given(
    signs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3_000), st.sampled_from(["back", "will", "tick"])), max_size=80)
)
def test_a_unit_is_gone_once_for_each_will_that_nothing_followed(signs):
    presence, pending, now = Presence(), {}, 0
    presence.listening(0)
    for number, passes_ms, sign in [*signs, (0, WILL_GRACE_MS, "tick")]:
        unit, now = UnitId("CLOUDBOXX", f"{number:016X}"), now + passes_ms
        match sign:
            case "back":
                presence.back(unit)
                presence.heard(unit, now, HEARTBEAT_S)
                pending.pop(unit, None)
            case "will":
                presence.will(unit, now)
                pending.setdefault(unit, now)
            case "tick":
                due = {each for each, at in pending.items() if now - at >= WILL_GRACE_MS}
                told = presence.gone(now)
                assert (set(told), len(told)) == (due, len(due))
                pending = {each: at for each, at in pending.items() if each not in due}
