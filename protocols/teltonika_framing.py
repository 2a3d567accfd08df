"""Where Teltonika frames begin and end, in a TCP stream and in payloads that may also hold UDP channel packets.

Vendor's page "Teltonika Data Sending Protocols": the login of a TCP session, the AVL and GPRS frames behind a preamble of
zeros, the FF keep-alive, and the UDP channel, which has a length in front and no checksum.
"""

import re
from collections.abc import Callable
from zlib import crc32

from fastcrc import crc16

from protocols import checksums
from protocols.checksums import crc16_arc, crc16_ccitt_false
from protocols.codec import PAYLOAD_LIMIT_BYTES, ProtocolError
from protocols.stream import Framing

PREAMBLE = bytes(4)
KEEP_ALIVE = b"\xff"
CHANNEL = 1
IMEI_DIGITS = 15
LOGIN_LENGTH = IMEI_DIGITS.to_bytes(2, "big")
LOGIN_SIZE_BYTES = 2 + IMEI_DIGITS

TCP_HEADER_BYTES = 8
TCP_OVERHEAD_BYTES = TCP_HEADER_BYTES + 4
UDP_HEADER_BYTES = 23
"""Length 2, packet id 2, channel 1, AVL packet id 1, IMEI length 2, IMEI 15."""

DATA_MINIMUM_BYTES = 3
"""Codec id and the two counts."""

_CODECS = rb"[\x07\x08\x0c-\x10\x8e]"
_STARTS_TCP = rb"\x00{6}.." + _CODECS + rb"|(?<!\x01.)\x00\x0f[0-9]{15}"  # not the IMEI of a channel packet
_TORN_TCP = rb"(?s)(?:\x00{1,6}|\x00{6}.{1,2}|(?<!\x01.)\x00\x0f[0-9]{0,14})\Z"
_STARTS_UDP = rb"....\x01.\x00\x0f[0-9]{15}" + _CODECS


def measure(head: bytes) -> int | None:
    """The size of the TCP frame that begins so: a login, an AVL or GPRS frame, or a run of keep-alives."""
    if head.startswith(KEEP_ALIVE):
        return len(head) - len(head.lstrip(KEEP_ALIVE))
    if head.startswith(LOGIN_LENGTH):
        return _login_size(head)
    if PREAMBLE.startswith(head[:2]):
        return _tcp_size(head)
    if head[:1] == b"\0" and head[2:].isdigit():
        expected, found, guess = LOGIN_LENGTH.hex(), head[:2].hex(), "a login, with an IMEI that has not 15 digits"
        raise ProtocolError("bad_length", 0, "length", expected=expected, found=found, guess=guess)
    found = head[:4].hex()
    raise ProtocolError("bad_sync", 0, "preamble", expected="00000000, a login (000f), or a keep-alive (ff)", found=found)


def measure_any(head: bytes) -> int | None:
    """As `measure`, and UDP channel packets: their first two bytes are a length that no TCP frame begins with."""
    length = int.from_bytes(head[:2].ljust(2, b"\0"), "big")
    if head[:1] == KEEP_ALIVE or length < UDP_HEADER_BYTES - 2 + DATA_MINIMUM_BYTES:
        return measure(head)
    if head[4:5] not in (b"", bytes([CHANNEL])):
        return measure(head)
    if not LOGIN_LENGTH.startswith(head[6:8]):
        raise ProtocolError("bad_length", 6, "imei_length", expected=LOGIN_LENGTH.hex(), found=head[6:8].hex())
    _check_digits(head, 8)
    return 2 + length if len(head) >= 8 else None


def check(frame: bytes) -> None:
    """Raises ProtocolError if the frame's CRC does not hold, or (UDP has none) its two counts differ."""
    if frame.startswith(PREAMBLE):
        check_crc(frame)
    elif is_channel_packet(frame):
        check_counts(frame, UDP_HEADER_BYTES, len(frame))


def is_channel_packet(frame: bytes) -> bool:
    """Whether a whole frame, already measured, is a UDP channel packet."""
    return not frame.startswith((KEEP_ALIVE, PREAMBLE, LOGIN_LENGTH))


def check_crc(frame: bytes) -> None:
    """CRC-16/ARC over codec id to the second count, in the lower two of the four bytes at the end; the upper two are 0."""
    data, found = frame[TCP_HEADER_BYTES:-4], int.from_bytes(frame[-4:], "big")
    if found != (expected := crc16_arc(data)):
        at = len(frame) - 4
        guess = checksum_guess(frame, found)
        raise ProtocolError("bad_checksum", at, "crc", expected=f"{expected:08x}", found=f"{found:08x}", guess=guess)


