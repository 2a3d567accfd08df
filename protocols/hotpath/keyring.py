"""Who may speak, and the keys of their seals, each with its HMAC begun: what a batch's seals are checked with."""

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from functools import cache

import numpy as np

from protocols.codec import Peer
from protocols.hotpath import kernels
from protocols.hotpath.rows import Bytes, Ints

SCHEDULE_BYTES = 64
GENERATIONS = 2
"""Keys of a unit that are valid at a time."""

UNITS_LIMIT = 65_536
"""Units whose keys are kept begun: 10 MB. The least recently used go first."""


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
    """Units and their keys, at most two a unit, by the numbers that `add` gives them.

    A number is its unit's until `drop`, or until `limit` others were wanted later than it: then its keys are gone from here.
    """

    def __init__(self, path: kernels.Path, unit_bytes: Callable[[str], bytes], limit: int = UNITS_LIMIT) -> None:
        self.path = sealing_path(path)
        self._kernel = kernels.kernel(self.path)
        self._unit_bytes, self._limit = unit_bytes, limit
        self._peers: list[Peer] = []
        self._places: OrderedDict[Hashable, int] = OrderedDict()
        self._free: list[int] = []
        self._ids = np.zeros((64, 32), np.uint8)
        self._schedules = np.zeros((64 * GENERATIONS, SCHEDULE_BYTES), np.uint8)
        self._has = np.zeros(64 * GENERATIONS, np.bool_)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def schedules(self) -> Bytes:
        """The begun HMACs, GENERATIONS for each unit."""
        return self._schedules

    def add(self, peer: Peer, name: Hashable = None) -> int:
        """The number of this unit; its keys are these from now on. `name` tells units of the same id apart. Raises ValueError for
        keys over 64 bytes or an id that no frame can carry."""
        identity = self._unit_bytes(peer.unit)[: self._ids.shape[1]]
        begun = [self._kernel.key_schedule(key) for key in peer.seal_keys[:GENERATIONS]]
        number = self._number(peer.unit if name is None else name)
        self._peers[number] = peer
        self._ids[number] = np.frombuffer(identity.ljust(self._ids.shape[1], b"\0"), np.uint8)
        for generation in range(GENERATIONS):
            at = number * GENERATIONS + generation
            self._has[at] = generation < len(begun)
            self._schedules[at] = np.frombuffer(begun[generation], np.uint8) if self._has[at] else 0
        return number

    def find(self, name: Hashable) -> int | None:
        """The number of a unit that is here, which counts as used now."""
        number = self._places.get(name)
        if number is not None:
            self._places.move_to_end(name)
        return number

    def drop(self, name: Hashable) -> None:
        """Forget a unit's keys, if they are here. Its number says nothing any more."""
        number = self._places.pop(name, None)
        if number is not None:
            self._peers[number] = Peer("")
            self._ids[number] = 0
            keys = slice(number * GENERATIONS, (number + 1) * GENERATIONS)
            self._schedules[keys], self._has[keys] = 0, False
            self._free.append(number)

    def numbers(self, peers: Iterable[Peer]) -> Ints:
        """The numbers of peers, added where they are not known or have other keys. At most `limit` of them in one call."""
        found = []
        for peer in peers:
            number = self.find(peer.unit)
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
        """Of each frame which key of its speaker, counted from 1, made its seal, `tag_bytes` that end `trail_bytes` before its
        end; 0: none of them."""
        holds = np.zeros(len(frames), np.uint8)
        for generation in range(GENERATIONS):
            which = speakers * np.int32(GENERATIONS) + np.int32(generation)
            which[(speakers < 0) | ~self._has[which]] = -1
            if generation == 0:
                self._kernel.check_seals(frames, self._schedules, which, tag_bytes, trail_bytes, holds)
            elif (which[holds == 0] >= 0).any():
                before = holds.copy()
                self._kernel.check_seals(frames, self._schedules, which, tag_bytes, trail_bytes, holds)
                holds[(before == 0) & (holds != 0)] = generation + 1
        return holds

    def distrust(
        self, frames: list[bytes], speakers: Ints, rows: Bytes, status: Bytes, unit: tuple[int, int], tag: tuple[int, int]
    ) -> tuple[int, Bytes | None]:
        """In the C kernel, for frames of one row each: marks in `status` what is not its speaker's own. `unit` says where rows
        have the unit's id and its size (0: nowhere), `tag` the seal's size (0: none) and what stands behind it. How many frames
        are not vouched for then, and what `check` gives if there are seals."""
        keys = np.empty(len(frames), np.uint8) if tag[0] else None
        columns = (self._ids, self._ids.shape[1], self._schedules, self._has)
        return self._kernel.distrust(frames, speakers, rows, rows.shape[1], status, *unit, *columns, *tag, keys), keys

    def _number(self, name: Hashable) -> int:
        """The place of a unit, made where it has none."""
        number = self.find(name)
        if number is not None:
            return number
        if len(self._places) >= self._limit:
            self.drop(next(iter(self._places)))
        if not self._free:
            self._free.append(len(self._peers))
            self._peers.append(Peer(""))
            if len(self._peers) > len(self._ids):
                self._grow()
        number = self._places[name] = self._free.pop()
        return number

    def _grow(self) -> None:
        self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._schedules = np.concatenate([self._schedules, np.zeros_like(self._schedules)])
        self._has = np.concatenate([self._has, np.zeros_like(self._has)])
