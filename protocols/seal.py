"""Who said it: the tag that binds a frame to the unit that sent it."""

import hashlib
import hmac
from functools import lru_cache

SEAL_SIZE_BYTES = 8
"""64 bits: the floor that NIST SP 800-38B appendix A names for a tag whose forger must be heard to try."""


def seal(data: bytes, key: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) of `data`, leftmost 8 bytes."""
    return hmac.digest(key, data, "sha256")[:SEAL_SIZE_BYTES]


def holds(data: bytes, tag: bytes, key: bytes) -> bool:
    """Whether `tag` seals `data`, compared in constant time."""
    return hmac.compare_digest(tag, seal(data, key))


_BLOCK_BYTES = hashlib.sha256().block_size
_INNER, _OUTER = bytes(each ^ 0x36 for each in range(256)), bytes(each ^ 0x5C for each in range(256))


class Sealer:
    """`seal` with one key, its HMAC begun: for whoever seals again and again."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner, self._outer = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))

    def seal(self, data: bytes) -> bytes:
        """The tag of `data`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()[:SEAL_SIZE_BYTES]

    def holds(self, data: bytes, tag: bytes) -> bool:
        """Whether `tag` seals `data`, compared in constant time."""
        return hmac.compare_digest(tag, self.seal(data))


@lru_cache(maxsize=8_192)
def sealer(key: bytes) -> Sealer:
    """The key's Sealer, for a while the same one."""
    return Sealer(key)