def check_counts(frame: bytes, begin: int, end: int) -> None:
    """The count behind the records repeats the one before them. `begin` is the codec id, `end` follows the second count."""
    first, second = frame[begin + 1], frame[end - 1]
    if first != second:
        raise ProtocolError("malformed", end - 1, "data.count_2", expected=str(first), found=str(second))


FRAMING = Framing(measure, check, re.compile(rb"(?s)(?=" + _STARTS_TCP + rb")"), re.compile(_TORN_TCP))
"""A TCP stream."""

PAYLOAD_FRAMING = Framing(measure_any, check, re.compile(rb"(?s)(?=" + _STARTS_TCP + rb"|" + _STARTS_UDP + rb")"))
"""An MQTT payload, or one datagram."""


def _tcp_size(head: bytes) -> int | None:
    for at, byte in enumerate(head[:4]):
        if byte:
            raise ProtocolError("bad_sync", at, "preamble", expected=PREAMBLE.hex(), found=head[:4].hex())
    if len(head) < TCP_HEADER_BYTES:
        return None
    length = int.from_bytes(head[4:8], "big")
    if length < DATA_MINIMUM_BYTES:
        expected = f"at least {DATA_MINIMUM_BYTES} bytes (codec id and two counts)"
        raise ProtocolError("bad_length", 4, "length", expected=expected, found=str(length))
    if length > PAYLOAD_LIMIT_BYTES - TCP_OVERHEAD_BYTES:
        expected = f"at most {PAYLOAD_LIMIT_BYTES - TCP_OVERHEAD_BYTES} bytes"
        raise ProtocolError("oversized", 4, "length", expected=expected, found=str(length))
    return TCP_OVERHEAD_BYTES + length


def _login_size(head: bytes) -> int | None:
    _check_digits(head, 2)
    return LOGIN_SIZE_BYTES if len(head) >= LOGIN_SIZE_BYTES else None


def _check_digits(head: bytes, at: int) -> None:
    for offset, byte in enumerate(head[at : at + IMEI_DIGITS], at):
        if not 0x30 <= byte <= 0x39:
            raise ProtocolError("malformed", offset, "imei", expected="15 ASCII digits", found=f"{byte:02x}")


def _byte_swapped(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


_OTHER_SUMS: tuple[tuple[str, Callable[[bytes], int]], ...] = (
    ("CRC with its two bytes swapped", lambda frame: _byte_swapped(crc16_arc(frame[8:-4]))),
    ("CRC as a little-endian number", lambda frame: int.from_bytes(crc16_arc(frame[8:-4]).to_bytes(4, "little"), "big")),
    ("CRC-32 instead of CRC-16/ARC", lambda frame: crc32(frame[8:-4])),
    ("CRC in the upper two bytes", lambda frame: crc16_arc(frame[8:-4]) << 16),
    ("CRC over the length field too", lambda frame: crc16_arc(frame[4:-4])),  # or from the preamble: its zeros count nothing
    ("CRC without the second count", lambda frame: crc16_arc(frame[8:-5])),
    ("CRC without the codec id", lambda frame: crc16_arc(frame[9:-4])),
    ("CRC-16/MODBUS (init ffff) instead of CRC-16/ARC", lambda frame: crc16.modbus(frame[8:-4])),
    ("CRC-16/CCITT-FALSE instead of CRC-16/ARC", lambda frame: crc16_ccitt_false(frame[8:-4])),
    ("CRC-16/XMODEM instead of CRC-16/ARC", lambda frame: crc16.xmodem(frame[8:-4])),
)


def checksum_guess(frame: bytes, found: int) -> str:
    """Why the CRC of a whole TCP frame may be what it is."""
    for guess, other in _OTHER_SUMS:
        if other(frame) == found:
            return guess
    return "a byte was changed after the CRC was made, or the CRC itself was"


def length_guess(data: bytes) -> ProtocolError | None:
    """The error to name if `data` is a whole TCP frame but for its length field: its CRC holds over all that is there."""
    if not data.startswith(PREAMBLE) or len(data) < TCP_OVERHEAD_BYTES + DATA_MINIMUM_BYTES:
        return None
    if crc16_arc(data[TCP_HEADER_BYTES:-4]) != int.from_bytes(data[-4:], "big"):
        return None
    there, found = str(len(data) - TCP_OVERHEAD_BYTES), str(int.from_bytes(data[4:8], "big"))
    guess = checksums.length_guess(data[4:8], len(data) - TCP_OVERHEAD_BYTES, "big")
    return ProtocolError("bad_length", 4, "length", expected=there, found=found, guess=guess)
