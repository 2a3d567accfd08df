"""Who may speak, and the keys of their seals, each with its HMAC begun: what a batch's seals are checked with."""

import ctypes
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from protocols.codec import Peer
from protocols.hotpath import kernels
from protocols.hotpath.rows import Bytes, Ints

SCHEDULE_BYTES = 64
GENERATIONS = 2
"""Keys of a unit that are valid at a time."""


@cache
def sealing_path(path: kernels.Path) -> kernels.Path:
    """Which kernel checks seals: the one in C where OpenSSL's compression function is at hand, else Python's hmac."""
    if path == "numpy" or kernels.native is None:
        return "numpy"
    try:
        import _hashlib

        library = ctypes.CDLL(_hashlib.__file__)
        address = ctypes.cast(library.SHA256_Transform, ctypes.c_void_p).value
    except (ImportError, OSError, AttributeError):
        return "numpy"
    return "c" if address and kernels.native.use_transform(address) else "numpy"


class Keyring:
    """Units and their keys, at most two a unit, by the numbers that `add` gives them."""

    def __init__(self, path: kernels.Path, unit_bytes: Callable[[str], bytes]) -> None:
        self.path = sealing_path(path)
        self._kernel = kernels.kernel(self.path)
        self._unit_bytes = unit_bytes
        self._peers: list[Peer] = []
        self._places: dict[str, int] = {}
        self._ids = np.zeros((64, 32), np.uint8)
        self._schedules = np.zeros((64 * GENERATIONS, SCHEDULE_BYTES), np.uint8)
        self._has = np.zeros(64 * GENERATIONS, np.bool_)

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def schedules(self) -> Bytes:
        """The begun HMACs, GENERATIONS for each unit."""
        return self._schedules

    def add(self, peer: Peer) -> int:
        """The number of this unit; its keys are these from now on. Raises ValueError for keys over 64 bytes or an id that no
        frame can carry."""
        identity = self._unit_bytes(peer.unit)[: self._ids.shape[1]]
        begun = [self._kernel.key_schedule(key) for key in peer.seal_keys[:GENERATIONS]]
        number = self._places.setdefault(peer.unit, len(self._peers))
        if number == len(self._peers):
            self._peers.append(peer)
            if number == len(self._ids):
                self._grow()
        self._peers[number] = peer
        self._ids[number] = np.frombuffer(identity.ljust(self._ids.shape[1], b"\0"), np.uint8)
        for generation in range(GENERATIONS):
            at = number * GENERATIONS + generation
            self._has[at] = generation < len(begun)
            if self._has[at]:
                self._schedules[at] = np.frombuffer(begun[generation], np.uint8)
        return number

    def numbers(self, peers: Iterable[Peer]) -> Ints:
        """The numbers of peers, added where they are not known or have other keys."""
        found = []
        for peer in peers:
            number = self._places.get(peer.unit)
            if number is None or self._peers[number] != peer:
                number = self.add(peer)
            found.append(number)
        return np.array(found, np.int32)

    def peer(self, number: int) -> Peer:
        """The unit of a number; -1 is nobody."""
        return self._peers[number] if number >= 0 else Peer("")

    def ids(self, size_bytes: int) -> Bytes:
        """The units' ids as frames carry them, by their numbers."""
        return self._ids[:, :size_bytes]

    def first_keys(self, speakers: Ints) -> Ints:
        """Where in `schedules` the first key of each speaker is."""
        return speakers * np.int32(GENERATIONS)

    def check(self, frames: list[bytes], speakers: Ints, tag_bytes: int, trail_bytes: int) -> Bytes:
        """Of each frame 1 if its seal, `tag_bytes` that end `trail_bytes` before its end, was made with a key of its speaker."""
        holds = np.zeros(len(frames), np.uint8)
        for generation in range(GENERATIONS):
            which = speakers * np.int32(GENERATIONS) + np.int32(generation)
            which[(speakers < 0) | ~self._has[which]] = -1
            if generation == 0 or (which[holds == 0] >= 0).any():
                self._kernel.check_seals(frames, self._schedules, which, tag_bytes, trail_bytes, holds)
        return holds

    def _grow(self) -> None:
        self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._schedules = np.concatenate([self._schedules, np.zeros_like(self._schedules)])
        self._has = np.concatenate([self._has, np.zeros_like(self._has)])
