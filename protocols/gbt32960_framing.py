"""Where GB/T 32960.3 frames begin and end: the start, the length of the data unit, the block check character.

Clause 6.2, table 2. The 2016 edition starts a frame with `##`, the 2025 edition with `$$`.
"""

import re

from protocols.checksums import bcc, length_guess
from protocols.codec import ProtocolError
from protocols.gbt32960_layouts import HEADER_SIZE_BYTES
from protocols.stream import Framing

EDITIONS = {b"##": 2016, b"$$": 2025}

DATA_UNIT_LIMIT_BYTES = 65_531
OVERHEAD_BYTES = HEADER_SIZE_BYTES + 1
FRAME_LIMIT_BYTES = DATA_UNIT_LIMIT_BYTES + OVERHEAD_BYTES


def measure(head: bytes) -> int | None:
    """The size in bytes of the frame that begins so; None if more of it is needed to tell."""
    if not any(start.startswith(head[:2]) for start in EDITIONS):
        at = 1 if head[:1] in (b"#", b"$") else 0
        raise ProtocolError("bad_sync", at, "start", expected="## (2323) or $$ (2424)", found=head[:2].hex())
    if len(head) < HEADER_SIZE_BYTES:
        return None
    length = int.from_bytes(head[22:24], "big")
    if length > DATA_UNIT_LIMIT_BYTES:
        raise ProtocolError("bad_length", 22, "length", expected=f"0 to {DATA_UNIT_LIMIT_BYTES}", found=str(length))
    return OVERHEAD_BYTES + length


def check(frame: bytes) -> None:
    """Raises ProtocolError if the block check character of a whole frame does not hold (clause 6.2, table 2)."""
    expected, found = bcc(frame[2:-1]), frame[-1]
    if expected != found:
        at = len(frame) - 1
        guess = _checksum_guess(frame)
        raise ProtocolError("bad_checksum", at, "bcc", expected=f"{expected:02x}", found=f"{found:02x}", guess=guess)


FRAMING = Framing(
    measure,
    check,
    re.compile(rb"(?s)(?=(?:##|\$\$)[\x01-\x0b\x80-\x82\xc0-\xfe][\x01-\x07\xfe].{17}[\x01-\x05\xfe\xff])"),
    re.compile(rb"(?s)(?:[#$]|(?:##|\$\$)(?:[\x01-\x0b\x80-\x82\xc0-\xfe](?:[\x01-\x07\xfe].{0,17})?)?)\Z"),
)


def check_whole(data: bytes) -> None:
    """Raises ProtocolError if `data` is not one frame, wholly."""
    size = measure(data[:HEADER_SIZE_BYTES])
    if size is None or size > len(data):
        expected = f"{size} bytes" if size else f"a header of {HEADER_SIZE_BYTES} bytes"
        edited = len(data) > HEADER_SIZE_BYTES and bcc(data[2:-1]) == data[-1]
        guess = length_guess(data[22:24], len(data) - OVERHEAD_BYTES, "big") if edited else ""
        raise ProtocolError("truncated", len(data), "length", expected=expected, found=f"{len(data)} bytes", guess=guess)
    if size < len(data):
        there, found = str(len(data) - OVERHEAD_BYTES), str(size - OVERHEAD_BYTES)
        guess = length_guess(data[22:24], len(data) - OVERHEAD_BYTES, "big") if bcc(data[2:-1]) == data[-1] else ""
        raise ProtocolError("bad_length", 22, "length", expected=there, found=found, guess=guess)
    check(data)


def _checksum_guess(frame: bytes) -> str:
    """Why the check character of a whole frame may be what it is."""
    found = frame[-1]
    others = (
        ("XOR over the data unit only", bcc(frame[HEADER_SIZE_BYTES:-1])),
        ("XOR without the command byte", bcc(frame[3:-1])),
        ("XOR over one start byte too", bcc(frame[1:-1])),
        ("a sum instead of XOR", sum(frame[2:-1]) & 0xFF),
    )
    guesses = (guess for guess, other in others if other == found)
    return next(guesses, "a byte was changed after the check character was made, or the character itself was")
