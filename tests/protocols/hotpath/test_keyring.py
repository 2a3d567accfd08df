"""The keys of units, each with its HMAC begun: how many are kept, which of them sealed a frame, and when they are gone."""

import numpy as np
import pytest

from lab.corpus import CORPORA, KEY, QNR
from protocols.codec import Peer
from protocols.hotpath.keyring import Keyring

CLOUDBOXX = CORPORA["cloudboxx"]
FRAMES = CLOUDBOXX.made(5)
FRAMING = CLOUDBOXX.binding.framing


def sealed_by(ring: Keyring, number: int) -> list[int]:
    speakers = np.full(len(FRAMES), number, np.int32)
    return ring.check(FRAMES, speakers, FRAMING.tag_size, FRAMING.tag_trail).tolist()


def test_it_tells_which_key_sealed_a_frame(path: str):
    ring = Keyring(path, bytes.fromhex)
    assert sealed_by(ring, ring.add(Peer(QNR, (KEY, bytes(32))))) == [1] * 5
    assert sealed_by(ring, ring.add(Peer(QNR, (bytes(32), KEY)))) == [2] * 5
    assert sealed_by(ring, ring.add(Peer(QNR, (bytes(32),)))) == [0] * 5


def test_the_least_recently_used_keys_go_first(path: str):
    ring = Keyring(path, bytes.fromhex, limit=3)
    numbers = [ring.add(Peer(f"{number:016X}", (KEY,))) for number in range(3)]
    assert ring.find(f"{0:016X}") == numbers[0]
    ring.add(Peer("F" * 16, (bytes(32),)))
    assert len(ring) == 3
    assert ring.find(f"{1:016X}") is None
    assert ring.find(f"{0:016X}") == numbers[0]
    assert sealed_by(ring, numbers[0]) == [1] * 5


def test_dropped_keys_are_gone(path: str):
    ring = Keyring(path, bytes.fromhex)
    number = ring.add(Peer(QNR, (KEY,)), "a name")
    assert sealed_by(ring, number) == [1] * 5
    ring.drop("a name")
    ring.drop("nobody")
    assert (len(ring), ring.find("a name")) == (0, None)
    assert sealed_by(ring, number) == [0] * 5
    assert not ring.schedules.any()


def test_the_same_id_under_two_names_is_two_units(path: str):
    ring = Keyring(path, bytes.fromhex)
    one, other = ring.add(Peer(QNR, (KEY,)), "one"), ring.add(Peer(QNR, (bytes(32),)), "other")
    assert (sealed_by(ring, one), sealed_by(ring, other)) == ([1] * 5, [0] * 5)


def test_an_id_that_no_frame_can_carry_is_refused(path: str):
    with pytest.raises(ValueError, match="hex"):
        Keyring(path, bytes.fromhex).add(Peer("no hex", (KEY,)))
