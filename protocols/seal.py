"""Who said it: the tag that binds a frame to the unit that sent it."""

import hmac

SEAL_SIZE_BYTES = 8
"""64 bits: the floor that NIST SP 800-38B appendix A names for a tag whose forger must be heard to try."""


def seal(data: bytes, key: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) of `data`, leftmost 8 bytes."""
    return hmac.digest(key, data, "sha256")[:SEAL_SIZE_BYTES]


def holds(data: bytes, tag: bytes, key: bytes) -> bool:
    """Whether `tag` seals `data`, compared in constant time."""
    return hmac.compare_digest(tag, seal(data, key))
